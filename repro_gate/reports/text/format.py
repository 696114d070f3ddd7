"""Numbers for readers, with as many digits as matter."""

import math
from collections.abc import Iterable, Iterator, Sequence

_UNKNOWN = "not known"
_MIN_FIXED = 0.0001
_MAX_FIXED = 1_000_000


def plural(count: int, noun: str) -> str:
    """Return a count with its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def nats(value: float) -> str:
    """Return a number of nats without its unit."""
    if not math.isfinite(value):
        return _UNKNOWN
    if value and not _MIN_FIXED <= abs(value) < _MAX_FIXED:
        return f"{value:.2g}"
    return f"{value + 0.0:.4f}"


def shifted(value: float) -> str:
    """Return a difference in nats with its sign."""
    return f"+{nats(value)}" if 0 < value < math.inf else nats(value)


def chance(p_value: float) -> str:
    """Return a p-value; a correction may have made it larger than 1."""
    return f"{min(1.0, p_value):.2g}" if math.isfinite(p_value) else _UNKNOWN


def percent(share: float) -> str:
    """Return a share as a percentage."""
    return f"{100 * share:.3g} %" if math.isfinite(share) else _UNKNOWN


def amount(value: float) -> str:
    """Return a number of any magnitude, such as a weight."""
    if math.isfinite(value):
        return f"{value:.4g}"
    return "too large for a number" if value > 0 else _UNKNOWN


def usd(value: float) -> str:
    """Return a price with two significant digits if it is small."""
    return f"{value:.2f} USD" if value >= 1 else f"{value:.2g} USD"


def columns(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the rows of a table, at least one, with their columns aligned."""
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
