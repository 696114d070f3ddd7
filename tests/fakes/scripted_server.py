"""A model server that follows a script: slow, dying, at the wrong name, or leaving workers behind.

`python scripted_server.py PORT NAME SCRIPT ...`, where SCRIPT is JSON; see `_DEFAULTS`.
"""

import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_DEFAULTS: dict[str, Any] = {
    "say": "",
    # Printed at the start.
    "exit": None,
    # The code or, if negative, the signal with which it ends before it listens.
    "taken": "",
    # A file that makes the next start print that the port is taken, once.
    "loading": 0,
    # How many requests are answered with 503.
    "hang": False,
    # Whether it never listens.
    "deaf": False,
    # Whether it ignores SIGTERM.
    "worker": "",
    # Where the process id of a worker in a session of its own is written.
    "environ": "",
    # Where its environment and arguments are written.
    "die_after": None,
    # After how many completions it ends, by SIGKILL.
}


def _end(how: int) -> None:
    if how < 0:
        os.kill(os.getpid(), -how)
        time.sleep(60)
    sys.exit(how)


def _begin(script: dict[str, Any]) -> None:
    sys.stdout.write(script["say"])
    sys.stdout.flush()
    taken = Path(script["taken"])
    if script["taken"] and not taken.exists():
        taken.touch()
        sys.exit("OSError: [Errno 98] Address already in use")
    if script["environ"]:
        about = {"environ": dict(os.environ), "argv": sys.argv}
        Path(script["environ"]).write_text(json.dumps(about), "utf-8")
    if script["deaf"]:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if script["worker"]:
        worker = subprocess.Popen(["sleep", "600"], start_new_session=True)  # noqa: S607
        Path(script["worker"]).write_text(str(worker.pid), "utf-8")
    if script["exit"] is not None:
        _end(script["exit"])
    if script["hang"]:
        time.sleep(600)


def main(port: str, name: str, script: str, *_: str) -> None:
    """Serve until killed."""
    rules = {**_DEFAULTS, **json.loads(script)}
    _begin(rules)
    left = {"loading": rules["loading"], "completions": rules["die_after"]}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if left["loading"] > 0:
                left["loading"] -= 1
                self._answer(503, {"error": {"message": "Loading model"}})
            else:
                self._answer(200, {"data": [{"id": name}]})

        def do_POST(self) -> None:
            if left["completions"] is not None:
                left["completions"] -= 1
                if left["completions"] < 0:
                    sys.stdout.write("out of memory\n")
                    sys.stdout.flush()
                    _end(-signal.SIGKILL)
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(200, {"choices": []})

        def _answer(self, status: int, value: object) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
