"""Whether evidence satisfies the recipient's policy.

Everything in a statement that can be computed again is, from the commit, the reports and the files
that the recipient holds. Evidence is accepted when nothing is left to refuse.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import chain

from repro_gate.core.sign_off.circumstances import circumstances_of
from repro_gate.core.sign_off.measured import (
    Checkout,
    Condition,
    NamedTest,
    Refusal,
    ReportFile,
    named_tests,
    planned_tests,
    problems_of,
    refusing,
)
from repro_gate.core.sign_off.policy import (
    CLOCK_SKEW,
    MAX_WAIVER,
    Policy,
    Signers,
    is_matched,
    listed,
)
from repro_gate.core.sign_off.statement import (
    Entry,
    Kind,
    Result,
    Statement,
    Waiver,
    format_time,
    time_of,
)
from repro_gate.strict_json import InvalidJson

_signatures = partial(Refusal, condition=Condition.SIGNATURES)
_repository = refusing(
    Condition.REPOSITORY, "fetch the evidence of this repository; a fork has the same commit ids"
)
_commit = refusing(
    Condition.COMMIT,
    "fetch the evidence of this commit, or give the commit that you release as --commit",
)
_artifact = refusing(
    Condition.ARTIFACT, "use the files that were signed, under their names, or have these signed"
)
_not_given = refusing(Condition.ARTIFACT, "add --artifact with this file: your policy requires it")
_entry = refusing(
    Condition.CONFIGURATION, "fetch evidence and commit again; what was signed is not what is here"
)
_summary = refusing(
    Condition.RESULT, "do not use this evidence: its signed summary is not that of its reports"
)
_repeated = refusing(Condition.RESULT, "sign off again, with one report for each test")
_missing = refusing(
    Condition.REQUIRED,
    "have all required suites checked on all required profiles, or mend your policy",
)
_time = refusing(
    Condition.AGE, "check and sign the release again; if the clock of this machine is wrong, set it"
)
_invalid_waiver = refusing(
    Condition.WAIVER,
    "have the drift waived again with repro-gate waive, or released without a waiver",
)
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class WaiverFile:
    """A waiver in the evidence folder, and who signed it."""

    name: str
    """In the evidence folder, such as `waivers/w-1.dsse.json`."""
    sha256: str
    """Of its bytes."""
    signers: frozenset[str]
    """Names of the keys that the policy lists for waivers."""
    waiver: Waiver | InvalidJson
    """Or why the payload is no waiver."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The content of an evidence folder, after its signatures were verified."""

    statement: Statement
    reports: tuple[ReportFile, ...]
    """Those that the statement names and whose sha256 is the signed one."""
    waivers: tuple[WaiverFile, ...] = ()
    changed: Mapping[str, str] = field(default_factory=dict[str, str])
    """The sha256 of the files that are not as they were signed, by name; they were not read."""


def refuse_signatures(
    signers: Signers,
    signed_by: Collection[str],
    now: datetime,
    *,
    about: str,
    hints: Collection[str] = (),
) -> Iterator[Refusal]:
    """Yield why signatures are not enough.

    Args:
        signers: the keys of the policy.
        signed_by: the names of those that made a valid signature.
        now: by the recipient's clock; a date that a signer gives is only a claim.
        about: what is signed.
        hints: the key ids in the file, which anybody can write.
    """
    found = [key for key in signers.keys if key.name in signed_by]
    valid = {key.name for key in found if key.is_valid_at(now)}
    required = {key.name for key in signers.keys if key.required}
    is_enough = len(valid) >= signers.threshold and required <= valid
    for key in found:
        if key.name not in valid and not is_enough:
            yield _signatures(
                f"{about}: the key {key.name!r}",
                f"a key that is valid on {now.date()}",
                f"one that is valid from {key.days}",
                remedy="have it signed with a current key, or extend the key in your policy",
            )
    for name in sorted(required - valid):
        expected = f"a signature by {name!r}, which the policy requires"
        remedy = f"ask {name} to sign it with repro-gate countersign"
        yield _signatures(about, expected, "none", remedy=remedy)
    if len(valid) < signers.threshold:
        claimed = f"; the file claims the key ids {listed(hints)}" if hints else ""
        yield _signatures(
            about,
            "a signature by a key of the policy"
            if signers.threshold == 1
            else f"signatures by {signers.threshold} different keys of the policy",
            f"{len(valid)} ({listed(valid)}){claimed}",
            remedy="have it signed by more of the keys that you trust; never take a key from the "
            "evidence",
        )


