"""`publish` in a job of GitHub Actions: real reports, a real process and real requests."""

import json
import re
from collections import Counter
from dataclasses import replace

import pytest

from repro_gate.core.comments import marker_of
from tests.cli.publish.jobs import RUN, Job, states, workflow_run
from tests.fakes.github.server import Github
from tests.fakes.github.world import World
from tests.fakes.reports import every_verdict, render_json, report_of

_KEPT = "repro-gate: no comment was written: "
_FILES = ("report.md", "report.json", "junit.xml")


def _wrote(world: World) -> list[str]:
    return [asked for asked in world.asks() if not asked.startswith("GET ")]


def test_the_comment_is_made_once_and_kept_current(
    red_job: Job, green_job: Job, own_job: Job, github: Github
) -> None:
    """Drift creates it; the next check marks it as outdated and then as passed."""
    jobs = [red_job, replace(own_job, run=RUN + 1), replace(green_job, run=RUN + 1)]

    ran = [jobs[0].publish(), jobs[1].publish("--running")]
    running = states(github.world)
    ran.append(jobs[2].publish())

    ((id, *_),) = running
    assert [each.code for each in ran] == [0, 0, 0]
    assert running == [(id, "running", True)]
    assert states(github.world) == [(id, "passed", True)]
    assert "### ✅ Fixed at [`c0ffee0`]" in github.world.bodies()[0]


def test_drift_is_published_everywhere(red_job: Job, github: Github) -> None:
    """In the comment, annotation, summary and outputs; nothing else is printed."""
    address = "https://github.com/octo/gate/actions/runs/1/a"
    ran = red_job.publish("--artifact-url", f"{address}/2", "--page-url", f"{address}/3")

    (body,) = github.world.bodies()
    assert (ran.code, ran.err) == (0, "")
    assert "### ❌ Failed at [`c0ffee0`]" in body
    assert f"\n\n**1 drift**; 3 match.\n\n[Open the report]({address}/3)\n\n" in body
    assert f"[full report]({address}/2)" in body
    assert re.match(r"::error file=.*,title=drift%3A tiny--fox--seed1::", ran.out)
    assert ran.out.count("\n") == 1
    opening = (
        f"[Open the report]({address}/3)\n\n# Reproducibility report\n\n❌ **Failed**: 1 of 4 cells"
    )
    assert red_job.summary().startswith(opening)


def test_the_replies_are_shown_where_they_are_set_up(red_job: Job, github: Github) -> None:
    """The action says so with a variable."""
    red_job.publish("--artifact", "repro-gate", REPRO_GATE_ACCEPT="true")

    (body,) = github.world.bodies()
    cause = re.search(r"--from repro-gate-run-4321 --cause ([0-9a-f]{8})\n", body)
    assert cause is not None
    assert f"\n/repro-gate accept --cause {cause[1]}\n" in body


def test_the_outputs_are_those_of_the_action(red_job: Job, github: Github) -> None:
    """Each is a value, or the path of an existing file."""
    red_job.publish()

    outputs = red_job.outputs()
    url = f"{github.server_url}/octo/gate/pull/7#issuecomment-{github.world.comments[0].id}"
    paths = [outputs.pop(name) for name in ("report", "report-json", "junit")]
    assert outputs == {
        "outcome": "failed",
        "exit-code": "10",
        "counts": '{"match": 3, "drift": 1}',
        "comment-url": url,
    }
    assert paths == [f".repro-gate/{name}" for name in _FILES]
    assert all((red_job.workspace.folder / path).is_file() for path in paths)


def test_verdicts_of_both_kinds_are_counted(own_job: Job) -> None:
    """The counts are those of tokens and of log-probabilities together."""
    report = report_of(*every_verdict())
    own_job.workspace.output.mkdir()
    (own_job.workspace.output / "report.json").write_text(render_json(report), "ascii")

    ran = own_job.publish("--comment", "never")

    counted = Counter(report.counts)
    for part in report.logprobs:
        counted.update(part.counts)
    assert (ran.code, json.loads(own_job.outputs()["counts"])) == (0, dict(counted))
    assert counted.keys() > report.counts.keys()


