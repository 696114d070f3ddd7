"""Our stand-ins for other people's actions are as strict as the real ones."""

from pathlib import Path

import pytest

from repro_gate.core.comments import RunId
from tests.action.act.conftest import RunnerMaker
from tests.action.act.events import push
from tests.action.act.log import Log
from tests.action.act.pins import pin_of
from tests.action.act.repositories import commit
from tests.action.act.runner import Runner
from tests.fakes.github.server import Github
from tests.fakes.github.world import World

pytestmark = pytest.mark.act

_WORKFLOW = """\
on: push
permissions: {{}}
jobs:
  upload:
    runs-on: self-hosted
    steps:
      - uses: {checkout}
      - run: mkdir -p .report/inner && touch .report/one .report/inner/two .report/.three
      - {{ id: hidden, uses: {upload}, with: {{ name: a, path: .report }} }}
      - id: shown
        uses: {upload}
        with: {{ name: a, path: .report, include-hidden-files: true }}
      - id: again
        continue-on-error: true
        uses: {upload}
        with: {{ name: a, path: .report, include-hidden-files: true }}
      - id: nothing
        continue-on-error: true
        uses: {upload}
        with: {{ name: b, path: missing, if-no-files-found: error }}
      - {{ id: file, uses: {upload}, with: {{ name: c-1, path: read.me }} }}
      - {{ id: plain, uses: {upload}, with: {{ name: not-heeded, path: read.me, archive: false }} }}
      - id: plain-folder
        continue-on-error: true
        uses: {upload}
        with: {{ path: .report/inner, archive: false }}
  download:
    needs: upload
    runs-on: self-hosted
    steps:
      - {{ id: named, uses: {download}, with: {{ name: a, path: named }} }}
      - {{ id: lone, uses: {download}, with: {{ pattern: c-*, path: lone }} }}
      - {{ id: all, uses: {download}, with: {{ path: all }} }}
      - {{ id: merged, uses: {download}, with: {{ path: merged, merge-multiple: true }} }}
      - {{ id: none, uses: {download}, with: {{ pattern: d-*, path: none }} }}
      - id: missing
        continue-on-error: true
        uses: {download}
        with: {{ name: d, path: missing }}
      - id: other
        continue-on-error: true
        uses: {download}
        with: {{ name: a, run-id: 1, path: other }}
      - {{ id: found, run: find . -type f | sort }}
"""


@pytest.fixture(scope="module")
def runner(runner_for: RunnerMaker) -> Runner:
    """Return a runner that needs no GitHub."""
    return runner_for(Github(world=World(), port=9))


@pytest.fixture(scope="module")
def log(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> Log:
    """Run every case at once."""
    repository = tmp_path_factory.mktemp("repository")
    (repository / "read.me").touch()
    workflow = repository / ".github" / "workflows" / "artifacts.yml"
    workflow.parent.mkdir(parents=True)
    project = runner.project
    names = {name: f"actions/{name}-artifact" for name in ("upload", "download")}
    pins = {name: pin_of(action, project) for name, action in names.items()}
    pins["checkout"] = pin_of("actions/checkout", project)
    workflow.write_text(_WORKFLOW.format(**pins), "utf-8")
    sha = commit(repository)
    return runner.run(repository, "artifacts.yml", push(sha), id=RunId(2, 1))


def test_uploads_end_as_those_of_the_real_action(log: Log) -> None:
    """A second artifact of one name and a missing folder fail where they are asked to."""
    names = ("hidden", "shown", "again", "nothing", "file", "plain", "plain-folder")
    ends = {name: log.step(name).outcome for name in names}

    assert ends == {
        "hidden": "success",
        "shown": "success",
        "again": "failure",
        "nothing": "failure",
        "file": "success",
        "plain": "success",
        "plain-folder": "failure",
    }


def test_a_file_without_an_archive_gives_the_artifact_its_name(runner: Runner) -> None:
    """Another name is not heeded."""
    assert _files(runner.artifact(2, "read.me")) == ["read.me"]


def test_a_hidden_folder_is_not_uploaded_unless_asked_for(log: Log, runner: Runner) -> None:
    """The folder of our reports begins with a dot, and the real action leaves such out."""
    assert log.step("hidden").outputs["artifact-url"] == ""
    assert _files(runner.artifact(2, "a")) == [".three", "inner/two", "one"]


def test_downloads_lie_where_those_of_the_real_action_do(log: Log) -> None:
    """Several artifacts have a folder each, unless merged; one alone has none."""
    assert log.step("found").lines == [
        "./all/a/.three",
        "./all/a/inner/two",
        "./all/a/one",
        "./all/c-1/read.me",
        "./all/read.me/read.me",
        "./lone/read.me",
        "./merged/.three",
        "./merged/inner/two",
        "./merged/one",
        "./merged/read.me",
        "./named/.three",
        "./named/inner/two",
        "./named/one",
    ]


def test_what_cannot_be_downloaded_fails(log: Log) -> None:
    """A missing name and another run without a token fail; a pattern may fit nothing."""
    ends = [log.step(name).outcome for name in ("missing", "other", "none")]

    assert ends == ["failure", "failure", "success"]


def _files(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
