"""`verify`: which tokens the real samplers draw after a claimed beginning, and how nearly others.

The claimed tokens are decoded in place of the drawn ones, one at a time as in generation: the
logits are those of a generation to the bit, which one prefill of all tokens would not give. At each
place the chain of the request draws with its own random numbers, and then continues after the
claimed token, drawn or not. llama.cpp draws the first candidate up to which the probabilities add
up to the random number, so the shares of the candidates are intervals between 0 and 1, and the
distance of the random number from an interval is how nearly its token was drawn (Token-DiFR, arXiv
2511.20621).
"""

from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from repro_gate.engines.llama_cpp.inference.chain import Chain, open_chain
from repro_gate.engines.llama_cpp.inference.logits import Logits, Softmax
from repro_gate.engines.llama_cpp.session import Slot
from repro_gate.engines.requests import VerifyRequest
from repro_gate.protocol import Json

_Share: TypeAlias = tuple[float, float]
_ROUNDING = 1e-6
"""Of probabilities that llama.cpp stores as float32."""


def verify(slot: Slot, request: VerifyRequest) -> Json:
    """Return, for each claimed token, its evidence, and what is drawn in its place."""
    tokenizer, decoder = slot.tokenizer, slot.decoder
    prompt, tokens = request.prompt, request.tokens
    tokenizer.require_known([*prompt, *tokens])
    first = decoder.first_tokens(prompt)
    slot.require_context(len(first), len(tokens))

    with open_chain(request, tokenizer, "verify.sampling") as chain:
        chain.start(first)
        places = _Places(chain, request, vocabulary=tokenizer.size)
        decoder.start(prompt)
        found = [places.verified(decoder.logits(), tokens[0])]
        for before, token in pairwise(tokens):
            decoder.step(before)
            found.append(places.verified(decoder.logits(), token))
    return {"tokens": found, "timing": {"decode_s": decoder.seconds}}


class _Places:
    """The claimed places, from the first to the last."""

    def __init__(self, chain: Chain, request: VerifyRequest, *, vocabulary: int) -> None:
        self._chain = chain
        self._best = request.best
        self._softmax = Softmax(vocabulary)
        # A grammar may reject the token of the first draw of each place.
        most = 2 * len(request.tokens)
        self._uniforms = None if request.is_greedy else _uniforms(request.seed, most)

    def verified(self, logits: Logits, token: int) -> dict[str, Any]:
        """Return the evidence for the claimed token of the next place, and continue after it."""
        chain = self._chain
        entry = self._softmax.trace_entry(logits, token, best=self._best)
        drawn = chain.choose(logits)
        shares = _Shares(chain)
        chain.accept(token)
        drawn_share = shares.of(drawn)
        return {
            **entry,
            "drawn": drawn,
            "uniform": self._uniform(drawn_share),
            "share": shares.of(token),
            "drawn_share": drawn_share,
        }

    def _uniform(self, share: _Share | None) -> float | None:
        """Return the random number of the last draw; None when it is unknown or has no effect."""
        if self._uniforms is None or share is None:
            return None
        number = float(self._uniforms[self._chain.draws - 1])
        low, high = share
        # Some samplers that draw themselves use their random numbers otherwise.
        return number if low - _ROUNDING <= number <= high + _ROUNDING else None


class _Shares:
    """The candidates of the last draw, each with its share of the interval from 0 to 1."""

    def __init__(self, chain: Chain) -> None:
        candidates = chain.candidates
        self._ids = candidates["id"].copy()
        ends = np.cumsum(candidates["p"], dtype=np.float64)
        self._ends = ends / ends[-1]

    def of(self, token: int) -> _Share | None:
        """Return the share of a token; None when it cannot be drawn."""
        places = np.flatnonzero(self._ids == token)
        if not places.size:
            return None
        place = int(places[0])
        low = float(self._ends[place - 1]) if place else 0.0
        high = float(self._ends[place])
        return (low, high) if high > low else None


def _uniforms(seed: int, count: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return random numbers as libstdc++ makes a double: two words of `mt19937` for each."""
    words = np.random.RandomState(seed).randint(2**32, size=2 * count, dtype=np.uint32)
    low, high = words[0::2].astype(np.float64), words[1::2].astype(np.float64)
    return (low + high * 2.0**32) / 2.0**64