def verify(
    evidence: Evidence,
    *,
    checkout: Checkout,
    policy: Policy,
    artifacts: Mapping[str, str],
    now: datetime,
) -> tuple[Refusal, ...]:
    """Return every condition of the policy that evidence does not satisfy; none accepts it.

    The signatures of the statement were verified before, see `refuse_signatures`.

    Args:
        evidence: the statement and the files that it rests on.
        checkout: the commit that the recipient wants to release.
        policy: the recipient's.
        artifacts: the sha256 of each file that the recipient holds, by name.
        now: by the recipient's clock.
    """
    return tuple(
        chain(
            refuse_subjects(evidence.statement, checkout.commit, policy, artifacts),
            inconsistencies(evidence, checkout=checkout, now=now, policy=policy),
            _required(evidence.statement, checkout, policy),
            _age(evidence, policy, now),
        )
    )


def refuse_subjects(
    statement: Statement, commit: str, policy: Policy, artifacts: Mapping[str, str]
) -> Iterator[Refusal]:
    """Yield why a statement is not about the repository, the commit and the files of a recipient.

    If it is about another commit, whatever else is refused follows from that.
    """
    if statement.repository != policy.repository:
        yield _repository("subject", policy.repository, statement.repository)
    if statement.commit != commit:
        yield _commit("subject", commit, statement.commit)
    yield from _artifacts(statement, policy, artifacts)


def inconsistencies(
    evidence: Evidence, *, checkout: Checkout, now: datetime, policy: Policy | None = None
) -> Iterator[Refusal]:
    """Yield everything in evidence that does not follow from the commit and the reports.

    Args:
        evidence: the statement and the files that it rests on.
        checkout: the commit.
        now: by the clock of this machine.
        policy: the recipient's; None for a signer, who does not know whose waivers it accepts.
    """
    shown = judge(evidence, checkout=checkout, now=now, policy=policy)
    yield from _configuration(evidence, checkout)
    yield from shown.refused
    for file in evidence.reports:
        yield from problems_of(file, checkout, waived=shown.waived)
        yield from circumstances_of(file, checkout)
    yield from _result(evidence.statement, shown)
    yield from _times(evidence, now, policy.clock_skew if policy else CLOCK_SKEW)


