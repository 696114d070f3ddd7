"""The result of a check as one note on a merge request, and as a code quality report."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from repro_gate.adapters.files.atomic import write_atomically
from repro_gate.adapters.gitlab.job import GitlabJob
from repro_gate.checks.publish import try_publish_comment
from repro_gate.cli.publish import (
    PublishOptions,
    failures_of,
    lines_of,
    make_ready,
    marker_for,
    result_of,
)
from repro_gate.cli.terminal.console import print_line
from repro_gate.core.comments import CommentState, workflow_key
from repro_gate.core.matrix import DEFAULT_MATRIX_FILE
from repro_gate.core.outcome import ExitCode
from repro_gate.core.report import CheckResult
from repro_gate.ports.github import PullRequests
from repro_gate.reports.github.comment import render_comment, render_running
from repro_gate.reports.github.state import state_of
from repro_gate.reports.gitlab import as_note, render_code_quality

CODE_QUALITY = "gl-code-quality-report.json"
_PAGE = "report.html"


def publish_to_gitlab(options: PublishOptions, job: GitlabJob) -> ExitCode:
    """Write the note of the job and the code quality report; a failure is a line of the log."""
    artifacts = f"{job.run.url}/artifacts"
    page = _below(job.workspace, options.output / _PAGE)
    run = replace(job.run, page_url=page and f"{artifacts}/file/{page}")
    marker = replace(marker_for(options.name, run), workflow=workflow_key(job.name))
    result: CheckResult | None = None
    if options.running:
        problems = failures_of(make_ready, options.output)
    else:
        result = result_of(options.output, run)
        state = state_of(result, run)
        marker = replace(marker, state=state, found=state is CommentState.FAILED)
        problems = failures_of(
            lambda folder: _quality(options, job, result, folder), options.output
        )

    def connect() -> PullRequests:
        # Imported only for a job that can have a note.
        from repro_gate.adapters.gitlab.notes import GitlabMergeRequests  # noqa: PLC0415

        return GitlabMergeRequests(job)

    attempt = try_publish_comment(
        connect,
        run=run,
        mode=options.comment,
        ours=marker,
        body_of=lambda ours: as_note(
            render_running(marker=ours, run=run)
            if options.running
            else render_comment(result, marker=ours, run=run, artifact_url=f"{artifacts}/browse")
        ),
    )
    for text in (*(each.message for each in problems), *(each.text for each in attempt.messages)):
        print_line(text)
    if attempt.url:
        print_line(f"repro-gate: the note is {attempt.url}")
    return ExitCode.PASSED


def _quality(
    options: PublishOptions, job: GitlabJob, result: CheckResult | None, folder: Path
) -> None:
    line_of = lines_of(options.config, job.workspace)
    matrix = _below(job.workspace, options.config or DEFAULT_MATRIX_FILE)
    text = render_code_quality(result, line_of=line_of, matrix=matrix or str(DEFAULT_MATRIX_FILE))
    write_atomically(folder / CODE_QUALITY, text)


def _below(workspace: Path, file: Path) -> str | None:
    """Return a path relative to the checkout; None if it is elsewhere."""
    with suppress(ValueError, OSError):
        return file.resolve().relative_to(workspace.resolve()).as_posix()
    return None
