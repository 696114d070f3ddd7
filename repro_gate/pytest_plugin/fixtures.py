"""Fixtures for tests of one's own; nothing else is imported before one of them is used."""

from typing import TYPE_CHECKING

import pytest

from repro_gate.pytest_plugin.options import PARAMETER

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion

    from repro_gate.pytest_plugin.observing import Cells, GoldenSnapshot


@pytest.fixture(scope="session")
def repro_gate(request: pytest.FixtureRequest) -> "Cells":
    """Return the cells of the matrix: what they generate, their goldens and their verdicts."""
    from repro_gate.pytest_plugin.observing import Cells  # noqa: PLC0415 -- see the module

    cells = Cells.of(request.config)
    cells.want(request.session.items)
    return cells


@pytest.fixture
def golden(
    request: pytest.FixtureRequest, repro_gate: "Cells", snapshot: "SnapshotAssertion"
) -> "GoldenSnapshot":
    """Return a function that gives the syrupy snapshot of a cell, by its id."""
    from repro_gate.pytest_plugin.observing import GoldenSnapshot  # noqa: PLC0415

    return GoldenSnapshot(repro_gate, snapshot, updates=request.config.option.update_snapshots)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test with the parameter `repro_gate_cell` every cell of the selected suites."""
    if PARAMETER in metafunc.fixturenames:
        from repro_gate.pytest_plugin.observing import Cells  # noqa: PLC0415

        metafunc.parametrize(PARAMETER, Cells.of(metafunc.config).ids)
