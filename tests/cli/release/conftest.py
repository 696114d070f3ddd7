"""Releases to verify; expensive ones are made once."""

from pathlib import Path

import pytest

from tests.cli.release.releases import Release, released
from tests.cli.release.signers import Signer, signer_of
from tests.cli.workspaces import Workspace


@pytest.fixture(scope="session")
def released_once(green: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Return a release that passed, to be copied."""
    return released(green, tmp_path_factory.mktemp("released"))


@pytest.fixture
def release(released_once: Release, tmp_path: Path) -> Release:
    """Return a release of four tests that passed, signed by alice and bob."""
    return released_once.copied_to(tmp_path)


@pytest.fixture(scope="session")
def drifting_once(drifted: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Return a release in which one test drifted, to be copied."""
    return released(drifted, tmp_path_factory.mktemp("drifting"))


@pytest.fixture
def drifting(drifting_once: Release, tmp_path: Path) -> Release:
    """Return a release in which one test drifted."""
    return drifting_once.copied_to(tmp_path)


@pytest.fixture
def signer(recorded: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Signer:
    """Return the signer of a workspace with four cells and a golden for each."""
    return signer_of(recorded, tmp_path_factory.mktemp("desk"))
