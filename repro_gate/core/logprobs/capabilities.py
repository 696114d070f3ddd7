"""What a server was seen to be able to do, and which policies that makes possible."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import Any, Final, TypeAlias, assert_never

from repro_gate.core.guards import require_at_least, require_text
from repro_gate.core.logprobs.policy import Endpoint, PolicyKind, ProviderKind, has_own_root

MAX_PROBE_CALLS: Final = 10
"""Calls of one probe."""


class Ability(StrEnum):
    """What a probe finds out, in the order in which it is shown."""

    SERVED = "model is listed"
    COMPLETIONS = "/completions"
    CHAT = "/chat/completions"
    IDS = "token ids"
    ID_PROMPTS = "prompts as ids"
    GENERATED = "log-probabilities of generated tokens"
    ECHO = "echo"
    PROMPT = "log-probabilities of a prompt"
    ALIGNED = "echo on the right tokens"
    NO_TOKENS = "max_tokens = 0"
    GREEDY = "temperature 0 is greedy"
    SEEDS = "seeds honoured"
    RAW = "log-probabilities before the temperature"
    FINGERPRINT = "system_fingerprint"


class Answer(StrEnum):
    """Whether a server has an ability."""

    YES = "yes"
    NO = "no"
    OPEN = "not shown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One ability, and how it was seen."""

    ability: Ability
    answer: Answer
    seen: str
    """One safe line."""
    limit: int | None = None
    """The largest number that the server gives, where the ability has one."""

    def __post_init__(self) -> None:
        require_text(seen=self.seen)
        require_at_least(0, limit=self.limit)


Use: TypeAlias = tuple[PolicyKind, Endpoint]
"""A kind of policy at one endpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReport:
    """What one probe found out."""

    base_url: str
    model: str
    api_key_env: str | None
    kind: ProviderKind
    """The kind of provider that fits this server."""
    calls: int
    findings: tuple[Finding, ...]

    def __post_init__(self) -> None:
        require_text(base_url=self.base_url, model=self.model)
        require_at_least(1, calls=self.calls)

    @property
    def provider_url(self) -> str:
        """The base URL for a provider of this kind."""
        return self.base_url.removesuffix("/v1") if has_own_root(self.kind) else self.base_url

    @property
    def uses(self) -> tuple[Use, ...]:
        """The policies that are possible, the best first."""
        scored = (PolicyKind.RESPONSE, Endpoint.COMPLETIONS)
        generating = product(
            (PolicyKind.FIRST_TOKEN, PolicyKind.GENERATED), (Endpoint.CHAT, Endpoint.COMPLETIONS)
        )
        return tuple(use for use in (scored, *generating) if self._allows(*use))

    def alternatives(self, endpoint: Endpoint) -> int:
        """Return how many likely tokens an endpoint gives in the place of each token."""
        found = self._by_ability().get(_OF[endpoint])
        return 0 if found is None else found.limit or 0

    @property
    def is_raw(self) -> bool:
        """Whether log-probabilities are those before the temperature, as far as seen."""
        return not self._is(Ability.RAW, Answer.NO)

    def policies(self, provider: str) -> Mapping[str, Mapping[str, Any]]:
        """Return the best possible policy of each kind, by its name, as tables of a matrix."""
        best: dict[PolicyKind, Endpoint] = {}
        for kind, endpoint in self.uses:
            best.setdefault(kind, endpoint)
        return {
            policy_name(kind): policy_table(
                (kind, endpoint),
                provider=provider,
                model=self.model,
                top_logprobs=self.alternatives(endpoint),
                # At 1 the values after the temperature are those before it.
                temperature=0.0 if self.is_raw else 1.0,
            )
            for kind, endpoint in best.items()
        }

    def _by_ability(self) -> Mapping[Ability, Finding]:
        return {finding.ability: finding for finding in self.findings}

    def _is(self, ability: Ability, answer: Answer = Answer.YES) -> bool:
        found = self._by_ability().get(ability)
        return found is not None and found.answer is answer

    def _allows(self, kind: PolicyKind, endpoint: Endpoint) -> bool:
        is_there = self.alternatives(endpoint) > 0
        match kind:
            case PolicyKind.RESPONSE:
                return self._is(Ability.PROMPT) and not self._is(Ability.ALIGNED, Answer.NO)
            case PolicyKind.FIRST_TOKEN:
                return is_there
            case PolicyKind.GENERATED:
                is_greedy = not self._is(Ability.GREEDY, Answer.NO)
                return is_there and is_greedy and self.is_raw
            case _:
                assert_never(kind)


def policy_name(kind: PolicyKind) -> str:
    """Return the name of a policy that is the only one of its kind."""
    return kind.value.replace("_", "-")


def policy_table(
    use: Use, *, provider: str, model: str, temperature: float, top_logprobs: int | None = None
) -> Mapping[str, Any]:
    """Return the table of a policy in a matrix, without what has its default."""
    kind, endpoint = use
    values: dict[str, Any] = {"provider": provider, "model": model}
    if kind is not PolicyKind.RESPONSE:
        values["kind"] = kind.value
        if top_logprobs is not None:
            values["top_logprobs"] = top_logprobs
    if endpoint is Endpoint.CHAT:
        values["endpoint"] = endpoint.value
    return {**values, "temperature": temperature, "logprobs": "raw"}


_OF: Final = {Endpoint.COMPLETIONS: Ability.COMPLETIONS, Endpoint.CHAT: Ability.CHAT}
