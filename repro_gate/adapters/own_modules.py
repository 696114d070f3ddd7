"""Modules of ours that run as processes of their own."""

import sys


def command_of(module: str) -> tuple[str, ...]:
    """Return the command that runs a module, and no file of the current folder in its place.

    A gate that is isolated, as that of the action is, isolates it as well: `PYTHONPATH` would let
    another library be measured than the one that was installed.
    """
    return (sys.executable, "-I" if sys.flags.isolated else "-P", "-m", module)
