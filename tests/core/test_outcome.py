"""From verdicts to one outcome and one exit code."""

from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.core.logprobs.report import (
    LogprobCellReport,
    LogprobControl,
    SuiteVerdict,
    Usability,
)
from repro_gate.core.logprobs.verdicts import Agrees, Equivalence, LogprobVerdict
from repro_gate.core.outcome import (
    ExitCode,
    FailOn,
    Outcome,
    decide,
    exit_code_for,
    outcome_of_cell,
    outcome_of_verdict,
    shell_code,
)
from repro_gate.core.report import CellReport, GateReport, Timing
from repro_gate.core.tokens.cell import Factor
from repro_gate.core.tokens.controls import ControlReport
from repro_gate.core.tokens.generation import Divergence, Place
from repro_gate.core.tokens.grade import FailingDrift, Grade
from repro_gate.core.tokens.modes import Answer, Level, Mode, ModeKind, ModeResult
from repro_gate.core.tokens.verdicts import (
    Depends,
    Drift,
    Inconclusive,
    Match,
    Nondeterministic,
    Orphan,
    Unrecorded,
    Vacuous,
    Verdict,
)
from tests.fakes.logprob_reports import (
    LOGPROB_VERDICTS,
    effect_of,
    logprob_cell_report_of,
    logprob_report_of,
    suite_test_of,
    weight_report_of,
)
from tests.fakes.values import (
    PROFILE,
    cell_of,
    control_of,
    generation_of,
    golden_of,
    grade_of,
    tokens_of,
)

CELL = cell_of()
PARTED = Divergence(
    place=Place.OUTPUT, position=0, expected=tokens_of(1)[0], observed=tokens_of(2)[0]
)
COMPANY = Mode(ModeKind.CONCURRENT, 8)
UNKNOWN = Inconclusive(reason="the engine died", remedy=None)
FINDINGS: tuple[Verdict, ...] = (
    Nondeterministic(run=2, in_fresh_process=False, divergence=PARTED),
    Drift(divergence=PARTED, golden=golden_of(CELL, generation_of(1)), provenance=()),
    Unrecorded(reason="there is no golden for this profile"),
    Vacuous(factor=Factor.SEED),
    Depends(modes=(COMPANY,)),
)
ORPHAN = Orphan(id="gone", origin=PROFILE)
DIFFERED = control_of(divergence=PARTED)
DID_NOT = control_of()

verdicts = st.lists(st.sampled_from((Match(), UNKNOWN, *FINDINGS)), min_size=1, max_size=6)


def _report(
    *found: Verdict | Orphan, controls: tuple[ControlReport, ...] = (), interrupted: bool = False
) -> GateReport:
    return GateReport(
        tool_version="0",
        started_at="",
        suites=("quick",),
        cells=tuple(_cell_report(each) for each in found if not isinstance(each, Orphan)),
        orphans=tuple(each for each in found if isinstance(each, Orphan)),
        controls=controls,
        engines=(),
        models={},
        timing=Timing(wall_s=1.0, load_s=0.0, engine_s=0.0, generated_tokens=0),
        interrupted=interrupted,
    )


def _cell_report(verdict: Verdict) -> CellReport:
    is_run = not isinstance(verdict, Inconclusive)
    differing = ModeResult(mode=COMPANY, level=Level.TOKENS).with_answer(
        generation_of(1), Answer(generation=generation_of(2))
    )
    return CellReport(
        suite="quick",
        cell=CELL,
        verdict=verdict,
        runs=3 if is_run else 0,
        generation=generation_of(2 if isinstance(verdict, Drift) else 1) if is_run else None,
        profile=PROFILE,
        modes=(differing,) if isinstance(verdict, Depends) else (),
    )


def test_every_verdict_has_an_outcome() -> None:
    """A match passes, the unmeasured is unknown, and everything else is a finding."""
    every = (Match(), UNKNOWN, *FINDINGS)

    assert set(map(type, every)) == set(get_args(Verdict))
    assert [outcome_of_verdict(verdict) for verdict in every] == [
        Outcome.PASSED,
        Outcome.INCONCLUSIVE,
        *[Outcome.FAILED] * len(FINDINGS),
    ]


def test_an_unknown_verdict_is_a_crash() -> None:
    """Whatever is not counted among the verdicts is never taken for a pass."""
    with pytest.raises(AssertionError, match="unreachable"):
        outcome_of_verdict("looks fine")  # type: ignore[arg-type]


