"""`repro-gate accept find`."""

import os
from collections.abc import Mapping

from repro_gate.adapters.github.acceptance import GithubCheckedHeads, comment_of
from repro_gate.adapters.github.files import write_outputs
from repro_gate.adapters.github.payload import FieldMissing
from repro_gate.adapters.github.repository import Repository
from repro_gate.adapters.github.run import GithubEnvironment, read_environment, run_by_variables
from repro_gate.checks.accept import find_result
from repro_gate.cli.terminal.console import print_line
from repro_gate.core.acceptance.request import AcceptComment
from repro_gate.core.comments import CiRun
from repro_gate.core.outcome import ExitCode
from repro_gate.errors import UsageInvalid


def run_find(*, workflow: str, name: str, environ: Mapping[str, str] = os.environ) -> ExitCode:
    """Set the outputs that name the result which the comment may accept."""
    github, run, comment = read_comment(environ)
    heads = GithubCheckedHeads(Repository(github.api_url, run.repository, github.token))
    found = find_result(comment, heads, repository=run.repository, workflow=workflow, name=name)
    outputs = {
        "head": found.head.sha,
        "branch": found.head.branch,
        "run": str(found.run.id.run),
        "artifact": str(found.artifact.id),
    }
    for label, value in outputs.items():
        print_line(f"{label:<8}  {value}")
    if github.output_file is not None:
        write_outputs(github.output_file, outputs)
    return ExitCode.PASSED


def read_comment(environ: Mapping[str, str]) -> tuple[GithubEnvironment, CiRun, AcceptComment]:
    """Return the environment of a job, its run, and the comment that triggered it.

    Raises:
        UsageInvalid: this is no such job.
    """
    github = read_environment(environ)
    try:
        return github, run_by_variables(environ), comment_of(environ)
    except FieldMissing as error:
        raise UsageInvalid(
            f"accept must run in GitHub Actions, for a new comment on a pull request: {error}"
        ) from error
