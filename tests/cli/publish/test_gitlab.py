"""`publish` in a job of GitLab CI/CD: one note for each job name, and the code quality report."""

import json
from collections.abc import Generator

import pytest

from repro_gate.core.comments import CommentState, marker_of
from tests.cli.workspaces import Ran, Workspace
from tests.fakes.gitlab.server import TOKEN, Gitlab, job_variables, serving


@pytest.fixture
def gitlab() -> Generator[Gitlab]:
    """Give a GitLab with one merge request."""
    with serving() as server:
        yield server


def _publish(
    workspace: Workspace, gitlab: Gitlab, *arguments: str, job: str = "5000000001", **env: str
) -> Ran:
    variables = job_variables(gitlab, job=job) | {"CI_PROJECT_DIR": str(workspace.folder)}
    return workspace.run("publish", *arguments, **(variables | env))


def _states(gitlab: Gitlab) -> list[tuple[int, CommentState]]:
    markers = [(note.id, marker_of(note.body)) for note in gitlab.notes]
    return [(id, marker.state) for id, marker in markers if marker is not None]


def test_a_drift_has_one_note_that_follows_the_job(
    drifted: Workspace, green: Workspace, gitlab: Gitlab
) -> None:
    """It shows the diff, opens the page and the files of the job, and is replaced in place."""
    ran = _publish(drifted, gitlab)
    (note,) = gitlab.notes
    first, body = note.id, note.body
    jobs = f"http://127.0.0.1:{gitlab.port}/group/sub/serving/-/jobs"

    assert (ran.code, ran.err) == (0, "")
    assert "### ❌ Failed at [`ddddddd`]" in body
    assert f"(http://127.0.0.1:{gitlab.port}/group/sub/serving/-/commit/{'d' * 40})" in body
    assert f"[Open the report]({jobs}/5000000001/artifacts/file/.repro-gate/report.html)" in body
    assert f"[full report]({jobs}/5000000001/artifacts/browse)" in body
    assert "```diff" in body
    assert "gh run download" not in body
    _publish(green, gitlab, job="5000000002")
    assert _states(gitlab) == [(first, CommentState.PASSED)]
    _publish(drifted, gitlab, job="5000000001")
    assert _states(gitlab) == [(first, CommentState.PASSED)]


def test_each_job_name_has_a_note_of_its_own(drifted: Workspace, gitlab: Gitlab) -> None:
    """Two gates of one pipeline."""
    _publish(drifted, gitlab)
    _publish(drifted, gitlab, CI_JOB_NAME="gate on a GPU: [cuda, 1/2]")

    assert [state for _, state in _states(gitlab)] == [CommentState.FAILED] * 2


def test_a_new_check_marks_the_note_as_outdated(recorded: Workspace, gitlab: Gitlab) -> None:
    """As on GitHub; without a note none is written."""
    _publish(recorded, gitlab, "--running")
    assert gitlab.notes == []

    _publish(recorded, gitlab, "--comment", "always")
    _publish(recorded, gitlab, "--running", job="5000000002")
    assert [state for _, state in _states(gitlab)] == [CommentState.RUNNING]


def test_the_code_quality_report_has_the_line_of_the_golden(
    drifted: Workspace, gitlab: Gitlab
) -> None:
    """The widget shows it in the diff of the merge request."""
    _publish(drifted, gitlab)
    report = json.loads((drifted.output / "gl-code-quality-report.json").read_text("utf-8"))
    drift = next(one for one in report if one["check_name"] == "drift")
    path = str(drifted.golden("tiny--fox--seed1").relative_to(drifted.folder))

    assert drift["location"]["path"] == path
    assert drift["location"]["lines"]["begin"] > 1
    assert drift["severity"] == "major"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"CI_MERGE_REQUEST_IID": "", "CI_PIPELINE_SOURCE": "push"},
            "only a merge request pipeline has one, and this is of push",
        ),
        ({"GITLAB_TOKEN": ""}, "The comment could not be posted: there is no GITLAB_TOKEN"),
        (
            {"GITLAB_TOKEN": "", "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "99"},
            "A pipeline of a fork has no token of this project",
        ),
    ],
)
def test_without_a_note_the_log_has_the_reason(
    drifted: Workspace, gitlab: Gitlab, changes: dict[str, str], line: str
) -> None:
    """And the exit code is 0: the verdict is that of the check."""
    ran = _publish(drifted, gitlab, **changes)

    assert (ran.code, gitlab.notes) == (0, [])
    assert line in ran.out


def test_no_output_has_the_token(drifted: Workspace, gitlab: Gitlab) -> None:
    """Also where GitLab refuses it."""
    gitlab.fail_with = [403]
    ran = _publish(drifted, gitlab)

    assert "GitLab: status 403" in ran.out
    assert TOKEN not in ran.out + ran.err
