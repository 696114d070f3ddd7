"""Hosted providers that can be named on the command line."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from repro_gate.core.logprobs.capabilities import Use
from repro_gate.core.logprobs.policy import Endpoint, PolicyKind, ProviderKind

_ECHOES: Final[Use] = (PolicyKind.RESPONSE, Endpoint.COMPLETIONS)
_CHATS: Final[Use] = (PolicyKind.FIRST_TOKEN, Endpoint.CHAT)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownProvider:
    """A provider, and what its API reference promises."""

    kind: ProviderKind
    base_url: str
    api_key_env: str
    use: Use
    """The policy that its models should allow; a probe shows more."""


KNOWN_PROVIDERS: Final[Mapping[str, KnownProvider]] = {
    "fireworks": KnownProvider(
        kind=ProviderKind.FIREWORKS,
        base_url="https://api.fireworks.ai/inference/v1",
        api_key_env="FIREWORKS_API_KEY",
        use=_ECHOES,
    ),
    "together": KnownProvider(
        kind=ProviderKind.TOGETHER,
        base_url="https://api.together.xyz/v1",
        api_key_env="TOGETHER_API_KEY",
        use=_ECHOES,
    ),
    "openai": KnownProvider(
        kind=ProviderKind.OPENAI,
        base_url="https://api.openai.com/v1",
        api_key_env="OPENAI_API_KEY",
        use=_CHATS,
    ),
    "openrouter": KnownProvider(
        kind=ProviderKind.OPENAI,
        base_url="https://openrouter.ai/api/v1",
        api_key_env="OPENROUTER_API_KEY",
        use=_CHATS,
    ),
    "deepinfra": KnownProvider(
        kind=ProviderKind.OPENAI,
        base_url="https://api.deepinfra.com/v1/openai",
        api_key_env="DEEPINFRA_API_KEY",
        use=_CHATS,
    ),
}
"""By the name after `init`; the best described first."""
