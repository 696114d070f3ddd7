"""What a report proves about a commit, and what it lacks."""

from dataclasses import replace
from typing import Any

import pytest

from repro_gate.core.logprobs.policy import LogprobSuite, ProviderKind, ProviderSpec, Tolerance
from repro_gate.core.logprobs.verdicts import Agrees, Equivalence
from repro_gate.core.matrix import Evidence
from repro_gate.core.outcome import Outcome, decide
from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.sign_off.measured import (
    Checkout,
    named_tests,
    planned_tests,
    problems_of,
    profiles_of,
)
from repro_gate.core.sign_off.statement import finding_of
from repro_gate.core.tokens.cell import Factor
from repro_gate.core.tokens.generation import Token
from repro_gate.core.tokens.grade import FailingDrift
from repro_gate.core.tokens.modes import (
    ALONE,
    RESTART,
    Answer,
    Level,
    Mode,
    ModeKind,
    ModeResult,
    Proof,
)
from repro_gate.core.tokens.verdicts import (
    Depends,
    Inconclusive,
    Nondeterministic,
    Orphan,
    Vacuous,
)
from tests.fakes.logprob_reports import logprob_cell_of, logprob_cell_report_of, logprob_report_of
from tests.fakes.releases import (
    CAPITAL,
    CAPITAL_TEST,
    COMMIT,
    FOX,
    FOX_TEST,
    HAIKU,
    HAIKU_TEST,
    MEASURED,
    baseline_of,
    checkout_of,
    drawn,
    drifted,
    file_of,
    matched,
    report_of,
    shifted,
)
from tests.fakes.reports import LOST, diverging
from tests.fakes.values import (
    GREEDY,
    PROFILE,
    answer_to,
    cell_of,
    control_of,
    digest_of,
    generation_of,
    golden_of,
    grade_of,
    lora_of,
    model_spec_of,
    provenance_of,
    suite_of,
    with_logits,
)

PLANNED = "report: report.json: only suites and cells that the matrix of the commit plans, not"
OTHER_FOX = replace(FOX, text="Another text")
DECISION = "decision: report.json: a check that passes as a whole, not"
GOLDEN = ": a golden in the commit from which the verdict follows, not"


def problems(
    report: GateReport, checkout: Checkout | None = None, waived: tuple[str, ...] = ()
) -> list[str]:
    """Return each problem as one line."""
    found = problems_of(file_of(report), checkout or checkout_of(), waived=waived)
    return [f"{one.condition}: {one.about}: {one.expected}, not {one.found}" for one in found]


def with_matrix(**changes: Any) -> Checkout:
    """Return a commit whose matrix differs."""
    usual = checkout_of()
    return replace(usual, matrix=replace(usual.matrix, **changes))


def test_logits_that_the_commit_compares_are_in_report_and_golden() -> None:
    """Agreement in the tokens alone proves less."""
    strict = with_matrix(suites={"quick": replace(suite_of(HAIKU, FOX), evidence=Evidence.LOGITS)})
    cells = [matched(cell, generation=with_logits(answer_to(cell))) for cell in (HAIKU, FOX)]
    goldens = {
        (PROFILE, cell.id): golden_of(cell, with_logits(answer_to(cell))) for cell in (HAIKU, FOX)
    }
    one_without = goldens | {(PROFILE, FOX.id): golden_of(FOX)}

    assert problems(report_of(*cells), replace(strict, goldens=goldens)) == []
    assert problems(report_of(*cells), replace(strict, goldens=one_without)) == [
        f"test: quick/{FOX.id}/{PROFILE}{GOLDEN} one without the logits that were compared"
    ]
    assert problems(report_of(cells[0], matched(FOX)), replace(strict, goldens=goldens)) == [
        f"report: report.json: quick/{FOX.id}: the logits, which the commit compares, not none"
    ]


SERVED = with_matrix(
    suites={
        "quick": replace(
            suite_of(HAIKU, FOX, runs=4), modes={ALONE: Level.TOKENS, RESTART: Level.TOKENS}
        )
    }
)


