"""Answers of an engine as values of ours; an engine is untrusted, so everything is checked."""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import starmap
from typing import Any

from repro_gate.core.engines import Ability
from repro_gate.core.guards import require_name
from repro_gate.core.logprobs.draw import Encoding, Piece
from repro_gate.core.text import escape_text
from repro_gate.core.tokens.generation import MAX_TOKEN_BYTES, Generation, Stop, Token, Trace
from repro_gate.core.tokens.golden import MODEL_SHA256, Facts
from repro_gate.core.tokens.verification import Share, VerifiedToken
from repro_gate.errors import MeasurementUnavailable
from repro_gate.model_files import parse_states
from repro_gate.ports import (
    LoadedModel,
    Scored,
    ScoreRequest,
    TimedGeneration,
    Verified,
    VerifyRequest,
)
from repro_gate.protocol import MAX_CONCURRENCY, MAX_RENDERED
from repro_gate.strict_json import array, boolean, integer, list_of, number, string, table
from repro_gate.strict_json import text as valid_text

INVALID = (KeyError, TypeError, ValueError)
"""What every function of this module raises when an answer breaks the protocol."""
_MAX_TEXT = 1000
"""Characters of a name or message that are shown."""
_MAX_NOTES = 20
"""In one answer."""
_MAX_FACTS = 200
"""In one answer; each is copied into every report and golden."""
_MAX_SECONDS = 1e9
"""Of one request; thirty years, so that a sum over any check stays finite."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_HEX = re.compile(r"(?:[0-9a-f]{2})*")


def profile_of(answer: Mapping[str, Any]) -> str:
    """Return the profile of a `describe` answer, which becomes the name of a folder."""
    profile = text(answer["profile"])
    require_name(profile)
    return profile


def facts_of(answer: Mapping[str, Any]) -> Facts:
    """Return the flat provenance of an answer."""
    facts = table(answer["facts"], "facts")
    if len(facts) > _MAX_FACTS:
        raise ValueError(f"more than {_MAX_FACTS} facts")
    return {text(name): text(value, f"facts.{name}") for name, value in facts.items()}


def abilities_of(answer: Mapping[str, Any]) -> frozenset[Ability]:
    """Return what an engine can, by its `describe` answer."""
    words = list_of(text, answer.get("can", []), "can")
    unknown = [word for word in words if word not in set(Ability)]
    if unknown or len(words) != len(set(words)):
        raise ValueError(f"can: expected {', '.join(Ability)}, each once, found {words}")
    return frozenset(map(Ability, words))


def loaded_model(answer: Mapping[str, Any], *, is_remote: bool = False) -> LoadedModel:
    """Return the model of a `load` answer; only a remote one may lack its digest."""
    digest = None if is_remote and "sha256" not in answer else _sha256(answer["sha256"])
    # An engine without the digest has not read the file, whatever its facts contain.
    facts = {name: value for name, value in facts_of(answer).items() if name != MODEL_SHA256}
    return LoadedModel(
        sha256=digest,
        facts={**facts, **({} if digest is None else {MODEL_SHA256: digest})},
        notes=_notes(answer),
        concurrency=integer(
            answer.get("concurrency", 1), "concurrency", low=1, high=MAX_CONCURRENCY
        ),
        states=parse_states(answer["file"], "file") if "file" in answer else (),
        has_room_for_another=boolean(answer.get("room_for_another", False), "room_for_another"),
        instance=_instance(answer["instance"]) if "instance" in answer else None,
    )


def layers_of(answer: Mapping[str, Any], *, has_server: bool = False) -> tuple[int, int] | None:
    """Return the number of layers of a `load` answer, and how many are on the device.

    An engine with a server may not know them; both are missing then.
    """
    keys = ("layers", "layers_on_device")
    if has_server and not answer.keys() & set(keys):
        return None
    layers, on_device = (integer(answer[key], key) for key in keys)
    return layers, on_device


def require_size(answer: Mapping[str, Any], expected: int) -> None:
    """Raise ValueError unless a `load` answer is of a model of that many bytes."""
    size = integer(answer["size"], "size", low=0)
    if size != expected:
        raise ValueError(f"it has read {size} bytes of a model of {expected}")


def timed_generation(
    answer: Mapping[str, Any],
    *,
    max_tokens: int,
    is_chat: bool = False,
    wants_logits: bool = False,
    may_lack_bytes: bool = False,
) -> TimedGeneration:
    """Return the generation of a `generate` answer.

    Raises:
        MeasurementUnavailable: it lacks the logits that are wanted.
    """
    if wants_logits and "logits" not in answer:
        raise MeasurementUnavailable(
            "the engine gives no digests of its logits, which this suite compares",
            remedy='use an engine that does, or evidence = "tokens" in the suite',
        )
    timing = table(answer["timing"], "timing")
    generation = Generation(
        prompt=_tokens(answer["prompt"], "prompt", may_lack_bytes=may_lack_bytes),
        tokens=_tokens(answer["tokens"], "tokens", may_lack_bytes=may_lack_bytes),
        stop=Stop(text(answer["stop"])),
        trace=Trace(map(_choice, array(answer.get("trace", []), "trace"))),
        rendered=_rendered(answer["rendered"]) if is_chat else None,
        stop_string=text(answer["stop_string"]) if "stop_string" in answer else None,
        content=bytes.fromhex(text(answer["content"])) if "content" in answer else None,
        logits=tuple(list_of(string, answer["logits"], "logits")) if wants_logits else (),
    )
    if wants_logits:
        _require_varied(generation)
    if len(generation.tokens) > max_tokens:
        raise ValueError(f"{len(generation.tokens)} tokens, but max_tokens is {max_tokens}")
    return TimedGeneration(
        generation=generation,
        engine_s=_seconds(timing, "decode_s") + _seconds(timing, "sample_s"),
        notes=_notes(answer),
        cached_tokens=_count(answer, "cached_tokens", low=0),
        running=_count(answer, "running", low=1),
    )


def scored(answer: Mapping[str, Any], *, asked: ScoreRequest) -> Scored:
    """Return the scores of a `score` answer; whether they are plausible is not checked here."""
    if ("sampling_logprobs" in answer) != (asked.temperature is not None):
        raise ValueError("'sampling_logprobs' are expected exactly when a temperature was sent")
    encoding = Encoding(
        prompt=_pieces(answer["prompt"], "prompt", sent=asked.prompt),
        response=_pieces(answer["response"], "response", sent=asked.response),
    )
    count = len(encoding.response)
    return Scored(
        encoding=encoding,
        logprobs=_numbers(answer, "logprobs", count=count),
        sampling_logprobs=(
            None
            if asked.temperature is None
            else _numbers(answer, "sampling_logprobs", count=count)
        ),
        engine_s=_seconds(table(answer["timing"], "timing"), "decode_s"),
        notes=_notes(answer),
    )


def verified(answer: Mapping[str, Any], *, asked: VerifyRequest) -> Verified:
    """Return the verification of a `verify` answer."""
    entries = array(answer["tokens"], "tokens")
    if len(entries) != len(asked.tokens):
        raise ValueError(f"{len(entries)} entries for {len(asked.tokens)} claimed tokens")
    pairs = zip(asked.tokens, entries, strict=True)
    return Verified(
        verification=tuple(_verified_token(token, table(entry)) for token, entry in pairs),
        engine_s=_seconds(table(answer["timing"], "timing"), "decode_s"),
    )


def _verified_token(token: int, entry: Mapping[str, Any]) -> VerifiedToken:
    uniform = entry["uniform"]
    return VerifiedToken(
        id=token,
        logprob=number(entry["logprob"], "logprob"),
        best=tuple(
            (integer(best, "best", low=0), number(logprob, "best"))
            for best, logprob in (array(pair, "best") for pair in array(entry["best"], "best"))
        ),
        drawn=integer(entry["drawn"], "drawn", low=0),
        uniform=None if uniform is None else number(uniform, "uniform"),
        share=_share(entry["share"], "share"),
        drawn_share=_share(entry["drawn_share"], "drawn_share"),
    )


def _share(value: object, place: str) -> Share | None:
    if value is None:
        return None
    low, high = list_of(number, value, place)
    return Share(low=low, high=high)


def text(value: object, place: str = "") -> str:
    """Return untrusted text as one line that is safe to print in reports."""
    found = string(value, place)
    shown = escape_text(found[:_MAX_TEXT])
    return shown if len(found) <= _MAX_TEXT else f"{shown}..."


def _sha256(value: object) -> str:
    digest = text(value)
    if not _SHA256.fullmatch(digest):
        raise ValueError(f"expected a sha256, found {digest}")
    return digest


def _instance(value: object) -> str:
    instance = text(value, "instance")
    if not instance:
        raise ValueError("instance: expected a text, found an empty one")
    return instance


def _count(answer: Mapping[str, Any], name: str, *, low: int) -> int | None:
    return integer(answer[name], name, low=low) if name in answer else None


def _rendered(value: object) -> str:
    rendered = valid_text(value, "rendered")
    if not rendered or len(rendered) > MAX_RENDERED:
        raise ValueError(f"rendered: expected 1 to {MAX_RENDERED} characters")
    return rendered


def _seconds(timing: Mapping[str, Any], name: str) -> float:
    return number(timing[name], name, low=0, high=_MAX_SECONDS)


def _notes(answer: Mapping[str, Any]) -> tuple[str, ...]:
    notes = array(answer.get("notes", []), "notes")
    if len(notes) > _MAX_NOTES:
        raise ValueError(f"more than {_MAX_NOTES} notes")
    messages = tuple(list_of(text, notes, "notes"))
    if not all(messages):
        raise ValueError("an empty note")
    return messages


def _require_varied(generation: Generation) -> None:
    """Raise ValueError for one digest at all steps, after which one token would be likeliest."""
    steps, tokens = len(generation.logits), set(generation.tokens)
    if not generation.logits:
        raise ValueError("logits: expected a digest for each token, found none")
    if len(tokens) > 1 and len(set(generation.logits)) == 1:
        raise ValueError(f"logits: the digests of all {steps} steps are equal")


def _tokens(pairs: object, place: str, *, may_lack_bytes: bool) -> tuple[Token, ...]:
    tokens = tuple(starmap(_token, array(pairs, place)))
    if not tokens:
        raise ValueError("no tokens")
    if not may_lack_bytes and any(token.data is None for token in tokens):
        raise ValueError(f'{place}: a token without bytes, of an engine that cannot "no_bytes"')
    return tokens


# The same tokens come again in every run of a cell; `typed` keeps 1 apart from true.
@lru_cache(maxsize=1 << 14, typed=True)
def _token(token: object, data: object) -> Token:
    return Token(integer(token), None if data is None else _bytes(data))


def _pieces(pairs: object, place: str, *, sent: str | Sequence[int]) -> tuple[Piece, ...]:
    tokens = _tokens(pairs, place, may_lack_bytes=False)
    pieces = tuple(Piece(token.id, token.spelled) for token in tokens)
    if not isinstance(sent, str) and [piece.id for piece in pieces] != list(sent):
        raise ValueError("the tokens are not those that were sent")
    return pieces


def _bytes(data: object) -> bytes:
    # bytes.fromhex accepts spaces and capitals.
    if isinstance(data, str) and len(data) > 2 * MAX_TOKEN_BYTES:
        raise ValueError(f"a token of more than {MAX_TOKEN_BYTES} bytes")
    if not isinstance(data, str) or not _HEX.fullmatch(data):
        raise ValueError("the bytes of a token are not in lower-case hex")
    return bytes.fromhex(data)


def _choice(choice: Any) -> tuple[float, Iterable[int], Iterable[float]]:
    best = array(choice["best"], "best")
    ids, logprobs = zip(*best, strict=True) if best else ((), ())
    # A trace refuses values that are no numbers.
    return choice["logprob"], ids, logprobs


def _numbers(answer: Mapping[str, Any], name: str, *, count: int) -> tuple[float, ...]:
    numbers = list_of(number, answer[name], name)
    if len(numbers) != count:
        raise ValueError(f"{len(numbers)} log-probabilities for {count} tokens")
    return tuple(numbers)
