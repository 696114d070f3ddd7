"""Work counted in calls: unlike seconds it is the same on every machine."""

import os
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def calls_in(work: Callable[[], object]) -> int:
    """Return how many functions, generators included, are entered while `work` is done."""
    calls = 0

    def count(frame: FrameType, event: str, arg: object) -> None:
        nonlocal calls
        del frame, arg
        calls += event in {"call", "c_call"}

    _profile(work, count)
    return calls


def system_calls_in(work: Callable[[], object]) -> list[str]:
    """Return the names of the functions of the operating system that `work` calls."""
    names: list[str] = []

    def note(frame: FrameType, event: str, arg: Any) -> None:
        del frame
        if event == "c_call" and arg.__module__ == os.name:
            names.append(arg.__name__)

    _profile(work, note)
    return names


def _profile(work: Callable[[], object], profile: Callable[[FrameType, str, Any], object]) -> None:
    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(before)
