"""The facts that are kept of each call, and of the backends that answered."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from repro_gate.adapters.hosted.boundaries import doubled_first_token
from repro_gate.adapters.hosted.client import TimedReply
from repro_gate.adapters.hosted.dialects import ANSWERED_IDS, KEPT
from repro_gate.adapters.hosted.echoes import cached_tokens_of, prompt_tokens_of
from repro_gate.adapters.http.secret import Secret
from repro_gate.core.logprobs.draw import (
    FINGERPRINT,
    USAGE_CACHED,
    USAGE_PROMPT,
    DrawFacts,
    Encoding,
)
from repro_gate.core.logprobs.policy import SERVER_FINGERPRINT, LogprobCell, Policy, ProviderSpec
from repro_gate.core.report import Note, NoteOrigin
from repro_gate.core.tokens.golden import Facts
from repro_gate.strict_json import value_at

_MAX_LENGTH = 200
_MAX_VALUES = 16
"""A longer list of hosts is of no use to a reader."""
_Requested = tuple[str, str]


def facts_of(
    reply: TimedReply, document: Any, key: Secret, *, attempts: int, now: datetime
) -> DrawFacts:
    """Return the facts of a reply; every text is safe, short and without the key.

    The requested model's name is never scrubbed: it is compared with answers to other keys.
    """
    headers = reply.headers
    kept = {
        name: key.quote(headers[name], max_length=_MAX_LENGTH) for name in KEPT if name in headers
    }
    fingerprint = value_at(document, FINGERPRINT)
    if isinstance(fingerprint, str) and fingerprint:
        kept[FINGERPRINT] = key.quote(fingerprint, max_length=_MAX_LENGTH)
    usage = {USAGE_PROMPT: prompt_tokens_of(document), USAGE_CACHED: cached_tokens_of(document)}
    kept |= {name: str(count) for name, count in usage.items() if count is not None}
    model = _model_of(document)
    request_id = _first(headers, ANSWERED_IDS) or reply.request_id
    return DrawFacts(
        at=now.isoformat(timespec="milliseconds"),
        model=(Secret() if model == reply.model else key).quote(model, max_length=_MAX_LENGTH),
        request_id=key.quote(request_id, max_length=_MAX_LENGTH),
        latency_s=round(reply.latency_s, 4),
        attempts=attempts,
        headers=kept or None,
    )


class ObservedBackends:
    """The models, backends and configurations that have answered so far."""

    def __init__(self) -> None:
        self._seen: dict[_Requested, dict[str, dict[str, None]]] = defaultdict(dict)
        """By requested model and name of the fact, the values so far."""
        self.notes: dict[Note, None] = {}
        """Notes about prompts, without repetitions."""

    def add(self, provider: ProviderSpec, model: str, facts: DrawFacts) -> None:
        """Add the answer to a request for a model."""
        found = {
            "model.answered": facts.model,
            "provider.backends": facts.backend,
            SERVER_FINGERPRINT: facts.fingerprint,
        }
        for name, value in found.items():
            values = self._seen[provider.name, model].setdefault(name, {})
            if value and len(values) < _MAX_VALUES:
                values[value] = None

    def add_prompt(self, cell: LogprobCell, encoding: Encoding) -> None:
        """Add a note when a server adds a token that the prompt starts with already."""
        twice = doubled_first_token(encoding.prompt, prefix=cell.prefix)
        if twice is not None:
            message = f"the server adds {twice} before a prompt that starts with it already"
            about = cell.policy.name
            self.notes[Note(about=about, message=message, origin=NoteOrigin.SERVER)] = None

    def facts(self, policy: Policy) -> Facts:
        """Return what has answered for a policy's model so far."""
        seen = self._seen.get((policy.provider.name, policy.model), {})
        return {name: ", ".join(sorted(values)) for name, values in seen.items() if values}


def _first(headers: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((headers[name] for name in names if headers.get(name)), "")


def _model_of(document: Any) -> str:
    model = value_at(document, "model")
    return model if isinstance(model, str) else ""
