"""Log-probabilities from engines on this machine, alone or together with hosted models."""

from collections.abc import Callable, Sequence

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
from repro_gate.core.tokens.golden import Facts
from repro_gate.errors import MeasurementUnavailable
from repro_gate.ports import (
    DrawRequest,
    EngineStarter,
    ModelFiles,
    Scored,
    Scorer,
    ScoreRequest,
    Seen,
)


class LocalScorer:
    """Measures the policies of local engines, one draw after the other."""

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
        return self._worker_of(model).facts_of(model)

    def notes(self) -> tuple[Note, ...]:
        """Return the notes of the engines on models and prompts."""
        loaded = (note for worker in self._workers.values() for note in worker.notes())
        return (*loaded, *self._notes)

    def encode(self, cells: Sequence[LogprobCell]) -> Sequence[Encoding | InvalidDraw | MissedDraw]:
        """Return each cell's prompt and response as the tokens of its model, in order."""
        encoded = {
            index: self._encode(cells[index])
            for index in sorted(range(len(cells)), key=lambda index: self._order(cells[index]))
        }
        return [encoded[index] for index in range(len(cells))]

    def score_twice(self, cell: LogprobCell, encoding: Encoding) -> None:
        """Return None: an engine generates and scores with one computation."""
        del cell, encoding

    def draw(self, requests: Sequence[DrawRequest], *, seen: Seen) -> None:
        """Make the draws model by model, and deliver each at once."""
        for request in sorted(requests, key=lambda request: self._order(request.cell)):
            seen(request, self._draw(request))

    def close(self) -> None:
        """End every engine."""
        for worker in self._workers.values():
            worker.close()

    def _encode(self, cell: LogprobCell) -> Encoding | InvalidDraw | MissedDraw:
        response = cell.item.response
        try:
            scored, _ = self._score(
                cell.policy, ScoreRequest(prompt=cell.prefix, response=response)
            )
        except MeasurementUnavailable as error:
            return MissedDraw(reason=error.reason, remedy=error.remedy)
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

    def _draw(self, request: DrawRequest) -> DrawOutcome:
        policy, encoding = request.cell.policy, request.encoding
        if not encoding.has_ids:
            return InvalidDraw(reason="the tokens have no ids, which an engine needs")
        is_sampling = policy.logprobs is LogprobKind.SAMPLING
        asked = ScoreRequest(
            prompt=_ids(encoding.prompt),
            response=_ids(encoding.response),
            temperature=policy.temperature if is_sampling else None,
        )
        try:
            scored, latency_s = self._score(policy, asked)
        except MeasurementUnavailable as error:
            return MissedDraw(reason=error.reason, remedy=error.remedy)
        answered = Answered(
            pieces=scored.encoding.response,
            logprobs=(scored.sampling_logprobs or ()) if is_sampling else scored.logprobs,
            # The name, not the digest: another file is to be measured, and may drift.
            facts=DrawFacts(at=self._now(), model=policy.model, latency_s=latency_s),
        )
        return judge_answer(answered, encoding, model=request.answers_as)

    def _score(self, policy: Policy, asked: ScoreRequest) -> tuple[Scored, float]:
        """Return the answer and its latency in seconds; raises `MeasurementUnavailable`."""
        model = _model_of(policy)
        worker = self._worker_of(model)
        with worker.attempt(model.name):
            worker.load(model)
            started = self._clock()
            scored = worker.score(asked)
            return scored, self._clock() - started

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


def _ids(pieces: Sequence[Piece]) -> tuple[int, ...]:
    return tuple(piece.id for piece in pieces if piece.id is not None)
