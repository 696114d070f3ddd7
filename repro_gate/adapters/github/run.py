"""The run of GitHub Actions that this process belongs to, from its variables and its event."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from repro_gate.adapters.files.untrusted_files import read_regular_file
from repro_gate.adapters.github.payload import FieldMissing, number_at, parse_json, text_at
from repro_gate.adapters.http.secret import Secret, is_sendable
from repro_gate.core.comments import CiRun, RunId, Writer, job_key
from repro_gate.errors import InputInvalid
from repro_gate.strict_json import value_at

_PULL_REQUEST = "pull_request"
_WORKFLOW_RUN = "workflow_run"
_WORKFLOW = re.compile(r"(?:.*/)?([^/@]+\.ya?ml)(?:@.*)?", re.DOTALL)
_MAX_BYTES = 1 << 25
"""GitHub sends no event of more than 25 MB."""
_MAX_ATTEMPT = 10**9 - 1
"""As many digits as a marker takes."""
_API = "https://api.github.com"
_JOB_VARIABLES = ("GITHUB_JOB", "RUNNER_NAME", "RUNNER_TRACKING_ID")
"""Together they identify a job of a run; the jobs of a matrix share the first."""


def run_by_variables(environ: Mapping[str, str]) -> CiRun:
    """Return the run in the variables of the runner; raises `FieldMissing` without its id."""
    repository = environ.get("GITHUB_REPOSITORY", "")
    if not repository:
        raise FieldMissing("GITHUB_REPOSITORY is not set")
    return CiRun(
        id=_run_id(_number(environ, "GITHUB_RUN_ID"), _number(environ, "GITHUB_RUN_ATTEMPT")),
        repository=repository,
        head_sha=environ.get("GITHUB_SHA", ""),
        head_owner=repository.partition("/")[0],
        head_branch=environ.get("GITHUB_HEAD_REF") or environ.get("GITHUB_REF_NAME", ""),
        server_url=(environ.get("GITHUB_SERVER_URL") or "https://github.com").rstrip("/"),
        workflow=workflow_file(environ.get("GITHUB_WORKFLOW_REF")),
        event=environ.get("GITHUB_EVENT_NAME", ""),
    )


def run_by_event(own: CiRun, environ: Mapping[str, str]) -> CiRun:
    """Return the run of this job, completed from its event; raises `FieldMissing`."""
    # `pull_request_target` checks out the base branch: its result is not about the pull request.
    if environ.get("GITHUB_EVENT_NAME") == _PULL_REQUEST:
        return _of_pull_request(own, payload_of(environ))
    return own


def run_that_ended(own: CiRun, environ: Mapping[str, str]) -> CiRun:
    """Return the run whose end has triggered this one (`workflow_run`); raises `FieldMissing`."""
    if environ.get("GITHUB_EVENT_NAME") != _WORKFLOW_RUN:
        raise FieldMissing(f"the event is not {_WORKFLOW_RUN}, so it has no other run")
    return _of_other_run(own, payload_of(environ))


def _of_pull_request(own: CiRun, event: Any) -> CiRun:
    head = ("pull_request", "head")
    repository = value_at(event, *head, "repo")
    return replace(
        own,
        pull_request=number_at(event, "pull_request", "number"),
        # GITHUB_SHA is a temporary merge commit.
        head_sha=text_at(event, *head, "sha"),
        head_branch=text_at(event, *head, "ref"),
        head_owner=_owner_of(repository),
        from_fork=_is_fork(repository, own),
    )


def _of_other_run(own: CiRun, event: Any) -> CiRun:
    conclusion = value_at(event, _WORKFLOW_RUN, "conclusion")
    repository = value_at(event, _WORKFLOW_RUN, "head_repository")
    return replace(
        own,
        id=_run_id(
            number_at(event, _WORKFLOW_RUN, "id"), number_at(event, _WORKFLOW_RUN, "run_attempt")
        ),
        head_sha=text_at(event, _WORKFLOW_RUN, "head_sha"),
        head_branch=text_at(event, _WORKFLOW_RUN, "head_branch"),
        head_owner=_owner_of(repository),
        from_fork=_is_fork(repository, own),
        workflow=workflow_file(value_at(event, _WORKFLOW_RUN, "path")),
        conclusion=conclusion if isinstance(conclusion, str) else None,
    )


def _run_id(run: int, attempt: int) -> RunId:
    if attempt > _MAX_ATTEMPT:
        raise FieldMissing(f"the attempt of the run is more than {_MAX_ATTEMPT}")
    return RunId(run, attempt)


def workflow_file(path: Any) -> str:
    """Return the name of a workflow's file; its path may end with `@` and a branch."""
    parts = _WORKFLOW.fullmatch(path) if isinstance(path, str) else None
    return parts[1] if parts else ""


