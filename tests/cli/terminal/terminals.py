"""The program at a terminal, with a person who answers its question."""

import os
import pty
import select
import subprocess
import time

from tests.cli.workspaces import PATIENCE_S, Ran, Workspace

QUESTION = b"[y/N] "


def at_terminal(workspace: Workspace, *arguments: str, answer: str = "", **env: str) -> Ran:
    """Run the program with a terminal for stdin, stdout and stderr; what it shows is `out`."""
    ours, theirs = pty.openpty()
    gate = workspace.start(
        *arguments,
        after="os.login_tty(0)",
        env=workspace.environment(COLUMNS="120", **env),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        shown = _conversation(ours, answer.encode())
    finally:
        _end(gate)
        os.close(ours)
    return Ran(code=gate.returncode, out=shown.decode().replace("\r\n", "\n"), err="")


def _conversation(terminal: int, answer: bytes) -> bytes:
    """Return the output of the program; the question is answered, repeatedly if necessary."""
    shown = bytearray()
    is_answered = False
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        is_readable = select.select([terminal], [], [], 1)[0]
        try:
            shown += os.read(terminal, 1 << 16) if is_readable else b""
        except OSError:
            # Linux raises it when the last program at the terminal has ended.
            return bytes(shown)
        if answer and QUESTION in shown and not (is_answered and is_readable):
            os.write(terminal, answer)
            is_answered = True
    raise TimeoutError(f"the program is still there: {bytes(shown)!r}")


def _end(gate: subprocess.Popen[bytes]) -> None:
    try:
        gate.wait(1)
    finally:
        gate.kill()
        gate.wait()
