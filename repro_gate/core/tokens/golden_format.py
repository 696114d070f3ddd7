"""The format of a golden file: one token per line, with its cell and provenance.

`git diff` of two goldens shows the first divergence, because each token is one line with its id and
its bytes, or with its id alone where they are unknown. Schema: `repro_gate/schemas/golden-v1.json`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, assert_never

from repro_gate.core.text import escape_bytes, unescape_bytes
from repro_gate.core.tokens.cell import Cell, Sampler
from repro_gate.core.tokens.chat import Chat
from repro_gate.core.tokens.generation import (
    Choice,
    Choices,
    Divergence,
    Generation,
    Place,
    Stop,
    Token,
    Trace,
    bytes_of,
    text_of,
)
from repro_gate.core.tokens.golden import Golden
from repro_gate.samplers import PLAIN, Sampling

SCHEMA = "repro-gate/golden/v1"

_DECIMALS = 4
"""Log-probabilities are evidence; more digits would only record the machine."""
_TOKEN = re.compile(r"(\d+)(?: (.*))?")


def to_data(golden: Golden) -> dict[str, Any]:
    """Return the golden as plain JSON data."""
    generation = golden.generation
    rendered = {"rendered": [escape_bytes(line.spelled) for line in generation.at(Place.TEMPLATE)]}
    return {
        "schema": SCHEMA,
        "profile": golden.profile,
        "cell": cell_to_data(golden.cell),
        **({} if generation.rendered is None else rendered),
        "prompt_tokens": [_token_line(token) for token in generation.prompt],
        "tokens": [_token_line(token) for token in generation.tokens],
        "stop": generation.stop.value,
        **_cut_to_data(generation),
        "text": text_of(generation.tokens),
        "trace": [_choice_line(choice) for choice in generation.trace],
        **({"logits": list(generation.logits)} if generation.logits else {}),
        "provenance": dict(golden.provenance),
    }


def from_data(data: Mapping[str, Any]) -> Golden:
    """Return the golden in data of the right schema.

    Raises:
        ValueError: a value has the right type and is invalid.
    """
    generation = Generation(
        prompt=_tokens("prompt_tokens", data["prompt_tokens"]),
        tokens=_tokens("tokens", data["tokens"]),
        stop=Stop(data["stop"]),
        trace=_trace(data["trace"]),
        rendered=_rendered(data["rendered"]) if "rendered" in data else None,
        stop_string=data.get("stop_string"),
        content=unescape_bytes(data["content"]) if "content" in data else None,
        logits=tuple(data.get("logits", ())),
    )
    # Compare bytes: which characters are escaped depends on the version of Python.
    if unescape_bytes(data["text"]) != bytes_of(generation.tokens):
        raise ValueError("'text' is not the text of 'tokens'")
    return Golden(
        cell=cell_from_data(data["cell"]),
        profile=data["profile"],
        generation=generation,
        provenance=data["provenance"],
    )


def _cut_to_data(generation: Generation) -> dict[str, str]:
    if generation.content is None or generation.stop_string is None:
        return {}
    return {
        "stop_string": generation.stop_string,
        "content": escape_bytes(generation.content),
    }


def cell_to_data(cell: Cell) -> dict[str, Any]:
    """Return the definition of a cell as plain JSON data."""
    sampling = cell.sampler.sampling
    return {
        "model": cell.model,
        "prompt": cell.prompt,
        "text": cell.text,
        "seed": cell.seed,
        "max_tokens": cell.max_tokens,
        **({"stop": list(cell.stop)} if cell.stop else {}),
        "sampler": {
            "temperature": cell.sampler.temperature,
            "top_k": cell.sampler.top_k,
            "top_p": cell.sampler.top_p,
            "min_p": cell.sampler.min_p,
            **({} if sampling is None else sampling.to_data()),
        },
        **({} if cell.chat is None else {"chat": cell.chat.to_texts()}),
    }


def cell_from_data(data: Mapping[str, Any]) -> Cell:
    """Reverse `cell_to_data`.

    Raises:
        ValueError: a value is out of its range.
    """
    sampler = data["sampler"]
    further = {name: value for name, value in sampler.items() if name not in PLAIN}
    return Cell(
        model=data["model"],
        prompt=data["prompt"],
        text=data["text"],
        seed=data["seed"],
        max_tokens=data["max_tokens"],
        stop=tuple(data.get("stop", ())),
        # JSON tools write 1.0 as 1, which would be another definition.
        sampler=Sampler(
            temperature=float(sampler["temperature"]),
            top_k=sampler["top_k"],
            top_p=float(sampler["top_p"]),
            min_p=float(sampler["min_p"]),
            sampling=Sampling.parse(further, "cell.sampler"),
        ),
        chat=Chat.of_texts(data["chat"]) if "chat" in data else None,
    )


def _rendered(lines: Iterable[str]) -> str:
    return b"".join(map(unescape_bytes, lines)).decode()


def _token_line(token: Token) -> str:
    return f"{token.id}" if token.data is None else f"{token.id} {escape_bytes(token.data)}"


def _tokens(place: str, lines: Sequence[str]) -> tuple[Token, ...]:
    tokens: list[Token] = []
    try:
        tokens.extend(map(_token, lines))
    except InvalidTokenError as error:
        raise ValueError(f"'{place}[{len(tokens)}]' {error}") from error
    return tuple(tokens)


class InvalidTokenError(ValueError):
    """A line that is not a token."""


# Most lines of many goldens are the same few.
@lru_cache(maxsize=1 << 14)
def _token(line: str) -> Token:
    parts = _TOKEN.fullmatch(line)
    if parts is None:
        raise InvalidTokenError(f"is not an id, alone or with a space and a text: {line!r}")
    number, text = parts.groups()
    return Token(int(number), None if text is None else unescape_bytes(text))


def _choice_line(choice: Choice) -> str:
    best = "".join(f" {token}:{_rounded(logprob)}" for token, logprob in choice.best)
    return f"{_rounded(choice.logprob)} |{best}"


def _rounded(logprob: float) -> str:
    # Adding 0.0 turns -0.0, which prints as "-0.0000", into 0.0.
    return f"{round(logprob, _DECIMALS) + 0.0:.{_DECIMALS}f}"


def _trace(lines: Sequence[str]) -> Choices:
    text = "\n".join(lines)
    is_certain = text.count("\n") == len(lines) - 1 and _CERTAIN_TRACE.fullmatch(text)
    return _Lines(lines) if is_certain else Trace(map(_choice, lines))


class _Lines(Choices):
    """The trace of a golden as it is written: most are never read, and reading none can fail."""

    __slots__ = ("_lines",)

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = tuple(lines)

    def __len__(self) -> int:
        """Return the number of lines."""
        return len(self._lines)

    def at(self, place: int) -> Choice:
        """Return the choice on a line."""
        return Trace([_choice(self._lines[place])])[0]


_CERTAIN_TRACE: Final = re.compile(
    r"(?:(?:\A|(?!\A)\n)-?[0-9]{1,9}\.[0-9]{4} \|(?: [0-9]{1,9}:-?[0-9]{1,9}\.[0-9]{4})*+)++"
)
"""Lines that are valid choices, by their form alone."""


def _choice(line: str) -> tuple[float, Iterable[int], Iterable[float]]:
    logprob, _, best = line.partition(" |")
    pairs = [entry.split(":") for entry in best.split()]
    ids, values = zip(*pairs, strict=True) if pairs else ((), ())
    return float(logprob), map(int, ids), map(float, values)


# JSON strings have no line breaks, so only a key of the golden itself can start a line.
_LISTS: Final = {
    "rendered": re.compile(r'  "rendered": \[(?P<closed>\],?)?'),
    "prompt_tokens": re.compile(r'  "prompt_tokens": \[(?P<closed>\],?)?'),
    "tokens": re.compile(r'  "tokens": \[(?P<closed>\],?)?'),
    "logits": re.compile(r'  "logits": \[(?P<closed>\],?)?'),
}
_END = re.compile(r"  \],?")


def line_in_golden(text: str, divergence: Divergence) -> int | None:
    """Return the line, counted from 1, of the golden's token at a divergence.

    Where the golden ends at the divergence, it is the line of its last token. It is None when the
    text is not in the format of this module.
    """
    lines = text.split("\n")
    opening = _LISTS[_list_of(divergence.place)]
    for number, line in enumerate(lines, start=1):
        found = opening.fullmatch(line.rstrip("\r"))
        if found is not None:
            return number if found["closed"] else _line_of_token(lines, number, divergence)
    return None


def _line_of_token(lines: list[str], opened: int, divergence: Divergence) -> int | None:
    for number, line in enumerate(lines[opened:], start=opened + 1):
        if _END.fullmatch(line.rstrip("\r")):
            return number - 1
        if number == opened + 1 + divergence.position:
            return number
    return None


def _list_of(place: Place) -> str:
    match place:
        case Place.TEMPLATE:
            return "rendered"
        case Place.PROMPT:
            return "prompt_tokens"
        case Place.OUTPUT:
            return "tokens"
        case Place.LOGITS:
            return "logits"
        case _:
            assert_never(place)
