"""What is kept of the call behind a draw, for whoever watches a provider over time."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from repro_gate.adapters.hosted.boundaries import doubled_beginning
from repro_gate.adapters.hosted.client import TimedReply
from repro_gate.adapters.hosted.dialects import ANSWERED_IDS, BACKENDS, KEPT
from repro_gate.adapters.http.secret import Secret
from repro_gate.core.draws import DrawFacts, Encoding
from repro_gate.core.goldens import Facts
from repro_gate.core.policies import SERVER_FINGERPRINT, LogprobCell, Policy, ProviderSpec
from repro_gate.core.report import Note, NoteOrigin
from repro_gate.strict_json import value_at

FINGERPRINT: Final = "system_fingerprint"
"""What a server calls its own configuration, in the body of an answer."""
_LONGEST = 200
_MOST_SEEN = 16
"""Of more hosts than these a reader learns nothing."""
_Asked = tuple[str, str]


def facts_of(
    reply: TimedReply, document: Any, key: Secret, *, attempts: int, now: datetime
) -> DrawFacts:
    """Return what a reply says of itself; every text is safe, short and without the key.

    The name of the model that was asked for is our own, and stays whole whatever the key is: it is
    compared with what another key was told.
    """
    headers = reply.headers
    kept = {name: key.quote(headers[name], longest=_LONGEST) for name in KEPT if name in headers}
    fingerprint = value_at(document, FINGERPRINT)
    if isinstance(fingerprint, str) and fingerprint:
        kept[FINGERPRINT] = key.quote(fingerprint, longest=_LONGEST)
    model = _model_of(document)
    return DrawFacts(
        at=now.isoformat(timespec="milliseconds"),
        model=(Secret() if model == reply.model else key).quote(model, longest=_LONGEST),
        request_id=key.quote(_first(headers, ANSWERED_IDS) or reply.request_id, longest=_LONGEST),
        latency_s=round(reply.latency_s, 4),
        attempts=attempts,
        headers=kept or None,
    )


class Sightings:
    """Who answered for a model, as far as answers came."""

    def __init__(self) -> None:
        self._models: dict[_Asked, dict[str, None]] = defaultdict(dict)
        self._backends: dict[_Asked, dict[str, None]] = defaultdict(dict)
        self._fingerprints: dict[_Asked, dict[str, None]] = defaultdict(dict)
        self.notes: dict[Note, None] = {}
        """What is worth knowing of prompts, each once."""

    def note(self, provider: ProviderSpec, model: str, facts: DrawFacts) -> None:
        """Keep who answered when a model was asked for."""
        _keep(self._models[provider.name, model], facts.model)
        headers = facts.headers or {}
        _keep(self._backends[provider.name, model], _first(headers, BACKENDS))
        _keep(self._fingerprints[provider.name, model], headers.get(FINGERPRINT, ""))

    def note_prompt(self, cell: LogprobCell, encoding: Encoding) -> None:
        """Keep that a prompt begins twice, if it does."""
        twice = doubled_beginning(encoding.prompt, prefix=cell.prefix)
        if twice is not None:
            message = f"the server adds {twice} before the prompt, which begins with it already"
            about = cell.policy.name
            self.notes[Note(about=about, message=message, origin=NoteOrigin.SERVER)] = None

    def facts(self, policy: Policy) -> Facts:
        """Return who has answered for a policy's model so far."""
        asked = policy.provider.name, policy.model
        seen = {
            "model.answered": ", ".join(sorted(self._models.get(asked, ()))),
            "provider.backends": ", ".join(sorted(self._backends.get(asked, ()))),
            SERVER_FINGERPRINT: ", ".join(sorted(self._fingerprints.get(asked, ()))),
        }
        return {name: value for name, value in seen.items() if value}


def _keep(seen: dict[str, None], value: str) -> None:
    if value and len(seen) < _MOST_SEEN:
        seen[value] = None


def _first(headers: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((headers[name] for name in names if headers.get(name)), "")


def _model_of(document: Any) -> str:
    model = value_at(document, "model")
    return model if isinstance(model, str) else ""
