"""Every golden is explained: what the samplers draw in the place of each token is that token.

Not a repetition of the recording: the engine is given the tokens, and draws from the probabilities
after each of them, so a golden that some other model, seed or sampler made would not be explained.
"""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from repro_gate.checks.engine_worker import EngineWorker
from repro_gate.checks.tokens.runner import CheckPorts
from repro_gate.cli import wiring
from repro_gate.cli.session import Selection, open_session
from repro_gate.cli.terminal.progress import shown_progress
from repro_gate.core.matrix import plan
from repro_gate.core.tokens.golden import Golden
from repro_gate.core.tokens.verification import Verification
from repro_gate.errors import MeasurementUnavailable
from repro_gate.ports import VerifyRequest

_CONFIG = Path(__file__).parents[2] / "repro-gate.toml"
_WORKSPACE = wiring.workspace_for(open_session(Selection(config=_CONFIG)))


@pytest.fixture(name="ports")
def _ports() -> Iterator[CheckPorts]:
    with shown_progress(Console(stderr=True), quiet=True) as progress:
        yield wiring.ports_for_check(_WORKSPACE, progress=progress)


def _verified(
    suite: str, ports: CheckPorts, *, seed_shift: int = 0
) -> Iterator[tuple[Golden, Verification]]:
    """Yield the goldens of a suite for this machine, each with its verification."""
    asked = plan(_WORKSPACE.matrix, suites=[suite])
    for model in asked.models.values():
        worker = EngineWorker(
            model.engine, starter=ports.starter, files=ports.files, clock=time.monotonic
        )
        with closing(worker):
            profile = worker.describe().profile
            cells = [cell for cell in asked.cells if cell.model == model.name]
            goldens = [ports.goldens.read(profile, cell.id) for cell in cells]
            claims = (_claim(golden, seed_shift) for golden in goldens)
            done = worker.verify_all(model, claims)
            for golden, one in zip(goldens, done, strict=True):
                yield golden, one.outcome.answer().verification


def _claim(golden: Golden, seed_shift: int) -> VerifyRequest:
    cell = replace(golden.cell, seed=golden.cell.seed + seed_shift)
    claimed = golden.generation
    return VerifyRequest.of(cell, prompt=claimed.prompt, tokens=claimed.tokens)


@pytest.mark.parametrize("suite", ["embedded", "release-smollm2"])
def test_every_token_of_every_golden_is_explained(suite: str, ports: CheckPorts) -> None:
    """The real weights too, where their file is in the cache."""
    try:
        found = list(_verified(suite, ports))
    except MeasurementUnavailable as error:
        if suite == "embedded":
            raise
        pytest.skip(f"{error.reason}; {error.remedy}")
    assert sum(len(verification) for _, verification in found) >= 10 * len(found)
    for golden, verification in found:
        drawn = [token.drawn for token in verification]
        assert drawn == [token.id for token in golden.generation.tokens], golden.cell.id
        numbers = [token.uniform for token in verification]
        assert (None in numbers) == (golden.cell.sampler.temperature == 0), golden.cell.id


def test_another_seed_explains_no_golden(ports: CheckPorts) -> None:
    """So that the test above can fail."""
    for golden, verification in _verified("embedded", ports, seed_shift=1):
        distances = [token.distance for token in verification]
        assert any(distances), golden.cell.id
