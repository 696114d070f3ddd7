"""The run in the variables and files of the runner, for every event and any content."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repro_gate.adapters.github.run import (
    GithubEnvironment,
    read_environment,
    writer_in,
)
from repro_gate.adapters.http.secret import Secret
from repro_gate.core.comments import CiRun, RunId

SHA = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00"
MERGE = "0123456789012345678901234567890123456789"
OWN = CiRun(
    id=RunId(4321, 2),
    repository="octo/gate",
    head_sha=MERGE,
    head_owner="octo",
    head_branch="topic",
    server_url="https://github.com",
    workflow="gate.yml",
    event="pull_request",
)
PULL_REQUEST = {
    "number": 7,
    "pull_request": {
        "number": 7,
        "head": {
            "sha": SHA,
            "ref": "topic",
            "repo": {"full_name": "octo/gate", "owner": {"login": "octo"}},
        },
    },
}
WORKFLOW_RUN = {
    "workflow_run": {
        "id": 99,
        "path": ".github/workflows/gate.yml",
        "run_attempt": 3,
        "event": "pull_request",
        "head_sha": SHA,
        "head_branch": "topic",
        "head_repository": {"full_name": "mallory/gate", "owner": {"login": "mallory"}},
        "conclusion": "success",
        "pull_requests": [{"number": 1}],
    }
}
Reader: TypeAlias = Callable[..., GithubEnvironment]


def changed(document: Any, *path: str, to: Any) -> Any:
    """Return a document with one value replaced."""
    name, *rest = path
    return {**document, name: changed(document[name], *rest, to=to) if rest else to}


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    """Return a function that reads an environment with an event and changed variables."""

    def reader(
        name: str, event: Any, *, from_workflow_run: bool = False, **variables: str
    ) -> GithubEnvironment:
        file = tmp_path / "event.json"
        file.write_bytes(event if isinstance(event, bytes) else json.dumps(event).encode())
        environ = {
            "GITHUB_ACTIONS": "true",
            "GITHUB_EVENT_NAME": name,
            "GITHUB_EVENT_PATH": str(file),
            "GITHUB_REPOSITORY": "octo/gate",
            "GITHUB_REF_NAME": "topic",
            "GITHUB_RUN_ATTEMPT": "2",
            "GITHUB_RUN_ID": "4321",
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_SHA": MERGE,
            "GITHUB_WORKFLOW_REF": "octo/gate/.github/workflows/gate.yml@refs/pull/7/merge",
        }
        return read_environment(environ | variables, from_workflow_run=from_workflow_run)

    return reader


def test_outside_of_github_there_is_no_run() -> None:
    """A laptop has neither a run nor the runner's files."""
    assert read_environment({}) == GithubEnvironment(run=None)


def test_the_files_and_the_token_of_a_step_are_found() -> None:
    """Whether or not the run is known."""
    environ = {
        "GITHUB_API_URL": "https://ghe.example/api/v3/",
        "GITHUB_OUTPUT": "/run/output",
        "GITHUB_STEP_SUMMARY": "/run/summary",
        "GITHUB_TOKEN": "ghs_secret",
        "GITHUB_WORKSPACE": "/work",
    }

    assert read_environment(environ) == GithubEnvironment(
        run=None,
        api_url="https://ghe.example/api/v3",
        output_file=Path("/run/output"),
        summary_file=Path("/run/summary"),
        workspace=Path("/work"),
        token=Secret("ghs_secret"),
    )


def test_a_token_is_shown_nowhere() -> None:
    """Neither its repr nor that of its owner shows it."""
    environment = read_environment({"GITHUB_TOKEN": "ghs_secret"})

    assert "ghs_secret" not in repr(environment)
    assert environment.token.headers == {"Authorization": "Bearer ghs_secret"}


@pytest.mark.parametrize("secret", ["", "  \n"])
def test_an_empty_token_is_none(secret: str) -> None:
    """An action passes on a missing input as an empty variable."""
    assert read_environment({"GITHUB_TOKEN": secret}) == GithubEnvironment(run=None)


def test_a_token_that_no_header_allows_is_none() -> None:
    """The problem names the variable, and not its content."""
    environment = read_environment({"GITHUB_TOKEN": "ghs_one\r\nX-Header: two"})

    assert environment.token == Secret()
    assert environment.problem == "GITHUB_TOKEN contains a character that no token has"


def test_a_pull_request_is_identified_by_its_head(read: Reader) -> None:
    """Not by the checked-out merge commit, which its author never sees."""
    assert read("pull_request", PULL_REQUEST).run == CiRun(
        id=RunId(4321, 2),
        repository="octo/gate",
        head_sha=SHA,
        head_owner="octo",
        head_branch="topic",
        server_url="https://github.com",
        workflow="gate.yml",
        event="pull_request",
        pull_request=7,
    )