def tests_of(reports: Iterable[ReportFile], checkout: Checkout) -> tuple[NamedTest, ...]:
    """Return the tests of several reports of a commit."""
    return tuple(test for file in reports for test in named_tests(file.report, checkout.matrix))


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What reports and waivers show together, whatever the statement has."""

    tests: tuple[NamedTest, ...]
    waived: frozenset[str]
    """Names of tests with drift for which a waiver holds."""
    claimed: frozenset[str]
    """Names of tests with a drift that a waiver is about, whether or not it holds."""
    refused: tuple[Refusal, ...]
    """Why other waivers do not hold."""

    @property
    def warned(self) -> tuple[str, ...]:
        """The names of the tests with waived drift."""
        return tuple(dict.fromkeys(one.name for one in self.tests if one.name in self.claimed))

    @property
    def passed(self) -> tuple[str, ...]:
        """The names of the other tests that passed."""
        passed = dict.fromkeys(test.name for test in self.tests if test.has_passed)
        return tuple(name for name in passed if name not in self.claimed)

    @property
    def result(self) -> Result:
        """The result, if nothing else is missing."""
        return Result.WARNED if self.warned else Result.PASSED


def judge(
    evidence: Evidence, *, checkout: Checkout, now: datetime, policy: Policy | None = None
) -> Judgement:
    """Return what the reports and waivers of evidence show; see `inconsistencies`."""
    tests = tests_of(evidence.reports, checkout)
    waived: set[str] = set()
    claimed: set[str] = set()
    refused: list[Refusal] = []
    for file in evidence.waivers:
        problems = list(_waiver(file, evidence, tests, policy, now))
        refused += problems
        if isinstance(file.waiver, Waiver):
            about = (file.waiver.test, file.waiver.finding)
            claimed |= {one.name for one in tests if (one.name, one.finding) == about}
            if not problems:
                waived.add(file.waiver.test)
    return Judgement(
        tests=tests,
        waived=frozenset(waived),
        claimed=frozenset(claimed),
        refused=tuple(refused),
    )


def _artifacts(
    statement: Statement, policy: Policy, artifacts: Mapping[str, str]
) -> Iterator[Refusal]:
    signed = statement.artifacts
    for name, digest in artifacts.items():
        if name not in signed:
            same = [one for one, other in signed.items() if other == digest]
            found = f"that which was signed as {listed(same)}" if same else f"only {listed(signed)}"
            yield _artifact(name, "an artifact that was signed", found)
        elif signed[name] != digest:
            yield _artifact(name, f"sha256 {signed[name]}", f"sha256 {digest}")
    for pattern in policy.artifacts:
        matching = [name for name in signed if is_matched(name, pattern)]
        if not matching:
            yield _artifact(pattern, "a signed artifact of this name", f"only {listed(signed)}")
        for name in matching:
            if name not in artifacts:
                yield _not_given(name, "the file, given as --artifact", "none")


def _configuration(evidence: Evidence, checkout: Checkout) -> Iterator[Refusal]:
    """Yield entries that are not as the commit and the reports have them."""
    statement = evidence.statement
    entries = {entry.name: entry for entry in statement.configuration}
    for name, digest in evidence.changed.items():
        yield _entry(name, f"sha256 {entries[name].sha256}, which was signed", f"sha256 {digest}")
    if not statement.of_kind(Kind.REPORT):
        yield _entry("report.json", "a report that was signed", "none")
    # A report may have the name of a committed file, and stands for it no more than any other.
    expected = [*checkout.entries]
    for file in evidence.reports:
        signed_at = _signed_at(statement, file) or file.measured_at
        expected.append(file.entry(signed_at=signed_at))
    for entry in expected:
        if entries.get(entry.name) != entry:
            yield _entry(entry.name, *_difference(entry, entries.get(entry.name)))
    files = {entry.name for kind in (Kind.REPORT, Kind.WAIVER) for entry in statement.of_kind(kind)}
    for name in entries.keys() - {entry.name for entry in expected} - files:
        yield _entry(name, "nothing, as the commit has no such file", entries[name].kind.value)


def _difference(expected: Entry, found: Entry | None) -> tuple[str, str]:
    """Return the first difference of two entries: what was expected, and what was found."""
    mine, theirs = _flat(expected), {} if found is None else _flat(found)
    name = next(name for name in mine | theirs if mine.get(name) != theirs.get(name))
    return f"{name} {mine.get(name, 'missing')}", theirs.get(name, "none")


def _flat(entry: Entry) -> dict[str, str]:
    return {
        "kind": entry.kind.value,
        **{f"digest.{name}": value for name, value in entry.digest.items()},
        **{f"annotations.{name}": str(value) for name, value in entry.annotations.items()},
    }


def _result(statement: Statement, shown: Judgement) -> Iterator[Refusal]:
    """Yield where the statement is not the summary of its reports and waivers."""
    counts = Counter(test.name for test in shown.tests)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        yield _repeated("reports", "each test in one of them", f"{listed(twice)} in two")
    for key, expected, found in (
        ("passedTests", set(shown.passed), set(statement.passed)),
        ("warnedTests", set(shown.warned), set(statement.warned)),
        ("failedTests", set[str](), set(statement.failed)),
    ):
        if expected != found:
            differing = f"not {listed(expected - found)}, and also {listed(found - expected)}"
            yield _summary(key, f"the {len(expected)} that the reports show", differing)
    if statement.result is not shown.result:
        yield _summary("result", shown.result.value, statement.result.value)


def _required(statement: Statement, checkout: Checkout, policy: Policy) -> Iterator[Refusal]:
    """Yield tests that the policy requires and the statement does not have."""
    signed = {*statement.passed, *statement.warned}
    for suite in policy.suites:
        planned = planned_tests(checkout.matrix, suite, policy.profiles)
        missing = set(planned) - signed
        if not planned:
            yield _missing(f"suite {suite}", "a suite in the matrix, with tests", "none")
        elif missing:
            found = f"{len(planned) - len(missing)} of them, without {listed(missing)}"
            yield _missing(f"suite {suite}", f"all {len(planned)} tests", found)
    if len(signed) < policy.minimum_tests:
        yield _missing("tests", f"at least {policy.minimum_tests}", str(len(signed)))


def _age(evidence: Evidence, policy: Policy, now: datetime) -> Iterator[Refusal]:
    """Yield measurements that are too old; a fresh signature does not renew them."""
    for file in evidence.reports:
        measured = file.measured_at
        if now - measured > policy.max_age:
            found = f"{format_time(measured)}, {(now - measured) / _DAY:.1f} days ago"
            yield _time(file.name, f"a measurement within {policy.max_age.days} days", found)


def _times(evidence: Evidence, now: datetime, clock_skew: timedelta) -> Iterator[Refusal]:
    """Yield times that cannot be."""
    latest = now + clock_skew
    for file in evidence.reports:
        measured = file.measured_at
        signed = _signed_at(evidence.statement, file) or measured
        for what, moment in (("measured", measured), ("signed", signed)):
            if moment > latest:
                expected = f"{what} before now, {format_time(now)} by this clock"
                yield _time(file.name, expected, format_time(moment))
        if signed + clock_skew < measured:
            expected = f"signed after it was measured, {format_time(measured)}"
            yield _time(file.name, expected, format_time(signed))


def _signed_at(statement: Statement, file: ReportFile) -> datetime | None:
    """Return when a signer claims to have signed; None for no time, which is no valid entry."""
    (entry,) = (entry for entry in statement.configuration if entry.name == file.name)
    try:
        return time_of(entry.annotations.get("signedAt"))
    except InvalidJson:
        return None


def _waiver(
    file: WaiverFile,
    evidence: Evidence,
    tests: Sequence[NamedTest],
    policy: Policy | None,
    now: datetime,
) -> Iterator[Refusal]:
    """Yield why a waiver does not hold."""
    refuse = partial(_invalid_waiver, file.name)
    if policy is not None:
        if policy.waivers is None:
            remedy = "have it released without a waiver, or list keys for waivers in your policy"
            expected = "no waivers, as the policy lists no keys for them"
            yield refuse(expected, "one", remedy=remedy)
            return
        yield from refuse_signatures(policy.waivers, file.signers, now, about=file.name)
    waiver = file.waiver
    if isinstance(waiver, InvalidJson):
        place = f"{waiver.place.removeprefix('.')}: " if waiver.place else ""
        yield refuse(f"{place}{waiver.expected}", waiver.found)
        return
    for expected, found in (*_scope(file, waiver, evidence), *_days(waiver, evidence, now)):
        yield refuse(expected, found)
    same = [one.finding for one in tests if one.name == waiver.test and not one.has_passed]
    if not same:
        yield refuse(f"a finding in {waiver.test}", "none; the waiver is not used")
    elif waiver.finding not in same:
        found = f"that of the finding {waiver.finding}"
        yield refuse(f"the waiver of the finding {same[0]}", found)


def _scope(file: WaiverFile, waiver: Waiver, evidence: Evidence) -> Iterator[tuple[str, str]]:
    """Yield what else a waiver is for: what was expected, and what was found."""
    statement = evidence.statement
    if waiver.repository != statement.repository:
        yield f"a waiver for {statement.repository}", f"one for {waiver.repository}"
    if waiver.commit != statement.commit:
        yield f"a waiver for the commit {statement.commit}", f"one for the commit {waiver.commit}"
    for other in evidence.waivers:
        if other is not file and isinstance(other.waiver, Waiver):
            if other.waiver.test == waiver.test:
                yield f"one waiver for {waiver.test}", "two of them"
            if other.waiver.id == waiver.id:
                yield f"one waiver with the id {waiver.id}", "two of them"


def _days(waiver: Waiver, evidence: Evidence, now: datetime) -> Iterator[tuple[str, str]]:
    """Yield the times at which a waiver does not hold, as `_scope` does."""
    period = waiver.not_after - waiver.not_before
    if period > MAX_WAIVER:
        yield f"at most {MAX_WAIVER.days} days", f"{period.days} days"
    signed = [_signed_at(evidence.statement, report) for report in evidence.reports]
    for what, moment in (("now", now), *(("when it was used", one) for one in signed if one)):
        expected = f"a waiver that holds {what}, {format_time(moment)}"
        if moment > waiver.not_after:
            yield expected, f"one expired on {format_time(waiver.not_after)}"
        if moment < waiver.not_before:
            yield expected, f"one from {format_time(waiver.not_before)} on"
