"""Makes one model: `python -m repro_gate.tiny_models NAME PATH`.

Prints one line of JSON with the name, path, sha256 and size in bytes. Exits with 2 for a command
line that it does not understand, and with 4 when the file could not be written.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from repro_gate.tiny_models.maker import make
from repro_gate.tiny_models.recipes import RECIPES

_COULD_NOT_WRITE = 4


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m repro_gate.tiny_models", description="Make a small model, byte for byte."
    )
    parser.add_argument("--list", action="store_true", help="print the known names and exit")
    parser.add_argument("name", nargs="?", metavar="NAME", help=f"one of {', '.join(RECIPES)}")
    parser.add_argument("path", nargs="?", metavar="PATH", type=Path, help="the file to write")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.list:
        print(*RECIPES, sep="\n")
        return 0
    if options.name is None or options.path is None:
        parser.error("expected NAME and PATH, or --list")
    if options.name not in RECIPES:
        parser.error(f"unknown model {options.name!r}: expected one of {', '.join(RECIPES)}")
    return _make(options.name, options.path)


def _make(name: str, path: Path) -> int:
    try:
        made = make(RECIPES[name], path)
    except OSError as error:
        print(f"{path}: {error}", file=sys.stderr)
        return _COULD_NOT_WRITE
    answer = {"name": name, "path": str(made.path), "sha256": made.sha256, "size": made.size}
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
