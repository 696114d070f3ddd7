"""Workspaces to run the real program in; expensive ones are made once."""

import shutil
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.cli.hosted.workspaces import HostedWorkspace
from tests.cli.publish.jobs import Job
from tests.cli.shards.workspaces import Measured, measured_in
from tests.cli.workspaces import Workspace
from tests.fakes.fireworks.conduct import KEY
from tests.fakes.fireworks.server import Api, serving
from tests.fakes.github.server import Github
from tests.fakes.github.server import serving as serving_github


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the cache folder that every workspace shares."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def recorded_once(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return a workspace with goldens, to be copied and not to be worked in."""
    workspace = Workspace(folder=tmp_path_factory.mktemp("recorded"), cache=cache)
    (workspace.folder / "tiny.gguf").write_bytes(b"weights")
    workspace.write_matrix()
    workspace.write_script()
    assert workspace.record().code == 0
    # No check has been made here, and the log of the update is not of interest.
    shutil.rmtree(workspace.output)
    return workspace


@pytest.fixture
def recorded(recorded_once: Workspace, tmp_path: Path) -> Workspace:
    """Return a workspace with four cells on a scripted engine, and a golden for each."""
    return recorded_once.copied_to(tmp_path)


@pytest.fixture
def workspace(cache: Path, tmp_path: Path) -> Workspace:
    """Return a workspace with four cells on a scripted engine, and no golden yet."""
    fresh = Workspace(folder=tmp_path, cache=cache)
    (tmp_path / "tiny.gguf").write_bytes(b"weights")
    fresh.write_matrix()
    fresh.write_script()
    return fresh


@pytest.fixture
def api() -> Generator[Api]:
    """Give a server that hosts the usual model, whose every answer is the same."""
    with serving() as server:
        yield server


@pytest.fixture(scope="session")
def hosted_once(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> HostedWorkspace:
    """Return a workspace with baselines, to be copied and not to be worked in."""
    workspace = HostedWorkspace(folder=tmp_path_factory.mktemp("hosted"), cache=cache, key=KEY)
    with serving() as server:
        workspace.ask(server.base_url)
        assert workspace.calibrate().code == 0
    return workspace


@pytest.fixture
def hosted(hosted_once: HostedWorkspace, api: Api, tmp_path: Path) -> HostedWorkspace:
    """Return a workspace with two cells at the server, and a baseline for each."""
    workspace = hosted_once.hosted_copy(tmp_path)
    workspace.ask(api.base_url)
    return workspace


@pytest.fixture
def unrecorded(api: Api, cache: Path, tmp_path: Path) -> HostedWorkspace:
    """Return a workspace with two cells at the server, and no baseline yet."""
    workspace = HostedWorkspace(folder=tmp_path, cache=cache, key=KEY)
    workspace.ask(api.base_url)
    return workspace


@pytest.fixture(scope="session")
def measured(recorded_once: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """Return shards that agree with their goldens, to be merged and not to be changed."""
    workspace = recorded_once.copied_to(tmp_path_factory.mktemp("measured"))
    return measured_in(workspace, codes=(0, 0, 0))


@pytest.fixture
def github() -> Generator[Github]:
    """Give a GitHub with one pull request."""
    with serving_github() as server:
        yield server


@pytest.fixture(scope="session")
def green(recorded_once: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return a workspace whose check has passed, not to be changed."""
    workspace = recorded_once.copied_to(tmp_path_factory.mktemp("green"))
    assert workspace.run("check").code == 0
    return workspace


@pytest.fixture(scope="session")
def drifted(recorded_once: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return a workspace in which a cell has drifted, not to be changed."""
    workspace = recorded_once.copied_to(tmp_path_factory.mktemp("drifted"))
    tokens = {"tokens": [[7, b" 7".hex()], [8, b" 8".hex()]]}
    fox = {"method": "generate", "prompt": "Say fox", "seed": 1, "result": tokens}
    workspace.write_script(fox)
    assert workspace.run("check").code == 10
    return workspace


@pytest.fixture
def red_job(drifted: Workspace, github: Github, tmp_path: Path) -> Job:
    """Return the job of a check that has found drift."""
    return Job(workspace=drifted, folder=tmp_path, api_url=github.api_url)


@pytest.fixture
def green_job(green: Workspace, github: Github, tmp_path: Path) -> Job:
    """Return the job of a check that has passed."""
    return Job(workspace=green, folder=tmp_path, api_url=github.api_url)


@pytest.fixture
def own_job(recorded: Workspace, github: Github, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Return a job that has not checked yet, in a workspace of its own."""
    return Job(workspace=recorded, folder=tmp_path_factory.mktemp("runner"), api_url=github.api_url)
