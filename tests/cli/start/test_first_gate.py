"""From `init` to the first green check, by the real program, for every kind of source."""

import os
import subprocess
import sys
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest

from repro_gate.tiny_models.maker import make
from repro_gate.tiny_models.recipes import RECIPES
from tests.cli.terminal.terminals import at_terminal
from tests.cli.workspaces import Ran, Workspace
from tests.contract.served.workspaces import ROOT, write_programs
from tests.fakes.fireworks.conduct import KEY
from tests.fakes.fireworks.hosting import MODEL
from tests.fakes.fireworks.server import Api

_NAME = "tiny qwen2's.gguf"
_KEY_ENV = "KEY_OF_THE_TESTS"
_URL = "https://api.fireworks.ai/inference/v1"


@pytest.fixture
def empty(cache: Path, tmp_path: Path) -> Workspace:
    """Return an empty folder."""
    folder = tmp_path / "folder"
    folder.mkdir()
    return Workspace(folder=folder, cache=cache)


@pytest.fixture
def with_file(empty: Workspace) -> Workspace:
    """Return a folder with a model file."""
    make(RECIPES["tiny-qwen2"], empty.folder / _NAME)
    return empty


def _run(workspace: Workspace, *arguments: str, **env: str) -> Ran:
    # Nothing of the one who runs the tests is found.
    home = workspace.folder.parent / "home"
    home.mkdir(exist_ok=True)
    ran = workspace.run(*arguments, HOME=str(home), XDG_CACHE_HOME=str(home), **env)
    assert ran.code == 0, (arguments, ran.out, ran.err)
    return ran


def _gated(workspace: Workspace, *source: str, **env: str) -> str:
    """Return what the first check prints after `init` and the first recording."""
    _run(workspace, "init", *source, "--yes", **env)
    _run(workspace, "update-snapshots", "--yes", **env)
    return _run(workspace, "check", **env).out


def test_the_built_in_model_leads_to_a_pass(empty: Workspace) -> None:
    """Its file is pinned by the recording."""
    assert "passed: 6 match" in _gated(empty, "builtin:tiny-qwen2")
    assert (empty.snapshots / "models.json").exists()


def test_a_file_leads_to_a_pass(with_file: Workspace) -> None:
    """With chats of its own template; another file is then refused."""
    assert "passed: 6 match" in _gated(with_file, _NAME)
    make(RECIPES["tiny-phi3"], with_file.folder / _NAME)

    assert with_file.run("check").code == 4


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Return a folder with `llama-server`."""
    folder = tmp_path / "programs"
    folder.mkdir()
    write_programs(folder)
    return folder


@pytest.fixture
def server_url(with_file: Workspace) -> Generator[str]:
    """Give the URL of a llama-server that serves the file under a strange name."""
    model = str(with_file.folder / _NAME)
    command = ["-m", "tests.fakes.llama_server", "-m", model, "-a", 'a "b"/c', "--port", "0"]
    options = ["-c", "1024", "-np", "1", "-t", "1"]
    server = subprocess.Popen(
        [sys.executable, *command, *options], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    lines = (line for line in server.stdout if line.startswith("listening on "))
    try:
        yield next(lines).split()[-1].rstrip("/")
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()


def test_a_running_server_leads_to_a_pass(with_file: Workspace, server_url: str) -> None:
    """It is asked where it is."""
    assert "passed: 6 match" in _gated(with_file, server_url)
    assert f'base_url = "{server_url}"' in (with_file.folder / "repro-gate.toml").read_text()


def test_a_server_that_can_be_started_leads_to_a_pass(
    with_file: Workspace, server_url: str, programs: Path
) -> None:
    """The gate starts it, with the pinned file."""
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"

    assert "passed: 6 match" in _gated(with_file, server_url, PATH=path)
    assert f'source = "{_NAME}"' in (with_file.folder / "repro-gate.toml").read_text()


def _hosted(workspace: Workspace, source: Sequence[str], api: Api, **env: str) -> str:
    _run(workspace, "init", *source, "--yes", **env)
    file = workspace.folder / "repro-gate.toml"
    file.write_text(file.read_text().replace(_URL, api.base_url))
    _run(workspace, "record-baseline", "--yes", **env)
    return _run(workspace, "check", **env).out


def test_a_provider_leads_to_a_pass(empty: Workspace, api: Api) -> None:
    """With the policy that its API reference promises; its imitation is at another address."""
    source = ["fireworks", "--model", MODEL]

    assert "5 cells: 5 agree" in _hosted(empty, source, api, FIREWORKS_API_KEY=KEY)


def test_a_probed_server_with_a_key_leads_to_a_pass(empty: Workspace, api: Api) -> None:
    """With every policy that it allows; its key is nowhere."""
    source = [api.base_url, "--model", MODEL, "--api-key-env", _KEY_ENV, "--probe"]

    out = _hosted(empty, source, api, **{_KEY_ENV: KEY})

    assert "15 cells: 15 agree" in out
    texts = [file.read_bytes() for file in empty.folder.rglob("*") if file.is_file()]
    assert not any(KEY.encode() in text for text in texts)


def test_a_provider_is_asked_only_after_a_yes(empty: Workspace) -> None:
    """At a terminal, where the key is set; the question names its variable and its host."""
    ran = at_terminal(
        empty, "init", "fireworks", "--model", MODEL, answer="n\n", FIREWORKS_API_KEY=KEY
    )

    assert ran.code == 0, ran.out
    assert "Send the value of FIREWORKS_API_KEY to api.fireworks.ai" in ran.out
    assert "was not tried: --probe" in ran.out


def test_a_second_init_is_refused(empty: Workspace) -> None:
    """It is exit code 3, and the message has what to do."""
    _run(empty, "init", "--yes")

    ran = empty.run("init", "--yes")

    assert (ran.code, ran.out) == (3, "")
    assert "never overwritten" in ran.err
