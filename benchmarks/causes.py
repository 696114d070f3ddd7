"""What finds a planted cause: tokens, digests of logits, distance or file, and what it is called.

    python -m benchmarks.causes [--model FILE] [--quick] [--only TEXT,...]

Records goldens and references with `repro-gate`, plants one cause after another, checks and
explains, and prints docs/examples/causes/report.md. Returns 1 if a cause is found by nothing or
otherwise than expected, and 2 if something could not be measured.
"""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.planted import CAUSES, SEED, TEXTS, TOKENS, VARIANTS, Planted, digest, matrix
from benchmarks.workplace import Workplace
from repro_gate.cli.session import Selection, open_session
from repro_gate.cli.wiring import workspace_for
from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.tokens.generation import Place
from repro_gate.core.tokens.grade import Grade
from repro_gate.core.tokens.verdicts import Drift, Inconclusive, Unrecorded
from repro_gate.errors import MeasurementUnavailable
from repro_gate.tiny_models.maker import make
from repro_gate.tiny_models.recipes import RECIPES

_ROOT: Final = Path(__file__).resolve().parents[1]
_MODEL: Final = "SmolLM2-135M at four bits"
_SMOLLM2: Final = "smollm2-135m"
"""In the matrix of this repository."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the checks of a planted cause show."""

    cells: int
    drifted: int
    """Cells with other tokens, or with another definition."""
    moved: int
    """Cells with other logits at some step up to the first other token."""
    has_other_file: bool
    """Whether the pinned digest was refused."""
    grade: Grade | None
    causes: Mapping[str, int]
    """How many of the explained cells have each."""


def measure(
    causes: Sequence[Planted], *, model: Path | None, is_quick: bool
) -> Iterator[tuple[Planted, Found]]:
    """Plant one cause after another, and yield what is found of each."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if model is None:
            model = tiny_model(folder) if is_quick else smollm2()
        workplace = Workplace(folder, model)
        workplace.record(matrix(sha256=digest(model)))
        for cause in causes:
            found = find(workplace, cause)
            print(row(cause, found), file=sys.stderr)
            yield cause, found


def find(workplace: Workplace, planted: Planted) -> Found:
    """Check with a planted cause, and explain what differs."""
    has_other_file, source, sha256 = False, workplace.model, digest(workplace.model)
    if planted.alter is not None:
        source = planted.alter(workplace.model, workplace.folder / "altered.gguf")
        report, _ = workplace.check(matrix(planted, source=source.name, sha256=sha256))
        has_other_file = all(isinstance(cell.verdict, Inconclusive) for cell in report.cells)
        sha256 = digest(source)
    report, _ = workplace.check(matrix(planted, source=source.name, sha256=sha256))
    _require_measured(report)
    differing = [c for c in report.cells if _has_other_tokens(c) or _has_other_logits(c)]
    return Found(
        cells=len(report.cells),
        drifted=sum(map(_has_other_tokens, report.cells)),
        moved=sum(map(_has_other_logits, report.cells)),
        has_other_file=has_other_file,
        grade=next(iter(report.grades), None),
        causes=Counter(workplace.cause_of(cell.id) for cell in differing),
    )


def main() -> int:
    """Measure and print, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, help="a GGUF file in place of SmolLM2-135M")
    parser.add_argument("--quick", action="store_true", help="a few causes with a tiny model")
    parser.add_argument("--only", default="", help="texts in the names of causes, with commas")
    arguments = parser.parse_args()
    causes = [
        cause
        for cause in CAUSES
        if any(text in cause.name for text in arguments.only.split(","))
        and (cause.is_quick or not arguments.quick)
    ]
    try:
        found = list(measure(causes, model=arguments.model, is_quick=arguments.quick))
    except MeasurementUnavailable as error:
        print(f"causes.py: {error}", file=sys.stderr)
        return 2
    is_other = arguments.model is not None or arguments.quick
    print(report(found, model="another model" if is_other else _MODEL), end="")
    wrong = [cause.name for cause, each in found if not is_expected(cause, each)]
    for name in wrong:
        print(f"causes.py: {name}: found otherwise than expected", file=sys.stderr)
    return 1 if wrong else 0


