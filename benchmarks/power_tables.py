"""What the simulations found, as tables that stand in a terminal and in a Markdown page."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from scipy.stats import binomtest

from benchmarks.rival_tests import RIVALS, largest_possible
from benchmarks.simulated_matrices import TOLERANCE, Ours, Result
from benchmarks.simulated_worlds import CELLS

OURS = ("finding", "seen")
_CANNOT = "cannot"
_CHANGE_WIDTH = 27
_NORMAL_95 = 1.96


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """How often a change was detected."""

    label: str
    matrices: int
    detected: Mapping[str, int | None]
    """By the name of the test; None for one that cannot keep the rate of false alarms."""
    calls: float
    """That the gate made in a matrix, on average."""


def thresholds(null: Sequence[Result]) -> dict[str, float | None]:
    """Return what each rival's statistic exceeds in at most 1 % of matrices without a change.

    None where nothing that it can attain is so rare.
    """
    found: dict[str, float | None] = {}
    for rival in RIVALS:
        values = sorted(result.statistics[rival] for result in null)
        allowed = int(TOLERANCE.false_alarm_rate * len(values))
        threshold = values[len(values) - 1 - allowed]
        most = largest_possible(rival, cells=CELLS, draws=TOLERANCE.draws)
        found[rival] = threshold if threshold < most else None
    return found


def point_of(label: str, results: Sequence[Result], limits: Mapping[str, float | None]) -> Point:
    """Return how often the gate and its rivals detected a change."""
    detected: dict[str, int | None] = {
        "finding": sum(result.ours.finding for result in results),
        "seen": sum(result.ours.seen for result in results),
    }
    for rival, limit in limits.items():
        detected[rival] = (
            None if limit is None else sum(each.statistics[rival] > limit for each in results)
        )
    return Point(
        label=label,
        matrices=len(results),
        detected=detected,
        calls=sum(result.ours.calls for result in results) / len(results),
    )


def null_lines(null: Sequence[Result], *, cells: int = CELLS) -> Iterable[str]:
    """Yield how often there was an alarm though nothing had changed, and what it cost."""
    ours = [result.ours for result in null]
    counts = {
        "ours: any finding": sum(one.finding for one in ours),
        "ours: drift of a cell": sum(one.cell_drift for one in ours),
        "ours: drift of the whole": sum(one.whole_drift for one in ours),
        "ours: outliers": sum(one.outlier for one in ours),
        "ours: a note, no finding": sum(one.note and not one.finding for one in ours),
    }
    for rival in null[0].stated:
        counts[rival] = sum(result.stated[rival] for result in null)
    yield _row(["nothing changed", "matrices", "rate", "95 % interval"], _NULL_WIDTHS)
    yield _rule(_NULL_WIDTHS)
    for name, count in counts.items():
        interval = binomtest(count, len(null)).proportion_ci(0.95, method="exact")
        shown = f"{interval.low:.2%} to {interval.high:.2%}"
        yield _row(
            [name, f"{count} of {len(null)}", f"{count / len(null):.2%}", shown], _NULL_WIDTHS
        )
    yield ""
    yield from _costs(ours, cells)


def threshold_line(limits: Mapping[str, float | None]) -> str:
    """Return what the rivals' statistics have to exceed."""
    shown = (f"{name} {_CANNOT if at is None else f'{at:.4g}'}" for name, at in limits.items())
    return f"Calibrated to {TOLERANCE.false_alarm_rate:.0%} of matrices: {', '.join(shown)}."


def power_head(rivals: Sequence[str] = RIVALS) -> Iterable[str]:
    """Yield the first lines of a table of points."""
    yield _row(["change (nats)", "n", *OURS, "calls", *rivals], _power_widths(rivals))
    yield _rule(_power_widths(rivals))


def power_row(point: Point, rivals: Sequence[str] = RIVALS) -> str:
    """Return a line of the table."""
    shares = {
        name: _CANNOT if count is None else f"{count / point.matrices:.0%}"
        for name, count in point.detected.items()
    }
    cells = [point.label, str(point.matrices), *(shares[name] for name in OURS)]
    cells += [f"{point.calls:.0f}", *(shares[name] for name in rivals)]
    return _row(cells, _power_widths(rivals))


def losses(points: Iterable[Point]) -> Iterable[str]:
    """Yield a line for each change that a rival detects more often, beyond chance."""
    for point in points:
        rivals = {name: point.detected[name] or 0 for name in RIVALS}
        best = max(rivals, key=rivals.__getitem__)
        worse = [
            f"{name} {count / point.matrices:.0%}"
            for name in OURS
            if _is_below(count := point.detected[name] or 0, rivals[best], point.matrices)
        ]
        if worse:
            share = rivals[best] / point.matrices
            yield f"- {point.label}: {' and '.join(worse)}, below {best} at {share:.0%}"


def _costs(ours: Sequence[Ours], cells: int) -> Iterable[str]:
    matrices, fixed = len(ours), cells * TOLERANCE.draws
    calls = sum(one.calls for one in ours) / matrices
    saved = sum(one.saved for one in ours) / matrices
    second = sum(one.second_look for one in ours)
    refused = sum(one.refused for one in ours)
    with_refused = sum(one.refused > 0 for one in ours)
    yield (
        f"Calls per matrix: {calls:.1f}, where a fixed first look makes {fixed}; stopping early "
        f"saved {saved:.1f} ({saved / fixed:.0%})."
    )
    yield f"Second looks at all cells: in {second} of {matrices} matrices."
    yield (
        f"Baselines refused at recording: {refused} of {cells * matrices}, "
        f"in {with_refused} of {matrices} matrices."
    )


def _is_below(ours: int, rival: int, matrices: int) -> bool:
    """Return whether two shares differ by more than chance (Agresti and Caffo 2000, at 95 %)."""
    shares = [(count + 1) / (matrices + 2) for count in (ours, rival)]
    error = math.sqrt(sum(share * (1 - share) / (matrices + 2) for share in shares))
    return shares[1] - shares[0] > _NORMAL_95 * error


def _power_widths(rivals: Sequence[str]) -> tuple[int, ...]:
    return (_CHANGE_WIDTH, 4, 7, 5, 5, *(max(6, len(name)) for name in rivals))


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    shown = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]
    return f"| {' | '.join(shown)} |"


def _rule(widths: Sequence[int]) -> str:
    first, *rest = widths
    return f"|{'-' * (first + 2)}|{'|'.join('-' * (width + 1) + ':' for width in rest)}|"


_NULL_WIDTHS = (_CHANGE_WIDTH, 12, 7, 17)
