"""`accept find`, `accept record` and `accept answer`, each as a step of a job."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from repro_gate.adapters.files.results import read_report, require_finished
from repro_gate.core.changes.groups import change_groups
from tests.cli.publish.jobs import RUN, Job, new_comment
from tests.cli.workspaces import PROFILE, Ran, Workspace, contents_of
from tests.fakes.github.server import Github
from tests.fakes.github.world import MAINTAINER, STRANGER, Account, Artifact, Pull
from tests.fakes.github.world import Run as CheckRun

_FOX = "tiny--fox--seed1"
_GOLDEN = f"snapshots/goldens/{PROFILE}/{_FOX}.json"
_ACCEPT = "/repro-gate accept"


@pytest.fixture
def job_for(drifted: Workspace, github: Github, tmp_path: Path) -> Callable[..., Job]:
    """Return a maker of jobs for a comment, in a checkout with the result of a drifted check."""
    checkout = drifted.copied_to(tmp_path / "checkout")
    checkout.output.rename(tmp_path / "result")
    github.world.permissions["maintainer"] = "write"
    github.world.runs = [CheckRun(id=RUN)]
    github.world.artifacts = [Artifact(id=9, run=RUN)]

    def make(body: str = _ACCEPT, by: Account = MAINTAINER) -> Job:
        return Job(
            workspace=checkout,
            folder=tmp_path,
            api_url=github.api_url,
            event_name="issue_comment",
            event=new_comment(body, by=by),
        )

    return make


def _record(job: Job, *arguments: str, result: Path | None = None) -> Ran:
    source = str(result or job.folder / "result")
    folders = ("--from", source, "--output", str(job.folder / "accepted"))
    return job.step("accept", "record", "--run", str(RUN), *folders, *arguments)


def test_the_result_of_the_head_is_found(job_for: Callable[..., Job]) -> None:
    """Its commit and branch, and the ids of run and artifact, are the outputs."""
    job = job_for()

    ran = job.step("accept", "find")

    assert (ran.code, ran.err) == (0, "")
    assert job.outputs() == {
        "head": Pull(number=7).sha,
        "branch": "topic",
        "run": str(RUN),
        "artifact": "9",
    }


def test_nobody_else_may_accept(job_for: Callable[..., Job], github: Github) -> None:
    """The answer has the reason and what to do, and nothing else was asked of GitHub."""
    job = job_for(by=STRANGER)

    ran = job.step("accept", "find")

    assert ran.code == 4
    assert job.outputs() == {
        "answer": "❌ **Nothing was recorded.**\n\n```text\n"
        "the author of the comment has no write access to this repository\n"
        "try: ask somebody with write access to comment\n```\n"
    }
    assert github.world.asks() == ["GET /repos/octo/gate/collaborators/mallory/permission"]


def test_without_a_token_there_is_an_answer(job_for: Callable[..., Job]) -> None:
    """The reason is that of every other command that needs one."""
    job = job_for()

    ran = job.step("accept", "find", GITHUB_TOKEN="")

    assert ran.code == 4
    assert "there is no GITHUB_TOKEN" in job.outputs()["answer"]


@pytest.mark.parametrize("command", [["find"], ["answer"]])
def test_another_event_is_a_wrong_command_line(
    job_for: Callable[..., Job], command: list[str]
) -> None:
    """Also outside of GitHub Actions."""
    job = replace(job_for(), event_name="push")

    ran = job.step("accept", *command)

    assert (ran.code, ran.out) == (2, "")
    assert "the event is not issue_comment" in ran.err


def test_what_is_accepted_is_recorded_and_copied(job_for: Callable[..., Job]) -> None:
    """The changed golden, its digest, and a message with who accepted it."""
    job = job_for(f"{_ACCEPT} *fox*")
    before = contents_of(job.workspace.snapshots)

    ran = _record(job)

    after = contents_of(job.workspace.snapshots)
    golden = (job.workspace.folder / _GOLDEN).read_bytes()
    sums = f"{hashlib.sha256(golden).hexdigest()}  {_GOLDEN}\n"
    message = (
        "Accept the output of the gate\n\nAccepted-by: maintainer\n"
        f"Accepted-run: https://github.com/octo/gate/actions/runs/{RUN}\nAccepted-cells: *fox*\n"
    )
    assert (ran.code, ran.err, job.workspace.asked("start")) == (0, "", [])
    assert [name for name in after if after[name] != before.get(name)] == [
        _GOLDEN.removeprefix("snapshots/")
    ]
    assert contents_of(job.folder / "accepted") == {
        f"files/{_GOLDEN}": golden,
        "sha256sums.txt": sums.encode(),
        "message.txt": message.encode(),
    }
    assert job.outputs()["sums"] == hashlib.sha256(sums.encode()).hexdigest()


def test_the_changes_are_shown_as_an_update_shows_them(job_for: Callable[..., Job]) -> None:
    """In the answer, and in the log, where no line of them can be a command of the runner."""
    job = job_for()

    ran = _record(job)

    changes = job.outputs()["changes"]
    assert changes.startswith("Recorded 1 file, as `maintainer` asked.\n\n<details>")
    assert f"updated    {PROFILE}/{_FOX}: diverges at output[0]" in changes
    assert all(line.startswith("| ") for line in ran.out.splitlines())


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        ("*haiku*", 4, "there is nothing to accept"),
        ("*owl*", 4, "no cell of the matrix matches *owl*"),
        ("--cause 00000000", 2, "no change has the cause '00000000'"),
        ("everything please", 4, "the comment is not understood"),
    ],
)
def test_what_cannot_be_accepted_is_answered(
    job_for: Callable[..., Job], words: str, code: int, reason: str
) -> None:
    """Nothing changed, no such cells, no such cause; nothing is written."""
    job = job_for(f"{_ACCEPT} {words}")
    before = contents_of(job.workspace.snapshots)

    ran = _record(job)

    assert (ran.code, list(job.outputs())) == (code, ["answer"])
    assert reason in job.outputs()["answer"]
    assert contents_of(job.workspace.snapshots) == before
    assert not (job.folder / "accepted").exists()


@pytest.mark.parametrize("words", ["*haiku--seed1", "--cause {}"])
def test_cells_whose_runs_differ_are_not_recorded(
    job_for: Callable[..., Job], words: str, tmp_path: Path
) -> None:
    """The answer names them, whether they were wanted by a pattern or by their cause."""
    measured = job_for().workspace.copied_to(tmp_path / "measured")
    rule = {"method": "generate", "prompt": "Say haiku", "seed": 1, "time": 2}
    measured.write_script(rule | {"result": {"tokens": [[5, b" 5".hex()]]}})
    assert measured.run("check").code == 10
    (group,) = change_groups(require_finished(read_report(measured.output), Path()).report)
    job = job_for(f"{_ACCEPT} {words.format(group.id)}")

    ran = _record(job, result=measured.output)

    answer = job.outputs()["answer"]
    assert ran.code == 4
    assert "there is nothing to accept: refused tiny--haiku--seed1: nondeterministic" in answer
    assert "its runs differ from each other" in answer


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("*fox*", "the goldens of these cells are recorded on another profile"),
        ("", "goldens of other are recorded on another profile"),
    ],
)
def test_cells_of_another_profile_are_not_recorded(
    job_for: Callable[..., Job], words: str, reason: str
) -> None:
    """Their suite is against a profile, so their goldens are recorded there."""
    job = job_for(f"{_ACCEPT} {words}")
    usual = {"runs": 2, "seeds": [1, 2], "prompts": {"tiny": ["haiku"]}}
    other = {**usual, "prompts": {"tiny": ["fox"]}, "kind": "reference", "against": "gpu"}
    job.workspace.write_matrix(suites={"quick": usual, "other": other})

    ran = _record(job)

    assert ran.code == 4
    assert reason in job.outputs()["answer"]


def test_an_invalid_artifact_is_answered(job_for: Callable[..., Job]) -> None:
    """With the file and what is wrong with it."""
    job = job_for()
    (job.folder / "result" / "report.json").write_text("{", "utf-8")

    ran = _record(job)

    assert ran.code == 3
    assert "report.json: " in job.outputs()["answer"]


def test_a_matrix_outside_of_the_checkout_is_refused(job_for: Callable[..., Job]) -> None:
    """What was recorded could not be pushed from there."""
    job = job_for()
    inner = replace(job.workspace, folder=job.workspace.folder / "inner")
    inner.folder.mkdir()

    ran = _record(replace(job, workspace=inner), "--config", "../repro-gate.toml")

    assert ran.code == 2
    assert "the matrix must be below the working directory" in ran.err


def test_update_snapshots_stays_refused_in_ci(job_for: Callable[..., Job]) -> None:
    """Only a comment makes a job record."""
    ran = job_for().step("update-snapshots", "--from", "../result", "--yes")

    assert ran.code == 2
    assert "goldens are not updated in CI" in ran.err


def test_the_answer_names_the_commit(job_for: Callable[..., Job], github: Github) -> None:
    """And how to start the check, as GitHub starts none for the token of a job."""
    commit = "a" * 40

    ran = job_for().step("accept", "answer", "--text", "Recorded 1 file.", "--commit", commit)

    (body,) = github.world.bodies()
    assert (ran.code, ran.err) == (0, "")
    assert body.splitlines()[0] == f"<!-- repro-gate/accept/v1 run={RUN} attempt=1 -->"
    assert f"### ✅ Accepted as [`aaaaaaa`](https://github.com/octo/gate/commit/{commit})" in body
    assert "\n\nRecorded 1 file.\n\n**No check has started for this commit**" in body


def test_an_answer_that_cannot_be_posted_fails_the_job(
    job_for: Callable[..., Job], github: Github
) -> None:
    """Its log has the reason."""
    github.world.pulls[7] = Pull(number=7, is_locked=True)

    ran = job_for().step("accept", "answer")

    assert ran.code == 4
    assert "issue is locked" in ran.err
