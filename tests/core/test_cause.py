"""Which kind of change made the tokens of a cell diverge."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from repro_gate.core.cause import Cause, Diagnosis, diagnose, forced_through, not_rounding
from repro_gate.core.report import CellReport
from repro_gate.core.tokens.cell import Factor
from repro_gate.core.tokens.generation import Choice, Generation, first_divergence
from repro_gate.core.tokens.golden import FactChange
from repro_gate.core.tokens.grade import Grade, GradeReason
from repro_gate.core.tokens.verdicts import (
    Drift,
    FormerGolden,
    Inconclusive,
    Match,
    Nondeterministic,
    Unrecorded,
    Vacuous,
    Verdict,
)
from repro_gate.core.tokens.verification import Share, VerifiedToken
from tests.fakes.values import (
    CHAT,
    GREEDY,
    PROFILE,
    cell_of,
    generation_of,
    golden_of,
    grade_of,
    provenance_of,
    verification_of,
)

CELL = cell_of()
GOLDEN = generation_of(7, 8, 9, is_traced=True)
OBSERVED = generation_of(7, 5, 9, is_traced=True)
STALE = Grade(suite="s", model="tiny", reason=GradeReason.STALE)


def report_of(verdict: Verdict, observed: Generation | None = OBSERVED) -> CellReport:
    """Return the result of a cell that ran twice."""
    runs, profile = (2, PROFILE) if observed else (0, None)
    return CellReport(
        suite="s", cell=CELL, verdict=verdict, runs=runs, generation=observed, profile=profile
    )


def drift_of(
    golden: Generation = GOLDEN,
    observed: Generation = OBSERVED,
    changes: Sequence[FactChange] = (),
) -> CellReport:
    """Return the result of a cell that drifted."""
    divergence = first_divergence(golden, observed)
    assert divergence is not None
    recorded = golden_of(CELL, golden)
    drift = Drift(divergence=divergence, golden=recorded, provenance=tuple(changes))
    return report_of(drift, observed)


def diagnosed(report: CellReport) -> Diagnosis:
    """Return the diagnosis of a cell that has one."""
    found = diagnose(report, facts={}, committed=None)
    assert found is not None
    return found


def as_recorded(generation: Generation) -> tuple[VerifiedToken, ...]:
    """Return a verification with the log-probabilities of a trace."""
    claims = verification_of(generation)
    return tuple(
        replace(token, logprob=choice.logprob, best=choice.best)
        for token, choice in zip(claims, generation.trace, strict=False)
    )


def changed(name: str, before: str | None = "a") -> FactChange:
    """Return a fact that changed."""
    return FactChange(name=name, before=before, after="b")


def test_another_prompt_is_the_tokenizer() -> None:
    """Whatever else differs."""
    observed = replace(OBSERVED, prompt=GOLDEN.prompt[:1])
    found = diagnosed(drift_of(observed=observed, changes=[changed("model.sha256")]))
    assert found.cause is Cause.TOKENIZER


def test_another_rendering_is_the_template() -> None:
    """It comes before the tokens of the prompt."""
    assert diagnosed(of_chats()).cause is Cause.TEMPLATE


def of_chats() -> CellReport:
    """Return the result of a chat that is rendered as another text."""
    cell = replace(CELL, text="", chat=CHAT)
    golden, observed = replace(GOLDEN, rendered="a\nb"), replace(OBSERVED, rendered="a\nc")
    divergence = first_divergence(golden, observed)
    assert divergence is not None
    drift = Drift(divergence=divergence, golden=golden_of(cell, golden), provenance=())
    return replace(report_of(Match(), observed), cell=cell, verdict=drift)


@pytest.mark.parametrize("fact", ["model.sha256", "model.lora.1.sha256"])
def test_another_file_is_the_model(fact: str) -> None:
    """That of the model, or of an adapter."""
    report = replace(drift_of(changes=[changed(fact)]), verification=as_recorded(GOLDEN))
    assert diagnosed(report).cause is Cause.MODEL


@pytest.mark.parametrize(
    "change", [changed("model.sha256", None), changed("model.name"), changed("model.lora.1.scale")]
)
def test_other_facts_are_no_other_file(change: FactChange) -> None:
    """A digest that was not recorded did not change."""
    report = replace(drift_of(changes=[change]), verification=as_recorded(GOLDEN))
    assert diagnosed(report).cause is Cause.SAMPLER


def test_equal_log_probabilities_are_the_sampler() -> None:
    """Up to the divergence; the golden has four decimals."""
    verification = as_recorded(GOLDEN)
    rounded = replace(verification[0], logprob=-0.50004)
    later = replace(verification[2], logprob=-3.0)
    report = replace(drift_of(), verification=(rounded, verification[1], later))
    found = diagnosed(report)
    assert (found.cause, len(found.positions), len(found.up_to_fork)) == (Cause.SAMPLER, 3, 2)


def test_other_log_probabilities_are_numeric() -> None:
    """However small the difference is."""
    verification = as_recorded(GOLDEN)
    moved = replace(verification[0], logprob=-0.5002)
    report = replace(drift_of(), verification=(moved, *verification[1:]))
    assert diagnosed(report).cause is Cause.NUMERIC


def test_other_logits_are_numeric_though_all_tokens_agree() -> None:
    """Unless another file is loaded."""
    golden, observed = generation_of(7, 8, logits="ab"), generation_of(7, 8, logits="ac")

    assert diagnosed(drift_of(golden, observed)).cause is Cause.NUMERIC
    found = drift_of(golden, observed, [changed("model.sha256")])
    assert diagnosed(found).cause is Cause.MODEL


@pytest.mark.parametrize(
    ("observed", "cause"), [("abc", Cause.SAMPLER), ("ab1", Cause.SAMPLER), ("a1c", Cause.NUMERIC)]
)
def test_logits_decide_without_log_probabilities(observed: str, cause: Cause) -> None:
    """To the bit, up to the fork, where a trace has four decimals."""
    golden = generation_of(7, 8, 9, logits="abc")

    found = drift_of(golden, generation_of(7, 5, 9, logits=observed))
    assert diagnosed(found).cause is cause


def test_the_logits_of_runs_that_differ_decide_too() -> None:
    """Of the other run they are known up to the fork."""
    first = generation_of(7, 8, 9, logits="abc")
    for logits, cause in (("ab", Cause.SAMPLER), ("a1", Cause.NUMERIC)):
        divergence = first_divergence(first, generation_of(7, 5, logits=logits))
        assert divergence is not None
        unstable = Nondeterministic(run=2, in_fresh_process=False, divergence=divergence)
        assert diagnosed(report_of(unstable, first)).cause is cause


def test_positions_of_other_logits_are_all_of_the_output() -> None:
    """None of them follows another token."""
    golden = generation_of(7, 8, 9, is_traced=True, logits="abc")
    observed = generation_of(7, 8, 9, is_traced=True, logits="a1c")

    assert [each.number for each in diagnosed(drift_of(golden, observed)).up_to_fork] == [0, 1, 2]


@pytest.mark.parametrize(
    ("grade", "cause"),
    [
        (grade_of(), Cause.ROUNDING),
        (grade_of(p_value=0.001), Cause.BEHAVIOURAL),
        (grade_of(detectable_shift=0.3), Cause.NUMERIC),
        (STALE, Cause.NUMERIC),
    ],
)
def test_a_grade_names_other_log_probabilities(grade: Grade, cause: Cause) -> None:
    """Only statistics do; and a sampler stays one."""
    sampler = replace(drift_of(), verification=as_recorded(GOLDEN))
    found = [
        diagnose(report, facts={}, committed=None, grade=grade) for report in (drift_of(), sampler)
    ]

    assert [each.cause for each in found if each is not None] == [cause, Cause.SAMPLER]


def test_another_choice_is_not_rounding() -> None:
    """From the same log-probabilities, and not by a hair."""
    chosen = as_recorded(GOLDEN)
    near = replace(chosen[1], uniform=0.3999)
    unknown = replace(chosen[1], uniform=None)
    report = replace(drift_of(), verification=chosen)

    assert not_rounding(report) is GradeReason.SAMPLER
    for other in (near, unknown):
        assert not_rounding(replace(report, verification=(chosen[0], other, chosen[2]))) is None
    before, after = (generation_of(7, 8, logits=each) for each in ("ab", "ac"))
    for harmless in (drift_of(), drift_of(before, after), report_of(Match())):
        assert not_rounding(harmless) is None


def test_equal_logits_leave_no_near_tie() -> None:
    """A golden has four decimals of a log-probability, and every bit of a digest."""
    golden = generation_of(7, 8, 9, logits="abc")

    assert not_rounding(drift_of(golden, generation_of(7, 5, 9, logits="ab1"))) is not None
    assert not_rounding(drift_of(golden, generation_of(7, 5, 9, logits="a1c"))) is None


@pytest.mark.parametrize(
    ("low", "reason"),
    [(0.6, GradeReason.SAMPLER), (0.5, None)],
)
def test_an_unknown_random_number_is_where_a_token_is_drawn(
    low: float, reason: GradeReason | None
) -> None:
    """Far from the golden's token, unless the two are neighbours."""
    chosen = as_recorded(GOLDEN)
    share, drawn = Share(low=0.1, high=0.5), Share(low=low, high=0.9)
    forked = replace(chosen[1], uniform=None, share=share, drawn_share=drawn)
    report = replace(drift_of(), verification=(chosen[0], forked, chosen[2]))

    assert not_rounding(report) is reason