def in_modes(*levels: tuple[Mode, Level]) -> list[CellReport]:
    """Return cells that were equal in these modes."""
    results = [
        ModeResult(mode=mode, level=level, answers=2, tokens=8).judged(Proof.SEEN)
        for mode, level in levels
    ]
    return [matched(cell, modes=tuple(results)) for cell in (HAIKU, FOX)]


def test_every_mode_of_the_commit_is_required_as_strictly() -> None:
    """Runs alone, or a milder level, prove less; the runs of a restart are counted by its mode."""
    report = "report: report.json: quick"
    level = "the level tokens"
    whole = in_modes((ALONE, Level.TOKENS), (RESTART, Level.TOKENS))
    mild = in_modes((ALONE, Level.TOKENS), (RESTART, Level.ANY))

    assert problems(report_of(*whole), SERVED) == []
    assert problems(report_of(*mild), SERVED) == [
        f"{report}/{cell.id}: restart: {level}, not any" for cell in (HAIKU, FOX)
    ]
    assert problems(report_of(whole[0], matched(FOX)), SERVED) == [
        f"{report}/{FOX.id}: {mode}: {level}, not none" for mode in ("alone", "restart")
    ]


def test_what_is_signed_has_the_modes_and_their_levels() -> None:
    """With the answers of all cells; a report without modes has no such annotation."""
    signed = file_of(report_of(*in_modes((ALONE, Level.TOKENS), (RESTART, Level.ANY))))

    annotations = signed.entry(signed_at=MEASURED).annotations
    assert annotations["modes"] == [
        "quick: alone = tokens, 4 answers",
        "quick: restart = any, 4 answers",
    ]
    assert "modes" not in file_of(report_of()).entry(signed_at=MEASURED).annotations


def test_answers_that_depend_on_company_are_no_release() -> None:
    """It is no drift, so that it cannot be waived."""
    answer = Answer(generation=generation_of(9, 9))
    company = ModeResult(mode=Mode(ModeKind.CONCURRENT, 8), level=Level.TOKENS)
    result = company.with_answer(answer_to(FOX), answer).judged(Proof.SEEN)
    depending = matched(FOX, verdict=Depends(modes=(result.mode,)), modes=(result,))

    assert problems(report_of(matched(HAIKU), depending), waived=(FOX_TEST,)) == [
        f"test: {FOX_TEST}: agreement with what is committed, not depends",
        f"{DECISION} failed: 1 depends, 1 match, suite hosted: agrees",
    ]


