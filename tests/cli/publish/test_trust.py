"""`publish` with untrusted input: forks, hostile models and files; and the safety of the token."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from repro_gate.core.comments import marker_of
from tests.cli.publish.jobs import RUN, Job, states, workflow_run
from tests.cli.workspaces import Workspace, contents_of
from tests.fakes.github.server import Github
from tests.fakes.github.world import OF_JOB, Pull, World

_FOX_1 = {"method": "generate", "prompt": "Say fox", "seed": 1}


@pytest.fixture
def forked(github: Github) -> Pull:
    """Return the pull request that a fork has opened, as the only one."""
    pull = Pull(number=7, owner="mallory")
    github.world.pulls[7] = pull
    return pull


@pytest.mark.parametrize(
    ("name", "conclusion", "state"),
    [
        ("red_job", "failure", "failed"),
        ("green_job", "success", "passed"),
        # Whoever opened the pull request decides what its run leaves behind.
        ("green_job", "failure", "broken"),
    ],
)
@pytest.mark.usefixtures("forked")
def test_a_run_of_a_fork_is_published_by_another(
    request: pytest.FixtureRequest, github: Github, name: str, conclusion: str, state: str
) -> None:
    """From its download, and never better than the conclusion of the run."""
    theirs: Job = request.getfixturevalue(name)
    download = shutil.copytree(theirs.workspace.output, theirs.folder / "download")
    event = workflow_run(conclusion=conclusion)
    job = replace(theirs, event_name="workflow_run", event=event, run=RUN + 5)

    ran = job.publish("--output", str(download), "--comment", "always", "--from-workflow-run")

    (body,) = github.world.bodies()
    marker = marker_of(body)
    assert marker
    assert (ran.code, ran.out, marker.run.run, marker.state.value) == (0, "", RUN, state)
    assert job.summary().count("This is the result of another run, at [`c0ffee0`]") == 1
    assert job.outputs()["outcome"] == state


def test_the_token_is_written_nowhere(red_job: Job, github: Github) -> None:
    """Not in a file, a comment or an output, nor when it is refused."""
    github.world.tokens.clear()
    refused = red_job.publish()
    before = contents_of(red_job.folder)
    github.world.tokens.update(World().tokens)

    ran = red_job.publish()

    files = (contents_of(red_job.folder), contents_of(red_job.workspace.folder), before)
    written = [content for each in files for content in each.values()]
    output = "".join((ran.out, ran.err, refused.out, refused.err, *github.world.bodies()))
    assert "status 401 (Unauthorized): Bad credentials" in refused.out
    assert (OF_JOB in output, any(OF_JOB.encode() in each for each in written)) == (False, False)
    assert {asked.by for asked in github.world.asked} == {None, "github-actions[bot]"}


_ENEMY = [
    *(b"::error::x", b"\n::stop-commands::x\n", b"\r::set-output name=x::y", b"\n##[error]x"),
    *(b"<!-- repro-gate/comment/v1 name=repro-gate run=999999 attempt=9 state=passed", b" -->"),
    *(b"\n```\n@maintainer #1 octo/gate#1", b"`` ` </details><img src=x>", b"\x1b[31m\xff"),
    *(b"\nghadelimiter_x\noutcome<<E\npassed\nE\n", "\N{RIGHT-TO-LEFT OVERRIDE}".encode()),
]


@pytest.fixture(scope="module")
def hostile(recorded_once: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return a workspace whose model, engine and facts are an enemy's, not to be changed."""
    tokens = [[number, piece.hex()] for number, piece in enumerate(_ENEMY)]
    words = b" ".join(_ENEMY).decode("utf-8", errors="replace")
    prompts = {
        name: {"text": f"Say {name}", "temperature": 0.7, "max_tokens": len(_ENEMY)}
        for name in ("haiku", "fox")
    }
    workspace = recorded_once.copied_to(tmp_path_factory.mktemp("hostile"))
    workspace.write_matrix(prompts_table=prompts)
    assert workspace.record().code == 0
    workspace.write_script(
        {**_FOX_1, "result": {"tokens": tokens}},
        {**_FOX_1, "seed": 2, "refuse": {"kind": "internal", "message": words}},
        {"method": "describe", "result": {"facts": {"device.name": words, words: "x"}}},
        {"method": "load", "result": {"facts": {"model.name": words}}},
    )
    assert workspace.run("check").code == 10
    return workspace


@pytest.fixture
def hostile_job(hostile: Workspace, github: Github, tmp_path: Path) -> Job:
    """Return the job of a check whose every word is an enemy's."""
    return Job(workspace=hostile, folder=tmp_path, api_url=github.api_url)


def test_hostile_text_is_neither_a_command_nor_a_marker(hostile_job: Job, github: Github) -> None:
    """In the comment and on stdout it is plain text."""
    ran = hostile_job.publish()

    (body,) = github.world.bodies()
    lines = ran.out.splitlines()
    ours = re.compile(r"::(error|warning) (file=[\w/.-]+,line=\d+,)?title=[^:,]+::[^:].*")
    assert (ran.code, ran.err, len(lines)) == (0, "", 2)
    assert [line for line in lines if not ours.fullmatch(line)] == []
    assert ("##[" in ran.out, ran.out.replace("\n", "").isprintable()) == (False, True)
    assert "stop-commands" in ran.out
    assert "stop-commands" in body
    assert [state for _, state, _ in states(github.world)] == ["failed"]
    assert marker_of(body.partition("\n")[2]) is None
    outputs = hostile_job.outputs()
    counts = {"match": 2, "drift": 1, "inconclusive": 1}
    assert (outputs["outcome"], json.loads(outputs["counts"])) == ("failed", counts)


def test_a_comment_with_hostile_words_is_found_again(hostile_job: Job, github: Github) -> None:
    """No marker in the text hides our own, which the next run looks for."""
    hostile_job.publish()

    replace(hostile_job, run=RUN + 1).publish("--running", "--output", "elsewhere")

    ((_, state, found),) = states(github.world)
    assert (state, found) == ("running", True)
