"""Every workflow has the least rights, an end, and pinned actions; it may be copied as it is."""

import re
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from tests.action.files import ACTION, ROOT, WORKFLOWS, document, jobs_of, steps_of
from tests.docs.pages import pages

_FILES = [ACTION, *WORKFLOWS]
_USES = re.compile(r"^[\s-]*uses: (?P<name>[\w./$-]+)(?:@(?P<ref>\S+)(?P<rest>.*))?$", re.MULTILINE)
_PINNED = re.compile(r"[0-9a-f]{40}")
_VERSION = re.compile(r" # v\d+\.\d+\.\d+")
_BY_NAME = {file.stem: file for file in WORKFLOWS}
_COMMENTS = {"gate.gate", "gate-comment.comment", "reusable-gate.gate", "shards.merge"}
_CALL = document(_BY_NAME["reusable-gate"])[True]["workflow_call"]
_PUBLISHES = {
    "accept.push": {"contents"},
    "accept.answer": {"pull-requests"},
    "nightly.history": {"contents", "issues"},
    "release.attest": {"attestations", "id-token"},
    "release.publish": {"contents"},
    "release.pypi": {"id-token"},
    "release.major-tag": {"contents"},
}
"""The jobs that keep goldens, a history or a release, and what they may write."""


def _named(file: Path) -> str:
    return file.stem


def _jobs() -> dict[str, dict[str, Any]]:
    return {f"{file.stem}.{name}": job for file in WORKFLOWS for name, job in jobs_of(file).items()}


def test_there_are_workflows_to_look_at() -> None:
    """The tests of this file would agree with an empty list too."""
    assert {
        "accept",
        "ci",
        "gate",
        "gate-comment",
        "nightly",
        "release",
        "reusable-gate",
        "selftest",
        "shards",
    } == set(_BY_NAME)


@pytest.mark.parametrize("file", WORKFLOWS, ids=_named)
def test_a_workflow_begins_with_what_it_is_for(file: Path) -> None:
    """The first lines explain what the file does, and how to copy it."""
    head = file.read_text("utf-8").partition("\nname:")[0]
    assert all(line.startswith("#") for line in head.splitlines())
    assert re.search(r"\bcopy\b", head)


@pytest.mark.parametrize("file", WORKFLOWS, ids=_named)
def test_a_workflow_gives_no_rights_by_itself(file: Path) -> None:
    """Rights are given to jobs, one by one."""
    assert document(file)["permissions"] == {}
    assert all("permissions" in job for job in jobs_of(file).values())


def _written(job: dict[str, Any]) -> set[str]:
    return {what for what, access in job["permissions"].items() if access == "write"}


def test_only_the_jobs_that_comment_keep_or_publish_can_write() -> None:
    """Everything else reads."""
    writers = {name: _written(job) for name, job in _jobs().items() if _written(job)}
    assert writers == {name: {"pull-requests"} for name in _COMMENTS} | _PUBLISHES


@pytest.mark.parametrize("name", _jobs())
def test_a_job_comes_to_an_end(name: str) -> None:
    """No job runs for the six hours that are the default."""
    limit = _jobs()[name]["timeout-minutes"]
    if limit == "${{ inputs.timeout-minutes }}":
        limit = _CALL["inputs"]["timeout-minutes"]["default"]
    assert 0 < limit <= 120


@pytest.mark.parametrize("file", WORKFLOWS, ids=_named)
def test_runs_do_not_pile_up(file: Path) -> None:
    """Runs of one branch are in a group; what is published or released is never cut short."""
    concurrency = document(file)["concurrency"]
    assert concurrency["group"].startswith(file.stem)
    if file.stem in {"accept", "gate-comment", "nightly", "release"}:
        assert concurrency["cancel-in-progress"] is False


def test_no_comment_cancels_what_another_author_has_asked_for() -> None:
    """Of those that wait in a group only the latest is kept, and anybody can comment."""
    group = document(_BY_NAME["accept"])["concurrency"]["group"]

    assert "github.event.issue.number, github.event.comment.user.id)" in group
    assert group.count("${{") == 1


@pytest.mark.parametrize("file", WORKFLOWS, ids=_named)
def test_a_checkout_leaves_no_token_behind(file: Path) -> None:
    """What runs after the checkout cannot find the token in the folder of git."""
    checkouts = [step for step in steps_of(file) if step.uses.startswith("actions/checkout@")]
    assert all(step.inputs["persist-credentials"] is False for step in checkouts)


