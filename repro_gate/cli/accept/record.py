"""`repro-gate accept record`."""

import hashlib
import io
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from repro_gate.adapters.files.observed import read_observed
from repro_gate.adapters.github.files import write_outputs
from repro_gate.checks.tokens.record import refused
from repro_gate.cli.accept.find import read_comment
from repro_gate.cli.review.observed import profile_of
from repro_gate.cli.session import Selection, Session, open_session
from repro_gate.cli.update import (
    UpdateOptions,
    record_snapshots,
    refusal_lines,
    refusal_of,
    written_line,
)
from repro_gate.core.acceptance.request import AcceptComment, Wanted, wanted_by
from repro_gate.core.comments import CiRun, RunId
from repro_gate.core.outcome import ExitCode
from repro_gate.errors import AcceptRefused, UsageInvalid
from repro_gate.reports.github.acceptance import render_recorded
from repro_gate.reports.text.escape import log_line

_SUMS = "sha256sums.txt"
_MESSAGE = "message.txt"
_FILES = "files"
"""What the job that pushes gets: the files, their digests, and the message of the commit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordOptions:
    """The options of `accept record`."""

    source: Path
    """The report folder of the result."""
    output: Path
    run: int
    """The run that made it."""
    config: Path | None


def run_record(
    options: RecordOptions, *, started: float, environ: Mapping[str, str] = os.environ
) -> ExitCode:
    """Record the goldens in this checkout, and copy them to a folder for the job that pushes.

    Raises:
        AcceptRefused: nothing was recorded.
    """
    github, run, comment = read_comment(environ)
    wanted = wanted_by(comment.body)
    session = open_session(Selection(config=options.config, only=wanted.only))
    _require_cells(session, wanted.only or "*")
    snapshots = session.file.parent / session.matrix.snapshots
    before = _digests(snapshots)
    lines = _record(session, options, wanted, started=started)
    for line in lines:
        # Names and facts of the result must not become commands of the runner.
        print(f"| {log_line(line)}", flush=True)
    changed = _changed(before, _digests(snapshots))
    if not changed:
        raise _nothing(session, options, wanted, lines)
    measured = replace(run, id=RunId(options.run, 1))
    sums = _copy(changed, options.output, _message(measured, comment, wanted))
    if github.output_file is not None:
        changes = render_recorded(wanted, comment, list(changed), lines)
        write_outputs(github.output_file, {"sums": sums, "changes": changes})
    return ExitCode.PASSED


def _require_cells(session: Session, only: str) -> None:
    """Raise `AcceptRefused` unless a pattern selects cells with goldens of their own profile."""
    suites = session.matrix.suites.values()
    found = [suite for suite in suites for cell in suite.cells if fnmatchcase(cell.id, only)]
    if not found:
        reason = f"no cell of the matrix matches {only}"
        raise AcceptRefused(reason, remedy="copy a reply from the comment of the gate")
    if all(suite.against is not None for suite in found):
        raise AcceptRefused(
            "the goldens of these cells are recorded on another profile, which their suite is "
            "against",
            remedy="accept the change of a suite of that profile",
        )


def _record(
    session: Session, options: RecordOptions, wanted: Wanted, *, started: float
) -> list[str]:
    """Record as `update-snapshots --from` does, and return what it prints."""
    update = UpdateOptions(
        source=options.source,
        cause=wanted.cause,
        prune=False,
        yes=True,
        repin=(),
        resume=False,
        output=options.output,
    )
    with redirect_stdout(io.StringIO()) as printed:
        record_snapshots(session, update, started=started)
    # What it asks for at the end, the workflow does.
    done = written_line(session.file.parent / session.matrix.snapshots, refused=0)
    return [line for line in printed.getvalue().splitlines() if line != done]


def _nothing(
    session: Session, options: RecordOptions, wanted: Wanted, lines: Sequence[str]
) -> AcceptRefused:
    """Return the refusal when nothing changed, with what cannot be accepted."""
    report = read_observed(options.source, matrix=session.matrix).report
    cells = [cell for cell in refused(report) if fnmatchcase(cell.id, wanted.only or "*")]
    # With a cause, the update has listed its refused cells.
    reasons = lines if wanted.cause else [*refusal_lines(map(refusal_of, cells)), *lines[-1:]]
    against = [name for name in session.matrix.suites if profile_of(session.matrix, name)]
    if against:
        reasons = [*reasons, f"goldens of {', '.join(against)} are recorded on another profile"]
    return AcceptRefused(
        f"there is nothing to accept: {'; '.join(' '.join(each.split()) for each in reasons)}",
        remedy="look at the findings of the comment on the check",
    )


def _digests(snapshots: Path) -> dict[Path, str]:
    files = (file for file in sorted(snapshots.rglob("*")) if file.is_file())
    return {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _changed(before: Mapping[Path, str], after: Mapping[Path, str]) -> dict[str, str]:
    """Return the digests of new and changed files by their path in the checkout."""
    here = Path.cwd().resolve()
    try:
        return {
            file.resolve().relative_to(here).as_posix(): digest
            for file, digest in after.items()
            if before.get(file) != digest
        }
    except ValueError as error:
        raise UsageInvalid("the matrix must be below the working directory") from error


def _copy(changed: Mapping[str, str], output: Path, message: str) -> str:
    """Copy the changed files, and return the digest of the list of their digests."""
    for name in changed:
        target = output / _FILES / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(name, target)
    sums = "".join(f"{digest}  {name}\n" for name, digest in changed.items())
    (output / _SUMS).write_text(sums, "utf-8")
    (output / _MESSAGE).write_text(message, "utf-8")
    return hashlib.sha256(sums.encode()).hexdigest()


def _message(measured: CiRun, comment: AcceptComment, wanted: Wanted) -> str:
    """Return the message of the commit; its trailers hold no text of the result."""
    trailers: Iterable[tuple[str, str | None]] = (
        ("Accepted-by", comment.login),
        ("Accepted-run", measured.url.partition("/attempts/")[0]),
        ("Accepted-cause", wanted.cause),
        ("Accepted-cells", wanted.only),
    )
    lines = [f"{name}: {value}" for name, value in trailers if value is not None]
    return "\n".join(["Accept the output of the gate", "", *lines, ""])