def test_an_annotation_stands_at_the_token_that_drifted(red_job: Job) -> None:
    """The path is that of the repository, of which the matrix may be a part."""
    above = red_job.workspace.folder.parent

    ran = red_job.publish("--comment", "never", GITHUB_WORKSPACE=str(above))

    place = re.match(r"::error file=([^,]+),line=(\d+),", ran.out)
    assert place
    line = (above / place[1]).read_text("utf-8").splitlines()[int(place[2]) - 1]
    assert above / place[1] == red_job.workspace.golden("tiny--fox--seed1")
    assert line == '    "242  242",'


@pytest.mark.parametrize(
    "variables",
    [
        {"GITHUB_WORKSPACE": ""},
        {"GITHUB_WORKSPACE": "/nowhere/at/all"},
        {"REPRO_GATE_CONFIG": "/nowhere/at/all"},
    ],
)
def test_an_annotation_without_a_golden_has_no_location(
    red_job: Job, variables: dict[str, str]
) -> None:
    """Without the matrix or the root of the repository, the drift is still annotated."""
    ran = red_job.publish("--comment", "never", **variables)

    assert ran.code == 0
    assert ran.out.startswith("::error title=drift%3A tiny--fox--seed1::")


@pytest.mark.parametrize(
    ("name", "mode", "comments"),
    [("green_job", "", 0), ("green_job", "always", 1), ("red_job", "never", 0)],
)
def test_the_mode_decides_whether_there_is_a_comment(
    request: pytest.FixtureRequest, github: Github, name: str, mode: str, comments: int
) -> None:
    """With `auto` a pass gets no new comment, and with `never` there is no request."""
    job: Job = request.getfixturevalue(name)

    ran = job.publish(REPRO_GATE_COMMENT=mode)

    assert (ran.code, len(states(github.world))) == (0, comments)
    assert (github.world.asks() == []) is (mode == "never")
    assert job.outputs()["outcome"] == ("failed" if name == "red_job" else "passed")


def test_a_shard_never_comments(red_job: Job, github: Github) -> None:
    """The merge job does; each shard publishes the rest."""
    ran = red_job.publish("--comment", "always", REPRO_GATE_SHARD="1/2")

    assert (ran.code, github.world.asks()) == (0, [])
    assert ran.out.startswith("::error file=")
    assert red_job.outputs()["outcome"] == "failed"
    assert "**Failed**" in red_job.summary()


def test_two_gates_have_a_comment_each(red_job: Job, github: Github) -> None:
    """They are distinguished by the name of the artifact."""
    codes = [red_job.publish(REPRO_GATE_NAME=name).code for name in ("gpu", "cpu")]

    names = [marker.name for marker in map(marker_of, github.world.bodies()) if marker]
    assert (codes, names) == ([0, 0], ["gpu", "cpu"])


def test_a_check_that_starts_clears_the_folder_and_makes_no_comment(
    own_job: Job, github: Github
) -> None:
    """Nothing of an earlier check may be taken for this one."""
    assert own_job.workspace.run("check", "--shard", "1/1").code == 0

    ran = own_job.publish("--running")

    left = {file.name for file in own_job.workspace.output.iterdir()}
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert own_job.workspace.document()["result"]["kind"] == "unfinished"
    assert left.isdisjoint({"report.md", "shard.json"})
    assert _wrote(github.world) == []


def test_a_check_that_did_not_start_is_reported_so(own_job: Job, github: Github) -> None:
    """For example when a library could not be compiled."""
    own_job.publish("--running")

    ran = own_job.publish()

    (body,) = github.world.bodies()
    message = "The check did not start: an earlier step failed or was cancelled."
    assert (ran.code, own_job.outputs()["outcome"]) == (0, "broken")
    assert "### \N{NO ENTRY} No verdict: nothing could be measured" in body
    assert f"```text\n{message}\n```" in body


