"""`publish` with something missing, broken or forbidden: a warning, and the same verdict."""

from dataclasses import replace

import pytest

from repro_gate.core.comments import CommentState, Marker, RunId
from tests.cli.publish.jobs import RUN, Job, pull_request, states
from tests.fakes.github.server import Github
from tests.fakes.github.world import ACTIONS, OF_FORK, Fault

_PASSED = Marker(
    name="repro-gate", run=RunId(RUN - 1, 1), state=CommentState.PASSED, workflow="gate.yml"
)


def test_a_killed_check_is_not_a_pass(own_job: Job, github: Github) -> None:
    """It left no report, and an earlier green comment does not stay."""
    comment = github.world.comment(ACTIONS, f"{_PASSED}\nAll is well.")

    ran = own_job.publish()

    assert states(github.world) == [(comment.id, "broken", False)]
    assert "No verdict: the check left no result" in comment.body
    message = "It was killed, timed out or never started."
    assert (ran.code, ran.out) == (0, f"::error title=The check left no result::{message}\n")
    assert own_job.outputs() == {
        "outcome": "broken",
        "exit-code": "",
        "counts": "{}",
        "comment-url": f"{github.server_url}/octo/gate/pull/7#issuecomment-{comment.id}",
        **dict.fromkeys(("report", "report-json", "junit"), ""),
    }


def test_a_broken_matrix_is_shown_with_its_message(own_job: Job, github: Github) -> None:
    """Nobody needs to search the log for it."""
    own_job.workspace.write_matrix(runs="ten")
    own_job.workspace.output.mkdir()
    assert own_job.workspace.run("check").code == 3

    ran = own_job.publish()

    message = "repro-gate.toml: suites.quick.runs: expected an integer, found 'ten'"
    (body,) = github.world.bodies()
    assert (ran.code, own_job.outputs()["exit-code"]) == (0, "3")
    assert f"```text\n{message}\n```" in body
    assert ran.out == f"::error title=The check could not run::{message}\n"
    assert message in own_job.summary()


@pytest.mark.parametrize("content", ["{", '{"schema": "repro-gate/report/v2"}'])
def test_an_invalid_report_is_no_verdict(own_job: Job, github: Github, content: str) -> None:
    """The message names the file."""
    own_job.workspace.output.mkdir()
    (own_job.workspace.output / "report.json").write_text(content, "utf-8")

    ran = own_job.publish()

    assert (ran.code, [state for _, state, _ in states(github.world)]) == (0, ["broken"])
    assert ".repro-gate/report.json: " in github.world.bodies()[0]
    assert (own_job.outputs()["outcome"], own_job.outputs()["exit-code"]) == ("broken", "3")


def test_an_unreadable_folder_is_not_a_failure(own_job: Job) -> None:
    """The command exits with 0, and the outcome is unknown."""
    name = "x" * 300

    running, ran = (own_job.publish(*more, "--output", name) for more in (["--running"], []))

    assert (running.code, ran.code, own_job.outputs()["outcome"]) == (0, 0, "broken")
    assert running.out.endswith("x: File name too long\n")


def test_a_read_only_token_is_a_warning(red_job: Job, github: Github) -> None:
    """The verdict stands, and the summary names the missing permission."""
    ran = replace(red_job, token=OF_FORK).publish()

    (warning,) = (line for line in ran.out.splitlines() if line.startswith("::warning "))
    message = "The comment could not be posted: GitHub: status 403 (Forbidden)"
    assert (ran.code, github.world.bodies(), ran.out.startswith("::error file=")) == (0, [], True)
    assert warning.startswith(f"::warning title=repro-gate::{message}")
    assert "grant `pull-requests: write`" in warning
    assert red_job.summary().startswith(f"**Note**: ``{message}")
    assert red_job.outputs()["comment-url"] == ""


