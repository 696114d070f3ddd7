"""The files by which a step tells the runner its summary and its outputs."""

import re
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from repro_gate.adapters.files.atomic import open_to_append
from repro_gate.errors import InputInvalid, PublishFailed

MOST_SUMMARY_BYTES = 1 << 20
"""Of a larger summary the runner shows nothing at all."""
_MOST_OUTPUT_BYTES = 1 << 20
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")


def append_summary(file: Path, text: str) -> None:
    """Add Markdown to the summary of the step.

    Raises:
        PublishFailed: the file cannot be written, or would become too large to be shown; it is
            as it was then.
    """
    data = _encoded(text if text.endswith("\n") else f"{text}\n")
    try:
        with open_to_append(file) as stream:
            before = stream.tell()
            if before:
                stream.seek(before - 1)
                data = data if stream.read(1) == b"\n" else b"\n" + data
            size = before + len(data)
            if size > MOST_SUMMARY_BYTES:
                raise PublishFailed(
                    f"the job summary would have {size} bytes, and "
                    f"more than {MOST_SUMMARY_BYTES} are not shown"
                )
            stream.write(data)
    except (InputInvalid, OSError) as error:
        raise PublishFailed(f"the job summary cannot be written: {_words_of(error)}") from error


def _random_delimiter() -> str:
    return f"ghadelimiter_{uuid.uuid4()}"


def write_outputs(
    file: Path, values: Mapping[str, str], *, new_delimiter: Callable[[], str] = _random_delimiter
) -> None:
    """Set outputs of the step, to whatever text.

    Args:
        file: where the runner reads them.
        values: each output by its name.
        new_delimiter: gives what ends the next value; whoever guesses it could end a value
            early, and set outputs of its own.

    Raises:
        ValueError: a name cannot be the name of an output.
        PublishFailed: the file cannot be written, or a value is longer than the runner takes; no
            output is set then.
    """
    data = b"".join(_entry(name, value, new_delimiter()) for name, value in values.items())
    try:
        with open_to_append(file) as stream:
            stream.write(data)
    except (InputInvalid, OSError) as error:
        raise PublishFailed(f"the outputs cannot be written: {_words_of(error)}") from error


def _entry(name: str, value: str, delimiter: str) -> bytes:
    if not _NAME.fullmatch(name):
        raise ValueError(f"an output has letters, digits, dashes and underscores, got {name!r}")
    if delimiter in value:
        raise PublishFailed(f"the output {name} holds the delimiter that was chosen for it")
    encoded = _encoded(value)
    if len(encoded) > _MOST_OUTPUT_BYTES:
        raise PublishFailed(f"the output {name} has more than {_MOST_OUTPUT_BYTES} bytes")
    return _encoded(f"{name}<<{delimiter}\n") + encoded + _encoded(f"\n{delimiter}\n")


def _words_of(error: InputInvalid | OSError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", errors="backslashreplace")
