"""Pull requests from forks: their runs cannot write, and their artifacts are untrusted."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from repro_gate.core.comments import DEFAULT_NAME, CommentState, Marker, RunId, marker_of
from tests.action.act.callers import Caller
from tests.action.act.scenes import Scene, Stage

pytestmark = pytest.mark.act

_WITHOUT_GPU = (("accelerator: cuda", "accelerator: none"), ("          device: cuda\n", ""))


@pytest.fixture(scope="module")
def base(recorded: Caller, tmp_path_factory: pytest.TempPathFactory) -> Caller:
    """Return the main branch, with both of our workflows."""
    caller = recorded.copied_to(tmp_path_factory.mktemp("base"))
    caller.adopt("gate.yml", *_WITHOUT_GPU)
    caller.adopt("gate-comment.yml")
    caller.commit()
    return caller


@pytest.fixture
def fork(
    base: Caller, staged: Callable[..., AbstractContextManager[Stage]], tmp_path: Path
) -> Generator[Stage]:
    """Return a pull request from a fork."""
    with staged(caller=base.copied_to(tmp_path), owner="visitor") as stage:
        yield stage


def test_a_fork_runs_nothing_unless_the_owner_wants_it(fork: Stage) -> None:
    """The runner is left alone, and the required job fails because the gate was not run."""
    scene = fork.play(1)

    assert scene.log.results == {"verdict": "failure"}
    assert scene.log.step("0", job="verdict").outcome == "failure"


def test_a_token_that_cannot_write_changes_no_verdict(fork: Stage) -> None:
    """The job is as red as it would have been, and the summary has the text of the comment."""
    scene = fork.play(1, Caller.tamper, GATE_FORKS="true")
    (notice,) = (note for note in scene.log.annotations if note.level == "notice")

    assert scene.log.results == {"gate": "failure", "verdict": "failure"}
    assert "exit status 10" in scene.log.text
    assert "workflow_run" in notice.message
    assert scene.comments == ()
    assert "```diff" in scene.log.summaries("gate")
    assert (scene.artifacts / "repro-gate" / "report.json").is_file()


def test_another_run_comments_for_a_fork(fork: Stage, base: Caller) -> None:
    """It publishes the artifact of the fork's run on the pull request that GitHub names."""
    fork.play(1, Caller.tamper, GATE_FORKS="true")
    scene = fork.publish(2, of=1, conclusion="failure", base=base)

    assert scene.log.results == {"comment": "success"}
    assert replace(_marker(scene), writer=None) == Marker(
        name=DEFAULT_NAME,
        run=RunId(1, 1),
        state=CommentState.FAILED,
        found=True,
        workflow="gate.yml",
        is_relayed=True,
    )
    assert "```diff" in scene.comment


@pytest.mark.parametrize("report", ["not JSON", '{"schema": "repro-gate/report/v1"}'])
def test_an_invalid_report_is_never_green(fork: Stage, base: Caller, report: str) -> None:
    """A fork can upload what it likes, and its run can end as it likes."""
    fork.push()
    _upload(fork, report)
    scene = fork.publish(2, of=1, conclusion="success", base=base)

    assert _marker(scene).state is CommentState.BROKEN


def test_a_passed_report_of_a_failed_run_is_not_trusted(fork: Stage, base: Caller) -> None:
    """The artifact reports a pass, and GitHub a failed run."""
    good = fork.play(1, GATE_FORKS="true")
    scene = fork.publish(2, of=1, conclusion="failure", base=base)

    assert good.log.results == {"gate": "success", "verdict": "success"}
    assert _marker(scene).state is CommentState.BROKEN


def test_a_run_of_a_fork_without_an_artifact_gets_a_comment(fork: Stage, base: Caller) -> None:
    """A killed run gets a comment too: without one it would look like a pass."""
    fork.push()
    scene = fork.publish(2, of=1, conclusion="failure", base=base)

    assert _marker(scene).state is CommentState.BROKEN


def _marker(scene: Scene) -> Marker:
    marker = marker_of(scene.comment)
    assert marker is not None
    return marker


def _upload(fork: Stage, report: str) -> None:
    artifact = fork.runner.artifact(1, DEFAULT_NAME)
    artifact.mkdir(parents=True)
    (artifact / "report.json").write_text(report, "utf-8")