def test_a_report_that_passed_has_no_problems() -> None:
    """Nor has one of two suites that share a cell, of which it lists the larger."""
    assert problems(report_of()) == []
    shared = with_matrix(
        suites={
            "quick": suite_of(HAIKU, FOX),
            "small": suite_of(FOX, name="small", runs=2),
        }
    )
    assert problems(report_of(), shared) == []
    names = [test.name for test in named_tests(report_of(), shared.matrix)]
    assert names == [HAIKU_TEST, FOX_TEST, f"small/{FOX.id}/{PROFILE}", CAPITAL_TEST]


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        pytest.param(
            report_of(matched(HAIKU)),
            [
                (
                    f"report: report.json: quick/{FOX.id}: it, as the matrix of the commit plans "
                    "it, not none"
                )
            ],
            id="a-cell-left-out",
        ),
        pytest.param(
            report_of(commit="ee" * 20),
            [f"report: report.json: the commit: {COMMIT}, not {'ee' * 20}"],
            id="a-check-of-another-commit",
        ),
        pytest.param(
            report_of(commit=None),
            [f"report: report.json: the commit: {COMMIT}, not none, or changed files"],
            id="a-check-of-changed-files",
        ),
        pytest.param(
            report_of(matched(HAIKU), matched(FOX, runs=2)),
            [f"report: report.json: quick/{FOX.id}: 3 runs, not 2"],
            id="fewer-runs",
        ),
        pytest.param(
            report_of(matched(HAIKU), matched(FOX, unfinished=LOST)),
            [f"report: report.json: quick/{FOX.id}: 3 runs, not 3"],
            id="an-unfinished-cell",
        ),
        pytest.param(
            report_of(matched(HAIKU), matched(FOX), matched(cell_of("moon"))),
            [(f"{PLANNED} {cell_of('moon').id}")],
            id="a-cell-of-another-matrix",
        ),
        pytest.param(
            report_of(matched(HAIKU), matched(FOX), matched(FOX)),
            ["report: report.json: each cell once, not a cell twice"],
            id="a-cell-twice",
        ),
        pytest.param(
            report_of(suites=("quick", "gone")),
            [(f"{PLANNED} gone")],
            id="a-suite-of-another-matrix",
        ),
        pytest.param(
            report_of(logprobs=(replace(drawn(), suite="gone"),)),
            [(f"{PLANNED} gone")],
            id="a-logprob-suite-of-another-matrix",
        ),
        pytest.param(
            report_of(matched(HAIKU), matched(OTHER_FOX, generation=answer_to(FOX))),
            [f"report: report.json: quick/{FOX.id}: the definition of the commit, not another one"],
            id="another-definition",
        ),
        pytest.param(
            report_of(matched(HAIKU), matched(FOX, generation=generation_of(9))),
            [(f"test: quick/{FOX.id}/{PROFILE}{GOLDEN} another one than the report was judged by")],
            id="a-match-that-is-none",
        ),
        pytest.param(
            report_of(matched(HAIKU), matched(FOX, profile="gpu")),
            [(f"test: quick/{FOX.id}/gpu{GOLDEN} none for this profile")],
            id="no-golden-for-this-profile",
        ),
        pytest.param(
            report_of(provenances=({**provenance_of("tiny"), "model.sha256": "00" * 32},)),
            [f"model: tiny: {digest_of('tiny')}, not {'00' * 32}"],
            id="another-model",
        ),
        pytest.param(
            report_of(provenances=({},)),
            [f"model: tiny: {digest_of('tiny')}, not unknown"],
            id="a-model-without-digest",
        ),
        pytest.param(
            report_of(controls=()),
            [
                "control: tiny: a control that changes its seed, not none",
                "control: tiny: a control that changes its prompt, not none",
            ],
            id="no-controls",
        ),
        pytest.param(
            report_of(
                controls=(
                    control_of(HAIKU, factor=Factor.SEED),
                    control_of(HAIKU, factor=Factor.PROMPT, divergence=diverging()),
                )
            ),
            [(f"{DECISION} failed: 2 match, control of seed of tiny, suite hosted: agrees")],
            id="a-control-that-did-not-differ",
        ),
        pytest.param(
            report_of(
                controls=(
                    control_of(HAIKU, factor=Factor.SEED, problem=LOST),
                    control_of(HAIKU, factor=Factor.PROMPT, divergence=diverging()),
                )
            ),
            [(f"{DECISION} inconclusive: 2 match, control of seed of tiny, suite hosted: agrees")],
            id="a-control-that-was-not-run",
        ),
        pytest.param(
            report_of(orphans=(Orphan(id="gone", origin=PROFILE),)),
            [
                (
                    f"{DECISION} failed: 1 orphaned, "
                    "2 match, orphaned golden gone, suite hosted: agrees"
                )
            ],
            id="an-orphan",
        ),
        pytest.param(
            report_of(interrupted=True),
            [(f"{DECISION} inconclusive: 2 match, interrupted, suite hosted: agrees")],
            id="interrupted",
        ),
        pytest.param(
            report_of(logprobs=(replace(drawn(), controls=()),)),
            [(f"{DECISION} inconclusive: 2 match, suite hosted: agrees")],
            id="a-policy-without-control",
        ),
        pytest.param(
            report_of(logprobs=(replace(drawn(), tolerance=Tolerance(floor_nats=99)),)),
            ["report: report.json: hosted: the tolerance of the commit, not another one"],
            id="another-tolerance",
        ),
        pytest.param(
            report_of(logprobs=(logprob_report_of(),)),
            [f"report: report.json: hosted/{CAPITAL.id}: its result, not none"],
            id="a-logprob-cell-left-out",
        ),
        pytest.param(
            report_of(logprobs=(drawn(cell=logprob_cell_of("capital", text="other")),)),
            [f"report: report.json: hosted/{CAPITAL.id}: the plan of the commit, not more"],
            id="another-logprob-definition",
        ),
        pytest.param(
            report_of(logprobs=(drawn(totals=()),)),
            [f"report: report.json: hosted/{CAPITAL.id}: draws, not none"],
            id="agreement-without-draws",
        ),
        pytest.param(
            report_of(logprobs=(drawn(source="other"),)),
            [
                (
                    f"test: hosted/{CAPITAL.id}/other: a baseline in the commit by which it was "
                    "judged, not none for this source"
                )
            ],
            id="no-baseline",
        ),
        pytest.param(
            report_of(logprobs=(drawn(calibration=(-1.0,)),)),
            [
                (
                    f"test: {CAPITAL_TEST}: a baseline in the commit by which it was judged, not "
                    "another one"
                )
            ],
            id="another-baseline",
        ),
    ],
)
def test_a_report_that_lacks_something_is_refused(report: GateReport, expected: list[str]) -> None:
    """With what it lacks, and nothing else."""
    assert problems(report) == expected


