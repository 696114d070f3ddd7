"""How often the logprob gate alarms without a cause, and what it detects: by simulation.

    python -m benchmarks.logprob_power [--matrices N] [--detections N] [--processes N] [--quick]

Runs the gate's own recording and check on simulated services, 60 cells each, with the default
tolerance: 10 calibration draws, two looks of 5. Prints, for a service that mostly repeats itself
and for one that never does:
* false alarms when nothing has changed, with exact (Clopper-Pearson) intervals, and the calls;
* how often changes are detected, beside rivals that get the same calibration draws, about as many
  calls (5 new draws of every cell), and the same rate of false alarms: mean +- k standard
  deviations, exact equality, and the logprob test of arXiv 2512.03816 (LT) on the five likeliest
  first tokens. Their thresholds come from the simulated service itself, whose noise they so know in
  advance, as the gate does not;
* every change that a rival detects more often, beyond chance;
* what looks of 6 draws detect of changes of one item.

And at the end false alarms of suites of 5 and of 20 cells, and how often an outlier is flagged
among normal draws, beside the formula.

"seen" counts notes too: a certain change of less than the floor is no finding on purpose. "cannot"
is a rival that has no threshold at which it keeps the rate. The same arguments give the same
numbers, however many processes there are. `--quick` simulates little, and no quantised models.
"""

import argparse
import multiprocessing
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from benchmarks.power_tables import (
    Point,
    losses,
    null_lines,
    point_of,
    power_head,
    power_row,
    threshold_line,
    thresholds,
)
from benchmarks.quantised_models import quantised_models
from benchmarks.simulated_matrices import TOLERANCE, Result, Task, simulate
from benchmarks.simulated_worlds import (
    CELLS,
    Change,
    Measured,
    MovedItems,
    MovedToken,
    Nothing,
    Swapped,
)
from repro_gate.core.logprobs.error_rates import outlier_alarm_rate
from repro_gate.core.logprobs.policy import Tolerance
from tests.fakes.scoring import Mixture

Simulate: TypeAlias = Callable[[Sequence[Task]], Iterable[Result]]

_SERVICES = {
    "a service that mostly repeats itself": Mixture(share=0.1, sd=1.56),
    "a service that never does": Mixture(share=1.0, sd=1.56),
}
_CHANGES: tuple[Change, ...] = (
    *(MovedItems(nats, is_everywhere=False) for nats in (0.1, 0.3, 1.0, 2.0, 4.0, 6.0)),
    *(MovedItems(nats, is_everywhere=True) for nats in (0.01, 0.1, 0.3, 1.0, 2.0, 4.0)),
    *(MovedToken(nats, is_hidden=False) for nats in (0.25, 0.5, 1.0, 2.0)),
    *(MovedToken(nats, is_hidden=True) for nats in (0.25, 0.5, 1.0, 2.0)),
    Swapped(),
)
_FEW_CHANGES: tuple[Change, ...] = (
    MovedItems(4.0, is_everywhere=False),
    MovedToken(2.0, is_hidden=True),
)
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_LONGER_LOOKS = Tolerance(draws=6)
_SMALL_SUITES = (5, 20)
_FACTORS = (5.0, 10.0, 20.0)
_TAIL_CHUNK = 200_000
_NORMAL_MAD = 1.4826


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    """How much is simulated."""

    matrices: int
    detections: int
    changes: tuple[Change, ...]
    tail_chunks: int


def main() -> None:
    """Simulate and print."""
    arguments = _arguments()
    # The processes are as many as the cores; read when they import numpy.
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    changes = _FEW_CHANGES
    if not arguments.quick:
        measured = quantised_models()
        _print_distances(measured)
        changes = (*_CHANGES, *measured)
    scale = _Scale(
        matrices=arguments.matrices or (30 if arguments.quick else 2000),
        detections=arguments.detections or (4 if arguments.quick else 100),
        changes=changes,
        tail_chunks=1 if arguments.quick else 100,
    )
    # Not forked: a copy of a process with the threads of an engine can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.processes, mp_context=context) as pool:

        def run(tasks: Sequence[Task]) -> Iterable[Result]:
            return pool.map(simulate, tasks, chunksize=4)

        for name, noise in _SERVICES.items():
            _service(name, noise, scale, run)
        for cells in _SMALL_SUITES:
            _small_suite(cells, scale, run)
    _print_tail(scale.tail_chunks)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--matrices", type=int, help="without a change, for each service")
    parser.add_argument("--detections", type=int, help="matrices with each change")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="at the same time")
    parser.add_argument("--quick", action="store_true", help="little, no quantised models")
    return parser.parse_args()


