"""`repro-gate publish`: the result of a check, on GitHub; see `cli.gitlab` for GitLab."""

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from repro_gate.adapters.files.results import MAX_BYTES, read_report, report_text, write_report
from repro_gate.adapters.github.files import append_summary, write_outputs
from repro_gate.adapters.github.run import GithubEnvironment, read_environment, writer_in
from repro_gate.adapters.gitlab.job import read_job
from repro_gate.checks.publish import MessageLevel, try_publish_comment
from repro_gate.cli import paths
from repro_gate.cli.paths import make_report_folder
from repro_gate.cli.terminal.console import print_result
from repro_gate.core.comments import (
    CiRun,
    CommentMode,
    CommentState,
    Marker,
    workflow_key,
)
from repro_gate.core.outcome import ExitCode, exit_code_for
from repro_gate.core.report import CellReport, CheckResult, FinishedCheck, UnfinishedCheck
from repro_gate.core.tokens.golden_format import line_in_golden
from repro_gate.core.tokens.verdicts import Drift
from repro_gate.errors import InputInvalid, PublishFailed, ReproGateError, UsageInvalid
from repro_gate.ports.github import PullRequests
from repro_gate.reports.github.annotations import (
    Annotation,
    render_annotations,
    render_early_annotations,
)
from repro_gate.reports.github.comment import render_comment, render_running
from repro_gate.reports.github.job_summary import render_job_summary
from repro_gate.reports.github.state import state_of
from repro_gate.reports.json import summary_data
from repro_gate.reports.text.escape import one_line

