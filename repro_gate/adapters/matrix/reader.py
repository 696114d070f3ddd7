"""Read the matrix file, `repro-gate.toml`."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from repro_gate.adapters.files.documents import (
    parse_toml,
    read_toml,
    require_bounded,
    require_known,
)
from repro_gate.adapters.matrix.engines import (
    max_tokens_of,
    read_engine,
    read_variants,
    require_model,
)
from repro_gate.adapters.matrix.logprobs import is_logprob_suite, read_logprob_suites
from repro_gate.adapters.matrix.modes import evidence_of, read_modes
from repro_gate.adapters.matrix.prompts import ReadFile, read_beside, read_input
from repro_gate.adapters.matrix.sampler import read_sampler
from repro_gate.adapters.models.sources import required_form
from repro_gate.core.engines import EngineSpec, LoraSpec, ModelSpec
from repro_gate.core.matrix import Matrix, PromptSpec, Suite, build_cells, least_runs
from repro_gate.core.text import escape_text
from repro_gate.core.tokens.chat import Chat
from repro_gate.core.tokens.grade import FailingDrift
from repro_gate.core.tokens.modes import RESTART, Level, Mode
from repro_gate.errors import InputInvalid
from repro_gate.model_files import part_names

_SNAPSHOTS: Final = "snapshots"
_MIN_SCALE: Final = 0.000001


def read_matrix(file: Path) -> Matrix:
    """Return the matrix of a file.

    Raises:
        InputInvalid: the file is unreadable, breaks its schema, uses an undefined name, or asks
            for something impossible.
    """
    return matrix_of(read_toml(file, schema="matrix-v1"), file)


def matrix_of(document: Mapping[str, Any], file: Path) -> Matrix:
    """Return the matrix of what a file has; raises `InputInvalid`."""
    snapshots = document.get("snapshots", _SNAPSHOTS)
    if not _is_inside(file.parent, snapshots):
        raise _outside(file, snapshots)
    return _matrix_of(document, file, read_beside(file))


def parse_matrix(data: bytes, file: Path, read: ReadFile) -> Matrix:
    """Return the matrix of the bytes of a committed file; raises `InputInvalid`.

    Nothing of the file system counts, so the folder of the snapshots is checked by its name, and
    the files of prompts are read by `read`.
    """
    document = parse_toml(data, file=file, schema="matrix-v1")
    snapshots = document.get("snapshots", _SNAPSHOTS)
    if PurePosixPath(snapshots).is_absolute() or ".." in PurePosixPath(snapshots).parts:
        raise _outside(file, snapshots)
    return _matrix_of(document, file, read)


def _matrix_of(document: Mapping[str, Any], file: Path, read: ReadFile) -> Matrix:
    for name in document["default_suites"]:
        require_known(file, "default_suites", name, document["suites"])
    engines = {
        name: read_engine(file, name, table) for name, table in document.get("engines", {}).items()
    }
    models = {
        name: _model(file, name, table, engines=engines)
        for name, table in document.get("models", {}).items()
    }
    return Matrix(
        models=models,
        suites=_suites(file, document, models, read),
        default_suites=tuple(document["default_suites"]),
        snapshots=document.get("snapshots", _SNAPSHOTS),
        logprob_suites=read_logprob_suites(file, document, models),
        variants=read_variants(file, document, engines),
    )


def _is_inside(folder: Path, name: str) -> bool:
    """Return whether the folder of the snapshots, which is written to, is below the file's."""
    try:
        place = (folder / name).resolve()
        return not Path(name).is_absolute() and place.is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):
        # A loop of links, or a zero byte.
        return False


def _outside(file: Path, name: str) -> InputInvalid:
    expected = "a relative path inside the folder of this file, symbolic links resolved"
    return InputInvalid.at(file, "snapshots", expected=expected, found=escape_text(repr(name)))


def _model(
    file: Path, name: str, table: Mapping[str, Any], *, engines: Mapping[str, EngineSpec]
) -> ModelSpec:
    engine = engines[require_known(file, f"models.{name}.engine", table["engine"], engines)]
    lora = tuple(
        LoraSpec(
            name=name,
            source=adapter["source"],
            sha256=adapter.get("sha256"),
            number=number,
            scale=_scale(file, f"models.{name}.lora[{number - 1}]", adapter["scale"]),
        )
        for number, adapter in enumerate(table.get("lora", ()), start=1)
    )
    require_model(file, name, table, engine)
    model = ModelSpec(
        name=name,
        engine=engine,
        source=table.get("source", ""),
        sha256=table.get("sha256"),
        lora=lora,
        served_as=table.get("served_as"),
    )
    for one in model.files:
        form = required_form(one.source)
        if form is None and isinstance(one, LoraSpec):
            form = _adapter_form(one.source)
        if form is not None:
            shown = escape_text(repr(one.source))
            raise InputInvalid.at(file, f"{one.place}.source", expected=form, found=shown)
    return model


