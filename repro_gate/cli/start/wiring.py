"""This machine and its terminal, as `init` uses them."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from repro_gate.adapters.discovery.machine import ThisMachine
from repro_gate.adapters.discovery.models import Surroundings
from repro_gate.cli.wiring import cache_folder
from repro_gate.errors import MeasurementUnavailable


def this_machine(folder: Path) -> ThisMachine:
    """Return the machine, as seen from a folder."""
    home = Path(os.environ.get("HOME") or folder)
    where = Surroundings(folder=folder, home=home, cache=cache_folder(), environ=os.environ)
    return ThisMachine(where=where)


def working_folder() -> Path:
    """Return the working folder; raises `MeasurementUnavailable` if it was removed."""
    try:
        return Path.cwd()
    except OSError as error:
        raise MeasurementUnavailable(
            "the working folder was removed", remedy="run the command in a folder that exists"
        ) from error


def question_or_none() -> Callable[[str], str] | None:
    """Return what asks on the terminal; None if there is none."""
    if sys.stdin is None or not sys.stdin.isatty():  # pyright: ignore[reportUnnecessaryComparison] -- None when closed
        return None
    return input
