"""A suite of log-probabilities as a whole, in the sentences of every report."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import assert_never

from repro_gate.core.logprobs.policy import PolicyKind
from repro_gate.core.logprobs.report import (
    LogprobCellReport,
    LogprobReport,
    PolicyNoise,
    Spending,
    SuiteVerdict,
)
from repro_gate.core.logprobs.verdicts import Agrees, Effect, Equivalence
from repro_gate.core.outcome import Outcome, outcome_of_verdict
from repro_gate.reports.findings.logprob_wording import LOGPROB_WORDS
from repro_gate.reports.findings.wording import format_counts
from repro_gate.reports.text import escape
from repro_gate.reports.text.escape import Escape
from repro_gate.reports.text.format import plural, usd


def format_suite(part: LogprobReport) -> str:
    """Return the number of a suite's cells, their verdicts and its orphans."""
    orphans = len(part.orphans)
    counts = Counter(cell.verdict.word for cell in part.cells)
    verdicts = format_counts(counts, LOGPROB_WORDS) or "nothing was checked"
    counted = f"{plural(len(part.cells), 'cell')}: {verdicts}"
    return f"{counted}; {plural(orphans, 'baseline')} orphaned" if orphans else counted


def format_suite_line(part: LogprobReport) -> str:
    """Return the result of a suite in one line."""
    counted = format_counts(part.counts, LOGPROB_WORDS) or "nothing was checked"
    return f"{escape.one_line(part.suite)}: {', '.join([counted, *alarms(part)])}"


def reasons(part: LogprobReport, *, name: Escape = escape.one_line) -> str:
    """Return why a suite does not pass; empty when it does. `name` escapes the name of a policy."""
    cells = part.cells
    outcomes = [outcome_of_verdict(cell.verdict) for cell in cells]
    findings, unknown = outcomes.count(Outcome.FAILED), outcomes.count(Outcome.INCONCLUSIVE)
    orphans = len(part.orphans)
    counted = (
        (findings, f"{findings} of {plural(len(cells), 'cell')} with a finding"),
        (orphans, f"{plural(orphans, 'orphaned baseline')}"),
        (unknown, f"{unknown} of {plural(len(cells), 'cell')} not measured"),
        (len(part.uncontrolled), _format_uncontrolled(part, name)),
    )
    return ", ".join([*(words for count, words in counted if count), *alarms(part, name=name)])


def format_pass(part: LogprobReport) -> str:
    """Return the evidence for a pass."""
    noted = len(changes(part))
    agreed = f"{plural(len(part.cells), 'cell')} measured, and all agree"
    return f"{agreed}, {noted} with a change within the tolerance" if noted else agreed


def alarms(part: LogprobReport, *, name: Escape = escape.one_line) -> Iterator[str]:
    """Yield what failed in a suite besides its cells."""
    if part.suite_test.verdict is SuiteVerdict.DRIFT:
        yield "drift of the suite as a whole"
    if any(control.failed for control in part.controls):
        yield format_controls(part, name=name)
    failed = sum(found.failed for found in part.weights)
    if failed:
        yield f"{failed} of {plural(len(part.weights), 'set')} of weights cannot be used"
    unknown = sum(found.inconclusive for found in part.weights)
    if unknown:
        yield f"{unknown} of {plural(len(part.weights), 'set')} of weights undetermined"


def format_controls(part: LogprobReport, *, name: Escape = escape.one_line) -> str:
    """Return the result of the controls of a suite."""
    failed = [control for control in part.controls if control.failed]
    if not part.controls:
        return "no control was run, so nothing here shows that this check can fail"
    result = f"{plural(len(part.controls), 'control')}, all differ"
    if failed:
        result = f"{len(failed)} of {plural(len(part.controls), 'control')} showed no difference"
    return f"{result}; {_format_uncontrolled(part, name)}" if part.uncontrolled else result


def _format_uncontrolled(part: LogprobReport, name: Escape) -> str:
    return f"no control could be measured for {', '.join(map(name, part.uncontrolled))}"


def format_agreeing(part: LogprobReport) -> str | None:
    """Return how closely the cells agree; None when none does."""
    agreeing = [cell.verdict for cell in part.cells if isinstance(cell.verdict, Agrees)]
    counts = Counter(verdict.equivalence for verdict in agreeing if verdict.changed is None)
    claims = (
        (counts[Equivalence.IDENTICAL], "identical"),
        (counts[Equivalence.EQUIVALENT], "equivalent"),
        (len(changes(part)), "changed within the tolerance"),
        (counts[Equivalence.NOT_SHOWN], "with no difference found (equivalence was not shown)"),
    )
    return ", ".join(f"{count} {claim}" for count, claim in claims if count) or None


def format_policy(noise: PolicyNoise) -> str:
    """Return the cells and draws of a policy, and how many draws repeat a calibration draw."""
    identical = round(noise.atom * noise.draws)
    drawn = f"{plural(noise.cells, 'cell')}, {plural(noise.draws, 'draw')}"
    outliers = f", {plural(noise.outliers, 'outlier')}" if noise.outliers else ""
    return f"{drawn}, {identical} identical{outliers}{_limit(noise.kind)}"


def _limit(kind: PolicyKind) -> str:
    """Return what draws of a kind do not show, after a semicolon."""
    match kind:
        case PolicyKind.RESPONSE:
            return ""
        case PolicyKind.FIRST_TOKEN:
            return "; what only later tokens show is not seen"
        case PolicyKind.GENERATED:
            return "; what follows the first fork of an answer is not seen"
        case _:
            assert_never(kind)


def agreements(part: LogprobReport) -> tuple[str, ...]:
    """Return the verdicts of each policy, in the order of the policies."""
    cells: dict[str, list[LogprobCellReport]] = {noise.policy: [] for noise in part.policies}
    for found in part.cells:
        cells.setdefault(found.cell.policy.name, []).append(found)
    return tuple(_agreement(cells[noise.policy]) for noise in part.policies)


def _agreement(cells: Sequence[LogprobCellReport]) -> str:
    agreeing = [cell for cell in cells if isinstance(cell.verdict, Agrees)]
    counts = Counter(cell.verdict.word for cell in cells)
    return "all agree" if len(agreeing) == len(cells) else format_counts(counts, LOGPROB_WORDS)


def format_cost(spent: Spending) -> str:
    """Return the cost of a check, and the calls that it saved."""
    saved = f"{spent.saved} saved by stopping early"
    reused = f", {spent.reused} reused" if spent.reused else ""
    price = f", {usd(spent.usd)}" if spent.usd else ""
    return (
        f"{plural(spent.calls, 'call')} ({saved}{reused}), {plural(spent.tokens, 'token')}{price}"
    )


def changes(part: LogprobReport) -> tuple[tuple[LogprobCellReport, Effect], ...]:
    """Return the cells that changed significantly, but within the tolerance."""
    agreeing = [(cell, cell.verdict) for cell in part.cells if isinstance(cell.verdict, Agrees)]
    return tuple((cell, found.changed) for cell, found in agreeing if found.changed is not None)
