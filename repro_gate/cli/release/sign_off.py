"""`repro-gate sign-off`, `countersign` and `waive`: what a signer does."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from repro_gate.adapters.files.atomic import make_folder, require_no_links, write_atomically
from repro_gate.adapters.files.checkout import run_git, work_tree_of
from repro_gate.adapters.files.results import MAX_SHARD_BYTES, REPORT
from repro_gate.adapters.files.untrusted_files import read_regular_file
from repro_gate.adapters.sign_off.committed import commit_id_of, read_checkout
from repro_gate.adapters.sign_off.envelope import Envelope, envelope_of, read_envelope, signed
from repro_gate.adapters.sign_off.evidence import (
    EVIDENCE,
    WAIVERS,
    digests_of,
    read_evidence,
    report_file,
    waiver_file,
)
from repro_gate.adapters.sign_off.keys import SigningKey, read_signing_key
from repro_gate.checks.sign_off import (
    Release,
    WaiverRequest,
    missing_before,
    propose,
    waiver_of,
)
from repro_gate.cli.check import run_check
from repro_gate.cli.release.verify import envelope_file, print_refusals, summary_of
from repro_gate.cli.results import CheckOptions, ResultOptions
from repro_gate.cli.session import Session
from repro_gate.cli.terminal.console import is_confirmed, print_line
from repro_gate.core.outcome import ExitCode, Outcome
from repro_gate.core.sign_off.measured import Checkout, Refusal, ReportFile
from repro_gate.core.sign_off.statement import (
    Kind,
    Statement,
    repository_uri,
    statement_from,
)
from repro_gate.core.sign_off.verification import Evidence, inconsistencies
from repro_gate.errors import InputInvalid, MeasurementUnavailable, UsageInvalid
from repro_gate.reports.sign_off import (
    SignedRelease,
    render_html,
    render_markdown,
)
from repro_gate.reports.text.shell import command, quoted
from repro_gate.strict_json import InvalidJson

PAGES: Final = ("signoff.md", "signoff.html")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignOffOptions:
    """What to sign off, and with which keys."""

    keys: tuple[Path, ...]
    artifacts: tuple[Path, ...] = ()
    reports: tuple[Path, ...] = ()
    """Finished reports; empty to check here."""
    waivers: tuple[Path, ...] = ()
    profiles: tuple[str, ...] = ()
    repository: str | None = None
    """Its address; None for that of the remote `origin`."""
    output: Path
    """The evidence folder."""
    check: ResultOptions
    """Of the check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Clone:
    """The repository that a matrix is in."""

    folder: Path
    """That of the matrix."""
    root: Path
    matrix: str
    """Its path in the repository."""


def run_sign_off(session: Session, options: SignOffOptions, *, started: float) -> ExitCode:
    """Check a release, or take its reports; sign it if nothing is missing."""
    keys = _keys(options.keys)
    _require_own_goldens(session)
    _remove_earlier(session, options.output)
    clone = _clone_of(session.file)
    waivers = _waivers(options.waivers)
    release = _release(session, options, clone, waivers)
    changes = _changes(clone, release.checkout, options)
    missing = missing_before(release, changes, is_checked_here=not options.reports)
    if missing:
        return _refuse(missing, Outcome.INCONCLUSIVE, "; nothing was checked")
    if not options.reports:
        code = run_check(session, CheckOptions(result=options.check), started=started)
        if code is ExitCode.INTERRUPTED:
            print_line("nothing was signed: the check was interrupted")
            return code
    files = _reports(options.reports or (options.check.output,))
    proposal = propose(release, [file for file, _ in files], now=_now())
    # Something may have changed meanwhile.
    missing = (
        *missing_before(release, _changes(clone, release.checkout, options)),
        *proposal.missing,
    )
    if missing:
        return _refuse(missing, proposal.outcome)
    _write(options.output, {file.name: data for file, data in files} | waivers)
    page = _sign(proposal.evidence, release.checkout, keys, options.output)
    for line in _signed_lines(page, options):
        print_line(line)
    return ExitCode.PASSED


def _require_own_goldens(session: Session) -> None:
    """Raise `UsageInvalid` for a suite whose verdicts follow from no golden of its machine."""
    for suite in {suite.name: suite for suite in session.plan().tokens.suites.values()}.values():
        if suite.against is not None:
            raise UsageInvalid(
                f"the suite {suite.name} is against {suite.against}: only a suite with goldens of "
                "its own machine can be signed off"
            )


