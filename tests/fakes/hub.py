"""A model hub on the loopback: as much of it as a download needs, and ways to fail."""

import hashlib
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast

COMMIT = "c0ffee" + "0" * 34


class Hub(ThreadingHTTPServer):
    """Serves files under `/OWNER/REPO/resolve/main/FILE`, and remembers what was asked."""

    daemon_threads = True

    def __init__(self, files: Mapping[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = dict(files)
        """By `OWNER/REPO[@REVISION]/FILE`; may be changed at any time."""
        self.cut = False
        """Whether every body ends in its middle."""
        self.asked: list[str] = []
        """The requests for files, such as `GET OWNER/REPO/FILE`."""
        self.tokens: set[str | None] = set()
        """The `Authorization` of those requests."""

    @property
    def url(self) -> str:
        """The address of the hub."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        """Tell what a file is."""
        self._start()

    def do_GET(self) -> None:
        """Send a file."""
        content = self._start()
        self.wfile.write(content[: len(content) // 2] if self._hub.cut else content)
        self.close_connection = self._hub.cut

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the name is given
        """Say nothing: the test asks for what it wants to know."""

    @property
    def _hub(self) -> Hub:
        return cast("Hub", self.server)

    def _start(self) -> bytes:
        name = re.sub(r"/resolve/([^/]+)/", r"@\1/", self.path.removeprefix("/"), count=1)
        name = name.replace("@main/", "/", 1)
        content = self._hub.files.get(name)
        if not self.path.startswith("/api/"):
            self._hub.asked.append(f"{self.command} {name}")
            self._hub.tokens.add(self.headers.get("Authorization"))
        if content is None:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
        else:
            self.send_response(200)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        return content or b""


@contextmanager
def serving(files: Mapping[str, bytes]) -> Iterator[Hub]:
    """Give a hub that has these files, by `OWNER/REPO/FILE`."""
    with Hub(files) as hub:
        thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
