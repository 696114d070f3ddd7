"""A fake GitHub, a fake clock, and no proxies of the machine."""

from collections.abc import Callable, Iterator
from typing import TypeAlias

import pytest

from repro_gate.adapters.github.comments import GithubPullRequests
from repro_gate.adapters.github.repository import Repository
from repro_gate.adapters.http.retry import Runtime
from repro_gate.adapters.http.secret import Secret
from tests.fakes.github.server import Github, serving
from tests.fakes.github.world import OF_JOB, REPOSITORY
from tests.fakes.hosted import FakeTime

PullsOf: TypeAlias = Callable[..., GithubPullRequests]


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ignore the proxies and certificates of the machine."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def time() -> FakeTime:
    """Return a clock that advances only by sleeping."""
    return FakeTime()


@pytest.fixture
def runtime(time: FakeTime) -> Runtime:
    """Return a runtime in which waits take no time and back-off is minimal."""
    return Runtime(environ={}, now=time.now, clock=time.clock, sleep=time.sleep, random=lambda: 0.0)


@pytest.fixture
def github() -> Iterator[Github]:
    """Give a GitHub with one pull request, number 7."""
    with serving() as server:
        yield server


@pytest.fixture
def pulls_of(runtime: Runtime) -> PullsOf:
    """Return a function that makes the adapter for a server and one of its tokens."""

    def make(api_url: str, secret: str = OF_JOB, *, deadline_s: float = 90.0) -> GithubPullRequests:
        token = Secret(secret)
        return GithubPullRequests(
            Repository(api_url, REPOSITORY, token, runtime=runtime, deadline_s=deadline_s)
        )

    return make
