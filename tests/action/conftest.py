"""A machine for install.sh."""

from pathlib import Path

import pytest

from tests.action.script import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Return a machine with a uv that has everything in its cache."""
    made = Machine(tmp_path)
    made.install_uv()
    return made
