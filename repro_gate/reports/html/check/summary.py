"""The head of the page: the outcome, what was checked, what changed, and what to type."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from repro_gate.core.changes.groups import Suspect, first_suspect
from repro_gate.core.outcome import Outcome, decide
from repro_gate.core.report import EngineReport, GateReport
from repro_gate.reports.findings import logprob_summary, summary
from repro_gate.reports.findings.changes import accept_command
from repro_gate.reports.findings.grades import format_verdicts
from repro_gate.reports.findings.tokens import (
    config_option,
    explain_command,
    is_acceptable,
)
from repro_gate.reports.text import shell
from repro_gate.reports.text.format import plural

STYLES: Final = {
    Outcome.PASSED: "good",
    Outcome.INCONCLUSIVE: "warn",
    Outcome.FAILED: "bad",
}
"""By outcome, the class of a badge."""
DIR: Final = Path("DIR")
"""Stands for the folder of the report, which the page does not know."""
_MACHINE: Final = ("device.description", "device.name", "host.cpu")
"""Facts that name a machine, the best first."""
_MAX_NAMED: Final = 5
_MAX_SUITES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command to type, and what it does."""

    label: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The head of the page."""

    outcome: Outcome
    style: str
    counts: str
    """Cells by verdict; untrusted: it has names of suites."""
    reasons: str
    """Why this is the outcome; untrusted too."""
    is_partial: bool
    facts: tuple[tuple[str, str], ...]
    """Labels and untrusted texts."""
    suspect: Suspect | None
    """The changed fact that best separates the cells that differ from those that match."""
    commands: tuple[Command, ...]


def summary_of(report: GateReport) -> Summary:
    """Return the head of the page of a report."""
    outcome = decide(report)
    return Summary(
        outcome=outcome,
        style=STYLES[outcome],
        counts=_counts(report),
        reasons=summary.explain_outcome(report, name=str),
        is_partial=report.interrupted,
        facts=tuple(_facts(report)),
        suspect=first_suspect(report),
        commands=tuple(_commands(report)),
    )


def _counts(report: GateReport) -> str:
    """Return the number of cells with each verdict, of tokens and of the first hosted suites."""
    tokens = format_verdicts(report) or "nothing was checked"
    hosted = map(logprob_summary.format_suite_line, report.logprobs[:_MAX_NAMED])
    more = len(report.logprobs) - _MAX_NAMED
    shown = [*([tokens] if summary.has_tokens(report) else []), *hosted]
    return "; ".join([*shown, *([plural(more, "more suite")] if more > 0 else [])])


def _facts(report: GateReport) -> Iterator[tuple[str, str]]:
    yield "suites", named(report.suites) or "none"
    profiles = named(cell.profile for cell in report.cells if cell.profile)
    if profiles:
        yield "profile", profiles
    machines = named(filter(None, map(_machine, report.engines)))
    if machines:
        yield "machine", machines
    if report.cells:
        yield "runs", summary.format_runs(report.cells)
    yield "started", report.started_at
    yield "time", summary.format_time(report)
    if report.commit is not None:
        yield "commit", report.commit[:12]
    yield "repro-gate", report.tool_version


def _machine(engine: EngineReport) -> str | None:
    return next((engine.facts[name] for name in _MACHINE if name in engine.facts), None)


def named(names: Iterable[str]) -> str:
    """Return the first of the names, each once, and the number of the rest; empty without any."""
    listed = list(dict.fromkeys(names))
    more = len(listed) - _MAX_NAMED
    shown = ", ".join(listed[:_MAX_NAMED])
    return f"{shown} and {more} more" if more > 0 else shown


def _commands(report: GateReport) -> Iterator[Command]:
    if any(is_acceptable(cell, report) for cell in report.cells):
        review = shell.command("repro-gate review", config_option(report.repeat_with))
        yield Command(label="review each change", text=f"{review} --from {DIR}")
        yield Command(label="accept all changes", text=accept_command(None, report, DIR))
    command = explain_command(report)
    if command is not None:
        yield Command(label="explain a divergence", text=command)
