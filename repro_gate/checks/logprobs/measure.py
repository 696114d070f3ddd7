"""The logprob gate: does this API still give the log-probabilities that were recorded?"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from repro_gate.checks.logprobs.collect import Comparison, DrawCollector, DrawSet
from repro_gate.checks.logprobs.controls import run_prompt_controls
from repro_gate.checks.logprobs.preflight import Preflight
from repro_gate.core.baselines import Baseline
from repro_gate.core.design import FIRST_WAVE
from repro_gate.core.goldens import Facts
from repro_gate.core.logprob_report import LogprobControl
from repro_gate.core.policies import LogprobCell, LogprobPlan, Tolerance
from repro_gate.ports import BaselineReader, DrawLog, Progress, Purpose, Scorer
from repro_gate.statistics.cells import confirm, is_suspicious
from repro_gate.statistics.curtailment import is_decided
from repro_gate.statistics.draws import as_array, joined
from repro_gate.statistics.labelings import Floats
from repro_gate.statistics.whole_look import WholeLook

_AT_ONCE = 256
"""Cells whose draws and baselines are held at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogprobPorts:
    """The neighbours of a logprob check."""

    scorer: Scorer
    baselines: BaselineReader
    log: DrawLog
    progress: Progress


class SuiteRunner:
    """Works through the comparable cells of a suite: a first look at each, a second where needed.

    What has been seen can be read at any time, also after an interruption.
    """

    def __init__(self, plan: LogprobPlan, found: Preflight, *, ports: LogprobPorts) -> None:
        self._plan = plan
        self._found = found
        self._ports = ports
        self.collector = DrawCollector(scorer=ports.scorer, log=ports.log, progress=ports.progress)
        self.seen: dict[str, Comparison] = {}
        """By the id of the cell."""
        self.controls = dict[str, LogprobControl]()
        """By the name of the policy."""
        self.recorded_facts = dict[str, Facts]()
        """The provenance of a baseline of each policy, by its name."""
        self.whole = WholeLook(seed=found.fingerprint, second_look=False)
        """The test over all cells, of the last look that was taken of all of them."""
        self._planned = 0
        self._in_full = plan.suite.controlled
        """Policies whose first looks do not end early: the A/A control needs all the draws."""

    @property
    def _tolerance(self) -> Tolerance:
        return self._plan.suite.tolerance

    def measure(self) -> None:
        """Draw until every cell is decided."""
        cells = self._found.comparable
        if not cells:
            return
        self._plan_draws(len(cells))
        for some in _in_parts(cells):
            self._first_look(self._read(some))
        second = None
        again = [seen.cell for seen in self.seen.values() if seen.baseline is not None]
        if self.whole.is_suspicious:
            second = WholeLook(seed=self._found.fingerprint, second_look=True)
            again = [seen.cell for seen in self.seen.values() if seen.problem is None]
        self._plan_draws(len(again))
        for some in _in_parts(again):
            self._second_look(self._read(some), whole=second)
        self.whole = second or self.whole

    def _plan_draws(self, cells: int) -> None:
        self._planned += cells * self._tolerance.draws
        self._ports.progress.started(cells=len(self._found.comparable), runs=self._planned)

    def _read(self, cells: Iterable[LogprobCell]) -> dict[str, Baseline]:
        read: dict[str, Baseline] = {}
        for cell in cells:
            source = self._found.sources[cell.policy.name]
            baseline = read[cell.id] = self._ports.baselines.read(source, cell.id)
            self.recorded_facts.setdefault(cell.policy.name, baseline.provenance)
            self.seen.setdefault(
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
        going_on = [name for name, look in looks.items() if not look.has_failed]
        for name in going_on:
            # The same number of draws of every cell: a number that depends on them would bias it.
            self.whole.add(calibration[name], _usable(looks[name])[:FIRST_WAVE])
        run_prompt_controls(
            self.controls,
            [(looks[name], baselines[name].draws) for name in going_on],
            collector=self.collector,
        )
        for count in range(FIRST_WAVE + 1, planned + 1):
            going_on = [
                name
                for name in going_on
                if not looks[name].has_failed
                and (
                    looks[name].cell.policy.name in self._in_full
                    or not is_decided(calibration[name], _usable(looks[name]), planned=planned)
                )
            ]
            self._fill(dict.fromkeys(going_on, count), looks)
        for name, look in looks.items():
            self._finish_first(look, baselines[name], calibration[name])
            self._ports.progress.skipped(look.cell, runs=max(0, planned - look.asked))

    def _fill(self, wanted: Mapping[str, int], looks: Mapping[str, DrawSet]) -> None:
        try:
            self.collector.fill(wanted, looks)
        finally:
            # An interruption takes the draws of unfinished looks with it, and no finding.
            for name in wanted:
                self.seen[name].note_problem(looks[name])

    def _finish_first(self, look: DrawSet, baseline: Baseline, calibration: Floats) -> None:
        seen = self.seen[look.cell.id]
        new = seen.take(look, baseline, floor=self._tolerance.floor_nats)
        if seen.problem is None:
            seen.saved = max(0, self._tolerance.draws - len(new))
        is_complete = seen.problem is None and not seen.saved
        if is_complete and is_suspicious(calibration, new):
            seen.baseline, seen.first = baseline, new
        else:
            seen.is_decided = True

    def _second_look(self, baselines: Mapping[str, Baseline], *, whole: WholeLook | None) -> None:
        looks = self._looks(baselines, Purpose.SECOND_LOOK)
        self._fill(dict.fromkeys(looks, self._tolerance.draws), looks)
        for name, look in looks.items():
            seen, baseline = self.seen[name], baselines[name]
            calibration = as_array(baseline.draws)
            second = seen.take(look, baseline, floor=self._tolerance.floor_nats)
            if seen.first is not None and seen.problem is None:
                seen.confirmed = confirm(calibration, seen.first, second)
                seen.new = joined(seen.first, second)
            if whole is not None and seen.problem is None:
                # One that may have drifted by itself waits until that is known.
                waits_as = None if seen.confirmed is None else name
                whole.add(calibration, second[: self._tolerance.draws], waits_as=waits_as)
            seen.is_decided = True

    def _looks(self, baselines: Mapping[str, Baseline], purpose: Purpose) -> dict[str, DrawSet]:
        return {
            name: DrawSet(
                cell=self.seen[name].cell,
                encoding=baseline.encoding,
                purpose=purpose,
                answers_as=baseline.answered_as,
                noise=baseline.noise,
                factor=self._tolerance.outlier_factor,
            )
            for name, baseline in baselines.items()
        }


def _usable(look: DrawSet) -> Floats:
    return as_array([draw.logprobs for draw in look.usable])


def _in_parts(cells: Iterable[LogprobCell]) -> Iterator[Sequence[LogprobCell]]:
    rest = iter(cells)
    while some := list(islice(rest, _AT_ONCE)):
        yield some
