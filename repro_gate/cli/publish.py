"""`repro-gate publish`: the result of a check, on GitHub."""

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from repro_gate.adapters.evidence_file import read_evidence, write_evidence
from repro_gate.adapters.github.environment import GithubEnvironment, read_environment, writer_in
from repro_gate.adapters.github.files import append_summary, write_outputs
from repro_gate.adapters.golden_files import GoldenFiles, read_golden_bytes
from repro_gate.adapters.lossless_files import MAX_BYTES as MOST_OF_A_STRANGER
from repro_gate.checks.publishing import NotPosted, Posted, Publication, publish_comment
from repro_gate.cli import leftovers
from repro_gate.cli.places import make_report_folder
from repro_gate.cli.printing import say
from repro_gate.core.ci import CiRun
from repro_gate.core.comments import (
    CommentMode,
    CommentState,
    Marker,
    no_comment_reason,
    workflow_key,
)
from repro_gate.core.evidence import Evidence, Finished, Unfinished
from repro_gate.core.golden_lines import line_in_golden
from repro_gate.core.outcome import ExitCode, exit_code_for
from repro_gate.core.report import CellReport
from repro_gate.core.verdicts import Drift
from repro_gate.errors import InputInvalid, PublishFailed, ReproGateError, UsageInvalid
from repro_gate.reports.foreign import one_line
from repro_gate.reports.github.annotations import Annotation, render_annotations, render_said
from repro_gate.reports.github.comment import render_comment, render_running
from repro_gate.reports.github.job_summary import render_job_summary
from repro_gate.reports.github.state import state_of

