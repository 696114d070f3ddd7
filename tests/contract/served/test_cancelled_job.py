"""What a cancelled job leaves of a server: its log in the folder that becomes the artifact."""

import signal
import time
from pathlib import Path

import pytest

from repro_gate.cli.paths import REPORT_FILES
from tests.cli.workspaces import PATIENCE_S, ended
from tests.contract.served.workspaces import ServedWorkspace, matrix_of
from tests.fakes.processes import wait_until_gone

_NEVER_READY = "trap '' TERM; echo key $A_TOKEN; setsid sleep 600 & echo $! > worker; sleep 600"
_ENGINE = {
    "kind": "served",
    "dialect": "vllm",
    "serve": ["sh", "-c", _NEVER_READY, "{model}", "{port}"],
    "pass_env": ["A_TOKEN"],
}
_SECRET = {"A_TOKEN": "sk-123456789"}


def _text_of(file: Path) -> str:
    return file.read_text("utf-8") if file.exists() else ""


def _worker_of(workspace: ServedWorkspace) -> int:
    """Return the process that the server has started, once its output is in the log."""
    worker, log = workspace.folder / "worker", workspace.output / "serve-server.log"
    deadline = time.monotonic() + PATIENCE_S
    while "\n" not in _text_of(worker) or "key" not in _text_of(log):
        assert time.monotonic() < deadline, "the server was not started"
        time.sleep(0.01)
    return int(_text_of(worker))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_cancelled_check_leaves_no_server(
    workspace: ServedWorkspace, number: signal.Signals
) -> None:
    """Nor what it has started, even if it ignores SIGTERM; the log has no secret."""
    (workspace.folder / "repro-gate.toml").write_text(
        matrix_of(_ENGINE, {}, source="tiny.gguf"), "utf-8"
    )
    (workspace.folder / "tiny.gguf").write_bytes(b"weights")
    gate = workspace.start("check", env=workspace.environment(**_SECRET))
    worker = _worker_of(workspace)
    gate.send_signal(number)

    assert ended(gate).code == 130
    wait_until_gone(worker)
    assert "key ***\n" in _text_of(workspace.output / "serve-server.log")
    left = {file.name for file in workspace.output.iterdir()} - {".gitignore"}
    assert left == {*REPORT_FILES, "serve-server.log"} - {"shard.json"}
