"""A scorer in memory: a service with noise, drift and faults that a test chooses."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from repro_gate.core.baselines import Baseline, fit_noise
from repro_gate.core.draws import (
    Draw,
    DrawFacts,
    DrawOutcome,
    Encoding,
    InvalidDraw,
    MissedDraw,
    Piece,
)
from repro_gate.core.goldens import Facts
from repro_gate.core.policies import (
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
from repro_gate.errors import InputInvalid, MeasurementUnavailable
from repro_gate.ports import DrawRequest, Purpose, Seen
from repro_gate.statistics.labelings import Floats

SOURCE = "test-provider"
MODEL = "accounts/test/models/tiny"
TOKENS = 40
NOW = "2026-01-02T03:04:05+00:00"
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


@dataclass(slots=True, kw_only=True)
class NoisyScorer:
    """Answers as a hosted model would, and counts what it is asked."""

    noise: Noise = exact
    seed: int = 0
    tokens: int = TOKENS
    shift: Mapping[str, Floats | float] | Callable[[DrawRequest], Floats | float] = field(
        default_factory=dict[str, Floats | float]
    )
    """Nats by cell id: a number is spread over the tokens, an array is added as it is."""
    script: Mapping[tuple[str, str, int], DrawOutcome | BaseException] = field(
        default_factory=dict[tuple[str, str, int], DrawOutcome | BaseException]
    )
    """What comes instead, by the key of a request."""
    encodings: Mapping[str, InvalidDraw | MissedDraw] = field(
        default_factory=dict[str, InvalidDraw | MissedDraw]
    )
    missing: Mapping[str, str] = field(default_factory=dict[str, str])
    """Policies whose source cannot be said, with the reason."""
    heeds_prompt: bool = True
    asked: list[tuple[str, str, int]] = field(default_factory=list[tuple[str, str, int]])
    is_closed: bool = False
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
        return {"provider": SOURCE, "model": policy.model}

    def encode(self, cells: Sequence[LogprobCell]) -> Sequence[Encoding | InvalidDraw | MissedDraw]:
        """Return made-up tokens."""
        return [self.encodings.get(cell.id) or encoding_of(cell, self.tokens) for cell in cells]

    def draw(self, requests: Sequence[DrawRequest], *, seen: Seen) -> None:
        """Answer in order."""
        for request in requests:
            self.asked.append(request.key)
            scripted = self.script.get(request.key)
            if isinstance(scripted, BaseException):
                raise scripted
            seen(request, scripted or self.drawn(request))

    def close(self) -> None:
        """Let go."""
        self.is_closed = True

    def drawn(self, request: DrawRequest) -> Draw:
        """Return a draw with noise and drift."""
        values = truth_of(request, heeds_prompt=self.heeds_prompt)
        noisy = (
            values + self.noise(self._generator, len(values)) + self._shift(request, len(values))
        )
        logprobs = tuple(np.minimum(noisy, 0.0).tolist())
        return Draw(logprobs=logprobs, facts=DrawFacts(at=NOW, model=MODEL, request_id="req"))

    def _shift(self, request: DrawRequest, tokens: int) -> Floats:
        if request.purpose is Purpose.CALIBRATION:
            return np.zeros(tokens)
        moved = (
            self.shift(request) if callable(self.shift) else self.shift.get(request.cell.id, 0.0)
        )
        return np.full(tokens, moved / tokens) if isinstance(moved, float) else moved


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


def policy_of(name: str = "base", **changes: object) -> Policy:
    """Return a policy of the provider."""
    usual: dict[str, object] = {
        "name": name,
        "provider": PROVIDER,
        "model": MODEL,
        "system": "",
        "template": "{prompt}",
        "temperature": 0.7,
        "logprobs": LogprobKind.RAW,
    }
    return Policy(**{**usual, **changes})  # type: ignore[arg-type]


def item_of(name: str) -> Item:
    """Return an item."""
    return Item(name=name, prompt=f"Say {name}", response=f" {name}")


def suite_of_logprobs(
    *,
    policies: Sequence[Policy] = (),
    items: int = 3,
    tolerance: Tolerance = Tolerance(),
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


def plan_of(suite: LogprobSuite) -> LogprobPlan:
    """Return the plan of the whole suite."""
    (planned,) = plan_logprobs({suite.name: suite}, names=[suite.name], only=None)
    return planned


def baseline_of(
    cell: LogprobCell,
    draws: Sequence[Sequence[float]],
    *,
    tokens: int | None = None,
    **changes: object,
) -> Baseline:
    """Return a baseline of given draws."""
    usual: dict[str, object] = {
        "id": cell.id,
        "source": SOURCE,
        "definition": cell.definition,
        "encoding": encoding_of(cell, tokens or len(draws[0])),
        "draws": tuple(tuple(draw) for draw in draws),
        "facts": tuple(DrawFacts(at=NOW, model=MODEL) for _ in draws),
        "noise": fit_noise(draws),
        "answered_as": MODEL,
        "provenance": {"provider": SOURCE, "model": MODEL},
        "recorded_at": NOW,
    }
    return Baseline(**{**usual, **changes})  # type: ignore[arg-type]


@dataclass(slots=True, kw_only=True)
class MemoryBaselines:
    """Baselines that are kept in memory; some of them may be broken."""

    kept: dict[tuple[str, str], Baseline] = field(default_factory=dict[tuple[str, str], Baseline])
    broken: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    reads: int = 0

    def recorded(self, source: str) -> frozenset[str]:
        """Return the ids of the cells that have a baseline."""
        return frozenset(name for kept, name in (*self.kept, *self.broken) if kept == source)

    def read(self, source: str, cell_id: str) -> Baseline:
        """Return a baseline."""
        self.reads += 1
        if (source, cell_id) in self.broken:
            raise InputInvalid(f"{source}/{cell_id}.json: expected JSON, found a tear")
        return self.kept[source, cell_id]

    def write(self, baseline: Baseline) -> None:
        """Keep a baseline."""
        self.broken.discard((baseline.source, baseline.id))
        self.kept[baseline.source, baseline.id] = baseline

    def remove(self, source: str, cell_id: str) -> None:
        """Forget a baseline."""
        self.broken.discard((source, cell_id))
        self.kept.pop((source, cell_id), None)


@dataclass(slots=True, kw_only=True)
class MemoryDrawLog:
    """A log that is kept in memory."""

    kept: dict[tuple[str, str, int], DrawOutcome] = field(
        default_factory=dict[tuple[str, str, int], DrawOutcome]
    )
    """What an interrupted check had drawn."""
    noted: list[tuple[tuple[str, str, int], DrawOutcome]] = field(
        default_factory=list[tuple[tuple[str, str, int], DrawOutcome]]
    )

    def note(self, request: DrawRequest, outcome: DrawOutcome) -> None:
        """Keep a draw."""
        self.noted.append((request.key, outcome))

    def known(self, request: DrawRequest) -> DrawOutcome | None:
        """Return a draw of the interrupted check."""
        return self.kept.get(request.key)