def _service(name: str, noise: Mixture, scale: _Scale, run: Simulate) -> None:
    print(f"\n## {name.capitalize()}\n")
    null = list(run(_tasks(name, noise, Nothing(), scale.matrices)))
    _print_lines(null_lines(null))
    limits = thresholds(null)
    print(f"\n{threshold_line(limits)}\n")
    _print_lines(power_head())
    points: list[Point] = []
    for change in scale.changes:
        # Where most draws coincide, such a change makes every cell suspicious, which takes long,
        # and is so plain that few matrices show it.
        is_slow = change.is_everywhere and noise.share < 1
        count = max(1, scale.detections // 4) if is_slow else scale.detections
        results = list(run(_tasks(name, noise, change, count)))
        points.append(point_of(change.label, results, limits))
        _print_lines([power_row(points[-1])])
    lost = list(losses(points))
    print(f"\nA rival detects more, beyond chance: {len(lost)} of {len(points)} changes.")
    _print_lines(lost)
    _longer_looks(name, noise, scale, run)


def _longer_looks(name: str, noise: Mixture, scale: _Scale, run: Simulate) -> None:
    print(f"\nWith looks of {_LONGER_LOOKS.draws} draws:\n")
    _print_lines(power_head(rivals=()))
    for change in scale.changes:
        if isinstance(change, MovedItems | MovedToken) and not change.is_everywhere:
            tasks = _tasks(name, noise, change, scale.detections)
            results = list(run([replace(task, tolerance=_LONGER_LOOKS) for task in tasks]))
            _print_lines([power_row(point_of(change.label, results, {}), rivals=())])


def _small_suite(cells: int, scale: _Scale, run: Simulate) -> None:
    for name, noise in _SERVICES.items():
        tasks = _tasks(f"{name}, {cells} cells", noise, Nothing(cells=cells), scale.matrices)
        results = list(run([replace(task, with_stated=False) for task in tasks]))
        print(f"\n## {name.capitalize()}, {cells} cells\n")
        _print_lines(null_lines(results, cells=cells))


def _tasks(name: str, noise: Mixture, change: Change, count: int) -> list[Task]:
    is_null = isinstance(change, Nothing)
    return [
        Task(service=name, noise=noise, change=change, number=number, with_stated=is_null)
        for number in range(count)
    ]


def _print_distances(changes: Iterable[Measured]) -> None:
    print("Quantised models, by the responses that they score:")
    for change in changes:
        moved = change.world.after - change.world.before
        median = np.median(np.abs(moved.sum(axis=1)))
        print(
            f"- {change.label}: sums move by {median:.3f} nats (median), "
            f"tokens by up to {np.abs(moved).max():.3f}"
        )


def _print_tail(chunks: int) -> None:
    """Print how often a normal draw is flagged, measured and by the formula."""
    generator = np.random.default_rng(0)
    calibration = TOLERANCE.calibration_draws
    flagged = dict.fromkeys(_FACTORS, 0)
    for _ in range(chunks):
        draws = generator.normal(size=(_TAIL_CHUNK, calibration))
        center = np.median(draws, axis=1)
        scale = _NORMAL_MAD * np.median(np.abs(draws - center[:, np.newaxis]), axis=1)
        ratio = np.abs(generator.normal(size=_TAIL_CHUNK) - center) / scale
        for factor in _FACTORS:
            flagged[factor] += int((ratio > factor).sum())
    count = chunks * _TAIL_CHUNK
    print(f"\n## Outliers among normal draws, {calibration} calibration draws\n")
    for factor in _FACTORS:
        # With a single draw and no outlier allowed, the rate of alarms is that of one flag.
        one = Tolerance(draws=1, outlier_factor=factor, max_outlier_rate=0.0)
        formula = outlier_alarm_rate(one, 1)
        measured = flagged[factor] / count
        print(f"factor {factor:g}: measured {measured:.2e} of {count} draws, formula {formula:.2e}")
    stated = outlier_alarm_rate(TOLERANCE, CELLS)
    print(f"By the formula outliers are a finding in {stated:.1e} of matrices without a change.")


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, flush=True)


if __name__ == "__main__":
    main()
