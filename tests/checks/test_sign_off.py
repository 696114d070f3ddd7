"""What is signed off, and every reason not to sign."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.checks.sign_off import (
    Proposal,
    Release,
    WaiverRequest,
    missing_before,
    propose,
    waiver_of,
)
from repro_gate.core.logprobs.policy import LogprobSuite, ProviderKind, ProviderSpec
from repro_gate.core.outcome import Outcome
from repro_gate.core.sign_off.measured import Checkout, Refusal, ReportFile
from repro_gate.core.sign_off.statement import Result
from repro_gate.core.sign_off.verification import WaiverFile, verify
from repro_gate.core.tokens.cell import Factor
from repro_gate.core.tokens.verdicts import Orphan, Unrecorded, Vacuous
from repro_gate.errors import UsageInvalid
from tests.fakes import releases
from tests.fakes.logprob_reports import logprob_cell_of
from tests.fakes.releases import (
    ARTIFACTS,
    CAPITAL_TEST,
    COMMIT,
    FOX,
    FOX_TEST,
    HAIKU,
    HAIKU_TEST,
    NOW,
    REPOSITORY,
    baseline_of,
    checkout_of,
    drawn,
    drifted,
    file_of,
    finding_in,
    matched,
    policy_of,
    report_of,
    waiver_file_of,
)
from tests.fakes.reports import LOST
from tests.fakes.values import PROFILE, golden_of, model_spec_of, suite_of

SUITES = ("quick", "hosted")


def release_of(checkout: Checkout | None = None, **changes: Any) -> Release:
    """Return a release of both suites."""
    release = Release(
        repository=REPOSITORY,
        checkout=checkout or checkout_of(),
        suites=SUITES,
        artifacts=ARTIFACTS,
    )
    return replace(release, **changes)


def proposed(*reports: ReportFile, release: Release | None = None, now: datetime = NOW) -> Proposal:
    """Return what could be signed."""
    return propose(release or release_of(), reports or (file_of(report_of()),), now=now)


def lines(missing: Sequence[Refusal]) -> list[str]:
    """Return each refusal as one line; every one has a remedy."""
    assert all(one.remedy for one in missing)
    return [f"{one.condition}: {one.about}: {one.expected}, not {one.found}" for one in missing]


def test_a_release_that_lacks_nothing_is_proposed() -> None:
    """With every test, and accepted by a recipient."""
    proposal = proposed()

    statement = proposal.evidence.statement
    assert (lines(proposal.missing), proposal.outcome) == ([], Outcome.PASSED)
    assert (statement.result, statement.passed) == (
        Result.PASSED,
        (HAIKU_TEST, FOX_TEST, CAPITAL_TEST),
    )
    assert (statement.repository, statement.commit) == (REPOSITORY, COMMIT)
    assert (
        verify(
            proposal.evidence,
            checkout=checkout_of(),
            policy=policy_of(),
            artifacts=ARTIFACTS,
            now=NOW,
        )
        == ()
    )


def test_before_a_check_the_files_and_the_pins_are_verified() -> None:
    """So that nothing is measured in vain."""
    unpinned = replace(checkout_of(), matrix=with_models(model_spec_of("tiny")).matrix)

    assert missing_before(release_of(), []) == ()
    assert lines(missing_before(release_of(unpinned), ["a", "b"])) == [
        f"commit: work tree: the files of {COMMIT} and no others, not a, b",
        "model: tiny: a model that the commit pins by sha256, not none",
    ]


def with_models(model: Any) -> Checkout:
    """Return a commit with another model."""
    usual = checkout_of()
    return replace(usual, matrix=replace(usual.matrix, models={"tiny": model}))


def local_release(**baselines: Any) -> tuple[Release, Any]:
    """Return a release of a suite of log-probabilities on this machine, and its cell."""
    cell = logprob_cell_of()
    policy = replace(
        cell.policy,
        provider=ProviderSpec(name="local", kind=ProviderKind.LOCAL),
        model="tiny",
        local_model=model_spec_of("tiny"),
    )
    cell = replace(cell, policy=policy)
    usual = with_models(model_spec_of("tiny"))
    matrix = replace(
        usual.matrix, logprob_suites={"local": LogprobSuite(name="local", cells=(cell,))}
    )
    known = {
        (source, cell.id): baseline_of(definition=cell.definition, source=source)
        for source in (PROFILE, *baselines)
    }
    checkout = replace(usual, matrix=matrix, baselines=known)
    return release_of(checkout, suites=("quick", "local")), cell


def test_models_of_local_log_probabilities_are_pinned_too() -> None:
    """Those of hosted ones cannot be."""
    release, _ = local_release()

    assert lines(missing_before(replace(release, suites=("local",)), [])) == [
        "model: tiny: a model that the commit pins by sha256, not none"
    ]


def test_local_log_probabilities_are_needed_on_each_profile_with_baselines() -> None:
    """As tokens are."""
    release, cell = local_release(gpu=True)
    part = replace(drawn(cell=cell, source=PROFILE), suite="local")
    report = report_of(suites=("quick", "local"), logprobs=(part,))

    missing = lines(proposed(file_of(report), release=release).missing)

    assert missing[0] == (
        f"required: suite local on gpu: all 1 tests, not 0 of them, without local/{cell.id}/gpu"
    )


@pytest.mark.parametrize(
    ("report", "outcome", "message"),
    [
        pytest.param(
            report_of(matched(HAIKU), drifted(FOX)),
            Outcome.FAILED,
            f"test: {FOX_TEST}: agreement with what is committed, not drift",
            id="drift",
        ),
        pytest.param(
            report_of(matched(HAIKU), matched(FOX, verdict=Unrecorded(reason="new"))),
            Outcome.FAILED,
            f"test: {FOX_TEST}: agreement with what is committed, not unrecorded",
            id="unrecorded",
        ),
        pytest.param(
            report_of(matched(HAIKU), matched(FOX, verdict=Vacuous(factor=Factor.SEED))),
            Outcome.FAILED,
            f"test: {FOX_TEST}: agreement with what is committed, not vacuous",
            id="vacuous",
        ),
        pytest.param(
            report_of(
                orphans=(Orphan(id="old", origin=PROFILE),),
            ),
            Outcome.FAILED,
            "decision: report.json: a check that passes as a whole, not failed: 1 orphaned, 2 "
            "match, orphaned golden old, suite hosted: agrees",
            id="an-orphan",
        ),
        pytest.param(
            report_of(matched(HAIKU), matched(FOX, verdict=LOST, runs=0, generation=None)),
            Outcome.INCONCLUSIVE,
            f"test: {FOX_TEST}: agreement with what is committed, not inconclusive",
            id="inconclusive",
        ),
        pytest.param(
            report_of(interrupted=True),
            Outcome.INCONCLUSIVE,
            "decision: report.json: a check that passes as a whole, not inconclusive: ",
            id="interrupted",
        ),
        pytest.param(
            report_of(matched(HAIKU), matched(FOX, runs=2)),
            Outcome.INCONCLUSIVE,
            f"report: report.json: quick/{FOX.id}: 3 runs, not 2",
            id="fewer-runs",
        ),
        pytest.param(
            report_of(matched(HAIKU)),
            Outcome.INCONCLUSIVE,
            f"required: suite quick on {PROFILE}: all 2 tests, not 1 of them, without {FOX_TEST}",
            id="a-cell-left-out",
        ),
        pytest.param(
            report_of(suites=("quick",), logprobs=()),
            Outcome.INCONCLUSIVE,
            "required: suite hosted on fireworks: all 1 tests, not 0 of them, without "
            f"{CAPITAL_TEST}",
            id="a-suite-left-out",
        ),
        pytest.param(
            report_of(controls=()),
            Outcome.INCONCLUSIVE,
            "control: tiny: a control that changes its seed, not none",
            id="no-controls",
        ),
        pytest.param(
            report_of(provenances=({"model.sha256": "00" * 32},)),
            Outcome.INCONCLUSIVE,
            "model: tiny: ",
            id="another-model",
        ),
        pytest.param(
            report_of(commit="ee" * 20),
            Outcome.INCONCLUSIVE,
            f"report: report.json: the commit: {COMMIT}, not {'ee' * 20}",
            id="another-commit",
        ),
        pytest.param(
            report_of(commit=None),
            Outcome.INCONCLUSIVE,
            f"report: report.json: the commit: {COMMIT}, not none, or changed files",
            id="changed-files",
        ),
        pytest.param(
            report_of(matched(replace(HAIKU, text="x")), matched(FOX)),
            Outcome.INCONCLUSIVE,
            f"report: report.json: quick/{HAIKU.id}: the definition of the commit, not another one",
            id="another-matrix",
        ),
        pytest.param(
            report_of(started_at=(NOW + timedelta(days=1)).isoformat()),
            Outcome.INCONCLUSIVE,
            "age: report.json: measured before now, ",
            id="measured-tomorrow",
        ),
    ],
)
def test_what_is_missing_is_listed(report: Any, outcome: Outcome, message: str) -> None:
    """Each with its own message; a finding is one, and what was not measured is none."""
    proposal = proposed(file_of(report))

    assert proposal.outcome is outcome
    assert any(line.startswith(message) for line in lines(proposal.missing)), proposal.missing


RESULTS: dict[str, Any] = {
    "match": lambda cell, runs: matched(cell, runs=runs),
    "drift": lambda cell, _: drifted(cell),
    "lost": lambda cell, _: matched(cell, verdict=LOST, runs=0, generation=None, provenance=None),
    "vacuous": lambda cell, runs: matched(cell, verdict=Vacuous(factor=Factor.SEED), runs=runs),
    "left out": lambda *_: None,
}


@given(
    results=st.tuples(*[st.sampled_from([*RESULTS, "match", "match"])] * 2),
    runs=st.tuples(*[st.integers(1, 5)] * 2),
    commit=st.sampled_from([COMMIT, COMMIT, None, "ee" * 20]),
    interrupted=st.booleans(),
    has_controls=st.booleans(),
    has_hosted=st.booleans(),
)
def test_only_a_whole_check_that_passed_is_signed(
    results: tuple[str, str],
    runs: tuple[int, int],
    commit: str | None,
    **holds: bool,
) -> None:
    """Whatever else it is, something is missing; and a whole one is accepted by its recipient."""
    cells = [
        RESULTS[result](cell, count)
        for cell, result, count in zip((HAIKU, FOX), results, runs, strict=True)
    ]
    found = [cell for cell in cells if cell is not None]
    changes: dict[str, Any] = {"cells": tuple(found), "commit": commit}
    if not holds["has_controls"]:
        changes["controls"] = ()
    if not holds["has_hosted"]:
        changes |= {"logprobs": (), "suites": ("quick",)}
    report = replace(report_of(), interrupted=holds["interrupted"], **changes)
    is_whole = (
        results == ("match", "match")
        and min(runs) >= suite_of(HAIKU, FOX).runs
        and commit == COMMIT
        and (holds["interrupted"], holds["has_controls"], holds["has_hosted"])
        == (False, True, True)
    )

    proposal = proposed(file_of(report))

    assert (proposal.missing == ()) is is_whole
    assert (proposal.outcome is Outcome.PASSED) is is_whole
    assert (proposal.outcome is Outcome.FAILED) is (not {"drift", "vacuous"}.isdisjoint(results))
    refused = verify(
        proposal.evidence, checkout=checkout_of(), policy=policy_of(), artifacts=ARTIFACTS, now=NOW
    )
    assert (refused == ()) is is_whole


def test_every_profile_with_goldens_has_to_be_measured() -> None:
    """Unless others are named; one that nothing is recorded for is not forgotten."""
    goldens = {**checkout_of().goldens, ("gpu", FOX.id): golden_of(FOX)}
    release = release_of(checkout_of(goldens=goldens))

    assert lines(proposed(release=release).missing) == [
        (
            "required: suite quick on gpu: all 2 tests, not 0 of them, without "
            f"quick/{FOX.id}/gpu, quick/{HAIKU.id}/gpu"
        )
    ]
    assert lines(proposed(release=replace(release, profiles=(PROFILE,))).missing) == []
    both = replace(release, profiles=(PROFILE, "tpu"))
    assert lines(proposed(release=both).missing) == [
        "required: profile tpu: goldens and a report of it, not neither"
    ]


def test_one_check_is_not_started_for_several_machines() -> None:
    """It could not cover them, and would take its time to show that."""
    goldens = {**checkout_of().goldens, ("gpu", FOX.id): golden_of(FOX)}
    release = release_of(checkout_of(goldens=goldens))

    def missing(*profiles: str) -> list[str]:
        return lines(missing_before(replace(release, profiles=profiles), [], is_checked_here=True))

    assert missing() == [f"required: suite quick: one profile for one check, not {PROFILE}, gpu"]
    assert missing(PROFILE) == []
    assert missing(PROFILE, "tpu") == [
        f"required: profile tpu: goldens in the commit, not those of {PROFILE}, gpu"
    ]


def test_a_suite_that_nobody_measured_or_recorded_is_missing() -> None:
    """There is no profile that could be named."""
    usual = checkout_of()
    suites = {**usual.matrix.suites, "new": suite_of(replace(FOX, seed=7), name="new")}
    checkout = replace(usual, matrix=replace(usual.matrix, suites=suites))

    assert lines(proposed(release=release_of(checkout, suites=(*SUITES, "new"))).missing) == [
        "required: suite new: its tests on some machine, not none"
    ]


def test_a_test_in_two_reports_is_refused() -> None:
    """Nobody could tell which of them counts."""
    reports = [file_of(report_of(), name=f"report-{number}.json") for number in (1, 2)]

    proposal = proposed(*reports)

    assert lines(proposal.missing) == [
        (
            f"result: reports: each test in one of them, not {CAPITAL_TEST}, {FOX_TEST}, "
            f"{HAIKU_TEST} in two"
        )
    ]
    assert proposal.outcome is Outcome.INCONCLUSIVE


def waived(report: Any, **changes: Any) -> WaiverFile:
    """Return the waiver of the drift of the fox."""
    return waiver_file_of(releases.waiver_of(report, **changes))


def test_a_waived_drift_is_a_warning() -> None:
    """It is counted apart."""
    report = report_of(matched(HAIKU), drifted(FOX))

    proposal = proposed(file_of(report), release=release_of(waivers=(waived(report),)))

    statement = proposal.evidence.statement
    assert (lines(proposal.missing), proposal.outcome) == ([], Outcome.PASSED)
    assert (statement.result, statement.warned, statement.passed) == (
        Result.WARNED,
        (FOX_TEST,),
        (HAIKU_TEST, CAPITAL_TEST),
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param(
            {"commit": "ee" * 20},
            f"a waiver for the commit {COMMIT}, not one for the commit {'ee' * 20}",
            id="of-another-commit",
        ),
        pytest.param(
            {"finding": "00" * 32}, "that of the finding " + "00" * 32, id="of-another-finding"
        ),
        pytest.param(
            {"not_before": NOW - timedelta(days=9), "not_after": NOW - timedelta(days=1)},
            "a waiver that holds now, ",
            id="expired",
        ),
        pytest.param({"test": HAIKU_TEST}, f"a finding in {HAIKU_TEST}, not none", id="unused"),
    ],
)
def test_a_waiver_that_does_not_hold_is_a_finding(changes: dict[str, Any], message: str) -> None:
    """As the drift is."""
    report = report_of(matched(HAIKU), drifted(FOX))
    waiver = replace(releases.waiver_of(report), **changes)

    proposal = proposed(file_of(report), release=release_of(waivers=(waiver_file_of(waiver),)))

    assert proposal.outcome is Outcome.FAILED
    assert any(message in line for line in lines(proposal.missing)), proposal.missing


def test_an_unused_waiver_is_refused_although_everything_matches() -> None:
    """Somebody expected a drift."""
    report = report_of(matched(HAIKU), drifted(FOX))

    proposal = proposed(release=release_of(waivers=(waived(report),)))

    assert (proposal.outcome, len(proposal.missing)) == (Outcome.FAILED, 1)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"artifacts": {"../x": "5a" * 32}}, id="a-path"),
        pytest.param({"artifacts": {"a": "5a" * 32, "A": "5b" * 32}}, id="names-that-look-alike"),
    ],
)
def test_what_cannot_be_stated_is_a_usage_error(changes: dict[str, Any]) -> None:
    """Such as an artifact that some file system takes for another; before anything is measured."""
    with pytest.raises(UsageInvalid, match="this cannot be signed off: "):
        missing_before(release_of(**changes), [])


# Waivers.

DRIFTING = report_of(matched(HAIKU), drifted(FOX))


def waive(**changes: Any) -> Any:
    """Return a waiver of the drift of the fox."""
    report = changes.pop("report", file_of(DRIFTING))
    until = (NOW + timedelta(days=14)).date().isoformat()
    request = WaiverRequest(test=FOX_TEST, reason="a tokenizer fix", until=until)
    return waiver_of(
        replace(request, **changes),
        report,
        checkout=checkout_of(),
        repository=REPOSITORY,
        now=NOW,
    )


def test_a_waiver_is_of_one_finding_until_the_end_of_its_last_day() -> None:
    """And a release with it is accepted for signing."""
    waiver = waive()

    finding = finding_in(DRIFTING, FOX_TEST)
    assert waiver == releases.waiver_of(
        DRIFTING,
        id=f"w-{finding[:12]}",
        not_before=NOW,
        not_after=NOW.replace(hour=0) + timedelta(days=14, hours=23, minutes=59, seconds=59),
    )
    release = release_of(waivers=(waiver_file_of(waiver),))
    assert proposed(file_of(DRIFTING), release=release).missing == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param(
            {"test": HAIKU_TEST},
            f"--test '{HAIKU_TEST}' is match: only drift can be waived; with drift: {FOX_TEST}",
            id="a-match",
        ),
        pytest.param({"test": "x"}, "--test 'x' is not in this report", id="an-unknown-test"),
        pytest.param(
            {"report": file_of(report_of(matched(HAIKU), matched(FOX, verdict=LOST)))},
            "is inconclusive: only drift can be waived; with drift: none",
            id="inconclusive",
        ),
        pytest.param(
            {"report": file_of(replace(DRIFTING, commit="ee" * 20))},
            f"the report is of {'ee' * 20}, not of the commit {COMMIT}",
            id="of-another-commit",
        ),
        pytest.param(
            {"report": file_of(replace(DRIFTING, commit=None))},
            "the report is of changed files",
            id="of-changed-files",
        ),
        pytest.param({"until": "2026-11-28"}, "--until is a day within the next 90", id="past"),
        pytest.param({"until": "2027-02-28"}, "--until is a day within the next 90", id="late"),
        pytest.param({"until": "tomorrow"}, "--until is a day such as 2026-12-31", id="no-day"),
        pytest.param({"reason": ""}, "no such waiver: reason", id="no-reason"),
    ],
)
def test_a_waiver_is_refused(changes: dict[str, Any], message: str) -> None:
    """For what cannot be waived, and what would not hold."""
    with pytest.raises(UsageInvalid) as refused:
        waive(**changes)

    assert message in str(refused.value)
