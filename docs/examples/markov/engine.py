#!/usr/bin/env python3
"""A complete engine for repro-gate in one file: a Markov chain over the bytes of a text.

It implements the engine protocol v1 on stdin and stdout without importing repro-gate, as a recipe
for any language. The "model" is a text file: the next byte is drawn from the bytes that follow the
last few in that text. A token is one byte, and its id is its value.
"""

import hashlib
import json
import math
import random
import sys
from collections import Counter, defaultdict
from pathlib import Path
from time import perf_counter
from typing import Any

PROTOCOL = "repro-gate/engine/v1"
BEST = 5
SETTINGS = {"order": 2, "warm": False}


class Refused(Exception):
    """A typed error: the engine is fine, but cannot do what was requested."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class MarkovEngine:
    """One model at a time, and a method for each method of the protocol."""

    def __init__(self) -> None:
        self._order = 0
        self._warm = False
        self._random = random.Random(0)  # noqa: S311 -- sampling, not cryptography
        self._next: dict[bytes, Counter[int]] = {}

    def handle(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Return the result, or raise `Refused`."""
        match method:
            case "describe":
                return self.describe(params)
            case "load":
                return self.load(params)
            case "generate":
                return self.generate(params)
            case "score":
                return self.score(params)
            case _:
                raise Refused("bad_request", f"there is no method {method!r}")

    def describe(self, params: dict[str, Any]) -> dict[str, Any]:
        """Return the name of the engine, its profile and its facts."""
        _require_cpu(params["device"])
        # Integer counts and one random number a token: the same on every machine.
        facts = {"engine.version": "1", "host.python": sys.version.split()[0]}
        return {"engine": "markov", "profile": "markov-1", "facts": facts}

    def load(self, params: dict[str, Any]) -> dict[str, Any]:
        """Load a model in place of the previous one."""
        self._next = {}
        _require_cpu(params["device"])
        unknown = sorted(params["settings"].keys() - SETTINGS.keys())
        if unknown:
            raise Refused("bad_request", f"there is no setting {unknown[0]!r}")
        settings = SETTINGS | params["settings"]
        try:
            data = Path(params["path"]).read_bytes()
        except OSError as error:
            raise Refused("model_invalid", f"{params['path']}: {error.strerror}") from error
        digest = hashlib.sha256(data).hexdigest()
        if params["sha256"] not in {None, digest}:
            raise Refused("digest_mismatch", f"expected {params['sha256']}, found {digest}")
        self._order, self._warm = settings["order"], settings["warm"]
        self._next = _chain(data, order=self._order)
        return {
            "sha256": digest,
            "size": len(data),
            "layers": 1,
            "layers_on_device": 1,
            "facts": {f"setting.{name}": str(value).lower() for name, value in settings.items()},
        }

    def generate(self, params: dict[str, Any]) -> dict[str, Any]:
        """Run one cell once, cold: nothing of an earlier request may change its tokens."""
        if not self._next:
            raise Refused("bad_request", "no model is loaded")
        if not params.keys().isdisjoint({"chat", "sampling", "stop"}):
            raise Refused("bad_request", "there are no chats, further samplers or stop strings")
        if not self._warm:
            self._random.seed(params["seed"])
        started = perf_counter()
        prompt = params["prompt"].encode()
        generated = bytearray()
        trace = []
        for _ in range(params["max_tokens"]):
            counts = self._after(prompt + generated)
            token = _draw(counts, params, self._random)
            trace.append(_evidence(counts, token))
            generated.append(token)
        answer: dict[str, Any] = {
            "prompt": _tokens(prompt),
            "tokens": _tokens(bytes(generated)),
            "stop": "length",
            "timing": {"decode_s": perf_counter() - started, "sample_s": 0.0},
        }
        return answer | {"trace": trace} if params["trace"] else answer

    def score(self, params: dict[str, Any]) -> dict[str, Any]:
        """Score a response after a prompt; each is a text or a list of ids."""
        if not self._next:
            raise Refused("bad_request", "no model is loaded")
        started = perf_counter()
        prompt, response = _bytes(params["prompt"]), _bytes(params["response"])
        if not prompt or not response:
            raise Refused("bad_request", "a prompt and a response have at least one token")
        counts = [self._after(prompt + response[:place]) for place in range(len(response))]
        answer: dict[str, Any] = {
            "prompt": _tokens(prompt),
            "response": _tokens(response),
            "logprobs": list(map(_logprob, counts, response)),
            "timing": {"decode_s": perf_counter() - started},
        }
        if "temperature" in params:
            temperatures = [params["temperature"]] * len(response)
            answer["sampling_logprobs"] = list(map(_logprob, counts, response, temperatures))
        return answer

    def _after(self, text: bytes) -> Counter[int]:
        """Return what follows the longest known end of a text; of nothing, every byte does."""
        ends = (text[len(text) - size :] for size in range(min(self._order, len(text)), -1, -1))
        return next(self._next[end] for end in ends if end in self._next)


