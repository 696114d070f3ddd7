"""Whether evidence satisfies a policy: each way in which it may not, with its message."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from repro_gate.core.sign_off.measured import Checkout, Refusal
from repro_gate.core.sign_off.policy import Policy, Signers, TrustedKey
from repro_gate.core.sign_off.statement import Kind, Result
from repro_gate.core.sign_off.verification import (
    Evidence,
    inconsistencies,
    judge,
    refuse_signatures,
    verify,
)
from repro_gate.strict_json import InvalidJson
from tests.fakes.releases import (
    ARTIFACTS,
    CAPITAL_TEST,
    COMMIT,
    FOX,
    FOX_TEST,
    HAIKU,
    HAIKU_TEST,
    NOW,
    OTHER_OUTPUT,
    SHA,
    SIGNED,
    checkout_of,
    drifted,
    evidence_of,
    file_of,
    finding_in,
    matched,
    policy_of,
    report_of,
    shifted,
    signers_of,
    waiver_file_of,
    waiver_of,
)
from tests.fakes.signing import key_of


def refused(
    evidence: Evidence,
    *,
    policy: Policy | None = None,
    checkout: Checkout | None = None,
    artifacts: Mapping[str, str] = ARTIFACTS,
    now: datetime = NOW,
) -> list[str]:
    """Return each refusal as one line."""
    found = verify(
        evidence,
        checkout=checkout or checkout_of(),
        policy=policy or policy_of(),
        artifacts=artifacts,
        now=now,
    )
    return [line_of(one) for one in found]


def line_of(one: Refusal) -> str:
    """Return a refusal as one line; every one has a remedy."""
    assert one.remedy
    return f"{one.condition}: {one.about}: expected {one.expected}, found {one.found}"


def configured(**entries: Any) -> Evidence:
    """Return evidence in which entries of one kind differ."""
    usual = evidence_of().statement.configuration
    changed = tuple(
        replace(entry, **entries[entry.kind.value]) if entry.kind.value in entries else entry
        for entry in usual
    )
    return evidence_of(configuration=changed)


def test_good_evidence_is_accepted() -> None:
    """Nothing is left to refuse."""
    assert refused(evidence_of()) == []


def test_a_report_does_not_stand_for_the_matrix() -> None:
    """Though it has its name."""
    file = file_of(report_of(), name="repro-gate.toml")
    others = (entry for entry in checkout_of().entries if entry.kind is not Kind.MATRIX)
    usual = evidence_of(configuration=(*others, file.entry(signed_at=SIGNED)))
    evidence = replace(usual, reports=(file,))

    assert refused(evidence) == [
        "configuration: repro-gate.toml: expected kind matrix, found report"
    ]


@pytest.mark.parametrize(
    ("evidence", "message"),
    [
        pytest.param(
            evidence_of(repository="git+https://github.com/fork/model"),
            "repository: subject: expected git+https://github.com/acme/model, found "
            "git+https://github.com/fork/model",
            id="a-fork-with-the-same-commit",
        ),
        pytest.param(
            evidence_of(commit="ee" * 20),
            f"commit: subject: expected {COMMIT}, found {'ee' * 20}",
            id="the-last-release-replayed",
        ),
        pytest.param(
            evidence_of(artifacts={}),
            "artifact: model.gguf: expected an artifact that was signed, found only none",
            id="an-artifact-that-nobody-signed",
        ),
        pytest.param(
            evidence_of(artifacts={"model.gguf": "00" * 32}),
            f"artifact: model.gguf: expected sha256 {'00' * 32}, found sha256 {SHA}",
            id="an-artifact-that-changed",
        ),
        pytest.param(
            evidence_of(artifacts={**ARTIFACTS, "other.gguf": SHA}),
            "artifact: other.gguf: expected the file, given as --artifact, found none",
            id="an-artifact-that-is-not-given",
        ),
        pytest.param(
            configured(matrix={"digest": {"sha256": "00" * 32}}),
            "configuration: repro-gate.toml: expected digest.sha256 "
            f"{'a1' * 32}, found {'00' * 32}",
            id="another-matrix",
        ),
        pytest.param(
            configured(goldens={"digest": {"sha256": "a2" * 32, "gitTree": "00" * 20}}),
            f"configuration: snapshots/goldens: expected digest.gitTree {'a3' * 20}, found "
            f"{'00' * 20}",
            id="other-goldens",
        ),
        pytest.param(
            configured(goldens={"digest": {"sha256": "a2" * 32}}),
            f"configuration: snapshots/goldens: expected digest.gitTree {'a3' * 20}, found none",
            id="one-of-two-digests",
        ),
        pytest.param(
            configured(goldens={"annotations": {"files": 3}}),
            "configuration: snapshots/goldens: expected annotations.files 2, found 3",
            id="a-number-that-is-not-so",
        ),
        pytest.param(
            configured(matrix={"kind": Kind.PINS}),
            "configuration: repro-gate.toml: expected kind matrix, found pins",
            id="another-kind",
        ),
        pytest.param(
            configured(matrix={"name": "other.toml"}),
            "configuration: repro-gate.toml: expected kind matrix, found none",
            id="no-matrix",
        ),
        pytest.param(
            configured(matrix={"name": "other.toml"}),
            "configuration: other.toml: expected nothing, as the commit has no such file, found "
            "matrix",
            id="a-file-that-the-commit-does-not-have",
        ),
        pytest.param(
            configured(report={"annotations": {}}),
            "configuration: report.json: expected annotations.time 2026-11-28T02:00:00Z, found "
            "none",
            id="no-times",
        ),
        pytest.param(
            replace(evidence_of(), reports=(), changed={"report.json": "00" * 32}),
            f"configuration: report.json: expected sha256 {'b1' * 32}, which was signed, found "
            f"sha256 {'00' * 32}",
            id="another-report",
        ),
        pytest.param(
            replace(evidence_of(configuration=checkout_of().entries), reports=()),
            "configuration: report.json: expected a report that was signed, found none",
            id="no-report",
        ),
        pytest.param(
            evidence_of(passed=(HAIKU_TEST, CAPITAL_TEST)),
            f"result: passedTests: expected the 3 that the reports show, found not {FOX_TEST}, "
            "and also none",
            id="a-test-left-out",
        ),
        pytest.param(
            evidence_of(passed=(HAIKU_TEST, CAPITAL_TEST, FOX_TEST, "quick/extra/cpu")),
            "result: passedTests: expected the 3 that the reports show, found not none, and also "
            "quick/extra/cpu",
            id="a-test-invented",
        ),
        pytest.param(
            evidence_of(failed=("quick/extra/cpu",)),
            "result: failedTests: expected the 0 that the reports show, found not none, and also "
            "quick/extra/cpu",
            id="passed-with-failed-tests",
        ),
        pytest.param(
            evidence_of(result=Result.FAILED),
            "result: result: expected PASSED, found FAILED",
            id="failed",
        ),
        pytest.param(
            evidence_of(result=Result.WARNED),
            "result: result: expected PASSED, found WARNED",
            id="warned-without-a-reason",
        ),
        pytest.param(
            evidence_of(passed=()),
            f"required: suite quick: expected all 2 tests, found 0 of them, without {FOX_TEST}, "
            f"{HAIKU_TEST}",
            id="no-tests-at-all",
        ),
        pytest.param(
            evidence_of(passed=()),
            "required: tests: expected at least 3, found 0",
            id="fewer-tests-than-the-minimum",
        ),
        pytest.param(
            evidence_of(
                file_of(report_of()), file_of(report_of(), name="report-2.json", sha256=SHA)
            ),
            f"result: reports: expected each test in one of them, found {CAPITAL_TEST}, {FOX_TEST},"
            f" {HAIKU_TEST} in two",
            id="each-test-twice",
        ),
        pytest.param(
            evidence_of(file_of(report_of(drifted(FOX), matched(HAIKU)))),
            f"test: {FOX_TEST}: expected agreement with what is committed, found drift",
            id="signed-drift",
        ),
    ],
)
def test_evidence_is_refused(evidence: Evidence, message: str) -> None:
    """With what was expected and what was found."""
    assert message in refused(evidence)


def test_every_refusal_is_reported() -> None:
    """Not only the first."""
    conditions = {
        line.partition(":")[0]
        for line in refused(
            evidence_of(commit="ee" * 20, repository="git+https://x.org/y", failed=("x",)),
            artifacts={},
            now=NOW + timedelta(days=365),
        )
    }

    assert conditions == {"commit", "repository", "artifact", "result", "age"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"suites": ("quick", "gone")},
            "required: suite gone: expected a suite in the matrix, with tests, found none",
        ),
        (
            {"profiles": ()},
            "required: suite quick: expected a suite in the matrix, with tests, found none",
        ),
        (
            {"profiles": ("cpu-test", "gpu-test")},
            (
                "required: suite quick: expected all 4 tests, found 2 of them, without "
                f"quick/{FOX.id}/gpu-test, quick/{HAIKU.id}/gpu-test"
            ),
        ),
        (
            {"artifacts": ("*.whl",)},
            "artifact: *.whl: expected a signed artifact of this name, found only model.gguf",
        ),
        ({"minimum_tests": 4}, "required: tests: expected at least 4, found 3"),
    ],
)
def test_a_policy_names_what_must_be_there(changes: Any, message: str) -> None:
    """What is missing is refused."""
    assert refused(evidence_of(), policy=policy_of(**changes)) == [message]


def test_a_pattern_has_one_special_character() -> None:
    """Others are literal, so that two implementations agree."""
    assert refused(evidence_of(), policy=policy_of(artifacts=("model.gguf", "mo*el.*"))) == []
    for pattern in ("mode[l].gguf", "model?gguf", "MODEL.gguf", "*.ggu"):
        assert len(refused(evidence_of(), policy=policy_of(artifacts=(pattern,)))) == 1


@pytest.mark.parametrize(
    ("now", "message"),
    [
        (
            NOW + timedelta(days=13),
            (
                "age: report.json: expected a measurement within 14 days, found "
                "2026-11-28T02:00:00Z, 15.0 days ago"
            ),
        ),
        (
            NOW + timedelta(days=3650),
            (
                "age: report.json: expected a measurement within 14 days, found "
                "2026-11-28T02:00:00Z, 3652.0 days ago"
            ),
        ),
        (
            NOW - timedelta(days=3650),
            (
                "age: report.json: expected measured before now, 2016-12-02T02:00:00Z by "
                "this clock, found 2026-11-28T02:00:00Z"
            ),
        ),
        (
            NOW - timedelta(days=1, minutes=6),
            (
                "age: report.json: expected signed before now, 2026-11-29T01:54:00Z by this clock, "
                "found 2026-11-29T02:00:00Z"
            ),
        ),
    ],
)
def test_old_and_future_evidence_is_refused(now: datetime, message: str) -> None:
    """By the recipient's clock."""
    assert message in refused(evidence_of(), now=now)


