"""Log-probabilities from engines on this machine, alone or together with hosted models."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import TypeVar

from repro_gate.checks.engine_worker import EngineWorker
from repro_gate.core.engines import ModelSpec
from repro_gate.core.logprobs.alignment import ScoredTwice
from repro_gate.core.logprobs.draw import (
    Answered,
    DrawFacts,
    DrawOutcome,
    Encoding,
    InvalidDraw,
    MissedDraw,
    Piece,
    judge_answer,
)
from repro_gate.core.logprobs.policy import LogprobCell, LogprobKind, Policy
from repro_gate.core.report import Note, NoteOrigin
from repro_gate.core.text import escape_bytes
from repro_gate.core.tokens.golden import Facts, facts_of_texts
from repro_gate.errors import MeasurementUnavailable
from repro_gate.ports import (
    DrawRequest,
    EngineStarter,
    ModelFiles,
    Outcome,
    Scored,
    Scorer,
    ScoreRequest,
    Seen,
)

T = TypeVar("T")

_WITHOUT_IDS = InvalidDraw(reason="the tokens have no ids, which an engine needs")


class LocalScorer:
    """Measures the policies of local engines, model by model."""

    def __init__(
        self,
        *,
        starter: EngineStarter,
        files: ModelFiles,
        now: Callable[[], str],
        clock: Callable[[], float],
    ) -> None:
        """Start nothing yet.

        Args:
            starter: starts the engines.
            files: finds the models.
            now: returns the current time, ISO 8601, UTC.
            clock: returns seconds, monotonic.
        """
        self._starter = starter
        self._files = files
        self._now = now
        self._clock = clock
        self._workers: dict[str, EngineWorker] = {}
        self._notes: dict[Note, None] = {}

    def source(self, policy: Policy) -> str:
        """Return the profile of the policy's engine; raises `MeasurementUnavailable`."""
        return self._worker_of(_model_of(policy)).describe().profile

    def facts(self, policy: Policy) -> Facts:
        """Return the known facts about the policy's engine and model."""
        model = _model_of(policy)
        return facts_of_texts(self._worker_of(model).facts_of(model))

    def notes(self) -> tuple[Note, ...]:
        """Return the notes of the engines on models and prompts."""
        loaded = (note for worker in self._workers.values() for note in worker.notes())
        return (*loaded, *self._notes)

    def encode(self, cells: Sequence[LogprobCell]) -> Sequence[Encoding | InvalidDraw | MissedDraw]:
        """Return each cell's prompt and response as the tokens of its model, in order."""
        encoded: dict[int, Encoding | InvalidDraw | MissedDraw] = {}
        for model, numbers in self._by_model(range(len(cells)), lambda number: cells[number]):
            asked = [
                ScoreRequest(prompt=cells[number].prefix, response=cells[number].item.response)
                for number in numbers
            ]
            for number, (outcome, _) in zip(numbers, self._score(model, asked), strict=True):
                encoded[number] = self._encoding(cells[number], outcome)
        return [encoded[number] for number in range(len(cells))]

    def score_twice(self, cell: LogprobCell, encoding: Encoding) -> None:
        """Return None: an engine generates and scores with one computation."""
        del cell, encoding

    def draw(self, requests: Sequence[DrawRequest], *, seen: Seen) -> None:
        """Make the draws model by model, and deliver each at once."""
        for model, some in self._by_model(requests, lambda request: request.cell):
            with_ids = [request for request in some if request.encoding.has_ids]
            for request in some:
                if not request.encoding.has_ids:
                    seen(request, _WITHOUT_IDS)
            scored = self._score(model, map(_score_request, with_ids))
            for request, (outcome, latency_s) in zip(with_ids, scored, strict=True):
                seen(request, self._drawn(request, outcome, latency_s))

    def paused(self, seconds: float) -> None:
        """Do nothing: an engine has a time limit for each answer only."""

    def close(self) -> None:
        """End every engine."""
        for worker in self._workers.values():
            worker.close()

    def _encoding(
        self, cell: LogprobCell, outcome: Outcome[Scored]
    ) -> Encoding | InvalidDraw | MissedDraw:
        scored, response = outcome.value, cell.item.response
        if isinstance(scored, MeasurementUnavailable):
            return MissedDraw(reason=scored.reason, remedy=scored.remedy)
        for message in scored.notes:
            self._notes[Note(about=cell.id, message=message, origin=NoteOrigin.ENGINE)] = None
        spelled = b"".join(piece.data for piece in scored.encoding.response)
        wanted = response.encode()
        # SentencePiece puts a space before a text, and after a special token.
        if spelled not in {wanted, b" " + wanted}:
            found, expected = escape_bytes(spelled), escape_bytes(wanted)
            return InvalidDraw(
                reason=f'the tokens of the response spell "{found}", not "{expected}"'
            )
        return scored.encoding

    def _drawn(
        self, request: DrawRequest, outcome: Outcome[Scored], latency_s: float
    ) -> DrawOutcome:
        scored, policy = outcome.value, request.cell.policy
        if isinstance(scored, MeasurementUnavailable):
            return MissedDraw(reason=scored.reason, remedy=scored.remedy)
        is_sampling = policy.logprobs is LogprobKind.SAMPLING
        answered = Answered(
            pieces=scored.encoding.response,
            logprobs=(scored.sampling_logprobs or ()) if is_sampling else scored.logprobs,
            # The name, not the digest: another file is to be measured, and may drift.
            facts=DrawFacts(at=self._now(), model=policy.model, latency_s=latency_s),
        )
        return judge_answer(answered, request.encoding, model=request.answers_as)

    def _score(
        self, model: ModelSpec, asked: Iterable[ScoreRequest]
    ) -> Iterator[tuple[Outcome[Scored], float]]:
        """Yield the outcomes in order, each with its latency in seconds."""
        for done in self._worker_of(model).score_all(model, asked):
            yield done.outcome, done.latency_s

    def _by_model(
        self, items: Iterable[T], cell_of: Callable[[T], LogprobCell]
    ) -> Iterator[tuple[ModelSpec, list[T]]]:
        """Group items by model, engine by engine, with the loaded models first."""
        ordered = sorted(items, key=lambda item: self._order(cell_of(item)))
        for model, some in groupby(ordered, key=lambda item: _model_of(cell_of(item).policy)):
            yield model, list(some)

    def _order(self, cell: LogprobCell) -> tuple[str, bool, str]:
        """Return the sort key of a cell: by engine, with the loaded model first."""
        model = _model_of(cell.policy)
        return model.engine.name, not self._worker_of(model).has_loaded(model), model.name

    def _worker_of(self, model: ModelSpec) -> EngineWorker:
        spec = model.engine
        known = self._workers.get(spec.name)
        if known is None:
            known = self._workers[spec.name] = EngineWorker(
                spec, starter=self._starter, files=self._files, clock=self._clock
            )
        return known


