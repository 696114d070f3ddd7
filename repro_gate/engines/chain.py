"""An engine that can be broken on request: a Markov chain over the bytes of a text.

It makes the verdicts of `repro-gate demo`: healthy with the setting `fault = "none"`, and with any
other value it has that fault.
"""

import math
import os
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from enum import StrEnum
from itertools import accumulate
from pathlib import Path
from time import perf_counter
from typing import Final

from repro_gate.engines.model_file import read_model
from repro_gate.engines.requests import (
    DescribeRequest,
    GenerateRequest,
    LoadRequest,
    SamplerRequest,
    ScoreRequest,
)
from repro_gate.engines.serving import Engine, run
from repro_gate.protocol import Json, Refusal, RequestRefused, WireToken, bad_request
from repro_gate.strict_json import choice, exact_table, integer

_BEST: Final = 5
_MAX_ORDER: Final = 8
_BYTES: Final = 256
_UNSEEN: Final = 0.01
"""The count of a byte that never follows in the text."""
_COLDEST: Final = 0.001
_OUTLYING: Final = (1, 3)
_CYCLE: Final = 5
_OUTLIER_NATS: Final = 8.0


class Fault(StrEnum):
    """What is wrong with the engine."""

    NONE = "none"
    RANDOM = "keeps its random state between runs"
    SEED = "draws as with the seed 42"
    CACHE = "loses a token of a cached prompt"
    CRASH = "crashes"
    OUTLIERS = "is far off in two of five answers"
    VALUES = "answers probabilities above 1"


class ChainEngine(Engine):
    """Draws each byte from those that follow the last few in a text."""

    def __init__(self) -> None:
        self._order = 0
        self._fault = Fault.NONE
        self._next: dict[bytes, Counter[int]] = {}
        self._random = random.Random(0)  # noqa: S311 -- sampling, not cryptography
        self._prompt = ""
        self._scored = 0

    def describe(self, request: DescribeRequest) -> Json:
        """Return the profile, which is the same on every machine."""
        if not request.device.is_cpu:
            raise RequestRefused(Refusal.DEVICE_UNAVAILABLE, "only the CPU is supported")
        facts = {"engine.version": "1"}
        return {"engine": "chain", "profile": "chain-1", "facts": facts, "can": ["keep_cache"]}

    def load(self, request: LoadRequest) -> Json:
        """Count what follows what in the text."""
        self._next = {}
        settings = exact_table(request.settings, "settings", keys=("order", "fault"))
        self._order = integer(settings["order"], "settings.order", low=1, high=_MAX_ORDER)
        self._fault = Fault(choice(settings["fault"], "settings.fault", tuple(Fault)))
        model = read_model(request)
        self._next = _chain(b"".join(map(Path.read_bytes, model.files)), order=self._order)
        model.require_unchanged()
        return {
            "sha256": model.sha256,
            "size": model.size,
            "layers": 1,
            "layers_on_device": 1,
            "facts": {f"setting.{name}": str(value) for name, value in settings.items()},
        }

    def generate(self, request: GenerateRequest) -> Json:
        """Draw bytes with the samplers of the request."""
        self._require_ready()
        if request.sampling is not None or request.chat is not None or request.stop:
            raise bad_request("chats, stop strings and further samplers are not supported")
        started = perf_counter()
        prompt = request.prompt.encode()
        is_cached = request.keep_cache and request.prompt == self._prompt
        self._prompt = request.prompt
        is_cut = is_cached and self._fault is Fault.CACHE
        text = bytearray(prompt[: -1 if is_cut else None])
        source, trace = self._source(request.seed), list[Json]()
        for _ in range(request.max_tokens):
            counts = self._after(text)
            byte = _draw(counts, request, source)
            trace.append(_evidence(counts, byte))
            text.append(byte)
        answer = {
            "prompt": _tokens(prompt),
            "tokens": _tokens(text[-request.max_tokens :]),
            "stop": "length",
            "timing": {"decode_s": perf_counter() - started, "sample_s": 0.0},
            "cached_tokens": len(prompt) - 1 if is_cached else 0,
        }
        return answer | {"trace": trace} if request.trace else answer

    def score(self, request: ScoreRequest) -> Json:
        """Return the log-probability of each byte of a response."""
        self._require_ready()
        if request.temperature is not None:
            raise bad_request("score.temperature is not supported")
        started = perf_counter()
        prompt, response = _bytes(request.prompt), _bytes(request.response)
        text = prompt + response
        places = range(len(prompt), len(text))
        logprobs = [_logprob(self._after(text[:place]), text[place]) for place in places]
        self._scored += 1
        if self._fault is Fault.OUTLIERS and self._scored % _CYCLE in _OUTLYING:
            logprobs[0] -= _OUTLIER_NATS
        if self._fault is Fault.VALUES:
            logprobs[0] = 0.5
        return {
            "prompt": _tokens(prompt),
            "response": _tokens(response),
            "logprobs": logprobs,
            "timing": {"decode_s": perf_counter() - started},
        }

    def _require_ready(self) -> None:
        if not self._next:
            raise bad_request("no model is loaded")
        if self._fault is Fault.CRASH:
            sys.stderr.write("out of memory\n")
            sys.stderr.flush()
            os._exit(1)

    def _source(self, seed: int) -> random.Random:
        match self._fault:
            case Fault.RANDOM:
                return self._random
            case Fault.SEED:
                return random.Random(42)  # noqa: S311 -- sampling, not cryptography
            case _:
                return random.Random(seed)  # noqa: S311 -- sampling, not cryptography

    def _after(self, text: bytes | bytearray) -> Counter[int]:
        """Return what follows the longest known end of a text."""
        longest = min(self._order, len(text))
        ends = (bytes(text[len(text) - size :]) for size in range(longest, -1, -1))
        return next(self._next[end] for end in ends if end in self._next)


