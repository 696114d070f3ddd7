"""`repro-gate watch notify`: the state of a watch on GitHub, in one issue and the job summary."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from repro_gate.adapters.github.files import append_summary
from repro_gate.adapters.github.run import GithubEnvironment, read_environment
from repro_gate.checks.notify import try_notify
from repro_gate.checks.publish import MessageLevel
from repro_gate.cli import wiring
from repro_gate.cli.publish import failures_of, warning_of
from repro_gate.cli.terminal.console import print_result
from repro_gate.cli.watch.state import read_status
from repro_gate.cli.watch.suites import WatchedSuite
from repro_gate.core.comments import CiRun, RunId
from repro_gate.core.outcome import ExitCode
from repro_gate.core.watch.issues import IssueText
from repro_gate.errors import UsageInvalid
from repro_gate.ports.github import Issues
from repro_gate.reports.github.annotations import Annotation, render_early_annotations
from repro_gate.reports.github.issue import render_issue
from repro_gate.reports.text.escape import one_line
from repro_gate.reports.watch.words import render_status_markdown

_AT_A_DESK: Final = CiRun(
    id=RunId(0, 1),
    repository="OWNER/REPOSITORY",
    head_sha="",
    head_owner="",
    head_branch="",
    server_url="https://github.com",
)
"""Stands for the run in a dry run outside of GitHub Actions."""


def run_notify(
    suite: WatchedSuite,
    history: Path,
    *,
    dry_run: bool = False,
    environ: Mapping[str, str] = os.environ,
    now: Callable[[], str] = wiring.now,
) -> ExitCode:
    """Write the issue of a watch; that it cannot be written is a warning.

    Raises:
        InputInvalid: the matrix, the file of the watch or a night is invalid.
        UsageInvalid: this is no run of GitHub Actions.
    """
    github = read_environment(environ)
    run = github.run
    if run is None and github.problem is None and not dry_run:
        raise UsageInvalid(
            "watch notify must run inside GitHub Actions (GITHUB_ACTIONS is not set); "
            "--dry-run prints the issue"
        )
    status = read_status(suite, history, now=now())
    text = render_issue(status, run=run or _AT_A_DESK)
    if dry_run:
        print_result(f"{text.title}\n\n{text.body}")
        return ExitCode.PASSED
    problems = [] if github.problem is None else [warning_of(github.problem)]
    if run is not None:
        problems += _write(github, run, text)
        summary = render_status_markdown(status)
        problems += failures_of(lambda file: append_summary(file, summary), github.summary_file)
    print_result(render_early_annotations(problems))
    return ExitCode.PASSED


def _write(github: GithubEnvironment, run: CiRun, text: IssueText) -> list[Annotation]:
    """Write the issue, and return what to annotate."""

    def connect() -> Issues:
        from repro_gate.adapters.github.issues import GithubIssues  # noqa: PLC0415 -- needs HTTP
        from repro_gate.adapters.github.repository import Repository  # noqa: PLC0415

        return GithubIssues(Repository(github.api_url, run.repository, github.token))

    # A history should hold no secret; this one is at hand.
    title, body = (github.token.scrub(each) for each in (text.title, text.body))
    message = try_notify(connect, replace(text, title=title, body=body))
    if message.level is MessageLevel.WARNING:
        return [warning_of(message.text)]
    print_result(f"{one_line(message.text)}\n")
    return []
