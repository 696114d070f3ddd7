"""What the logprob gate asks: hosted models as called, and fixed responses to score with them."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import assert_never
from urllib.parse import urlsplit

from repro_gate.core.engines import ModelSpec
from repro_gate.core.guards import (
    require_above,
    require_at_least,
    require_name,
    require_share,
    require_text,
)
from repro_gate.core.tokens.golden import FactChange, Facts, provenance_changes

LOCAL = "local"
"""The provider that is an engine on this machine."""
SERVER_FINGERPRINT = "provider.fingerprint"
"""The fact that holds what a server calls its own configuration."""
_PLACE = re.compile(r"\{(system|prompt)\}")


class ProviderKind(StrEnum):
    """The dialect that a provider speaks."""

    FIREWORKS = "fireworks"
    OPENAI = "openai"
    """Any `/v1/completions` that echoes the log-probabilities of a prompt."""
    LOCAL = "local"


class LogprobKind(StrEnum):
    """Which log-probability is meant; the two are never mixed."""

    RAW = "raw"
    """Of the model itself, whatever it is sampled with."""
    SAMPLING = "sampling"
    """Of the behaviour policy: after the temperature, with top_p = 1 and top_k = 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSpec:
    """Where models are hosted, and how its API is to be treated."""

    name: str
    kind: ProviderKind
    base_url: str = ""
    """Up to and without `/completions`; empty for the local provider."""
    api_key_env: str | None = None
    """The environment variable that holds the key; None for an API that wants none."""
    concurrency: int = 16
    attempts: int = 6
    """How often one draw is tried before it counts as not measured."""
    timeout_s: float = 60.0
    """The longest that one attempt may take, from connecting to the last byte."""
    deadline_s: float = 3600.0
    """The longest that all draws together may take."""
    http2: bool = False
    usd_per_million_tokens: float = 0.0
    """The price of prompt tokens, for the estimate; 0 when none is known."""

    def __post_init__(self) -> None:
        require_name(self.name)
        require_at_least(1, concurrency=self.concurrency, attempts=self.attempts)
        require_above(0, timeout_s=self.timeout_s, deadline_s=self.deadline_s)
        require_at_least(0, usd_per_million_tokens=self.usd_per_million_tokens)

    @property
    def is_local(self) -> bool:
        """Tell whether it is this machine, where a draw costs nothing."""
        match self.kind:
            case ProviderKind.LOCAL:
                return True
            case ProviderKind.FIREWORKS | ProviderKind.OPENAI:
                return False
            case _:
                assert_never(self.kind)

    @property
    def host(self) -> str:
        """The host that requests and the key go to, with its port where the URL has one."""
        return urlsplit(self.base_url).netloc.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A model as it is called."""

    name: str
    provider: ProviderSpec
    model: str
    """The id at the provider; for the local provider, the name of a model of the matrix."""
    system: str
    template: str
    """How system prompt and prompt become the text that the response follows."""
    temperature: float
    logprobs: LogprobKind
    local_model: ModelSpec | None = None
    """Where the model runs; None unless the provider is the local one."""

    def __post_init__(self) -> None:
        require_name(self.name)
        require_at_least(0, temperature=self.temperature)
        if self.logprobs is LogprobKind.SAMPLING and self.temperature == 0:
            raise ValueError("at temperature 0 there are no sampling log-probabilities")

    def render(self, prompt: str) -> str:
        """Return the text before a response, as the template says."""
        values = {"system": self.system, "prompt": prompt}
        # In one pass: what stands in a prompt is data, also when it looks like a place.
        return _PLACE.sub(lambda place: values[place[1]], self.template)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A fixed prompt and a fixed response to it."""

    name: str
    prompt: str
    response: str

    def __post_init__(self) -> None:
        require_name(self.name)
        require_text(response=self.response)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogprobCell:
    """One item under one policy: what has a baseline and gets a verdict."""

    policy: Policy
    item: Item

    @property
    def id(self) -> str:
        """The name of the cell and of its baseline; see `Cell.id`."""
        return f"{self.policy.name}--{self.item.name}"

    @property
    def prefix(self) -> str:
        """The text that the response follows."""
        return self.policy.render(self.item.prompt)

    @property
    def definition(self) -> Facts:
        """Everything that the log-probabilities of the cell depend on, as flat facts."""
        policy = self.policy
        return {
            "policy": policy.name,
            "item": self.item.name,
            "provider": policy.provider.kind.value,
            "model": policy.model,
            "system": policy.system,
            "template": policy.template,
            "temperature": str(policy.temperature),
            "logprobs": policy.logprobs.value,
            "prompt": self.item.prompt,
            "response": self.item.response,
        }

    def changes_since(self, recorded: Facts) -> tuple[FactChange, ...]:
        """Return what the matrix says otherwise than a recorded definition."""
        return provenance_changes(recorded, self.definition)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """When a difference counts; `error_rates` computes what these promise together."""

    calibration_draws: int = 10
    draws: int = 5
    """In each of two looks; the second look is taken only where the first is suspicious."""
    false_alarm_rate: float = 0.01
    """For the suite as a whole: how often it may fail though nothing has changed."""
    floor_nats: float = 0.1
    """A smaller shift of a cell is a note, never drift."""
    outlier_factor: float = 20.0
    """An outlier is further from the median than this many robust standard deviations."""
    max_outlier_rate: float = 0.05
    """The share of outliers among the draws above which they are a finding."""

    def __post_init__(self) -> None:
        require_at_least(2, calibration_draws=self.calibration_draws)
        require_at_least(1, draws=self.draws)
        require_at_least(0, floor_nats=self.floor_nats)
        require_above(0, outlier_factor=self.outlier_factor, false_alarm_rate=self.false_alarm_rate)
        require_share(
            false_alarm_rate=self.false_alarm_rate, max_outlier_rate=self.max_outlier_rate
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What one check may spend at hosted APIs; None is no limit."""

    max_calls: int | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        require_at_least(0, max_calls=self.max_calls, max_tokens=self.max_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightPlan:
    """Which policies are compared by importance weights, w = exp(target - base)."""

    base: str
    clones: tuple[str, ...] = ()
    """Policies that are the base again: the A/A control."""
    must_be_usable: tuple[str, ...] = ()
    """Policies whose weights have to be usable; of the others it is only said."""

    def __post_init__(self) -> None:
        for name in (self.base, *self.clones, *self.must_be_usable):
            require_name(name)
        if self.base in self.clones:
            raise ValueError(f"{self.base} is no clone of itself")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogprobSuite:
    """A named part of the matrix whose log-probabilities are checked as one."""

    name: str
    cells: tuple[LogprobCell, ...]
    tolerance: Tolerance = Tolerance()
    budget: Budget = Budget()
    weights: WeightPlan | None = None

    def __post_init__(self) -> None:
        require_name(self.name)

    @property
    def controlled(self) -> frozenset[str]:
        """The policies of the A/A controls: the clones and, where there are any, their base."""
        if self.weights is None or not self.weights.clones:
            return frozenset()
        return frozenset({self.weights.base, *self.weights.clones})


@dataclass(frozen=True, slots=True, kw_only=True)
class LogprobPlan:
    """What one invocation measures of one suite."""

    suite: LogprobSuite
    cells: tuple[LogprobCell, ...]
    """Those that were selected."""
    claimed: frozenset[str]
    """The ids of every cell of the matrix: a baseline outside them is orphaned."""

    @property
    def policies(self) -> tuple[Policy, ...]:
        """The policies of the selected cells, in order."""
        return tuple({cell.policy.name: cell.policy for cell in self.cells}.values())


def plan_logprobs(
    suites: Mapping[str, LogprobSuite], *, names: Collection[str], only: str | None
) -> tuple[LogprobPlan, ...]:
    """Return a plan for each named suite that has a cell which `only` selects."""
    claimed = frozenset(cell.id for suite in suites.values() for cell in suite.cells)
    plans = (
        LogprobPlan(suite=suite, cells=_selected(suite.cells, only), claimed=claimed)
        for name, suite in suites.items()
        if name in names
    )
    return tuple(plan for plan in plans if plan.cells)


def _selected(cells: Iterable[LogprobCell], only: str | None) -> tuple[LogprobCell, ...]:
    return tuple(cell for cell in cells if only is None or fnmatchcase(cell.id, only))