def test_a_logprob_cell_beyond_the_plan_is_refused() -> None:
    """As is one in another order."""
    agrees = Agrees(equivalence=Equivalence.IDENTICAL)
    extra = logprob_cell_report_of(agrees, logprob_cell_of("moon"))
    part = drawn()

    assert problems(report_of(logprobs=(replace(part, cells=(*part.cells, extra)),))) == [
        "report: report.json: hosted/base--moon: the plan of the commit, not more"
    ]


AT_FIRST_TOKEN = replace(diverging(), position=0, expected=answer_to(FOX).tokens[0])


@pytest.mark.parametrize(
    "verdict",
    [
        Vacuous(factor=Factor.SEED),
        Nondeterministic(run=2, in_fresh_process=False, divergence=AT_FIRST_TOKEN),
        Inconclusive(reason="x", remedy="y"),
    ],
)
def test_only_drift_can_be_waived(verdict: Any) -> None:
    """Not what was not measured, and not what differs between runs."""
    report = report_of(matched(HAIKU), matched(FOX, verdict=verdict))

    found = problems(report, waived=(FOX_TEST,))

    assert found[0] == f"test: {FOX_TEST}: agreement with what is committed, not {verdict.word}"
    assert found[1].startswith("decision: ")
    assert [test.finding for test in named_tests(report, checkout_of().matrix)] == [None] * 3


def test_drift_is_a_problem_unless_it_is_waived() -> None:
    """Of tokens, and of log-probabilities."""
    report = report_of(matched(HAIKU), drifted(FOX), logprobs=(shifted(),))

    assert [line.partition(":")[0] for line in problems(report)] == ["test", "test", "decision"]
    assert problems(report, waived=(FOX_TEST, CAPITAL_TEST)) == []
    assert len(problems(report, waived=(FOX_TEST,))) == 2


def test_a_drift_of_any_grade_is_a_problem() -> None:
    """A suite that fails beyond rounding only makes no release."""
    mild = replace(grade_of(), fail_on=FailingDrift.BEYOND_ROUNDING)
    report = report_of(matched(HAIKU), drifted(FOX), grades=(mild,))

    assert decide(report) is Outcome.PASSED
    assert [line.partition(":")[0] for line in problems(report)] == ["test", "decision"]


