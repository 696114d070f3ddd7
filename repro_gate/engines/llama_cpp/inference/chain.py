"""Draws tokens as llama-server does with any of its samplers, biases and a grammar.

* Every sampler of a request is a link, in the order of the request; biases come first, and what
  draws comes last. Every link that uses random numbers gets the seed of the request.
* The prompt's tokens are accepted first, so that penalties count them.
* A grammar is not a link: the chain draws, the grammar checks the token, and only if it rejects it,
  the chain draws again from what the grammar allows. llama.cpp ends the process when a grammar
  accepts a token that it does not allow, so a token is always checked first.

A chain belongs to one run: nothing of it is left for the next.
"""

import math
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np

from repro_gate.engines.llama_cpp import native
from repro_gate.engines.llama_cpp.inference.logits import CANDIDATE, Candidates, Logits
from repro_gate.engines.llama_cpp.tokenizer import Tokenizer
from repro_gate.engines.requests import SamplerRequest
from repro_gate.protocol import bad_request
from repro_gate.samplers import DRAWING, Sampling

_MIROSTAT_M = 100
"""Of llama-server: how many candidates mirostat estimates from."""
_MAX_REPETITION = 2000
"""llama.cpp takes a higher bound of `{1,3000}` as none."""
_LITERALS = re.compile(
    r'"(?:\\.|[^"\\])*(?:"|\\?\Z)|\[(?:\\.|[^\]\\])*(?:\]|\\?\Z)|<[^>]*(?:>|\Z)|#[^\r\n]*',
    re.DOTALL,
)
"""With those that do not end, which llama.cpp refuses: to search on behind each takes minutes."""
_UPPER_BOUND = re.compile(r"\{\s*(?:\d+\s*)?,\s*(\d+)\s*\}")
_IMPOSSIBLE = -math.inf
_PLAIN = Sampling()

_Values: TypeAlias = Callable[[str], Any]
_LINKS: Mapping[str, Callable[[Tokenizer, _Values], native.Sampler]] = {
    "penalties": lambda tokenizer, value: native.penalties(
        tokenizer.size,
        value("repeat_last_n"),
        value("repeat_penalty"),
        value("frequency_penalty"),
        value("presence_penalty"),
    ),
    "dry": lambda tokenizer, value: native.dry(
        tokenizer.vocabulary,
        value("dry_multiplier"),
        value("dry_base"),
        value("dry_allowed_length"),
        value("dry_penalty_last_n"),
        breakers=value("dry_sequence_breakers"),
    ),
    "top_n_sigma": lambda _, value: native.top_n_sigma(value("top_n_sigma")),
    "top_k": lambda _, value: native.top_k(value("top_k")),
    "typ_p": lambda _, value: native.typical(value("typical_p"), value("min_keep")),
    "top_p": lambda _, value: native.top_p(value("top_p"), value("min_keep")),
    "min_p": lambda _, value: native.min_p(value("min_p"), value("min_keep")),
    "xtc": lambda _, value: native.xtc(
        value("xtc_probability"), value("xtc_threshold"), value("min_keep"), value("seed")
    ),
    "temperature": lambda _, value: native.dynamic_temperature(
        value("temperature"), value("dynatemp_range"), value("dynatemp_exponent")
    ),
    "mirostat": lambda tokenizer, value: native.mirostat(
        tokenizer.size, value("seed"), value("mirostat_tau"), value("mirostat_eta"), _MIROSTAT_M
    ),
    "mirostat_v2": lambda _, value: native.mirostat_v2(
        value("seed"), value("mirostat_tau"), value("mirostat_eta")
    ),
    "adaptive_p": lambda _, value: native.adaptive_p(
        value("adaptive_target"), value("adaptive_decay"), value("seed")
    ),
}
"""By their names in `repro_gate.samplers`, what makes the link of each."""


