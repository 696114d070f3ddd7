"""Workspaces whose check has found changes to review."""

from pathlib import Path

import pytest

from tests.cli.workspaces import Workspace


def rule(prompt: str, seed: int, *ids: int, **more: object) -> dict[str, object]:
    """Return a rule of the scripted engine by which a cell generates these tokens."""
    tokens = [[number, f" {number}".encode().hex()] for number in ids]
    wanted = {"method": "generate", "prompt": f"Say {prompt}", "seed": seed}
    return {**wanted, "result": {"tokens": tokens}, **more}


@pytest.fixture(scope="session")
def checked_once(recorded_once: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return a workspace whose check found two drifts and a cell whose runs differ."""
    checked = recorded_once.copied_to(tmp_path_factory.mktemp("checked"))
    checked.write_script(rule("fox", 1, 7, 8), rule("fox", 2, 7, 9), rule("haiku", 1, 5, time=2))
    assert checked.run("check").code == 10
    return checked


@pytest.fixture
def checked(checked_once: Workspace, tmp_path: Path) -> Workspace:
    """Return a copy of it."""
    return checked_once.copied_to(tmp_path)
