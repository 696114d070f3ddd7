"""The workflows that the documentation shows are valid, safe, and those of this repository."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import repro_gate
from repro_gate.adapters.files.results import read_report
from repro_gate.core.comments import CiRun, CommentState, Marker, RunId
from repro_gate.core.outcome import ExitCode
from repro_gate.reports.github.comment import render_comment
from tests.docs.pages import ROOT, page, pages

if TYPE_CHECKING:
    from tests.docs.conftest import CommandLine

_OURS = "OWNER/repro-gate@COMMIT"
"""What a reader puts the address and a commit of this project in the place of."""
_HOWTO = page("docs/how-to/gate-a-pull-request.md")
_BLOCKS = [(each.name, block) for each in pages() for block in each.blocks("yaml")]
_WORKFLOWS = {
    f"{name}: {yaml.safe_load(block)['name']}": block
    for name, block in _BLOCKS
    if block.startswith("name: ")
}
_WORKFLOWS["gate-comment.yml"] = (
    (ROOT / ".github" / "workflows" / "gate-comment.yml")
    .read_text("utf-8")
    .replace("uses: ./", f"uses: {_OURS} # v{repro_gate.__version__}")
)
"""The page links to it instead of showing it."""
_OF_A_MODEL = re.compile(r"\d|\"")
_QUOTED = re.compile(r"^> ?(.*)$", re.MULTILINE)
_JOINTS = re.compile(r'"\s*\n\s*f?"')
"""Where a text in the code continues in the next line."""
_RUN = CiRun(
    id=RunId(17204881234, 1),
    repository="octo-org/serving",
    head_sha="8f3c2a91d04be7756a1c0f29e8d3b4a5c6d7e8f9",
    head_owner="octo-org",
    head_branch="faster-kernels",
    server_url="https://github.com",
)


def _jobs(workflow: str) -> dict[str, dict[str, Any]]:
    jobs: dict[str, dict[str, Any]] = yaml.safe_load(workflow)["jobs"]
    return jobs


def _steps(workflow: str) -> Iterator[dict[str, Any]]:
    return chain.from_iterable(job["steps"] for job in _jobs(workflow).values())


def _filled_in(workflow: str) -> str:
    """Return a workflow as a reader would commit it."""
    return workflow.replace(_OURS, f"octo-org/repro-gate@{'8f3c2a91' * 5}")


def _found_by(command: str, *options: str, folder: Path) -> str:
    """Return the findings of a linter on all workflows; empty if there are none."""
    written = folder / ".github" / "workflows"
    written.mkdir(parents=True)
    for number, workflow in enumerate(_WORKFLOWS.values()):
        (written / f"{number}.yml").write_text(_filled_in(workflow), "utf-8")
    program = Path(sys.executable).with_name(command)
    done = subprocess.run(
        [program, *options, *sorted(written.iterdir())], check=False, capture_output=True, text=True
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def _committed(name: str) -> Any:
    """Return a workflow of this repository as another one would have it."""
    text = (ROOT / ".github" / "workflows" / name).read_text("utf-8")
    return yaml.safe_load(text.replace("uses: ./", f"uses: {_OURS}"))


def test_the_workflows_are_found() -> None:
    """The tests of this file would agree with an empty list too."""
    assert set(_WORKFLOWS) >= {
        "README.md: gate",
        "docs/how-to/gate-a-hosted-model.md: log-probabilities",
        "docs/how-to/gate-a-pull-request.md: gate",
    }


def test_the_workflows_are_some(tmp_path: Path) -> None:
    """GitHub's own schema of workflows has nothing against any of them."""
    schema = ("--builtin-schema", "vendor.github-workflows")
    assert _found_by("check-jsonschema", *schema, folder=tmp_path) == ""


def test_the_workflows_are_safe(tmp_path: Path) -> None:
    """The linter that looks for holes in workflows finds none in any of them."""
    options = ("--quiet", "--offline", "--strict-collection", "--no-config")
    assert _found_by("zizmor", *options, folder=tmp_path) == ""


@pytest.mark.parametrize("name", _WORKFLOWS)
def test_a_workflow_gives_each_job_its_rights(name: str) -> None:
    """Nothing by default, reading to those who check out, writing to those who comment."""
    workflow = yaml.safe_load(_WORKFLOWS[name])
    assert workflow["permissions"] == {}
    for job in _jobs(_WORKFLOWS[name]).values():
        assert job["permissions"] == _needed(job, is_second="workflow_run" in workflow[True])