def run_countersign(evidence: Path, key_file: Path, *, yes: bool) -> ExitCode:
    """Show what is signed, verify that it follows from the commit, and sign it too."""
    key = read_signing_key(key_file)
    file = envelope_file(evidence)
    envelope = read_envelope(file)
    statement = _statement_in(envelope, file)
    checkout = _checkout_of(statement, file)
    found = read_evidence(file.parent, statement, waivers=None)
    known = {key_file.stem: key}
    print(render_markdown(_page_of(found, checkout, envelope, known)), flush=True)
    problems = tuple(inconsistencies(found, checkout=checkout, now=_now()))
    if problems:
        return _refuse(problems, Outcome.FAILED)
    if key.public in envelope.signers_of([key.public]):
        print_line(f"{key_file.stem} has signed it before, key id {key.public.id}")
        return ExitCode.PASSED
    if not is_confirmed(f"Sign this with {key_file}?", yes=yes):
        return ExitCode.INCONCLUSIVE
    envelope = signed(envelope, key)
    page = _page_of(found, checkout, envelope, known)
    _write(file.parent, _signed_files(page, envelope, name=file.name))
    print_line(f"signed by {key_file.stem}, key id {key.public.id}")
    return ExitCode.PASSED


def run_waive(  # noqa: PLR0913 -- one parameter for each option
    request: WaiverRequest,
    report: Path,
    *,
    key: Path,
    matrix: Path,
    repository: str | None,
    output: Path | None,
) -> ExitCode:
    """Sign a waiver of a drift that a report has."""
    signing_key = read_signing_key(key)
    clone = _clone_of(matrix)
    ((found, _),) = _reports((report,))
    commit = commit_id_of(clone.folder, found.report.commit or "HEAD")
    waiver = waiver_of(
        request,
        found,
        checkout=read_checkout(clone.folder, commit, matrix=clone.matrix),
        repository=_repository(repository, clone),
        now=_now(),
    )
    envelope = signed(envelope_of(waiver.to_data()), signing_key)
    file = output or Path(f"{waiver.id}.dsse.json")
    write_atomically(file, envelope.text())
    print_line(f"waived until {request.until}: {waiver.test}")
    print_line(f"  finding: sha256 {waiver.finding}")
    print_line(f"  signed by: {key.stem}, key id {signing_key.public.id}")
    print_line(f"  use it with: repro-gate sign-off --waiver {quoted(str(file))}")
    return ExitCode.PASSED


def _sign(
    evidence: Evidence, checkout: Checkout, keys: Mapping[str, SigningKey], folder: Path
) -> SignedRelease:
    """Sign evidence whose other files are in its folder already; return what its page shows."""
    # As its recipient will read them.
    if read_evidence(folder, evidence.statement, waivers=None).changed:
        raise MeasurementUnavailable(
            f"another command has changed the files in {folder}",
            remedy="sign off into a folder of its own with --output",
        )
    envelope = envelope_of(evidence.statement.to_data())
    for key in keys.values():
        envelope = signed(envelope, key)
    page = _page_of(evidence, checkout, envelope, keys)
    _write(folder, _signed_files(page, envelope))
    return page


def _waivers(files: Sequence[Path]) -> dict[str, bytes]:
    """Return waivers by the names that they get in the evidence."""
    found: dict[str, bytes] = {}
    for file in files:
        name = f"{WAIVERS}/{file.name}"
        if name in found:
            raise UsageInvalid(f"--waiver {file}: give each name of a file once")
        found[name] = read_regular_file(file, max_bytes=MAX_SHARD_BYTES)
    return found


def _remove_earlier(session: Session, output: Path) -> None:
    """Remove an earlier sign-off, which must not be taken for that of this release."""
    if session.file.resolve().is_relative_to(output.resolve()):
        raise UsageInvalid("--output: name a folder that has nothing but the evidence")
    require_no_links(output)
    for name in (EVIDENCE, *PAGES):
        (output / name).unlink(missing_ok=True)


def _keys(files: Sequence[Path]) -> dict[str, SigningKey]:
    """Return the keys by the names of their files."""
    keys: dict[str, SigningKey] = {}
    for file in files:
        key = read_signing_key(file)
        if file.stem in keys or key in keys.values():
            raise UsageInvalid(f"--key {file}: give each key, and each name of a file, once")
        keys[file.stem] = key
    return keys


def _clone_of(matrix: Path) -> _Clone:
    root = Path(_line(run_git(matrix.parent, "rev-parse", "--show-toplevel"))).resolve()
    file = matrix.resolve()
    if not file.is_relative_to(root):
        raise InputInvalid.at(matrix, "", expected=f"a file in {root}", found=f"a link to {file}")
    return _Clone(folder=matrix.parent, root=root, matrix=file.relative_to(root).as_posix())


def _repository(given: str | None, clone: _Clone) -> str:
    address = given
    if address is None:
        try:
            address = _line(run_git(clone.folder, "remote", "get-url", "origin"))
        except MeasurementUnavailable as error:
            raise UsageInvalid("there is no remote origin: give --repository URL") from error
    try:
        return repository_uri(address)
    except ValueError as error:
        where = "the address of the remote origin" if given is None else "--repository"
        raise UsageInvalid(f"{where}: {error}; give it as --repository URL") from error


def _line(output: bytes) -> str:
    return output.decode("utf-8", errors="surrogateescape").strip("\n")