def _owner_of(repository: Any) -> str:
    """Return the owner of a repository; empty when the fork has been deleted."""
    return "" if repository is None else text_at(repository, "owner", "login")


def _is_fork(repository: Any, own: CiRun) -> bool:
    name = value_at(repository, "full_name")
    return not isinstance(name, str) or name.lower() != own.repository.lower()


def payload_of(environ: Mapping[str, str]) -> Any:
    """Return the event that triggered this run; raises `FieldMissing`."""
    path = environ.get("GITHUB_EVENT_PATH", "")
    if not path:
        raise FieldMissing("GITHUB_EVENT_PATH is not set")
    try:
        return parse_json(read_regular_file(Path(path), max_bytes=_MAX_BYTES))
    except InputInvalid as error:
        raise FieldMissing(f"the event cannot be read: {error}") from error
    except ValueError as error:
        raise FieldMissing("the file of the event is not JSON") from error


def _number(environ: Mapping[str, str], name: str) -> int:
    text = environ.get(name, "")
    # A marker has at most 18 digits, which is more than GitHub needs.
    if not (text.isascii() and text.isdecimal() and len(text) <= 18 and int(text) > 0):  # noqa: PLR2004 -- 64 bits
        raise FieldMissing(f"{name} is not a number")
    return int(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class GithubEnvironment:
    """What publishing needs to know of the environment."""

    run: CiRun | None
    """None outside GitHub Actions, or without the id of the run."""
    api_url: str = _API
    summary_file: Path | None = None
    output_file: Path | None = None
    workspace: Path | None = None
    token: Secret = field(default_factory=Secret)
    """Empty when the step has none."""
    problem: str | None = None
    """Why the run or the token is incomplete."""


def read_environment(
    environ: Mapping[str, str], *, from_workflow_run: bool = False
) -> GithubEnvironment:
    """Read the environment; nothing in it makes this raise.

    A run with an unreadable event has no pull request, and stays another's run if it was to be
    one, so that it cannot pass for a success.

    Args:
        environ: the variables of the step.
        from_workflow_run: the result is that of the run whose end has triggered this one.
    """
    run, problem = _run_of(environ, from_workflow_run=from_workflow_run)
    token, no_token = _token_of(environ)
    return GithubEnvironment(
        run=run,
        api_url=(environ.get("GITHUB_API_URL") or _API).rstrip("/"),
        summary_file=_path(environ, "GITHUB_STEP_SUMMARY"),
        output_file=_path(environ, "GITHUB_OUTPUT"),
        workspace=_path(environ, "GITHUB_WORKSPACE"),
        token=token,
        problem=problem or no_token,
    )


def writer_in(environ: Mapping[str, str], output: Path) -> Writer | None:
    """Return the job that publishes; None when the environment does not name its run.

    Args:
        environ: the variables of the step.
        output: the report folder; the action makes a new one for each use.
    """
    try:
        run = run_by_variables(environ).id
    except FieldMissing:
        return None
    facts = (environ.get(name, "") for name in _JOB_VARIABLES)
    return Writer(run=run, job=job_key(str(output.absolute()), *facts))


def _run_of(
    environ: Mapping[str, str], *, from_workflow_run: bool
) -> tuple[CiRun | None, str | None]:
    if environ.get("GITHUB_ACTIONS") != "true":
        return None, None
    own = None
    try:
        own = replace(run_by_variables(environ), from_workflow_run=from_workflow_run)
        read = run_that_ended if from_workflow_run else run_by_event
        return read(own, environ), None
    except FieldMissing as error:
        return own, str(error)


def _token_of(environ: Mapping[str, str]) -> tuple[Secret, str | None]:
    secret = environ.get("GITHUB_TOKEN", "").strip()
    if not secret:
        return Secret(), None
    if not is_sendable(secret):
        return Secret(), "GITHUB_TOKEN contains a character that no token has"
    return Secret(secret), None


def _path(environ: Mapping[str, str], name: str) -> Path | None:
    text = environ.get(name, "")
    return Path(text) if text else None
