"""Whether the parts of a report from elsewhere fit together.

Values check their own fields on construction; this module checks what takes two values. A
consistent report may still be false.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.shards.report import MeasuredCell, ShardReport
from repro_gate.core.text import escape_text
from repro_gate.core.tokens.controls import Control
from repro_gate.core.tokens.verification import claim_of

_OPTIONS = frozenset({"--config", "--device"})
"""Options that select the same matrix and device again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inconsistency:
    """One place at which a value does not fit the rest of its report."""

    place: str
    """As a path of fields, such as `cells[3].provenance`."""
    expected: str
    found: str
    """One printable line of untrusted text."""


def validate_report(report: GateReport) -> Inconsistency | None:
    """Return the first inconsistency of a report, or None."""
    return next(
        chain(
            _in_provenances(report.cells, known=len(report.provenances)),
            _in_verifications(report.cells),
            _in_options("repeat_with", report.repeat_with),
        ),
        None,
    )


def validate_shard(report: ShardReport) -> Inconsistency | None:
    """Return the first inconsistency of the report of a shard, or None."""
    return next(
        chain(
            _in_options("identity.options", report.identity.options),
            _in_provenances(report.cells, known=len(report.provenances)),
            *(_in_control(index, run, report) for index, run in enumerate(report.controls)),
            _in_models(report),
        ),
        None,
    )


def _in_options(place: str, words: Iterable[str]) -> Iterator[Inconsistency]:
    """Yield options that are unsafe to copy into a command, such as `--prune`."""
    for index, word in enumerate(words):
        if word.startswith("--") and word not in _OPTIONS:
            yield Inconsistency(
                place=f"{place}[{index}]",
                expected=f"one of {', '.join(sorted(_OPTIONS))}",
                found=escape_text(word),
            )


def _in_provenances(
    cells: Iterable[CellReport | MeasuredCell], *, known: int
) -> Iterator[Inconsistency]:
    for index, cell in enumerate(cells):
        if cell.provenance is not None and cell.provenance >= known:
            yield Inconsistency(
                place=f"cells[{index}].provenance",
                expected=f"one of {known} provenances, counted from 0",
                found=str(cell.provenance),
            )


def _in_verifications(cells: Iterable[CellReport]) -> Iterator[Inconsistency]:
    for index, cell in enumerate(cells):
        claim = () if cell.generation is None else claim_of(cell.generation, cell.verdict)
        found = [token.id for token in cell.verification]
        if found and found != [token.id for token in claim]:
            yield Inconsistency(
                place=f"cells[{index}].verification",
                expected=f"the {len(claim)} tokens that differ from run 1",
                found=f"{len(found)} tokens",
            )


def _in_control(index: int, control: Control, report: ShardReport) -> Iterator[Inconsistency]:
    if control.problem is not None:
        return
    run_here = {one.cell for one in report.cells if one.repetition is not None}
    for name, cell, generation in (
        ("reference", control.contrast.cell, control.reference),
        ("generation", control.contrast.varied, control.generation),
    ):
        if generation is None and cell not in run_here:
            yield Inconsistency(
                place=f"controls[{index}].{name}",
                expected=f"the output of {cell.id}, which was not run here as a cell",
                found="none",
            )


def _in_models(report: ShardReport) -> Iterator[Inconsistency]:
    for one in report.cells:
        if one.repetition is not None and one.cell.model not in report.models:
            yield Inconsistency(
                place="models",
                expected=f"{one.cell.model}, which {one.cell.id} is of",
                found="none of that name",
            )