def _adapter_form(source: str) -> str | None:
    """Return what to write instead of a source that only a model can have."""
    if source.startswith("builtin:"):
        return "hf:, package: or a path: no adapter is built in"
    return "one file: no engine reads an adapter in parts" if part_names(source)[1:] else None


def _scale(file: Path, place: str, scale: float) -> float:
    """Return the scale of an adapter; raises `InputInvalid` if it would have no effect."""
    if abs(scale) < _MIN_SCALE:
        expected = f"at least {_MIN_SCALE:g} or at most -{_MIN_SCALE:g}: others have no effect"
        raise InputInvalid.at(file, f"{place}.scale", expected=expected, found=f"{scale:g}")
    return float(scale)


def _suites(
    file: Path, document: Mapping[str, Any], models: Mapping[str, ModelSpec], read: ReadFile
) -> Mapping[str, Suite]:
    tables = {
        name: table for name, table in document["suites"].items() if not is_logprob_suite(table)
    }
    # [sampler] may be missing when no suite generates tokens.
    prompts = {
        name: _prompt(
            name, table, document["sampler"], read_input(file, name, table, read), file=file
        )
        for name, table in document.get("prompts", {}).items()
        if tables
    }
    return {
        name: _suite(file, name, table, models=models, prompts=prompts)
        for name, table in tables.items()
    }


def _prompt(
    name: str,
    table: Mapping[str, Any],
    defaults: Mapping[str, Any],
    asked: tuple[str, Chat | None],
    *,
    file: Path,
) -> PromptSpec:
    text, chat = asked
    return PromptSpec(
        text=text,
        chat=chat,
        max_tokens=table["max_tokens"],
        sampler=read_sampler(file, name, table, defaults),
        stop=tuple(table.get("stop", ())),
    )


def _suite(
    file: Path,
    name: str,
    table: Mapping[str, Any],
    *,
    models: Mapping[str, ModelSpec],
    prompts: Mapping[str, PromptSpec],
) -> Suite:
    place = f"suites.{name}"
    for model, names in table["prompts"].items():
        require_known(file, f"{place}.prompts", model, models)
        for prompt in names:
            require_known(file, f"{place}.prompts.{model}", prompt, prompts)
            _require_context(file, prompt, prompts[prompt], models[model])
            _require_convertible(file, prompt, prompts[prompt], models[model])
    cells = sum(map(len, table["prompts"].values())) * len(table["seeds"])
    require_bounded(file, place, cells)
    modes = read_modes(file, place, table)
    against = table.get("against")
    usual = FailingDrift.ANY if against is None else FailingDrift.BEYOND_ROUNDING
    return Suite(
        name=name,
        runs=table["runs"],
        fresh_runs=_fresh_runs(file, place, table, modes),
        modes=modes,
        fail_on=FailingDrift(table.get("fail_on", usual)),
        against=against,
        cells=build_cells(prompts_of=table["prompts"], prompts=prompts, seeds=table["seeds"]),
        evidence=evidence_of(table, modes),
    )


def _fresh_runs(
    file: Path, place: str, table: Mapping[str, Any], modes: Mapping[Mode, Level]
) -> int:
    runs, least = table["runs"], least_runs(modes)
    if runs < least:
        expected = f"at least {least} runs, as the suite has modes"
        raise InputInvalid.at(file, f"{place}.runs", expected=expected, found=str(runs))
    # At least one, or two for modes, are not in a fresh process.
    most = runs - least_runs(modes.keys() - {RESTART})
    fresh_runs: int = table.get("fresh_runs", min(1, most))
    if fresh_runs > most:
        expected = f"at most {most} of the {runs} runs"
        raise InputInvalid.at(file, f"{place}.fresh_runs", expected=expected, found=str(fresh_runs))
    if RESTART in modes and not fresh_runs:
        expected = "at least 1, for the mode restart"
        raise InputInvalid.at(file, f"{place}.fresh_runs", expected=expected, found="0")
    return fresh_runs


def _require_context(file: Path, name: str, prompt: PromptSpec, model: ModelSpec) -> None:
    """Raise `InputInvalid` if max_tokens do not fit in n_ctx, even after a prompt of one token."""
    engine = model.engine
    limit = max_tokens_of(engine)
    if limit is not None and prompt.max_tokens > limit:
        raise InputInvalid.at(
            file,
            f"prompts.{name}.max_tokens",
            expected=f"at most {limit}, because prompt and output of {model.name} share "
            f"n_ctx = {engine.settings['n_ctx']} of the engine {engine.name}",
            found=str(prompt.max_tokens),
        )


def _require_convertible(file: Path, name: str, prompt: PromptSpec, model: ModelSpec) -> None:
    """Raise `InputInvalid` for a JSON Schema, if nothing makes it a grammar."""
    sampling, engine = prompt.sampler.sampling, model.engine
    if engine.kind.is_llama_cpp and sampling is not None and sampling.value("json_schema"):
        raise InputInvalid.at(
            file,
            f"prompts.{name}.json_schema",
            expected=f"a grammar, as the engine {engine.name} does not convert JSON Schemas",
            found="a JSON Schema",
        )
