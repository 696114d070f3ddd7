"""How often a check fails by a session alone, and what sessions in a baseline cost in power.

    python -m benchmarks.sessions [--suites N] [--processes N]

Runs the gate's own tests, bands and corrections on simulated suites of 20 cells, with baselines of
1, 3, 5 and 10 sessions of 10 draws, and prints Markdown:
* suites with drift though nothing has changed, for a variance between sessions of 0, 1 and 4 times
  that within, and for noise that is constant within a session, with exact (Clopper-Pearson)
  intervals; once with a second look in the session of the first, and once in another session;
* suites in which a change is found, the second look in another session.

The first looks do not stop early, and 20,000 divisions of both looks are sampled where there are
more; the same arguments give the same numbers.
"""

import argparse
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

import numpy as np
from scipy.stats import binomtest

from repro_gate.core.logprobs.draw import Encoding, Piece
from repro_gate.core.logprobs.error_rates import CELLS_SHARE, FIRST_WAVE
from repro_gate.core.logprobs.policy import Tolerance
from repro_gate.core.logprobs.report import SuiteVerdict
from repro_gate.statistics.cell import Confirmed, confirm, effect_of, is_suspicious
from repro_gate.statistics.permutation import Floats, holm
from repro_gate.statistics.sessions import floors_of
from repro_gate.statistics.suite import WholeLook

Generator: TypeAlias = np.random.Generator