def test_without_a_verification_a_choice_has_no_distance() -> None:
    """It may be a near tie."""
    best = ((8, -0.5), (9, -1.5))
    trace = (GOLDEN.trace[0], Choice(logprob=-2.0, best=best), OBSERVED.trace[2])
    report = drift_of(observed=replace(OBSERVED, trace=trace))

    assert diagnosed(report).cause is Cause.SAMPLER
    assert not_rounding(report) is None


def test_a_golden_that_ends_is_not_rounding() -> None:
    """An end has no distance, and the log-probabilities up to it are the same."""
    short = generation_of(7, 8, is_traced=True)

    assert not_rounding(drift_of(short, GOLDEN)) is GradeReason.SAMPLER


def test_another_prompt_is_not_rounding() -> None:
    """Nor is another rendering."""
    observed = replace(OBSERVED, prompt=GOLDEN.prompt[:1])
    assert not_rounding(drift_of(observed=observed)) is GradeReason.TOKENIZER
    assert not_rounding(of_chats()) is GradeReason.TEMPLATE


def test_the_golden_of_a_drift_is_forced_through() -> None:
    """All of its tokens, with known distances."""
    report = replace(drift_of(), verification=as_recorded(GOLDEN))
    found = forced_through(report)

    assert found is not None
    assert found.count == 3
    assert found.mean_distance == pytest.approx(0.02)
    assert forced_through(replace(report, verification=as_recorded(GOLDEN)[:2])) is None
    assert forced_through(report_of(Match())) is None


