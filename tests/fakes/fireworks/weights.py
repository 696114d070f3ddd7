"""Weights that score tokens: a tiny model in a real engine process, or a hash of the context."""

import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from repro_gate.adapters.engines.client import EngineProcesses
from repro_gate.core.engines import EngineKind, EngineSpec, ModelSpec
from repro_gate.core.tokens.generation import Token
from repro_gate.ports import Engine, ModelFile, Scored, ScoreRequest
from repro_gate.tiny_models.maker import make
from repro_gate.tiny_models.recipes import RECIPES
from tests.fakes.processes import scored

Ids: TypeAlias = tuple[int, ...]
Values: TypeAlias = tuple[float, ...]

CONTEXT = 4096
"""Tokens that fit in the context of every tiny model."""


class Quantisation(Enum):
    """How a model file is stored; the values are the file types of llama.cpp."""

    F32 = 0
    F16 = 1
    Q4_0 = 2
    Q8_0 = 7


class Weights(Protocol):
    """The weights of a hosted model."""

    @property
    def vocabulary(self) -> Sequence[Token]:
        """Every token, by id."""
        ...

    @property
    def is_quick(self) -> bool:
        """Whether `following` is fast enough for every token of a prompt."""
        ...

    def tokenize(self, text: str) -> Ids:
        """Return the tokens of a text."""
        ...

    def score(self, ids: Ids, *, first: int, temperature: float | None) -> tuple[Values, Values]:
        """Return log-probabilities of the tokens from `first`, at least 1, to the end.

        First the raw ones, then those at the temperature; no temperature, no second ones.
        """
        ...

    def following(self, ids: Ids) -> Values:
        """Return the raw log-probability of every token of the vocabulary after these."""
        ...


@dataclass(frozen=True, slots=True)
class HashedWeights:
    """Every byte is a token whose logits are a hash of the bytes before it: fast, no model."""

    seed: int = 1

    @property
    def vocabulary(self) -> Sequence[Token]:
        """Every byte."""
        return _BYTES

    @property
    def is_quick(self) -> bool:
        """It is."""
        return True

    def tokenize(self, text: str) -> Ids:
        """Return the bytes of a text."""
        return tuple(text.encode())

    def score(self, ids: Ids, *, first: int, temperature: float | None) -> tuple[Values, Values]:
        """Return raw log-probabilities, and those at the temperature."""
        raw: list[float] = []
        sampling: list[float] = []
        for place in range(first, len(ids)):
            logits = self._logits(ids[:place])
            raw.append(float(_log_softmax(logits)[ids[place]]))
            if temperature is not None:
                sampling.append(float(_log_softmax(logits / temperature)[ids[place]]))
        return tuple(raw), tuple(sampling)

    def following(self, ids: Ids) -> Values:
        """Return the raw log-probability of every byte after these."""
        return tuple(map(float, _log_softmax(self._logits(ids))))

    def _logits(self, ids: Ids) -> npt.NDArray[np.float64]:
        digest = blake2b(bytes(ids), key=self.seed.to_bytes(8), digest_size=8).digest()
        return np.random.default_rng(int.from_bytes(digest)).normal(scale=_SPREAD, size=len(_BYTES))


class TinyWeights:
    """A tiny model, held by an engine process; made by `tiny_weights`."""

    is_quick = False
    """One request per token: most of a second for the whole vocabulary."""

    def __init__(self, engine: Engine, *, size: int) -> None:
        self._engine = engine
        self._size = size
        # The engine answers one question at a time, and two servers may hold the same weights.
        self._turn = threading.Lock()
        self._following: dict[Ids, Values] = {}
        # The engine returns the bytes of every token that it scores.
        scored = self.ask(prompt=tuple(range(size)), response=(0,))
        self.vocabulary: Sequence[Token] = tuple(
            Token(id, piece.data) for id, piece in enumerate(scored.encoding.prompt)
        )

    def tokenize(self, text: str) -> Ids:
        """Return the tokens of a text, with the model's BOS token."""
        pieces = self.ask(prompt=text, response=(0,)).encoding.prompt
        return tuple(piece.id for piece in pieces if piece.id is not None)

    def score(self, ids: Ids, *, first: int, temperature: float | None) -> tuple[Values, Values]:
        """Return raw log-probabilities, and those at the temperature."""
        found = self.ask(prompt=ids[:first], response=ids[first:], temperature=temperature)
        return found.logprobs, found.sampling_logprobs or ()

    def following(self, ids: Ids) -> Values:
        """Return the raw log-probability of every token after these: one request for each."""
        # Every draw of an item is followed by the same.
        if ids not in self._following:
            self._following[ids] = tuple(
                self.ask(prompt=ids, response=(token,)).logprobs[0] for token in range(self._size)
            )
        return self._following[ids]

    def ask(
        self, *, prompt: str | Ids, response: str | Ids, temperature: float | None = None
    ) -> Scored:
        """Return the scores of the engine."""
        asked = ScoreRequest(prompt=prompt, response=response, temperature=temperature)
        with self._turn:
            return scored(self._engine, asked)


@contextmanager
def tiny_weights(
    name: str, quantisation: Quantisation = Quantisation.F32
) -> Generator[TinyWeights]:
    """Give a built-in model, possibly quantised by llama.cpp, in its own engine process."""
    with ExitStack() as resources:
        folder = Path(resources.enter_context(tempfile.TemporaryDirectory()))
        model = _file(name, quantisation, folder)
        engine = EngineProcesses().start(_ENGINE)
        resources.callback(engine.close)
        spec = ModelSpec(name=name, engine=_ENGINE, source=str(model), sha256=None)
        engine.load(spec, ModelFile(path=model, sha256=None))
        yield TinyWeights(engine, size=RECIPES[name].shape.vocabulary)


def _file(name: str, quantisation: Quantisation, folder: Path) -> Path:
    exact = make(RECIPES[name], folder / f"{name}.gguf").path
    if quantisation is Quantisation.F32:
        return exact
    return quantised(exact, folder / f"{name}-{quantisation.name}.gguf", quantisation)


def quantised(model: Path, target: Path, quantisation: Quantisation) -> Path:
    """Write a model as llama.cpp stores it with a file type, also from a quantised one."""
    # In a child process: no test loads an inference library, and this one writes a long log.
    command = (sys.executable, "-c", _QUANTISE, str(model), str(target), str(quantisation.value))
    subprocess.run(command, check=True, capture_output=True)
    return target


def _log_softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    shifted = logits - logits.max()
    result: npt.NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
    return result


_SPREAD = 2.3
"""The standard deviation of the logits, as the tiny models have it."""
_BYTES = tuple(Token(byte, bytes([byte])) for byte in range(256))
_ENGINE = EngineSpec(
    name="hosted",
    kind=EngineKind.LLAMA_CPP,
    command=(),
    device="cpu",
    settings={
        "n_ctx": CONTEXT,
        "n_batch": CONTEXT,
        "threads": 1,
        "flash_attention": False,
        "kv_type": "f32",
    },
    timeout_s=60.0,
    pass_env=(),
)
_QUANTISE = """
import ctypes, sys
from llama_cpp import llama_cpp
params = llama_cpp.llama_model_quantize_default_params()
params.ftype, params.nthread, params.allow_requantize = int(sys.argv[3]), 1, True
source, target = (path.encode() for path in sys.argv[1:3])
sys.exit(llama_cpp.llama_model_quantize(source, target, ctypes.byref(params)))
"""
