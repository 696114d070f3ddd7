"""`repro-gate watch open`, `accept` and `dismiss`: the commands that write the file of a watch."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from repro_gate.adapters.files.atomic import sweep
from repro_gate.adapters.history.folder import HistoryFolder
from repro_gate.checks.watch.epochs import Terms, dismissed, nights_of_alarms, open_epoch
from repro_gate.checks.watch.state import stored_nights
from repro_gate.cli import wiring
from repro_gate.cli.logprobs import cost_words
from repro_gate.cli.terminal.console import is_confirmed, print_line, refuse_under_ci
from repro_gate.cli.watch.night import tokens_of_night
from repro_gate.cli.watch.suites import WatchedSuite
from repro_gate.core.logprobs.policy import LogprobPlan, Policy
from repro_gate.core.outcome import ExitCode
from repro_gate.core.text import escape_text
from repro_gate.core.watch.epoch import Epoch, Watch, WatchedCell
from repro_gate.core.watch.night import count_nights
from repro_gate.core.watch.state import thresholds_of
from repro_gate.core.watch.status import not_open
from repro_gate.errors import MeasurementUnavailable, UsageInvalid
from repro_gate.ports import Scorer
from repro_gate.reports.text.format import nats, percent, plural
from repro_gate.reports.watch.words import DIGEST_LENGTH
from repro_gate.statistics.night_ranks import nights_to_alarm
from repro_gate.statistics.watch import evaluate

_DRAWS = 5
_RATE = 0.01
_NIGHTS = 365
_SHOWN_NIGHTS = (20, 30, 100)
"""After so many nights `open` shows what can be found."""
_WHAT = "watches"


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochOptions:
    """The options of `watch open` and `watch accept`; None is the default, or what it was."""

    reason: str
    draws: int | None
    rate: float | None
    nights: int | None
    yes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DismissOptions:
    """The options of `watch dismiss`."""

    reason: str
    nights: tuple[str, ...]
    """The keys of the nights; empty for those of the standing alarm."""
    history: Path
    yes: bool


def run_open(
    suite: WatchedSuite,
    options: EpochOptions,
    *,
    now: Callable[[], str] = wiring.now,
    environ: Mapping[str, str] = os.environ,
) -> ExitCode:
    """Show the first epoch of a watch, ask, and write it."""
    refuse_under_ci(environ, what=_WHAT)
    with wiring.update_lock(suite.workspace):
        if suite.watch() is not None:
            raise UsageInvalid(
                f"the watch of {suite.name} is open already; repro-gate watch accept --suite "
                f"{suite.name} begins a new epoch"
            )
        return _begin(suite, options, before=None, now=now())


def run_accept(
    suite: WatchedSuite,
    options: EpochOptions,
    *,
    now: Callable[[], str] = wiring.now,
    environ: Mapping[str, str] = os.environ,
) -> ExitCode:
    """Show a new epoch with what it changes, ask, and write it."""
    refuse_under_ci(environ, what=_WHAT)
    with wiring.update_lock(suite.workspace):
        before = _open_watch(suite).epoch
        return _begin(suite, options, before=before, now=now())


def run_dismiss(
    suite: WatchedSuite,
    options: DismissOptions,
    *,
    now: Callable[[], str] = wiring.now,
    environ: Mapping[str, str] = os.environ,
) -> ExitCode:
    """Show the nights to leave out, ask, and write the file of the watch."""
    refuse_under_ci(environ, what=_WHAT)
    with wiring.update_lock(suite.workspace):
        watch = _open_watch(suite)
        with closing(HistoryFolder(options.history)) as history:
            nights = stored_nights(watch.epoch, history)
        counted = count_nights(watch.epoch, nights)
        keys = options.nights or nights_of_alarms(watch, counted, evaluate(watch, nights))
        if not keys:
            raise UsageInvalid(
                f"there is no standing alarm in the {plural(len(nights), 'night')} of "
                f"{options.history}; give the nights to leave out with --night"
            )
        stored = (night.key for night in nights)
        changed = dismissed(watch, keys, reason=_one_line(options.reason), at=now(), stored=stored)
        print_line(f"dismissed  {plural(len(keys), 'night')} of {suite.name}: {', '.join(keys)}")
        return _write(suite, changed, yes=options.yes)


def _begin(
    suite: WatchedSuite, options: EpochOptions, *, before: Epoch | None, now: str
) -> ExitCode:
    """Show an epoch, ask, and write it; what is not given is as before, or the default."""
    draws, rate, nights = (
        (_DRAWS, _RATE, _NIGHTS) if before is None else (before.draws, before.rate, before.nights)
    )
    terms = Terms(
        draws=options.draws or draws,
        rate=rate if options.rate is None else options.rate,
        nights=options.nights or nights,
        reason=_one_line(options.reason),
        opened_at=now,
        previous=None if before is None else before.digest,
    )
    with closing(wiring.scorer_for(suite.workspace, suite.plan)) as scorer:
        epoch = open_epoch(
            suite.plan,
            terms,
            baselines=suite.workspace.baselines,
            source=lambda policy: _source(policy, scorer),
        )
    for line in (*_cell_lines(epoch, before), *_epoch_lines(epoch, suite.plan)):
        print_line(line)
    return _write(suite, Watch(epoch=epoch), yes=options.yes)


def _source(policy: Policy, scorer: Scorer) -> str:
    """Return the source of a policy's baselines; nothing is drawn, so no key is needed."""
    return scorer.source(policy) if policy.provider.is_local else policy.provider.name


