"""What the answers to a probe show; no document makes a reading raise."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

from repro_gate.adapters.hosted.answers import (
    Answer,
    missing_capability,
    read_generated,
    read_twice,
)
from repro_gate.adapters.hosted.dialects import dialect_of
from repro_gate.adapters.hosted.echoes import (
    Unreadable,
    choice_of,
    completion_tokens_of,
    echo_of,
)
from repro_gate.adapters.hosted.generations import read_generation
from repro_gate.adapters.hosted.native import together_completion
from repro_gate.adapters.http.retry import HttpFailure
from repro_gate.adapters.http.secret import Secret
from repro_gate.core.logprobs import capabilities
from repro_gate.core.logprobs.alignment import Alignment, judge_alignment
from repro_gate.core.logprobs.capabilities import Ability, Finding
from repro_gate.core.logprobs.draw import FINGERPRINT, Answered, DrawFacts, Piece
from repro_gate.core.logprobs.policy import (
    MAX_TOP_LOGPROBS,
    LogprobKind,
    ProviderKind,
    scores_prompts,
)
from repro_gate.strict_json import items_at, value_at

YES, NO, OPEN = capabilities.Answer.YES, capabilities.Answer.NO, capabilities.Answer.OPEN
_MAX_SHOWN: Final = 80
_MAX_LISTED: Final = 3
_NOT_ASKED: Final = "not asked: no call was left, or an earlier one failed"
_OWNERS: Final[Mapping[str, ProviderKind]] = {
    "vllm": ProviderKind.VLLM,
    "sglang": ProviderKind.SGLANG,
    "llamacpp": ProviderKind.LLAMA_SERVER,
}
"""The kinds of servers by `owned_by` in their list of models."""
_SAME_NATS: Final = 0.1
_WARM: Final = 1.5
_NEAR: Final = 0.1
_SPACES: Final = str.maketrans("\N{LOWER ONE EIGHTH BLOCK}\u0120", "  ")
"""How vocabularies write a space."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The answer to one question, or why there is none."""

    document: Any = None
    failure: HttpFailure | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def why(self) -> str:
        """Why there is no answer, as one safe line."""
        return _NOT_ASKED if self.failure is None else self.failure.reason


@dataclass(slots=True, kw_only=True)
class Seen:
    """The answers so far."""

    model: str
    prompt: str
    host: str
    models: Asked = Asked()
    generated: Asked = Asked()
    """A continuation of the prompt."""
    chats: tuple[Asked, ...] = ()
    """Three answers: at temperature 0, and twice and once at a higher one with two seeds."""
    chat_failure: Asked | None = None
    """Set when there is no chat, and the answers are those of the other endpoint."""
    echoed: Asked = Asked()
    unlimited: Asked = Asked()
    """The prompt, with `max_tokens = 0`."""
    scored: tuple[tuple[ProviderKind, Asked], ...] = ()
    """The prompt in the own formats of servers."""

    @property
    def only_failure(self) -> HttpFailure | None:
        """Why nothing at all was answered, or None."""
        asked = (self.generated, *self.chats, *(one for _, one in self.scored))
        if any(one.document is not None for one in asked):
            return None
        return next((one.failure for one in (*asked, self.models) if one.failure), None)

    @property
    def continuation(self) -> str:
        """The generated text."""
        text = value_at(_choice(self.generated.document), "text")
        return text if isinstance(text, str) else ""

    @property
    def continued(self) -> str | tuple[int, ...]:
        """The prompt and its continuation, as ids if all of them are known."""
        choice = _choice(self.generated.document)
        ids = [*items_at(choice, "prompt_token_ids"), *items_at(choice, "token_ids")]
        is_known = items_at(choice, "prompt_token_ids") and all(type(id) is int for id in ids)
        return tuple(ids) if is_known else self.prompt + self.continuation

    @property
    def owner(self) -> ProviderKind | None:
        """The kind of server by its list of models."""
        rows = items_at(self.models.document, "data")
        named = next((row for row in rows if value_at(row, "id") == self.model), None)
        owner = value_at(named or next(iter(rows), None), "owned_by")
        return _OWNERS.get(owner) if isinstance(owner, str) else None


