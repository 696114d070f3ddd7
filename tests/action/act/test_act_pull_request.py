"""One pull request with our action, run after run, on a real runner."""

import json
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from repro_gate.core.comments import CommentState, Marker, RunId, marker_of
from tests.action.act.callers import CELL, PROFILE, Caller
from tests.action.act.scenes import Scene, Stage
from tests.fakes.github.world import OF_JOB

pytestmark = pytest.mark.act

_GOLDEN = f"snapshots/goldens/{PROFILE}/{CELL}.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """Every run of the pull request; their names are what it changed."""

    good: Scene
    drifted: Scene
    still_drifted: Scene
    late: Scene
    """An older run that ends after a newer one."""
    fixed: Scene
    line: int
    """Where the golden was tampered with."""


@pytest.fixture(scope="module")
def story(staged: Callable[..., AbstractContextManager[Stage]]) -> Story:
    """Play it once."""
    with staged() as stage:
        good = stage.play(11)
        line = stage.caller.tamper()
        return Story(
            good=good,
            drifted=stage.play(12),
            still_drifted=stage.play(14),
            late=stage.play(13),
            fixed=stage.play(15, Caller.record),
            line=line,
        )


def test_the_job_says_what_the_check_says(story: Story) -> None:
    """Green while the goldens hold, red while one does not, green again."""
    scenes = (story.good, story.drifted, story.still_drifted, story.late, story.fixed)

    assert [scene.log.results for scene in scenes] == [
        {"gate": "success"},
        {"gate": "failure"},
        {"gate": "failure"},
        {"gate": "failure"},
        {"gate": "success"},
    ]


def test_nothing_is_said_while_all_is_well(story: Story) -> None:
    """A pull request on which nothing ever moved has no comment, but the run has a summary."""
    assert story.good.comments == ()
    assert "**Passed**" in story.good.log.summaries("gate")


def test_a_drift_is_told_in_one_comment_with_the_diff(story: Story) -> None:
    """The comment names the cell and shows the tokens of both sides."""
    comment = story.drifted.comment

    assert _marker_in(comment) == _marker(12, CommentState.FAILED)
    assert "```diff" in comment
    assert '- [0] 122 "z"' in comment
    assert '+ [0] 121 "y"' in comment
    assert "update-snapshots" in comment


def test_a_drift_is_shown_at_the_line_of_the_golden(story: Story) -> None:
    """The annotation stands where the golden and the model part, in the changed file."""
    at_golden = [note for note in story.drifted.log.annotations if note.file == _GOLDEN]

    assert [(note.level, note.line) for note in at_golden] == [("error", story.line)]


def test_the_report_is_uploaded(story: Story) -> None:
    """The artifact has everything, and the comment links to it."""
    (artifact,) = story.drifted.reports

    assert artifact.name == "repro-gate"
    assert {file.name for file in artifact.iterdir()} >= {
        *("junit.xml", "report.json", "report.md"),
    }
    assert story.drifted.comment.count("/actions/runs/12/artifacts/") == len(("page", "folder"))


def test_the_page_is_an_artifact_that_the_comment_and_the_summary_open(story: Story) -> None:
    """It is the file itself, named for the gate, and also in the folder."""
    page = story.drifted.artifacts / "repro-gate.html" / "repro-gate.html"
    (linked,) = re.findall(r"^\[Open the report\]\((.*)\)$", story.drifted.comment, re.MULTILINE)
    address = story.drifted.log.step("gate", "open").outputs["artifact-url"]

    assert page.read_bytes() == (story.drifted.artifacts / "repro-gate/report.html").read_bytes()
    assert linked == address
    assert f"[Open the report]({address})" in story.drifted.log.summaries("gate")


def test_the_same_drift_again_renews_the_comment(story: Story) -> None:
    """There is still one comment, the same one, and it is about the newer run."""
    assert _ids(story.still_drifted) == _ids(story.drifted)
    assert _marker_in(story.still_drifted.comment) == _marker(14, CommentState.FAILED)


def test_an_older_run_does_not_overwrite_a_newer_one(story: Story) -> None:
    """The comment stays as the newer run left it."""
    assert story.late.comments == story.still_drifted.comments


def test_the_comment_says_when_the_drift_is_gone(story: Story) -> None:
    """The same comment becomes a short one with the result "fixed"."""
    comment = story.fixed.comment

    assert _ids(story.fixed) == _ids(story.drifted)
    assert _marker_in(comment) == _marker(15, CommentState.PASSED)
    assert "fixed" in comment.lower()
    assert "```diff" not in comment
    assert len(comment) < len(story.drifted.comment)


def test_a_later_step_reads_the_outputs(story: Story) -> None:
    """Outcome, code, counts and files of the action are there for the workflow."""
    good, drifted = _outputs(story.good), _outputs(story.drifted)

    assert (good["outcome"], good["exit-code"], good["comment-url"]) == ("passed", "0", "")
    assert (drifted["outcome"], drifted["exit-code"]) == ("failed", "10")
    assert _counted(good) == {"match": 4}
    assert _counted(drifted) == {"match": 3, "drift": 1}
    assert drifted["comment-url"].endswith(f"#issuecomment-{story.drifted.comments[0].id}")
    assert story.drifted.log.step("files").lines == ["# Reproducibility report"]


def test_the_token_is_nowhere(story: Story) -> None:
    """Neither the log, nor the summary, nor an artifact, nor the comment holds it."""
    scene = story.drifted
    uploaded = [file.read_text("utf-8") for file in scene.artifacts.rglob("*") if file.is_file()]

    assert OF_JOB not in "".join([scene.log.text, scene.comment, *uploaded])


def test_annotations_are_few(story: Story) -> None:
    """GitHub keeps ten of each level of a whole action."""
    levels = [note.level for note in story.drifted.log.annotations]

    assert {level: levels.count(level) for level in set(levels)} == {"error": 1}


def _marker_in(comment: str) -> Marker:
    """Return the marker of a comment; which job wrote it is of no interest here."""
    marker = marker_of(comment)
    assert marker is not None
    return replace(marker, writer=None)


def _marker(run: int, state: CommentState) -> Marker:
    return Marker(name="repro-gate", run=RunId(run, 1), state=state, found=True)


def _ids(scene: Scene) -> list[int]:
    return [comment.id for comment in scene.comments]


def _outputs(scene: Scene) -> Mapping[str, str]:
    outputs: dict[str, Any] = json.loads(scene.log.step("later").text)
    return outputs


def _counted(outputs: Mapping[str, str]) -> dict[str, int]:
    counts: dict[str, int] = json.loads(outputs["counts"])
    return {verdict: count for verdict, count in counts.items() if count}