def test_a_check_that_starts_removes_that_report(own_job: Job, github: Github) -> None:
    """If it is killed from now on, it leaves none."""
    own_job.publish("--running")
    assert own_job.workspace.run("check").code == 0

    own_job.publish()

    assert (own_job.outputs()["outcome"], github.world.bodies()) == ("passed", [])


def test_a_later_run_is_not_overwritten(red_job: Job, green_job: Job, github: Github) -> None:
    """An older run that ends last changes nothing."""
    replace(red_job, run=RUN + 1).publish()
    (before,) = github.world.bodies()

    ran = green_job.publish("--comment", "always")

    message = f"{_KEPT}a later run has already published its result\n"
    assert (ran.code, ran.out, github.world.bodies()) == (0, message, [before])


def test_a_run_without_a_pull_request_has_no_comment(red_job: Job, github: Github) -> None:
    """A nightly check has its summary and its annotations."""
    ran = replace(red_job, event_name="schedule").publish()

    message = f"{_KEPT}only a run of the event pull_request has one, and this is of schedule"
    assert (ran.code, github.world.asks()) == (0, [])
    assert [line for line in ran.out.splitlines() if not line.startswith("::error ")] == [message]
    assert "**Failed**" in red_job.summary()


def test_a_job_does_not_overwrite_the_finding_of_another_job(
    red_job: Job, green_job: Job, github: Github
) -> None:
    """Two jobs with one name: the finding stays, and the mistake is a warning."""
    red_job.publish()

    ran = green_job.publish()

    assert [state for _, state, _ in states(github.world)] == ["failed"]
    message = (
        f"{_KEPT}everything passed, and there is no earlier comment to update\n"
        "::warning title=repro-gate::Another job of this run also comments as repro-gate, in a "
        "separate comment: give each gate in a workflow its own artifact-name\n"
    )
    assert (ran.code, ran.out) == (0, message)


def test_two_jobs_with_one_name_have_a_comment_each(
    red_job: Job, own_job: Job, github: Github
) -> None:
    """The second result is published too, and the mistake is a warning."""
    red_job.publish()
    own_job.publish("--running")

    ran = own_job.publish()

    assert [state for _, state, _ in states(github.world)] == ["failed", "broken"]
    assert (
        "::warning title=repro-gate::Another job of this run also comments as repro-gate" in ran.out
    )


def test_a_gate_may_be_triggered_by_workflow_run(green_job: Job, github: Github) -> None:
    """It publishes its own result, not that of the triggering workflow."""
    event = workflow_run(conclusion="failure")
    job = replace(green_job, event_name="workflow_run", event=event)

    ran = job.publish("--comment", "always")

    reason = "only a run of the event pull_request has one, and this is of workflow_run"
    assert (ran.code, ran.out) == (0, f"{_KEPT}{reason}\n")
    assert (job.outputs()["outcome"], github.world.asks()) == ("passed", [])


def test_a_large_report_of_our_own_run_is_read(own_job: Job) -> None:
    """A download of that size is refused."""
    own_job.workspace.output.mkdir()
    file = own_job.workspace.output / "report.json"
    file.write_text(render_json(report_of(*every_verdict())), "ascii")
    with file.open("ab") as stream:
        stream.write(b" " * (1 << 27))

    own_job.publish()

    assert own_job.outputs()["outcome"] == "failed"


def test_a_run_that_cannot_comment_imports_no_http(green_job: Job) -> None:
    """A shard and an entry of a merge queue do without it, and a pass without the matrix."""
    ran = replace(green_job, event_name="merge_group").publish(PYTHONPROFILEIMPORTTIME="1")

    imported = {line.rpartition("|")[2].strip() for line in ran.err.splitlines()}
    assert "repro_gate.cli.publish" in imported
    assert imported.isdisjoint({"httpx", "rich", "repro_gate.cli.wiring"})