def test_a_trace_is_enough() -> None:
    """An engine need not verify."""
    best = ((8, -0.5), (9, -1.5))
    trace = (GOLDEN.trace[0], Choice(logprob=-2.0, best=best), OBSERVED.trace[2])
    assert diagnosed(drift_of(observed=replace(OBSERVED, trace=trace))).cause is Cause.SAMPLER
    assert diagnosed(drift_of()).cause is Cause.NUMERIC


def test_an_end_needs_no_token() -> None:
    """A generation that ends elsewhere, after the same log-probabilities, is sampled otherwise."""
    short = generation_of(7, 8, is_traced=True)
    assert diagnosed(drift_of(GOLDEN, short)).cause is Cause.SAMPLER
    assert diagnosed(drift_of(short, GOLDEN)).cause is Cause.SAMPLER


def test_without_log_probabilities_nothing_is_known() -> None:
    """Or with those before the divergence alone."""
    bare = generation_of(7, 8, 9)
    assert diagnosed(drift_of(bare)).cause is Cause.UNKNOWN
    partial = replace(drift_of(), verification=as_recorded(GOLDEN)[:1])
    assert diagnosed(partial).cause is Cause.UNKNOWN


def test_runs_that_differ_are_compared_with_a_repetition_of_run_1() -> None:
    """If that has other log-probabilities, the cause is numeric, else nothing is known."""
    divergence = first_divergence(OBSERVED, generation_of(7, 6))
    assert divergence is not None
    verdict = Nondeterministic(run=2, in_fresh_process=False, divergence=divergence)
    report = report_of(verdict)
    claimed = verification_of(generation_of(7, 6))
    assert diagnosed(report).cause is Cause.UNKNOWN
    assert diagnosed(replace(report, verification=claimed)).cause is Cause.NUMERIC
    repeated = replace(claimed[0], logprob=-0.5, best=((7, -0.5), (8, -1.5)))
    same = replace(claimed[1], id=6, logprob=-1.5, best=((5, -0.5), (6, -1.5)))
    assert diagnosed(replace(report, verification=(repeated, same))).cause is Cause.UNKNOWN


