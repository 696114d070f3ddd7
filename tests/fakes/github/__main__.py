"""A GitHub as a program: `python -m tests.fakes.github --port-file FILE`; SIGTERM ends it."""

import argparse
import contextlib
import json
import signal
import threading
from pathlib import Path

from tests.fakes.github.control import change
from tests.fakes.github.server import serving
from tests.fakes.github.world import REPOSITORY, World


def main() -> None:
    """Write the port to a file as soon as the server listens, and serve until the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port-file", type=Path, required=True, help="written when it listens")
    parser.add_argument("--port", type=int, default=0, help="any free one by default")
    parser.add_argument("--path", default="", help="the root of the API, such as /api/v3")
    parser.add_argument("--repository", default=REPOSITORY, metavar="OWNER/NAME")
    parser.add_argument("--state", type=Path, help="JSON: pulls, tokens, comments, faults")
    options = parser.parse_args()
    world = World(repository=options.repository)
    if options.state:
        change(world, json.loads(options.state.read_text("utf-8")))
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with serving(world, path=options.path, port=options.port) as github:
        unfinished = options.port_file.with_suffix(".part")
        unfinished.write_text(f"{github.port}\n", "utf-8")
        unfinished.replace(options.port_file)
        with contextlib.suppress(KeyboardInterrupt):
            ended.wait()


if __name__ == "__main__":
    main()