def test_a_fork_that_cannot_comment_is_a_notice(red_job: Job) -> None:
    """It is expected, and the notice names the workflow that can comment."""
    fork = replace(red_job, token=OF_FORK, event=pull_request(is_fork=True))

    ran = fork.publish()

    message = (
        "A run from a fork cannot comment; a workflow triggered by workflow_run can: "
        "GitHub: status 403"
    )
    assert (ran.code, "::warning" in ran.out) == (0, False)
    assert f"::notice title=repro-gate::{message}" in ran.out
    assert fork.summary().startswith(f"**Note**: ``{message}")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"GITHUB_TOKEN": ""}, "there is no GITHUB_TOKEN to comment with"),
        ({"GITHUB_TOKEN": "one\ntwo"}, "GITHUB_TOKEN contains a character that no token has"),
        ({"GITHUB_API_URL": "http://example.org"}, "neither https:// nor on this machine"),
        ({"GITHUB_EVENT_PATH": "/nowhere"}, "the event cannot be read: /nowhere"),
    ],
)
def test_a_problem_before_the_comment_is_a_warning(
    red_job: Job, github: Github, variables: dict[str, str], message: str
) -> None:
    """No request is made, and everything else is published as usual."""
    ran = red_job.publish(**variables)

    assert (ran.code, github.world.asks()) == (0, [])
    warnings = [line for line in ran.out.splitlines() if line.startswith("::warning ")]
    assert warnings[0].startswith("::warning title=repro-gate::")
    assert message in warnings[0]
    assert message in red_job.summary()
    assert red_job.outputs()["outcome"] == "failed"


def test_a_server_that_is_down_is_a_warning(red_job: Job, github: Github) -> None:
    """A request to wait for an hour is not honoured."""
    github.world.strike(Fault(status=503, headers={"retry-after": "3600"}, times=9))

    ran = red_job.publish()

    assert (ran.code, github.world.bodies()) == (0, [])
    message = "GitHub: status 503 (Service Unavailable); waiting 3600 s would exceed the deadline"
    assert f"::warning title=repro-gate::The comment could not be posted: {message}" in ran.out


def test_a_server_that_recovers_gets_the_comment(red_job: Job, github: Github) -> None:
    """One failed response is retried without a warning."""
    github.world.strike(Fault(method="POST", status=502))

    ran = red_job.publish()

    assert (ran.code, "::warning" in ran.out, len(github.world.comments)) == (0, False, 1)


def test_files_that_cannot_be_written_are_warnings(red_job: Job) -> None:
    """A missing file or a full disk changes no verdict."""
    gone = dict.fromkeys(("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT"), "/nowhere/x")
    codes = [red_job.publish("--comment", "never", **dict.fromkeys(gone, "")).code]

    ran = red_job.publish("--comment", "never", **gone)

    codes.append(ran.code)
    message = [line.partition("::The ")[0] for line in ran.out.splitlines()[1:]]
    assert codes == [0, 0]
    assert message == [
        f"::warning title=repro-gate::{what} cannot be written: No such file or directory"
        for what in ("the job summary", "the outputs")
    ]


def test_a_run_without_an_id_is_a_warning(own_job: Job) -> None:
    """There is no page to link to, and no comment to compare with."""
    ran = own_job.publish(GITHUB_RUN_ID="")

    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "::warning title=repro-gate::GITHUB_RUN_ID is not a number\n"


@pytest.mark.parametrize(
    ("arguments", "variables", "message"),
    [
        ((), {"GITHUB_ACTIONS": ""}, "publish must run inside GitHub Actions"),
        (("--name", "a b"), {}, "--name: a name has 1 to 100 letters, digits, dots, dashes"),
        (("--comment", "often"), {}, "Invalid value for '--comment'"),
    ],
    ids=["elsewhere", "name", "comment"],
)
def test_a_wrong_command_line_is_2(
    own_job: Job, arguments: tuple[str, ...], variables: dict[str, str], message: str
) -> None:
    """Only that makes publish fail, with a message and without any file."""
    ran = own_job.publish(*arguments, **variables)

    assert (ran.code, ran.out, message in ran.err) == (2, "", True)
    assert [file.name for file in own_job.folder.iterdir()] == ["event.json"]


def test_an_invalid_shard_is_reported_in_the_job_summary(own_job: Job, github: Github) -> None:
    """The check refused it; there is no comment."""
    own_job.workspace.output.mkdir()
    assert own_job.workspace.run("check", "--shard", "9/8").code == 2

    ran = own_job.publish("--shard", "9/8")

    assert (ran.code, github.world.asks()) == (0, [])
    assert (own_job.outputs()["outcome"], own_job.outputs()["exit-code"]) == ("broken", "2")
    assert "9/8" in own_job.summary()
