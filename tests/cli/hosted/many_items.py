"""Baselines for a hosted suite of any size: computed as the server computes its answers."""

from typing import Any

from repro_gate.adapters.files.snapshots import BaselineFiles
from repro_gate.adapters.matrix.reader import read_matrix
from repro_gate.core.logprobs.baseline import DECIMALS, Baseline, fit_noise
from repro_gate.core.logprobs.draw import DrawFacts, Encoding, Piece
from repro_gate.core.logprobs.policy import LogprobCell
from tests.cli.hosted.workspaces import SOURCE, HostedWorkspace
from tests.fakes.fireworks.conduct import Conduct
from tests.fakes.fireworks.hosting import MODEL
from tests.fakes.fireworks.weights import HashedWeights

PATIENT = Conduct(remembers=100_000, requests_per_minute=10_000_000)
"""A server that takes any number of calls."""
_WHEN = "2026-01-02T03:04:05+00:00"
_DRAWS = 10
_SUITE = {"draws": 5, "false_alarm_rate": 0.5}
"""With a smaller rate one cell of thousands could not be found to drift by so few draws."""


def ask_for_many(workspace: HostedWorkspace, base_url: str, *, items: int) -> None:
    """Write the matrix of so many items, and a baseline for each."""
    workspace.ask(base_url, items={f"item{n}": _item(n) for n in range(items)}, suite=_SUITE)
    files = BaselineFiles(workspace.snapshots / "baselines")
    matrix = read_matrix(workspace.folder / "repro-gate.toml")
    for cell in matrix.logprob_suites["hosted"].cells:
        files.write(_baseline_of(cell))


def _item(number: int) -> dict[str, Any]:
    return {"prompt": f"Say {number}:", "response": f" {number:05}"}


def _baseline_of(cell: LogprobCell) -> Baseline:
    prompt, response = cell.prefix.encode(), cell.item.response.encode()
    ids = tuple(prompt + response)
    exact, _ = HashedWeights().score(ids, first=len(prompt), temperature=None)
    draws = (tuple(round(value, DECIMALS) for value in exact),) * _DRAWS
    return Baseline(
        id=cell.id,
        source=SOURCE,
        definition=cell.definition,
        encoding=Encoding(prompt=_pieces(prompt), response=_pieces(response)),
        draws=draws,
        facts=(DrawFacts(at=_WHEN, model=MODEL),) * _DRAWS,
        noise=fit_noise(draws),
        answered_as=MODEL,
        provenance={"provider": "fireworks"},
        recorded_at=_WHEN,
    )


def _pieces(data: bytes) -> tuple[Piece, ...]:
    return tuple(Piece(byte, bytes([byte])) for byte in data)
