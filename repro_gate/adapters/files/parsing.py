"""Parse JSON and TOML from untrusted bytes, with bounded cost and readable errors.

A parser may need a hundred bytes of memory for a byte of text, and quadratic time for some texts.
So a cheap scan of linear cost checks each text first.
"""

import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from repro_gate.adapters.files.untrusted_files import recognise_mistake
from repro_gate.core.text import escape_text
from repro_gate.errors import InputInvalid

MAX_SHOWN: Final = 80
MAX_KEY_PARTS: Final = 16
"""Parts of a dotted key in TOML, such as `suites.quick.runs`."""
_MAX_WORD_LENGTH: Final = 300
"""Characters of a number or a bare key in TOML, whose parser has no limit of its own."""
_MAX_EXCERPT: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Size limits of a document, checked before it is parsed."""

    max_bytes: int
    max_values: int
    """Number of lists, objects and items in them."""


ANSWER_LIMITS: Final = Limits(max_bytes=16 << 20, max_values=1_000_000)
"""For an answer of an engine or a server, or a line of a draw log."""
_JSON_TOKENS: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[{,]', re.DOTALL)
_TOML_SKIPPED: Final = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*+(?:"{3,5}|\Z)|\'\'\'(?:[^\']|\'(?!\'\'))*+(?:\'{3,5}|\Z)'
    r'|"[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+(?:"|$)|\'[^\'\n]*+(?:\'|$)|#[^\n]*+',
    re.DOTALL | re.MULTILINE,
)
"""Strings and comments of TOML, which contain no structure."""
_TOML_KEY: Final = re.compile(
    rf'(?<![\w"-])(?:(?:[\w-]++|"")[ \t]*+\.[ \t]*+){{{MAX_KEY_PARTS},}}+', re.ASCII
)
_TOML_WORD: Final = re.compile(rf"[\w.+:-]{{{_MAX_WORD_LENGTH + 1}}}")
_TOML_VALUES: Final = ("[", "{", ",", "=", ".")
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_CONFLICT: Final = re.compile(r"^(?:<{7}|>{7}|\|{7}) .*$|^={7}$", re.MULTILINE)
_TOML_PLACE: Final = re.compile(
    r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL
)
_JSON_EXPECTED: Final = (
    ("Expecting value", "a value"),
    ("Expecting property name", "a key in double quotes"),
    ("Illegal trailing comma", "no comma after the last entry"),
    ("Expecting ':'", "':' after the key"),
    ("Expecting ','", "',' or the end of the list or object"),
    ("Extra data", "nothing after the value"),
    ("Unterminated string", "a string that ends with a double quote"),
    ("Invalid control character", "control characters only as escapes, such as \\n, in a string"),
    ("Invalid \\", "an escape that JSON has, such as \\n or \\u00e9"),
)
"""How messages of the parser start, and what was expected, in words for the user."""
_TOML_EXPECTED: Final = (
    ("Invalid statement", "a key, a table such as [models.tiny], or a comment"),
    ("Invalid initial character for a key", "a key of letters, digits, '_' and '-', or in quotes"),
    ("Expected newline or end of document", "the end of the line"),
    ("Expected '=' after a key", "'=' after the key"),
    ("Expected ']", "the end of the table's name"),
    ("Expected ", "a string that ends with its quotes"),
    ("Unterminated string", "a string that ends with its quotes"),
    ("Unclosed array", "',' or ']' in the list"),
    ("Unclosed inline table", "',' or '}' in the table"),
    ("Duplicate inline table key", "each key once"),
    ("Cannot ", "each key and each table once"),
    ("Unescaped '\\'", "an escape that TOML has, such as \\n, or a string in single quotes"),
    ("Invalid hex value", "hexadecimal digits in the escape"),
    ("Escaped character is not", "the escape of a character"),
    ("Illegal character '\\n'", "a string that ends with its quotes on the same line"),
    ("Illegal character", "no control character"),
    ("Found invalid character", "no control character"),
    ("Invalid date", "a date that the calendar has"),
    ("Invalid value", "a value: a string in quotes, a number, true, false, a list or a table"),
)

_TOML_REPEATED: Final = ("Cannot ", "Duplicate ")


def json_of(data: bytes, file: Path, limits: Limits) -> Any:
    """Parse a JSON file strictly; raises `InputInvalid`.

    NaN, Infinity, repeated keys and lone surrogates are refused: they could not be written again.
    """
    text = text_of(data, file)
    _require_few(file, _json_values(text, limits.max_values), limits)
    try:
        document = _json_from(text)
        if _SURROGATE.search(text):
            json.dumps(document, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        found = "a lone surrogate, which is not a character"
        raise InputInvalid.at(file, "", expected="JSON", found=found) from error
    except json.JSONDecodeError as error:
        raise _json_invalid(file, text, error) from error
    except ValueError as error:
        raise InputInvalid.at(file, "", expected="JSON", found=str(error)) from error
    return document


class TooManyValues(ValueError):
    """A text that would need too much memory when parsed."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(f"more than {limits.max_values} values")


