"""One matrix on two runners, put together by a job that comments and gives the verdict."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from repro_gate.core.comments import CommentState, marker_of
from tests.action.act.callers import CELL, Caller
from tests.action.act.scenes import Scene, Stage

pytestmark = pytest.mark.act

_TWO_WITHOUT_GPU = (
    ("[1, 2, 3, 4, 5, 6, 7, 8]", "[1, 2]"),
    ("}}/8", "}}/2"),
    ("accelerator: cuda", "accelerator: none"),
    ("          device: cuda\n", ""),
    ("          suite: release\n", ""),
)


@pytest.fixture
def caller(recorded: Caller, tmp_path: Path) -> Caller:
    """Return a repository with our workflow, for two runners."""
    caller = recorded.copied_to(tmp_path)
    caller.adopt("shards.yml", *_TWO_WITHOUT_GPU)
    return caller


def _play(
    caller: Caller,
    staged: Callable[..., AbstractContextManager[Stage]],
) -> Scene:
    with staged(caller=caller) as stage:
        return stage.play(1, workflow="shards.yml")


def test_shards_together_pass_as_the_whole_would(
    caller: Caller, staged: Callable[..., AbstractContextManager[Stage]]
) -> None:
    """Each runner measures a part, and the merge sees every cell."""
    scene = _play(caller, staged)
    merged = scene.log.step("2", "publish", job="merge")

    assert set(scene.log.results.values()) == {"success"}
    assert merged.outputs["counts"] == '{"match": 4}'
    assert scene.comments == ()


def test_a_drift_in_one_shard_fails_the_merge(
    caller: Caller, staged: Callable[..., AbstractContextManager[Stage]]
) -> None:
    """The one comment is that of the merge, and covers the whole matrix."""
    caller.tamper()
    scene = _play(caller, staged)
    merged = scene.log.step("2", "publish", job="merge")

    assert scene.log.results["merge"] == "failure"
    assert merged.outputs["counts"] == '{"drift": 1, "match": 3}'
    assert _state(scene) is CommentState.FAILED
    assert CELL in scene.comment


def test_a_missing_shard_fails_the_merge(
    caller: Caller, staged: Callable[..., AbstractContextManager[Stage]]
) -> None:
    """A lost shard is named, and nothing is green."""
    caller.edit(".github/workflows/shards.yml", "[1, 2]", "[1]")
    scene = _play(caller, staged)

    assert scene.log.results["merge"] == "failure"
    assert _state(scene) is CommentState.BROKEN
    assert "2/2" in scene.comment


def _state(scene: Scene) -> CommentState:
    marker = marker_of(scene.comment)
    assert marker is not None
    return marker.state