@pytest.mark.parametrize("now", [NOW + timedelta(days=12), SIGNED - timedelta(minutes=5), NOW])
def test_age_and_skew_include_their_ends(now: datetime) -> None:
    """14 days after the measurement, and 5 minutes before the signature."""
    assert refused(evidence_of(), now=now) == []


def test_a_fresh_signature_does_not_renew_an_old_measurement() -> None:
    """The age is that of the measurement."""
    old = report_of(started_at="2025-11-28T02:00:00+00:00")

    assert refused(evidence_of(file_of(old))) == [
        (
            "age: report.json: expected a measurement within 14 days, found 2025-11-28T02:00:00Z, "
            "367.0 days ago"
        )
    ]


def test_nothing_is_signed_before_it_is_measured() -> None:
    """Within the skew of clocks."""
    later = report_of(started_at=(SIGNED + timedelta(minutes=6)).isoformat())

    assert refused(evidence_of(file_of(later))) == [
        (
            "age: report.json: expected signed after it was measured, 2026-11-29T02:06:00Z, found "
            "2026-11-29T02:00:00Z"
        )
    ]


# Waivers.

DRIFT = report_of(matched(HAIKU), drifted(FOX))
WAIVED = policy_of(waivers=signers_of("carol"))
USED = waiver_of(DRIFT)


