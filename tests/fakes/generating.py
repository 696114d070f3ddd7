"""A service without an echo: a small made-up model that lists likely tokens and generates."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from repro_gate.core.logprobs.alternatives import judge_generated, reference_of
from repro_gate.core.logprobs.draw import (
    Answered,
    DrawFacts,
    DrawOutcome,
    Encoding,
    InvalidDraw,
    MissedDraw,
    Piece,
)
from repro_gate.core.logprobs.policy import LogprobCell, Policy, PolicyKind
from repro_gate.ports import DrawRequest, Purpose
from repro_gate.statistics.permutation import Floats
from tests.fakes.scoring import MODEL, NOW, NoisyScorer, policy_of

VOCABULARY = 50
_SPREAD = 2.0
"""Of the logits, in nats."""
Change = Callable[[Floats, int], Floats]
"""Returns the logits of a changed model at a position of the answer."""


def unchanged(logits: Floats, _: int) -> Floats:
    """Return the logits."""
    return logits


def token_moved(token: int, nats: float, *, position: int = 0) -> Change:
    """Move the logit of one token at one position."""

    def change(logits: Floats, place: int) -> Floats:
        moved = logits.copy()
        moved[token] += nats * (place == position)
        return moved

    return change


def generating_policy(kind: PolicyKind, name: str = "base", **changes: Any) -> Policy:
    """Return a policy of a kind that generates."""
    tokens = 1 if kind is PolicyKind.FIRST_TOKEN else 8
    return policy_of(name, kind=kind, **{"temperature": 0.0, "max_tokens": tokens, **changes})


@dataclass(slots=True, kw_only=True)
class GeneratingScorer(NoisyScorer):
    """Answers like a hosted model without an echo."""

    sd: float = 0.0
    """Noise of each logit, in nats."""
    change: Change = unchanged
    """What has happened since the calibration."""
    cap: int = 20
    """The most alternatives that the server lists."""
    has_ids: bool = True

    def encode(self, cells: Sequence[LogprobCell]) -> Sequence[Encoding | InvalidDraw | MissedDraw]:
        """Return the tokens of a first answer."""
        return [reference_of(self._answer(cell, unchanged), cell.policy) for cell in cells]

    def drawn(self, request: DrawRequest) -> DrawOutcome:  # type: ignore[override]
        """Return the draw of an answer."""
        is_new = request.purpose in {Purpose.FIRST_LOOK, Purpose.SECOND_LOOK}
        return judge_generated(
            self._answer(request.cell, self.change if is_new else unchanged),
            request.encoding,
            kind=request.cell.policy.kind,
            model=request.answers_as,
        )

    def logprobs(self, cell: LogprobCell, tokens: Sequence[int], change: Change) -> Floats:
        """Return the log-probability of each token of the vocabulary after some tokens."""
        about = (cell.policy.model, cell.item.prompt if self.heeds_prompt else "", tuple(tokens))
        digest = hashlib.sha256(repr(about).encode()).digest()
        truth = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        logits = change(truth.normal(0, _SPREAD, VOCABULARY), len(tokens))
        logits = logits + self._generator.normal(0, 1, VOCABULARY) * self.sd
        found: Floats = logits - np.logaddexp.reduce(logits)
        return found

    def _answer(self, cell: LogprobCell, change: Change) -> Answered:
        tokens: list[int] = []
        values: list[float] = []
        lists: list[tuple[tuple[Piece, float], ...]] = []
        for _ in range(cell.policy.max_tokens):
            found = self.logprobs(cell, tokens, change)
            best = np.argsort(-found)[: min(self.cap, cell.policy.top_logprobs)]
            lists.append(tuple((self._piece(token), float(found[token])) for token in best))
            tokens.append(int(best[0]))
            values.append(float(found[best[0]]))
        return Answered(
            pieces=tuple(map(self._piece, tokens)),
            logprobs=tuple(values),
            facts=DrawFacts(at=NOW, model=MODEL),
            alternatives=tuple(lists),
        )

    def _piece(self, token: int) -> Piece:
        return Piece(int(token) if self.has_ids else None, f" t{token}".encode())
