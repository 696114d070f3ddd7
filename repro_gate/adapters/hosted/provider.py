"""A provider in use: its connections, rate limits, deadline, and what it has rejected."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Any

from repro_gate.adapters.hosted.answers import (
    ECHO_REMEDY,
    Answer,
    NeedsPrefix,
    ending,
    generated_beyond_limit,
    missing_capability,
    read_chat,
    read_draw,
    read_encoding,
    read_generated,
    read_twice,
    required_field_in,
)
from repro_gate.adapters.hosted.boundaries import without_key_before
from repro_gate.adapters.hosted.client import CompletionsClient, read_key
from repro_gate.adapters.hosted.dialects import (
    GENERATED_TOKENS,
    PROMPT_TOKENS,
    REQUESTS,
    Dialect,
    Question,
    dialect_of,
)
from repro_gate.adapters.hosted.echoes import Unreadable, cached_tokens_of
from repro_gate.adapters.hosted.failures import ReplyReader
from repro_gate.adapters.hosted.generations import (
    GENERATED_REMEDY,
    Limits,
    NoLogprobs,
    read_generation,
    without_key,
)
from repro_gate.adapters.hosted.limits import Ledger, RateLimiter
from repro_gate.adapters.hosted.metadata import ObservedBackends, facts_of
from repro_gate.adapters.http.retry import Deadline, HttpFailure, RetryPolicy, Runtime
from repro_gate.core.logprobs.alignment import CONTINUATION_TOKENS, ScoredTwice
from repro_gate.core.logprobs.alternatives import judge_generated, reference_of
from repro_gate.core.logprobs.draw import (
    Answered,
    Draw,
    DrawOutcome,
    Encoding,
    InvalidDraw,
    MissedDraw,
    Piece,
)
from repro_gate.core.logprobs.policy import Endpoint, LogprobCell, ProviderSpec
from repro_gate.errors import MeasurementUnavailable
from repro_gate.ports import DrawRequest, Purpose
from repro_gate.strict_json import is_table, items_at, value_at

_FIRST_BACKOFF_S = 0.5
_MAX_BACKOFF_S = 8.0
_BYTES_PER_TOKEN = 4
"""Estimate for the limits and the budget, as long as the tokens of a text are not known."""


class ProviderClient:
    """Measures at one provider; see `repro_gate.ports.Scorer`."""

    def __init__(
        self,
        provider: ProviderSpec,
        *,
        ledger: Ledger,
        backends: ObservedBackends,
        runtime: Runtime,
    ) -> None:
        """Open the connections; nothing is sent yet.

        Raises:
            MeasurementUnavailable: there is no key, or no way to send it safely.
            HttpFailure: the environment rules out any connection.
        """
        self._provider = provider
        self._now = runtime.now
        self._ledger = ledger
        self._backends = backends
        self._dialect: Dialect = dialect_of(provider.kind)
        self._key = read_key(provider, runtime.environ)
        self._client = CompletionsClient(provider, self._key, runtime, dialect=self._dialect)
        self._reader = ReplyReader(provider, self._key, completion=self._dialect.completion)
        self._limiter = RateLimiter(runtime)
        self._deadline = Deadline(
            provider.deadline_s,
            runtime.clock,
            remedy="raise deadline_s of the provider, or ask for fewer draws",
        )
        self._retries = RetryPolicy(
            attempts=provider.attempts,
            first_backoff_s=_FIRST_BACKOFF_S,
            max_backoff_s=_MAX_BACKOFF_S,
            deadline=self._deadline,
            runtime=runtime,
        )
        self._rejected: frozenset[str] = frozenset()
        self._limits = Limits()
        self._closed: MeasurementUnavailable | None = None
        """Why no further call is made."""
        self._is_capable = False
        """Whether any answer had everything that is needed."""
        self._first = asyncio.Lock()
        self._has_answer = False
        """Whether the first question has been answered, or has failed."""
        self._replies = 0
        self._served: str | None = None
        """The model that the server lists, where answers do not name theirs."""

    def paused(self, seconds: float) -> None:
        """Move the deadline by a time in which nothing was asked for."""
        self._deadline.extend(seconds)

    async def draw(self, request: DrawRequest) -> DrawOutcome:
        """Make one draw with one call; a failure is a `MissedDraw`."""
        async with self._first_alone():
            if request.cell.policy.generates:
                return await self._draw_generated(request)
            return await self._draw(request)

    async def encode(self, cell: LogprobCell) -> Encoding | InvalidDraw | MissedDraw:
        """Return the tokens of a cell's text; it takes one call, or two."""
        async with self._first_alone():
            if cell.policy.generates:
                return await self._generate(cell)
            if cell.policy.endpoint is Endpoint.CHAT:
                return await self._encode_chat(cell)
            return await self._encode(cell)

    async def score_twice(self, cell: LogprobCell, encoding: Encoding) -> ScoredTwice | MissedDraw:
        """Let the model continue a prompt, and score what it generated in an echo as well.

        The prompt of a chat is sent as the ids of its tokens.
        """
        model = cell.policy.model
        ids = _ids_of(encoding.prompt) if self._dialect.takes_ids else None
        try:
            asked = Question(
                model=model,
                # At this temperature the sampling log-probabilities are those of the model.
                temperature=1.0,
                prompt=cell.prefix if ids is None else ids,
                generate=CONTINUATION_TOKENS,
            )
            generated = read_generated(await self._ask(asked, tokens=len(encoding.prompt)))
            more = None if ids is None else _ids_of(generated.pieces)
            text = b"".join(piece.data for piece in generated.pieces).decode(errors="replace")
            echoed = Question(
                model=model,
                temperature=1.0,
                prompt=cell.prefix + text if ids is None or more is None else (*ids, *more),
            )
            tokens = len(encoding.prompt) + len(generated.pieces)
            return read_twice(await self._ask(echoed, tokens=tokens), generated)
        except Unreadable as error:
            return MissedDraw(reason=self._key.scrub(str(error)), remedy=ECHO_REMEDY)
        except MeasurementUnavailable as error:
            return MissedDraw(reason=error.reason, remedy=error.remedy)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    @asynccontextmanager
    async def _first_alone(self) -> AsyncGenerator[None]:
        """Let the first question be answered before the others are asked.

        It may show that a field is rejected, or that the server lacks a capability.
        """
        if not self._has_answer:
            async with self._first:
                if not self._has_answer:
                    try:
                        yield
                    finally:
                        self._has_answer = True
                    return
        yield

    async def _draw(self, request: DrawRequest) -> DrawOutcome:
        policy, encoding = request.cell.policy, request.encoding
        ids = [piece.id for piece in (*encoding.prompt, *encoding.response)]
        question = Question(
            model=policy.model,
            temperature=policy.temperature,
            prompt=tuple(id for id in ids if id is not None)
            if encoding.has_ids and self._dialect.takes_ids
            else _text_asked(request),
            last=len(encoding.response),
            **_chat_of(request.cell, response=request.cell.item.response),
        )
        try:
            answer = await self._ask(question, tokens=len(ids))
            is_unproven = answer.is_suffix and not self._is_capable
            if is_unproven and missing_capability(answer, rows=len(encoding.response)):
                # A server that ignores `echo_last` may support `echo`.
                self._rejected |= {"echo_last"}
                answer = await self._ask(question, tokens=len(ids))
            if question.messages and request.purpose is Purpose.CONTROL:
                # The tokens of another prompt are not known.
                answer = ending(answer, len(encoding.response))
                encoding = replace(encoding, prompt=())
            drawn = read_draw(answer, encoding, kind=policy.logprobs, model=request.answers_as)
            if not isinstance(drawn, Draw):
                rows = len(encoding.response) if answer.is_suffix else len(ids)
                self._require_capability(answer, rows=rows)
                return self._safe(drawn)
            self._require_cold(answer)
        except MeasurementUnavailable as error:
            return MissedDraw(reason=error.reason, remedy=error.remedy)
        self._is_capable = True
        self._backends.add_prompt(request.cell, encoding)
        return drawn

    async def _encode_chat(self, cell: LogprobCell) -> Encoding | InvalidDraw | MissedDraw:
        """Return the tokens of a chat and its response; it takes two calls."""
        response = cell.item.response
        try:
            answer = await self._ask_of_text(cell, cell.prefix + response, response=response)
            before = await self._ask_of_text(cell, cell.prefix)
            encoded = read_chat(answer, before=before, response=response)
            if not isinstance(encoded, Encoding):
                self._require_capability(answer, rows=None)
                return self._safe(encoded)
        except MeasurementUnavailable as error:
            return MissedDraw(reason=error.reason, remedy=error.remedy)
        self._is_capable = True
        prompt = without_key_before(encoded.prompt, self._key, prefix="")
        return replace(encoded, prompt=prompt)

    async def _encode(self, cell: LogprobCell) -> Encoding | InvalidDraw | MissedDraw:
        prefix, response = cell.prefix, cell.item.response
        try:
            answer = await self._ask_of_text(cell, prefix + response)
            read = partial(read_encoding, answer, prefix=prefix, response=response)
            encoded = read()
            while isinstance(encoded, NeedsPrefix):
                encoded = read(prefix_alone=await self._ask_of_text(cell, prefix))
            if not isinstance(encoded, Encoding):
                self._require_capability(answer, rows=None, text=prefix + response)
                return self._safe(encoded)
        except MeasurementUnavailable as error:
            return MissedDraw(reason=error.reason, remedy=error.remedy)
        self._is_capable = True
        prompt = without_key_before(encoded.prompt, self._key, prefix=prefix)
        encoded = replace(encoded, prompt=prompt)
        self._backends.add_prompt(cell, encoded)
        return encoded

    async def _draw_generated(self, request: DrawRequest) -> DrawOutcome:
        kind, model = request.cell.policy.kind, request.answers_as
        try:
            answered = await self._answered(request.cell)
        except MeasurementUnavailable as error:
            return MissedDraw(reason=error.reason, remedy=error.remedy)
        drawn = judge_generated(answered, request.encoding, kind=kind, model=model)
        return drawn if isinstance(drawn, Draw) else self._safe(drawn)

    async def _generate(self, cell: LogprobCell) -> Encoding | InvalidDraw | MissedDraw:
        """Return the reference of a cell without a given response; it takes one call."""
        try:
            answered = await self._answered(cell)
        except MeasurementUnavailable as error:
            return MissedDraw(reason=error.reason, remedy=error.remedy)
        encoded = reference_of(answered, cell.policy)
        return encoded if isinstance(encoded, Encoding) else self._safe(encoded)

    async def _answered(self, cell: LogprobCell) -> Answered:
        """Return what a model generates; raises `MeasurementUnavailable`."""
        policy = cell.policy
        question = Question(
            model=policy.model,
            temperature=policy.temperature,
            prompt=cell.prefix,
            generate=policy.max_tokens,
            top=policy.top_logprobs,
            **_chat_of(cell),
        )
        answer = await self._ask(question, tokens=1 + len(_utf8(cell.prefix)) // _BYTES_PER_TOKEN)
        self._require_cold(answer)
        try:
            top = min(policy.top_logprobs, self._limits.most)
            read = read_generation(answer.document, answer.facts, top=top)
            answered = without_key(read, self._key, tokens=policy.max_tokens)
        except NoLogprobs as error:
            raise self._cannot(str(error), remedy=GENERATED_REMEDY) from error
        except Unreadable as error:
            reason = self._key.scrub(str(error))
            raise MeasurementUnavailable(reason, remedy=GENERATED_REMEDY) from error
        self._is_capable = True
        return answered

    async def _ask_of_text(self, cell: LogprobCell, text: str, *, response: str = "") -> Answer:
        """Return the answer about all tokens of a text, or of a chat with a response."""
        policy, chat = cell.policy, _chat_of(cell, response=response)
        question = Question(model=policy.model, temperature=policy.temperature, prompt=text, **chat)
        return await self._ask(question, tokens=1 + len(_utf8(text)) // _BYTES_PER_TOKEN)

    async def _ask(self, question: Question, *, tokens: int) -> Answer:
        """Return the answer to a question, with retries; raises `MeasurementUnavailable`."""
        if self._closed is not None:
            raise MeasurementUnavailable(self._closed.reason, remedy=self._closed.remedy)
        made, replies = 0, self._replies

        async def attempt() -> Answer:
            nonlocal made
            answer = None
            while answer is None:
                made += 1
                answer = await self._attempt(question, tokens=tokens, attempts=made)
            return answer

        try:
            return await self._retries.run(attempt)
        except HttpFailure as error:
            attempts = f" (attempts: {made})" if error.transient else ""
            missed = MeasurementUnavailable(f"{error.reason}{attempts}", remedy=error.remedy)
            is_gone = error.is_unreachable and replies == self._replies
            if is_gone or error.status == HTTPStatus.UNAUTHORIZED:
                # The other questions would fail in the same way, and take as long.
                self._closed = missed
            elif (required := required_field_in(error.message)) and not self._is_capable:
                reason = f"{error.reason} (it cannot be gated without `{required}`){attempts}"
                self._closed = MeasurementUnavailable(reason, remedy=ECHO_REMEDY)
            # A report shows the same reason of all questions once.
            raise self._closed or missed from error

    async def _attempt(self, question: Question, *, tokens: int, attempts: int) -> Answer | None:
        """Return the answer, or None when the question has to be phrased differently."""
        rejected, limits = self._rejected, self._limits
        question = limits.applied_to(question)
        body = self._dialect.body(question, rejected=rejected)
        try:
            answer = await self._call(body, question, tokens=tokens, attempts=attempts)
            named = self._require_limit(answer) - rejected
        except HttpFailure as error:
            self._limits = limits.named_in(error.message, question)
            if self._limits != limits:
                return None
            # A rejected field is replaced by another one.
            named = self._dialect.rejected_in(error.message) & body.keys() - rejected
            if not named:
                raise
        else:
            if not named:
                return answer
        self._rejected |= named
        return None

    async def _call(
        self, body: Mapping[str, Any], question: Question, *, tokens: int, attempts: int
    ) -> Answer:
        generated: int = body.get("max_tokens", question.generate)
        costs = {REQUESTS: 1, PROMPT_TOKENS: tokens, GENERATED_TOKENS: generated}
        await self._limiter.acquire(costs, self._deadline)
        self._ledger.spend(tokens + generated)
        timeout_s = min(self._provider.timeout_s, self._deadline.left_s)
        await self._require_served(question.model, timeout_s=timeout_s)
        reply = await self._client.send(body, timeout_s=timeout_s)
        self._replies += 1
        self._limiter.update_limits(reply.headers)
        now = self._now()
        try:
            document = self._reader.document_of(reply, now=now)
        except HttpFailure as error:
            if error.after_s is not None:
                self._limiter.pause(error.after_s)
            raise
        if self._dialect.models is not None and is_table(document):
            document = {**document, "model": question.model}
        facts = facts_of(reply, document, self._key, attempts=attempts, now=now)
        self._backends.add(self._provider, question.model, facts)
        return Answer(
            document=document,
            facts=facts,
            generated=generated,
            is_suffix=self._dialect.suffix in body,
            scored_by=self._dialect.scored_by,
        )

    async def _require_served(self, model: str, *, timeout_s: float) -> None:
        """Require that the server lists a model, if its answers do not name theirs."""
        if model == self._served:
            return
        reply = await self._client.models(timeout_s=timeout_s)
        if reply is None:
            return
        models = items_at(self._reader.json_of(reply, now=self._now()), "data")
        # Adapters are listed after it, and are only used where a request names them.
        self._served = value_at(next(iter(models), None), "id")
        if model != self._served:
            served = self._key.quote(str(self._served or "no model"))
            raise MeasurementUnavailable(
                f"{self._provider.name} serves {served}, not {model}",
                remedy="change the model of the policy, or start the server with that name",
            )

    def _require_cold(self, answer: Answer) -> None:
        """Raise when a part of a prompt that had to be computed came from a cache."""
        cached = cached_tokens_of(answer.document)
        if cached and self._dialect.is_cold:
            raise MeasurementUnavailable(
                f"{self._provider.name} took {cached} tokens of the prompt from its cache, so "
                "their log-probabilities may be those of an earlier request",
                remedy="start the server without a prefix cache",
            )

    def _require_limit(self, answer: Answer) -> frozenset[str]:
        """Return the field that a server took for no limit; raises when it ignores any limit."""
        generated = generated_beyond_limit(answer)
        if generated is None:
            return frozenset()
        if answer.generated:
            limit = f"`max_tokens = {answer.generated}`"
            raise self._cannot(f"it ignored {limit} and generated {generated} tokens")
        return frozenset({"max_tokens"})

    def _require_capability(
        self, answer: Answer, *, rows: int | None, text: str | None = None
    ) -> None:
        """Raise when an unusable answer shows that the server lacks a capability."""
        gap = missing_capability(answer, rows=rows, text=text)
        if gap is not None:
            raise self._cannot(gap)

    def _cannot(self, what: str, *, remedy: str = ECHO_REMEDY) -> MeasurementUnavailable:
        """Return why the server cannot be gated; after a good answer, only this one failed."""
        if self._is_capable:
            return MeasurementUnavailable(
                f"{self._provider.name}: {what}, although an earlier answer was complete",
                remedy="check for another version or server behind base_url; resume with --resume",
            )
        reason = f"{self._provider.name} cannot be gated: {what}"
        self._closed = MeasurementUnavailable(reason, remedy=remedy)
        return self._closed

    def _safe(self, invalid: InvalidDraw | MissedDraw) -> InvalidDraw | MissedDraw:
        """Return a bad answer without the key, which its reason may quote."""
        return replace(invalid, reason=self._key.scrub(invalid.reason))


def _chat_of(cell: LogprobCell, *, response: str = "") -> dict[str, Any]:
    """Return the part of a question about a chat, with the start of an answer if there is one."""
    if cell.policy.endpoint is not Endpoint.CHAT:
        return {}
    start = (("assistant", response),) if response else ()
    return {"messages": (*cell.policy.messages(cell.item.prompt), *start), "is_open": bool(start)}


def _ids_of(pieces: Sequence[Piece]) -> tuple[int, ...] | None:
    """Return the ids of tokens, or None when one has none."""
    ids = tuple(piece.id for piece in pieces if piece.id is not None)
    return ids if len(ids) == len(pieces) else None


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", errors="surrogatepass")


def _text_of(cell: LogprobCell) -> str:
    return cell.prefix + cell.item.response


def _text_asked(request: DrawRequest) -> str:
    """Return the text of a draw; the text of a control is in its tokens only."""
    if request.purpose is not Purpose.CONTROL:
        return _text_of(request.cell)
    prompt = b"".join(piece.data for piece in request.encoding.prompt)
    return prompt.decode("utf-8", errors="replace") + request.cell.item.response
