"""A merge queue: each entry is checked, and shows its result without a comment."""

import pytest

from tests.action.act.scenes import Stage

pytestmark = pytest.mark.act

_ON_A_CPU = (("accelerator: cuda", "accelerator: none"), ("          device: cuda\n", ""))


def test_a_drift_keeps_an_entry_out(stage: Stage) -> None:
    """The short workflow of the README runs, fails, and logs why there is no comment."""
    stage.caller.tamper()
    scene = stage.queue(1)

    assert scene.log.results == {"gate": "failure"}
    assert scene.comments == ()
    assert "```diff" in scene.log.summaries("gate")
    assert [note.level for note in scene.log.annotations] == ["error"]
    assert (
        "repro-gate: no comment was written: only a run of the event pull_request has one, "
        "and this is of merge_group"
    ) in scene.log.text


def test_the_required_job_passes_with_a_good_entry(stage: Stage) -> None:
    """`gate.yml` is not skipped, and neither waited for."""
    stage.caller.adopt("gate.yml", *_ON_A_CPU)
    scene = stage.queue(1)

    assert scene.log.results == {"gate": "success", "verdict": "success"}
    assert "**Passed**" in scene.log.summaries("gate")


def test_the_required_job_fails_with_a_bad_entry(stage: Stage) -> None:
    """As it does on a pull request."""
    stage.caller.adopt("gate.yml", *_ON_A_CPU)
    stage.caller.tamper()

    assert set(stage.queue(1).log.results.values()) == {"failure"}
