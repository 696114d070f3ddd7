"""What changed since something was recorded, told once when it is the same for all."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from repro_gate.core.goldens import FactChange
from repro_gate.core.logprob_verdicts import Shifted
from repro_gate.core.report import GateReport
from repro_gate.core.verdicts import Drift
from repro_gate.reports.foreign import clipped
from repro_gate.reports.markdown_text import code, table

Block = Sequence[str]

_MOST_CHANGES: Final = 8
_LONGEST_NAME: Final = 60
_LONGEST_VALUE: Final = 80
_DIGEST = re.compile(r"[0-9a-f]{40,128}")
_SHORT_DIGEST: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedChanges:
    """What every drift of one kind has in common; empty when there is no such thing."""

    goldens: tuple[FactChange, ...] = ()
    baselines: tuple[FactChange, ...] = ()

    def of(self, recorded: str) -> tuple[FactChange, ...]:
        """Return those since goldens, or since baselines, were recorded."""
        return self.goldens if recorded == "golden" else self.baselines


def shared_changes(report: GateReport) -> SharedChanges:
    """Return what changed, as far as it is the same for several drifts and for all of them."""
    tokens = [cell.verdict for cell in report.cells]
    hosted = [cell.verdict for part in report.logprobs for cell in part.cells]
    return SharedChanges(
        goldens=_shared(found.provenance for found in tokens if isinstance(found, Drift)),
        baselines=_shared(found.provenance for found in hosted if isinstance(found, Shifted)),
    )


def shared_block(shared: SharedChanges) -> Iterator[Block]:
    """Yield what all drifts have in common."""
    if shared.goldens:
        yield ["Changed since the goldens were recorded (same for every token drift):"]
        yield changes_table("goldens", shared.goldens)
    if shared.baselines:
        yield ["Changed since the baselines were recorded (same for every drift from them):"]
        yield changes_table("baselines", shared.baselines)


def changes_table(recorded: str, changes: Sequence[FactChange]) -> Block:
    """Return what is not as it was, the likeliest causes first, as much as a glance can hold."""
    rows = [[code(clipped(change.name, _LONGEST_NAME)), *_sides(change)] for change in changes]
    kept = table(["fact", recorded, "now"], rows[:_MOST_CHANGES])
    more = len(rows) - _MOST_CHANGES
    return [*kept, "", f"and {more} more."] if more > 0 else kept


def _shared(provenances: Iterable[tuple[FactChange, ...]]) -> tuple[FactChange, ...]:
    told = list(provenances)
    is_shared = len(told) > 1 and len(set(told)) == 1
    return told[0] if is_shared else ()


def _sides(change: FactChange) -> list[str]:
    sides = (change.before, change.after)
    # Digests that begin alike would look the same, and nothing would seem to have changed.
    is_short = (
        all(side is not None and _DIGEST.fullmatch(side) for side in sides)
        and len({side[:_SHORT_DIGEST] for side in sides if side is not None}) > 1
    )
    longest = _SHORT_DIGEST + 1 if is_short else _LONGEST_VALUE
    return ["(not reported)" if side is None else code(clipped(side, longest)) for side in sides]
