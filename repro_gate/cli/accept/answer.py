"""`repro-gate accept answer`, and the answer of a command that stopped."""

import os
from collections.abc import Mapping
from dataclasses import replace

from repro_gate.adapters.github.acceptance import GithubThread
from repro_gate.adapters.github.files import write_outputs
from repro_gate.adapters.github.repository import Repository
from repro_gate.adapters.github.run import read_environment
from repro_gate.cli.accept.find import read_comment
from repro_gate.core.outcome import ExitCode
from repro_gate.errors import (
    AcceptRefused,
    MeasurementUnavailable,
    PublishFailed,
    ReproGateError,
)
from repro_gate.reports.github.acceptance import render_answer, render_refusal


def run_answer(
    *, text: str, commit: str, starts_checks: bool, environ: Mapping[str, str] = os.environ
) -> ExitCode:
    """Post the answer in the thread of the pull request; raises `PublishFailed`."""
    github, run, comment = read_comment(environ)
    thread = GithubThread(
        Repository(github.api_url, run.repository, github.token), comment.pull_request
    )
    run = replace(run, head_sha=commit)
    thread.answer(render_answer(text, run=run, commit=commit, starts_checks=starts_checks))
    return ExitCode.PASSED


def write_refusal(error: ReproGateError, environ: Mapping[str, str] = os.environ) -> None:
    """Set the output that answers why nothing was recorded."""
    file = read_environment(environ).output_file
    if file is not None:
        write_outputs(file, {"answer": render_refusal(str(error), _remedy_of(error))})


def _remedy_of(error: ReproGateError) -> str | None:
    match error:
        case AcceptRefused() | MeasurementUnavailable() | PublishFailed():
            return error.remedy
        case _:
            return None