def test_every_verdict_has_a_word_of_its_own() -> None:
    """A report can count verdicts by their words."""
    words = [kind.word for kind in (*get_args(Verdict), Orphan)]

    assert sorted(words) == [
        "depends",
        "drift",
        "inconclusive",
        "match",
        "nondeterministic",
        "orphaned",
        "unrecorded",
        "vacuous",
    ]


@given(verdicts)
def test_a_finding_beats_the_unknown_which_beats_agreement(found: list[Verdict]) -> None:
    """Exit 10 beats 4, which beats 0, in whatever order the cells come."""
    outcomes = [outcome_of_verdict(verdict) for verdict in found]
    worst = next(
        outcome
        for outcome in (Outcome.FAILED, Outcome.INCONCLUSIVE, Outcome.PASSED)
        if outcome in outcomes
    )

    assert decide(_report(*found)) == worst


def test_nothing_checked_is_inconclusive() -> None:
    """An empty report is no pass."""
    assert decide(_report()) == Outcome.INCONCLUSIVE
    assert exit_code_for(_report()) == ExitCode.INCONCLUSIVE


@pytest.mark.parametrize("verdict", [Match(), UNKNOWN])
def test_a_control_that_does_not_differ_is_a_finding(verdict: Verdict) -> None:
    """A check that cannot fail does not pass, and it is known that it cannot."""
    assert decide(_report(verdict, controls=(DIFFERED, DID_NOT))) == Outcome.FAILED
    assert decide(_report(Match(), controls=(DIFFERED,))) == Outcome.PASSED


def test_an_interrupted_check_does_not_pass() -> None:
    """What was measured agrees, but not everything was asked."""
    assert decide(_report(Match(), interrupted=True)) == Outcome.INCONCLUSIVE
    assert decide(_report(FINDINGS[0], interrupted=True)) == Outcome.FAILED


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (_report(Match()), ExitCode.PASSED),
        (_report(Match(), UNKNOWN), ExitCode.INCONCLUSIVE),
        (_report(Match(), UNKNOWN, FINDINGS[1]), ExitCode.FINDINGS),
        (_report(Match(), interrupted=True), ExitCode.INTERRUPTED),
        (_report(FINDINGS[1], interrupted=True), ExitCode.INTERRUPTED),
        (_report(interrupted=True), ExitCode.INTERRUPTED),
    ],
)
def test_every_outcome_has_an_exit_code(report: GateReport, code: ExitCode) -> None:
    """An interruption takes precedence, because the results are partial."""
    assert exit_code_for(report) == code


@pytest.mark.parametrize(
    ("grade", "outcome"),
    [
        (grade_of(), Outcome.PASSED),
        (grade_of(detectable_shift=0.3), Outcome.INCONCLUSIVE),
        (grade_of(p_value=0.001), Outcome.FAILED),
    ],
)
def test_a_drift_may_have_the_outcome_of_its_grade(grade: Grade, outcome: Outcome) -> None:
    """Where its suite asks for that, and in no other."""
    report = replace(_report(FINDINGS[1]), grades=(grade,))
    mild = replace(report, grades=(replace(grade, fail_on=FailingDrift.BEYOND_ROUNDING),))
    (cell,) = report.cells

    assert (outcome_of_cell(cell, report), decide(report)) == (Outcome.FAILED, Outcome.FAILED)
    assert (outcome_of_cell(cell, mild), decide(mild)) == (outcome, outcome)


def test_a_drift_with_runs_that_were_not_made_does_not_pass() -> None:
    """They could have differed; a finding stays one."""
    for grade, outcome in (
        (grade_of(), Outcome.INCONCLUSIVE),
        (grade_of(p_value=0.001), Outcome.FAILED),
    ):
        report = _report(FINDINGS[1])
        cells = tuple(replace(cell, unfinished=UNKNOWN) for cell in report.cells)
        mild = replace(grade, fail_on=FailingDrift.BEYOND_ROUNDING)
        assert decide(replace(report, cells=cells, grades=(mild,))) is outcome


