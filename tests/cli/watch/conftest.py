"""Watches of a simulated service."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.hosted.workspaces import KEY_ENV, HostedWorkspace
from tests.cli.watch.many_nights import ManyNights
from tests.fakes.fireworks.server import Api, serving


@contextmanager
def _with_key(hosted: HostedWorkspace) -> Generator[None]:
    """Set the key of the service, for commands in this process."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(KEY_ENV, hosted.key)
        patched.setenv("REPRO_GATE_CACHE", str(hosted.cache))
        yield


@pytest.fixture
def _key(hosted_once: HostedWorkspace) -> Generator[None]:
    """Set the key of the service until the test ends."""
    with _with_key(hosted_once):
        yield


@pytest.fixture(scope="session")
def quiet_once(
    hosted_once: HostedWorkspace, tmp_path_factory: pytest.TempPathFactory
) -> ManyNights:
    """Return a watch with thirty nights without a change, to be copied and not to be worked in."""
    workspace = hosted_once.hosted_copy(tmp_path_factory.mktemp("quiet"))
    watch = ManyNights(workspace=workspace)
    with _with_key(hosted_once), serving() as server:
        workspace.ask(server.base_url)
        assert watch.open() == 0
        assert watch.nights(30) == [0] * 30
    return watch


@pytest.fixture
def quiet(
    quiet_once: ManyNights,
    _key: None,
    api: Api,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> ManyNights:
    """Return a watch with thirty nights without a change."""
    watch = quiet_once.copied_to(tmp_path, capsys)
    watch.workspace.ask(api.base_url)
    return watch


@pytest.fixture
def watched(hosted: HostedWorkspace, _key: None) -> HostedWorkspace:
    """Return a workspace with baselines and an open watch, without a night."""
    ran = hosted.run("watch", "open", "--suite", "hosted", "--reason", "first watch", "--yes")
    assert (ran.code, ran.err) == (0, "")
    return hosted