def _chain(data: bytes, *, order: int) -> dict[bytes, Counter[int]]:
    chain: dict[bytes, Counter[int]] = defaultdict(Counter)
    for place, byte in enumerate(data):
        for size in range(min(order, place) + 1):
            chain[data[place - size : place]][byte] += 1
    if not chain:
        raise RequestRefused(Refusal.MODEL_INVALID, "the text is empty")
    return dict(chain)


def _draw(counts: Counter[int], request: SamplerRequest, source: random.Random) -> int:
    ranked = _ranked(counts)[: request.top_k or None]
    best, total = ranked[0][1], sum(count for _, count in ranked)
    masses = accumulate((count for _, count in ranked), initial=0)
    kept = {
        byte: (count / best) ** (1 / max(request.temperature, _COLDEST))
        for (byte, count), mass in zip(ranked, masses, strict=False)
        if mass < request.top_p * total and count >= request.min_p * best
    }
    (drawn,) = source.choices(list(kept), list(kept.values()))
    return ranked[0][0] if request.is_greedy else drawn


def _ranked(counts: Counter[int]) -> list[tuple[int, int]]:
    """Return the bytes with their counts, the likeliest first, equals by the lower byte."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _evidence(counts: Counter[int], byte: int) -> Json:
    best = [[other, _logprob(counts, other)] for other, _ in _ranked(counts)[:_BEST]]
    return {"logprob": _logprob(counts, byte), "best": best}


def _logprob(counts: Counter[int], byte: int) -> float:
    return math.log((counts[byte] + _UNSEEN) / (counts.total() + _BYTES * _UNSEEN))


def _bytes(given: str | Sequence[int]) -> bytes:
    return given.encode() if isinstance(given, str) else bytes(given)


def _tokens(data: bytes | bytearray) -> list[object]:
    return [WireToken(byte, bytes([byte])).to_wire() for byte in data]


if __name__ == "__main__":
    sys.exit(run(ChainEngine))
