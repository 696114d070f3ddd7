"""What `repro-gate demo` shows: each verdict, the change that leads to it, and what it means."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from repro_gate.core.logprobs.verdicts import Agrees, Invalid, Outlying, Shifted
from repro_gate.core.matrix import DEFAULT_MATRIX_FILE
from repro_gate.core.start.sources import SMALL_MODEL
from repro_gate.core.tokens.verdicts import (
    Depends,
    Drift,
    Inconclusive,
    Match,
    Nondeterministic,
    Orphan,
    Unrecorded,
    Vacuous,
)

_SHA256: Final = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_FAULTS_OF: Final = "engines.{}.settings"
_HEALTHY: Final = 'fault = "none"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A line of a table of the matrix, and what it becomes."""

    table: str
    before: str
    after: str

    def __str__(self) -> str:
        """Return it as a line for readers."""
        return f"[{self.table}] {self.before} -> {self.after}"

    def apply(self, folder: Path) -> None:
        """Change the matrix of a folder; raises ValueError if the line is not there."""
        file = folder / DEFAULT_MATRIX_FILE
        head, table, rest = file.read_text("utf-8").partition(f"\n[{self.table}]\n")
        own, bracket, others = rest.partition("\n[")
        if own.count(self.before) != 1:
            raise ValueError(f"{file}: no line {self.before!r} in [{self.table}]")
        changed = own.replace(self.before, self.after)
        file.write_text(f"{head}{table}{changed}{bracket}{others}", "utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """A committed file that is removed, below the snapshots."""

    pattern: str

    def __str__(self) -> str:
        """Return it as a line for readers."""
        return f"rm snapshots/{self.pattern}"

    def apply(self, folder: Path) -> None:
        """Remove the file of a folder; raises ValueError if it is not there."""
        (file,) = (folder / "snapshots").glob(self.pattern)
        file.unlink()


Change: TypeAlias = Edit | Removal


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A verdict that a check is expected to give."""

    word: str
    id: str
    """Of a cell, a golden or a baseline."""
    change: Change | None = None
    """What leads to it; None if nothing is changed."""
    meaning: str
    shows: tuple[str, ...] = ()
    """The labels of the report's lines that are worth showing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A copy of what was recorded, with the changes of its scenarios, and one check of it."""

    name: str
    options: tuple[str, ...] = ()
    """Of the check."""
    scenarios: tuple[Scenario, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One of the two gates: its matrix, how its snapshots are recorded, and its checks."""

    name: str
    matrix: str
    """The name of a file of this package."""
    record: str
    """The command."""
    stages: tuple[Stage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The model whose tokens are gated, and a change of its engine that gives other tokens."""

    title: str
    engine: str
    """The settings of its engine, in TOML."""
    source: str
    sha256: str | None = None
    prompt: str = "story"
    drifts_with: Edit

    @property
    def toml(self) -> str:
        """The tables of its engine and of the model."""
        pinned = "" if self.sha256 is None else f"\nsha256 = {json.dumps(self.sha256)}"
        return (
            f"{self.engine}\n[models.model]\n"
            f'engine = "model"\nsource = {json.dumps(self.source)}{pinned}\n'
        )


def _llama_cpp(*, flash_attention: bool, kv_type: str) -> str:
    return (
        '[engines.model]\nkind = "llama_cpp"\n[engines.model.settings]\n'
        f"n_ctx = 256\nn_batch = 256\nthreads = 1\nflash_attention = {json.dumps(flash_attention)}"
        f'\nkv_type = "{kv_type}"\n'
    )


def _model_edit(before: str, after: str) -> Edit:
    return Edit(table="engines.model.settings", before=before, after=after)


_CACHE_OF_8_BITS: Final = _model_edit('kv_type = "f16"', 'kv_type = "q8_0"')
SMOLLM2: Final = Model(
    title="SmolLM2-135M",
    engine=_llama_cpp(flash_attention=True, kv_type="f16"),
    source=SMALL_MODEL,
    sha256=_SHA256,
    drifts_with=_CACHE_OF_8_BITS,
)
TINY: Final = Model(
    title="a tiny random model, whose output is noise",
    engine=_llama_cpp(flash_attention=False, kv_type="f32"),
    source="builtin:tiny-phi3",
    prompt="bread",
    drifts_with=_model_edit('kv_type = "f32"', 'kv_type = "f16"'),
)
WITHOUT_LLAMA_CPP: Final = Model(
    title="a Markov chain, as llama-cpp-python is not installed",
    engine='[engines.model]\nkind = "command"\ncommand = @COMMAND@\n'
    f"[engines.model.settings]\norder = 4\n{_HEALTHY}\n",
    source="text.txt",
    drifts_with=_model_edit("order = 4", "order = 3"),
)


def model_of_file(file: Path) -> Model:
    """Return the model of a GGUF file of the user."""
    return Model(
        title=file.name,
        engine=_llama_cpp(flash_attention=True, kv_type="f16"),
        source=str(file.resolve()),
        drifts_with=_CACHE_OF_8_BITS,
    )


def _fault(engine: str, fault: str) -> Edit:
    table = _FAULTS_OF.format(engine)
    return Edit(table=table, before=_HEALTHY, after=f"fault = {json.dumps(fault)}")


def gates_of(model: Model) -> Sequence[Gate]:
    """Return what is shown of each gate, with the tokens of a model."""
    return (_tokens(model), _LOGPROBS)


def _tokens(model: Model) -> Gate:
    cell = f"model--{model.prompt}"
    agrees = Scenario(
        word=Match.word,
        id=f"{cell}--seed42",
        meaning="The model still generates what was committed, token for token.",
    )
    changed = (
        Scenario(
            word=Drift.word,
            id=f"{cell}--seed42",
            change=model.drifts_with,
            meaning="The engine repeats itself, but generates other tokens than were committed.",
            shows=("context", "golden continues", "observed continues", "changed"),
        ),
        *_OF_A_BROKEN_ENGINE,
    )
    return Gate(
        name="tokens",
        matrix="tokens.toml",
        record="update-snapshots",
        stages=(
            Stage(name="recorded", scenarios=(agrees,)),
            Stage(name="changed", scenarios=changed),
            _STOPPED_TOKENS,
        ),
    )


_OF_A_BROKEN_ENGINE: Final = (
    Scenario(
        word=Nondeterministic.word,
        id="noisy--clock--seed42",
        change=_fault("noisy", "keeps its random state between runs"),
        meaning="The same request gave two outputs: a race, a cache or an unseeded number.",
        shows=("context", "run 1", "run 2"),
    ),
    Scenario(
        word=Depends.word,
        id="cached--clock--seed42",
        change=_fault("cached", "loses a token of a cached prompt"),
        meaning="Alone the tokens match, but other requests or a warm cache change them.",
        shows=("run 1", "repeat"),
    ),
    Scenario(
        word=Unrecorded.word,
        id="cached--bells--seed42",
        change=Removal(pattern="goldens/*/cached--bells--seed42.json"),
        meaning="There is nothing to compare with: a new cell, or another class of machine.",
        shows=("reason",),
    ),
    Scenario(
        word=Vacuous.word,
        id="seedless--clock--seed42",
        change=_fault("seedless", "draws as with the seed 42"),
        meaning="All runs match the golden, but they would match with any seed: no evidence.",
        shows=("reason",),
    ),
    Scenario(
        word=Orphan.word,
        id="noisy--bells--seed42",
        change=Edit(
            table="suites.engine.prompts",
            before='noisy = ["clock", "bells"]',
            after='noisy = ["clock"]',
        ),
        meaning="A golden is committed that nothing is compared with any more.",
    ),
)
_STOPPED_TOKENS: Final = Stage(
    name="stopped",
    options=("--only", "seedless--*"),
    scenarios=(
        Scenario(
            word=Inconclusive.word,
            id="seedless--clock--seed42",
            change=_fault("seedless", "crashes"),
            meaning="Nothing was measured. That is never a pass, and never drift.",
            shows=("reason", "remedy"),
        ),
    ),
)
_LOGPROBS: Final = Gate(
    name="log-probabilities",
    matrix="logprobs.toml",
    record="record-baseline",
    stages=(
        Stage(
            name="recorded",
            scenarios=(
                Scenario(
                    word=Agrees.word,
                    id="chain--clock",
                    meaning="The response is as likely as it was in the committed draws.",
                ),
            ),
        ),
        Stage(
            name="changed",
            scenarios=(
                Scenario(
                    word=Shifted.word,
                    id="chain--clock",
                    change=Edit(
                        table=_FAULTS_OF.format("chain"), before="order = 4", after="order = 2"
                    ),
                    meaning="The response became likelier or less likely than noise explains.",
                    shows=("evidence", "shift", "changed"),
                ),
                Scenario(
                    word=Outlying.word,
                    id="noisy--clock",
                    change=_fault("noisy", "is far off in two of five answers"),
                    meaning="Most draws agree, but single ones are far off, and too often.",
                ),
                Scenario(
                    word=Invalid.word,
                    id="wrong--clock",
                    change=_fault("wrong", "answers probabilities above 1"),
                    meaning="The answers cannot be what was asked for, so nothing is compared.",
                    shows=("reason",),
                ),
                Scenario(
                    word=Unrecorded.word,
                    id="chain--list",
                    change=Removal(pattern="baselines/*/chain--list.json"),
                    meaning="There are no committed draws to compare with.",
                    shows=("reason",),
                ),
                Scenario(
                    word=Orphan.word,
                    id="chain--bells",
                    change=Edit(
                        table="suites.likely",
                        before='items = ["clock", "list", "bells"]',
                        after='items = ["clock", "list"]',
                    ),
                    meaning="A baseline is committed that nothing is compared with any more.",
                ),
            ),
        ),
        Stage(
            name="stopped",
            options=("--suite", "noise"),
            scenarios=(
                Scenario(
                    word=Inconclusive.word,
                    id="noisy--clock",
                    change=_fault("noisy", "crashes"),
                    meaning="Nothing was measured. That is never a pass, and never drift.",
                    shows=("reason", "remedy"),
                ),
            ),
        ),
    ),
)
