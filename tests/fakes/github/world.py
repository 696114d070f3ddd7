"""What there is on a GitHub: accounts, tokens, pull requests, comments, and coming misfortune."""

import itertools
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

REPOSITORY = "octo/gate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Someone who writes: a person, or the bot of an app."""

    login: str
    id: int = 1
    app: str | None = None
    """The app that writes by this account."""

    @property
    def type(self) -> str:
        """What GitHub calls the kind of account."""
        return "Bot" if self.login.endswith("[bot]") else "User"


ACTIONS = Account(login="github-actions[bot]", id=41898282, app="github-actions")
OTHER_APP = Account(login="chatter[bot]", id=555, app="chatter")
MAINTAINER = Account(login="maintainer", id=77)
STRANGER = Account(login="mallory", id=666)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token, and what it may do."""

    account: Account
    can_write: bool = True
    can_read: bool = True

    @property
    def is_of_installation(self) -> bool:
        """Whether it belongs to an app on a repository, which is no user."""
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
    """Of the branch; another one for a fork."""
    branch: str = "topic"
    sha: str = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00"
    is_open: bool = True
    is_locked: bool = False
    has_head: bool = True
    """False once the fork has been deleted."""


@dataclass(slots=True, kw_only=True)
class Comment:
    """A comment as it stands now."""

    id: int
    pull: int
    author: Account
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens to the next requests that it is for."""

    method: str = ".*"
    path: str = ".*"
    """Both are patterns of the whole."""
    times: int = 1
    delay_s: float = 0.0
    is_done: bool = False
    """Whether what was asked for is done before the answer goes wrong."""
    status: int | None = None
    """None leaves the answer as it would have been."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    cut_after: int | None = None
    """How many bytes of the body arrive before the connection breaks."""

    def is_for(self, method: str, path: str) -> bool:
        """Tell whether a request is struck."""
        return bool(re.fullmatch(self.method, method) and re.fullmatch(self.path, path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """In lower case, and without `authorization`."""
    by: str | None
    """The login of whoever the token belongs to."""
    body: Any
    """The JSON; None when it was none."""


class World:
    """Everything on it; may be looked at and changed from any thread."""

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
        self.asked: list[Asked] = []
        self.ignores_filters = False
        """Whether every list of pull requests has all of them."""
        self._faults: list[tuple[Fault, itertools.count[int]]] = []
        self._ids = itertools.count(1001)

    def comment(self, author: Account, body: str, *, pull: int = 7) -> Comment:
        """Add a comment, as if its author had just written it."""
        with self.lock:
            comment = Comment(id=next(self._ids), pull=pull, author=author, body=body)
            self.comments.append(comment)
            return comment

    def bodies(self, pull: int = 7) -> list[str]:
        """Return what the comments of a pull request say, the oldest first."""
        with self.lock:
            return [comment.body for comment in self.comments if comment.pull == pull]

    def asks(self) -> list[str]:
        """Return the requests so far, as method and path."""
        with self.lock:
            return [f"{asked.method} {asked.path}" for asked in self.asked]

    def strike(self, *faults: Fault) -> None:
        """Let things go wrong; the first fault that is for a request is the one that strikes."""
        with self.lock:
            self._faults.extend((fault, itertools.count(1)) for fault in faults)

    def fault_for(self, method: str, path: str) -> Fault | None:
        """Return what goes wrong with a request, and count it."""
        with self.lock:
            for fault, struck in self._faults:
                if fault.is_for(method, path) and next(struck) <= fault.times:
                    return fault
        return None
