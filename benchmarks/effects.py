"""What changes in the tokens of a model when a sampler, a setting or an adapter changes.

    python -m benchmarks.effects [--model FILE] [--only NAME,...]

Generates pairs of cells that differ in one key of the matrix, on the CPU with the built-in engine,
and prints docs/examples/effects/report.md. Returns 1 if a change had another effect than expected,
and 2 if something could not be measured.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from benchmarks.changes import CHANGES, Change, Expected
from repro_gate.adapters.engines.client import EngineProcesses
from repro_gate.adapters.matrix.reader import read_matrix
from repro_gate.cli.session import Selection, open_session
from repro_gate.cli.wiring import workspace_for
from repro_gate.core.matrix import Matrix
from repro_gate.core.tokens.generation import Choice, Generation
from repro_gate.errors import EngineFailed, InputInvalid, MeasurementUnavailable
from repro_gate.ports import CellRun, ModelFile, TimedGeneration
from tests.fakes.adapters import adapter

_ROOT: Final = Path(__file__).resolve().parents[1]
_SMOLLM2: Final = "smollm2-135m"
"""In the matrix of this repository."""
_NOTHING: Final = "none: equal to the last bit"
_MOVED: Final = "log-probabilities move by"
_REFUSED: Final = "refused: "

Result: TypeAlias = Generation | str
"""A text is the reason why there is none."""


def main() -> int:
    """Measure and print, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, help="a GGUF file in place of SmolLM2-135M")
    parser.add_argument("--only", default="", help="names of keys, with commas")
    arguments = parser.parse_args()
    only = set(filter(None, arguments.only.split(",")))
    changes = [change for change in CHANGES if not only or change.name in only]
    try:
        effects = measure(changes, arguments.model or _smollm2())
    except MeasurementUnavailable as error:
        print(f"effects.py: {error}", file=sys.stderr)
        return 2
    print(report(effects), end="")
    return 0 if all(is_expected(change, effect) for change, effect in effects) else 1


def report(effects: Sequence[tuple[Change, str]]) -> str:
    """Return changes with their effects as Markdown."""
    samplers = [(change, effect) for change, effect in effects if change.is_of_prompt]
    others = [(change, effect) for change, effect in effects if not change.is_of_prompt]
    return f"""# What changes tokens

[How to read it](../../explanation/determinism.md#what-changes-tokens)

## Samplers

{table(samplers)}

## Settings and adapters

{table(others)}
"""


def table(effects: Iterable[tuple[Change, str]]) -> str:
    """Return changes with their effects as a table in Markdown."""
    rows = [
        f"| `{change.name}` | {change.label} | {effect} | [`{test}`](../../../{file}) |"
        for change, effect in effects
        for file, test in [change.test.split("::")]
    ]
    return "\n".join(["| key | change | effect | test |", "|---|---|---|---|", *rows])


def is_expected(change: Change, effect: str) -> bool:
    """Return whether a change had the effect that it has on any model."""
    match change.expected:
        case Expected.NOTHING:
            return effect == _NOTHING
        case Expected.REFUSED:
            return effect.startswith(_REFUSED)
        case Expected.EFFECT if change.is_of_prompt:
            return effect.startswith("output[") and _MOVED not in effect
        case Expected.EFFECT:
            return _MOVED in effect


def measure(changes: Sequence[Change], model: Path) -> list[tuple[Change, str]]:
    """Return each change with its effect."""
    with tempfile.TemporaryDirectory() as folder:
        lora = adapter(Path(folder, "adapter.gguf"), model)
        documents = (each for change in changes for each in change.documents)
        results = _generate(documents, model, lora)
    pairs = [[results[document] for document in change.documents] for change in changes]
    return [(change, effect_of(*pair)) for change, pair in zip(changes, pairs, strict=True)]


def effect_of(before: Result, after: Result) -> str:
    """Describe how the results of two cells differ."""
    if isinstance(before, str):
        return f"not measured: {before}"
    if isinstance(after, str):
        return f"{_REFUSED}{after}"
    if before.prompt != after.prompt:
        return "another prompt"
    pairs = list(zip(before.tokens, after.tokens, strict=False))
    length = max(len(before.tokens), len(after.tokens))
    place = next((at for at, (one, other) in enumerate(pairs) if one != other), len(pairs))
    # Behind the first other token, the contexts differ.
    moved = max(map(_moved, before.trace[: place + 1], after.trace))
    found = [f"{_MOVED} {moved:.2g}"] if moved else []
    if place < length:
        equal = sum(one == other for one, other in pairs)
        found = [f"output[{place}], {equal} of {length} tokens equal", *found]
    return "; ".join(found) or _NOTHING


def _moved(before: Choice, after: Choice) -> float:
    """Return by how many nats, at least, a log-probability differs."""
    ours, theirs = dict(before.best), dict(after.best)
    # Those of the same token, and those of the same rank, as the likeliest may be other tokens.
    pairs = [(ours[token], theirs[token]) for token in ours.keys() & theirs]
    pairs += zip(ours.values(), theirs.values(), strict=True)
    return max(abs(one - other) for one, other in pairs)


def _generate(documents: Iterable[str], model: Path, lora: Path) -> Mapping[str, Result]:
    """Return the result of each matrix file; one engine makes those with the same model."""
    results: dict[str, Result] = {}
    by_model: dict[str, dict[str, Matrix]] = {}
    for document in dict.fromkeys(documents):
        try:
            matrix = _read(document)
        except InputInvalid as error:
            # Without the file and the place.
            results[document] = "".join(str(error).partition("expected")[1:])
        else:
            by_model.setdefault(repr(matrix.models["model"]), {})[document] = matrix
    for matrices in by_model.values():
        results |= zip(matrices, _run(list(matrices.values()), model, lora), strict=True)
    return results


def _read(document: str) -> Matrix:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "repro-gate.toml")
        file.write_text(document, encoding="utf-8")
        return read_matrix(file)


def _run(matrices: Sequence[Matrix], model: Path, lora: Path) -> list[Result]:
    """Return the results of matrices of one cell each, with the same model and engine."""
    spec = matrices[0].models["model"]
    runs = [CellRun(cell=cell, trace=True) for matrix in matrices for cell in matrix.cells()]
    engine = EngineProcesses().start(spec.engine)
    try:
        adapters = tuple(ModelFile(path=lora, sha256=None) for _ in spec.lora)
        engine.load(spec, ModelFile(path=model, sha256=None, lora=adapters), concurrency=1)
        return [_result(outcome.value) for outcome in engine.generate(runs)]
    except EngineFailed:
        raise
    except MeasurementUnavailable as error:
        return [error.reason] * len(runs)
    finally:
        engine.close()


def _result(value: TimedGeneration | MeasurementUnavailable) -> Result:
    if isinstance(value, EngineFailed):
        raise value
    return value.reason if isinstance(value, MeasurementUnavailable) else value.generation


def _smollm2() -> Path:
    workspace = workspace_for(open_session(Selection(config=_ROOT / "repro-gate.toml")))
    fetched = workspace.models.fetch(workspace.matrix.models[_SMOLLM2])
    if fetched.path is None:
        raise ValueError(f"the matrix names no file of {_SMOLLM2}")
    return fetched.path


if __name__ == "__main__":
    sys.exit(main())
