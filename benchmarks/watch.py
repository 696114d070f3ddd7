"""How often the watch alarms without a cause, and how many nights a change takes: by simulation.

    python -m benchmarks.watch [--years N] [--runs N] [--processes N] [--quick]

Runs the product's own rule on simulated nights of 20 cells with 5 draws each, and prints Markdown:
* years of 365 nights with an alarm though nothing has changed, for four kinds of noise, beside
  other rules, with exact (Clopper-Pearson) intervals;
* the same where the assumption of the rule is broken;
* nights until the alarm for changes (a) to (f), after 10, 30 and 100 quiet nights, beside a rule
  that knows the noise and the change;
* and what was not found.

The same arguments give the same numbers, however many processes there are. Noise: "atom": 90 % of
the draws repeat, the others are off by a published difference; "gauss": sd 1; "session atom": a
whole night of a cell repeats one value, off in 10 % of them; "session gauss": a part of the night
that all cells share (sd 0.2), one of each cell (0.5), and the draws (0.5).
"""

import argparse
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import TypeAlias

import numpy as np
from scipy.stats import binomtest

from benchmarks.night_rivals import NIGHTLY, PRODUCT, RIVALS, THREE_SDS, Alarms, knows_everything
from benchmarks.simulated_nights import (
    CELLS,
    CHANGES,
    DRAWS,
    NOISES,
    REGIMES,
    YEAR,
    watched,
    world_of,
)
from repro_gate.core.watch.night import Night
from repro_gate.core.watch.state import WatchReport, WatchState, thresholds_of
from repro_gate.statistics.night_ranks import earlier_at_least, evidence_of
from repro_gate.statistics.watch import evaluate
from tests.fakes.nights import watch_of

Found: TypeAlias = int | None
"""The night of the first alarm, 1 being the first changed one; None for no alarm."""
Map: TypeAlias = Callable[[Callable[[int], Found], int], Sequence[Found]]

