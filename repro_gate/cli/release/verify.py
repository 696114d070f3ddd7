"""`repro-gate verify`: whether signed evidence satisfies the recipient's policy."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from repro_gate.adapters.sign_off.committed import commit_id_of, read_checkout
from repro_gate.adapters.sign_off.envelope import Envelope, read_envelope
from repro_gate.adapters.sign_off.evidence import (
    EVIDENCE,
    digests_of,
    read_evidence,
    signers_in,
)
from repro_gate.adapters.sign_off.policy import read_policy
from repro_gate.cli.terminal.console import print_line
from repro_gate.core.outcome import ExitCode
from repro_gate.core.sign_off.measured import Condition, Refusal
from repro_gate.core.sign_off.policy import Policy, listed
from repro_gate.core.sign_off.statement import Statement, statement_from
from repro_gate.core.sign_off.verification import (
    Evidence,
    refuse_signatures,
    refuse_subjects,
    verify,
)
from repro_gate.errors import MeasurementUnavailable
from repro_gate.reports.sign_off import refusal_lines
from repro_gate.reports.text.escape import one_line
from repro_gate.strict_json import InvalidJson


def run_verify(
    evidence: Path,
    policy_file: Path,
    *,
    artifacts: Sequence[Path] = (),
    commit: str = "HEAD",
    folder: Path = Path(),
) -> ExitCode:
    """Verify evidence in a clone of its repository, print the result, and return the exit code."""
    file = envelope_file(evidence)
    policy = read_policy(policy_file)
    now = datetime.now(UTC)
    envelope = read_envelope(file)
    signers = signers_in(envelope, policy.signers)
    hints = [signature.keyid for signature in envelope.signatures if signature.keyid]
    refused = list(refuse_signatures(policy.signers, signers, now, about=file.name, hints=hints))
    if refused:
        return _refuse(refused, "; nothing else was verified")
    statement = _statement_of(envelope)
    if isinstance(statement, Refusal):
        return _refuse([statement], "; nothing else was verified")
    commit = commit_id_of(folder, commit)
    digests = digests_of(artifacts)
    if statement.commit != commit:
        refused += refuse_subjects(statement, commit, policy, digests)
        return _refuse(refused, "; nothing else was verified")
    checkout = read_checkout(folder, commit, matrix=policy.matrix)
    found = read_evidence(file.parent, statement, waivers=policy.waivers)
    refused += verify(found, checkout=checkout, policy=policy, artifacts=digests, now=now)
    if refused:
        return _refuse(refused)
    lines = _accepted(found, policy, signers=sorted(signers), artifacts=digests)
    shown = "".join(
        f"  {one_line(line)}\n" for line in (*lines, f"evidence: sha256 {envelope.sha256}")
    )
    # The only place that accepts, after everything that could still fail.
    print(f"accepted: {statement.repository} at {commit}\n{shown}", end="", flush=True)
    return ExitCode.PASSED


def envelope_file(evidence: Path) -> Path:
    """Return the envelope in a folder, or that is named; raises `MeasurementUnavailable`."""
    file = evidence / EVIDENCE if evidence.is_dir() else evidence
    if not file.exists():
        raise MeasurementUnavailable(
            f"there is nothing to verify: no file {file}",
            remedy="download the whole evidence folder, and name it",
        )
    return file


def _statement_of(envelope: Envelope) -> Statement | Refusal:
    data = envelope.data()
    try:
        return statement_from(data)
    except InvalidJson as error:
        place = error.place.removeprefix(".")
        return Refusal(
            condition=Condition.STATEMENT,
            about=place or "statement",
            expected=error.expected,
            found=error.found,
            remedy="have the release signed off with repro-gate sign-off",
        )


def _refuse(refused: Sequence[Refusal], more: str = "") -> ExitCode:
    print_refusals("refused", refused, more)
    return ExitCode.FINDINGS


def print_refusals(verdict: str, refused: Sequence[Refusal], more: str = "") -> None:
    """Print why nothing was accepted, or signed."""
    many = "1 condition is" if len(refused) == 1 else f"{len(refused)} conditions are"
    for line in (f"{verdict}: {many} not satisfied{more}", *refusal_lines(refused)):
        print_line(line)


def _accepted(
    evidence: Evidence, policy: Policy, *, signers: Sequence[str], artifacts: Mapping[str, str]
) -> Iterator[str]:
    statement = evidence.statement
    yield f"signed by: {', '.join(signers)} (threshold {policy.signers.threshold})"
    tests, *measured = summary_of(evidence)
    yield tests
    yield f"suites: {', '.join(policy.suites)}; profiles: {', '.join(policy.profiles) or 'none'}"
    yield from measured
    for waiver in evidence.waivers:
        yield f"waiver: {waiver.name}, signed by {', '.join(sorted(waiver.signers))}"
    for name, digest in artifacts.items():
        yield f"artifact: {name}, sha256 {digest}"
    unseen = statement.artifacts.keys() - artifacts.keys()
    if unseen:
        yield f"not verified: {listed(unseen)}, as the policy does not name them"


def summary_of(evidence: Evidence) -> Iterator[str]:
    """Yield how many tests passed, and when they were measured."""
    statement = evidence.statement
    yield f"tests: {len(statement.passed)} passed, {len(statement.warned)} with waived drift"
    for file in evidence.reports:
        yield f"measured: {file.measured_at.isoformat()} ({file.name})"
