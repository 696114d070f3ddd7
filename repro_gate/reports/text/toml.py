"""Values of TOML, whatever text they hold."""

import re
from typing import Any, Final

from repro_gate.core.text import escape_text
from repro_gate.strict_json import is_list, is_table

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_SHORT: Final = {'"': '\\"', "\\": "\\\\"}
_LAST_OF_FOUR_DIGITS: Final = 0xFFFF


def toml_value(value: Any) -> str:
    """Return a value on one line.

    Raises:
        ValueError: it has a lone surrogate, as a file name that is no UTF-8 has, or is of a type
            that TOML lacks.
    """
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case str():
            return toml_text(value)
        case _:
            return _several(value)


def _several(value: Any) -> str:
    if is_table(value):
        pairs = (f"{toml_key(key)} = {toml_value(each)}" for key, each in value.items())
        return f"{{ {', '.join(pairs)} }}" if value else "{}"
    if is_list(value):
        return f"[{', '.join(map(toml_value, value))}]"
    raise ValueError(f"TOML has no value like {type(value).__name__}")


def toml_key(*parts: str) -> str:
    """Return the name of a key or a table."""
    return ".".join(part if _BARE.fullmatch(part) else toml_text(part) for part in parts)


def toml_text(text: str) -> str:
    """Return a basic string, in which every character that is not seen is escaped."""
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    if escape_text(character) == character:
        return character
    code = ord(character)
    character.encode("utf-8")
    return f"\\u{code:04x}" if code <= _LAST_OF_FOUR_DIGITS else f"\\U{code:08x}"