def kind_of_server(seen: Seen) -> ProviderKind:
    """Return the kind of provider that fits a server."""
    if seen.owner is not None and not scores_prompts(seen.owner):
        return seen.owner
    for kind, asked in seen.scored:
        if _scored_by(seen, asked.document) is None:
            return kind
    documents = (seen.generated, seen.echoed, *seen.chats)
    if any(name.startswith("fireworks-") for asked in documents for name in asked.headers):
        return ProviderKind.FIREWORKS
    if _scored_by(seen, _together(seen.echoed.document)) is None:
        return ProviderKind.TOGETHER
    return ProviderKind.OPENAI


def is_scored(seen: Seen) -> bool:
    """Return whether a prompt's log-probabilities were seen, in the best way for the server."""
    return any(gap is None for gap in _gaps(seen).values()) and seen.owner is None


def findings_of(seen: Seen, key: Secret) -> tuple[Finding, ...]:
    """Return every ability in order; each text is one safe line without the key."""
    read: Sequence[Callable[[Seen], Iterable[Finding]]] = (
        _served,
        _endpoints,
        _ids,
        _values,
        _prompt,
        _aligned,
        _no_tokens,
        _sampling,
        _raw,
        _fingerprint,
    )
    found = {one.ability: one for each in read for one in each(seen)}
    return tuple(
        Finding(
            ability=one.ability,
            answer=one.answer,
            seen=key.quote(one.seen, max_length=2 * _MAX_SHOWN),
            limit=one.limit,
        )
        for one in (found[ability] for ability in Ability if ability in found)
    )


def _served(seen: Seen) -> Iterator[Finding]:
    ids = [value_at(row, "id") for row in items_at(seen.models.document, "data")]
    names = [id for id in ids if isinstance(id, str)]
    if not names:
        answer, shown = OPEN, seen.models.why if seen.models.failure else "there is no list"
    elif seen.model in names:
        answer, shown = YES, f"{len(names)} in the list of models"
    else:
        more = ", ..." if len(names) > _MAX_LISTED else ""
        answer, shown = NO, f"the list has {', '.join(names[:_MAX_LISTED])}{more}"
    yield Finding(ability=Ability.SERVED, answer=answer, seen=shown)


def _endpoints(seen: Seen) -> Iterator[Finding]:
    chat = seen.chat_failure or next(iter(seen.chats), Asked())
    yield _endpoint(Ability.COMPLETIONS, seen.generated)
    yield _endpoint(Ability.CHAT, chat)


def _endpoint(ability: Ability, asked: Asked) -> Finding:
    """Return whether an endpoint answers, and how many likely tokens it gives."""
    if asked.document is None:
        is_open = asked.failure is None or asked.failure.transient
        return Finding(ability=ability, answer=OPEN if is_open else NO, seen=asked.why)
    answered = _generation(asked)
    if isinstance(answered, Unreadable):
        return Finding(ability=ability, answer=YES, seen=f"answered, but {answered}", limit=0)
    most = max(map(len, answered.alternatives), default=0)
    shown = f"{len(answered.pieces)} tokens, each with {most or 'no'} likely ones (top_logprobs)"
    return Finding(ability=ability, answer=YES, seen=shown, limit=most)


def _ids(seen: Seen) -> Iterator[Finding]:
    found = map(_generation, (seen.generated, *seen.chats))
    pieces = [piece for one in found if isinstance(one, Answered) for piece in one.pieces]
    count = sum(piece.id is not None for piece in pieces)
    answer = (YES if count == len(pieces) else NO) if pieces else OPEN
    shown = f"{count} of {len(pieces)} generated tokens have one"
    yield Finding(ability=Ability.IDS, answer=answer, seen=shown)
    if isinstance(seen.continued, tuple):
        is_taken = seen.echoed.document is not None
        shown = f"{len(seen.continued)} ids were sent" if is_taken else seen.echoed.why
        answer = YES if is_taken else NO
    else:
        answer, shown = OPEN, "not asked: the server returned no ids of a prompt"
    yield Finding(ability=Ability.ID_PROMPTS, answer=answer, seen=shown)