def waived_by(*files: Any, report: Any = DRIFT) -> Evidence:
    """Return evidence of drift with waivers."""
    return evidence_of(file_of(report), waivers=files)


def test_a_waived_drift_is_accepted_and_counted_apart() -> None:
    """The result is WARNED."""
    evidence = waived_by(waiver_file_of(USED, "carol"))

    assert refused(evidence, policy=WAIVED) == []
    assert evidence.statement.result is Result.WARNED
    assert evidence.statement.warned == (FOX_TEST,)


def test_drift_of_log_probabilities_can_be_waived() -> None:
    """For exactly these draws."""
    report = report_of(logprobs=(shifted(),))
    waiver = waiver_of(report, CAPITAL_TEST)

    assert refused(waived_by(waiver_file_of(waiver, "carol"), report=report), policy=WAIVED) == []


@pytest.mark.parametrize(
    ("evidence", "message"),
    [
        pytest.param(
            waived_by(waiver_file_of(USED, "alice")),
            "signatures: waivers/w-1.dsse.json: expected a signature by a key of the policy, "
            "found 0 (none)",
            id="signed-by-one-who-may-not-waive",
        ),
        pytest.param(
            waived_by(waiver_file_of(replace(USED, commit="ee" * 20), "carol")),
            f"waiver: waivers/w-1.dsse.json: expected a waiver for the commit {COMMIT}, found one "
            f"for the commit {'ee' * 20}",
            id="of-another-commit",
        ),
        pytest.param(
            waived_by(
                waiver_file_of(
                    replace(USED, repository="git+https://github.com/fork/model"), "carol"
                )
            ),
            "waiver: waivers/w-1.dsse.json: expected a waiver for "
            "git+https://github.com/acme/model, found one for git+https://github.com/fork/model",
            id="of-another-repository",
        ),
        pytest.param(
            waived_by(waiver_file_of(replace(USED, finding="00" * 32), "carol")),
            f"waiver: waivers/w-1.dsse.json: expected the waiver of the finding "
            f"{finding_in(DRIFT, FOX_TEST)}, found that of the finding {'00' * 32}",
            id="of-another-finding",
        ),
        pytest.param(
            waived_by(waiver_file_of(replace(USED, test=HAIKU_TEST), "carol")),
            f"waiver: waivers/w-1.dsse.json: expected a finding in {HAIKU_TEST}, found none; the "
            "waiver is not used",
            id="of-a-test-that-passed",
        ),
        pytest.param(
            waived_by(waiver_file_of(replace(USED, test="quick/gone/cpu"), "carol")),
            "waiver: waivers/w-1.dsse.json: expected a finding in quick/gone/cpu, found none; the "
            "waiver is not used",
            id="of-no-test",
        ),
        pytest.param(
            waived_by(
                waiver_file_of(
                    replace(
                        USED,
                        not_before=NOW - timedelta(days=60),
                        not_after=NOW - timedelta(hours=1),
                    ),
                    "carol",
                )
            ),
            "waiver: waivers/w-1.dsse.json: expected a waiver that holds now, "
            "2026-11-30T02:00:00Z, found one expired on 2026-11-30T01:00:00Z",
            id="expired",
        ),
        pytest.param(
            waived_by(
                waiver_file_of(replace(USED, not_before=SIGNED + timedelta(hours=1)), "carol")
            ),
            "waiver: waivers/w-1.dsse.json: expected a waiver that holds when it was used, "
            "2026-11-29T02:00:00Z, found one from 2026-11-29T03:00:00Z on",
            id="made-after-the-release",
        ),
        pytest.param(
            waived_by(
                waiver_file_of(replace(USED, not_after=SIGNED + timedelta(days=91)), "carol")
            ),
            "waiver: waivers/w-1.dsse.json: expected at most 90 days, found 91 days",
            id="too-long",
        ),
        pytest.param(
            waived_by(
                waiver_file_of(
                    InvalidJson("predicateType", expected="that of a waiver", found="another"),
                    "carol",
                )
            ),
            "waiver: waivers/w-1.dsse.json: expected predicateType: that of a waiver, found "
            "another",
            id="no-waiver",
        ),
        pytest.param(
            waived_by(
                waiver_file_of(InvalidJson("", expected="an object", found="a list"), "carol")
            ),
            "waiver: waivers/w-1.dsse.json: expected an object, found a list",
            id="no-object",
        ),
        pytest.param(
            waived_by(
                waiver_file_of(USED, "carol"),
                waiver_file_of(replace(USED, id="w-2"), "carol", name="waivers/w-2.dsse.json"),
            ),
            f"waiver: waivers/w-2.dsse.json: expected one waiver for {FOX_TEST}, found two of them",
            id="two-for-one-test",
        ),
        pytest.param(
            waived_by(
                waiver_file_of(USED, "carol"),
                waiver_file_of(
                    replace(USED, test=HAIKU_TEST), "carol", name="waivers/w-2.dsse.json"
                ),
            ),
            "waiver: waivers/w-2.dsse.json: expected one waiver with the id w-1, found two of them",
            id="two-of-one-id",
        ),
    ],
)
def test_a_waiver_that_does_not_hold_is_refused(evidence: Evidence, message: str) -> None:
    """And the drift with it."""
    found = refused(evidence, policy=WAIVED)

    assert message in found
    assert any(line.startswith(("result: ", "test: ")) for line in found) or "w-2" in message