def json_line_of(line: bytes, limits: Limits) -> Any:
    """Parse a line of JSON strictly; raises ValueError, such as `TooManyValues`."""
    try:
        text = line.removesuffix(b"\n").decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"the byte {line[error.start]:#04x}, which is not UTF-8") from error
    require_few_values(text, limits)
    try:
        return _json_from(text)
    except json.JSONDecodeError as error:
        expected = _meaning_of(error.msg, _JSON_EXPECTED, otherwise="JSON")
        found = _found_at(text, error.pos).replace("the file", "the line")
        raise ValueError(f"{found} at column {error.colno}, where {expected} belongs") from error


def lenient_json_of(data: bytes, limits: Limits) -> Any:
    """Parse JSON leniently; raises ValueError, such as `TooManyValues`.

    NaN, Infinity, lone surrogates, UTF-16, UTF-32 and repeated keys are accepted.
    """
    text = data.decode(json.detect_encoding(data), errors="surrogatepass")
    require_few_values(text, limits)
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("a value that is nested too deeply") from error


def require_few_values(text: str, limits: Limits) -> None:
    """Raise `TooManyValues` if a JSON text has too many values."""
    if _json_values(text, limits.max_values) > limits.max_values:
        raise TooManyValues(limits)


def _json_from(text: str) -> Any:
    """Parse JSON text; raises ValueError, with the parser's message only for syntax errors."""
    try:
        document = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
    except RecursionError as error:
        raise ValueError("a value that is nested too deeply") from error
    except json.JSONDecodeError:
        raise
    except ValueError as error:
        raise error if isinstance(error, _Refused) else ValueError(_NUMBER_TOO_LONG) from error
    return document


def toml_of(data: bytes, file: Path, limits: Limits) -> Any:
    """Parse a TOML file; raises `InputInvalid`."""
    text = text_of(data, file)
    _require_bounded_toml(file, text, limits)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _toml_invalid(file, text, str(error)) from error
    except RecursionError as error:
        found = "a value that is nested too deeply"
        raise InputInvalid.at(file, "", expected="TOML", found=found) from error
    except ValueError as error:
        raise InputInvalid.at(file, "", expected="TOML", found=_NUMBER_TOO_LONG) from error


def text_of(data: bytes, file: Path) -> str:
    """Decode a text file; raises `InputInvalid` for other kinds of file and encodings."""
    mistaken = recognise_mistake(data)
    if mistaken is not None:
        raise InputInvalid.at(file, "", expected=f"a {_format_of(file)} file", found=mistaken)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        found = f"the byte {data[error.start]:#04x}"
        raise InputInvalid.at(file, f"byte {error.start}", expected="UTF-8", found=found) from error


