"""Parameters are shown to be honoured by short requests, before any answer is believed."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from math import exp
from typing import Final

from repro_gate.engines.requests import GenerateRequest
from repro_gate.engines.served.dialects.dialect import REPLACED, Answer, Dialect
from repro_gate.engines.served.http import HttpRefused
from repro_gate.protocol import Refusal, RequestRefused, bad_request
from repro_gate.samplers import Sampling

_TOKENS: Final = 6
_FEW: Final = 3
_WORD: Final = 3
"""Characters of a stop string."""
_BIAS: Final = 100
_NEAR_TIE: Final = 0.05
"""In nats; the likeliest of two such tokens may change with the company in the batch."""
_BY_CHANCE: Final = 0.001
_REPEATS: Final = 3
_SEEDS: Final = (2, 3, 4)
"""Besides 1."""
_GREEDY: Final = GenerateRequest(
    prompt="In the old harbour, the ships from the",
    seed=1,
    max_tokens=_TOKENS,
    temperature=0,
    top_k=0,
    top_p=1,
    min_p=0,
    trace=True,
)
_DRAWN: Final = replace(_GREEDY, temperature=2)
_NARROWED: Final = {
    "top_k": replace(_DRAWN, top_k=1),
    "top_p": replace(_DRAWN, top_p=0.001),
    "min_p": replace(_DRAWN, min_p=1),
}
"""Each leaves only the likeliest token."""


@dataclass(frozen=True, slots=True)
class Honoured:
    """What was seen of the parameters of a server."""

    problems: dict[str, str] = field(default_factory=dict[str, str])
    """By parameter, why no request with it is believed."""
    undecided: list[str] = field(default_factory=list[str])
    """Parameters with which this model answers the same in any case."""
    fingerprint: str | None = None
    shows_cached: bool = False
    """Whether each answer shows how many tokens came from a cache."""

    def require(self, request: GenerateRequest) -> None:
        """Refuse a request with a parameter that the server does not honour."""
        for name in _used_by(request):
            if name in self.problems:
                raise bad_request(
                    f"generate.{name}: the server does not honour it: {self.problems[name]}"
                )

    def notes(self) -> list[str]:
        """Return what the reader of a report should know."""
        if not self.undecided:
            return []
        names = ", ".join(self.undecided)
        why = "the model answers alike whatever their values, or shows no likeliest tokens"
        return [f"not shown that the server honours {names}: {why}"]


def _used_by(request: GenerateRequest) -> Iterable[str]:
    yield from ("max_tokens", "temperature", "cache")
    used = {
        "seed": not request.is_greedy,
        "top_k": request.top_k != 0,
        "top_p": request.top_p != 1,
        "min_p": request.min_p != 0,
        "stop": bool(request.stop),
        "logit_bias": request.sampling is not None and request.sampling.value("logit_bias"),
    }
    yield from (name for name, is_used in used.items() if is_used)


def probe(dialect: Dialect) -> Honoured:
    """Ask the server about each parameter, and return what was seen.

    Raises:
        RequestRefused: it does not answer even the simplest request.
        ServerGone: it does not answer.
    """
    return _Probe(dialect).run()


class _Probe:
    """The requests of one probe, and what they show."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._greedy = self._ask(_GREEDY)
        self.found = Honoured(
            fingerprint=self._greedy.fingerprint, shows_cached=self._greedy.cached is not None
        )

    def run(self) -> Honoured:
        """Make all requests."""
        if not _is_greedy(self._greedy):
            self.found.problems["temperature"] = "at 0, it draws other than the likeliest tokens"
        self._each("max_tokens", self._probe_length)
        self._each("stop", self._probe_stop)
        self._each("logit_bias", self._probe_bias)
        self._each("cache", self._probe_cache)
        drawn = self._ask(_DRAWN)
        if drawn.tokens == self._greedy.tokens:
            self._draws_nothing(drawn)
            return self.found
        self._each("seed", partial(self._probe_seed, drawn))
        for name, request in _NARROWED.items():
            self._each(name, partial(self._narrow, name, request))
        return self.found

    def _each(self, name: str, ask: Callable[[], None]) -> None:
        try:
            ask()
        except HttpRefused as error:
            if error.kind is Refusal.INTERNAL:
                raise
            if error.kind is Refusal.BAD_REQUEST:
                self.found.problems[name] = error.message
        except RequestRefused:
            # The dialect has no such parameter, and refuses each request with it.
            return

    def _ask(self, request: GenerateRequest, *, keep_cache: bool = False) -> Answer:
        prompt = self._dialect.prompt(request)
        return self._dialect.generate(prompt, request, keep_cache=keep_cache)

    def _probe_length(self) -> None:
        few = len(self._ask(replace(_GREEDY, max_tokens=_FEW)).tokens)
        if few > _FEW:
            self.found.problems["max_tokens"] = f"{_FEW} gave {few} tokens"

    def _probe_stop(self) -> None:
        # Parts of characters have marks in their place, which a server does not find in its text.
        known = max(self._greedy.text.split(REPLACED), key=len).strip()
        word = known[len(known) // 2 :][:_WORD]
        if not word:
            self.found.undecided.append("stop")
            return
        stopped = self._ask(replace(_GREEDY, stop=(word,)))
        if stopped.end != "stop_string":
            self.found.problems["stop"] = f"{word!a} did not end an answer that had it"

    def _probe_bias(self) -> None:
        first = self._greedy.steps[0]
        near = first.best[1:] if first else ()
        other = next((each for each, value in near if value > -_BIAS / 2), None)
        if other is None:
            self.found.undecided.append("logit_bias")
            return
        bias = Sampling.parse({"logit_bias": [[other, _BIAS]]})
        if self._ask(replace(_GREEDY, sampling=bias)).tokens[0] != other:
            self.found.problems["logit_bias"] = f"{_BIAS} does not bring a token to the front"

    def _probe_cache(self) -> None:
        if not self._dialect.can_keep_cache or self.found.shows_cached:
            return
        long = replace(_GREEDY, prompt=_GREEDY.prompt * 20, max_tokens=2)
        self._ask(long)
        before = self._dialect.cache_hits()
        self._ask(long)
        after = self._dialect.cache_hits()
        if before is not None and after is not None and after > before:
            self.found.problems["cache"] = f"a cold request used {after - before} cached tokens"

    def _draws_nothing(self, drawn: Answer) -> None:
        """Judge a draw at a high temperature that took the likeliest token each time."""
        logprobs = [step.logprob for step in drawn.steps if step is not None]
        others = [self._ask(replace(_DRAWN, seed=seed)) for seed in _SEEDS]
        is_fixed = all(other.tokens == drawn.tokens for other in others)
        if is_fixed and logprobs and exp(sum(logprobs) * (1 + len(others))) < _BY_CHANCE:
            self.found.problems["temperature"] = "at 2, it takes the likeliest token each time"
        else:
            self.found.undecided.extend(["temperature", "seed", *_NARROWED])

    def _probe_seed(self, drawn: Answer) -> None:
        again = [self._ask(_DRAWN)]
        if again[0].tokens != drawn.tokens:
            # One other answer may be noise, which the gate itself reports; all others are not.
            again += [self._ask(_DRAWN) for _ in range(_REPEATS - 1)]
            if len({answer.tokens for answer in (drawn, *again)}) == 1 + _REPEATS:
                self.found.problems["seed"] = f"{1 + _REPEATS} answers to one seed all differ"
        # One other seed may draw the same tokens by chance.
        elif all(self._ask(replace(_DRAWN, seed=seed)).tokens == drawn.tokens for seed in _SEEDS):
            count = 1 + len(_SEEDS)
            self.found.problems["seed"] = f"{count} seeds give the same answer at temperature 2"

    def _narrow(self, name: str, request: GenerateRequest) -> None:
        answer = self._ask(request)
        if not any(step is not None and step.best for step in answer.steps):
            self.found.undecided.append(name)
        elif not _is_greedy(answer):
            value = getattr(request, name)
            self.found.problems[name] = f"{value:g} does not leave only the likeliest token"


def _is_greedy(answer: Answer) -> bool:
    """Return whether no token was much less likely than another, as far as is known."""
    return all(
        step.best[0][1] - step.logprob <= _NEAR_TIE
        for step in answer.steps
        if step is not None and step.best
    )