def test_a_pull_request_from_a_fork_is_recognized(read: Reader) -> None:
    """Its branch is in another repository."""
    repository = {"full_name": "mallory/gate", "owner": {"login": "mallory"}}
    event = changed(PULL_REQUEST, "pull_request", "head", "repo", to=repository)

    run = read("pull_request", event).run

    assert run is not None
    assert (run.head_owner, run.from_fork, run.pull_request) == ("mallory", True, 7)


def test_a_deleted_fork_has_no_owner(read: Reader) -> None:
    """GitHub then has null in place of the repository."""
    event = changed(PULL_REQUEST, "pull_request", "head", "repo", to=None)

    run = read("pull_request", event).run

    assert run is not None
    assert (run.head_owner, run.from_fork, run.pull_request) == ("", True, 7)


def test_the_case_of_a_repository_makes_no_fork(read: Reader) -> None:
    """GitHub's names are case-insensitive."""
    run = read("pull_request", PULL_REQUEST, GITHUB_REPOSITORY="Octo/Gate").run

    assert run is not None
    assert not run.from_fork


def test_another_run_is_read_from_workflow_run(read: Reader) -> None:
    """It has its own id, attempt, head and conclusion; its list of pull requests is not trusted."""
    assert read("workflow_run", WORKFLOW_RUN, from_workflow_run=True).run == CiRun(
        id=RunId(99, 3),
        repository="octo/gate",
        head_sha=SHA,
        head_owner="mallory",
        head_branch="topic",
        server_url="https://github.com",
        workflow="gate.yml",
        event="workflow_run",
        from_fork=True,
        from_workflow_run=True,
        conclusion="success",
    )


def test_another_run_is_known_from_its_event_only(read: Reader) -> None:
    """Without the event, its report cannot pass for a success."""
    environment = read("push", WORKFLOW_RUN, from_workflow_run=True)

    assert environment.run == replace(OWN, event="push", from_workflow_run=True)
    problem = "the event is not workflow_run, so it has no other run"
    assert environment.problem == problem


@pytest.mark.parametrize(
    ("path", "file"),
    [
        ("octo/gate/.github/workflows/gate.yml@refs/heads/a@b.yml", "gate.yml"),
        (".github/workflows/two words.yaml", "two words.yaml"),
        (".github/workflows/gate.yml@main", "gate.yml"),
        ("dynamic/pages", ""),
        ("", ""),
    ],
)
def test_a_workflow_is_identified_by_its_file(read: Reader, path: str, file: str) -> None:
    """From the variables or the event, with or without a branch after it."""
    own = read("push", {}, GITHUB_WORKFLOW_REF=path).run
    event = changed(WORKFLOW_RUN, "workflow_run", "path", to=path)
    another = read("workflow_run", event, from_workflow_run=True).run

    assert own is not None
    assert another is not None
    assert (own.workflow, another.workflow) == (file, file)


@pytest.mark.parametrize(
    "event",
    [
        *("push", "schedule", "workflow_dispatch", "merge_group", "new"),
        # The branch that is merged into is checked out, and nothing of the pull request.
        "pull_request_target",
        # A gate of its own, started by the end of another workflow.
        "workflow_run",
    ],
)
def test_other_events_have_no_pull_request(read: Reader, event: str) -> None:
    """They have the commit of the variables, and their payload is not read."""
    environment = read(event, b"{ no JSON")

    assert (environment.run, environment.problem) == (replace(OWN, event=event), None)


_JOB = {
    "GITHUB_JOB": "gate",
    "GITHUB_REPOSITORY": "octo/gate",
    "GITHUB_RUN_ATTEMPT": "2",
    "GITHUB_RUN_ID": "4321",
    "RUNNER_NAME": "gpu-1",
    "RUNNER_TRACKING_ID": "github_one",
}


@pytest.mark.parametrize("name", ["GITHUB_JOB", "RUNNER_NAME", "RUNNER_TRACKING_ID"])
def test_jobs_of_one_run_are_different_writers(name: str, tmp_path: Path) -> None:
    """So are jobs of a matrix on one or several runners, and two steps of a job."""
    ours = writer_in(_JOB, tmp_path)
    others = [writer_in(_JOB | {name: "other"}, tmp_path), writer_in(_JOB, tmp_path / "second")]

    assert ours == writer_in(_JOB, tmp_path)
    assert ours is not None
    assert ours.run == RunId(4321, 2)
    assert len({ours, *others}) == 3


def test_a_run_without_an_id_has_no_writer(tmp_path: Path) -> None:
    """Whatever else is known about the job."""
    assert writer_in(_JOB | {"GITHUB_RUN_ID": ""}, tmp_path) is None