CELLS: Final = 20
SESSIONS: Final = (1, 3, 5, 10)
CONSTANT: Final = "constant"
NOISES: Final[Mapping[str, float | str]] = {
    "no difference": 0.0,
    "B / W = 1": 1.0,
    "B / W = 4": 4.0,
    "constant within a session": CONSTANT,
}
CHANGED_NOISES: Final = ("no difference", "B / W = 1")
CHANGES: Final = {"one item by 4": (4.0, 1), "every item by 1": (1.0, CELLS)}
"""The shift, in standard deviations within a session (of 1 nat), and of how many items."""
_TOLERANCE = Tolerance()
_LIMIT = 20_000
_OFF_SHARE, _OFF_NATS = 0.1, 1.56
"""The published noise of a hosted service, here of a whole session of a cell."""
_ENCODING = Encoding(prompt=(), response=(Piece(1, b"x"),))
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The suites of one row and column."""

    noise: float | str
    sessions: int
    shift: float = 0.0
    items: int = 0
    """How many of them are shifted."""


def drawn(task: Task, count: int, generator: Generator) -> Floats:
    """Return cells x draws x 1 of a new session, in nats, before any change."""
    if isinstance(task.noise, str):
        off = generator.random((CELLS, 1)) < _OFF_SHARE
        session = np.where(off, generator.normal(0, _OFF_NATS, (CELLS, 1)), 0.0)
        draws = np.repeat(session, count, axis=1)
    else:
        session = generator.normal(0, task.noise**0.5, (CELLS, 1))
        draws = session + generator.normal(0, 1, (CELLS, count))
    return draws[:, :, np.newaxis] - 50.0


def has_drift(task: Task, seed: int) -> tuple[bool, bool]:
    """Return whether a suite has drift, with a second look in the same and in another session."""
    generator = np.random.default_rng([task.sessions, task.items, seed])
    sizes = [_TOLERANCE.calibration_draws] * task.sessions
    calibration = np.concatenate([drawn(task, size, generator) for size in sizes], axis=1)
    now, later = (drawn(task, 2 * _TOLERANCE.draws, generator) for _ in range(2))
    for new in (now, later):
        new[: task.items] -= task.shift
    first = now[:, : _TOLERANCE.draws]
    second = now[:, _TOLERANCE.draws :], later[:, _TOLERANCE.draws :]
    suspicious = [n for n in range(CELLS) if is_suspicious(calibration[n], first[n])]
    whole = WholeLook(seed=f"{seed:08x}", second_look=False)
    for n in range(CELLS):
        whole.add(calibration[n], first[n, :FIRST_WAVE], sizes=sizes)

    def fails(again: Floats) -> bool:
        looks, is_whole = (first, again), whole.is_suspicious
        return _fails(calibration, looks, suspicious, sizes=sizes, whole=is_whole)

    # The power is of interest with another session only.
    return not task.items and fails(second[0]), fails(second[1])


def _fails(
    calibration: Floats,
    looks: tuple[Floats, Floats],
    suspicious: list[int],
    *,
    sizes: list[int],
    whole: bool,
) -> bool:
    first, second = looks
    confirmed = {
        n: result
        for n in suspicious
        if (result := confirm(calibration[n], first[n], second[n], limit=_LIMIT)) is not None
    }
    adjusted = holm({n: each.p_value for n, each in confirmed.items()}, tests=CELLS)
    if any(
        _drifts(each, adjusted[n], calibration[n], np.concatenate([first[n], second[n]]), sizes)
        for n, each in confirmed.items()
    ):
        return True
    if not whole:
        return False
    look = WholeLook(seed="1", second_look=True)
    for n in range(CELLS):
        look.add(calibration[n], second[n], sizes=sizes)
    return look.result(_TOLERANCE).verdict is SuiteVerdict.DRIFT


def _drifts(
    found: Confirmed, adjusted: float, calibration: Floats, new: Floats, sizes: list[int]
) -> bool:
    level = CELLS_SHARE * _TOLERANCE.false_alarm_rate
    significant = found.significant(adjusted, level=level)
    if not significant:
        return False
    floor = floors_of(calibration, sizes, floor=_TOLERANCE.floor_nats)
    _, is_beyond = effect_of(significant, draws=(calibration, new), floor=floor, of=_ENCODING)
    return is_beyond


def _run(suites: int, task: Task) -> tuple[int, int]:
    found = [has_drift(task, seed) for seed in range(suites)]
    return sum(same for same, _ in found), sum(other for _, other in found)


def _rate(count: int, of: int) -> str:
    interval = binomtest(count, of).proportion_ci(0.95, method="exact")
    return f"{count / of:.0%} ({interval.low:.1%} to {interval.high:.1%})"


def _report(suites: int, results: dict[Task, tuple[int, int]]) -> Iterator[str]:
    header = " | ".join(f"{each} session{'s' * (each > 1)}" for each in SESSIONS)
    rule = "|---" * (1 + len(SESSIONS)) + "|"
    yield "# What sessions do to the stated rate\n"
    yield "[How to read it](../../../explanation/log-probabilities.md#sessions)."
    cells = f"{suites} suites of {CELLS} cells"
    yield f"Share of {cells} at a stated rate of 1 %, with exact intervals of"
    yield "95 %. The standard deviation within a session is 1 nat, the floor 0.1 nats.\n"
    for place, where in enumerate(("the session of the first", "another session")):
        yield f"## Drift though nothing changed, the second look in {where}\n"
        yield f"| between sessions | {header} |"
        yield rule
        for name, noise in NOISES.items():
            row = [results[Task(noise=noise, sessions=each)][place] for each in SESSIONS]
            yield f"| {name} | {' | '.join(_rate(count, suites) for count in row)} |"
        yield ""
    yield "## Changes found, the second look in another session\n"
    yield f"| change, between sessions | {header} |"
    yield rule
    for name in CHANGES:
        for noise in CHANGED_NOISES:
            row = [results[_changed(name, noise, each)][1] for each in SESSIONS]
            yield f"| {name}, {noise} | {' | '.join(_rate(count, suites) for count in row)} |"


def _changed(name: str, noise: str, sessions: int) -> Task:
    shift, items = CHANGES[name]
    return Task(noise=NOISES[noise], sessions=sessions, shift=shift, items=items)


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--suites", type=int, default=40)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args()
    # Each process uses one core; small products gain nothing from more.
    os.environ |= dict.fromkeys(_THREADS, "1")
    tasks = [Task(noise=noise, sessions=each) for noise in NOISES.values() for each in SESSIONS]
    tasks += [
        _changed(name, noise, each)
        for name in CHANGES
        for noise in CHANGED_NOISES
        for each in SESSIONS
    ]
    with ProcessPoolExecutor(options.processes) as pool:
        results = dict(zip(tasks, pool.map(partial(_run, options.suites), tasks), strict=True))
    print("\n".join(_report(options.suites, results)))


if __name__ == "__main__":
    main()