def test_a_policy_without_keys_for_waivers_accepts_none() -> None:
    """Strict is the default."""
    found = refused(waived_by(waiver_file_of(USED, "carol")))

    assert found == [
        (
            "waiver: waivers/w-1.dsse.json: expected no waivers, as the policy lists no keys for "
            "them, found one"
        ),
        f"test: {FOX_TEST}: expected agreement with what is committed, found drift",
        (
            "decision: report.json: expected a check that passes as a whole, found failed: 1 "
            "drift, 1 match, suite hosted: agrees"
        ),
    ]


def test_a_waiver_does_not_cover_another_drift_of_the_same_test() -> None:
    """Two waivers, each for half of it, do not either."""
    other = report_of(matched(HAIKU), drifted(FOX, replace(OTHER_OUTPUT, tokens=())))

    found = refused(waived_by(waiver_file_of(USED, "carol"), report=other), policy=WAIVED)

    assert any("expected the waiver of the finding" in line for line in found)


def test_a_signer_does_not_know_whose_waivers_a_recipient_accepts() -> None:
    """So the signer judges everything of a waiver but its signatures."""
    good = waived_by(waiver_file_of(USED))
    late = waived_by(waiver_file_of(replace(USED, not_before=SIGNED + timedelta(hours=1))))

    assert judge(good, checkout=checkout_of(), now=NOW).waived == {FOX_TEST}
    assert list(inconsistencies(good, checkout=checkout_of(), now=NOW)) == []
    assert judge(late, checkout=checkout_of(), now=NOW).waived == frozenset()
    conditions = {one.condition for one in inconsistencies(late, checkout=checkout_of(), now=NOW)}
    assert conditions == {"decision", "test", "waiver"}