@pytest.mark.parametrize("file", _FILES, ids=_named)
def test_nothing_is_put_into_a_script(file: Path) -> None:
    """A script reads variables: an expression in it would be run as a part of it."""
    assert [step.run for step in steps_of(file) if "${{" in step.run] == []


@pytest.mark.parametrize("file", _FILES, ids=_named)
def test_actions_are_pinned(file: Path) -> None:
    """Each `uses:` is this repository, or a commit with its version as a comment."""
    found = list(_USES.finditer(file.read_text("utf-8")))
    for use in found:
        if use["name"].startswith("./"):
            continue
        assert _PINNED.fullmatch(use["ref"] or ""), use[0]
        assert _VERSION.fullmatch(use["rest"]), use[0]
    assert len(found) == sum(bool(step.uses) for step in steps_of(file))


def test_an_action_has_one_pin() -> None:
    """The action, the workflows and the examples of the documentation use the same commits."""
    texts = chain((file.read_text("utf-8") for file in _FILES), (one.text for one in pages()))
    pins: dict[str, set[str]] = {}
    for use in chain.from_iterable(map(_USES.finditer, texts)):
        if use["name"].startswith("actions/"):
            pins.setdefault(use["name"], set()).add(f"{use['ref']}{use['rest']}")
    assert set(pins) >= {"actions/checkout", "actions/upload-artifact", "actions/cache"}
    assert {name: found for name, found in pins.items() if len(found) > 1} == {}


def test_inputs_of_the_action_are_spelled_right() -> None:
    """GitHub only warns of an input that does not exist."""
    known = set(document(ACTION)["inputs"])
    given = {
        name
        for file in WORKFLOWS
        for step in steps_of(file)
        if step.uses.startswith("./")
        for name in step.inputs
    }
    assert given
    assert given - known == set()


def test_the_reusable_workflow_has_the_inputs_of_the_action() -> None:
    """Each that it takes goes to the action as it is, with the same default."""
    known = document(ACTION)["inputs"]
    (step,) = (step for step in steps_of(_BY_NAME["reusable-gate"]) if step.id == "gate")
    passed = {name: f"${{{{ inputs.{name} }}}}" for name in step.inputs.keys() - {"api-key"}}
    defaults = {name: str(_CALL["inputs"][name]["default"]).lower() for name in passed}

    assert step.inputs == passed | {"api-key": "${{ secrets.api-key }}"}
    assert set(passed) == _CALL["inputs"].keys() - {"runs-on", "timeout-minutes"}
    assert {name: known[name]["default"].lower() for name in passed} == defaults | {
        "artifact-name": "${{ tojson(matrix) }}"
    }


def test_strangers_do_not_run_on_our_machines_unasked() -> None:
    """A job for pull requests on a runner of our own asks first whose branch it is."""
    guarded = "github.event.pull_request.head.repo.full_name == github.repository"
    jobs = {
        f"{file.stem}.{name}": job.get("if", "")
        for file in WORKFLOWS
        if "pull_request" in document(file)[True]
        for name, job in jobs_of(file).items()
        if "self-hosted" in job["runs-on"]
    }
    assert {name for name, condition in jobs.items() if guarded in condition} == set(jobs)
    assert set(jobs) == {"gate.gate", "shards.shard"}


@pytest.mark.parametrize("name", ["ci", "gate", "selftest", "shards"])
def test_what_can_be_required_runs_for_each_entry_of_a_merge_queue(name: str) -> None:
    """A required check that never reports blocks the queue; no entry cancels another."""
    workflow = document(_BY_NAME[name])
    runs_on, group = workflow[True], workflow["concurrency"]["group"]

    assert runs_on["merge_group"] == runs_on["pull_request"]
    assert group in {
        f"{name}-${{{{ github.ref }}}}",
        f"{name}-${{{{ github.event.pull_request.number || github.ref }}}}",
    }


def test_a_merge_queue_is_not_taken_for_a_fork() -> None:
    """The event names no pull request, and a job that it skips would count as a success."""
    conditions = [
        job["if"]
        for job in _jobs().values()
        if "github.event.pull_request.head" in job.get("if", "")
    ]
    assert len(conditions) == 3
    for condition in conditions:
        asked = condition.partition(" || ")[0]
        assert asked in {
            "${{ github.event_name == 'merge_group'",
            "${{ github.event_name != 'pull_request'",
        }


@pytest.mark.parametrize(
    "name", ["gate.verdict", "reusable-gate.verdict", "selftest.selftest", "shards.merge"]
)
def test_a_job_to_be_required_is_never_skipped(name: str) -> None:
    """It runs whatever came of the one that it needs, and is a success only when that one was."""
    job = _jobs()[name]
    *before, last = job["steps"]
    assert job["if"] == "${{ always() }}"
    assert last["env"]["RESULT"] == f"${{{{ needs.{job['needs']}.result }}}}"
    assert last["run"].splitlines()[-1] == 'test "$RESULT" = success'
    assert not before or last["if"] == "${{ always() }}"


