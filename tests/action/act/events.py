"""Payloads of events, with the fields that are read."""

from dataclasses import dataclass
from typing import Any

from repro_gate.core.comments import RunId
from tests.fakes.github.world import REPOSITORY, Account, Pull

OWNER, _, _NAME = REPOSITORY.partition("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event with its payload."""

    name: str
    payload: dict[str, Any]
    is_trusted: bool = True
    """Whether its run may get a token that writes."""


def pull_request(pull: Pull) -> Event:
    """Return the event of a new commit on a pull request."""
    source = _repository(pull.owner)
    head = {"ref": pull.branch, "sha": pull.sha, "repo": source, "user": source["owner"]}
    base = {"ref": "main", "sha": "b" * 40, "repo": _repository(OWNER)}
    payload = {
        "action": "synchronize",
        "number": pull.number,
        "pull_request": {"number": pull.number, "head": head, "base": base},
        "repository": _repository(OWNER),
    }
    return Event(name="pull_request", payload=payload, is_trusted=pull.owner == OWNER)


def push(sha: str) -> Event:
    """Return the event of a commit on the main branch."""
    payload = {"ref": "refs/heads/main", "after": sha, "deleted": False}
    return Event(name="push", payload=payload | {"repository": _repository(OWNER)})


def tag(name: str, sha: str) -> Event:
    """Return the event of a new tag."""
    payload = {"ref": f"refs/tags/{name}", "after": sha, "deleted": False}
    return Event(name="push", payload=payload | {"repository": _repository(OWNER)})


def dispatch() -> Event:
    """Return the event of a workflow that somebody started by hand, on the main branch."""
    payload = {"ref": "refs/heads/main", "inputs": {}, "repository": _repository(OWNER)}
    return Event(name="workflow_dispatch", payload=payload)


def merge_group(pull: Pull, sha: str) -> Event:
    """Return the event of an entry of a merge queue: a pull request merged with its branch."""
    queue = f"refs/heads/gh-readonly-queue/main/pr-{pull.number}-{pull.sha}"
    group = {"head_sha": sha, "head_ref": queue, "base_ref": "refs/heads/main"}
    payload = {"action": "checks_requested", "merge_group": group}
    return Event(name="merge_group", payload=payload | {"repository": _repository(OWNER)})


def issue_comment(pull: Pull, account: Account, body: str, *, created_at: str) -> Event:
    """Return the event of a new comment on a pull request."""
    user = {"login": account.login, "id": account.id, "type": account.type}
    comment = {"id": 1, "body": body, "user": user, "created_at": created_at}
    issue = {"number": pull.number, "pull_request": {"url": f"pulls/{pull.number}"}}
    payload = {"action": "created", "issue": issue, "comment": comment}
    return Event(name="issue_comment", payload=payload | {"repository": _repository(OWNER)})


def workflow_run(pull: Pull, *, of: RunId, conclusion: str) -> Event:
    """Return the event of the end of a run for a pull request; GitHub names none for a fork."""
    run = {
        "id": of.run,
        "run_attempt": of.attempt,
        "name": "gate",
        "path": ".github/workflows/gate.yml",
        "event": "pull_request",
        "conclusion": conclusion,
        "head_sha": pull.sha,
        "head_branch": pull.branch,
        "head_repository": _repository(pull.owner),
        "pull_requests": [{"number": pull.number}] if pull.owner == OWNER else [],
    }
    payload = {"action": "completed", "workflow_run": run, "repository": _repository(OWNER)}
    return Event(name="workflow_run", payload=payload)


def _repository(owner: str) -> dict[str, Any]:
    return {
        "name": _NAME,
        "full_name": f"{owner}/{_NAME}",
        "default_branch": "main",
        "fork": owner != OWNER,
        "owner": {"login": owner},
    }
