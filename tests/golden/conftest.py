"""The committed goldens, asserted with syrupy: `pytest tests/golden [--snapshot-update]`."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from syrupy.assertion import SnapshotAssertion

from repro_gate.adapters.files.golden_writer import golden_extension
from repro_gate.checks.tokens.record import observe
from repro_gate.cli import wiring
from repro_gate.cli.session import Selection, open_session
from repro_gate.cli.terminal.console import refuse_under_ci
from repro_gate.cli.terminal.progress import shown_progress
from repro_gate.core.matrix import plan
from repro_gate.core.tokens.golden import Golden
from repro_gate.core.tokens.golden_format import to_data

_CONFIG = Path(__file__).parents[2] / "repro-gate.toml"
WORKSPACE = wiring.workspace_for(open_session(Selection(config=_CONFIG)))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every cell of the embedded suite a test whose id is the id of the cell."""
    if "cell_id" in metafunc.fixturenames:
        cells = WORKSPACE.matrix.suites["embedded"].cells
        metafunc.parametrize("cell_id", [cell.id for cell in cells])


@pytest.fixture(name="observed", scope="session")
def _observed() -> Mapping[str, Golden]:
    """Run every cell once and return the outputs as goldens."""
    with shown_progress(Console(stderr=True), quiet=True) as progress:
        observation = observe(
            plan(WORKSPACE.matrix, suites=["embedded"], runs=1),
            ports=wiring.ports_for_check(WORKSPACE, progress=progress),
            started=time.monotonic(),
            started_at="",
        )
    return {golden.cell.id: golden for golden in observation.goldens}


@pytest.fixture(name="tokens")
def _tokens(cell_id: str, observed: Mapping[str, Golden]) -> dict[str, Any]:
    """Return the output of one cell."""
    return to_data(observed[cell_id])


@pytest.fixture
def snapshot(
    request: pytest.FixtureRequest,
    snapshot: SnapshotAssertion,
    cell_id: str,
    observed: Mapping[str, Golden],
) -> SnapshotAssertion:
    """Return syrupy's fixture for the folder of this machine's profile."""
    if request.config.option.update_snapshots:
        # Syrupy itself would write in CI too.
        refuse_under_ci(os.environ)
    folder = WORKSPACE.snapshots / "goldens" / observed[cell_id].profile
    return snapshot.with_defaults(extension_class=golden_extension(folder))