def _require_cpu(device: str) -> None:
    if device != "cpu":
        raise Refused("device_unavailable", f"there is only the CPU, not {device}")


def _chain(data: bytes, *, order: int) -> dict[bytes, Counter[int]]:
    chain: dict[bytes, Counter[int]] = defaultdict(Counter)
    for place, byte in enumerate(data):
        for size in range(min(order, place) + 1):
            chain[data[place - size : place]][byte] += 1
    if not chain:
        raise Refused("model_invalid", "the text is empty")
    return dict(chain)


def _draw(counts: Counter[int], params: dict[str, Any], source: random.Random) -> int:
    """Cut the candidates by top_k, top_p and min_p, then draw one at the temperature."""
    ranked = _ranked(counts)
    if params["temperature"] == 0:
        return ranked[0][0]
    ranked = ranked[: params["top_k"] or None]
    total, best = sum(count for _, count in ranked), ranked[0][1]
    kept: list[tuple[int, float]] = []
    mass = 0
    for token, count in ranked:
        if kept and (mass >= params["top_p"] * total or count < params["min_p"] * best):
            break
        kept.append((token, (count / best) ** (1 / params["temperature"])))
        mass += count
    point = source.random() * sum(weight for _, weight in kept)
    for token, weight in kept:
        point -= weight
        if point < 0:
            return token
    return kept[-1][0]


def _ranked(counts: Counter[int]) -> list[tuple[int, int]]:
    """Return tokens with their counts, likeliest first, equals by lower id first."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _evidence(counts: Counter[int], token: int) -> dict[str, Any]:
    total = counts.total()
    best = [[other, math.log(count / total)] for other, count in _ranked(counts)[:BEST]]
    return {"logprob": math.log(counts[token] / total), "best": best}


def _logprob(counts: Counter[int], token: int, temperature: float = 1) -> float:
    if token not in counts:
        raise Refused("not_finite", f"the model holds {bytes([token])!r} to be impossible there")
    best = max(counts.values())
    total = sum((count / best) ** (1 / temperature) for count in counts.values())
    return math.log(counts[token] / best) / temperature - math.log(total)


def _bytes(given: str | list[int]) -> bytes:
    return given.encode() if isinstance(given, str) else bytes(given)


def _tokens(data: bytes) -> list[list[int | str]]:
    return [[byte, f"{byte:02x}"] for byte in data]


def answer(engine: MarkovEngine, line: str) -> dict[str, Any]:
    """Return the answer to one line; whatever goes wrong, it is an answer."""
    number = None
    try:
        request = json.loads(line)
        number = request["id"]
        result = engine.handle(request["method"], request["params"])
    except Refused as refused:
        error = {"kind": refused.kind, "message": str(refused)}
        return {"protocol": PROTOCOL, "id": number, "error": error}
    except (KeyError, TypeError, ValueError) as broken:
        error = {"kind": "bad_request", "message": f"{type(broken).__name__}: {broken}"}
        return {"protocol": PROTOCOL, "id": number, "error": error}
    return {"protocol": PROTOCOL, "id": number, "result": result}


def main() -> None:
    """Answer a line with a line until stdin ends."""
    engine = MarkovEngine()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(engine, line)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
