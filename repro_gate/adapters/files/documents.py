"""Read JSON and TOML files strictly, and validate them against the published schemas."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from repro_gate.adapters.files.parsing import (
    Limits,
    TooManyValues,
    clipped,
    json_of,
    require_few_values,
    shown,
    toml_of,
)
from repro_gate.adapters.files.untrusted_files import read_regular_file
from repro_gate.errors import InputInvalid
from repro_gate.schemas.matching import matches

_LIMITS: Final[Mapping[str, Limits]] = {
    "matrix-v1": Limits(max_bytes=4 << 20, max_values=60_000),
    "golden-v1": Limits(max_bytes=8 << 20, max_values=250_000),
    "baseline-v1": Limits(max_bytes=8 << 20, max_values=250_000),
    "reference-v1": Limits(max_bytes=8 << 20, max_values=250_000),
    "watch-v1": Limits(max_bytes=8 << 20, max_values=250_000),
    "models-v1": Limits(max_bytes=1 << 20, max_values=10_000),
    "policy-v1": Limits(max_bytes=1 << 20, max_values=10_000),
}
"""By schema: far more than needed, and small enough to refuse a file within two seconds."""
_MAX_PLACE: Final = 300
MAX_CELLS: Final = 100_000
"""Of one suite."""


def parse_json(data: bytes, *, file: Path, schema: str, limits: Limits | None = None) -> Any:
    """Parse and validate the bytes of a JSON file; raises `InputInvalid`."""
    document = json_of(data, file, limits or _LIMITS[schema])
    validate(document, schema=schema, file=file)
    return document


def read_toml(file: Path, *, schema: str, limits: Limits | None = None) -> Any:
    """Read and validate a TOML file; raises `InputInvalid`."""
    limits = limits or _LIMITS[schema]
    data = read_regular_file(file, max_bytes=limits.max_bytes)
    return parse_toml(data, file=file, schema=schema, limits=limits)


def parse_toml(data: bytes, *, file: Path, schema: str, limits: Limits | None = None) -> Any:
    """Parse and validate the bytes of a TOML file; raises `InputInvalid`."""
    document = toml_of(data, file, limits or _LIMITS[schema])
    validate(document, schema=schema, file=file)
    return document


def limits_of(schema: str) -> Limits:
    """Return the limits of files of a schema."""
    return _LIMITS[schema]


def max_bytes_of(schema: str) -> int:
    """Return the size limit of files of a schema."""
    return _LIMITS[schema].max_bytes


class TooLarge(InputInvalid):
    """A file to be written would be too large to be read again."""


def require_readable(text: str, *, schema: str, file: Path, remedy: str) -> None:
    """Raise `TooLarge` for a JSON text that exceeds the limits of its schema."""
    limits = _LIMITS[schema]
    size = len(text.encode("utf-8"))
    try:
        if size > limits.max_bytes:
            expected = f"at most {limits.max_bytes} bytes; {remedy}"
            raise TooLarge.at(file, "", expected=expected, found=str(size))
        require_few_values(text, limits)
    except TooManyValues as error:
        expected = f"at most {limits.max_values} values; {remedy}"
        raise TooLarge.at(file, "", expected=expected, found="more of them") from error


def validate(document: Any, *, schema: str, file: Path) -> None:
    """Validate a document; raises `InputInvalid` with the most relevant error."""
    try:
        if matches(document, schema):
            return
        # It imports jsonschema, which no valid file needs.
        from repro_gate.adapters.files.violations import violation_in  # noqa: PLC0415

        found = violation_in(document, schema)
        if found is not None:
            raise InputInvalid.at(file, found.place, expected=found.expected, found=found.found)
    except RecursionError as exhausted:
        # Parsing needs less of the stack than showing.
        raise InputInvalid.at(
            file,
            "",
            expected="a value that the schema allows",
            found="a value that is nested too deeply",
        ) from exhausted


def require_known(file: Path, place: str, name: str, known: Collection[str]) -> str:
    """Return a name that the file defines; raises `InputInvalid` for any other."""
    if name in known:
        return name
    # Only a message needs it.
    from repro_gate.adapters.files.violations import hint_of  # noqa: PLC0415

    expected = f"one of {', '.join(known)}" if known else "a name that the file defines"
    found = f"{shown(name)}{hint_of(name, known)}"
    raise InputInvalid.at(file, place, expected=clipped(expected, _MAX_PLACE), found=found)


def require_bounded(file: Path, place: str, cells: int) -> None:
    """Raise `InputInvalid` for too many cells: a small file can define billions."""
    if cells > MAX_CELLS:
        expected = f"at most {MAX_CELLS} cells"
        raise InputInvalid.at(file, place, expected=expected, found=str(cells))
