"""The status of a watch: what its nights show, and what stands in the way of a statement."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, assert_never

from repro_gate.core.guards import require_name, require_text
from repro_gate.core.outcome import ExitCode
from repro_gate.core.tokens.verdicts import Inconclusive
from repro_gate.core.watch.epoch import Epoch, Watch
from repro_gate.core.watch.state import WatchReport, WatchState

MAX_SILENT_DAYS: Final = 3
"""Without a complete night for so long, nothing is known of the service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Who answered in the nights before a change, and since."""

    fact: str
    """What answers report: `model`, `fingerprint` or `backend`."""
    before: tuple[str, ...]
    """The distinct values, sorted; untrusted."""
    since: tuple[str, ...]

    def __post_init__(self) -> None:
        require_text(fact=self.fact)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchStatus:
    """What is known of a watch now."""

    suite: str
    watch: Watch | None
    """None when none is open."""
    report: WatchReport | None
    """None without a night."""
    unknown: tuple[Inconclusive, ...]
    """Why nothing can be stated about now; without a drift, they make the state unknown."""
    seen: tuple[Seen, ...] = ()
    """Since the start of a standing alarm."""

    def __post_init__(self) -> None:
        require_name(self.suite)
        if not self.unknown and (self.watch is None or self.report is None):
            raise ValueError("a watch without an epoch or a night is unknown for a reason")

    @property
    def state(self) -> WatchState:
        """The state; a drift stands also where now is unknown."""
        if self.report is not None and self.report.state is WatchState.DRIFT:
            return WatchState.DRIFT
        if self.report is None or self.unknown:
            return WatchState.UNKNOWN
        return self.report.state

    @property
    def since(self) -> str | None:
        """The date since which the state of the nights holds, or None."""
        is_of_nights = self.report is not None and self.state is self.report.state
        return self.report.since if self.report is not None and is_of_nights else None


def exit_code_of(state: WatchState) -> ExitCode:
    """Return the exit code of a state."""
    match state:
        case WatchState.DRIFT:
            return ExitCode.FINDINGS
        case WatchState.UNKNOWN:
            return ExitCode.INCONCLUSIVE
        case WatchState.LEARNING | WatchState.QUIET | WatchState.WARNING | WatchState.CHANGED:
            return ExitCode.PASSED
        case _:
            assert_never(state)


def not_open(suite: str) -> Inconclusive:
    """Return why a suite without an epoch has no state."""
    return Inconclusive(
        reason=f"no watch of {suite} is open",
        remedy=f"repro-gate watch open --suite {suite} --reason TEXT, and commit its file",
    )


def not_the_same(suite: str, changes: Iterable[str]) -> Inconclusive:
    """Return why a suite that is not as in its epoch has no state."""
    return Inconclusive(
        reason=f"the suite is not as in its epoch: {'; '.join(changes)}",
        remedy=(
            f"undo the change, or begin again: repro-gate watch accept --suite {suite} "
            "--reason TEXT"
        ),
    )


def without_recent_night(
    epoch: Epoch, report: WatchReport | None, *, now: str
) -> Inconclusive | None:
    """Return why the nights are too old for a statement about now, or None."""
    command = f"repro-gate watch night --suite {epoch.suite}"
    if report is None or report.last is None:
        return Inconclusive(
            reason=f"the history has no complete night of the epoch {epoch.digest[:16]}",
            remedy=f"{command}, or fetch the history and give its folder with --history",
        )
    days = (datetime.fromisoformat(now).date() - date.fromisoformat(report.last.date)).days
    # Clocks may differ by a day at midnight; a night that is later would hide all that are missing.
    if -1 <= days < MAX_SILENT_DAYS:
        return None
    if days < 0:
        return Inconclusive(
            reason=f"the last complete night is that of {report.last.date}, which is to come",
            remedy="set the clock, and remove that night's file from the history",
        )
    return Inconclusive(
        reason=f"the last complete night is that of {report.last.date}, {days} days ago",
        remedy=f"{command}; look at why the nightly runs have none",
    )
