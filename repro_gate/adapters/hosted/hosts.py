"""A provider in use: its connections, its pace, its deadline, and what it has refused."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from itertools import accumulate, repeat
from typing import Any

from repro_gate.adapters.hosted.abilities import (
    REMEDY,
    gap_in,
    needed_field_in,
    overrun_of,
    overrun_words,
)
from repro_gate.adapters.hosted.answers import Answer, NeedsPrefix, read_draw, read_encoding
from repro_gate.adapters.hosted.client import Client
from repro_gate.adapters.hosted.dialects import (
    GENERATED_TOKENS,
    PROMPT_TOKENS,
    REQUESTS,
    Dialect,
    Question,
    dialect_of,
)
from repro_gate.adapters.hosted.keys import read_key
from repro_gate.adapters.hosted.ledger import Ledger
from repro_gate.adapters.hosted.metadata import Sightings, facts_of
from repro_gate.adapters.hosted.pacing import Pacer
from repro_gate.adapters.hosted.replies import Reader, Refused
from repro_gate.adapters.hosted.retrying import TryAgain, require_time
from repro_gate.adapters.http.retrying import Persistence
from repro_gate.adapters.http.surroundings import Deadline, Surroundings
from repro_gate.core.draws import DrawOutcome, Encoding, InvalidDraw, MissedDraw, Piece
from repro_gate.core.policies import LogprobCell, Policy, ProviderSpec
from repro_gate.errors import MeasurementUnavailable
from repro_gate.ports import DrawRequest, Purpose

_FIRST_BACKOFF_S = 0.5
_LONGEST_BACKOFF_S = 8.0
_BYTES_PER_TOKEN = 4
"""For the pace and the budget of a text whose tokens are not known yet."""
_MAX_ADDED_BYTES = 1 << 16
"""What a server adds before our text is kept up to here."""


class Host:
    """Answers for the policies of one provider; see `repro_gate.ports.Scorer`."""

    def __init__(
        self,
        provider: ProviderSpec,
        *,
        ledger: Ledger,
        sightings: Sightings,
        surroundings: Surroundings,
    ) -> None:
        """Open the provider.

        Raises:
            MeasurementUnavailable: there is no key, or no way to send it safely.
        """
        self._provider = provider
        self._now = surroundings.now
        self._ledger = ledger
        self._sightings = sightings
        self._dialect: Dialect = dialect_of(provider.kind)
        self._key = read_key(provider, surroundings.environ)
        self._client = Client(provider, self._key, surroundings)
        self._reader = Reader(provider, self._key)
        self._pacer = Pacer(surroundings)
        self._deadline = Deadline(provider.deadline_s, surroundings.clock)
        self._persistence = Persistence(
            attempts=provider.attempts,
            first_backoff_s=_FIRST_BACKOFF_S,
            longest_backoff_s=_LONGEST_BACKOFF_S,
            surroundings=surroundings,
        )
        self._refused: frozenset[str] = frozenset()
        self._closed: MeasurementUnavailable | None = None
        """Why no call is worth making any more."""
        self._is_able = False
        """Whether an answer has shown that the server can do what is asked of it."""
        self._first = asyncio.Lock()
        self._has_begun = False
        """Whether the first question has its answer, whatever it is."""

    async def draw(self, request: DrawRequest) -> DrawOutcome:
        """Make one draw with one call; what cannot be measured is a `MissedDraw`."""
        async with self._alone_at_first():
            return await self._draw(request)

    async def encode(self, cell: LogprobCell) -> Encoding | InvalidDraw | MissedDraw:
        """Ask for the tokens of a cell's text with one call."""
        async with self._alone_at_first():
            return await self._encode(cell)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.close()

    @asynccontextmanager
    async def _alone_at_first(self) -> AsyncGenerator[None]:
        """Let the first question be answered before the others are put.

        What its answer shows of the server spares them.
        """
        if not self._has_begun:
            async with self._first:
                if not self._has_begun:
                    try:
                        yield
                    finally:
                        self._has_begun = True
                    return
        yield

    async def _draw(self, request: DrawRequest) -> DrawOutcome:
        policy, encoding = request.cell.policy, request.encoding
        ids = [piece.id for piece in (*encoding.prompt, *encoding.response)]
        question = Question(
            model=policy.model,
            temperature=policy.temperature,
            prompt=tuple(id for id in ids if id is not None)
            if encoding.has_ids
            else _text_asked(request),
            last=len(encoding.response),
        )
        try:
            answer = await self._ask(question, tokens=len(ids))
            is_unproven = answer.is_suffix and not self._is_able
            if is_unproven and gap_in(answer, rows=len(encoding.response)):
                # A server that overlooks the one field may know the other.
                self._refused |= {"echo_last"}
                answer = await self._ask(question, tokens=len(ids))
            drawn = read_draw(answer, encoding, kind=policy.logprobs, model=request.answers_as)
            if isinstance(drawn, InvalidDraw):
                rows = len(encoding.response) if answer.is_suffix else len(ids)
                self._require_ability(answer, rows=rows)
                return self._safe(drawn)
        except MeasurementUnavailable as error:
            return MissedDraw(reason=error.reason, remedy=error.remedy)
        self._is_able = True
        self._sightings.note_prompt(request.cell, encoding)
        return drawn

    async def _encode(self, cell: LogprobCell) -> Encoding | InvalidDraw | MissedDraw:
        prefix, response = cell.prefix, cell.item.response
        try:
            answer = await self._ask_of_text(cell.policy, prefix + response)
            read = partial(read_encoding, answer, prefix=prefix, response=response)
            encoded = read()
            while isinstance(encoded, NeedsPrefix):
                encoded = read(prefix_alone=await self._ask_of_text(cell.policy, prefix))
            if isinstance(encoded, InvalidDraw):
                self._require_ability(answer, rows=None, text=prefix + response)
                return self._safe(encoded)
        except MeasurementUnavailable as error:
            return MissedDraw(reason=error.reason, remedy=error.remedy)
        self._is_able = True
        encoded = replace(encoded, prompt=self._safe_prompt(encoded.prompt, prefix))
        self._sightings.note_prompt(cell, encoded)
        return encoded

    async def _ask_of_text(self, policy: Policy, text: str) -> Answer:
        """Return what comes back about all tokens of a text."""
        question = Question(model=policy.model, temperature=policy.temperature, prompt=text)
        return await self._ask(question, tokens=1 + len(_utf8(text)) // _BYTES_PER_TOKEN)

    async def _ask(self, question: Question, *, tokens: int) -> Answer:
        """Return the answer to a question, trying as often and as long as the provider's spec says.

        Raises:
            MeasurementUnavailable: there is no answer.
        """
        if self._closed is not None:
            raise MeasurementUnavailable(self._closed.reason, remedy=self._closed.remedy)
        made = 0

        async def attempt() -> Answer:
            nonlocal made
            answer = None
            while answer is None:
                made += 1
                answer = await self._attempt(question, tokens=tokens, attempts=made)
            return answer

        try:
            return await self._persistence.until_done(
                attempt, allow=partial(require_time, self._deadline)
            )
        except TryAgain as error:
            reason = f"{error.reason} (attempts: {made})"
            raise MeasurementUnavailable(reason, remedy=error.remedy) from error

    async def _attempt(self, question: Question, *, tokens: int, attempts: int) -> Answer | None:
        """Return the answer, or None when the question has to be put in another way."""
        refused = self._refused
        body = self._dialect.body(question, refused=refused)
        try:
            answer = await self._call(body, question, tokens=tokens, attempts=attempts)
            named = self._overrun(answer) - refused
        except (Refused, TryAgain) as error:
            # What a server calls by its name and refuses is said in another way.
            named = self._dialect.refused_in(error.said) & body.keys() - refused
            if not named:
                self._note_refusal(error)
                raise
        else:
            if not named:
                return answer
        self._refused |= named
        return None

    async def _call(
        self, body: Mapping[str, Any], question: Question, *, tokens: int, attempts: int
    ) -> Answer:
        generated: int = body["max_tokens"]
        costs = {REQUESTS: 1, PROMPT_TOKENS: tokens, GENERATED_TOKENS: generated}
        await self._pacer.turn(costs, self._deadline)
        self._ledger.spend(tokens + generated)
        timeout_s = min(self._provider.timeout_s, self._deadline.left_s)
        reply = await self._client.send(body, timeout_s=timeout_s)
        self._pacer.heed(reply.headers)
        now = self._now()
        try:
            document = self._reader.document_of(reply, now=now)
        except TryAgain as error:
            if error.after_s is not None:
                self._pacer.hold(error.after_s)
            raise
        facts = facts_of(reply, document, self._key, attempts=attempts, now=now)
        self._sightings.note(self._provider, question.model, facts)
        return Answer(
            document=document,
            facts=facts,
            generated=generated,
            is_suffix=self._dialect.suffix in body,
        )

    def _overrun(self, answer: Answer) -> frozenset[str]:
        """Return the field that a server took for no limit; raises when it takes any so."""
        made = overrun_of(answer)
        if made is None:
            return frozenset()
        if answer.generated:
            raise self._cannot(overrun_words(answer, made))
        return frozenset({"max_tokens"})

    def _note_refusal(self, error: Refused | TryAgain) -> None:
        """Close the host when every other call would be refused as well."""
        field = needed_field_in(error.said)
        if isinstance(error, Refused) and error.is_for_all:
            self._closed = error
        elif field is not None and not self._is_able:
            reason = f"{error.reason} (it cannot be gated without `{field}`)"
            self._closed = MeasurementUnavailable(reason, remedy=REMEDY)

    def _require_ability(
        self, answer: Answer, *, rows: int | None, text: str | None = None
    ) -> None:
        """Return when an answer that could not be read shows nothing that the server cannot do."""
        gap = gap_in(answer, rows=rows, text=text)
        if gap is not None:
            raise self._cannot(gap)

    def _cannot(self, what: str) -> MeasurementUnavailable:
        """Return that the server cannot be gated; no more is asked of one that never could."""
        if self._is_able:
            return MeasurementUnavailable(
                f"{self._provider.name}: {what}, though it did better before",
                remedy="look for another version or server behind base_url; go on with --resume",
            )
        reason = f"{self._provider.name} cannot be gated: {what}"
        self._closed = MeasurementUnavailable(reason, remedy=REMEDY)
        return self._closed

    def _safe(self, invalid: InvalidDraw) -> InvalidDraw:
        """Return what is told of a bad answer without the key, if that is what the answer said."""
        return replace(invalid, reason=self._key.scrub(invalid.reason))

    def _safe_prompt(self, prompt: tuple[Piece, ...], prefix: str) -> tuple[Piece, ...]:
        """Return the tokens of a prompt without the key, unless it stands in our own text."""
        added = sum(len(piece.data) for piece in prompt) - len(_utf8(prefix))
        ends = accumulate(len(piece.data) for piece in prompt)
        count = sum(end <= added for end in ends)
        # Together, because a key may be spelled by many short tokens.
        said = b"".join(piece.data for piece in prompt[:count])
        safe = self._key.scrub_bytes(said[:_MAX_ADDED_BYTES])
        if safe == said:
            return prompt
        shown = [safe, *repeat(b"", count - 1)]
        hidden = (replace(piece, data=data) for piece, data in zip(prompt, shown, strict=False))
        return (*hidden, *prompt[count:])


class Unreachable:
    """A provider that cannot be used, such as one whose key is not set."""

    def __init__(self, error: MeasurementUnavailable) -> None:
        self._missed = MissedDraw(reason=error.reason, remedy=error.remedy)

    async def draw(self, _: DrawRequest) -> MissedDraw:
        """Say why there is no draw."""
        return self._missed

    async def encode(self, _: LogprobCell) -> MissedDraw:
        """Say why there are no tokens."""
        return self._missed

    async def close(self) -> None:
        """Do nothing: nothing was opened."""


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", errors="surrogatepass")


def _text_of(cell: LogprobCell) -> str:
    return cell.prefix + cell.item.response


def _text_asked(request: DrawRequest) -> str:
    """Return the text of a draw; that of a control is made of its tokens, for it is another."""
    if request.purpose is not Purpose.CONTROL:
        return _text_of(request.cell)
    prompt = b"".join(piece.data for piece in request.encoding.prompt)
    return prompt.decode("utf-8", errors="replace") + request.cell.item.response