def _release(
    session: Session, options: SignOffOptions, clone: _Clone, waivers: Mapping[str, bytes]
) -> Release:
    commit = work_tree_of(clone.folder).commit
    return Release(
        repository=_repository(options.repository, clone),
        checkout=read_checkout(clone.folder, commit, matrix=clone.matrix),
        suites=session.selection.suites or tuple(session.matrix.default_suites),
        profiles=options.profiles,
        artifacts=digests_of(options.artifacts),
        waivers=tuple(waiver_file(data, name) for name, data in waivers.items()),
    )


def _changes(clone: _Clone, checkout: Checkout, options: SignOffOptions) -> list[str]:
    """Return what differs from the commit, besides the files that the command line names."""
    tree = work_tree_of(clone.folder)
    named = (*options.keys, *options.artifacts, *options.reports, *options.waivers)
    # A folder with the matrix in it is the work tree itself.
    given = [
        path
        for path in map(Path.resolve, (*named, options.output, options.check.output))
        if not (clone.root / clone.matrix).is_relative_to(path)
    ]
    untracked = [
        name
        for name in tree.untracked
        if not any((clone.root / name).resolve().is_relative_to(path) for path in given)
    ]
    moved = [] if tree.commit == checkout.commit else [f"HEAD ({tree.commit})"]
    # Git can be set to overlook changes of a file (assume-unchanged).
    matrix = clone.root / clone.matrix
    (committed,) = (entry for entry in checkout.entries if entry.kind is Kind.MATRIX)
    is_other = digests_of([matrix])[matrix.name] != committed.sha256
    overlooked = [clone.matrix] if is_other and clone.matrix not in tree.changed else []
    return [*moved, *tree.changed, *overlooked, *untracked]


def _reports(reports: Sequence[Path]) -> list[tuple[ReportFile, bytes]]:
    """Return reports with their content, under the names that they get in the evidence."""
    found: list[tuple[ReportFile, bytes]] = []
    for number, given in enumerate(reports, start=1):
        path = given / REPORT if given.is_dir() else given
        data = read_regular_file(path, max_bytes=MAX_SHARD_BYTES)
        name = REPORT if len(reports) == 1 else f"report-{number}.json"
        found.append((replace(report_file(data, path), name=name), data))
    return found


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _refuse(missing: Sequence[Refusal], outcome: Outcome, more: str = "") -> ExitCode:
    print_refusals("nothing was signed", missing, more)
    return ExitCode.FINDINGS if outcome is Outcome.FAILED else ExitCode.INCONCLUSIVE


def _statement_in(envelope: Envelope, file: Path) -> Statement:
    try:
        return statement_from(envelope.data())
    except InvalidJson as error:
        place = error.place.removeprefix(".")
        raise InputInvalid.at(file, place, expected=error.expected, found=error.found) from error


def _checkout_of(statement: Statement, file: Path) -> Checkout:
    commit = commit_id_of(Path(), statement.commit)
    matrices = statement.of_kind(Kind.MATRIX)
    if len(matrices) != 1:
        raise InputInvalid.at(file, "", expected="one matrix", found=str(len(matrices)))
    return read_checkout(Path(), commit, matrix=matrices[0].name)


def _page_of(
    evidence: Evidence, checkout: Checkout, envelope: Envelope, keys: Mapping[str, SigningKey]
) -> SignedRelease:
    """Return what the page shows; of other signers it has no more than what they claim to be."""
    claimed = dict.fromkeys((each.keyid for each in envelope.signatures if each.keyid), "")
    signers = envelope.signers_of([key.public for key in keys.values()])
    ours = {key.public.id: name for name, key in keys.items()}
    verified = {key: name for key, name in ours.items() if key in {each.id for each in signers}}
    return SignedRelease(
        evidence=evidence,
        checkout=checkout,
        payload=envelope.sha256,
        keys={**claimed, **verified},
    )


def _signed_files(
    page: SignedRelease, envelope: Envelope, *, name: str = EVIDENCE
) -> dict[str, str]:
    """Return the envelope and the pages about it, the envelope last."""
    pages = dict(zip(PAGES, (render_markdown(page), render_html(page)), strict=True))
    return {**pages, name: envelope.text()}


def _write(folder: Path, contents: Mapping[str, str | bytes]) -> None:
    for name, content in contents.items():
        make_folder((folder / name).parent)
        write_atomically(folder / name, content)


def _signed_lines(page: SignedRelease, options: SignOffOptions) -> Iterator[str]:
    statement = page.evidence.statement
    yield f"signed off: {statement.repository} at {statement.commit}"
    yield from (f"  {line}" for line in summary_of(page.evidence))
    for name, digest in statement.artifacts.items():
        yield f"  artifact: {name}, sha256 {digest}"
    if not statement.artifacts:
        yield "  artifact: none, so only the commit is signed (--artifact)"
    for key, name in page.keys.items():
        yield f"  signed by: {name}, key id {key}"
    yield f"  evidence: {options.output}, sha256 {page.payload}"
    yield "Send the whole folder. In a clone of the repository, its recipient runs:"
    words = [str(options.output), *(w for f in options.artifacts for w in ("--artifact", f.name))]
    words += ["--commit", statement.commit, "--policy", "policy.toml"]
    yield f"  {command('repro-gate verify', words)}"
