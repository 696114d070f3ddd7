"""A model in place of vLLM's: a token is a byte, and what may follow is drawn from a digest."""

import hashlib
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, TypeAlias

END: Final = 256
"""The token that ends a generation."""
_CANDIDATES: Final = 24
_END_LOGIT: Final = -4.0
_LETTERS: Final = b"etaoinshrdlu etaoinshrdlu\n.,\xc3\xa9"

Distribution: TypeAlias = Mapping[int, float]
"""The log-probabilities of the tokens that may follow, the likeliest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are drawn, by the names and with the defaults of vLLM's requests."""

    temperature: float = 1.0
    top_k: int = -1
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int | None = None

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "Sampling":
        """Return what a request asks for."""
        names = cls.__dataclass_fields__.keys() & body.keys()
        return cls(**{name: body[name] for name in names if body[name] is not None})


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A token that was drawn, and what it was drawn from."""

    token: int
    distribution: Distribution


def tokens_of(text: str) -> list[int]:
    """Return the tokens of a text."""
    return list(text.encode())


def text_of(tokens: Sequence[int]) -> str:
    """Return the text of tokens; what is no character becomes U+FFFD, as in vLLM's answers."""
    return bytes(token for token in tokens if token != END).decode(errors="replace")


def generate(
    prompt: Sequence[int], sampling: Sampling, shift: Callable[[], float] = lambda: 0.0
) -> Iterator[Step]:
    """Yield tokens without end.

    Args:
        prompt: its tokens.
        sampling: how they are drawn.
        shift: how far the likeliest token is moved at a step, in nats.
    """
    chance = random.Random(sampling.seed)  # noqa: S311 -- it draws tokens
    tokens = list(prompt)
    for _ in count():
        distribution = _distribution(tokens, shift())
        step = Step(token=_drawn(distribution, sampling, chance), distribution=distribution)
        tokens.append(step.token)
        yield step


def _distribution(tokens: Sequence[int], shift: float) -> Distribution:
    digest = hashlib.sha256(repr(list(tokens)).encode()).digest()
    chance = random.Random(digest)  # noqa: S311 -- it makes logits
    ids = dict.fromkeys(chance.choices(_LETTERS, k=_CANDIDATES - 1))
    logits = sorted([(chance.gauss(0, 1.5), token) for token in ids] + [(_END_LOGIT, END)])[::-1]
    logits[0] = (logits[0][0] - shift, logits[0][1])
    total = math.log(sum(math.exp(logit) for logit, _ in logits))
    return {token: logit - total for logit, token in sorted(logits, reverse=True)}


def _drawn(distribution: Distribution, sampling: Sampling, chance: random.Random) -> int:
    ranked = list(distribution.items())
    if sampling.temperature == 0:
        return ranked[0][0]
    if sampling.top_k > 0:
        ranked = ranked[: sampling.top_k]
    weights = [math.exp(logprob / sampling.temperature) for _, logprob in ranked]
    kept = _kept(weights, sampling)
    # One number for each token, so that a shift changes what is drawn only at its edges.
    return _at(ranked, weights[:kept], chance.random())


def _kept(weights: Sequence[float], sampling: Sampling) -> int:
    total, seen = sum(weights), 0.0
    for index, weight in enumerate(weights):
        if index and (seen >= sampling.top_p * total or weight < sampling.min_p * weights[0]):
            return index
        seen += weight
    return len(weights)


def _at(ranked: Sequence[tuple[int, float]], weights: Sequence[float], place: float) -> int:
    left = place * sum(weights)
    for (token, _), weight in zip(ranked, weights, strict=False):
        left -= weight
        if left < 0:
            return token
    return ranked[len(weights) - 1][0]