def is_expected(planted: Planted, found: Found) -> bool:
    """Return whether a cause was found as it was expected to be."""
    expected = planted.expected
    return (
        expected.tokens in (None, bool(found.drifted))
        and expected.logits == bool(found.moved)
        and expected.file == found.has_other_file
        and (None if found.grade is None else found.grade.word) in expected.grades
        and set(found.causes) <= {cause.value for cause in expected.causes}
    )


def report(found: Sequence[tuple[Planted, Found]], *, model: str = _MODEL) -> str:
    """Return what was found of each cause on a model as Markdown."""
    return _PAGE.format(model=model, rows="\n".join(row(*each) for each in found))


def row(planted: Planted, found: Found) -> str:
    """Return a row of the table."""
    cells = [
        planted.name,
        f"{found.drifted} of {found.cells}" if found.drifted else "no",
        f"{found.moved} of {found.cells}" if found.moved else "no",
        _distance(found.grade),
        "yes" if found.has_other_file else "no",
        "-" if found.grade is None else found.grade.word.value,
        ", ".join(f"`{cause}` {count}" for cause, count in sorted(found.causes.items())) or "-",
    ]
    return f"| {' | '.join(cells)} |"


def _distance(grade: Grade | None) -> str:
    if grade is None or grade.distance is None:
        return "-"
    p_value = "" if grade.p_value is None else f", p = {grade.p_value:.2g}"
    return f"{grade.distance:.4f}{p_value}"


def _require_measured(report: GateReport) -> None:
    for cell in report.cells:
        if isinstance(cell.verdict, Inconclusive):
            raise MeasurementUnavailable(cell.verdict.reason, remedy="")


def _has_other_tokens(cell: CellReport) -> bool:
    match cell.verdict:
        case Drift(divergence=divergence):
            return divergence.place is not Place.LOGITS
        case Unrecorded():
            return True
        case _:
            return False


def _has_other_logits(cell: CellReport) -> bool:
    match cell.verdict:
        case Drift(divergence=divergence):
            return divergence.logits_from is not None
        case _:
            return False


def tiny_model(folder: Path) -> Path:
    """Write the model of `--quick`."""
    return make(RECIPES["tiny-qwen2"], folder / "tiny.gguf").path


def smollm2() -> Path:
    """Return the file of the model in the matrix of this repository."""
    workspace = workspace_for(open_session(Selection(config=_ROOT / "repro-gate.toml")))
    fetched = workspace.models.fetch(workspace.matrix.models[_SMOLLM2])
    if fetched.path is None:
        raise ValueError(f"the matrix names no file of {_SMOLLM2}")
    return fetched.path


_PAGE: Final = f"""# Planted causes

{len(TEXTS)} prompts with the seed {SEED}, {TOKENS} tokens each, on {{model}}.
Goldens and references are recorded, one cause is planted, and `repro-gate check` and `explain` run
as they always do, in a suite with `evidence = "logits"`. The references are of {len(VARIANTS)}
harmless changes: no flash attention, and the same with an f32 cache.

- tokens: cells whose tokens are not those of the golden
- logits: cells whose logits at some step, up to the first other token, are not those of the golden
- distance: how far the random numbers are from drawing the golden's tokens, the mean over the
  cells; with p of a drift that is no further than the harmless changes. Unknown where the random
  numbers are not those of the seed
- file: whether the model has another digest than the pinned one, so that the check refuses it; the
  rest of the row is with the new digest
- cause: what `explain` names, with the number of cells

| planted | tokens | logits | distance | file | grade | cause |
|---|---|---|---|---|---|---|
{{rows}}

Where every column is "no", nothing differs to the last bit: there is nothing to find, as with a
batch of two sequences on the CPU that this ran on. A fault of the sampler leaves the logits alone;
only tokens show it, in the cells that it reaches. A change of rounding is in the logits of every
cell that it reaches, and in the tokens of most. A merge that no prompt needs is in the file alone.
Where a grade "cannot be decided", the report of the check has the number of cells that it takes.
"""

if __name__ == "__main__":
    sys.exit(main())
