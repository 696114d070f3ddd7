"""A suite's log-probabilities as test cases: cells, the whole, controls and weights."""

from collections.abc import Iterator, Sequence

from repro_gate.core.logprob_report import (
    LogprobCellReport,
    LogprobControl,
    LogprobReport,
    WeightReport,
)
from repro_gate.core.outcome import Outcome, outcome_of_verdict
from repro_gate.reports import foreign
from repro_gate.reports.describe import Description
from repro_gate.reports.junit_cases import Case
from repro_gate.reports.labelled import Line, given
from repro_gate.reports.logprob_evidence import logprob_evidence
from repro_gate.reports.logprob_words import (
    advise_logprobs,
    describe_logprob_control,
    describe_logprobs,
)
from repro_gate.reports.matrix_words import (
    advise_matrix,
    describe_matrix,
    matrix_evidence,
    outcome_of_matrix,
)
from repro_gate.reports.weight_words import (
    outcome_of_weights,
    pair_words,
    statement,
    weight_evidence,
)


def logprob_cases(part: LogprobReport) -> list[Case]:
    """Return a case for everything of a suite that can fail."""
    suite = foreign.one_line(part.suite)
    return [
        *(_cell(cell, suite) for cell in part.cells),
        _whole(part, suite),
        *(_control(control, suite) for control in part.controls),
        *(_weights(found, suite) for found in part.weights),
    ]


def _cell(cell: LogprobCellReport, suite: str) -> Case:
    said = describe_logprobs(cell)
    policy = f".{cell.cell.policy.name}" if cell.cell else ""
    return Case(
        classname=f"{suite}{policy}",
        name=foreign.one_line(cell.id),
        outcome=outcome_of_verdict(cell.verdict),
        kind=cell.verdict.word,
        message=said.claim if said.reason is None else f"{said.claim}: {said.reason}",
        body=_body([*logprob_evidence(cell), *_rest(said, advise_logprobs(cell.verdict))]),
    )


def _whole(part: LogprobReport, suite: str) -> Case:
    advice = advise_matrix(part.suite_test.verdict)
    return Case(
        classname=f"{suite}.whole",
        name="the suite as a whole",
        outcome=outcome_of_matrix(part.suite_test.verdict),
        kind=part.suite_test.verdict.value,
        message=describe_matrix(part.suite_test),
        body=_body([*matrix_evidence(part.suite_test, part.tolerance), ("what to do", advice)]),
    )


def _control(control: LogprobControl, suite: str) -> Case:
    return Case(
        classname=f"{suite}.controls",
        name=f"{foreign.one_line(control.cell)} after another prompt",
        outcome=Outcome.FAILED if control.failed else Outcome.PASSED,
        kind="control",
        message=describe_logprob_control(control),
    )


def _weights(found: WeightReport, suite: str) -> Case:
    return Case(
        classname=f"{suite}.weights",
        name=pair_words(found),
        outcome=outcome_of_weights(found),
        kind="weights",
        message=statement(found),
        body=_body(weight_evidence(found)),
    )


def _rest(said: Description, advice: str) -> Iterator[Line]:
    for change in said.suspects:
        yield "changed", foreign.change_line(change)
    yield from given("remedy", said.remedy)
    yield "what to do", advice


def _body(lines: Sequence[Line]) -> list[str]:
    return [f"{label}: {text}" for label, text in lines]