def test_another_definition_is_read_from_the_golden() -> None:
    """The report of the check does not have it."""
    former = replace(CELL, max_tokens=9)
    golden = golden_of(former, GOLDEN, provenance={"setting.threads": "1"})
    divergence = first_divergence(GOLDEN, OBSERVED)
    verdict = Unrecorded(reason="another", former=FormerGolden(divergence=divergence))
    facts = provenance_of("tiny")
    found = diagnose(report_of(verdict), facts=facts, committed=golden)
    assert found is not None
    assert (found.cause, found.before) == (Cause.DEFINITION, GOLDEN)
    assert [change.name for change in (found.redefined or ())] == ["max_tokens"]
    assert "setting.threads" in {change.name for change in found.changes}


@pytest.mark.parametrize("tokens", [None, generation_of(7, 2, 9)])
def test_a_golden_that_was_not_compared_explains_nothing(tokens: Generation | None) -> None:
    """It is not there, or has been changed since."""
    divergence = first_divergence(GOLDEN, OBSERVED)
    verdict = Unrecorded(reason="another", former=FormerGolden(divergence=divergence))
    committed = None if tokens is None else golden_of(replace(CELL, max_tokens=9), tokens)
    assert diagnose(report_of(verdict), facts={}, committed=committed) is None


@pytest.mark.parametrize(
    "verdict",
    [
        Match(),
        Vacuous(factor=Factor.SEED),
        Inconclusive(reason="it died", remedy=None),
        Unrecorded(reason="no golden"),
        Unrecorded(reason="another", former=FormerGolden(divergence=None)),
    ],
)
def test_without_a_divergence_there_is_no_diagnosis(verdict: Verdict) -> None:
    """Whatever the verdict is."""
    golden = golden_of(CELL, GOLDEN)
    assert diagnose(report_of(verdict), facts={}, committed=golden) is None


def test_a_cell_without_a_run_has_no_diagnosis() -> None:
    """It is inconclusive."""
    verdict = Inconclusive(reason="it died", remedy=None)
    assert diagnose(report_of(verdict, None), facts={}, committed=None) is None


@pytest.mark.parametrize(
    ("uniform", "best", "is_greedy", "is_known"),
    [
        (0.5, (), False, False),
        (0.44, (), False, True),
        (0.56, (), False, True),
        (None, (), False, False),
        (None, ((8, -0.1), (5, -0.2)), True, False),
        (None, ((8, -0.1), (5, -0.14)), True, True),
        (None, (), True, True),
    ],
)
def test_what_is_not_generated_is_not_verified(
    uniform: float | None, best: tuple[tuple[int, float], ...], *, is_greedy: bool, is_known: bool
) -> None:
    """Its samplers draw the golden's token where another one was generated, and not by a hair."""
    cell = replace(CELL, sampler=GREEDY) if is_greedy else CELL
    drift = drift_of().verdict
    assert isinstance(drift, Drift)
    verified = [replace(each, drawn=each.id) for each in as_recorded(GOLDEN)]
    verified[1] = replace(verified[1], uniform=uniform, best=best)

    report = CellReport(
        suite="s",
        cell=cell,
        verdict=replace(drift, golden=golden_of(cell, GOLDEN)),
        runs=2,
        generation=OBSERVED,
        profile=PROFILE,
        verification=tuple(verified),
    )
    assert (forced_through(report) is not None) is is_known
