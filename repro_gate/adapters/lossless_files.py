"""Files that hold a value of the core: written in one step, and read from an untrusted download."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from repro_gate import __version__
from repro_gate.adapters.files.atomic import write_atomically
from repro_gate.adapters.files.parsing import Limits, json_of
from repro_gate.adapters.files.untrusted_files import read_plain, require_no_link
from repro_gate.adapters.lossless import decode, encode
from repro_gate.adapters.lossless_scalars import Refused
from repro_gate.core.contradictions import Contradiction
from repro_gate.errors import InputInvalid

MAX_BYTES: Final = 32 * 2**20
"""Of a file from elsewhere; about 150,000 traced tokens."""
_BYTES_OF_A_VALUE: Final = 6
"""On average at least, in what we write; a list of empty lists has three."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """What wrote the file."""

    name: Literal["repro-gate"]
    version: str


THIS_TOOL: Final = Tool(name="repro-gate", version=__version__)


def write_value(file: Path, content: object) -> None:
    """Write what a file says, one of the layouts, in pure ASCII.

    Raises:
        OSError: it cannot be written; an older file is as it was.
    """
    data = encode(content, type(content))
    file.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    write_atomically(file, f"{text}\n")


def read_value(file: Path, layout: Any, *, max_bytes: int) -> Any:
    """Return what a file says, as the layout it must have.

    Raises:
        InputInvalid: it is no plain file in a plain folder, is too large, or says something else.
    """
    require_no_link(file.parent)
    data = read_plain(file, max_bytes=max_bytes, may_be_link=False)
    limits = Limits(max_bytes=max_bytes, max_values=max_bytes // _BYTES_OF_A_VALUE)
    document = json_of(data, file, limits)
    try:
        return decode(document, layout)
    except Refused as refused:
        raise InputInvalid.at(
            file, refused.place, expected=refused.expected, found=refused.found
        ) from refused


def is_there(file: Path) -> bool:
    """Tell whether there is anything of that name; raises `InputInvalid` where none can tell."""
    try:
        file.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        found = error.strerror or str(error)
        raise InputInvalid.at(file, "", expected="a readable file", found=found) from error
    return True


def require_consistent(file: Path, contradiction: Contradiction | None, *, within: str) -> None:
    """Raise `InputInvalid` when two parts of a value do not fit together."""
    if contradiction is not None:
        place = ".".join(filter(None, (within, contradiction.place)))
        raise InputInvalid.at(
            file, place, expected=contradiction.expected, found=contradiction.found
        )