_TITLE = """# False alarms and delays of the watch

[How to read it](../../../explanation/watching.md). 20 cells, 5 draws a cell and night. Noise:

- atom: 90 % of the draws repeat, the others are off by a published difference
- gauss: standard deviation 1
- session atom: a night of a cell repeats one value, off in 10 % of the nights
- session gauss: parts of the night of all cells (sd 0.2) and of each cell (0.5), and draws (0.5)

Intervals are exact (Clopper-Pearson), 95 %.
"""
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_QUIET_NIGHTS = (10, 30, 100)
_RIVAL_QUIET = 30
_NOT_TIMED = (NIGHTLY, THREE_SDS)
"""Rules that alarm so often without a change that a delay means nothing."""
_EXACT = (NIGHTLY, PRODUCT)
_KNOWN = {"(a) one item -0.3": (0.3, True), "(b) all items -0.05": (0.05, False)}
_MISSING = 0.2
_FEWER_DRAWS, _FEWER_FROM = 2, 100
_WEAK, _WEAK_NIGHTS = (3.0, 2.0, 1.0, 0.5), 265
_UNSEEN = 0.5
"""A change that is found less often is listed as not found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is simulated."""

    years: int
    runs: int
    rival_years: int
    rival_runs: int

    @property
    def broken_years(self) -> int:
        """Years of each way to break the assumption."""
        return max(2, self.years // 8)

    def years_of(self, rival: str) -> int:
        """Return for how many years a rival is simulated."""
        return max(2, self.rival_years // 3) if rival in _EXACT else self.rival_years


def first_alarm(report: WatchReport, nights: Sequence[Night], start: int) -> Found:
    """Return the night of the first alarm since a start, or None."""
    found = [nights.index(alarm.night) - start + 1 for alarm in report.alarms]
    return min((night for night in found if night > 0), default=None)


def watch_alarm(number: int, *, noise: str, quiet: int = YEAR, change: str | None = None) -> Found:
    """Return when the watch alarms in a world: in its year, or after a change."""
    watch, nights = watched(world_of(noise, number, nights=quiet, change=change))
    return first_alarm(evaluate(watch, nights), nights, 0 if change is None else quiet)


def rival_alarm(
    number: int, *, rule: str, noise: str, quiet: int = YEAR, change: str | None = None
) -> Found:
    """Return when a rival alarms in a world."""
    world = world_of(noise, number, nights=quiet, change=change)
    return _first(RIVALS[rule](world), 0 if change is None else quiet)


def known_alarm(number: int, *, quiet: int, change: str) -> Found:
    """Return when a rule that knows the Gaussian noise and the change alarms."""
    nats, is_one_item = _KNOWN[change]
    world = world_of("gauss", number, nights=quiet, change=change)
    return _first(knows_everything(world, nats=nats, is_one_item=is_one_item), quiet)


def _first(alarms: Alarms, start: int) -> Found:
    after = alarms[start:]
    return int(after.argmax()) + 1 if after.any() else None


def alarm_with_missing_nights(number: int, *, noise: str) -> Found:
    """Return when the watch alarms in a year without a fifth of its nights, chosen by chance."""
    watch, nights = watched(world_of(noise, number))
    generator = np.random.default_rng(number)
    kept = [night for night in nights if generator.random() >= _MISSING]
    return first_alarm(evaluate(watch, kept), nights, 0)


def alarm_with_fewer_draws(number: int, *, noise: str) -> Found:
    """Return when the watch would alarm if nights with fewer draws were counted as others.

    Repeated draws give the same medians, means and shares as fewer ones.
    """
    world = world_of(noise, number)
    many, few = world.nights[:_FEWER_FROM], world.nights[_FEWER_FROM:, :, :_FEWER_DRAWS]
    same = [np.repeat(many, _FEWER_DRAWS, axis=2), np.repeat(few, DRAWS, axis=2)]
    watch, nights = watched(replace(world, nights=np.concatenate(same)))
    return first_alarm(evaluate(watch, nights), nights, 0)


def is_unknown_with_fewer_draws(number: int, *, noise: str) -> Found:
    """Return the first night with fewer draws if the watch counts none of them, else None."""
    watch, nights = watched(world_of(noise, number))
    fewer = [
        replace(night, totals={cell: each[:_FEWER_DRAWS] for cell, each in night.totals.items()})
        for night in nights[_FEWER_FROM:]
    ]
    report = evaluate(watch, [*nights[:_FEWER_FROM], *fewer])
    return _FEWER_FROM + 1 if report.state is WatchState.UNKNOWN and not report.alarms else None


def rate_text(found: Sequence[Found]) -> str:
    """Return how many worlds have an alarm, with an exact interval."""
    alarms, worlds = sum(each is not None for each in found), len(found)
    bounds = binomtest(alarms, worlds).proportion_ci(0.95, method="exact")
    share = f"{100 * alarms / worlds:.2f} % ({100 * bounds.low:.2f} to {100 * bounds.high:.2f})"
    return f"{share}, {alarms} of {worlds}"


def delay_text(found: Sequence[Found], within: int) -> str:
    """Return the median nights until the alarm, and how many of the changes were found."""
    delays = [each if each is not None and each <= within else within + 1 for each in found]
    share = sum(delay <= within for delay in delays) / len(delays)
    if share == 0:
        return "0%"
    middle = median(delays)
    return f"{f'>{within}' if middle > within else f'{middle:g}'}; {100 * share:.0f}%"


def weak_alarm(number: int, *, quiet: int, deviations: float) -> Found:
    """Return when a stream of the suite alarms after a shift in its own standard deviations."""
    generator = np.random.default_rng([quiet, number])
    values = generator.normal(size=(quiet + _WEAK_NIGHTS, 1))
    values[quiet:] += deviations
    suite, _ = thresholds_of(watch_of(CELLS).epoch)
    return _first(evidence_of(earlier_at_least(values))[:, 0] >= suite, quiet)


def _is_seen(found: Sequence[Found], within: int) -> bool:
    seen = sum(each is not None and each <= within for each in found)
    return seen >= _UNSEEN * len(found)


def main() -> None:
    """Simulate and print."""
    arguments = _arguments()
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    scale = Scale(
        years=arguments.years or (8 if arguments.quick else 2000),
        runs=arguments.runs or (2 if arguments.quick else 50),
        rival_years=3 if arguments.quick else 60,
        rival_runs=2 if arguments.quick else 20,
    )
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.processes, mp_context=context) as pool:

        def simulate(alarm: Callable[[int], Found], count: int) -> Sequence[Found]:
            return list(pool.map(alarm, range(count), chunksize=max(1, min(10, count // 8))))

        print(_TITLE)
        _print_lines(_false_alarms(scale, simulate))
        _print_lines(_broken(scale, simulate))
        _print_lines(_delays(scale, simulate))
        _print_lines(_weak(scale, simulate))
        _print_lines(_rival_delays(scale, simulate))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--years", type=int, help="without a change, for each noise")
    parser.add_argument("--runs", type=int, help="with each change, for each noise")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="at the same time")
    parser.add_argument("--quick", action="store_true", help="little of everything")
    return parser.parse_args()


def _false_alarms(scale: Scale, simulate: Map) -> Iterator[str]:
    yield "## Years with an alarm though nothing changed\n"
    yield from _head("rule", NOISES)
    rates = (rate_text(simulate(partial(watch_alarm, noise=one), scale.years)) for one in NOISES)
    yield _row("**the watch, stated: 1 %**", rates)
    for rule in RIVALS:
        alarm = partial(rival_alarm, rule=rule)
        count = scale.years_of(rule)
        rates = (rate_text(simulate(partial(alarm, noise=one), count)) for one in NOISES)
        yield _row(rule, rates)


def _broken(scale: Scale, simulate: Map) -> Iterator[str]:
    yield "\n## Where the assumption is broken, or a night is missing\n"
    yield from _head("years with an alarm", NOISES)
    cases = {
        "a fifth of the nights missing by chance (allowed)": alarm_with_missing_nights,
        "5 draws, then 2 from night 101 on, if they were counted": alarm_with_fewer_draws,
        "the same: years in which the watch is `unknown` instead": is_unknown_with_fewer_draws,
    }
    for label, alarm in cases.items():
        count = scale.broken_years
        yield _row(label, (rate_text(simulate(partial(alarm, noise=one), count)) for one in NOISES))
    found = simulate(partial(watch_alarm, noise=REGIMES), scale.broken_years)
    yield (
        "\nTwo backends that each stay for 7 nights on average, cells moved by N(0, 0.2), draws as "
        f"in atom: {rate_text(found)}."
    )


def _delays(scale: Scale, simulate: Map) -> Iterator[str]:
    yield "\n## Nights until the alarm of the watch (median; share found)\n"
    yield from _head("change", ("nights before", *NOISES, "knows everything (gauss)"))
    unseen: list[str] = []
    for label, change in CHANGES.items():
        for quiet in _QUIET_NIGHTS:
            alarm = partial(watch_alarm, quiet=quiet, change=label)
            found = {one: simulate(partial(alarm, noise=one), scale.runs) for one in NOISES}
            known = ""
            if label in _KNOWN:
                best = simulate(partial(known_alarm, quiet=quiet, change=label), scale.runs)
                known = delay_text(best, change.within)
            texts = (delay_text(each, change.within) for each in found.values())
            yield _row(f"{label}; within {change.within}", (str(quiet), *texts, known))
            missed = [one for one, each in found.items() if not _is_seen(each, change.within)]
            if missed:
                nights = f"after {quiet} quiet nights within {change.within}"
                unseen.append(f"- {label}, {nights}: {', '.join(missed)}")
    yield f"\n## Not found (in fewer than {100 * _UNSEEN:.0f} % of runs)\n"
    yield from unseen


def _weak(scale: Scale, simulate: Map) -> Iterator[str]:
    yield "\n## A shift in standard deviations of a stream from night to night\n"
    yield f"Of a stream of the suite with normal noise; within {_WEAK_NIGHTS} nights.\n"
    yield from _head("nights before", (f"{each:g} sd" for each in _WEAK))
    for quiet in (*_QUIET_NIGHTS, YEAR):
        alarm = partial(weak_alarm, quiet=quiet)
        found = (simulate(partial(alarm, deviations=each), scale.runs) for each in _WEAK)
        yield _row(str(quiet), (delay_text(each, _WEAK_NIGHTS) for each in found))


def _rival_delays(scale: Scale, simulate: Map) -> Iterator[str]:
    yield f"\n## Rivals after {_RIVAL_QUIET} quiet nights (median; share found)\n"
    yield "A delay means little where the first table shows that the rule alarms anyway.\n"
    yield from _head("change", ("rule", *NOISES))
    for label, change in CHANGES.items():
        for rule in (each for each in RIVALS if each not in _NOT_TIMED):
            alarm = partial(rival_alarm, rule=rule, quiet=_RIVAL_QUIET, change=label)
            found = (simulate(partial(alarm, noise=one), scale.rival_runs) for one in NOISES)
            yield _row(label, (rule, *(delay_text(each, change.within) for each in found)))


def _head(first: str, columns: Iterable[str]) -> Iterator[str]:
    names = tuple(columns)
    yield _row(first, names)
    yield f"|---|{'---:|' * len(names)}"


def _row(first: str, cells: Iterable[str]) -> str:
    return f"| {' | '.join((first, *cells))} |"


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, flush=True)


if __name__ == "__main__":
    main()
