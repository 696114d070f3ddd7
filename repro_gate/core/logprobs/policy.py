"""Policies, items and suites of the log-probability gate."""

import ipaddress
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
from repro_gate.core.logprobs.draw import Encoding
from repro_gate.core.tokens.golden import FactChange, Facts, provenance_changes

LOCAL = "local"
"""The name of the provider that runs an engine on this machine."""
SERVER_FINGERPRINT = "provider.fingerprint"
"""The fact with the configuration fingerprint that a server reports."""
_PLACE = re.compile(r"\{(system|prompt)\}")


class ProviderKind(StrEnum):
    """The API dialect of a provider."""

    FIREWORKS = "fireworks"
    OPENAI = "openai"
    """Any `/v1/completions` that echoes prompt log-probabilities."""
    VLLM = "vllm"
    """`/v1/completions` with `prompt_logprobs`."""
    SGLANG = "sglang"
    """SGLang's own `/generate`."""
    TOGETHER = "together"
    """`/v1/completions` of Together, whose echo is beside the choices."""
    TGI = "tgi"
    """`/generate` of Text Generation Inference."""
    LLAMA_SERVER = "llama_server"
    """llama-server of llama.cpp, which has no log-probabilities of a prompt."""
    LOCAL = "local"


def has_own_root(kind: ProviderKind) -> bool:
    """Return whether the endpoint of a kind is not one of those below /v1."""
    match kind:
        case ProviderKind.SGLANG | ProviderKind.TGI:
            return True
        case (
            ProviderKind.FIREWORKS
            | ProviderKind.OPENAI
            | ProviderKind.VLLM
            | ProviderKind.TOGETHER
            | ProviderKind.LLAMA_SERVER
            | ProviderKind.LOCAL
        ):
            return False
        case _:
            assert_never(kind)


def scores_prompts(kind: ProviderKind) -> bool:
    """Return whether a kind can give log-probabilities of a prompt."""
    match kind:
        case ProviderKind.LLAMA_SERVER:
            return False
        case (
            ProviderKind.FIREWORKS
            | ProviderKind.OPENAI
            | ProviderKind.VLLM
            | ProviderKind.SGLANG
            | ProviderKind.TOGETHER
            | ProviderKind.TGI
            | ProviderKind.LOCAL
        ):
            return True
        case _:
            assert_never(kind)


def scores_chats(kind: ProviderKind) -> bool:
    """Return whether a kind can give log-probabilities of a response in a chat."""
    match kind:
        case ProviderKind.VLLM:
            return True
        case (
            ProviderKind.FIREWORKS
            | ProviderKind.OPENAI
            | ProviderKind.SGLANG
            | ProviderKind.TOGETHER
            | ProviderKind.TGI
            | ProviderKind.LLAMA_SERVER
            | ProviderKind.LOCAL
        ):
            return False
        case _:
            assert_never(kind)


class PolicyKind(StrEnum):
    """What a draw measures; see "What each kind can see" in the docs."""

    RESPONSE = "response"
    """The log-probability of the response of the item, by an echo or an engine."""
    FIRST_TOKEN = "first_token"  # noqa: S105 -- a token of a text
    """The most likely first tokens of an answer: LT of arXiv 2512.03816."""
    GENERATED = "generated"
    """The tokens of a greedy answer, up to where it forks from the recorded one."""


class Endpoint(StrEnum):
    """The kind of endpoint that is called."""

    COMPLETIONS = "completions"
    CHAT = "chat"
    """The server renders system prompt and prompt itself."""


BYTES_PER_TOKEN = 4
"""Of a text whose tokens are not known, for estimates."""
MAX_TOP_LOGPROBS = 20
"""The most alternatives of a token that any common API returns."""
DEFAULT_TOKENS: Mapping[PolicyKind, int] = {
    PolicyKind.RESPONSE: 0,
    PolicyKind.FIRST_TOKEN: 1,
    PolicyKind.GENERATED: 32,
}
"""Generated tokens of a draw, by kind."""


