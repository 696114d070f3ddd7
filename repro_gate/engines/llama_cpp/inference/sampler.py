"""Draws tokens with llama.cpp's own samplers, from no more candidates than can be drawn.

llama.cpp's chain takes the whole vocabulary, and sorts all of it where `top_p` needs more than 256
tokens: ten times the cost of decoding one. Here the samplers get only the likeliest candidates
wherever that draws the same token with the same random number:

* After `top_k`, the samplers use the logits of the k highest in their order, and nothing else.
* `top_p` before `min_p` only shortens the same order. It cuts none of what `min_p` keeps if all of
  that together is less likely than `top_p`, by more than the rounding of llama.cpp's sums.

The place that is drawn depends on the logits alone. Which of several equal candidates is at a place
depends on how llama.cpp sorts: in that case its sort runs on the whole vocabulary.
"""

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager

import numpy as np

from repro_gate.engines.llama_cpp import native
from repro_gate.engines.llama_cpp.inference.logits import (
    CANDIDATE,
    Logits,
    TokenIds,
    highest,
    in_order,
)
from repro_gate.engines.requests import SamplerRequest

_MIN_KEEP = 1
_MAX_SELECTING = 8
"""More contexts than these wait for the GIL longer than it saves to select by `top_k` first: on an
H200 it takes 0.4 ms from a token with one context, and brings 5 % with 8, but costs 9 % with 16."""
_FLOAT32_ROUNDING = 2.0**-24
_MAX_TOP_K = 128
"""llama.cpp sorts more in the way that overflows."""
_MAX_SORTED_LOGIT = 1e6
"""llama.cpp sorts by multiples of a logit as C integers, which larger ones overflow."""
_LOG_SLACK = 1 + 1e-6
"""More than the logarithm of `min_p` in llama.cpp, in float32, can differ from the exact one."""


class Sampler:
    """The samplers of one run, with their random numbers at the start."""

    def __init__(
        self,
        request: SamplerRequest,
        vocabulary: int,
        chain: tuple[native.Sampler, native.Sampler, native.Sampler],
        *,
        is_crowded: bool,
    ) -> None:
        self._cuts, self._draws, self._all = chain
        self._is_greedy = request.temperature == 0
        self._top_k = request.top_k
        self._is_crowded = is_crowded
        # As llama.cpp has them.
        self._top_p = float(np.float32(request.top_p))
        self._min_p = float(np.float32(request.min_p))
        self._candidates = np.empty(vocabulary, CANDIDATE)
        self._array = native.candidate_array(self._candidates.ctypes.data)

    def draw(self, logits: Logits, sample: Callable[[native.Sampler], int]) -> int:
        """Return the next token.

        Args:
            logits: of the position; finite.
            sample: draws from all of them with a sampler, as `llama_sampler_sample` does.
        """
        ids = self._likely(logits)
        if ids is None:
            return sample(self._all)
        self._put(ids, logits[ids])
        # Without top_k, top_p cuts nothing from them.
        if self._top_k:
            native.apply(self._cuts, self._array)
        native.apply(self._draws, self._array)
        place = self._array.selected
        token = int(self._candidates["id"][place])
        if np.count_nonzero(logits[ids] == logits[token]) > 1:
            self._put(np.arange(logits.size), logits)
            native.apply(self._cuts, self._array)
            token = int(self._candidates["id"][place])
        native.accept(self._draws, token)
        return token

    def _likely(self, logits: Logits) -> TokenIds | None:
        """Return which candidates can be drawn; None when all of them are needed."""
        if self._is_greedy:
            return None
        if 0 < self._top_k <= _MAX_TOP_K and not self._is_crowded:
            return highest(logits, self._top_k)
        if self._top_k == 0 and self._top_p < 1 and self._min_p > 0:
            return self._kept_by_min_p(logits)
        return None

    def _kept_by_min_p(self, logits: Logits) -> TokenIds | None:
        """Return what `min_p` keeps, or a little more, in order; None if `top_p` may cut it."""
        peak = logits.max()
        if peak > _MAX_SORTED_LOGIT:
            return None
        bound = np.float32(float(peak) + math.log(self._min_p) * _LOG_SLACK)
        ids = np.flatnonzero(logits >= np.nextafter(bound, np.float32(-np.inf)))
        weights = np.exp(logits - peak)
        share = float(weights[ids].sum() / weights.sum())
        # llama.cpp divides one sum of float32 by another, with up to one rounding for each addend.
        rounding = 3 * logits.size * _FLOAT32_ROUNDING + 1e-4
        return in_order(logits, ids) if share < self._top_p * (1 - rounding) else None

    def _put(self, ids: TokenIds, logits: Logits) -> None:
        self._candidates["id"][: ids.size] = ids
        self._candidates["logit"][: ids.size] = logits
        self._array.size = ids.size
        self._array.sorted = False


@contextmanager
def open_sampler(request: SamplerRequest, vocabulary: int, *, contexts: int) -> Generator[Sampler]:
    """Yield the samplers for a request, and free them afterwards.

    Args:
        request: with the settings of the samplers.
        vocabulary: the number of tokens.
        contexts: how many may draw at the same time.
    """
    if request.temperature == 0:
        cuts, draws = _chain(), _chain(native.greedy())
    else:
        # Temperature comes after what cuts candidates.
        cuts = _chain(native.top_k(request.top_k), native.top_p(request.top_p, _MIN_KEEP))
        draws = _chain(
            native.min_p(request.min_p, _MIN_KEEP),
            native.temperature(request.temperature),
            native.dist(request.seed),
        )
    both = _chain(cuts, draws)
    try:
        is_crowded = contexts > _MAX_SELECTING
        yield Sampler(request, vocabulary, (cuts, draws, both), is_crowded=is_crowded)
    finally:
        # Frees the links too.
        native.free_sampler(both)


def _chain(*links: native.Sampler) -> native.Sampler:
    chain = native.new_chain(native.chain_params())
    for link in links:
        native.add_to_chain(chain, link)
    return chain
