"""The workflows of this repository, with its own models on the real engine."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from repro_gate.core.comments import RunId
from tests.action.act.callers import Caller
from tests.action.act.events import push
from tests.action.act.repositories import copy_of_project
from tests.action.act.runner import Runner
from tests.action.act.scenes import Stage
from tests.fakes.github.server import Github
from tests.fakes.github.world import World

pytestmark = pytest.mark.act


@pytest.fixture
def ours(tmp_path: Path) -> Caller:
    """Return this repository, for a runner without a GPU."""
    caller = Caller(copy_of_project(tmp_path))
    caller.edit(".github/workflows/gate.yml", "accelerator: cuda", "accelerator: cpu")
    caller.edit(".github/workflows/gate.yml", "          device: cuda\n", "")
    caller.commit()
    return caller


def test_the_gate_of_this_repository_is_green(
    ours: Caller, staged: Callable[..., AbstractContextManager[Stage]]
) -> None:
    """Tokens and log-probabilities of the tiny models are those of the goldens and baselines."""
    with staged(caller=ours) as stage:
        scene = stage.play(1)

    assert scene.log.results == {"gate": "success", "verdict": "success"}
    assert scene.comments == ()
    assert "**Passed**" in scene.log.summaries("gate")


def test_the_selftest_of_this_repository_is_green(
    ours: Caller, runner_for: Callable[[Github], Runner]
) -> None:
    """The action passes, fails and is inconclusive where it should, with a library from a cache."""
    runner = runner_for(Github(world=World(), port=9))
    log = runner.run(ours.folder, "selftest.yml", push(ours.commit()), id=RunId(1, 1))

    assert log.results.pop("selftest") == "success"
    assert list(log.results.values()) == ["success"] * 3
    found = [step.text for step in log.steps if step.text.startswith("expected")]
    assert sorted(found) == [
        "expected failure 10 failed, found failure 10 failed",
        "expected failure 4 inconclusive, found failure 4 inconclusive",
        "expected success 0 passed, found success 0 passed",
    ]
