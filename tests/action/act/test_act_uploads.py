"""The artifact of a run: it is that of the last attempt, and no verdict depends on it."""

import json

import pytest

from repro_gate.core.comments import RunId, marker_of
from tests.action.act.callers import Caller
from tests.action.act.scenes import Stage

pytestmark = pytest.mark.act


def test_a_run_that_is_made_again_has_the_newer_report(stage: Stage) -> None:
    """Its artifact takes the place of the first one, and its comment is that of the attempt."""
    first = stage.play(1, Caller.tamper)
    second = stage.play(1, Caller.record, attempt=2)
    report = json.loads((second.artifacts / "repro-gate" / "report.json").read_text("utf-8"))
    marker = marker_of(second.comment)

    assert [scene.log.results["gate"] for scene in (first, second)] == ["failure", "success"]
    assert second.log.step("gate", "upload").outcome == "success"
    assert second.log.step("gate", "open").outcome == "success"
    assert report["exit_code"] == 0
    assert marker is not None
    assert marker.run == RunId(1, 2)


def test_an_upload_that_fails_changes_no_verdict(stage: Stage) -> None:
    """GitHub may have no space or time for it; the verdict is unaffected."""
    stage.runner.artifacts.mkdir()
    (stage.runner.artifacts / "1").touch()
    scene = stage.play(1)

    assert scene.log.step("gate", "upload").outcome == "failure"
    assert scene.log.results == {"gate": "success"}
    assert scene.log.step("gate", "open").outcome == "failure"
    assert '"outcome": "passed"' in scene.log.step("later").text
