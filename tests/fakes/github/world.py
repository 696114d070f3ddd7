"""The state of a GitHub: accounts, tokens, pull requests, issues, comments, runs, and faults."""

import itertools
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

REPOSITORY = "octo/gate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account: a person, or the bot of an app."""

    login: str
    id: int = 1
    app: str | None = None
    """The app of this account."""

    @property
    def type(self) -> str:
        """GitHub's name of the kind of account."""
        return "Bot" if self.login.endswith("[bot]") else "User"


ACTIONS = Account(login="github-actions[bot]", id=41898282, app="github-actions")
OTHER_APP = Account(login="chatter[bot]", id=555, app="chatter")
MAINTAINER = Account(login="maintainer", id=77)
STRANGER = Account(login="mallory", id=666)
PEOPLE = (MAINTAINER, STRANGER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token and its permissions."""

    account: Account
    can_write: bool = True
    can_read: bool = True

    @property
    def is_of_installation(self) -> bool:
        """Whether it belongs to an app on a repository, which is not a user."""
        return self.account.app is not None


OF_JOB = "ghs_the_token_of_a_job"
OF_FORK = "ghs_a_token_that_only_reads"
OF_OTHER_APP = "ghs_a_token_of_another_app"
OF_PERSON = "ghp_the_token_of_a_person"
"""The secrets of the tokens that every world has."""
TOKENS: Mapping[str, Token] = {
    OF_JOB: Token(account=ACTIONS),
    OF_FORK: Token(account=ACTIONS, can_write=False),
    OF_OTHER_APP: Token(account=OTHER_APP),
    OF_PERSON: Token(account=MAINTAINER),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull:
    """A pull request."""

    number: int
    owner: str = "octo"
    """Of the branch; different for a fork."""
    branch: str = "topic"
    sha: str = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00"
    is_open: bool = True
    is_locked: bool = False
    has_head: bool = True
    """False once the fork has been deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run of a workflow for a pull request."""

    id: int
    attempt: int = 1
    workflow: str = "gate.yml"
    event: str = "pull_request"
    status: str = "completed"
    pull: int = 7
    """Whose branch and commit it has checked."""
    sha: str | None = None
    """Another commit than the present head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """An artifact of a run."""

    id: int
    run: int
    name: str = "repro-gate"
    size: int = 1000
    is_expired: bool = False
    created_at: str = "2025-01-02T03:04:05Z"


@dataclass(slots=True, kw_only=True)
class Comment:
    """The current state of a comment."""

    id: int
    pull: int
    author: Account
    body: str


@dataclass(slots=True, kw_only=True)
class Issue:
    """The current state of an issue."""

    number: int
    author: Account
    title: str
    body: str
    is_open: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault of the next matching requests."""

    method: str = ".*"
    path: str = ".*"
    """Both patterns must match completely."""
    times: int = 1
    delay_s: float = 0.0
    is_done: bool = False
    """Whether the request is executed before the answer fails."""
    status: int | None = None
    """None keeps the answer."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    cut_after: int | None = None
    """How many bytes of the body arrive before the connection breaks."""

    def is_for(self, method: str, path: str) -> bool:
        """Return whether a request matches."""
        return bool(re.fullmatch(self.method, method) and re.fullmatch(self.path, path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One received request."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """In lower case, and without `authorization`."""
    by: str | None
    """The login of the owner of the token."""
    body: Any
    """The JSON; None when it was invalid."""


class World:
    """All state; may be read and changed from any thread."""

    def __init__(
        self,
        *,
        repository: str = REPOSITORY,
        pulls: "list[Pull] | None" = None,
        tokens: Mapping[str, Token] = TOKENS,
    ) -> None:
        self.lock = threading.RLock()
        self.repository = repository
        self.pulls = {pull.number: pull for pull in pulls or [Pull(number=7)]}
        self.tokens = dict(tokens)
        self.comments: list[Comment] = []
        self.issues: dict[int, Issue] = {}
        self.permissions: dict[str, str] = {}
        """On the repository, by login; everybody else can read."""
        self.runs: list[Run] = []
        self.artifacts: list[Artifact] = []
        self.has_issues = True
        """Whether the owner has turned them on."""
        self.asked: list[Asked] = []
        self.ignores_filters = False
        """Whether every list of pull requests or issues has all of them."""
        self._faults: list[tuple[Fault, itertools.count[int]]] = []
        self._ids = itertools.count(1001)
        self._numbers = itertools.count(101)

    def comment(self, author: Account, body: str, *, pull: int = 7) -> Comment:
        """Add a comment by an author."""
        with self.lock:
            comment = Comment(id=next(self._ids), pull=pull, author=author, body=body)
            self.comments.append(comment)
            return comment

    def issue(self, author: Account, title: str, body: str, *, is_open: bool = True) -> Issue:
        """Add an issue by an author."""
        with self.lock:
            number = next(self._numbers)
            issue = Issue(number=number, author=author, title=title, body=body, is_open=is_open)
            self.issues[number] = issue
            return issue

    def bodies(self, pull: int = 7) -> list[str]:
        """Return the bodies of the comments of a pull request, the oldest first."""
        with self.lock:
            return [comment.body for comment in self.comments if comment.pull == pull]

    def asks(self) -> list[str]:
        """Return the requests so far, as method and path."""
        with self.lock:
            return [f"{asked.method} {asked.path}" for asked in self.asked]

    def strike(self, *faults: Fault) -> None:
        """Schedule faults; the first one that matches a request occurs."""
        with self.lock:
            self._faults.extend((fault, itertools.count(1)) for fault in faults)

    def fault_for(self, method: str, path: str) -> Fault | None:
        """Return the fault of a request, and count it."""
        with self.lock:
            for fault, struck in self._faults:
                if fault.is_for(method, path) and next(struck) <= fault.times:
                    return fault
        return None
