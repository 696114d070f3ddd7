"""Ends what a server has started when its engine has ended without doing so.

The kernel kills an engine with its gate, at once, and a server would live on. The first line of
stdin has the mark of all that is to be ended, and their session; its end is that of the engine.
"""

import signal
import sys

from repro_gate.process_tree import kill_marked


def main() -> None:
    """Wait until the engine has ended."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    mark, *sessions = sys.stdin.readline().split()
    sys.stdin.read()
    kill_marked(mark, session=next(map(int, sessions), None))


if __name__ == "__main__":
    main()
