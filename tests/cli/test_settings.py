"""`repro-gate settings`."""

import json

from tests.cli.workspaces import Workspace


def test_the_settings_of_the_matrix_are_printed(workspace: Workspace) -> None:
    """Equal ones once, and no engine is started."""
    ran = workspace.run("settings")

    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("matrix repro-gate.toml\n\nengine scripted (command), models: tiny\n")
    assert "\nsamplers of prompts: haiku, fox\n" in ran.out
    assert workspace.asked("start") == []


def test_the_settings_are_printed_as_json(workspace: Workspace) -> None:
    """And nothing else."""
    (workspace.folder / "repro-gate.toml").rename(workspace.folder / "other.toml")

    ran = workspace.run("settings", "--json", "--config", "other.toml")

    found = json.loads(ran.out)
    assert (ran.code, found["matrix"]) == (0, "other.toml")
    assert [each["prompts"] for each in found["samplers"]] == [["haiku", "fox"]]


def test_an_invalid_matrix_is_refused(workspace: Workspace) -> None:
    """With the place of the value."""
    workspace.write_matrix(sampler={"top_k": -1, "top_p": 1, "min_p": 0})

    ran = workspace.run("settings")

    assert (ran.code, ran.out) == (3, "")
    assert "repro-gate.toml: sampler.top_k: expected" in ran.err