def _values(seen: Seen) -> Iterator[Finding]:
    asked = [one for one in (*seen.chats, seen.generated) if one.document is not None]
    found = list(map(_generation, asked))
    values = sum(len(one.logprobs) for one in found if isinstance(one, Answered))
    if values:
        shown = f"{values} values in {len(asked)} answers"
    elif found:
        shown = str(found[0])
    else:
        return
    yield Finding(ability=Ability.GENERATED, answer=YES if values else NO, seen=shown)


def _prompt(seen: Seen) -> Iterator[Finding]:
    gaps = _gaps(seen)
    if seen.echoed.document is not None:
        is_echoed = gaps["echo"] is None or gaps["prompt[0].logprobs"] is None
        shown = "the answer has the tokens of the prompt" if is_echoed else gaps["echo"] or ""
        yield Finding(ability=Ability.ECHO, answer=YES if is_echoed else NO, seen=shown)
    ways = [name for name, gap in gaps.items() if gap is None]
    asked = [seen.echoed, *(one for _, one in seen.scored)]
    if ways:
        answer, shown = YES, f"by {' and '.join(ways)}"
    elif all(one.document is None for one in asked):
        answer, shown = NO if any(one.failure for one in asked) else OPEN, asked[-1].why
    else:
        answer, shown = NO, next(filter(None, gaps.values()), "none")
    yield Finding(ability=Ability.PROMPT, answer=answer, seen=shown)


def _gaps(seen: Seen) -> Mapping[str, str | None]:
    """Return for each way to score a prompt why it gave nothing, or None."""
    document = seen.echoed.document
    return {
        "echo": _scored_by(seen, document),
        "prompt[0].logprobs": _scored_by(seen, _together(document)),
        **{
            dialect_of(kind).scored_by: _scored_by(seen, asked.document)
            for kind, asked in seen.scored
        },
    }


def _aligned(seen: Seen) -> Iterator[Finding]:
    document = _together(seen.echoed.document) or seen.echoed.document
    try:
        generated = read_generated(_answer(seen.generated.document))
        figures = judge_alignment([read_twice(_answer(document), generated)])
    except Unreadable:
        return
    answer = {Alignment.ALIGNED: YES, Alignment.SHIFTED: NO, Alignment.NOT_SHOWN: OPEN}
    shown = f"{figures.near} of {figures.tokens} values equal those of the generated tokens"
    if figures.alignment is Alignment.SHIFTED:
        shown += ": it is off by one"
    yield Finding(ability=Ability.ALIGNED, answer=answer[figures.alignment], seen=shown)


def _no_tokens(seen: Seen) -> Iterator[Finding]:
    asked = seen.unlimited
    made = completion_tokens_of(asked.document)
    if asked.document is None:
        answer, shown = OPEN if asked.failure is None else NO, asked.why
    elif made is None:
        answer, shown = OPEN, "the answer does not count its tokens"
    else:
        answer = NO if made else YES
        shown = f"it generated {made} token{'s' if made != 1 else ''}"
        has_stopped = value_at(_choice(asked.document), "finish_reason") == "stop"
        if made > 1 and has_stopped:
            shown += " up to a stop: it takes 0 for no limit"
    yield Finding(ability=Ability.NO_TOKENS, answer=answer, seen=shown)


def _sampling(seen: Seen) -> Iterator[Finding]:
    texts = [_text(asked.document) for asked in seen.chats]
    cold = _generation(seen.chats[0]) if seen.chats else None
    if isinstance(cold, Answered) and any(cold.alternatives):
        pairs = zip(cold.pieces, cold.alternatives, strict=True)
        count = sum(bool(best) and _is_one(piece, best[0][0]) for piece, best in pairs)
        answer = YES if count == len(cold.pieces) else NO
        shown = f"{count} of {len(cold.pieces)} tokens are the likeliest"
        yield Finding(ability=Ability.GREEDY, answer=answer, seen=shown)
    if len(texts) < 4 or None in texts[1:]:  # noqa: PLR2004 -- see `Seen.chats`
        return
    first, again, other = texts[1:]
    if first != again:
        answer, shown = NO, "one seed gave two answers"
    elif first == other:
        answer, shown = OPEN, "two seeds gave the same answer"
    else:
        answer, shown = YES, "one seed gave the same answer twice, another seed another one"
    yield Finding(ability=Ability.SEEDS, answer=answer, seen=shown)