def _needed(job: dict[str, Any], *, is_second: bool) -> dict[str, str]:
    """Return the rights that a job needs for what it does."""
    uses = [step for step in job["steps"] if "uses" in step]
    if not uses:
        return {}
    comments = any(
        step["uses"] == _OURS and step["with"].get("comment") != "never" for step in uses
    )
    return {
        **({"actions": "read"} if is_second else {}),
        "contents": "read",
        **({"pull-requests": "write"} if comments else {}),
    }


@pytest.mark.parametrize("name", _WORKFLOWS)
def test_the_inputs_are_those_of_the_action(name: str) -> None:
    """GitHub only warns of an input that does not exist."""
    known = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))["inputs"]
    uses = [step for step in _steps(_WORKFLOWS[name]) if step.get("uses") == _OURS]
    assert uses
    assert {given for step in uses for given in step["with"]} - set(known) == set()


@pytest.mark.parametrize("name", _WORKFLOWS)
def test_no_fork_runs_on_a_self_hosted_runner(name: str) -> None:
    """A job on a self-hosted runner asks whose branch it is, in every workflow to copy."""
    own = [job for job in _jobs(_WORKFLOWS[name]).values() if "self-hosted" in job["runs-on"]]
    guard = "github.event.pull_request.head.repo.full_name == github.repository"
    assert [job["runs-on"] for job in own if guard not in job.get("if", "")] == []


@pytest.mark.parametrize("name", ["README.md", _HOWTO.name])
def test_a_gate_runs_for_each_entry_of_a_merge_queue(name: str) -> None:
    """A required check that is skipped there counts as a success, or is waited for without end."""
    workflow = yaml.safe_load(_WORKFLOWS[f"{name}: gate"])
    assert {*workflow[True]} == {"pull_request", "merge_group"}
    condition = workflow["jobs"]["gate"]["if"].removeprefix("${{ ")
    assert condition.startswith("github.event_name == 'merge_group' || ")


def test_the_gate_is_the_one_of_this_repository() -> None:
    """The how-to shows gate.yml, which the tests of the action run."""
    assert yaml.safe_load(_WORKFLOWS[f"{_HOWTO.name}: gate"]) == _committed("gate.yml")


@cache
def _sources() -> str:
    """Return all code with messages, with long texts in one piece."""
    files = [ROOT / ".github" / "action" / "install.sh", *(ROOT / "repro_gate").rglob("*.py")]
    return _JOINTS.sub("", "\n".join(file.read_text("utf-8") for file in files))


def _messages(heading: str) -> list[str]:
    """Return each text between backticks in the first column of the tables of a section."""
    rows = [line for line in _HOWTO.sections()[heading].splitlines() if line.startswith("| ")]
    return [text for row in rows for text in re.findall(r"`([^`]+)`", row.split("|")[1])]


_LOOKED_UP = _messages("When the comment does not appear")


def test_there_are_messages_to_look_for() -> None:
    """The test of them would agree with an empty list too."""
    assert len(_LOOKED_UP) > 5


@pytest.mark.parametrize("message", [*_LOOKED_UP, *_messages("What a reviewer sees")])
def test_a_message_exists(message: str) -> None:
    """A message on the page is one of the code."""
    names = {"comment", "auto", "pull_request", "gate-comment.yml"}
    # Messages of all HTTP clients have no prefix in the code.
    assert message in names or message.removeprefix("GitHub: ") in _sources()


@pytest.fixture(name="drift_of")
def _drift_of(tmp_path: Path, repro_gate: "CommandLine") -> Callable[[], str]:
    """Return the comment about a drift of the tiny models."""

    def comment() -> str:
        shutil.copytree(ROOT / "snapshots", tmp_path / "snapshots")
        text = (ROOT / "repro-gate.toml").read_text().replace('kv_type = "f32"', 'kv_type = "f16"')
        (tmp_path / "repro-gate.toml").write_text(text)
        result = repro_gate("check", "--suite", "embedded", "--quiet")
        assert result.exit_code == ExitCode.FINDINGS, result.output
        marker = Marker(name="repro-gate", run=_RUN.id, state=CommentState.FAILED)
        left = read_report(tmp_path / ".repro-gate")
        return render_comment(left, marker=marker, run=_RUN, artifact_url=None)

    return comment


def test_the_comment_shown_has_the_form_of_one(drift_of: Callable[[], str]) -> None:
    """Its lines without figures and tokens, in their order; `test_drift.py` has all of them."""
    shown = "\n".join(_QUOTED.findall(_HOWTO.text)).splitlines()
    fixed = [line for line in shown if line and not _OF_A_MODEL.search(line)]
    rest = iter(drift_of().splitlines())
    assert len(fixed) > 8
    assert [line for line in fixed if line not in rest] == []
