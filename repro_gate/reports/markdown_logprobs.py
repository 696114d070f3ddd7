"""Suites of log-probabilities in Markdown: as a whole, by policy, weights, and every cell."""

from collections.abc import Iterator

from repro_gate.core.logprobs.report import (
    LogprobCellReport,
    LogprobReport,
    WeightReport,
)
from repro_gate.core.logprobs.verdicts import Shifted
from repro_gate.core.outcome import Outcome, outcome_of_suite, outcome_of_verdict
from repro_gate.core.report import GateReport
from repro_gate.reports.findings import logprob_summary
from repro_gate.reports.findings.logprob_evidence import shift_of
from repro_gate.reports.findings.logprob_sessions import format_false_alarms, format_second_look
from repro_gate.reports.findings.logprob_tables import (
    POLICY_COLUMNS,
    WEIGHT_COLUMNS,
    policy_row,
    weight_row,
)
from repro_gate.reports.findings.logprob_wording import (
    FORMULA,
    describe_logprob_control,
    describe_suite_test,
    describe_weights,
    format_pair,
    format_usability,
    outcome_of_suite_test,
    outcome_of_weights,
    suite_test_lines,
)
from repro_gate.reports.findings.notes import logprob_notes
from repro_gate.reports.markdown_findings import figure_block, note_blocks
from repro_gate.reports.text.format import nats, plural, shifted
from repro_gate.reports.text.markdown import Block, code, details, mark, table


def logprob_blocks(report: GateReport) -> Iterator[Block]:
    """Yield a section for each suite."""
    for part in report.logprobs:
        yield [f"## Log-probabilities of {code(part.suite)}"]
        yield [part_line(part, report)]
        yield from note_blocks(logprob_notes(part))
        yield from suite_blocks(part)


def suite_blocks(part: LogprobReport) -> Iterator[Block]:
    """Yield the details of a suite, without its findings and notes."""
    yield from _whole(part)
    yield from _policies(part)
    yield from _weights(part)
    yield from _controls(part)
    yield from _every_cell(part)


def part_line(part: LogprobReport, report: GateReport) -> str:
    """Return the outcome and the verdicts of a suite."""
    outcome = outcome_of_suite(part, interrupted=report.interrupted)
    return f"{mark(outcome)} **{outcome.capitalize()}**: {logprob_summary.format_suite(part)}."


def _whole(part: LogprobReport) -> Iterator[Block]:
    verdict = part.suite_test.verdict
    agreement = logprob_summary.format_agreeing(part)
    later = format_second_look(part.tolerance)
    yield ["### The suite as a whole"]
    result = describe_suite_test(part.suite_test).claim
    yield [f"{mark(outcome_of_suite_test(verdict))} **{verdict.value}**: {result}."]
    yield figure_block(suite_test_lines(part.suite_test, part.tolerance))
    yield [
        *([] if agreement is None else [f"- **Cells that agree**: {agreement}"]),
        f"- **False alarms**: {format_false_alarms(part.tolerance, part.sessions)}",
        *([] if later is None else [f"- **Second look**: {later}"]),
        f"- **Cost**: {logprob_summary.format_cost(part.spending)}",
    ]


def _policies(part: LogprobReport) -> Iterator[Block]:
    if part.policies:
        yield ["### Policies side by side"]
        yield ["Variances are within cells, in nats squared."]
        yield ["*Identical*: the share of draws that repeat a calibration draw to the last digit."]
        agreed = logprob_summary.agreements(part)
        rows = map(policy_row, part.policies, agreed)
        yield table(POLICY_COLUMNS, [[*map(code, row[:2]), *row[2:]] for row in rows])


def _weights(part: LogprobReport) -> Iterator[Block]:
    if part.weights:
        yield ["### Importance weights"]
        yield [f"{FORMULA}. The effective sample size (ESS) is at most the number of items."]
        rows = map(weight_row, part.weights)
        yield table(WEIGHT_COLUMNS, [[code(row[0]), *row[1:]] for row in rows])
        yield [f"- {_statement(found)}" for found in part.weights]


def _statement(found: WeightReport) -> str:
    outcome, reason = outcome_of_weights(found), describe_weights(found).reason
    # Unusable weights are no success, even where they are only for information.
    sign = "⚠" if reason is not None and outcome is Outcome.PASSED else mark(outcome)
    return f"{sign} {code(format_pair(found))}: {format_usability(found, reason_as=code)}"


def _controls(part: LogprobReport) -> Iterator[Block]:
    yield ["### Controls"]
    if part.controls:
        yield ["A control scores the same response after another prompt and must differ."]
        yield table(
            ["policy", "cell", "result"],
            [
                [
                    code(control.policy),
                    code(control.cell),
                    f"{'❌' if control.failed else '✅'} {describe_logprob_control(control).claim}",
                ]
                for control in part.controls
            ],
        )
    else:
        yield [f"{logprob_summary.format_controls(part).capitalize()}."]


def _every_cell(part: LogprobReport) -> Iterator[Block]:
    header = ["cell", "verdict", "draws", "center", "shift", "band"]
    rows = table(header, map(_cell, part.cells))
    yield details(f"{plural(len(part.cells), 'cell')}, one by one, in nats", rows)


def _cell(cell: LogprobCellReport) -> list[str]:
    shift, band = shift_of(cell), "" if cell.band is None else nats(cell.band)
    moved = "" if shift is None else shifted(shift)
    if isinstance(cell.verdict, Shifted) and cell.verdict.effect.deciding.token is not None:
        deciding, token = cell.verdict.effect.deciding, cell.verdict.effect.deciding.token
        moved = f"{shifted(deciding.shift)} of token {token.position}"
        band = nats(deciding.band)
    return [
        code(cell.id),
        f"{mark(outcome_of_verdict(cell.verdict))} {cell.verdict.word}",
        str(len(cell.totals)),
        "" if cell.center is None else nats(cell.center),
        moved,
        band,
    ]
