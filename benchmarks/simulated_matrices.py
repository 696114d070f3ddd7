"""One simulated matrix: baselines, a change, the gate's own check, and the answers of rivals."""

from collections.abc import Mapping
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from benchmarks.rival_tests import (
    Samples,
    is_beyond_three_sds,
    statistics_of,
    tracking_alarms,
    unequal_draws,
)
from benchmarks.simulated_worlds import Change, SimulatedService, World, draws_of
from repro_gate.core.logprobs.baseline import DECIMALS
from repro_gate.core.logprobs.policy import Tolerance
from repro_gate.core.logprobs.report import LogprobReport, SuiteVerdict
from repro_gate.core.logprobs.verdicts import Agrees, Outlying, Shifted
from repro_gate.core.tokens.verdicts import Unrecorded
from repro_gate.statistics.permutation import Floats
from tests.fakes.gating import LogprobScene, recorded_scene
from tests.fakes.scoring import SOURCE, Mixture, suite_of_logprobs

TOLERANCE = Tolerance()


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A matrix to be simulated; its numbers depend on nothing else."""

    service: str
    """The name of the noise."""
    noise: Mixture
    change: Change
    number: int
    with_stated: bool
    """Whether rivals also answer at their own stated levels."""
    tolerance: Tolerance = TOLERANCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """The result of the gate."""

    cell_drift: bool
    whole_drift: bool
    outlier: bool
    note: bool
    second_look: bool
    """At all cells."""
    refused: int
    """Cells whose baseline was refused at recording."""
    calls: int
    saved: int

    @property
    def finding(self) -> bool:
        """Whether the check fails."""
        return self.cell_drift or self.whole_drift or self.outlier

    @property
    def seen(self) -> bool:
        """Whether the report has a finding or a note on a change."""
        return self.finding or self.note


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a matrix."""

    ours: Ours
    statistics: Mapping[str, float]
    """By the name of the rival."""
    stated: Mapping[str, bool]
    """Alarms of the rivals at the levels that they state themselves; empty when not asked."""


def simulate(task: Task) -> Result:
    """Return the answers of the gate and its rivals for one matrix."""
    # The seed must not depend on the process, as the hash of a text does.
    names = [crc32(name.encode()) for name in (task.service, task.change.label)]
    generator = np.random.default_rng([*names, task.number])
    world = task.change(generator)
    service = SimulatedService(
        world=world, noise=task.noise, seed=int(generator.integers(2**32)), tokens=_tokens(world)
    )
    suite = suite_of_logprobs(items=len(world.before), tolerance=task.tolerance)
    scene = recorded_scene(service, suite)
    responses = _responses(scene, task.noise, world, generator)
    firsts = Samples(
        before=_drawn_before(world.first_before, task.noise, generator),
        after=draws_of(world.first_after, task.noise, generator, count=TOLERANCE.calibration_draws),
    )
    return Result(
        ours=_ours(scene.check()),
        statistics=statistics_of(responses, firsts),
        stated=_stated(responses, firsts, generator) if task.with_stated else {},
    )


def _ours(report: LogprobReport) -> Ours:
    verdicts = [cell.verdict for cell in report.cells]
    whole = report.suite_test.verdict
    changed = [v for v in verdicts if isinstance(v, Agrees) and v.changed is not None]
    return Ours(
        cell_drift=any(isinstance(verdict, Shifted) for verdict in verdicts),
        whole_drift=whole is SuiteVerdict.DRIFT,
        outlier=any(isinstance(verdict, Outlying) for verdict in verdicts),
        note=bool(changed) or whole is SuiteVerdict.CHANGED,
        second_look=report.suite_test.second_look,
        refused=sum(isinstance(verdict, Unrecorded) for verdict in verdicts),
        calls=report.spending.calls,
        saved=report.spending.saved,
    )


def _responses(
    scene: LogprobScene, noise: Mixture, world: World, generator: np.random.Generator
) -> Samples:
    """Return the calibration draws that the gate has, and new ones, rounded as those are."""
    before = _drawn_before(world.before, noise, generator)
    for place, cell in enumerate(scene.suite.cells):
        baseline = scene.baselines.kept.get((SOURCE, cell.id))
        if baseline is not None:
            before[place] = baseline.draws
    after = draws_of(world.after, noise, generator, count=TOLERANCE.draws)
    return Samples(before=np.round(before, DECIMALS), after=np.round(after, DECIMALS))


def _stated(
    responses: Samples, firsts: Samples, generator: np.random.Generator
) -> Mapping[str, bool]:
    rate = TOLERANCE.false_alarm_rate
    return {
        "mean +- 3 sd": is_beyond_three_sds(responses),
        "exact equality": bool(unequal_draws(responses).any()),
        "LT, Bonferroni": tracking_alarms(firsts, generator, level=rate),
    }


def _drawn_before(truth: Floats, noise: Mixture, generator: np.random.Generator) -> Floats:
    return draws_of(truth, noise, generator, count=TOLERANCE.calibration_draws)


def _tokens(world: World) -> int:
    tokens: int = world.before.shape[1]
    return tokens
