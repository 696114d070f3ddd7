"""The real program with an engine that starts its server: a program that answers as vLLM does."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.workspaces import Workspace, matrix_of, toml
from tests.docs.pages import ROOT

_SERVER = [
    *(sys.executable, "-m", "tests.fakes.vllm", "serve", "{model}"),
    *("--served-model-name", "{name}", "--port", "{port}"),
]
_DIES_ONCE = '[ -e once ] && exec "$@"; touch once; exec "$@" --dies-after 60'


def _write(workspace: Workspace, *serve: str, **changes: Any) -> None:
    engine = {
        "kind": "served",
        "dialect": "vllm",
        "serve": [*serve, *_SERVER],
        "profile": "test-cpu",
        "env": {"PYTHONPATH": str(ROOT)},
    }
    text = toml(matrix_of(engine, **changes))
    (workspace.folder / "repro-gate.toml").write_text(text, "utf-8")


def _log(workspace: Workspace) -> str:
    (file,) = workspace.output.glob("serve-*.log")
    return file.read_text("utf-8")


@pytest.fixture(name="served_once", scope="module")
def _served_once(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return a workspace with goldens of a served model, to be copied."""
    workspace = Workspace(folder=tmp_path_factory.mktemp("served"), cache=cache)
    (workspace.folder / "tiny.gguf").write_bytes(b"weights")
    _write(workspace)
    recorded = workspace.record()
    assert recorded.code == 0, recorded
    return workspace


@pytest.fixture(name="served")
def _served(served_once: Workspace, tmp_path: Path) -> Workspace:
    """Return a workspace with goldens of a served model."""
    shutil.copytree(served_once.folder, tmp_path, dirs_exist_ok=True)
    return Workspace(folder=tmp_path, cache=served_once.cache)


def test_a_served_model_is_recorded_and_checked(served: Workspace) -> None:
    """The log of its servers, which ended, is beside the reports."""
    ran = served.run("check")

    assert (ran.code, set(served.verdicts().values())) == (0, {"match"})
    lines = _log(served).splitlines()
    assert [line for line in lines if line.startswith("serving on port")]
    assert lines[-1] == "# repro-gate: ended"
    facts = served.report()["provenances"][0]
    assert facts["server.option.served-model-name"] == "{name}"
    assert not [value for value in facts.values() if str(served.folder) in value]


def test_a_server_that_dies_costs_one_cell(served: Workspace) -> None:
    """The verdicts before it stand, and the next cell has another server."""
    _write(served, "sh", "-c", _DIES_ONCE, "sh", runs=30)

    ran = served.run("check")

    found = sorted(served.verdicts().values())
    assert (ran.code, found) == (4, ["inconclusive", "match", "match", "match"])
    assert "the server ended with exit code 0" in ran.out
    assert _log(served).count("started sh") == 3


def test_a_server_that_never_starts_is_inconclusive(served: Workspace) -> None:
    """Once, with its exit code and what it printed."""
    _write(served, "sh", "-c", "echo CUDA error >&2; exit 3", "sh")

    ran = served.run("check")

    assert (ran.code, set(served.verdicts().values())) == (4, {"inconclusive"})
    assert _log(served).count("started") == 1
    assert "exit code 3 before it was ready; its log, serve-" in ran.out
    assert "ends with: CUDA error" in ran.out


@pytest.mark.parametrize(("hosts", "code"), [("api.test", 3), ("127.0.0.1", 4), ("", 4)])
def test_a_running_server_must_be_an_allowed_host(
    workspace: Workspace, hosts: str, code: int
) -> None:
    """It receives the prompts, and perhaps a key."""
    engine = {
        "kind": "served",
        "dialect": "vllm",
        "base_url": "http://127.0.0.1:9",
        "profile": "test-cpu",
    }
    (workspace.folder / "repro-gate.toml").write_text(toml(matrix_of(engine)), "utf-8")

    ran = workspace.run("check", REPRO_GATE_ALLOWED_HOSTS=hosts)

    assert ran.code == code
    message = "base_url: expected one of the allowed hosts, api.test, found 127.0.0.1:9"
    assert (message in ran.err) == (code == 3)


def test_doctor_shows_how_a_server_is_started(served: Workspace) -> None:
    """And a program that is not there."""
    shown = served.run("doctor")
    _write(served, "no-such-server")
    refused = served.run("doctor")

    assert (shown.code, refused.code) == (0, 4)
    assert "(served on cpu)" in shown.out
    assert "server.option.served-model-name = {name}" in shown.out
    assert "there is no program 'no-such-server' that can be run" in refused.out
