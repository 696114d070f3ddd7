"""Many cells: memory stays flat, and calls are counted once."""

import gc
import sys
import tracemalloc
from dataclasses import dataclass, replace

from repro_gate.core.logprobs.baseline import Baseline
from repro_gate.core.logprobs.draw import DrawOutcome
from repro_gate.core.logprobs.policy import Tolerance
from repro_gate.core.logprobs.report import SuiteVerdict
from repro_gate.core.logprobs.verdicts import Agrees, Equivalence
from repro_gate.ports import DrawRequest, Purpose
from tests.fakes.baseline_stores import MemoryBaselines, MemoryDrawLog
from tests.fakes.gating import LogprobScene, logprob_verdicts_of, recorded_scene
from tests.fakes.scoring import (
    NoisyScorer,
    baseline_of,
    encoding_of,
    everywhere,
    suite_of_logprobs,
    truth_of,
)
from tests.fakes.watching import RecordingProgress

TOKENS = 20
QUICK = Tolerance(calibration_draws=6, draws=4, false_alarm_rate=0.05)
"""Few ways to divide the draws of each of many cells."""


class FreshBaselines(MemoryBaselines):
    """Baselines that are created on every read, as those in files are."""

    def read(self, source: str, cell_id: str) -> Baseline:
        """Return a baseline of its own numbers."""
        baseline = MemoryBaselines.read(self, source, cell_id)
        draws = tuple(tuple(value - 0.0 for value in draw) for draw in baseline.draws)
        return replace(baseline, draws=draws)


@dataclass(slots=True, kw_only=True)
class ForgetfulLog(MemoryDrawLog):
    """A log whose draws are elsewhere."""

    def note(self, request: DrawRequest, outcome: DrawOutcome) -> None:
        """Forget a draw."""


def _memory_beyond_the_report(count: int) -> int:
    """Return the peak memory in bytes of a check of so many cells, without its report."""
    suite = suite_of_logprobs(items=count)
    scorer = NoisyScorer(tokens=TOKENS)
    baselines = FreshBaselines()
    for cell in suite.cells:
        encoding = encoding_of(cell, TOKENS)
        request = DrawRequest(cell=cell, encoding=encoding, purpose=Purpose.CALIBRATION, number=1)
        baselines.write(baseline_of(cell, [tuple(truth_of(request).tolist())] * 10))
    scene = LogprobScene(
        scorer=scorer,
        suite=suite,
        baselines=baselines,
        log=ForgetfulLog(),
        progress=RecordingProgress(keeps_log=False),
    )
    gc.collect()
    tracemalloc.start()
    report = scene.check()
    gc.collect()
    kept, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(report.cells) == count
    return most - kept


def test_of_a_cell_less_is_held_than_one_of_its_draws() -> None:
    """A few hundred cells are held at a time; of the others only the numbers of the report."""
    one_draw = sys.getsizeof((-1.0,) * TOKENS) + TOKENS * sys.getsizeof(-1.0)
    few, many = 300, 500
    _memory_beyond_the_report(1)
    growth = _memory_beyond_the_report(many) - _memory_beyond_the_report(few)

    assert growth / (many - few) < one_draw


def test_cells_beyond_the_first_part_are_measured_alike() -> None:
    """Two draws each, one control for all, and one verdict for each."""
    scene = recorded_scene(NoisyScorer(tokens=2), suite_of_logprobs(items=600))
    report = scene.check()

    assert set(logprob_verdicts_of(report).values()) == {Agrees(equivalence=Equivalence.IDENTICAL)}
    assert (report.suite_test.cells, len(report.controls)) == (600, 1)
    assert report.spending.calls == 2 * 600 + 1
    assert len(set(scene.scorer.asked)) == len(scene.scorer.asked)


def test_a_change_of_all_cells_is_found_in_all_parts() -> None:
    """The test of the whole takes every cell of every part."""
    suite = suite_of_logprobs(items=300, tolerance=QUICK)
    scene = recorded_scene(NoisyScorer(tokens=2), suite)
    scene.scorer.shift = everywhere(-0.01)
    matrix = scene.check().suite_test

    assert (matrix.verdict, matrix.cells) == (SuiteVerdict.CHANGED, 300)


def test_each_baseline_is_read_once_for_the_survey_and_once_for_each_look() -> None:
    """None is held from the one to the other."""
    scene = recorded_scene(NoisyScorer(tokens=2), suite_of_logprobs(items=300))
    scene.baselines.reads = 0
    scene.check()

    assert scene.baselines.reads == 2 * 300
