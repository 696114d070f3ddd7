"""The changes by cause, with what to type to accept exactly one of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from repro_gate.core.changes.groups import ChangeGroup, change_groups
from repro_gate.core.report import GateReport
from repro_gate.reports.findings.changes import accept_command, first_facts, has_acceptable
from repro_gate.reports.html.check.findings import Findings
from repro_gate.reports.html.check.summary import DIR
from repro_gate.reports.text.escape import escape_change, format_change, shortened

_MAX_CAUSES: Final = 100
_MAX_FACTS: Final = 3
"""Changed facts of a cause; its findings have all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A cause on the page."""

    kind: str
    """Untrusted."""
    cells: int
    facts: tuple[str, ...]
    """Untrusted."""
    more_facts: int
    finding: int | None
    """The number of the finding of its first cell; None if the page does not show it."""
    command: str | None
    """Accepts it; None where it has to be fixed instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Causes:
    """The causes that the page shows, and how many more there are."""

    shown: tuple[Shown, ...]
    more: int

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self.shown)


def causes_of(report: GateReport, findings: Findings) -> Causes:
    """Return the causes of a report, the one with the most cells first."""
    groups, numbers = change_groups(report), findings.of_cells()
    return Causes(
        shown=tuple(_shown(group, report, numbers) for group in groups[:_MAX_CAUSES]),
        more=max(0, len(groups) - _MAX_CAUSES),
    )


def _shown(group: ChangeGroup, report: GateReport, findings: Mapping[int, int]) -> Shown:
    facts, more = first_facts(group, _MAX_FACTS)
    return Shown(
        kind=group.kind,
        cells=len(group.cells),
        facts=tuple(format_change(shortened(escape_change(each))) for each in facts),
        more_facts=more,
        finding=findings.get(id(group.cells[0])),
        command=accept_command(group, report, DIR) if has_acceptable(group, report) else None,
    )