def test_names_are_data(read: Reader) -> None:
    """A branch may have any name that git allows."""
    branch = "a`$(id)`;<!-- -->\u202e%0A::error::\N{PILE OF POO}"
    event = changed(PULL_REQUEST, "pull_request", "head", "ref", to=branch)

    run = read("pull_request", event).run

    assert run is not None
    assert run.head_branch == branch


BROKEN = {
    "no JSON": b"{",
    "no object": b"[]",
    "no text": b"\xff\xfe",
    "nested": b"[" * 100_000,
    "no number": json.dumps(changed(PULL_REQUEST, "pull_request", "number", to=True)).encode(),
    "number 0": json.dumps(changed(PULL_REQUEST, "pull_request", "number", to=0)).encode(),
    "no head": json.dumps(changed(PULL_REQUEST, "pull_request", "head", to="x")).encode(),
    "no commit": json.dumps(changed(PULL_REQUEST, "pull_request", "head", "sha", to="")).encode(),
    "half a pair": json.dumps(
        changed(PULL_REQUEST, "pull_request", "head", "ref", to="\ud800")
    ).encode(),
    "NaN": b'{"pull_request": NaN}',
}


@pytest.mark.parametrize("payload", BROKEN.values(), ids=BROKEN)
def test_a_broken_event_leaves_a_run_without_a_pull_request(read: Reader, payload: bytes) -> None:
    """The result can still be written to the summary, with the problem."""
    environment = read("pull_request", payload)

    assert environment.run == OWN
    assert environment.problem


def test_a_broken_event_of_another_run_cannot_pass_for_a_success(read: Reader) -> None:
    """It is known to be another run, and nothing else."""
    environment = read("workflow_run", b"{}", from_workflow_run=True)

    assert environment.run is not None
    assert environment.run.from_workflow_run
    assert environment.run.conclusion is None
    expected = "expected an integer of at least 1, found nothing"
    assert environment.problem == f"workflow_run.id: {expected}"


def test_a_missing_event_is_a_problem(read: Reader, tmp_path: Path) -> None:
    """As a file that does not exist or is not named."""
    missing = read("pull_request", PULL_REQUEST, GITHUB_EVENT_PATH=str(tmp_path / "none"))
    unnamed = read("pull_request", PULL_REQUEST, GITHUB_EVENT_PATH="")
    impossible = read("pull_request", PULL_REQUEST, GITHUB_EVENT_PATH="a\0b")

    assert [one.run for one in (missing, unnamed, impossible)] == [OWN] * 3
    missing_file = f"the event cannot be read: {tmp_path / 'none'}: expected a readable file"
    assert missing.problem == f"{missing_file}, found none"
    assert "found embedded null byte" in str(impossible.problem)
    assert unnamed.problem == "GITHUB_EVENT_PATH is not set"


def test_a_huge_event_is_not_read(read: Reader) -> None:
    """GitHub sends none of more than 25 MB."""
    environment = read("pull_request", b" " * ((1 << 25) + 1))

    assert str(environment.problem).endswith(": expected at most 33554432 bytes, found 33554433")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GITHUB_RUN_ID", ""),
        ("GITHUB_RUN_ID", "0"),
        ("GITHUB_RUN_ID", "-1"),
        ("GITHUB_RUN_ID", "\N{ARABIC-INDIC DIGIT ONE}"),
        ("GITHUB_RUN_ID", "9" * 400),
        ("GITHUB_RUN_ATTEMPT", "first"),
        ("GITHUB_REPOSITORY", ""),
    ],
)
def test_a_run_without_an_id_is_none(read: Reader, name: str, value: str) -> None:
    """No comment could be kept current by it."""
    environment = read("push", {}, **{name: value})

    assert environment.run is None
    assert name in (environment.problem or "")


def test_an_attempt_that_no_marker_takes_is_a_problem(read: Reader) -> None:
    """Of this run or of the one that ended."""
    event = changed(WORKFLOW_RUN, "workflow_run", "run_attempt", to=10**9)
    other = read("workflow_run", event, from_workflow_run=True)
    own = read("push", {}, GITHUB_RUN_ATTEMPT=str(10**9))

    assert (own.run, own.problem) == (None, "the attempt of the run is more than 999999999")
    assert (other.run is not None, other.problem) == (True, own.problem)
    assert other.run == replace(OWN, event="workflow_run", from_workflow_run=True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(
    event=st.sampled_from(["pull_request", "workflow_run", "push"]),
    payload=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.dictionaries(
            st.sampled_from(
                ["pull_request", "workflow_run", "head", "number", "id", "sha", "repo"]
            ),
            inner,
        ),
    ),
)
def test_no_event_makes_reading_fail(read: Reader, event: str, payload: Any) -> None:
    """Any content leaves a run to publish."""
    assert read(event, payload).run is not None