def test_a_cell_of_two_suites_is_waived_in_both_or_not_at_all() -> None:
    """Each name is a test of its own."""
    shared = with_matrix(
        suites={"quick": suite_of(HAIKU, FOX), "small": suite_of(FOX, name="small")}
    )
    report = report_of(matched(HAIKU), drifted(FOX))
    small = f"small/{FOX.id}/{PROFILE}"

    assert problems(report, shared, waived=(FOX_TEST, small)) == []
    assert [line.partition(":")[0] for line in problems(report, shared, waived=(FOX_TEST,))] == [
        "test",
        "decision",
    ]


def test_a_drift_from_another_golden_is_not_that_of_the_commit() -> None:
    """Also if it is waived."""
    report = report_of(matched(HAIKU), drifted(FOX))
    other = golden_of(FOX, generation_of(5, 5))
    goldens = {**checkout_of().goldens, (PROFILE, FOX.id): other}

    assert problems(report, checkout_of(goldens=goldens), waived=(FOX_TEST,)) == [
        (f"test: quick/{FOX.id}/{PROFILE}{GOLDEN} another one than the report was judged by")
    ]


def test_a_golden_of_another_definition_proves_nothing() -> None:
    """Even with the same tokens."""
    golden = golden_of(replace(FOX, text="other"), matched(FOX).generation)
    goldens = {**checkout_of().goldens, (PROFILE, FOX.id): golden}

    assert problems(report_of(), checkout_of(goldens=goldens)) == [
        (f"test: quick/{FOX.id}/{PROFILE}{GOLDEN} one of another definition of the cell")
    ]


def test_models_are_pinned_by_the_matrix_or_by_the_file_of_pins() -> None:
    """A model without either is refused."""
    unpinned = with_matrix(models={"tiny": model_spec_of("tiny")})
    digest = provenance_of("tiny")["model.sha256"]

    assert problems(report_of(), replace(unpinned, pins={"tiny": digest})) == []
    assert problems(report_of(), unpinned) == [
        f"model: tiny: a model that the commit pins by sha256, not {digest}"
    ]


def test_a_model_that_the_matrix_does_not_have_is_refused() -> None:
    """It has no adapters to compare."""
    digest = provenance_of("tiny")["model.sha256"]
    refusal = f"model: tiny: a model that the commit pins by sha256, not {digest}"
    assert refusal in problems(report_of(), with_matrix(models={}))


def test_adapters_are_those_of_the_matrix_as_the_commit_pins_them() -> None:
    """Another file, another scale, one that is missing and one too many are refused."""
    digest = provenance_of("tiny")["model.sha256"]
    model = replace(model_spec_of("tiny", sha256=digest), lora=(lora_of(),))
    pinned = replace(with_matrix(models={"tiny": model}), pins={"tiny/lora/1": "1" * 64})
    name, scale = "model.lora.1.sha256", "model.lora.1.scale"
    measured = {**provenance_of("tiny"), name: "1" * 64, scale: "0.5"}
    other = {**measured, name: "2" * 64, scale: "1.0", "model.lora.2.scale": "1.0"}
    reports = [report_of(provenances=(each,)) for each in (measured, other, provenance_of("tiny"))]

    assert problems(reports[0], pinned) == []
    assert problems(reports[1], pinned) == [
        f"model: tiny: {scale}: 0.5, not 1.0",
        f"model: tiny: {name}: {'1' * 64}, not {'2' * 64}",
        "model: tiny: model.lora.2.scale: none, not 1.0",
    ]
    assert problems(reports[2], pinned) == [
        f"model: tiny: {scale}: 0.5, not none",
        f"model: tiny: {name}: {'1' * 64}, not none",
    ]
    assert problems(reports[0], replace(pinned, pins={})) == [
        f"model: tiny: {name}: one that the commit pins by sha256, not {'1' * 64}"
    ]


def local_cell() -> Any:
    """Return a cell of log-probabilities on this machine."""
    cell = logprob_cell_of()
    provider = ProviderSpec(name="local", kind=ProviderKind.LOCAL)
    policy = replace(
        cell.policy, provider=provider, model="tiny", local_model=model_spec_of("tiny")
    )
    return replace(cell, policy=policy)