def _raw(seen: Seen) -> Iterator[Finding]:
    if len(seen.chats) < 2:  # noqa: PLR2004 -- two temperatures
        return
    cold, warm = (dict(_known(_generation(asked))) for asked in seen.chats[:2])
    common = [piece for piece in cold if piece in warm]
    if len(common) < 2:  # noqa: PLR2004 -- one value has no distance to another
        return
    first, *others = common
    moved = median(abs(cold[one] - warm[one]) for one in common)
    gaps = [(cold[first] - cold[one], warm[first] - warm[one]) for one in others]
    shrunk = [cool / hot for cool, hot in gaps if abs(hot) > _NEAR]
    shown = f"{len(common)} likely tokens differ by {moved:.3f} nats between temperatures 0 and 1.5"
    answer = OPEN
    if moved <= _SAME_NATS:
        answer = YES
    elif shrunk and abs(median(shrunk) - _WARM) <= _NEAR:
        answer = NO
    yield Finding(ability=Ability.RAW, answer=answer, seen=shown)


def _fingerprint(seen: Seen) -> Iterator[Finding]:
    documents = [one.document for one in (*seen.chats, seen.generated) if one.document is not None]
    found = [value_at(document, FINGERPRINT) for document in documents]
    named = list(dict.fromkeys(one for one in found if isinstance(one, str) and one))
    if documents:
        shown = ", ".join(named[:_MAX_LISTED]) or "none"
        yield Finding(ability=Ability.FINGERPRINT, answer=YES if named else NO, seen=shown)


def _scored_by(seen: Seen, document: Any) -> str | None:
    """Return why an answer has no log-probabilities of the prompt, or None when it has."""
    if document is None:
        return "not answered"
    answer = _answer(document)
    gap = missing_capability(answer, rows=None, text=seen.prompt)
    if gap is not None:
        return gap
    try:
        echo = echo_of(choice_of(document), LogprobKind.RAW)
    except Unreadable as error:
        return str(error)
    spelled = b"".join(piece.data for piece in echo.pieces).decode(errors="replace")
    # The text of the first token may be unknown.
    _, space, rest = seen.prompt.partition(" ")
    return None if space + rest in spelled.translate(_SPACES) else "its tokens spell another text"


def _together(document: Any) -> Any:
    """Return an answer with an echo beside the choices, as Together has it, or None."""
    converted = together_completion(document)
    return None if converted is document else converted


def _answer(document: Any) -> Answer:
    return Answer(document=document, facts=DrawFacts(), generated=1, is_suffix=False)


def _generation(asked: Asked) -> Answered | Unreadable:
    try:
        return read_generation(asked.document, DrawFacts(), top=MAX_TOP_LOGPROBS)
    except Unreadable as error:
        return error


def _known(answered: Answered | Unreadable) -> Iterator[tuple[Piece, float]]:
    """Yield the likely first tokens of an answer whose values are numbers."""
    likely = answered.alternatives[:1] if isinstance(answered, Answered) else ()
    for piece, value in (one for each in likely for one in each):
        if value is not None and math.isfinite(value):
            yield piece, value


def _is_one(piece: Piece, other: Piece) -> bool:
    """Return whether two tokens are one, by their ids if both have one."""
    if piece.id is None or other.id is None:
        return piece.data == other.data
    return piece.id == other.id


def _choice(document: Any) -> Any:
    return next(iter(items_at(document, "choices")), None)


def _text(document: Any) -> str | None:
    choice = _choice(document)
    text = value_at(choice, "message", "content") or value_at(choice, "text")
    return text if isinstance(text, str) else None
