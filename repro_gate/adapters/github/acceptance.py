"""Comments that ask to record goldens: the event, the head that they are about, and the answer."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

from repro_gate.adapters.github.api import Api, Call
from repro_gate.adapters.github.payload import FieldMissing, author_of, number_at, text_at
from repro_gate.adapters.github.repository import Repository, is_by, items_of
from repro_gate.adapters.github.run import payload_of, workflow_file
from repro_gate.core.acceptance.request import AcceptComment, HeadRun, PullHead, ReportArtifact
from repro_gate.core.comments import RunId
from repro_gate.strict_json import items_at, value_at

_T = TypeVar("_T")
_EVENT = "issue_comment"
_PULL_REQUEST = "pull_request"
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z", re.ASCII)
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def comment_of(environ: Mapping[str, str]) -> AcceptComment:
    """Return the comment on a pull request that triggered this run; raises `FieldMissing`."""
    if environ.get("GITHUB_EVENT_NAME") != _EVENT:
        raise FieldMissing(f"the event is not {_EVENT}")
    event = payload_of(environ)
    if value_at(event, "action") != "created" or value_at(event, "issue", _PULL_REQUEST) is None:
        raise FieldMissing("the event is not a new comment on a pull request")
    return AcceptComment(
        pull_request=number_at(event, "issue", "number"),
        login=text_at(event, "comment", "user", "login"),
        user_id=number_at(event, "comment", "user", "id"),
        created_at=_time_at(event, "comment", "created_at"),
        body=text_at(event, "comment", "body"),
    )


class GithubCheckedHeads:
    """The pull requests and runs of one repository; see `repro_gate.ports.github.CheckedHeads`."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def permission_of(self, login: str, user_id: int) -> str:
        """Return the permission of a user on the repository; `none` for another user by now."""

        def parse(answer: Any) -> str:
            # A login can be given up, and taken by somebody else.
            is_same = number_at(answer, "user", "id") == user_id
            return text_at(answer, "permission") if is_same else "none"

        return self._read(f"collaborators/{quote(login, safe='')}/permission", parse)

    def head_of(self, pull_request: int) -> PullHead:
        """Return a pull request with its head."""
        return self._read(f"pulls/{pull_request}", _pull)

    def run_of(self, head: PullHead, workflow: str) -> HeadRun | None:
        """Return the latest run of a workflow for the pull request at its head."""

        def parse(answer: Any) -> HeadRun | None:
            runs = items_at(answer, "workflow_runs")
            return _latest((run for run in runs if _is_of(run, head, workflow)), _run)

        query = {"event": _PULL_REQUEST, "head_sha": head.sha, "per_page": "100"}
        return self._read("actions/runs", parse, **query)

    def artifact_of(self, run: HeadRun, name: str) -> ReportArtifact | None:
        """Return the latest artifact of a run with a name."""

        def parse(answer: Any) -> ReportArtifact | None:
            artifacts = items_at(answer, "artifacts")
            named = (one for one in artifacts if value_at(one, "name") == name)
            return _latest(named, _artifact)

        return self._read(f"actions/runs/{run.id.run}/artifacts", parse, name=name)

    def _read(self, path: str, parse: Callable[[Any], _T], **query: str) -> _T:
        call = Call(method="GET", path=f"{self._repository.path}/{path}", query=query or None)

        async def read(api: Api) -> _T:
            return parse(await api.read(call))

        return self._repository.run(read)


class GithubThread:
    """The comments of one pull request, for answers."""

    def __init__(self, repository: Repository, pull_request: int) -> None:
        self._repository = repository
        self._path = f"{repository.path}/issues/{pull_request}/comments"

    def answer(self, body: str) -> None:
        """Post an answer, whose first line is its own; raises `PublishFailed`."""
        self._repository.run(lambda api: self._answered(api, body))

    async def _answered(self, api: Api, body: str) -> None:
        marker = _first_line(body)

        async def find() -> bool | None:
            login = await self._repository.login(api)
            async for comment in items_of(api, Call(method="GET", path=self._path)):
                if _first_line(value_at(comment, "body")) == marker and is_by(login, comment):
                    return True
            return None

        call = Call(method="POST", path=self._path, body={"body": body})
        await self._repository.post_once(api, call, lambda comment: bool(author_of(comment)), find)


def _latest(items: Iterable[Any], parse: Callable[[Any], _T]) -> _T | None:
    """Return the item with the greatest id, parsed; None without any."""
    latest = max(items, key=lambda item: number_at(item, "id"), default=None)
    return None if latest is None else parse(latest)


def _pull(pull: Any) -> PullHead:
    repository = value_at(pull, "head", "repo")
    return PullHead(
        number=number_at(pull, "number"),
        is_open=text_at(pull, "state") == "open",
        sha=_matching(_SHA, "a commit", pull, "head", "sha"),
        branch=text_at(pull, "head", "ref"),
        repository=None if repository is None else text_at(repository, "full_name"),
        default_branch=text_at(pull, "base", "repo", "default_branch"),
    )


def _run(run: Any) -> HeadRun:
    return HeadRun(
        id=RunId(number_at(run, "id"), number_at(run, "run_attempt")),
        is_completed=text_at(run, "status") == "completed",
    )


def _artifact(artifact: Any) -> ReportArtifact:
    return ReportArtifact(
        id=number_at(artifact, "id"),
        size_bytes=number_at(artifact, "size_in_bytes"),
        is_expired=value_at(artifact, "expired") is not False,
        created_at=_time_at(artifact, "created_at"),
    )


def _first_line(body: Any) -> str | None:
    return body.partition("\n")[0].rstrip("\r") if isinstance(body, str) else None


def _is_of(run: Any, head: PullHead, workflow: str) -> bool:
    """Return whether a run of a workflow is for the head: a fork may have the same commit."""
    return (
        workflow_file(value_at(run, "path")) == workflow
        and value_at(run, "event") == _PULL_REQUEST
        and value_at(run, "head_sha") == head.sha
        and value_at(run, "head_branch") == head.branch
        and value_at(run, "head_repository", "full_name") == head.repository
    )


def _time_at(document: object, *keys: str) -> str:
    return _matching(_TIME, "a time in UTC", document, *keys)


def _matching(pattern: re.Pattern[str], what: str, document: object, *keys: str) -> str:
    found = text_at(document, *keys)
    if not pattern.fullmatch(found):
        raise FieldMissing(f"{'.'.join(keys)}: expected {what}")
    return found
