"""Guards for `__post_init__`: values with invalid fields cannot be constructed.

Fields are passed by keyword, which names them in the message. None is always accepted.
"""

import math
import re
from collections.abc import Iterable

NAME_PATTERN = r"[a-z0-9]+(?:[._-][a-z0-9]+)*"
MAX_NAME_LENGTH = 64
MIN_LOGPROB = -1e6
"""Far below any that a model gives; the squares of those below could exceed every float."""
_NAME = re.compile(NAME_PATTERN)
_SHA256 = re.compile(r"[0-9a-f]{64}")


def is_name(text: str) -> bool:
    """Return whether a text can be part of a cell id and of a file name."""
    return len(text) <= MAX_NAME_LENGTH and _NAME.fullmatch(text) is not None


def require_name(name: str) -> None:
    """Raise ValueError unless `name` can be part of a cell id and of a file name."""
    if not is_name(name):
        raise ValueError(
            f"a name must be lower-case letters and digits with single '.', '_' or '-' between "
            f"them, and at most {MAX_NAME_LENGTH} characters, got {name!r}"
        )


def require_sha256(digest: str | None) -> None:
    """Raise ValueError unless `digest` is 64 lower-case hexadecimal digits."""
    if digest is not None and not _SHA256.fullmatch(digest):
        raise ValueError(f"a sha256 must be 64 lower-case hexadecimal digits, got {digest!r}")


def require_text(**texts: str) -> None:
    """Raise ValueError for an empty text."""
    for name, text in texts.items():
        if not text:
            raise ValueError(f"{name} must not be empty")


def require_finite(**values: float | tuple[float, ...] | None) -> None:
    """Raise ValueError unless each number, alone or in a tuple, is finite."""
    for name, value in values.items():
        for number in value if isinstance(value, tuple) else (value,):
            # A comparison, because math.isfinite raises OverflowError for a huge integer.
            if number is not None and not -math.inf < number < math.inf:
                raise ValueError(f"{name} must be finite, got {number}")


def require_at_least(least: float, **values: float | None) -> None:
    """Raise ValueError unless each number is finite and at least `least`."""
    require_finite(**values)
    for name, value in values.items():
        if value is not None and value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")


def require_above(limit: float, **values: float | None) -> None:
    """Raise ValueError unless each number is finite and greater than `limit`."""
    require_finite(**values)
    for name, value in values.items():
        if value is not None and value <= limit:
            raise ValueError(f"{name} must be above {limit}, got {value}")


def require_logprobs(values: Iterable[float], place: str = "logprobs") -> None:
    """Raise ValueError unless each value is the logarithm of a possible probability."""
    for index, value in enumerate(values):
        if not MIN_LOGPROB <= value <= 0:
            raise ValueError(f"'{place}[{index}]' is no log-probability: {value}")


def require_share(**values: float | None) -> None:
    """Raise ValueError unless each number lies between 0 and 1."""
    for name, value in values.items():
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"{name} must lie between 0 and 1, got {value}")
