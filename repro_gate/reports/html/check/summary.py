"""The head of the page: the outcome, what was checked, what changed, and what to type."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from repro_gate.core.outcome import Outcome, decide
from repro_gate.core.report import EngineReport, GateReport
from repro_gate.reports.findings import logprob_summary, summary
from repro_gate.reports.findings.grades import format_verdicts
from repro_gate.reports.findings.tokens import (
    accept_all_command,
    explain_command,
    is_acceptable,
)

STYLES: Final = {
    Outcome.PASSED: "good",
    Outcome.INCONCLUSIVE: "warn",
    Outcome.FAILED: "bad",
}
"""By outcome, the class of a badge."""
_MACHINE: Final = ("device.description", "device.name", "host.cpu")
"""Facts that name a machine, the best first."""
_MAX_NAMED: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command to type, and what it does."""

    label: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The head of the page."""

    title: str
    outcome: Outcome
    style: str
    headline: str
    """Untrusted: it has names of suites."""
    is_partial: bool
    facts: tuple[tuple[str, str], ...]
    """Labels and untrusted texts."""
    commands: tuple[Command, ...]


def summary_of(report: GateReport) -> Summary:
    """Return the head of the page of a report."""
    outcome = decide(report)
    return Summary(
        title=f"{outcome.value}: {_counts(report)}",
        outcome=outcome,
        style=STYLES[outcome],
        headline=summary.explain_outcome(report, name=str),
        is_partial=report.interrupted,
        facts=tuple(_facts(report)),
        commands=tuple(_commands(report)),
    )


def _counts(report: GateReport) -> str:
    tokens = (
        [format_verdicts(report) or "nothing was checked"] if summary.has_tokens(report) else []
    )
    return "; ".join([*tokens, *map(logprob_summary.format_suite_line, report.logprobs)])


def _facts(report: GateReport) -> Iterator[tuple[str, str]]:
    yield "verdicts", _counts(report)
    yield "suites", _named(report.suites)
    profiles = dict.fromkeys(cell.profile for cell in report.cells if cell.profile)
    if profiles:
        yield "profile", _named(profiles)
    machines = dict.fromkeys(filter(None, map(_machine, report.engines)))
    if machines:
        yield "machine", _named(machines)
    if report.cells:
        yield "runs", summary.format_runs(report.cells)
    yield "started", report.started_at
    yield "time", summary.format_time(report)
    if report.commit is not None:
        yield "commit", report.commit[:12]
    yield "repro-gate", report.tool_version


def _machine(engine: EngineReport) -> str | None:
    return next((engine.facts[name] for name in _MACHINE if name in engine.facts), None)


def _named(names: Iterable[str]) -> str:
    listed = list(names)
    more = len(listed) - _MAX_NAMED
    shown = ", ".join(listed[:_MAX_NAMED])
    return f"{shown} and {more} more" if more > 0 else shown or "none"


def _commands(report: GateReport) -> Iterator[Command]:
    if any(is_acceptable(cell, report) for cell in report.cells):
        yield Command(label="accept all changes", text=accept_all_command(report))
    command = explain_command(report)
    if command is not None:
        yield Command(label="explain a divergence", text=command)
