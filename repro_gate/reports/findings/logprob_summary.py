"""A suite of log-probabilities as a whole, in the sentences of every report."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from repro_gate.core.logprobs.report import (
    LogprobCellReport,
    LogprobReport,
    PolicyNoise,
    Spending,
    SuiteVerdict,
)
from repro_gate.core.logprobs.verdicts import Agrees, Effect, Sameness
from repro_gate.core.outcome import Outcome, outcome_of_verdict
from repro_gate.reports.findings.logprob_wording import LOGPROB_WORDS
from repro_gate.reports.text import escape
from repro_gate.reports.text.escape import Spell
from repro_gate.reports.text.format import plural, usd


def format_counts(counts: Mapping[str, int]) -> str:
    """Return how many cells have each verdict that was given at all."""
    return ", ".join(_counted(counts[word], word) for word in LOGPROB_WORDS if counts.get(word))


def format_suite(part: LogprobReport) -> str:
    """Return how a suite's cells did, as the head of all that is said of them."""
    orphans = len(part.orphans)
    counts = Counter(cell.verdict.word for cell in part.cells)
    said = f"{plural(len(part.cells), 'cell')}: {format_counts(counts) or 'nothing was checked'}"
    return f"{said}; {plural(orphans, 'baseline')} orphaned" if orphans else said


def format_suite_line(part: LogprobReport) -> str:
    """Return a suite in one line, with its name."""
    counted = format_counts(part.counts) or "nothing was checked"
    return f"{escape.one_line(part.suite)}: {', '.join([counted, *alarms(part)])}"


def reasons(part: LogprobReport, *, name: Spell = escape.one_line) -> str:
    """Return why a suite does not pass; empty when it does. `name` makes a policy's name safe."""
    cells = part.cells
    outcomes = [outcome_of_verdict(cell.verdict) for cell in cells]
    findings, unknown = outcomes.count(Outcome.FAILED), outcomes.count(Outcome.INCONCLUSIVE)
    orphans = len(part.orphans)
    counted = (
        (findings, f"{findings} of {plural(len(cells), 'cell')} with a finding"),
        (orphans, f"{plural(orphans, 'baseline')} without a cell"),
        (unknown, f"{unknown} of {plural(len(cells), 'cell')} not measured"),
        (len(part.uncontrolled), _uncontrolled_words(part, name)),
    )
    return ", ".join([*(words for count, words in counted if count), *alarms(part, name=name)])


def format_pass(part: LogprobReport) -> str:
    """Return what a pass rests on, and what was noted all the same."""
    noted = len(changes(part))
    said = f"{plural(len(part.cells), 'cell')} measured, and all agree"
    return f"{said}, {noted} with a change too small to count" if noted else said


def alarms(part: LogprobReport, *, name: Spell = escape.one_line) -> Iterator[str]:
    """Yield what is wrong with a suite beyond its single cells."""
    if part.suite_test.verdict is SuiteVerdict.DRIFT:
        yield "drift of the whole"
    if any(control.failed for control in part.controls):
        yield format_controls(part, name=name)
    failed = sum(found.failed for found in part.weights)
    if failed:
        yield f"{failed} of {plural(len(part.weights), 'set')} of weights cannot be used"
    unknown = sum(found.inconclusive for found in part.weights)
    if unknown:
        yield f"{unknown} of {plural(len(part.weights), 'set')} of weights undetermined"


def format_controls(part: LogprobReport, *, name: Spell = escape.one_line) -> str:
    """Return how many controls did what a control must do."""
    failed = [control for control in part.controls if control.failed]
    if not part.controls:
        return "no control was run, so nothing here shows that this check can fail"
    said = f"{plural(len(part.controls), 'control')}, all differ"
    if failed:
        said = f"{len(failed)} of {plural(len(part.controls), 'control')} did not differ"
    return f"{said}; {_uncontrolled_words(part, name)}" if part.uncontrolled else said


def _uncontrolled_words(part: LogprobReport, name: Spell) -> str:
    return f"no control could be measured for {', '.join(map(name, part.uncontrolled))}"


def format_agreeing(part: LogprobReport) -> str | None:
    """Return how much is claimed of the cells that agree; None when none does."""
    agreeing = [cell.verdict for cell in part.cells if isinstance(cell.verdict, Agrees)]
    given = Counter(verdict.sameness for verdict in agreeing if verdict.changed is None)
    claims = (
        (given[Sameness.IDENTICAL], "identical"),
        (given[Sameness.EQUIVALENT], "equivalent"),
        (len(changes(part)), "changed within the tolerance"),
        (given[Sameness.NOT_SHOWN], "with no difference found (equivalence was not shown)"),
    )
    return ", ".join(f"{count} {claim}" for count, claim in claims if count) or None


def format_policy(noise: PolicyNoise) -> str:
    """Return how much was drawn of a policy, and how much of it repeats the calibration."""
    identical = round(noise.atom * noise.draws)
    drawn = f"{plural(noise.cells, 'cell')}, {plural(noise.draws, 'draw')}"
    outliers = f", {plural(noise.outliers, 'outlier')}" if noise.outliers else ""
    return f"{drawn}, {identical} identical{outliers}"


def agreements(part: LogprobReport) -> tuple[str, ...]:
    """Return how the cells of each policy did, in the order of the policies."""
    cells: dict[str, list[LogprobCellReport]] = {noise.policy: [] for noise in part.policies}
    for found in part.cells:
        cells.setdefault(found.cell.policy.name, []).append(found)
    return tuple(_agreement(cells[noise.policy]) for noise in part.policies)


def _agreement(cells: Sequence[LogprobCellReport]) -> str:
    agreeing = [cell for cell in cells if isinstance(cell.verdict, Agrees)]
    counts = Counter(cell.verdict.word for cell in cells)
    return "all agree" if len(agreeing) == len(cells) else format_counts(counts)


def format_cost(spent: Spending) -> str:
    """Return what the check cost, and what it did not."""
    saved = f"{spent.saved} saved by stopping early"
    reused = f", {spent.reused} reused" if spent.reused else ""
    price = f", {usd(spent.usd)}" if spent.usd else ""
    return (
        f"{plural(spent.calls, 'call')} ({saved}{reused}), {plural(spent.tokens, 'token')}{price}"
    )


def changes(part: LogprobReport) -> tuple[tuple[LogprobCellReport, Effect], ...]:
    """Return the cells that agree, and have changed all the same: by less than is allowed."""
    agreeing = [(cell, cell.verdict) for cell in part.cells if isinstance(cell.verdict, Agrees)]
    return tuple((cell, found.changed) for cell, found in agreeing if found.changed is not None)


def _counted(count: int, word: str) -> str:
    # The one verdict that is a verb.
    return f"{count} agree" if word == Agrees.word and count != 1 else f"{count} {word}"
