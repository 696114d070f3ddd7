"""Reads a few values of the header of a GGUF file, which may be anything and of any length."""

import struct
from collections.abc import Collection, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Final, TypeAlias

from repro_gate.adapters.files.untrusted_files import open_regular_file
from repro_gate.errors import InputInvalid

HeaderValue: TypeAlias = str | int | float | bool

_MAGIC: Final = b"GGUF"
_VERSIONS: Final = (2, 3)
_MAX_ENTRIES: Final = 10_000
_MAX_HEADER: Final = 128 << 20
"""The vocabulary of the largest models takes a tenth of it."""
_MAX_LIST: Final = 2_000_000
"""Texts; the largest vocabularies have a quarter of a million."""
_MAX_TEXT: Final = 1 << 20
_MAX_KEY: Final = 1 << 12
_SCALARS: Final[Mapping[int, str]] = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_TEXT: Final = 8
_ARRAY: Final = 9


def read_header(file: Path, keys: Collection[str]) -> Mapping[str, HeaderValue]:
    """Return the values of these keys that a header has; lists have none.

    A key that starts with a dot stands for one that starts with the architecture.

    Raises:
        InputInvalid: the file cannot be read, or has no such header.
    """
    try:
        with open_regular_file(file) as stream:
            return _Header(stream).values(keys)
    except (OSError, ValueError, struct.error) as error:
        found = error.strerror if isinstance(error, OSError) else str(error)
        expected = "a GGUF file of version 2 or 3 with a whole header"
        raise InputInvalid.at(file, "", expected=expected, found=found or "another") from error


class _Header:
    """A position in the header of an open file; its methods raise ValueError."""

    def __init__(self, stream: BufferedReader) -> None:
        self._stream = stream
        self._left = _MAX_HEADER

    def values(self, keys: Collection[str]) -> Mapping[str, HeaderValue]:
        """Return the wanted values, and stop where all of them are known."""
        if self._read(len(_MAGIC)) != _MAGIC:
            raise ValueError("a file that does not start with GGUF")
        version = self._number("<I")
        if version not in _VERSIONS:
            raise ValueError(f"version {version}")
        self._number("<Q")
        entries = self._number("<Q")
        if entries > _MAX_ENTRIES:
            raise ValueError(f"{entries} entries in the header")
        found: dict[str, HeaderValue] = {}
        for _ in range(entries):
            self._entry(keys, found)
            if len(found) == len(keys):
                break
        return found

    def _entry(self, keys: Collection[str], found: dict[str, HeaderValue]) -> None:
        name = self._text(_MAX_KEY)
        architecture = found.get("general.architecture")
        short = name.removeprefix(f"{architecture}") if isinstance(architecture, str) else name
        wanted = next((each for each in (name, short) if each in keys), None)
        kind = self._number("<I")
        if wanted is None:
            self._skip(kind)
        elif kind == _TEXT:
            found[wanted] = self._text(_MAX_TEXT)
        elif kind in _SCALARS:
            found[wanted] = self._scalar(_SCALARS[kind])
        else:
            self._skip(kind)

    def _skip(self, kind: int) -> None:
        if kind == _TEXT:
            self._pass(self._number("<Q"))
        elif kind in _SCALARS:
            self._pass(struct.calcsize(_SCALARS[kind]))
        elif kind == _ARRAY:
            self._skip_array(self._number("<I"), self._number("<Q"))
        else:
            raise ValueError(f"a value of the unknown type {kind}")

    def _skip_array(self, kind: int, count: int) -> None:
        if kind in _SCALARS:
            self._pass(count * struct.calcsize(_SCALARS[kind]))
            return
        if kind != _TEXT or count > _MAX_LIST:
            raise ValueError(f"a list of {count} values of type {kind}")
        for _ in range(count):
            self._pass(self._number("<Q"))

    def _text(self, limit: int) -> str:
        size = self._number("<Q")
        if size > limit:
            raise ValueError(f"a text of {size} bytes")
        return self._read(size).decode("utf-8", errors="replace")

    def _number(self, form: str) -> int:
        return int(self._scalar(form))

    def _scalar(self, form: str) -> HeaderValue:
        (value,) = struct.unpack(form, self._read(struct.calcsize(form)))
        scalar: HeaderValue = value
        return scalar

    def _pass(self, size: int) -> None:
        """Move on; the end of the file shows only with the next value that is read."""
        self._spend(size)
        self._stream.seek(size, 1)

    def _read(self, size: int) -> bytes:
        self._spend(size)
        data = self._stream.read(size)
        if len(data) != size:
            raise ValueError("the end of the file within its header")
        return data

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise ValueError(f"a header of more than {_MAX_HEADER} bytes")
