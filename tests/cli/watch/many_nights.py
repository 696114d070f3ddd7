"""A watch over many nights: the real commands at a simulated service, with a clock of its own."""

import json
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from repro_gate.cli.watch.epochs import (
    DismissOptions,
    EpochOptions,
    run_accept,
    run_dismiss,
    run_open,
)
from repro_gate.cli.watch.night import NightOptions, run_night
from repro_gate.cli.watch.state import run_state, run_verify
from repro_gate.cli.watch.suites import WatchedSuite, watched_suite
from tests.cli.hosted.workspaces import HostedWorkspace

SUITE = "hosted"


@dataclass(slots=True, kw_only=True)
class ManyNights:
    """The commands of a watch in one process, each at a time of its own."""

    workspace: HostedWorkspace
    capture: pytest.CaptureFixture[str] | None = None
    clock: datetime = field(default=datetime(2026, 1, 1, 3, tzinfo=UTC))

    def now(self) -> str:
        """Return the time."""
        return self.clock.isoformat(timespec="seconds")

    @property
    def history(self) -> Path:
        """The folder of the nights."""
        return self.workspace.output / "history"

    def suite(self) -> WatchedSuite:
        """Open the matrix, as each command does."""
        return watched_suite(self.workspace.folder / "repro-gate.toml", SUITE)

    def open(self, **options: Any) -> int:
        """Open the watch."""
        return run_open(self.suite(), _epoch(**options), now=self.now, environ={})

    def accept(self, **options: Any) -> int:
        """Begin a new epoch."""
        return run_accept(self.suite(), _epoch(**options), now=self.now, environ={})

    def dismiss(self, *nights: str) -> int:
        """Dismiss nights, or those of the standing alarm."""
        options = DismissOptions(reason="it is over", nights=nights, history=self.history, yes=True)
        return run_dismiss(self.suite(), options, now=self.now, environ={})

    def night(self, **changes: Any) -> int:
        """Draw the night of the day."""
        usual: dict[str, Any] = {"resume": False, "again": False, "dry_run": False, "json": False}
        options = NightOptions(
            history=self.history, output=self.workspace.output, **{**usual, **changes}
        )
        return run_night(self.suite(), options, now=self.now, environ={})

    def nights(self, count: int) -> list[int]:
        """Draw nights one day after the other, and return their exit codes."""
        codes: list[int] = []
        for _ in range(count):
            self.clock += timedelta(days=1)
            codes.append(self.night())
        return codes

    def verify(self) -> int:
        """Verify the stored nights."""
        return run_verify(self.suite(), self.history, now=self.now)

    def state(self) -> Any:
        """Return the state as JSON data."""
        self.printed()
        code = run_state(self.suite(), self.history, json=True, now=self.now)
        state = json.loads(self.printed())
        assert state["exit_code"] == code
        return state

    def printed(self) -> str:
        """Return what was printed since the last call."""
        assert self.capture is not None
        return self.capture.readouterr().out

    def copied_to(self, folder: Path, capture: pytest.CaptureFixture[str]) -> "ManyNights":
        """Return the same watch and nights in another folder; its matrix is still to be written."""
        copy = self.workspace.hosted_copy(folder)
        shutil.copytree(self.history, copy.output / "history")
        return ManyNights(workspace=copy, capture=capture, clock=self.clock)


def _epoch(**options: Any) -> EpochOptions:
    usual: dict[str, Any] = {"draws": None, "rate": None, "nights": None, "yes": True}
    return EpochOptions(**{"reason": "first watch", **usual, **options})