# Signatures.


def signature_lines(
    signers: Signers, *names: str, now: datetime = NOW, **options: Any
) -> list[str]:
    """Return why signatures by these people are not enough."""
    return [
        line_of(one) for one in refuse_signatures(signers, names, now, about="evidence", **options)
    ]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("alice", "bob"), []),
        (
            ("alice",),
            [
                (
                    "signatures: evidence: expected signatures by 2 different keys of the policy, "
                    "found 1 (alice)"
                )
            ],
        ),
        (
            (),
            [
                (
                    "signatures: evidence: expected signatures by 2 different keys of the policy, "
                    "found 0 (none)"
                )
            ],
        ),
    ],
)
def test_a_threshold_is_of_different_keys(names: Any, expected: list[str]) -> None:
    """The message names those that count."""
    assert signature_lines(signers_of("alice", "bob", threshold=2), *names) == expected


def test_the_key_ids_of_strangers_are_shown_as_claims() -> None:
    """A key that was removed from the policy is a stranger."""
    assert signature_lines(signers_of("alice"), hints=["ab12"]) == [
        (
            "signatures: evidence: expected a signature by a key of the policy, found 0 (none); "
            "the file claims the key ids ab12"
        )
    ]


def test_a_required_key_has_to_be_among_the_signers() -> None:
    """Even if the threshold is met without it."""
    alice, bob = signers_of("alice", "bob").keys
    signers = Signers(keys=(alice, replace(bob, required=True)), threshold=1)

    assert signature_lines(signers, "alice") == [
        "signatures: evidence: expected a signature by 'bob', which the policy requires, found none"
    ]
    assert signature_lines(signers, "bob") == []


@pytest.mark.parametrize(
    ("now", "is_valid"),
    [
        (datetime.fromisoformat("2026-05-31T23:59:59+00:00"), False),
        (datetime.fromisoformat("2026-06-01T00:00:00+00:00"), True),
        (datetime.fromisoformat("2026-06-30T23:59:59+00:00"), True),
        (datetime.fromisoformat("2026-07-01T00:00:00+00:00"), False),
        (datetime.fromisoformat("2026-07-01T01:00:00+02:00"), True),
    ],
)
def test_a_key_counts_on_its_days(now: datetime, is_valid: bool) -> None:  # noqa: FBT001 -- a case
    """Before, at and after each end, in UTC."""
    key = TrustedKey(
        name="alice",
        key=key_of("alice").public.raw,
        not_before=date(2026, 6, 1),
        not_after=date(2026, 6, 30),
    )
    found = signature_lines(Signers(keys=(key,), threshold=1), "alice", now=now)

    expected = (
        f"signatures: evidence: the key 'alice': expected a key that is valid on {now.date()}"
    )
    assert [line.startswith(expected) for line in found] == ([] if is_valid else [True, False])


def test_a_key_out_of_its_time_matters_only_where_it_is_needed() -> None:
    """Another signer may stand in."""
    alice, bob = signers_of("alice", "bob").keys
    expired = replace(bob, not_after=date(2026, 1, 1))

    assert signature_lines(Signers(keys=(alice, expired), threshold=1), "alice", "bob") == []