class Chain:
    """The samplers of one run, with their random numbers at the start."""

    def __init__(
        self,
        vocabulary: int,
        links: native.Sampler,
        grammar: native.Sampler | None,
        *,
        draws_with_dist: bool,
        place: str,
    ) -> None:
        self._links = links
        self._place = place
        self._draws_with_dist = draws_with_dist
        self._grammar = grammar
        self._candidates = np.empty(vocabulary, CANDIDATE)
        self._one = np.zeros(1, CANDIDATE)
        self._array: native.Struct
        self.draws = 0
        """How many random numbers were used to draw tokens, also those that a grammar rejected."""

    def start(self, prompt: Sequence[int]) -> None:
        """Let the samplers that count tokens count those of the prompt; a grammar has no say."""
        for token in prompt:
            native.accept(self._links, token)

    def draw(self, logits: Logits, _sample: Callable[[native.Sampler], int] | None = None) -> int:
        """Return the next token."""
        token = self.choose(logits)
        self._continue(token)
        return token

    def choose(self, logits: Logits) -> int:
        """Return the token that is drawn next, without accepting it."""
        token = self._drawn(logits, None)
        if self._grammar is not None and not self._is_allowed(token, self._grammar):
            token = self._drawn(logits, self._grammar)
            if not self._is_allowed(token, self._grammar):
                raise bad_request(f"{self._place}.grammar: it allows no token that could be drawn")
        return token

    @property
    def candidates(self) -> Candidates:
        """What the last token was drawn from, with probabilities, in the order of the draw."""
        first = native.address_of_data(self._array) - self._candidates.ctypes.data
        return self._candidates[first // CANDIDATE.itemsize :][: self._array.size]

    def accept(self, token: int) -> None:
        """Continue after a token that may be another than the drawn one."""
        if self._grammar is not None and not self._is_allowed(token, self._grammar):
            raise bad_request(f"{self._place}.grammar: it does not allow the token {token}")
        self._continue(token)

    def _continue(self, token: int) -> None:
        # llama.cpp ends the process at a token that the grammar does not allow.
        if self._grammar is not None:
            native.accept(self._grammar, token)
        native.accept(self._links, token)

    def _drawn(self, logits: Logits, grammar: native.Sampler | None) -> int:
        self._candidates["id"] = np.arange(logits.size)
        self._candidates["logit"] = logits
        # Made anew for each draw: xtc moves its start.
        array = native.candidate_array(self._candidates.ctypes.data)
        array.size = logits.size
        if grammar is not None:
            native.apply(grammar, array)
        native.apply(self._links, array)
        self._array = array
        # Only `dist` draws from a single candidate too.
        self.draws += self._draws_with_dist or array.size > 1
        chosen = array.data[array.selected]
        # Where nothing is possible, llama.cpp draws the last token without a word.
        if chosen.logit == _IMPOSSIBLE:
            raise bad_request(f"{self._place}: no token is left that could be drawn")
        return int(chosen.id)

    def _is_allowed(self, token: int, grammar: native.Sampler) -> bool:
        self._one[0] = (token, 1.0, 0.0)
        array = native.candidate_array(self._one.ctypes.data)
        array.size = 1
        native.apply(grammar, array)
        return bool(self._one["logit"][0] != _IMPOSSIBLE)


@contextmanager
def open_chain(request: SamplerRequest, tokenizer: Tokenizer, place: str) -> Generator[Chain]:
    """Yield the samplers for a request, and free them afterwards.

    Args:
        request: the samplers.
        tokenizer: that of the model.
        place: where the request has the further samplers, for refusals.
    """
    sampling = request.sampling or _PLAIN
    biases = _biases(sampling, tokenizer, place)
    grammar = _grammar(sampling, tokenizer, place)
    links = native.new_chain(native.chain_params())
    try:
        for link in _links(request, sampling, tokenizer, biases):
            native.add_to_chain(links, link)
        draws_with_dist = sampling.order[-1] not in DRAWING
        yield Chain(tokenizer.size, links, grammar, draws_with_dist=draws_with_dist, place=place)
    finally:
        # Frees its links too.
        native.free_sampler(links)
        if grammar is not None:
            native.free_sampler(grammar)


def _links(
    request: SamplerRequest, sampling: Sampling, tokenizer: Tokenizer, biases: dict[int, float]
) -> Generator[native.Sampler]:
    plain = {
        "seed": request.seed,
        "temperature": request.temperature,
        "top_k": request.top_k,
        "top_p": request.top_p,
        "min_p": request.min_p,
    }

    def value(name: str) -> Any:
        return plain[name] if name in plain else sampling.value(name)

    if biases:
        yield native.logit_bias(tokenizer.size, biases)
    for name in sampling.order:
        yield _LINKS[name](tokenizer, value)
    if sampling.order[-1] not in DRAWING:
        yield native.dist(request.seed)


def _biases(sampling: Sampling, tokenizer: Tokenizer, place: str) -> dict[int, float]:
    """Return what is added to the logits of tokens, one value for each."""
    biases: dict[int, float] = {
        token: _IMPOSSIBLE if bias is False else bias
        for token, bias in sampling.value("logit_bias") or ()
    }
    unknown = [token for token in biases if token >= tokenizer.size]
    if unknown:
        raise bad_request(
            f"{place}.logit_bias: expected ids below the {tokenizer.size} of the model's "
            f"vocabulary, found {unknown[0]}"
        )
    banned = native.suppressed_tokens(tokenizer.vocabulary)
    if sampling.value("ignore_eos"):
        banned += tokenizer.end_of_generation
    return biases | dict.fromkeys(banned, _IMPOSSIBLE)


def _grammar(sampling: Sampling, tokenizer: Tokenizer, place: str) -> native.Sampler | None:
    if sampling.value("json_schema"):
        raise bad_request(
            f"{place}.json_schema: this engine has no converter; give its GBNF as grammar"
        )
    text: str | None = sampling.value("grammar")
    if text is None:
        return None
    for bound in _UPPER_BOUND.findall(_LITERALS.sub(" ", text)):
        # Python limits the digits of integers.
        if float(bound) > _MAX_REPETITION:
            raise bad_request(
                f"{place}.grammar: expected repetitions up to {_MAX_REPETITION}, as "
                f"llama.cpp takes more as without a limit, found {bound}"
            )
    mark = native.LOG.mark()
    grammar = native.grammar(tokenizer.vocabulary, text)
    if grammar is None:
        errors = " / ".join(native.LOG.errors_since(mark)) or "no reason given"
        raise bad_request(
            f"{place}.grammar: expected a grammar in GBNF with a rule named root, found "
            f"one that llama.cpp cannot read: {errors}"
        )
    return grammar
