"""A scorer in memory: a service with noise, drift and faults chosen by a test."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias
from zlib import crc32

import numpy as np

from repro_gate.core.logprobs.alignment import ScoredTwice
from repro_gate.core.logprobs.baseline import Baseline, fit_noise
from repro_gate.core.logprobs.draw import (
    Draw,
    DrawFacts,
    DrawOutcome,
    Encoding,
    InvalidDraw,
    MissedDraw,
    Piece,
)
from repro_gate.core.logprobs.policy import (
    Item,
    LogprobCell,
    LogprobKind,
    LogprobPlan,
    LogprobSuite,
    Policy,
    ProviderKind,
    ProviderSpec,
    Tolerance,
    WeightPlan,
    plan_logprobs,
)
from repro_gate.core.report import Note
from repro_gate.core.tokens.golden import Facts
from repro_gate.errors import MeasurementUnavailable
from repro_gate.ports import DrawRequest, Purpose, Seen
from repro_gate.statistics.permutation import Floats

SOURCE = "test-provider"
MODEL = "accounts/test/models/tiny"
TOKENS = 40
NOW = "2026-01-02T03:04:05+00:00"
USUAL = Tolerance()
PROVIDER = ProviderSpec(name=SOURCE, kind=ProviderKind.FIREWORKS, base_url="https://api.test/v1")


class Noise(Protocol):
    """How draws vary by themselves."""

    def __call__(self, generator: np.random.Generator, tokens: int) -> Floats:
        """Return what is added to the log-probability of each token, in nats."""
        ...


@dataclass(frozen=True, slots=True)
class Mixture:
    """Most draws repeat exactly; the others are off by a normal amount."""

    share: float = 0.1
    sd: float = 1.56
    """Of the sum, in nats."""

    def __call__(self, generator: np.random.Generator, tokens: int) -> Floats:
        """Return what is added to the log-probability of each token, in nats."""
        if generator.random() >= self.share:
            return np.zeros(tokens)
        return generator.normal(0, self.sd / np.sqrt(tokens), tokens)


def exact(generator: np.random.Generator, tokens: int) -> Floats:
    """Return no noise: every draw repeats."""
    del generator
    return np.zeros(tokens)


def gaussian(sd: float) -> Noise:
    """Return the noise of a service that never repeats itself; `sd` is that of the sum."""
    return Mixture(share=1.0, sd=sd)


DrawKey: TypeAlias = tuple[str, str, int]
"""Cell, purpose and number: see `DrawRequest.key`."""
Shift: TypeAlias = Callable[[DrawRequest], Floats | float]
"""How far a draw is from the calibration: a sum in nats, spread over the tokens, or each token."""


def unmoved(request: DrawRequest) -> float:
    """Shift nothing since the calibration."""
    del request
    return 0.0


def everywhere(nats: float) -> Shift:
    """Shift every sum by the same amount."""
    return lambda _: nats


def moved(shifts: Mapping[str, Floats | float]) -> Shift:
    """Shift some cells, given by id."""
    return lambda request: shifts.get(request.cell.id, 0.0)


def moved_draws(shifts: Mapping[DrawKey, Floats | float]) -> Shift:
    """Shift some draws, given by key."""
    return lambda request: shifts.get(request.key, 0.0)


def wobbling(sd: float) -> Shift:
    """Add normal noise to each draw, independent of the order of requests."""
    return lambda request: float(
        np.random.default_rng(crc32(repr(request.key).encode())).normal(0, sd)
    )


def tokens_moved(shifts: Mapping[int, float], tokens: int = TOKENS) -> Floats:
    """Return how far each token is away when only some are, by their positions."""
    away = np.zeros(tokens)
    for position, nats in shifts.items():
        away[position] = nats
    return away


@dataclass(slots=True, kw_only=True)
class NoisyScorer:
    """Answers like a hosted model, and counts its requests."""

    noise: Noise = exact
    seed: int = 0
    tokens: int = TOKENS
    shift: Shift = unmoved
    script: Mapping[DrawKey, DrawOutcome | BaseException] = field(
        default_factory=dict[DrawKey, DrawOutcome | BaseException]
    )
    """What comes instead, by the key of a request."""
    encodings: Mapping[str, Encoding | InvalidDraw | MissedDraw] = field(
        default_factory=dict[str, Encoding | InvalidDraw | MissedDraw]
    )
    """What comes instead of made-up tokens, by the id of a cell."""
    missing: Mapping[str, str] = field(default_factory=dict[str, str])
    """Policies whose source cannot be said, with the reason."""
    now: Facts = field(default_factory=dict[str, str])
    """What the provenance says by now, over what it said at the recording."""
    noticed: tuple[Note, ...] = ()
    twice: Sequence[ScoredTwice | MissedDraw] = ()
    """What comes of comparing generated tokens with their echo, one after the other."""
    compared: list[str] = field(default_factory=list[str])
    """The cells that were asked to compare."""
    heeds_prompt: bool = True
    answers_backwards: bool = False
    asked: list[DrawKey] = field(default_factory=list[DrawKey])
    is_closed: bool = False
    waited: list[float] = field(default_factory=list[float])
    """The seconds of each wait between two looks."""
    _generator: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self._generator = np.random.default_rng(self.seed)

    def source(self, policy: Policy) -> str:
        """Return where the baselines hold."""
        if policy.name in self.missing:
            raise MeasurementUnavailable(self.missing[policy.name], remedy="set it")
        return SOURCE

    def facts(self, policy: Policy) -> Facts:
        """Return the provenance."""
        return {"provider": SOURCE, "model": policy.model, **self.now}

    def notes(self) -> tuple[Note, ...]:
        """Return what was noticed."""
        return self.noticed

    def encode(self, cells: Sequence[LogprobCell]) -> Sequence[Encoding | InvalidDraw | MissedDraw]:
        """Return made-up tokens."""
        return [self.encodings.get(cell.id) or encoding_of(cell, self.tokens) for cell in cells]

    def score_twice(self, cell: LogprobCell, _: Encoding) -> ScoredTwice | MissedDraw | None:
        """Return the scripted result, if any."""
        self.compared.append(cell.id)
        place = len(self.compared) - 1
        return self.twice[place] if place < len(self.twice) else None

    def draw(self, requests: Sequence[DrawRequest], *, seen: Seen) -> None:
        """Answer one after the other."""
        for request in reversed(requests) if self.answers_backwards else requests:
            self.asked.append(request.key)
            scripted = self.script.get(request.key)
            if isinstance(scripted, BaseException):
                raise scripted
            seen(request, scripted or self.drawn(request))

    def paused(self, seconds: float) -> None:
        """Remember a wait."""
        self.waited.append(seconds)

    def close(self) -> None:
        """Let go."""
        self.is_closed = True

    def asked_of(self, cell_id: str, purpose: Purpose | None = None) -> int:
        """Return how many draws of a cell were requested, for one purpose or for any."""
        wanted = {purpose} if purpose else set(Purpose)
        return sum(key[0] == cell_id and key[1] in wanted for key in self.asked)

    def drawn(self, request: DrawRequest) -> Draw:
        """Return a draw with noise and drift."""
        values = truth_of(request, heeds_prompt=self.heeds_prompt)
        noisy = values + self.noise(self._generator, len(values)) + self._away(request)
        facts = DrawFacts(at=NOW, model=MODEL, request_id="/".join(map(str, request.key)))
        return Draw(logprobs=tuple(np.minimum(noisy, 0.0).tolist()), facts=facts)

    def _away(self, request: DrawRequest) -> Floats:
        tokens = len(request.encoding.response)
        if request.purpose is Purpose.CALIBRATION:
            return np.zeros(tokens)
        away = self.shift(request)
        return np.full(tokens, away / tokens) if isinstance(away, float) else away


def truth_of(request: DrawRequest, *, heeds_prompt: bool = True) -> Floats:
    """Return the log-probabilities without noise; they depend on policy, prompt and response."""
    policy = request.cell.policy
    about: list[object] = [policy.model, policy.system, request.encoding.response]
    if heeds_prompt:
        about.append(request.encoding.prompt)
    digest = hashlib.sha256(repr(about).encode()).digest()
    generator = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    return -1.0 - generator.exponential(1.0, len(request.encoding.response))


def encoding_of(cell: LogprobCell, tokens: int = TOKENS) -> Encoding:
    """Return made-up tokens of a cell."""
    return Encoding(
        prompt=tuple(Piece(number, b"p") for number in range(3)),
        response=tuple(Piece(number, f" {cell.item.name}".encode()) for number in range(tokens)),
    )


def policy_of(name: str = "base", **changes: Any) -> Policy:
    """Return a policy of the provider."""
    policy = Policy(
        name=name,
        provider=PROVIDER,
        model=MODEL,
        system="",
        template="{prompt}",
        temperature=0.7,
        logprobs=LogprobKind.RAW,
    )
    return replace(policy, **changes)


def item_of(name: str) -> Item:
    """Return an item."""
    return Item(name=name, prompt=f"Say {name}", response=f" {name}")


def suite_of_logprobs(
    *,
    policies: Sequence[Policy] = (),
    items: int = 3,
    tolerance: Tolerance = USUAL,
    weights: WeightPlan | None = None,
) -> LogprobSuite:
    """Return a suite of policies x items."""
    return LogprobSuite(
        name="hosted",
        cells=tuple(
            LogprobCell(policy=policy, item=item_of(f"item-{number}"))
            for policy in policies or [policy_of()]
            for number in range(items)
        ),
        tolerance=tolerance,
        weights=weights,
    )


def plan_of(suite: LogprobSuite, *, only: str | None = None) -> LogprobPlan:
    """Return the plan of the whole suite, or of the cells that a pattern selects."""
    (planned,) = plan_logprobs({suite.name: suite}, names=[suite.name], only=only)
    return planned


def baseline_of(
    cell: LogprobCell,
    draws: Sequence[Sequence[float]],
    *,
    tokens: int | None = None,
    **changes: Any,
) -> Baseline:
    """Return a baseline of given draws."""
    baseline = Baseline(
        id=cell.id,
        source=SOURCE,
        definition=cell.definition,
        encoding=encoding_of(cell, tokens or len(draws[0])),
        draws=tuple(tuple(draw) for draw in draws),
        facts=tuple(DrawFacts(at=NOW, model=MODEL) for _ in draws),
        noise=fit_noise(draws),
        answered_as=MODEL,
        provenance={"provider": SOURCE, "model": MODEL},
        recorded_at=NOW,
    )
    return replace(baseline, **changes)