_MOST_OF_OURS = 1 << 30
"""The step before wrote it, from what it held in memory."""
_NOT_BEGUN = Unfinished(
    exit_code=ExitCode.INCONCLUSIVE.value,
    message="The check did not start: an earlier step failed or was cancelled.",
    remedy="see the job log",
)
_RIVAL = (
    "Another job of this run also comments as {name}, in a separate comment: "
    "give each gate in a workflow its own artifact-name"
)
_FILES: Mapping[str, str] = {
    "report": "report.md",
    "report-json": "report.json",
    "junit": "junit.xml",
    "evidence": "evidence.json",
}
"""The outputs that are paths, and their files in the report folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishOptions:
    """The command line of `publish`."""

    output: Path
    config: Path | None
    comment: CommentMode
    name: str
    artifact: str | None
    artifact_url: str | None
    running: bool
    of_another_run: bool


def run_publish(options: PublishOptions) -> ExitCode:
    """Tell what can be told; only a wrong command line makes this fail.

    Raises:
        UsageInvalid: there is nobody to tell, or the name is none.
    """
    github = read_environment(os.environ, of_another=options.of_another_run)
    run = github.run
    if run is None:
        if github.problem is None:
            raise UsageInvalid("publish must run inside GitHub Actions (GITHUB_ACTIONS is not set)")
        warning = Annotation(level="warning", title="repro-gate", message=github.problem)
        say(render_said([warning]))
        return ExitCode.PASSED
    run = replace(run, artifact=options.artifact)
    ours = replace(_marker(options.name, run), writer=writer_in(os.environ, options.output))
    if options.running:
        return _tell_running(options, github, run, ours)
    evidence = _evidence(options.output, run)
    state = state_of(evidence, run)
    ours = replace(ours, state=state, found=state is CommentState.FAILED)
    told = _Told(github)
    posted = told.post(
        run,
        options.comment,
        ours,
        lambda marker: render_comment(
            evidence, marker=marker, run=run, artifact_url=options.artifact_url
        ),
    )
    told.summarise(render_job_summary(evidence, run=run, note=told.note))
    told.hand_over(_outputs(evidence, state, options.output, posted))
    if run.is_of_another:
        # The files of another run are not those of this checkout.
        say(render_said(told.said))
    else:
        line_of = _lines_of(options.config, github.workspace)
        say(render_annotations(evidence, line_of=line_of, first=told.said))
    return ExitCode.PASSED


class _Told:
    """Tells, and remembers what could not be told."""

    def __init__(self, github: GithubEnvironment) -> None:
        self._github = github
        self.said: list[Annotation] = []
        if github.problem is not None:
            self._note("warning", github.problem)

    @property
    def note(self) -> str | None:
        """What could not be told so far, for the summary."""
        return " ".join(each.message for each in self.said) or None

    def post(
        self, run: CiRun, mode: CommentMode, ours: Marker, body_of: Callable[[Marker], str]
    ) -> tuple[Publication, ...]:
        """Write the comment; what stops it is a warning, or expected of a fork."""
        if mode is CommentMode.NEVER:
            return ()
        if (reason := no_comment_reason(run)) is not None:
            self._report([NotPosted(reason=one_line(reason))], ours)
            return ()
        github = self._github
        # A run that cannot comment, such as a shard, does without the library for HTTP.
        from repro_gate.adapters.github.comments import GithubPullRequests  # noqa: PLC0415

        try:
            pull_requests = GithubPullRequests(github.api_url, run.repository, github.token)
            posted = publish_comment(pull_requests, run=run, mode=mode, ours=ours, body_of=body_of)
        except PublishFailed as error:
            reason = f"{error.reason} ({error.remedy})" if error.remedy else error.reason
            if run.has_foreign_head and not run.is_of_another:
                expected = (
                    "A run from a fork cannot comment; a workflow triggered by workflow_run can"
                )
                self._note("notice", f"{expected}: {reason}")
            else:
                self._note("warning", f"The comment could not be posted: {reason}")
            return ()
        self._report(posted, ours)
        return posted

    def _report(self, posted: Sequence[Publication], ours: Marker) -> None:
        """Print why there is no comment, and warn where one is missed."""
        for one in posted:
            # That there is no comment yet is no news when a check begins.
            if isinstance(one, NotPosted) and ours.state is not CommentState.RUNNING:
                if one.remedy is None:
                    say(f"repro-gate: no comment was written: {one.reason}\n")
                else:
                    self._note("warning", f"No comment was written: {one.reason} ({one.remedy})")
        if any(one.has_rival for one in posted):
            self._note("warning", _RIVAL.format(name=ours.name))

    def summarise(self, text: str) -> None:
        """Add to the summary page of the job."""
        if self._github.summary_file is not None:
            self.attempt(lambda file: append_summary(file, text), self._github.summary_file)

    def hand_over(self, outputs: Mapping[str, str]) -> None:
        """Set the outputs of the step."""
        if self._github.output_file is not None:
            self.attempt(lambda file: write_outputs(file, outputs), self._github.output_file)

    def attempt(self, work: Callable[[Path], None], file: Path) -> None:
        """Do something to a file or folder; a failure is a warning."""
        try:
            work(file)
        except (PublishFailed, InputInvalid) as error:
            self._note("warning", str(error))
        except OSError as error:
            self._note("warning", f"{file}: {error.strerror or error}")

    def _note(self, level: str, text: str) -> None:
        message = one_line(text)
        self.said.append(Annotation(level=level, title="repro-gate", message=message))


def _tell_running(
    options: PublishOptions, github: GithubEnvironment, run: CiRun, ours: Marker
) -> ExitCode:
    told = _Told(github)
    told.attempt(_make_ready, options.output)
    told.post(run, options.comment, ours, lambda marker: render_running(marker=marker, run=run))
    say(render_said(told.said))
    return ExitCode.PASSED


def _make_ready(output: Path) -> None:
    """Leave in the folder what is true until the check begins, which takes it away."""
    make_report_folder(output)
    leftovers.clear(output)
    write_evidence(output, _NOT_BEGUN)


def _marker(name: str, run: CiRun) -> Marker:
    try:
        return Marker(
            name=name,
            run=run.id,
            state=CommentState.RUNNING,
            workflow=workflow_key(run.workflow),
            is_retold=run.is_of_another,
        )
    except ValueError as error:
        raise UsageInvalid(f"--name: {error}") from error


def _evidence(output: Path, run: CiRun) -> Evidence | None:
    most = MOST_OF_A_STRANGER if run.is_of_another else _MOST_OF_OURS
    try:
        return read_evidence(output, max_bytes=most)
    except InputInvalid as error:
        return Unfinished(exit_code=ExitCode.INPUT_INVALID.value, message=str(error))


def _lines_of(
    config: Path | None, workspace: Path | None
) -> Callable[[CellReport], tuple[str, int] | None]:
    """Return what finds, for a drifted cell, the golden's path in the repository and its line."""
    goldens = cache(lambda: _goldens_of(config))

    def line_of(cell: CellReport) -> tuple[str, int] | None:
        if not isinstance(cell.verdict, Drift) or cell.profile is None or workspace is None:
            return None
        # The matrix is read only where something has drifted.
        store = goldens()
        with suppress(InputInvalid, OSError, ValueError):
            file = None if store is None else store.file(cell.profile, cell.id)
            if file is not None:
                line = line_in_golden(read_golden_bytes(file).decode(), cell.verdict.divergence)
                path = file.resolve().relative_to(workspace.resolve())
                return None if line is None else (path.as_posix(), line)
        return None

    return line_of


def _goldens_of(config: Path | None) -> GoldenFiles | None:
    from repro_gate.cli import wiring  # noqa: PLC0415 -- for a drift alone
    from repro_gate.cli.opening import Selection, open_matrix  # noqa: PLC0415

    try:
        return wiring.workspace_of(open_matrix(Selection(config=config))).goldens
    except ReproGateError:
        return None


def _outputs(
    evidence: Evidence | None,
    state: CommentState,
    output: Path,
    posted: tuple[Publication, ...],
) -> dict[str, str]:
    urls = [one.url for one in posted if isinstance(one, Posted)]
    paths = {name: output / file for name, file in _FILES.items()}
    return {
        "outcome": state.value,
        "exit-code": _exit_code(evidence),
        "counts": json.dumps(_counts(evidence)),
        "comment-url": urls[0] if urls else "",
        **{name: str(path) if _is_file(path) else "" for name, path in paths.items()},
    }


def _is_file(path: Path) -> bool:
    # A folder that cannot be looked into has none either.
    with suppress(OSError):
        return path.is_file()
    return False


def _exit_code(evidence: Evidence | None) -> str:
    match evidence:
        case None:
            return ""
        case Unfinished(exit_code=code):
            return str(code)
        case Finished(report=report):
            return str(exit_code_for(report).value)


def _counts(evidence: Evidence | None) -> dict[str, int]:
    if not isinstance(evidence, Finished):
        return {}
    report = evidence.report
    counts = Counter(report.counts)
    for part in report.logprobs:
        counts.update(part.counts)
    return dict(counts)