_MAX_OWN_BYTES = 1 << 30
"""Of a report of this run: an earlier step wrote it, so its size is trusted."""
_NOT_STARTED = UnfinishedCheck(
    exit_code=ExitCode.INCONCLUSIVE.value,
    message="The check did not start: an earlier step failed or was cancelled.",
    remedy="see the job log",
)
_FILES: Mapping[str, str] = {
    "report": "report.md",
    "report-json": "report.json",
    "junit": "junit.xml",
}
"""The outputs that are paths, and their files in the report folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishOptions:
    """The options of `publish`."""

    output: Path
    config: Path | None
    comment: CommentMode
    name: str
    artifact: str | None
    artifact_url: str | None
    page_url: str | None
    accept: bool
    running: bool
    from_workflow_run: bool


def run_publish(options: PublishOptions) -> ExitCode:
    """Publish what can be published; only a wrong command line makes this fail.

    Raises:
        UsageInvalid: this is no run of GitHub Actions, or the name is invalid.
    """
    job = read_job(os.environ)
    if job is not None:
        from repro_gate.cli.gitlab.publish import publish_to_gitlab  # noqa: PLC0415 -- needs this

        return publish_to_gitlab(options, job)
    github = read_environment(os.environ, from_workflow_run=options.from_workflow_run)
    problems = [] if github.problem is None else [warning_of(github.problem)]
    run = github.run
    if run is None:
        if github.problem is None:
            raise UsageInvalid(
                "publish must run inside GitHub Actions or GitLab CI/CD "
                "(neither GITHUB_ACTIONS nor GITLAB_CI is set)"
            )
        print_result(render_early_annotations(problems))
        return ExitCode.PASSED
    run = replace(
        run,
        artifact=options.artifact,
        page_url=options.page_url,
        accepts=options.accept,
    )
    marker = replace(marker_for(options.name, run), writer=writer_in(os.environ, options.output))
    if options.running:
        problems += failures_of(make_ready, options.output)
        problems += _comment(
            github, run, options.comment, marker, lambda ours: render_running(marker=ours, run=run)
        )[1]
        print_result(render_early_annotations(problems))
    else:
        _publish_result(options, github, run, marker, problems)
    return ExitCode.PASSED


def _publish_result(
    options: PublishOptions,
    github: GithubEnvironment,
    run: CiRun,
    marker: Marker,
    problems: list[Annotation],
) -> None:
    result = result_of(options.output, run)
    state = state_of(result, run)
    marker = replace(marker, state=state, found=state is CommentState.FAILED)
    url, more = _comment(
        github,
        run,
        options.comment,
        marker,
        lambda ours: render_comment(
            result, marker=ours, run=run, artifact_url=options.artifact_url
        ),
    )
    problems += more
    note = " ".join(problem.message for problem in problems) or None
    summary = render_job_summary(result, run=run, note=note)
    outputs = _outputs(result, state, options.output, url)
    problems += failures_of(lambda file: append_summary(file, summary), github.summary_file)
    problems += failures_of(lambda file: write_outputs(file, outputs), github.output_file)
    if run.from_workflow_run:
        # The goldens of another run are not those of this checkout.
        print_result(render_early_annotations(problems))
    else:
        line_of = lines_of(options.config, github.workspace)
        print_result(render_annotations(result, line_of=line_of, first=problems))


def _comment(
    github: GithubEnvironment,
    run: CiRun,
    mode: CommentMode,
    marker: Marker,
    body_of: Callable[[Marker], str],
) -> tuple[str | None, list[Annotation]]:
    """Publish the comment; return its address, and what to annotate."""

    def connect() -> PullRequests:
        # Imported only for a run that can comment: a shard needs no HTTP.
        from repro_gate.adapters.github.comments import GithubPullRequests  # noqa: PLC0415
        from repro_gate.adapters.github.repository import Repository  # noqa: PLC0415

        return GithubPullRequests(Repository(github.api_url, run.repository, github.token))

    attempt = try_publish_comment(connect, run=run, mode=mode, ours=marker, body_of=body_of)
    notes: list[Annotation] = []
    for message in attempt.messages:
        if message.level is MessageLevel.LOG:
            print_result(f"{one_line(message.text)}\n")
        else:
            notes.append(_annotation(message.level, message.text))
    return attempt.url, notes


def failures_of(work: Callable[[Path], None], file: Path | None) -> list[Annotation]:
    """Write to a file or folder, if there is one; return a failure as a warning."""
    try:
        if file is not None:
            work(file)
    except (PublishFailed, InputInvalid) as error:
        return [warning_of(str(error))]
    except OSError as error:
        return [warning_of(f"{file}: {error.strerror or error}")]
    return []


def warning_of(text: str) -> Annotation:
    """Return a warning about publishing."""
    return _annotation(MessageLevel.WARNING, text)


def _annotation(level: str, text: str) -> Annotation:
    return Annotation(level=level, title="repro-gate", message=one_line(text))


def make_ready(output: Path) -> None:
    """Write the result that holds until the check starts and replaces it."""
    make_report_folder(output)
    paths.remove_reports(output)
    write_report(output, report_text(_NOT_STARTED, summary_data(_NOT_STARTED)))


def marker_for(name: str, run: CiRun) -> Marker:
    """Return the marker of a running check; raises `UsageInvalid` for an invalid name."""
    try:
        return Marker(
            name=name,
            run=run.id,
            state=CommentState.RUNNING,
            workflow=workflow_key(run.workflow),
            is_relayed=run.from_workflow_run,
        )
    except ValueError as error:
        raise UsageInvalid(f"--name: {error}") from error


def result_of(output: Path, run: CiRun) -> CheckResult | None:
    """Return what a check left in its report folder, or why it cannot be read."""
    max_bytes = MAX_BYTES if run.from_workflow_run else _MAX_OWN_BYTES
    try:
        return read_report(output, max_bytes=max_bytes)
    except InputInvalid as error:
        return UnfinishedCheck(exit_code=ExitCode.INPUT_INVALID.value, message=str(error))


def lines_of(
    config: Path | None, workspace: Path | None
) -> Callable[[CellReport], tuple[str, int] | None]:
    """Return a function that finds the path and line of the golden of a drifted cell."""
    golden_file = cache(lambda: _golden_files(config))

    def line_of(cell: CellReport) -> tuple[str, int] | None:
        if not isinstance(cell.verdict, Drift) or workspace is None:
            return None
        # The matrix is read only for a drift.
        from repro_gate.adapters.files.snapshots import read_golden_bytes  # noqa: PLC0415

        file_of = golden_file()
        with suppress(InputInvalid, OSError, ValueError):
            file = None if file_of is None else file_of(cell.verdict.golden.profile, cell.id)
            if file is not None:
                line = line_in_golden(read_golden_bytes(file).decode(), cell.verdict.divergence)
                path = file.resolve().relative_to(workspace.resolve())
                return None if line is None else (path.as_posix(), line)
        return None

    return line_of


def _golden_files(config: Path | None) -> Callable[[str, str], Path] | None:
    """Return a function that finds the golden of a profile and a cell; None without a matrix."""
    from repro_gate.cli import wiring  # noqa: PLC0415 -- only for a drift
    from repro_gate.cli.session import Selection, open_session  # noqa: PLC0415

    try:
        return wiring.workspace_for(open_session(Selection(config=config))).goldens.file
    except ReproGateError:
        return None


def _outputs(
    result: CheckResult | None, state: CommentState, output: Path, comment_url: str | None
) -> dict[str, str]:
    paths = {name: output / file for name, file in _FILES.items()}
    return {
        "outcome": state.value,
        "exit-code": _exit_code(result),
        "counts": json.dumps(_counts(result)),
        "comment-url": comment_url or "",
        **{name: str(path) if _is_file(path) else "" for name, path in paths.items()},
    }


def _is_file(path: Path) -> bool:
    # An unreadable folder counts as empty.
    with suppress(OSError):
        return path.is_file()
    return False


def _exit_code(result: CheckResult | None) -> str:
    match result:
        case None:
            return ""
        case UnfinishedCheck(exit_code=code):
            return str(code)
        case FinishedCheck(report=report):
            return str(exit_code_for(report).value)


def _counts(result: CheckResult | None) -> dict[str, int]:
    if not isinstance(result, FinishedCheck):
        return {}
    report = result.report
    counts = Counter(report.counts)
    for part in report.logprobs:
        counts.update(part.counts)
    return dict(counts)
