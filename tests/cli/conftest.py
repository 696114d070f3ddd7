"""Workspaces to run the real program in; what is slow to make is made once."""

from pathlib import Path

import pytest

from tests.cli.workspaces import Workspace


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
