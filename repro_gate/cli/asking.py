"""Asking a person before something is written."""

import sys
from collections.abc import Mapping

from repro_gate.errors import UsageInvalid


def ci_variable(environ: Mapping[str, str]) -> str | None:
    """Return the variable by which a CI system shows that no person is there, or None."""
    for name in ("CI", "GITHUB_ACTIONS"):
        if environ.get(name, "").lower() not in {"", "0", "false"}:
            return name
    return None


def is_confirmed(question: str, *, yes: bool, later: str = "--yes") -> bool:
    """Ask, and tell whether the answer is yes.

    Args:
        question: what a person is asked.
        yes: answers in advance.
        later: the options to pass after a look at what would be written.

    Raises:
        UsageInvalid: there is nobody to ask.
    """
    if yes:
        return True
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageInvalid(
            "nothing was written: this is no terminal, so nobody can be asked; "
            f"look at the list, then pass {later}"
        )
    try:
        return input(f"{question} [y/N] ").strip().lower() in {"y", "yes"}
    except EOFError:
        print()
        return False
