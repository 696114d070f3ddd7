"""A check as a whole, in the sentences of every report."""

from collections import Counter
from collections.abc import Mapping, Sequence

from repro_gate.core.outcome import Outcome, decide, outcome_of_cell
from repro_gate.core.report import CellReport, GateReport, Timing
from repro_gate.core.tokens.grade import GradeWord
from repro_gate.core.tokens.verdicts import Drift, Match, Nondeterministic
from repro_gate.reports.findings import logprob_summary
from repro_gate.reports.findings.grades import format_verdicts, outcomes_of_drifts
from repro_gate.reports.findings.wording import format_counts
from repro_gate.reports.text import escape
from repro_gate.reports.text.escape import Escape
from repro_gate.reports.text.format import plural


def render_summary(report: GateReport) -> str:
    """Return the result of a check in one line."""
    partial = " (partial)" if report.interrupted else ""
    parts = [format_verdicts(report) or "nothing was checked"] if has_tokens(report) else []
    if any(control.divergence is None for control in report.controls):
        parts.append(format_controls(report))
    parts.extend(map(logprob_summary.format_suite_line, report.logprobs))
    return f"{decide(report).value}{partial}: {'; '.join(parts)}; {format_time(report)}"


def explain_outcome(report: GateReport, *, name: Escape = escape.one_line) -> str:
    """Return the reasons for the outcome.

    Args:
        report: what was found.
        name: escapes the name of a suite.
    """
    cells = report.cells
    outcomes = Counter(outcome_of_cell(cell, report) for cell in cells)
    undecided = outcomes_of_drifts(report).get(Outcome.INCONCLUSIVE, 0)
    unmeasured = outcomes[Outcome.INCONCLUSIVE] - undecided
    orphans, of_all = len(report.orphans), f"of {plural(len(cells), 'cell')}"
    reasons = (
        (outcomes[Outcome.FAILED], f"{outcomes[Outcome.FAILED]} {of_all} with a finding"),
        (orphans, f"{plural(orphans, 'orphaned golden')}"),
        (any(each.divergence is None for each in report.controls), format_controls(report)),
        (unmeasured, f"{unmeasured} {of_all} not measured"),
        (undecided, f"{undecided} {of_all} with a drift whose grade cannot be decided"),
        *(
            (bool(words), f"{name(part.suite)}: {words}")
            for part in report.logprobs
            for words in [logprob_summary.reasons(part, name=name)]
        ),
        (report.interrupted, "interrupted"),
        (not report.measured, "nothing was measured"),
    )
    found = [words for holds, words in reasons if holds]
    return "; ".join(found) or _explain_pass(report, name)


def has_tokens(report: GateReport) -> bool:
    """Tell whether tokens were checked, and not only log-probabilities."""
    return bool(report.cells or report.orphans) or not report.logprobs


def by_model(report: GateReport) -> Mapping[str, Sequence[CellReport]]:
    """Return the cells of each model, in the order of the report."""
    models: dict[str, list[CellReport]] = {}
    for cell in report.cells:
        models.setdefault(cell.cell.model, []).append(cell)
    return models


def format_runs(cells: Sequence[CellReport]) -> str:
    """Return the number of cells and runs."""
    runs = [cell.runs for cell in cells]
    if len(set(runs)) == 1:
        return f"{plural(len(cells), 'cell')} x {plural(runs[0], 'run')}"
    return f"{plural(len(cells), 'cell')}, {plural(sum(runs), 'run')}"


def format_agreement(cells: Sequence[CellReport]) -> str:
    """Return how many cells repeated identically, and their verdicts."""
    matching = [cell for cell in cells if isinstance(cell.verdict, Match)]
    counts = Counter(cell.verdict.word for cell in cells)
    verdicts = "all match" if len(matching) == len(cells) else format_counts(counts)
    return f"{format_repetition(cells)}, {verdicts}"


def format_repetition(cells: Sequence[CellReport]) -> str:
    """Return how many of the cells with several runs gave the same output each time."""
    repeated = [cell for cell in cells if cell.runs > 1]
    if not repeated:
        return "none repeated"
    identical = [cell for cell in repeated if not isinstance(cell.verdict, Nondeterministic)]
    if len(identical) == len(cells):
        return "all identical"
    return f"{len(identical)} of {len(cells)} identical"


def format_controls(report: GateReport) -> str:
    """Return the result of the controls."""
    controls = report.controls
    if not controls:
        return "no control was run"
    failed = sum(control.failed for control in controls)
    unknown = sum(control.problem is not None for control in controls)
    if failed:
        return f"{failed} of {plural(len(controls), 'control')} showed no difference"
    if unknown:
        return f"{unknown} of {plural(len(controls), 'control')} could not be run"
    return f"{plural(len(controls), 'control')}, all differ"


def format_time(report: GateReport) -> str:
    """Return the wall time, and the engine time if an engine ran."""
    timing = report.timing
    wall = f"wall {seconds(timing.wall_s)}"
    return f"{wall}, engine {seconds(timing.engine_s)}" if has_engine(report) else wall


def has_engine(report: GateReport) -> bool:
    """Tell whether an engine ran: not when all draws came from hosted APIs."""
    return has_tokens(report) or report.timing.engine_s > 0


def format_ratio(timing: Timing) -> str:
    """Return the engine time relative to the wall time; above 1 with several devices."""
    return f"{timing.engine_s / timing.wall_s:.2f}" if timing.wall_s > 0 else "not known"


def seconds(value: float) -> str:
    """Return a time with milliseconds."""
    return f"{value:.3f} s"


def _explain_pass(report: GateReport, name: Escape) -> str:
    tokens = [_explain_tokens(report)] if has_tokens(report) else []
    parts = [f"{name(part.suite)}: {logprob_summary.format_pass(part)}" for part in report.logprobs]
    return "; ".join([*tokens, *parts])


def _explain_tokens(report: GateReport) -> str:
    cells = f"{plural(len(report.cells), 'cell')} measured"
    drifts = report.counts.get(Drift.word, 0)
    if not drifts:
        return f"{cells}, and all match"
    return f"{cells}; {drifts} drifted, {GradeWord.CONSISTENT}, which their suites let pass"