def shown(value: Any) -> str:
    """Return a value as a short, safe line, at a cost independent of its size."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return _shown_list(value)  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, int) and value.bit_length() > _MAX_INT_BITS:
        return "a very large number"
    text = escape_text(repr(value[: MAX_SHOWN + 1] if isinstance(value, str) else value))
    return clipped(text)


def _shown_list(values: list[Any]) -> str:
    # Recursion into nested lists could exhaust the stack.
    few = ("a list" if isinstance(each, list) and each else shown(each) for each in values[:_FEW])
    return clipped(f"[{', '.join(few)}{', ...' if len(values) > _FEW else ''}]")


def clipped(text: str, max_length: int = MAX_SHOWN) -> str:
    """Shorten a text for a message."""
    return text if len(text) <= max_length else f"{text[:max_length]}..."


_FEW: Final = 3
_MAX_INT_BITS: Final = 1 << 10
_NUMBER_TOO_LONG: Final = "a number of more than 4300 digits"


class _Refused(ValueError):
    """Something that Python accepts and JSON does not allow."""


def _format_of(file: Path) -> str:
    return "TOML" if file.suffix == ".toml" else "JSON"


def _require_few(file: Path, values: int, limits: Limits) -> None:
    if values > limits.max_values:
        expected = f"at most {limits.max_values} values"
        raise InputInvalid.at(file, "", expected=expected, found="more of them")


def _json_values(text: str, limit: int) -> int:
    """Return about how many values there are, exactly only where that is close to the limit."""
    count = sum(map(text.count, "[{,"))
    # Commas in strings count too; leaving them out takes longer.
    return count if count <= limit else _count_values(_JSON_TOKENS.finditer(text), limit)


def _count_values(tokens: Iterator[re.Match[str]], limit: int) -> int:
    count = 0
    for token in tokens:
        count += token[0][0] != '"'
        if count > limit:
            break
    return count


def _require_bounded_toml(file: Path, text: str, limits: Limits) -> None:
    """Refuse a text that would take the parser quadratic time or too much memory."""
    bare = _TOML_SKIPPED.sub(_without_content, text)
    _require_few(file, sum(map(bare.count, _TOML_VALUES)), limits)
    for pattern, expected in (
        (_TOML_KEY, f"keys of at most {MAX_KEY_PARTS} parts"),
        (_TOML_WORD, f"numbers and keys of at most {_MAX_WORD_LENGTH} characters"),
    ):
        if long := pattern.search(bare):
            place = f"line {bare.count(chr(10), 0, long.start()) + 1}"
            found = f"a longer one, {clipped(escape_text(long[0][:MAX_SHOWN]), _MAX_EXCERPT)}"
            raise InputInvalid.at(file, place, expected=expected, found=found)


def _without_content(skipped: re.Match[str]) -> str:
    """Return an empty string for a string, and nothing for a comment."""
    return "" if skipped[0][0] == "#" else '""' + "\n" * skipped[0].count("\n")


def _json_invalid(file: Path, text: str, error: json.JSONDecodeError) -> InputInvalid:
    line = _conflict_line(text)
    if line is not None:
        return _conflict(file, line)
    place = f"line {error.lineno}, column {error.colno}"
    expected = _meaning_of(error.msg, _JSON_EXPECTED, otherwise="JSON")
    return InputInvalid.at(file, place, expected=expected, found=_found_at(text, error.pos))


def _toml_invalid(file: Path, text: str, message: str) -> InputInvalid:
    parts = _TOML_PLACE.fullmatch(message)
    problem, line, column = parts.groups() if parts else (message, None, None)
    expected = _meaning_of(problem, _TOML_EXPECTED, otherwise="TOML")
    if problem.startswith(_TOML_REPEATED):
        # The parser reports the end of the second one, so the text there would mislead.
        place = f"line {line or text.count(chr(10)) + 1}"
        return InputInvalid.at(file, place, expected=expected, found="a repeated one")
    if line is None or column is None:
        return InputInvalid.at(file, "", expected=expected, found="the end of the file")
    # A conflict marker may be part of a string, so it counts only where parsing failed.
    lines = text.split("\n")
    conflict = _conflict_line("\n".join(lines[int(line) - 1 :][:1]))
    if conflict is not None:
        return _conflict(file, int(line))
    at = sum(len(each) + 1 for each in lines[: int(line) - 1]) + int(column) - 1
    place = f"line {line}, column {column}"
    return InputInvalid.at(file, place, expected=expected, found=_found_at(text, at))


def _conflict(file: Path, line: int) -> InputInvalid:
    return InputInvalid.at(
        file,
        f"line {line}",
        expected="a file without conflict markers",
        found="a conflict marker of git; resolve the conflict",
    )


def _conflict_line(text: str) -> int | None:
    marker = _CONFLICT.search(text)
    return None if marker is None else text.count("\n", 0, marker.start()) + 1


def _found_at(text: str, position: int) -> str:
    if text[position : position + 1] == "\n":
        return "the end of the line"
    if not text[position:].strip():
        return "the end of the file"
    return clipped(shown(text[position : position + _MAX_EXCERPT].partition("\n")[0]), _MAX_EXCERPT)


def _meaning_of(message: str, meanings: Iterable[tuple[str, str]], *, otherwise: str) -> str:
    found = (meaning for start, meaning in meanings if message.startswith(start))
    return next(found, f"valid {otherwise} here")


def _refuse_constant(name: str) -> NoReturn:
    raise _Refused(f"{name}, which is not a number in JSON")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        ((repeated, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise _Refused(f"the key {shown(repeated)} twice in one object")
    return document
