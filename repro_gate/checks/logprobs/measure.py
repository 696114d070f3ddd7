"""Measure one suite: a first look at every cell, and a second one where it is needed."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from repro_gate.checks.logprobs.collect import Comparison, DrawCollector, DrawSet, vectors_of
from repro_gate.checks.logprobs.controls import run_prompt_controls
from repro_gate.checks.logprobs.preflight import Preflight
from repro_gate.core.logprobs.baseline import Baseline
from repro_gate.core.logprobs.draw import Draw
from repro_gate.core.logprobs.error_rates import FIRST_WAVE
from repro_gate.core.logprobs.policy import LogprobCell, LogprobPlan, Tolerance
from repro_gate.core.logprobs.report import LogprobControl
from repro_gate.core.logprobs.sessions import time_of
from repro_gate.core.tokens.golden import Facts
from repro_gate.ports import BaselineReader, DrawLog, Progress, Purpose, Scorer
from repro_gate.statistics.cell import confirm, is_suspicious
from repro_gate.statistics.early_stop import is_decided
from repro_gate.statistics.permutation import Floats, as_array
from repro_gate.statistics.suite import WholeLook

_BATCH = 256
"""Cells whose draws and baselines are in memory at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogprobPorts:
    """The ports of a log-probability check."""

    scorer: Scorer
    baselines: BaselineReader
    log: DrawLog
    progress: Progress
    wait: Callable[[datetime | None, float], float]
    """Waits until so many seconds have passed since a time, or since now if it is not known, and
    returns how long that took in seconds."""