def _write(suite: WatchedSuite, watch: Watch, *, yes: bool) -> ExitCode:
    file = suite.files.file(suite.name)
    if not is_confirmed(f"Write {file}?", yes=yes):
        return ExitCode.INCONCLUSIVE
    sweep(suite.workspace.snapshots, trees=wiring.SNAPSHOT_FOLDERS)
    suite.files.write(watch)
    print_line(f"wrote {file}; commit it, so that the nightly run finds it")
    return ExitCode.PASSED


def _open_watch(suite: WatchedSuite) -> Watch:
    watch = suite.watch()
    if watch is None:
        found = not_open(suite.name)
        raise MeasurementUnavailable(found.reason, remedy=found.remedy or "")
    return watch


def _one_line(reason: str) -> str:
    """Return a reason; raises `UsageInvalid` unless it is a printable line."""
    if not reason.strip() or not reason.isprintable():
        raise UsageInvalid(f"--reason is one line of text, not {escape_text(reason)!r}")
    return reason


def _cell_lines(epoch: Epoch, before: Epoch | None) -> Iterator[str]:
    """Yield the references, and those of the epoch before."""
    known: Mapping[str, WatchedCell] = {} if before is None else before.cells
    for name, cell in epoch.cells.items():
        former = known.get(name)
        word = (
            "new" if former is None else "kept" if former.reference == cell.reference else "moved"
        )
        yield f"{word:<10} {cell.source}/{name}: {_reference(cell)}"
        if former is not None and former.reference != cell.reference:
            yield f"           before: {_reference(former)}"
    for name in known:
        if name not in epoch.cells:
            yield f"removed    {name}"
    if before is not None and all(
        name in known and known[name].reference == cell.reference
        for name, cell in epoch.cells.items()
    ):
        yield (
            "every reference is that of the epoch before: if the service has changed, first record "
            f"it as it is now: repro-gate record-baseline --suite {epoch.suite} --again"
        )


def _reference(cell: WatchedCell) -> str:
    reference = cell.reference
    value, far = nats(reference.value), nats(reference.far)
    return f"median {value} nats, outliers further than {far} from it"


def _epoch_lines(epoch: Epoch, plan: LogprobPlan) -> Iterator[str]:
    """Yield what a night costs, the rate, and what can be found."""
    calls = epoch.draws * len(epoch.cells)
    tokens = tokens_of_night(epoch, plan)
    yield (
        f"epoch      {epoch.digest[:DIGEST_LENGTH]}: {plural(epoch.draws, 'draw')} of "
        f"{plural(len(epoch.cells), 'cell')} a night, {calls} calls, {cost_words(tokens, plan)}"
    )
    yield (
        f"rate       at most {percent(epoch.rate)} of unchanged services have an alarm in "
        f"{epoch.nights} nights"
    )
    for quiet in _SHOWN_NIGHTS:
        suite, cell = (nights_to_alarm(quiet, threshold) for threshold in thresholds_of(epoch))
        yield (
            f"sight      after {quiet} nights without a change: a change of all cells "
            f"{_found(suite)}, one of a single cell {_found(cell)}"
        )


def _found(nights: int | None) -> str:
    return "is not found" if nights is None else f"is found after {plural(nights, 'night')} or more"
