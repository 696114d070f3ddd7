"""Make `docs/examples/watch/`: 38 nights of a simulated service that changes in the 32nd.

    python -m benchmarks.watch_example

It draws with the real commands, at simulated dates. The times, latencies and request ids of the
draws are those of the simulation, so they differ each time.
"""

import io
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from typer.testing import CliRunner

from repro_gate.cli.app import app
from repro_gate.cli.watch.epochs import EpochOptions, run_open
from repro_gate.cli.watch.night import NightOptions, run_night
from repro_gate.cli.watch.state import run_state
from repro_gate.cli.watch.suites import watched_suite
from repro_gate.core.outcome import ExitCode
from tests.fakes.fireworks.conduct import Conduct
from tests.fakes.fireworks.effects import Rule, Shift, on
from tests.fakes.fireworks.hosting import HostedModel
from tests.fakes.fireworks.noise import Mixture
from tests.fakes.fireworks.server import Api, serving

FOLDER: Final = Path(__file__).parents[1] / "docs" / "examples" / "watch"
MATRIX: Final = "repro-gate.toml"
HISTORY: Final = "history"
HOST: Final = "http://127.0.0.1:8000"
"""Of the service in the matrix."""
SUITE: Final = "hosted"
NIGHTS: Final = 38
_FIRST: Final = datetime(2026, 9, 1, 3, 17, tzinfo=UTC)
_MODEL: Final = "accounts/fireworks/models/llama-v3p3-70b-instruct"
_SEED: Final = 5
KEY: Final = "FIREWORKS_API_KEY"
_AT_A_DESK: Final = {"CI": None, "GITHUB_ACTIONS": None}
_EVENTS: Final = {8: on(3, Shift(nats=-114, token=1)), 31: Rule(effect=Shift(nats=-0.3))}
"""What happens to the service before a night: an outlier, and the change."""


def time_of(night: int) -> str:
    """Return the time at which a night is drawn; they are counted from 0."""
    return (_FIRST + timedelta(days=night)).isoformat(timespec="seconds")


def opened() -> str:
    """Open the watch in the working directory, and return what is printed."""
    options = EpochOptions(reason="the first watch", draws=None, rate=None, nights=None, yes=True)
    out = io.StringIO()
    with redirect_stdout(out):
        run_open(watched_suite(None, SUITE), options, now=lambda: time_of(0), environ={})
    return out.getvalue()


def state_in(history: Path, night: int) -> str:
    """Return the state that is printed after a night, in the working directory."""
    out = io.StringIO()
    with redirect_stdout(out):
        run_state(watched_suite(None, SUITE), history, now=lambda: time_of(night))
    return out.getvalue()


def _draw(night: int) -> None:
    options = NightOptions(
        history=Path(HISTORY),
        output=Path(".repro-gate"),
        resume=False,
        again=False,
        dry_run=False,
        json=True,
    )
    environ = {"GITHUB_RUN_ID": str(1000 + night)}
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        run_night(watched_suite(None, SUITE), options, now=lambda: time_of(night), environ=environ)


@contextmanager
def simulated() -> Generator[Api]:
    """Give the service, before anything happens to it."""
    model = HostedModel(name=_MODEL, noise=Mixture())
    with serving(model, conduct=Conduct(seed=_SEED)) as api:
        yield api


def _watch(api: Api) -> None:
    """Record baselines, open the watch and draw all nights, in the working directory."""
    matrix = (FOLDER / MATRIX).read_text("utf-8")
    Path(MATRIX).write_text(matrix.replace(HOST, api.host), "utf-8")
    os.environ[KEY] = api.key
    command = ["record-baseline", "--suite", SUITE, "--yes"]
    recorded = CliRunner(env=_AT_A_DESK).invoke(app, command)
    if recorded.exit_code != ExitCode.PASSED:
        raise SystemExit(recorded.output)
    opened()
    for night in range(NIGHTS):
        if night in _EVENTS:
            api.follow(_EVENTS[night])
        _draw(night)


def main() -> None:
    """Replace the files of the example but its matrix."""
    with tempfile.TemporaryDirectory() as name, chdir(name), simulated() as api:
        _watch(api)
        ignored = shutil.ignore_patterns("index.*")
        for part in ("snapshots", HISTORY):
            shutil.rmtree(FOLDER / part, ignore_errors=True)
            shutil.copytree(part, FOLDER / part, ignore=ignored)


if __name__ == "__main__":
    main()
