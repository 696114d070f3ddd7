"""Fixtures that start real engines, and laws that are tried on the same examples every time."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from hypothesis import settings

from repro_gate.adapters.engines.client import EngineProcesses
from repro_gate.core.engines import EngineSpec
from repro_gate.ports import Engine
from tests.fakes.processes import (
    PATIENCE_S,
    DescribedEngineStarter,
    EngineStarter,
    command_spec,
    failing,
    speaking,
)

settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture
def start() -> Iterator[EngineStarter]:
    """Return a function that starts an engine, which is closed after the test."""
    with ExitStack() as started:

        def start_engine(spec: EngineSpec) -> Engine:
            return started.enter_context(closing(EngineProcesses().start(spec)))

        yield start_engine


@pytest.fixture
def speaking_engine(start: EngineStarter) -> DescribedEngineStarter:
    """Return a function that starts an engine whose answers have the given changes."""

    def start_speaking(**changes: Any) -> Engine:
        return start(command_spec(*speaking(changes)))

    return start_speaking


@pytest.fixture
def failing_engine(start: EngineStarter) -> DescribedEngineStarter:
    """Return a function that starts an engine which fails in the given way."""

    def start_failing(*arguments: str, timeout_s: float = PATIENCE_S) -> Engine:
        return start(command_spec(*failing(*arguments), timeout_s=timeout_s))

    return start_failing