class ScorersByProvider:
    """Delegates each request to the scorer of its provider."""

    def __init__(self, *, hosted: Scorer, local: Scorer) -> None:
        self._hosted = hosted
        self._local = local

    def source(self, policy: Policy) -> str:
        """Return the name under which the policy's baselines hold."""
        return self._of(policy).source(policy)

    def facts(self, policy: Policy) -> Facts:
        """Return the provenance of the policy's draws."""
        return self._of(policy).facts(policy)

    def notes(self) -> tuple[Note, ...]:
        """Return the notes so far."""
        return (*self._local.notes(), *self._hosted.notes())

    def encode(self, cells: Sequence[LogprobCell]) -> Sequence[Encoding | InvalidDraw | MissedDraw]:
        """Return each cell's prompt and response as the tokens of its model, in order."""
        found: dict[int, Encoding | InvalidDraw | MissedDraw] = {}
        for scorer in (self._local, self._hosted):
            own = [index for index, cell in enumerate(cells) if self._of(cell.policy) is scorer]
            if own:
                encoded = scorer.encode([cells[index] for index in own])
                found |= dict(zip(own, encoded, strict=True))
        return [found[index] for index in range(len(cells))]

    def score_twice(self, cell: LogprobCell, encoding: Encoding) -> ScoredTwice | MissedDraw | None:
        """Return the comparison of the cell's provider."""
        return self._of(cell.policy).score_twice(cell, encoding)

    def draw(self, requests: Sequence[DrawRequest], *, seen: Seen) -> None:
        """Make the draws, first those on this machine, which are free."""
        for scorer in (self._local, self._hosted):
            some = [request for request in requests if self._of(request.cell.policy) is scorer]
            if some:
                scorer.draw(some, seen=seen)

    def paused(self, seconds: float) -> None:
        """Move the deadlines of both."""
        self._local.paused(seconds)
        self._hosted.paused(seconds)

    def close(self) -> None:
        """Close connections and processes."""
        self._hosted.close()
        self._local.close()

    def _of(self, policy: Policy) -> Scorer:
        return self._local if policy.provider.is_local else self._hosted


def _model_of(policy: Policy) -> ModelSpec:
    if policy.local_model is None:
        raise ValueError(f"the policy {policy.name} has no model on this machine")
    return policy.local_model


def _score_request(request: DrawRequest) -> ScoreRequest:
    policy, encoding = request.cell.policy, request.encoding
    return ScoreRequest(
        prompt=_ids(encoding.prompt),
        response=_ids(encoding.response),
        temperature=policy.temperature if policy.logprobs is LogprobKind.SAMPLING else None,
    )


def _ids(pieces: Sequence[Piece]) -> tuple[int, ...]:
    return tuple(piece.id for piece in pieces if piece.id is not None)
