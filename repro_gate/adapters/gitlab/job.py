"""The job of GitLab CI/CD that this process runs in, from its predefined variables."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from repro_gate.adapters.http.secret import Secret, is_sendable
from repro_gate.core.comments import CiRun, RunId
from repro_gate.errors import UsageInvalid

TOKEN: Final = "GITLAB_TOKEN"  # noqa: S105 -- the name of the variable
_NUMBER = re.compile(r"[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GitlabJob:
    """The job, its merge request, and the token for notes."""

    run: CiRun
    """Its id is that of the job: a job that is run again has a later one."""
    name: str
    api_url: str
    project: str
    """The id of the project of the merge request."""
    merge_request_url: str
    """The web page of the merge request; empty without one."""
    workspace: Path
    token: Secret


def read_job(environ: Mapping[str, str]) -> GitlabJob | None:
    """Return the job, or None outside of GitLab CI/CD.

    Raises:
        UsageInvalid: a variable that every job has is missing or invalid.
    """
    if environ.get("GITLAB_CI") != "true":
        return None
    number = environ.get("CI_MERGE_REQUEST_IID", "")
    token = environ.get(TOKEN, "").strip()
    is_usable = bool(token) and is_sendable(token)
    of_request, own = "CI_MERGE_REQUEST_PROJECT_ID", "CI_PROJECT_ID"
    # It is part of the path of every call.
    project = _number(environ, of_request if environ.get(of_request) else own)
    pages = environ.get("CI_MERGE_REQUEST_PROJECT_URL", "")
    return GitlabJob(
        run=CiRun(
            id=RunId(int(_number(environ, "CI_JOB_ID")), 1),
            repository=environ.get("CI_PROJECT_PATH", ""),
            # In a pipeline of merged results the commit is a temporary one.
            head_sha=environ.get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA")
            or environ.get("CI_COMMIT_SHA", ""),
            head_owner="",
            head_branch=environ.get("CI_COMMIT_REF_NAME", ""),
            server_url=environ.get("CI_SERVER_URL", ""),
            event=environ.get("CI_PIPELINE_SOURCE", ""),
            pull_request=int(number) if _NUMBER.fullmatch(number) else None,
            from_fork=environ.get("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", project) != project,
            is_gitlab=True,
        ),
        name=environ.get("CI_JOB_NAME", ""),
        api_url=environ.get("CI_API_V4_URL", ""),
        project=project,
        merge_request_url=f"{pages}/-/merge_requests/{number}" if pages and number else "",
        workspace=Path(environ.get("CI_PROJECT_DIR", ".")),
        token=Secret(token) if is_usable else Secret(),
    )


def _number(environ: Mapping[str, str], name: str) -> str:
    found = environ.get(name, "")
    if not _NUMBER.fullmatch(found):
        raise UsageInvalid(f"{name}: expected the number that GitLab sets, found {found!r}")
    return found
