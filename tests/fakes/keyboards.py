"""A program at a pseudo-terminal, and the keys that somebody presses there."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_PATIENCE_S: Final = 110
_LOGIN: Final = "import os, sys; os.login_tty(0); os.execv(sys.argv[1], sys.argv[1:])"


class Keyboard:
    """A program that reads single keys from a terminal of a fixed size."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        env: Mapping[str, str],
        columns: int = 80,
        lines: int = 40,
    ) -> None:
        """Start the program; the first word is the path of a Python."""
        self._terminal, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.process = subprocess.Popen(
            [command[0], "-c", _LOGIN, *command],
            cwd=folder,
            env={name: env[name] for name in env.keys() - {"COLUMNS", "LINES"}},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self.screens: list[str] = [""]
        """What was printed after each key; the first one before any."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._terminal)

    def wait_for(self, text: str) -> str:
        """Wait until the program has printed a text since the last key, and return all since."""
        deadline = time.monotonic() + _PATIENCE_S
        while text not in self.screens[-1]:
            if not self._read() or time.monotonic() > deadline:
                raise TimeoutError(f"no {text!r} in {self.screens[-1]!r}")
        self._wait_for_raw_mode(deadline)
        return self.screens[-1]

    def press(self, keys: str) -> None:
        """Press keys at once; they are not shown."""
        self.screens.append("")
        os.write(self._terminal, keys.encode())

    def hang_up(self) -> None:
        """Close the terminal under the program."""
        os.close(self._terminal)

    def end(self) -> int:
        """Wait until the program ends, and return its exit code."""
        deadline = time.monotonic() + _PATIENCE_S
        while self._read():
            if time.monotonic() > deadline:
                raise TimeoutError(f"the program is still there: {self.screens[-1]!r}")
        return self.process.wait(_PATIENCE_S)

    def _read(self) -> bool:
        """Read what there is; return whether there may be more."""
        if not select.select([self._terminal], [], [], 1)[0]:
            return True
        try:
            data = os.read(self._terminal, 1 << 16)
        except OSError:
            # Linux raises it when the last program at the terminal has ended.
            return False
        self.screens[-1] += data.decode("utf-8", errors="replace").replace("\r\n", "\n")
        return bool(data)

    def _wait_for_raw_mode(self, deadline: float) -> None:
        """Wait until the program reads keys: it drops what was typed before."""
        while termios.tcgetattr(self._terminal)[3] & termios.ICANON:
            if self.process.poll() is not None or time.monotonic() > deadline:
                return
            time.sleep(0.005)