class LogprobKind(StrEnum):
    """The kind of log-probability; the two are never mixed."""

    RAW = "raw"
    """Of the model itself, before any sampler."""
    SAMPLING = "sampling"
    """Of the behaviour policy: after the temperature, with top_p = 1 and top_k = 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSpec:
    """A provider's API and the limits of its use."""

    name: str
    kind: ProviderKind
    base_url: str = ""
    """Without the trailing endpoint; empty for the local provider."""
    api_key_env: str | None = None
    """The environment variable with the API key; None for an API without one."""
    concurrency: int = 16
    attempts: int = 6
    """Attempts per draw before it counts as missed."""
    timeout_s: float = 60.0
    """Time limit of one attempt, from connecting to the last byte."""
    deadline_s: float = 3600.0
    """Time limit of all draws together."""
    http2: bool = False
    usd_per_million_tokens: float = 0.0
    """Price of prompt tokens, for the estimate; 0 when unknown."""

    def __post_init__(self) -> None:
        require_name(self.name)
        require_at_least(1, concurrency=self.concurrency, attempts=self.attempts)
        require_above(0, timeout_s=self.timeout_s, deadline_s=self.deadline_s)
        require_at_least(0, usd_per_million_tokens=self.usd_per_million_tokens)

    @property
    def is_local(self) -> bool:
        """Whether draws run on this machine, at no cost."""
        match self.kind:
            case ProviderKind.LOCAL:
                return True
            case (
                ProviderKind.FIREWORKS
                | ProviderKind.OPENAI
                | ProviderKind.VLLM
                | ProviderKind.SGLANG
                | ProviderKind.TOGETHER
                | ProviderKind.TGI
                | ProviderKind.LLAMA_SERVER
            ):
                return False
            case _:
                assert_never(self.kind)

    @property
    def host(self) -> str:
        """The host that receives requests and the key, with the port if the URL has one."""
        return urlsplit(self.base_url).netloc.lower()

    @property
    def place(self) -> str:
        """The host; without its port on this machine, where it differs from start to start."""
        name = self.host.rpartition(":")[0] or self.host
        return name if is_loopback(name.strip("[]")) else self.host


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A model with the settings of its calls."""

    name: str
    provider: ProviderSpec
    model: str
    """The id at the provider; for the local provider, the name of a model of the matrix."""
    system: str
    template: str
    """Combines system prompt and prompt into the text before the response."""
    temperature: float
    logprobs: LogprobKind
    local_model: ModelSpec | None = None
    """The local model; None for every other provider."""
    kind: PolicyKind = PolicyKind.RESPONSE
    endpoint: Endpoint = Endpoint.COMPLETIONS
    top_logprobs: int = MAX_TOP_LOGPROBS
    """Alternatives of each generated token to ask for; the server may return fewer."""
    max_tokens: int = 0
    """Generated tokens of a draw; 0 for kind `response`, which generates none."""

    def __post_init__(self) -> None:
        require_name(self.name)
        require_at_least(0, temperature=self.temperature, max_tokens=self.max_tokens)
        require_at_least(1, top_logprobs=self.top_logprobs)
        if self.logprobs is LogprobKind.SAMPLING and self.temperature == 0:
            raise ValueError("at temperature 0 there are no sampling log-probabilities")
        if self.top_logprobs > MAX_TOP_LOGPROBS:
            raise ValueError(f"top_logprobs must be at most {MAX_TOP_LOGPROBS}")
        if self.generates != (self.max_tokens > 0):
            raise ValueError(f"kind {self.kind} with max_tokens of {self.max_tokens}")
        if self.kind is PolicyKind.GENERATED and self.temperature > 0:
            raise ValueError("a generated answer is compared at temperature 0")

    @property
    def generates(self) -> bool:
        """Whether a draw generates tokens, rather than scoring a response."""
        return self.kind is not PolicyKind.RESPONSE

    @property
    def by_distance(self) -> bool:
        """Whether draws are compared by their distance over all tokens, in place of their sum."""
        return self.kind is PolicyKind.FIRST_TOKEN

    @property
    def call_facts(self) -> Facts:
        """What identifies the calls beyond the facts of an echo on a completions endpoint."""
        facts: dict[str, str] = {}
        if self.endpoint is not Endpoint.COMPLETIONS:
            facts["endpoint"] = self.endpoint.value
        if self.generates:
            facts |= {
                "kind": self.kind.value,
                "top_logprobs": str(self.top_logprobs),
                "max_tokens": str(self.max_tokens),
            }
        return facts

    def messages(self, prompt: str) -> tuple[tuple[str, str], ...]:
        """Return the roles and texts of a chat."""
        system = (("system", self.system),) if self.system else ()
        return (*system, ("user", prompt))

    def render(self, prompt: str) -> str:
        """Render the text before the response; of a chat, its texts."""
        if self.endpoint is Endpoint.CHAT:
            return "\n".join(text for _, text in self.messages(prompt))
        values = {"system": self.system, "prompt": prompt}
        # In one pass, so that placeholders inside a prompt stay data.
        return _PLACE.sub(lambda place: values[place[1]], self.template)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A fixed prompt, and a fixed response to it."""

    name: str
    prompt: str
    response: str = ""
    """Empty for policies that generate one."""

    def __post_init__(self) -> None:
        require_name(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogprobCell:
    """One item under one policy; it has a baseline and gets a verdict."""

    policy: Policy
    item: Item

    def __post_init__(self) -> None:
        if not self.policy.generates:
            require_text(response=self.item.response)

    @property
    def id(self) -> str:
        """The id of the cell and of its baseline; see `Cell.id`."""
        return f"{self.policy.name}--{self.item.name}"

    @property
    def prefix(self) -> str:
        """The text before the response."""
        return self.policy.render(self.item.prompt)

    @property
    def given_response(self) -> str:
        """The response that is scored; empty where one is generated."""
        return "" if self.policy.generates else self.item.response

    def tokens(self, encoding: Encoding, *, counted: int | None = None) -> int:
        """Return the prompt and response tokens of a draw, estimated where they are not known.

        Args:
            encoding: the tokens whose values a draw has.
            counted: the tokens of the prompt by the server's count.
        """
        if not self.policy.generates:
            return len(encoding.prompt) + len(encoding.response)
        length = len(self.prefix.encode()) // BYTES_PER_TOKEN
        return (counted or len(encoding.prompt) or length) + self.policy.max_tokens

    @property
    def definition(self) -> Facts:
        """Everything that the log-probabilities of the cell depend on, as flat facts."""
        policy = self.policy
        return {
            **policy.call_facts,
            "policy": policy.name,
            "item": self.item.name,
            "provider": policy.provider.kind.value,
            "model": policy.model,
            "system": policy.system,
            "template": policy.template,
            "temperature": str(policy.temperature),
            "logprobs": policy.logprobs.value,
            "prompt": self.item.prompt,
            "response": self.given_response,
        }

    def changes_since(self, recorded: Facts) -> tuple[FactChange, ...]:
        """Return how the matrix differs from a recorded definition."""
        return provenance_changes(recorded, self.definition)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """When a difference counts; `error_rates` computes the resulting error rates."""

    calibration_draws: int = 10
    draws: int = 5
    """Draws per look; a second look follows only a suspicious first one."""
    false_alarm_rate: float = 0.01
    """How often the whole suite may fail although nothing has changed."""
    floor_nats: float = 0.1
    """A smaller shift of a cell is a note, never drift."""
    outlier_factor: float = 20.0
    """Distance of an outlier from the median, in robust standard deviations."""
    max_outlier_rate: float = 0.05
    """A larger share of outliers among the draws is a finding."""
    second_look_after_s: float = 0.0
    """Seconds between the two looks, so that the second is of another session."""

    def __post_init__(self) -> None:
        require_at_least(2, calibration_draws=self.calibration_draws)
        require_at_least(1, draws=self.draws)
        require_at_least(
            0, floor_nats=self.floor_nats, second_look_after_s=self.second_look_after_s
        )
        require_above(0, outlier_factor=self.outlier_factor, false_alarm_rate=self.false_alarm_rate)
        require_share(
            false_alarm_rate=self.false_alarm_rate, max_outlier_rate=self.max_outlier_rate
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits on one check's use of hosted APIs; None is no limit."""

    max_calls: int | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        require_at_least(0, max_calls=self.max_calls, max_tokens=self.max_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightPlan:
    """Which policies are compared by importance weights, w = exp(target - base)."""

    base: str
    clones: tuple[str, ...] = ()
    """Policies identical to the base: the A/A control."""
    must_be_usable: tuple[str, ...] = ()
    """Policies whose weights have to be usable; for the others it is only reported."""

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
        """The policies of the A/A controls: the clones and their base, or none."""
        if self.weights is None or not self.weights.clones:
            return frozenset()
        return frozenset({self.weights.base, *self.weights.clones})


@dataclass(frozen=True, slots=True, kw_only=True)
class LogprobPlan:
    """What one invocation measures of one suite."""

    suite: LogprobSuite
    cells: tuple[LogprobCell, ...]
    """The selected cells."""
    claimed: frozenset[str]
    """The ids of all cells of the matrix; a baseline of any other id is orphaned."""

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
