"""Jobs of one run that would share a name: nothing of one replaces what another has found."""

import json
import shutil
from pathlib import Path

import pytest

from repro_gate.core.comments import CommentState, RunId, marker_of
from tests.action.act.callers import Caller
from tests.action.act.scenes import Scene, Stage

pytestmark = pytest.mark.act

_WORKFLOW = ".github/workflows/gate.yml"
_RUNS_ON = "    runs-on: [self-hosted, gpu]\n"
_MATRIX = f"{_RUNS_ON}    strategy: {{ fail-fast: false, matrix: {{ leg: [one, two] }} }}\n"
_NAMED = ("accelerator: none", "accelerator: none, artifact-name: gate")


def _in_matrix(caller: Caller, *edits: tuple[str, str]) -> None:
    caller.tamper()
    for before, after in ((_RUNS_ON, _MATRIX), *edits):
        caller.edit(_WORKFLOW, before, after)


def test_each_leg_of_a_matrix_has_an_artifact_and_a_comment(stage: Stage) -> None:
    """Without any configuration, and each is found again by its next run."""
    scenes = [stage.play(1, _in_matrix), stage.play(2)]
    names = {"repro-gate-gate.one", "repro-gate-gate.two"}

    for number, scene in enumerate(scenes, 1):
        assert {folder.name for folder in scene.reports} == names
        assert _told(scene) == {(name, RunId(number, 1), CommentState.FAILED) for name in names}
        assert _refusals(scene) == 0


@pytest.mark.parametrize("attempt", [1, 2])
def test_legs_that_were_given_one_name_keep_both_results(stage: Stage, attempt: int) -> None:
    """The second to upload has its own artifact and fails with a message; both comment.

    Also in a later attempt, which replaces what the earlier one has left under the name.
    """
    scene = stage.play(1, lambda caller: _in_matrix(caller, _NAMED), attempt=attempt)
    uploaded = [folder.name for folder in scene.reports]
    reports = [folder for folder in uploaded if not folder.startswith("attempt-")]

    assert len(reports) == 2
    assert reports[0] == "gate"
    assert reports[1].startswith("gate-")
    assert {_exit_code(scene.artifacts / name) for name in reports} == {10}
    assert all((scene.artifacts / f"{name}.html").exists() for name in reports)
    assert [comment.body.count("gh run download 1") for comment in scene.comments] == [1, 1]
    assert all(any(f"--name {name} " in c.body for c in scene.comments) for name in reports)
    assert {state for _, _, state in _told(scene)} == {CommentState.FAILED}
    assert _refusals(scene) == 1


def test_a_drift_is_not_replaced_by_a_pass_under_its_name(stage: Stage) -> None:
    """The drift of the other one stays in its comment and in its artifact, whichever is first."""
    drift_in_one = (
        "      - id: gate\n",
        "      - if: matrix.leg == 'two'\n        run: cp -R good/. snapshots/\n      - id: gate\n",
    )

    def change(caller: Caller) -> None:
        shutil.copytree(caller.folder / "snapshots", caller.folder / "good")
        _in_matrix(caller, _NAMED, drift_in_one)

    scene = stage.play(1, change)

    assert "failure" in scene.log.results.values()
    assert [state for _, _, state in _told(scene)] == [CommentState.FAILED]
    assert sorted(map(_exit_code, scene.reports)) == [0, 10]
    assert _refusals(scene) == 1


def _told(scene: Scene) -> set[tuple[str, RunId, CommentState]]:
    markers = [marker_of(comment.body) for comment in scene.comments]
    return {(one.name, one.run, one.state) for one in markers if one is not None}


def _exit_code(folder: Path) -> int:
    code: int = json.loads((folder / "report.json").read_text("utf-8"))["exit_code"]
    return code


def _refusals(scene: Scene) -> int:
    """Return how many jobs were refused; act may lose the message of a step that fails at once."""
    return sum(
        step.id == ("gate", "refuse") and step.outcome == "failure" for step in scene.log.steps
    )