class SuiteRunner:
    """Measures the comparable cells of a suite; its state is valid after an interruption too."""

    def __init__(self, plan: LogprobPlan, preflight: Preflight, *, ports: LogprobPorts) -> None:
        self._plan = plan
        self._preflight = preflight
        self._ports = ports
        self.collector = DrawCollector(scorer=ports.scorer, log=ports.log, progress=ports.progress)
        self.measured: dict[str, Comparison] = {}
        """By the id of the cell."""
        self.controls = dict[str, LogprobControl]()
        """By the name of the policy."""
        self.recorded_facts = dict[str, Facts]()
        """The provenance of a baseline of each policy, by its name."""
        self.suite_test = WholeLook(seed=preflight.fingerprint, second_look=False)
        """The test over all cells, for the last look at all of them."""
        self._first_ended: datetime | None = None
        """When the last draw of a first look was made, also of an interrupted check."""
        self._in_full = plan.suite.controlled | {
            policy.name for policy in plan.policies if policy.by_distance
        }
        """Policies whose first looks never stop early: the A/A control needs all draws, and no
        bound is known for the distance over all tokens."""

    @property
    def _tolerance(self) -> Tolerance:
        return self._plan.suite.tolerance

    def measure(self) -> None:
        """Draw until every cell is decided."""
        cells = self._preflight.comparable
        if not cells:
            return
        self._plan_draws(cells)
        for batch in _batches(cells):
            self._first_look(self._read(batch))
        second = None
        again = [one.cell for one in self.measured.values() if one.baseline is not None]
        if self.suite_test.is_suspicious:
            second = WholeLook(seed=self._preflight.fingerprint, second_look=True)
            again = [one.cell for one in self.measured.values() if one.problem is None]
        if again and self._tolerance.second_look_after_s:
            waited = self._ports.wait(self._first_ended, self._tolerance.second_look_after_s)
            self._ports.scorer.paused(waited)
        self._plan_draws(again)
        for batch in _batches(again):
            self._second_look(self._read(batch), suite_test=second)
        self.suite_test = second or self.suite_test

    def _plan_draws(self, cells: Iterable[LogprobCell]) -> None:
        self._ports.progress.started((cell, self._tolerance.draws) for cell in cells)

    def _read(self, cells: Iterable[LogprobCell]) -> dict[str, Baseline]:
        read: dict[str, Baseline] = {}
        for cell in cells:
            source = self._preflight.sources[cell.policy.name]
            baseline = read[cell.id] = self._ports.baselines.read(source, cell.id)
            self.recorded_facts.setdefault(cell.policy.name, baseline.provenance)
            self.measured.setdefault(
                cell.id,
                Comparison(
                    cell=cell,
                    source=source,
                    center=baseline.noise.center,
                    calibration_totals=baseline.totals,
                ),
            )
        return read

    def _first_look(self, baselines: Mapping[str, Baseline]) -> None:
        looks = self._looks(baselines, Purpose.FIRST_LOOK)
        planned = self._tolerance.draws
        calibration = {name: as_array(baseline.draws) for name, baseline in baselines.items()}
        self._fill(dict.fromkeys(looks, FIRST_WAVE), looks)
        remaining = [name for name, look in looks.items() if not look.has_failed]
        for name in remaining:
            # The same number of draws of every cell: a number that depends on them adds bias.
            first = looks[name].usable[:FIRST_WAVE]
            _add(self.suite_test, looks[name].cell, baselines[name], first)
        run_prompt_controls(
            self.controls,
            [(looks[name], baselines[name]) for name in remaining],
            collector=self.collector,
        )
        for count in range(FIRST_WAVE + 1, planned + 1):
            remaining = [
                name
                for name in remaining
                if not looks[name].has_failed
                and (
                    looks[name].cell.policy.name in self._in_full
                    or not is_decided(calibration[name], _usable(looks[name]), planned=planned)
                )
            ]
            self._fill(dict.fromkeys(remaining, count), looks)
        for name, look in looks.items():
            self._finish_first(look, baselines[name])
            self._ports.progress.skipped(look.cell, runs=max(0, planned - look.asked))

    def _fill(self, wanted: Mapping[str, int], looks: Mapping[str, DrawSet]) -> None:
        try:
            self.collector.fill(wanted, looks)
        finally:
            # An interruption loses the draws of unfinished looks, but no finding.
            for name in wanted:
                self.measured[name].note_problem(looks[name])

    def _finish_first(self, look: DrawSet, baseline: Baseline) -> None:
        for draw in look.draws:
            with suppress(ValueError, OverflowError):
                made = time_of(draw.facts.at)
                self._first_ended = max(made, self._first_ended or made)
        comparison = self.measured[look.cell.id]
        new = comparison.take(look, baseline, floor=self._tolerance.floor_nats)
        if comparison.problem is None:
            comparison.saved = max(0, self._tolerance.draws - len(new))
        is_complete = comparison.problem is None and not comparison.saved
        if is_complete and _is_suspicious(look.cell, baseline, new):
            comparison.baseline, comparison.first = baseline, new
        else:
            comparison.is_decided = True

    def _second_look(
        self, baselines: Mapping[str, Baseline], *, suite_test: WholeLook | None
    ) -> None:
        looks = self._looks(baselines, Purpose.SECOND_LOOK)
        self._fill(dict.fromkeys(looks, self._tolerance.draws), looks)
        for name, look in looks.items():
            comparison, baseline = self.measured[name], baselines[name]
            second = comparison.take(look, baseline, floor=self._tolerance.floor_nats)
            if comparison.first and comparison.problem is None:
                vectors = vectors_of(look.cell, baseline, comparison.first, second)
                comparison.confirmed = confirm(
                    vectors.calibration,
                    *vectors.looks,
                    by_distance=look.cell.policy.by_distance,
                )
                comparison.new = (*comparison.first, *second)
            if suite_test is not None and comparison.problem is None:
                # A cell that may have drifted by itself is added once that is decided.
                waits_as = None if comparison.confirmed is None else name
                draws = second[: self._tolerance.draws]
                _add(suite_test, look.cell, baseline, draws, waits_as=waits_as)
            comparison.is_decided = True

    def _looks(self, baselines: Mapping[str, Baseline], purpose: Purpose) -> dict[str, DrawSet]:
        return {
            name: DrawSet(
                cell=self.measured[name].cell,
                encoding=baseline.encoding,
                purpose=purpose,
                answers_as=baseline.answered_as,
                noise=baseline.noise,
                factor=self._tolerance.outlier_factor,
            )
            for name, baseline in baselines.items()
        }


def _add(
    suite_test: WholeLook,
    cell: LogprobCell,
    baseline: Baseline,
    draws: Sequence[Draw],
    *,
    waits_as: str | None = None,
) -> None:
    """Add the draws of a cell to the test of the suite."""
    vectors = vectors_of(cell, baseline, draws)
    suite_test.add(
        vectors.calibration,
        *vectors.looks,
        sizes=baseline.sizes,
        by_distance=cell.policy.by_distance,
        waits_as=waits_as,
    )


def _is_suspicious(cell: LogprobCell, baseline: Baseline, draws: Sequence[Draw]) -> bool:
    vectors = vectors_of(cell, baseline, draws)
    return is_suspicious(vectors.calibration, *vectors.looks, by_distance=cell.policy.by_distance)


def _usable(look: DrawSet) -> Floats:
    return as_array([draw.logprobs for draw in look.usable])


def _batches(cells: Iterable[LogprobCell]) -> Iterator[Sequence[LogprobCell]]:
    rest = iter(cells)
    while batch := list(islice(rest, _BATCH)):
        yield batch