def test_a_grade_excuses_no_other_finding() -> None:
    """Neither of the same model and suite, nor a drift of others."""
    mild = replace(grade_of(), fail_on=FailingDrift.BEYOND_ROUNDING)
    for verdict in FINDINGS:
        report = replace(_report(verdict), grades=(mild,))
        expected = Outcome.PASSED if isinstance(verdict, Drift) else Outcome.FAILED
        assert decide(report) is expected
    for other in (replace(mild, suite="other"), replace(mild, model="other")):
        assert decide(replace(_report(FINDINGS[1]), grades=(other,))) is Outcome.FAILED


def test_a_crash_is_no_exit_code_of_ours() -> None:
    """1 belongs to an uncaught exception, and every code is another."""
    assert {code.name: int(code) for code in ExitCode} == {
        "PASSED": 0,
        "USAGE_INVALID": 2,
        "INPUT_INVALID": 3,
        "INCONCLUSIVE": 4,
        "FINDINGS": 10,
        "INTERRUPTED": 130,
    }


AGREES = logprob_cell_report_of(Agrees(equivalence=Equivalence.IDENTICAL))
LOGPROB_FINDINGS = ("drift", "outlier", "invalid", "unrecorded")


def _logprobs(*cells: LogprobCellReport, interrupted: bool = False, **changes: Any) -> GateReport:
    """Return a report on a suite of log-probabilities alone."""
    part = logprob_report_of(*cells, **changes)
    return replace(_report(interrupted=interrupted), logprobs=(part,))


def test_every_verdict_on_log_probabilities_has_a_word_of_its_own() -> None:
    """They share those that mean the same."""
    words = [kind.word for kind in get_args(LogprobVerdict)]

    assert sorted(words) == sorted(["agrees", "inconclusive", *LOGPROB_FINDINGS])
    assert sorted(LOGPROB_VERDICTS) == sorted(words)


@pytest.mark.parametrize("word", LOGPROB_FINDINGS)
def test_findings_of_log_probabilities_fail(word: str) -> None:
    """Whatever else agrees."""
    report = _logprobs(AGREES, LOGPROB_VERDICTS[word])

    assert outcome_of_verdict(LOGPROB_VERDICTS[word].verdict) == Outcome.FAILED
    assert (decide(report), exit_code_for(report)) == (Outcome.FAILED, ExitCode.FINDINGS)


def test_orphans_fail() -> None:
    """Whatever else matches or agrees."""
    assert decide(_report(Match(), ORPHAN)) == Outcome.FAILED
    assert decide(_logprobs(AGREES, orphans=(ORPHAN,))) == Outcome.FAILED


def test_log_probabilities_that_agree_pass() -> None:
    """Also where the service has changed by less than counts."""
    changed = logprob_cell_report_of(Agrees(equivalence=Equivalence.NOT_SHOWN, changed=effect_of()))
    suite_test = suite_test_of(SuiteVerdict.CHANGED)

    assert decide(_logprobs(AGREES)) == Outcome.PASSED
    assert exit_code_for(_logprobs(AGREES, changed, suite_test=suite_test)) == ExitCode.PASSED


def test_log_probabilities_that_were_not_measured_are_inconclusive() -> None:
    """A cell that could not be drawn is no pass, and no finding either."""
    assert decide(_logprobs(AGREES, LOGPROB_VERDICTS["inconclusive"])) == Outcome.INCONCLUSIVE


def test_a_suite_of_which_nothing_was_drawn_is_inconclusive() -> None:
    """Independent of the verdicts on its cells."""
    undrawn = replace(AGREES, totals=())

    assert decide(_logprobs()) == Outcome.INCONCLUSIVE
    assert decide(_logprobs(undrawn)) == Outcome.INCONCLUSIVE


def test_drift_of_the_whole_is_a_finding_without_that_of_a_cell() -> None:
    """A changed model moves every item a little."""
    assert decide(_logprobs(AGREES, suite_test=suite_test_of(SuiteVerdict.DRIFT))) == Outcome.FAILED


def test_a_control_of_log_probabilities_that_does_not_differ_is_a_finding() -> None:
    """An API that ignores the prompt cannot fail the check."""
    control = LogprobControl(policy="base", cell="base--capital", differed=False)

    assert decide(_logprobs(AGREES, controls=(control,))) == Outcome.FAILED


