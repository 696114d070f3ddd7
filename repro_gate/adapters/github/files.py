"""The files in which a step leaves its summary and outputs for the runner."""

import re
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from repro_gate.adapters.files.atomic import open_to_append
from repro_gate.errors import InputInvalid, PublishFailed

MAX_SUMMARY_BYTES = 1 << 20
"""The runner does not show a larger summary at all."""
_MAX_OUTPUT_BYTES = 1 << 20
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")


def append_summary(file: Path, text: str) -> None:
    """Append Markdown to the summary of the step.

    Raises:
        PublishFailed: the file cannot be written, or would be too large to be shown; it is
            unchanged.
    """
    data = _encoded(text if text.endswith("\n") else f"{text}\n")
    try:
        with open_to_append(file) as stream:
            before = stream.tell()
            if before:
                stream.seek(before - 1)
                data = data if stream.read(1) == b"\n" else b"\n" + data
            size = before + len(data)
            if size > MAX_SUMMARY_BYTES:
                raise PublishFailed(
                    f"the job summary would have {size} bytes, and GitHub shows at most "
                    f"{MAX_SUMMARY_BYTES}"
                )
            stream.write(data)
    except (InputInvalid, OSError) as error:
        raise PublishFailed(f"the job summary cannot be written: {_reason(error)}") from error


def _random_delimiter() -> str:
    return f"ghadelimiter_{uuid.uuid4()}"


def write_outputs(
    file: Path, values: Mapping[str, str], *, new_delimiter: Callable[[], str] = _random_delimiter
) -> None:
    """Set outputs of the step.

    Args:
        file: the file that the runner reads.
        values: any text by the name of its output.
        new_delimiter: returns an unpredictable delimiter; a text that contains it could set other
            outputs.

    Raises:
        ValueError: a name is not allowed for an output.
        PublishFailed: the file cannot be written, or a value is too long; no output is set.
    """
    data = b"".join(_entry(name, value, new_delimiter()) for name, value in values.items())
    try:
        with open_to_append(file) as stream:
            stream.write(data)
    except (InputInvalid, OSError) as error:
        raise PublishFailed(f"the outputs cannot be written: {_reason(error)}") from error


def _entry(name: str, value: str, delimiter: str) -> bytes:
    if not _NAME.fullmatch(name):
        raise ValueError(f"an output has letters, digits, dashes and underscores, got {name!r}")
    if delimiter in value:
        raise PublishFailed(f"the output {name} contains its own delimiter")
    encoded = _encoded(value)
    if len(encoded) > _MAX_OUTPUT_BYTES:
        raise PublishFailed(f"the output {name} has more than {_MAX_OUTPUT_BYTES} bytes")
    return _encoded(f"{name}<<{delimiter}\n") + encoded + _encoded(f"\n{delimiter}\n")


def _reason(error: InputInvalid | OSError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", errors="backslashreplace")
