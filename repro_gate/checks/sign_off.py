"""Sign off a release: make its statement, and list everything that it lacks."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

from repro_gate.core.outcome import Outcome
from repro_gate.core.sign_off.measured import (
    Checkout,
    Condition,
    Refusal,
    ReportFile,
    named_tests,
    outcome_of,
    planned_cells,
    planned_tests,
    refusing,
)
from repro_gate.core.sign_off.policy import MAX_WAIVER, listed
from repro_gate.core.sign_off.statement import (
    Entry,
    Kind,
    Result,
    Statement,
    Waiver,
)
from repro_gate.core.sign_off.verification import (
    Evidence,
    WaiverFile,
    inconsistencies,
    judge,
)
from repro_gate.errors import UsageInvalid

_SHOWN_CHANGES = 5
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_changed = refusing(Condition.COMMIT, "commit, remove or ignore these files (git status)")
_unpinned = refusing(
    Condition.MODEL, "set its sha256 in the matrix, or commit models.json of the snapshots"
)
_missing = refusing(
    Condition.REQUIRED,
    "check it there and pass its report.json with --from, or name the --suite and --profile "
    "that you release",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What is to be signed off."""

    repository: str
    """`git+https://HOST/PATH`."""
    checkout: Checkout
    suites: tuple[str, ...]
    """Every test of them has to be there."""
    profiles: tuple[str, ...] = ()
    """On each of these machine profiles; empty for all that have snapshots of the suites."""
    artifacts: Mapping[str, str]
    """The sha256 of each, by file name."""
    waivers: tuple[WaiverFile, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Evidence that can be signed if nothing is missing."""

    evidence: Evidence
    missing: tuple[Refusal, ...]
    outcome: Outcome
    """Whether what is missing is a finding, or was not measured."""


def missing_before(
    release: Release, changed: Sequence[str], *, is_checked_here: bool = False
) -> tuple[Refusal, ...]:
    """Return what a release lacks before anything is measured.

    Args:
        release: what is to be signed off.
        changed: files of the work tree that differ from the commit.
        is_checked_here: whether one check is going to measure it, and no other report is given.

    Raises:
        UsageInvalid: there can be no statement about this release.
    """
    _ = _statement(release)
    beyond = _beyond_one_check(release) if is_checked_here else ()
    return (*_unready(release, changed), *beyond)


def propose(release: Release, reports: Sequence[ReportFile], *, now: datetime) -> Proposal:
    """Return the evidence of a release, and everything that it lacks."""
    checkout = release.checkout
    evidence = Evidence(
        statement=_statement(release, *(report.entry(signed_at=now) for report in reports)),
        reports=tuple(reports),
        waivers=release.waivers,
    )
    shown = judge(evidence, checkout=checkout, now=now)
    statement = replace(
        evidence.statement, result=shown.result, passed=shown.passed, warned=shown.warned
    )
    evidence = replace(evidence, statement=statement)
    missing = (
        *_missing_tests(release, reports, {test.name for test in shown.tests}),
        *inconsistencies(evidence, checkout=checkout, now=now),
    )
    outcomes = {outcome_of(file.report, shown.tests, shown.waived) for file in reports}
    outcome = Outcome.INCONCLUSIVE if missing else Outcome.PASSED
    if Outcome.FAILED in outcomes or shown.refused:
        outcome = Outcome.FAILED
    return Proposal(evidence=evidence, missing=missing, outcome=outcome)


@dataclass(frozen=True, slots=True, kw_only=True)
class WaiverRequest:
    """Which drift to waive, why, and how long."""

    test: str
    """The whole name of the test."""
    reason: str
    until: str
    """The last day, such as `2026-12-31`."""
    issue: str | None = None
    """Where it is discussed."""


def waiver_of(
    request: WaiverRequest,
    report: ReportFile,
    *,
    checkout: Checkout,
    repository: str,
    now: datetime,
) -> Waiver:
    """Return the waiver of a drift in a report, from now on; raises `UsageInvalid`."""
    test = request.test
    try:
        until = datetime.combine(date.fromisoformat(request.until), time(), UTC)
    except ValueError as error:
        raise UsageInvalid(f"--until is a day such as 2026-12-31, not {request.until!r}") from error
    if report.report.commit != checkout.commit:
        found = report.report.commit or "changed files"
        raise UsageInvalid(f"the report is of {found}, not of the commit {checkout.commit}")
    tests = {one.name: one for one in named_tests(report.report, checkout.matrix)}
    drifted = [name for name, one in tests.items() if one.finding is not None]
    if test not in drifted:
        verdict = tests[test].cell.verdict.word if test in tests else "not in this report"
        raise UsageInvalid(
            f"--test {test!r} is {verdict}: only drift can be waived; with drift: {listed(drifted)}"
        )
    end = until + _DAY - _SECOND
    if not now < end <= now + MAX_WAIVER:
        raise UsageInvalid(f"--until is a day within the next {MAX_WAIVER.days} days")
    finding = str(tests[test].finding)
    try:
        return Waiver(
            repository=repository,
            commit=checkout.commit,
            id=f"w-{finding[:12]}",
            test=test,
            finding=finding,
            reason=request.reason,
            issue=request.issue,
            not_before=now,
            not_after=end,
        )
    except ValueError as error:
        raise UsageInvalid(f"no such waiver: {error}") from error


def _statement(release: Release, *reports: Entry) -> Statement:
    """Return a statement without tests, which are added last."""
    checkout = release.checkout
    try:
        return Statement(
            repository=release.repository,
            commit=checkout.commit,
            artifacts=release.artifacts,
            result=Result.PASSED,
            configuration=(
                *checkout.entries,
                *reports,
                *(
                    Entry(kind=Kind.WAIVER, name=file.name, digest={"sha256": file.sha256})
                    for file in release.waivers
                ),
            ),
            passed=(),
        )
    except ValueError as error:
        raise UsageInvalid(f"this cannot be signed off: {error}") from error


def _unready(release: Release, changed: Sequence[str]) -> Iterator[Refusal]:
    checkout = release.checkout
    if changed:
        expected = f"the files of {checkout.commit} and no others"
        yield _changed("work tree", expected, listed(changed, limit=_SHOWN_CHANGES))
    tokens, drawn = planned_cells(checkout.matrix, *release.suites)
    local = {cell.policy.model for cell in drawn if cell.policy.local_model is not None}
    for name in sorted({cell.model for cell in tokens} | local):
        for file in checkout.matrix.models[name].files:
            if checkout.pin_of(file) is None:
                yield _unpinned(file.key, "a model that the commit pins by sha256", "none")


def _beyond_one_check(release: Release) -> Iterator[Refusal]:
    """Yield what one check cannot show: it measures each cell on one machine."""
    recorded: set[str] = set()
    for suite in release.suites:
        profiles = _recorded(release.checkout, suite)
        recorded |= profiles
        needed = profiles & set(release.profiles) if release.profiles else profiles
        if len(needed) > 1:
            yield _missing(f"suite {suite}", "one profile for one check", listed(needed))
    for profile in sorted(set(release.profiles) - recorded):
        yield _missing(
            f"profile {profile}", "goldens in the commit", f"those of {listed(recorded)}"
        )


def _missing_tests(
    release: Release, reports: Sequence[ReportFile], found: Collection[str]
) -> Iterator[Refusal]:
    """Yield the tests that were not found in a report, by suite and by profile or source."""
    checkout = release.checkout
    covered: set[str] = set()
    for suite in release.suites:
        profiles = _recorded(checkout, suite)
        if release.profiles:
            profiles &= set(release.profiles)
        profiles |= _measured(reports, suite)
        covered |= profiles
        places: dict[str, set[str]] = {}
        for test in planned_tests(checkout.matrix, suite, sorted(profiles)):
            places.setdefault(test.rpartition("/")[2], set()).add(test)
        for place, tests in places.items():
            missing = tests.difference(found)
            if missing:
                seen = f"{len(tests) - len(missing)} of them, without {listed(missing)}"
                yield _missing(f"suite {suite} on {place}", f"all {len(tests)} tests", seen)
        if not places:
            yield _missing(f"suite {suite}", "its tests on some machine", "none")
    for profile in sorted(set(release.profiles) - covered):
        yield _missing(f"profile {profile}", "goldens and a report of it", "neither")


def _recorded(checkout: Checkout, suite: str) -> set[str]:
    """Return the profiles of machines that the commit has snapshots of a suite for."""
    tokens, drawn = planned_cells(checkout.matrix, suite)
    ids = {cell.id for cell in tokens}
    local = {cell.id for cell in drawn if cell.policy.provider.is_local}
    return {
        *(profile for profile, cell in checkout.goldens if cell in ids),
        *(source for source, cell in checkout.baselines if cell in local),
    }


def _measured(reports: Iterable[ReportFile], suite: str) -> set[str]:
    """Return the profiles of the machines that measured a suite."""
    found: set[str] = set()
    for report in (file.report for file in reports):
        found |= {cell.profile for cell in report.cells if cell.suite == suite and cell.profile}
        drawn = (cell for part in report.logprobs if part.suite == suite for cell in part.cells)
        found |= {one.source for one in drawn if one.source and one.cell.policy.provider.is_local}
    return found