def test_a_policy_without_a_control_is_inconclusive() -> None:
    """Its cells agree, and nothing shows that they could have done otherwise."""
    report = _logprobs(AGREES, controls=())

    assert report.logprobs[0].uncontrolled == ("base",)
    assert decide(report) == Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("is_control", "must_be_usable", "outcome"),
    [
        (True, False, Outcome.FAILED),
        (False, True, Outcome.FAILED),
        (False, False, Outcome.PASSED),
    ],
)
def test_unusable_weights_fail_where_they_are_required(
    outcome: Outcome, *, is_control: bool, must_be_usable: bool
) -> None:
    """Weights of a clone and required weights are findings; others are only reported."""
    found = weight_report_of(
        "one item has 99 % of the whole weight",
        is_control=is_control,
        must_be_usable=must_be_usable,
    )
    usable = replace(found, problems=())

    assert decide(_logprobs(AGREES, weights=(found,))) == outcome
    assert decide(_logprobs(AGREES, weights=(usable,))) == Outcome.PASSED


@pytest.mark.parametrize(
    ("is_control", "must_be_usable", "outcome"),
    [
        (True, False, Outcome.INCONCLUSIVE),
        (False, True, Outcome.INCONCLUSIVE),
        (False, False, Outcome.PASSED),
    ],
)
def test_undetermined_weights_are_no_pass_where_they_are_required(
    outcome: Outcome, *, is_control: bool, must_be_usable: bool
) -> None:
    """Neither is a control that could not have failed; what is known besides comes first."""
    found = weight_report_of(
        is_control=is_control,
        must_be_usable=must_be_usable,
        doubts=("1 item",),
        control_doubt="1 item" if is_control else None,
    )
    drift = LOGPROB_VERDICTS["drift"]

    assert found.usability is Usability.UNDETERMINED
    assert decide(_logprobs(AGREES, weights=(found,))) == outcome
    assert decide(_logprobs(drift, weights=(found,))) == Outcome.FAILED


def test_an_interrupted_suite_does_not_pass() -> None:
    """What is certain by then is a finding all the same."""
    drift = LOGPROB_VERDICTS["drift"]

    assert decide(_logprobs(AGREES, interrupted=True)) == Outcome.INCONCLUSIVE
    assert decide(_logprobs(drift, interrupted=True)) == Outcome.FAILED
    assert exit_code_for(_logprobs(drift, interrupted=True)) == ExitCode.INTERRUPTED


def test_tokens_and_log_probabilities_are_decided_together() -> None:
    """Neither makes good for the other."""
    agreeing, drifted = (_logprobs(cell).logprobs for cell in (AGREES, LOGPROB_VERDICTS["drift"]))

    assert decide(replace(_report(Match()), logprobs=agreeing)) == Outcome.PASSED
    assert decide(replace(_report(Match()), logprobs=drifted)) == Outcome.FAILED
    assert decide(replace(_report(FINDINGS[1]), logprobs=agreeing)) == Outcome.FAILED
    assert decide(replace(_report(UNKNOWN), logprobs=agreeing)) == Outcome.INCONCLUSIVE


def test_a_suite_counts_its_verdicts() -> None:
    """Only verdicts that were given are counted."""
    part = logprob_report_of(AGREES, AGREES, LOGPROB_VERDICTS["drift"])

    assert part.counts == {"agrees": 2, "drift": 1}


def test_a_report_counts_its_verdicts() -> None:
    """Only verdicts that were given are counted."""
    report = _report(Match(), Match(), UNKNOWN, ORPHAN)

    assert report.counts == {"match": 2, "inconclusive": 1, "orphaned": 1}


def test_a_report_of_orphans_alone_measured_nothing() -> None:
    """A golden without a cell is found, not measured."""
    assert [_report(*found).measured for found in ((), (ORPHAN, UNKNOWN), (Match(),))] == [
        False,
        False,
        True,
    ]


def test_a_control_fails_when_it_does_not_differ() -> None:
    """A control is there to differ."""
    assert (DIFFERED.failed, DID_NOT.failed) == (False, True)


def test_what_fails_for_the_shell_can_be_chosen() -> None:
    """`findings` ignores inconclusive results, and only `never` ignores findings."""
    unknown, found = _report(UNKNOWN), _report(FINDINGS[0])

    codes = {
        fail_on.value: (shell_code(unknown, fail_on).value, shell_code(found, fail_on).value)
        for fail_on in FailOn
    }
    assert codes == {"inconclusive": (4, 10), "findings": (0, 10), "never": (0, 0)}