def test_local_log_probabilities_hold_on_each_profile_and_pin_their_model() -> None:
    """As tokens do; hosted ones hold at their provider."""
    cell = local_cell()
    usual = with_matrix(logprob_suites={"local": LogprobSuite(name="local", cells=(cell,))})
    baseline = baseline_of(definition=cell.definition, source=PROFILE)
    checkout = replace(usual, baselines={(PROFILE, cell.id): baseline})
    part = replace(drawn(cell=cell, source=PROFILE), suite="local")
    report = report_of(suites=("quick", "local"), logprobs=(part,))

    assert problems(report, checkout) == []
    assert planned_tests(checkout.matrix, "local", ("a", "b")) == (
        f"local/{cell.id}/a",
        f"local/{cell.id}/b",
    )
    unpinned = replace(
        checkout, matrix=replace(checkout.matrix, models={"tiny": model_spec_of("tiny")}), pins={}
    )
    assert problems(report_of(suites=("local",), logprobs=(part,)), unpinned)[0].startswith(
        "model: tiny: a model that the commit pins by sha256"
    )


def test_planned_tests_are_those_of_the_matrix() -> None:
    """By whole name; a suite that is not there has none."""
    matrix = checkout_of().matrix

    assert planned_tests(matrix, "quick", (PROFILE,)) == (HAIKU_TEST, FOX_TEST)
    assert planned_tests(matrix, "hosted", ()) == (CAPITAL_TEST,)
    assert planned_tests(matrix, "gone", (PROFILE,)) == ()


def test_a_greedy_model_needs_no_control_of_its_seed() -> None:
    """It has none."""
    cell = cell_of("haiku", sampler=GREEDY)
    usual = with_matrix(suites={"quick": suite_of(cell)})
    checkout = replace(usual, goldens={(PROFILE, cell.id): golden_of(cell)})
    controls = (control_of(cell, factor=Factor.PROMPT, divergence=diverging()),)

    assert problems(report_of(matched(cell), controls=controls), checkout) == []


def test_findings_differ_by_what_was_expected_and_observed() -> None:
    """So a waiver covers one drift; for log-probabilities one measurement."""
    elsewhere = generation_of(1, prompt=(3, 3))
    one, other = drifted(FOX), drifted(FOX, elsewhere)
    (part,) = shifted().cells

    findings = {
        finding_of("a", one),
        finding_of("b", one),
        finding_of("a", other),
        finding_of("a", drifted(FOX, replace(elsewhere, tokens=(Token(7, None),)))),
        finding_of("a", part),
        finding_of("a", replace(part, totals=(-1.0,))),
    }
    assert len(findings) == 6
    assert None not in findings
    assert finding_of("a", matched(FOX)) is None


def test_profiles_are_those_with_results() -> None:
    """And the sources of log-probabilities."""
    assert profiles_of(report_of()) == {PROFILE, "fireworks"}


@pytest.mark.parametrize(
    "text",
    ["yesterday", "2026-11-28T02:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"],
)
def test_a_report_has_a_time_that_can_be_compared(text: str) -> None:
    """With its zone."""
    with pytest.raises(ValueError, match=r"started_at|Invalid isoformat"):
        file_of(report_of(started_at=text))


def test_the_entry_of_a_report_has_strings_and_integers_only() -> None:
    """Floats are not the same in every reader of JSON."""
    entry = file_of(report_of()).entry(signed_at=file_of(report_of()).measured_at)

    assert entry.annotations == {
        "time": "2026-11-28T02:00:00Z",
        "signedAt": "2026-11-28T02:00:00Z",
        "toolVersion": "0.1.0",
        "suites": ["quick", "hosted"],
        "profiles": ["cpu-test", "fireworks"],
        "counts": {"agrees": 1, "match": 2},
        "engines": [
            {
                "name": "scripted",
                "profile": PROFILE,
                "facts": ["device.name=TEST", "engine=scripted"],
            }
        ],
        "models": [{"name": "tiny", "sha256": provenance_of("tiny")["model.sha256"]}],
    }