def test_the_jobs_to_be_required_are_all_that_wait_but_for_a_release() -> None:
    """A job that waits for another one is looked at above, or skipped with good reason."""
    waiting = {name: job["needs"] for name, job in _jobs().items() if "needs" in job}
    assert waiting == {
        "accept.push": "record",
        "accept.answer": ["record", "push"],
        "gate.verdict": "gate",
        "nightly.history": "hosted",
        "release.sign-off": ["gate", "build"],
        "release.attest": "sign-off",
        "release.publish": ["sign-off", "attest"],
        "release.pypi": ["sign-off", "publish"],
        "release.major-tag": "pypi",
        "reusable-gate.verdict": "gate",
        "selftest.selftest": "case",
        "shards.merge": "shard",
    }
    # Skipped when the gate has not passed, as a job is by default.
    assert "if" not in _jobs()["release.sign-off"]


def test_what_is_of_value_is_in_an_environment() -> None:
    """The key and the release are only for those whom the owner of the repository has named."""
    found = {name: job["environment"] for name, job in _jobs().items() if "environment" in job}
    assert found == {
        "accept.push": "accept",
        "nightly.hosted": "hosted",
        "release.sign-off": "${{ github.event_name == 'push' && 'release' || 'dry-run' }}",
        "release.pypi": "pypi",
    }


def test_as_many_shards_as_are_asked_for() -> None:
    """Each shard of the whole has a runner."""
    job = jobs_of(_BY_NAME["shards"])["shard"]
    shards = job["strategy"]["matrix"]["shard"]
    total = int(job["steps"][-1]["with"]["shard"].rpartition("/")[2])
    assert shards == list(range(1, total + 1))


def test_the_comment_follows_the_gate() -> None:
    """The second half waits for a workflow of the name that the first one has."""
    waits_for = document(_BY_NAME["gate-comment"])[True]["workflow_run"]["workflows"]
    assert waits_for == [document(_BY_NAME["gate"])["name"]]


@pytest.mark.parametrize(
    "name", ["requirements-uv.lock", "requirements-build.lock", "requirements-sbom.lock"]
)
def test_the_tools_are_pinned_by_hash(name: str) -> None:
    """What installs and what builds is as pinned as what is installed."""
    text = (ROOT / ".github" / "action" / name).read_text("utf-8")
    requirements = re.split(r"\n(?=\S)", text.strip())
    assert all(re.match(r"[\w-]+==[\w.]+ .*--hash=sha256:", r, re.DOTALL) for r in requirements)


def test_what_builds_a_release_is_locked() -> None:
    """The release is built with hashes required, and a tool without one would stop it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    needed = [re.split(r"[^\w-]", need)[0] for need in project["build-system"]["requires"]]
    lock = (ROOT / ".github" / "action" / "requirements-build.lock").read_text("utf-8")
    assert needed == ["hatchling"]
    assert all(re.search(rf"^{need}==", lock, re.MULTILINE) for need in needed)


def test_gates_of_one_pull_request_have_comments_of_their_own() -> None:
    """Two workflows that comment under one name would overwrite each other."""
    names = [
        step["with"].get("artifact-name", "repro-gate")
        for name in ("gate", "shards")
        for job in jobs_of(_BY_NAME[name]).values()
        for step in job["steps"]
        if step.get("uses") == "./" and "shard" not in step["with"]
    ]
    assert names == ["repro-gate", "repro-gate-release"]


def test_the_action_and_the_makefile_agree_on_uv() -> None:
    """The version that the action fetches is the one that the project is built with."""
    version = re.search(r"^UV_VERSION := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    lock = (ROOT / ".github" / "action" / "requirements-uv.lock").read_text("utf-8")
    assert version is not None
    assert lock.startswith(f"uv=={version[1]} ")


def test_the_report_lock_is_the_other_one_without_the_library() -> None:
    """Where nothing is measured, everything else is the same."""

    def pinned(name: str) -> set[str]:
        text = (ROOT / name).read_text("utf-8")
        return set(re.findall(r"^\S+==\S+|--hash=\S+", text, re.MULTILINE))

    whole, report = pinned("requirements.lock"), pinned("requirements-report.lock")
    left_out = whole - report
    assert report < whole
    assert {one for one in left_out if "==" in one} == {"llama-cpp-python==0.3.36"}
