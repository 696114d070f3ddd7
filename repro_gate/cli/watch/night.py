"""`repro-gate watch night`: the draws of one night, and the state of the watch after it."""

import os
import re
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

import repro_gate
from repro_gate.adapters.history.files import SessionLog, open_headers
from repro_gate.checks.logprobs.collect import DrawCollector
from repro_gate.checks.watch.night import NightCell, draw_night
from repro_gate.cli import wiring
from repro_gate.cli.logprobs import budget_words, cost_words, key_lines
from repro_gate.cli.paths import make_report_folder
from repro_gate.cli.terminal.console import print_line, print_result, warn
from repro_gate.cli.terminal.progress import shown_progress
from repro_gate.cli.watch.state import read_status, shown
from repro_gate.cli.watch.suites import WatchedSuite
from repro_gate.core.history import SessionCell, SessionHeader, SessionKind
from repro_gate.core.logprobs.policy import LogprobPlan
from repro_gate.core.outcome import ExitCode
from repro_gate.core.tokens.verdicts import Inconclusive
from repro_gate.core.watch.changes import epoch_changes
from repro_gate.core.watch.epoch import Epoch
from repro_gate.core.watch.status import WatchStatus, exit_code_of
from repro_gate.errors import MeasurementUnavailable
from repro_gate.ports import Scorer
from repro_gate.reports.text.escape import one_line
from repro_gate.reports.text.format import plural

