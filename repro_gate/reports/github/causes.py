"""What to type to accept a change: each cause with its command, and its reply."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from repro_gate.core.acceptance.request import COMMAND
from repro_gate.core.changes.groups import ChangeGroup, change_groups
from repro_gate.core.comments import DEFAULT_NAME, CiRun
from repro_gate.core.report import CellReport, GateReport
from repro_gate.reports.findings.changes import accept_command, first_facts
from repro_gate.reports.findings.tokens import accept_all_command, config_option, is_acceptable
from repro_gate.reports.github.fit import Section
from repro_gate.reports.github.links import download_command
from repro_gate.reports.text import shell
from repro_gate.reports.text.escape import clipped, escape_change, format_change
from repro_gate.reports.text.format import plural
from repro_gate.reports.text.markdown import Block, code, fence, joined

_MAX_CAUSES: Final = 10
_MAX_FACTS: Final = 2
_MAX_PROFILES: Final = 4
_MAX_LENGTH: Final = 100
"""Of a kind, a fact and the name of a profile."""
_UNPACK: Final = "Unpack the full report of the run into `DIR`"


def accept_sections(report: GateReport, run: CiRun) -> Iterator[Section]:
    """Yield how to get the report and, for each cause, how to accept it.

    Untrusted text is never inside a command: some shells run what follows a `#`.
    """
    new = [cell for cell in report.cells if is_acceptable(cell, report)]
    if run.from_fork:
        if len(new) > 1:
            note = f"# accept all {len(new)} cells that drifted or have no golden"
            command = fence([note, accept_all_command(report)], "sh")
            yield Section(name="command to accept all", block=command)
    elif new:
        yield Section(name="how to accept", block=_by_cause(report, run, new))
    elif run.artifact is not None:
        command = fence(["# download the report", _download(run, run.artifact)], "sh")
        yield Section(name="download command", block=command)


def _by_cause(report: GateReport, run: CiRun, new: Sequence[CellReport]) -> Block:
    causes = list(_causes(report, new))
    blocks = [_cause(group, count, report, run) for group, count in causes[:_MAX_CAUSES]]
    introduction = _introduction(report, run, new, several=len(causes) > 1)
    more = len(causes) - _MAX_CAUSES
    rest = [f"and {plural(more, 'more cause')}, which `report.html` has."] if more > 0 else []
    return joined([introduction, *blocks, rest])


def folder_of(run: CiRun) -> str:
    """Return the folder that the commands of a comment download the report into."""
    return "DIR" if run.artifact is None else f"repro-gate-run-{run.id.run}"


def _causes(report: GateReport, new: Sequence[CellReport]) -> Iterator[tuple[ChangeGroup, int]]:
    """Yield each cause with the number of its cells that can be accepted, the largest first."""
    acceptable = set(map(id, new))
    for group in change_groups(report):
        count = sum(id(cell) in acceptable for cell in group.cells)
        if count:
            yield group, count


def _introduction(
    report: GateReport, run: CiRun, new: Sequence[CellReport], *, several: bool
) -> Block:
    profiles = list(dict.fromkeys(cell.profile for cell in new if cell.profile))
    shown = [code(clipped(each, _MAX_LENGTH)) for each in profiles[:_MAX_PROFILES]]
    more = len(profiles) - _MAX_PROFILES
    listed = ", ".join([*shown, *([f"{more} more"] if more > 0 else [])])
    noun = "profile" if len(profiles) == 1 else "profiles"
    what = f"The observed goldens are for {noun} {listed}. " if profiles else ""
    how = "accept each cause; without `--cause` all are accepted:" if several else "accept them:"
    if run.artifact is None:
        return [f"{what}{_UNPACK}, then {how}"]
    name = () if run.artifact == DEFAULT_NAME else ("--name", run.artifact)
    options = (*name, *config_option(report.repeat_with))
    review = code(shell.command(f"repro-gate review --run {run.id.run}", options))
    note = f"{what}Review them with {review}, or download the report and {how}"
    return joined([[note], fence([_download(run, run.artifact)], "sh")])


def _cause(group: ChangeGroup, count: int, report: GateReport, run: CiRun) -> Block:
    first, more = first_facts(group, _MAX_FACTS)
    facts = [format_change(escape_change(change)) for change in first]
    shown = [code(clipped(each, _MAX_LENGTH)) for each in (group.kind, *facts)]
    rest = [f"and {plural(more, 'more fact')}"] if more else []
    blocks: list[Block] = [
        [f"**{plural(count, 'cell')}**: {', '.join([*shown, *rest])}"],
        fence([accept_command(group, report, Path(folder_of(run)))], "sh"),
    ]
    if run.accepts:
        blocks += [["or reply:"], fence([f"{COMMAND} --cause {group.id}"], "text")]
    return joined(blocks)


def _download(run: CiRun, artifact: str) -> str:
    return download_command(run, artifact, folder_of(run))