_COUNT: Final = re.compile(r"[0-9]{1,20}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NightOptions:
    """The options of `watch night`."""

    history: Path
    output: Path
    resume: bool
    again: bool
    dry_run: bool
    json: bool


def run_night(
    suite: WatchedSuite,
    options: NightOptions,
    *,
    now: Callable[[], str] = wiring.now,
    environ: Mapping[str, str] = os.environ,
) -> ExitCode:
    """Draw the night of today unless there is one, print the state, and return its exit code."""
    started_at = now()
    status = read_status(suite, options.history, now=started_at)
    watch = suite.watch()
    if watch is None or any(epoch_changes(watch.epoch, suite.plan.cells)):
        return _print(status, options)
    for line in (*key_lines(cell.policy for cell in suite.plan.cells), _cost(watch.epoch, suite)):
        warn(f"repro-gate: {line}")
    if options.dry_run:
        print_line("nothing was drawn (dry run)")
        return ExitCode.INCONCLUSIVE
    if _has_night(status, started_at[:10]) and not options.again:
        warn(
            f"repro-gate: the night of {started_at[:10]} is in the history; with --again another "
            "one is drawn, which is stored and does not count"
        )
        return _print(status, options)
    header = _header(watch.epoch, suite, options, started_at=started_at, environ=environ)
    try:
        _draw(watch.epoch, suite, options, header, now=now)
    except KeyboardInterrupt:
        warn(
            "repro-gate: interrupted; the night is not closed and does not count. Run again today "
            "with --resume"
        )
        return ExitCode.INTERRUPTED
    return _print(read_status(suite, options.history, now=now()), options)


def _print(status: WatchStatus, options: NightOptions) -> ExitCode:
    print_result(shown(status, json=options.json))
    return exit_code_of(status.state)


def _has_night(status: WatchStatus, date: str) -> bool:
    last = None if status.report is None else status.report.last
    return last is not None and last.date == date


def _cost(epoch: Epoch, suite: WatchedSuite) -> str:
    calls = epoch.draws * len(epoch.cells)
    return (
        f"suite {suite.name}: {plural(epoch.draws, 'draw')} of {plural(len(epoch.cells), 'cell')}, "
        f"{calls} calls, {cost_words(tokens_of_night(epoch, suite.plan), suite.plan)}"
        f"{budget_words(suite.plan.suite.budget)}"
    )


def tokens_of_night(epoch: Epoch, plan: LogprobPlan) -> int:
    """Return the tokens of prompts and responses of a night without repetitions."""
    encodings = [(cell, epoch.cells[cell.id].encoding) for cell in plan.cells]
    return epoch.draws * sum(cell.tokens(encoding) for cell, encoding in encodings)


def _header(
    epoch: Epoch,
    suite: WatchedSuite,
    options: NightOptions,
    *,
    started_at: str,
    environ: Mapping[str, str],
) -> SessionHeader:
    """Return the header of a new night, or that of the one of today to resume."""
    interrupted = [
        header
        for _, header in open_headers(options.history)
        if (header.suite, header.epoch) == (suite.name, epoch.digest)
        and header.started_at[:10] == started_at[:10]
    ]
    if options.resume and interrupted:
        return max(interrupted, key=lambda header: header.started_at)
    if interrupted:
        warn("repro-gate: a night of today was interrupted; --resume would continue it")
    return SessionHeader(
        key=f"{started_at[:10]}-{_run_of(environ)}",
        kind=SessionKind.NIGHT,
        suite=suite.name,
        epoch=epoch.digest,
        started_at=started_at,
        tool=repro_gate.__version__,
        cells=tuple(_session_cells(epoch, suite)),
    )


def _run_of(environ: Mapping[str, str]) -> str:
    """Return what distinguishes the sessions of a day: the run of GitHub Actions, or chance."""
    run, attempt = (environ.get(f"GITHUB_RUN_{name}", "") for name in ("ID", "ATTEMPT"))
    if _COUNT.fullmatch(run) and _COUNT.fullmatch(attempt):
        return f"{run}-{attempt}"
    return f"local-{secrets.token_hex(4)}-1"


def _session_cells(epoch: Epoch, suite: WatchedSuite) -> Iterator[SessionCell]:
    for cell in suite.plan.cells:
        watched = epoch.cells[cell.id]
        yield SessionCell(
            id=cell.id,
            policy=cell.policy.name,
            item=cell.item.name,
            definition=watched.definition_digest,
            tokens=cell.tokens(watched.encoding),
            usd_per_million_tokens=cell.policy.provider.usd_per_million_tokens,
            center=watched.reference.value,
            bound=watched.reference.far,
        )


def _draw(
    epoch: Epoch,
    suite: WatchedSuite,
    options: NightOptions,
    header: SessionHeader,
    *,
    now: Callable[[], str],
) -> None:
    """Draw the night and close its session; raises `KeyboardInterrupt`."""
    make_report_folder(options.output)
    with closing(wiring.scorer_for(suite.workspace, suite.plan)) as scorer:
        _require_sources(epoch, suite, scorer)
        with (
            closing(SessionLog(options.history, header, resume=options.resume)) as log,
            shown_progress(Console(stderr=True), quiet=options.json, noun="draws") as progress,
        ):
            collector = DrawCollector(scorer=scorer, log=log, progress=progress)
            short = draw_night(
                [
                    NightCell(
                        cell=cell,
                        encoding=epoch.cells[cell.id].encoding,
                        answers_as=epoch.cells[cell.id].answered_as,
                    )
                    for cell in suite.plan.cells
                ],
                draws=epoch.draws,
                collector=collector,
            )
            file = log.seal(now())
    for line in (f"stored {file}", *_shortfalls(short)):
        warn(f"repro-gate: {one_line(line)}")


def _require_sources(epoch: Epoch, suite: WatchedSuite, scorer: Scorer) -> None:
    """Raise `MeasurementUnavailable` without a key, or on another machine than the epoch's."""
    sources = {policy.name: scorer.source(policy) for policy in suite.plan.policies}
    for cell in suite.plan.cells:
        expected, found = epoch.cells[cell.id].source, sources[cell.policy.name]
        if found != expected:
            raise MeasurementUnavailable(
                f"the epoch of {suite.name} is about {cell.id} at {expected}, and this is {found}",
                remedy="draw there, or watch a suite of this machine",
            )


def _shortfalls(short: Mapping[str, Inconclusive]) -> Iterator[str]:
    """Yield why cells have too few draws, those of one reason together."""
    for reason, count in Counter(each.reason for each in short.values()).items():
        yield f"{plural(count, 'cell')}: {reason}"
