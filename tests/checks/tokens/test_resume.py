"""An interrupted update continues: no finished run is made again, and the goldens are the same."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from repro_gate.checks.tokens.record import Observation, observe
from repro_gate.core.matrix import Evidence
from repro_gate.core.report import EngineReport
from repro_gate.core.tokens.verdicts import Nondeterministic
from tests.fakes.checking import STARTED_AT, Scene, scene_of
from tests.fakes.engines import REFUSED, Fault, ScriptedStarter
from tests.fakes.stores import MemoryGoldens, MemoryRunLog
from tests.fakes.values import (
    ENGINE_FACTS,
    PROFILE,
    answer_to,
    cell_of,
    generation_of,
    matrix_of,
    suite_of,
)
from tests.fakes.watching import RecordingProgress, Tripwire

# Two seeds and two prompts of each model, so that no further control has to be run.
CELLS = tuple(
    cell_of(prompt, seed=seed, model=model)
    for model in ("tiny", "other")
    for prompt, seed in (("haiku", 1), ("haiku", 2), ("fox", 1))
)
FIRST = CELLS[0]
RUNS = 3


def _scene(
    wire: Tripwire | None = None,
    *,
    starter: ScriptedStarter | None = None,
    concurrency: int = 1,
    fresh_runs: int = 1,
) -> Scene:
    step = wire or Tripwire()
    starter = starter or ScriptedStarter()
    starter.step, starter.concurrency = step, concurrency
    matrix = matrix_of(suite_of(*CELLS, runs=RUNS, fresh_runs=fresh_runs))
    scene = scene_of(matrix=matrix, starter=starter, goldens=MemoryGoldens())
    scene.progress = RecordingProgress(step=step)
    return scene


def _update(scene: Scene, log: MemoryRunLog) -> Observation:
    """Measure everything that is not in the log."""
    return observe(
        scene.plan,
        ports=replace(scene.ports, run_log=log),
        started=scene.clock.now,
        started_at=STARTED_AT,
    )


def _made(scene: Scene) -> Counter[str]:
    return Counter(scene.starter.generated())


def test_runs_without_logits_do_not_count_where_they_are_compared() -> None:
    """The matrix was changed between the two."""
    log, scene = MemoryRunLog(), _scene()
    _update(scene, log)
    strict = replace(scene.plan.suites[FIRST], evidence=Evidence.LOGITS)
    scene.plan = replace(scene.plan, suites={**scene.plan.suites, FIRST: strict})
    before = _made(scene)
    observed = _update(scene, log)

    assert _made(scene) - before == Counter({FIRST.id: RUNS})
    assert [bool(golden.generation.logits) for golden in observed.goldens] == [True] + [False] * 5
    (conditions, known) = log.noted[FIRST]
    assert log.known(conditions) == known


ALL = Counter({cell.id: RUNS for cell in CELLS})


def _interruptions(*, concurrency: int = 1, fresh_runs: int = 1) -> Iterator[MemoryRunLog]:
    """Yield the log of an update for every moment at which it can be interrupted."""
    wire = Tripwire()
    _update(_scene(wire, concurrency=concurrency, fresh_runs=fresh_runs), MemoryRunLog(step=wire))
    for step in range(1, wire.steps + 1):
        wire = Tripwire(at=step)
        log = MemoryRunLog(step=wire)
        scene = _scene(wire, concurrency=concurrency, fresh_runs=fresh_runs)
        observation = _update(scene, log)
        assert observation.report is not None
        assert observation.report.interrupted
        resumed = MemoryRunLog()
        resumed.noted = log.noted
        yield resumed


@pytest.mark.parametrize("concurrency", [1, 2, 4])
@pytest.mark.parametrize("fresh_runs", [0, 1, 2])
def test_a_resumed_update_gives_the_same_goldens_wherever_it_was_interrupted(
    concurrency: int, fresh_runs: int
) -> None:
    """Each run that was noted is taken as made, and every other one is made."""
    whole = _update(_scene(concurrency=concurrency, fresh_runs=fresh_runs), MemoryRunLog())
    kept: set[int] = set()
    for log in _interruptions(concurrency=concurrency, fresh_runs=fresh_runs):
        before = log.runs
        scene = _scene(concurrency=concurrency, fresh_runs=fresh_runs)

        resumed = _update(scene, log)

        assert (resumed.goldens, resumed.refused) == (whole.goldens, [])
        assert _made(scene) == ALL - before
        assert log.runs == ALL
        kept.add(before.total())
    assert kept == set(range(RUNS * len(CELLS) + 1))


def test_runs_that_were_made_are_no_progress() -> None:
    """The announced work and what is left out of it add up, and the rest is made."""
    for log in _interruptions():
        scene, before = _scene(), log.runs.total()
        _update(scene, log)

        left_out = sum(int(event[2]) for event in scene.progress.log if event[0] == "skipped")
        assert left_out == before
        assert scene.progress.runs_accounted_for == ALL.total()


def test_the_last_runs_of_a_resumed_update_are_in_a_fresh_process() -> None:
    """Where all others were noted, it is the second process that makes them."""
    log, scene = MemoryRunLog(), _scene()
    _update(scene, log)
    log.noted = {
        cell: (each, replace(known, runs=RUNS - 1)) for cell, (each, known) in log.noted.items()
    }

    again = _scene()
    _update(again, log)

    assert again.starter.generated(process=1) == []
    assert Counter(again.starter.generated(process=2)) == Counter(cell.id for cell in CELLS)


def test_runs_of_another_engine_are_made_again() -> None:
    """An engine fact that changed since makes every noted run worthless."""
    log = MemoryRunLog()
    _update(_scene(), log)
    facts = {**ENGINE_FACTS, "library": "2"}
    report = EngineReport(name="scripted", profile=PROFILE, facts=facts)

    scene = _scene(starter=ScriptedStarter(reports={"scripted": report}))
    _update(scene, log)

    assert _made(scene) == ALL


def test_runs_of_another_model_file_are_made_again() -> None:
    """The digest is one of the conditions, for the cells of that model alone."""
    log = MemoryRunLog()
    _update(_scene(), log)
    for cell in CELLS:
        before, known = log.noted[cell]
        if cell.model == "other":
            changed = {**before.facts, "model.sha256": "0" * 64}
            log.noted[cell] = replace(before, facts=changed), known

    scene = _scene()
    _update(scene, log)

    assert _made(scene) == Counter({cell.id: RUNS for cell in CELLS if cell.model == "other"})


def test_a_difference_that_was_noted_stays() -> None:
    """Runs that differ are not recorded, however often the update is resumed."""
    log = MemoryRunLog()
    script = {FIRST: [answer_to(FIRST), generation_of(9), answer_to(FIRST)]}
    _update(_scene(starter=ScriptedStarter(script=script)), log)

    scene = _scene()
    (refused,) = _update(scene, log).refused

    assert (refused.cell, type(refused.verdict)) == (FIRST, Nondeterministic)
    assert _made(scene) == Counter()


def test_the_last_run_of_a_resumed_cell_is_alone() -> None:
    """Where the last run is in the same process, it follows those with neighbours."""
    for log in _interruptions(concurrency=2, fresh_runs=0):
        left = [cell for cell in CELLS if log.runs[cell.id] < RUNS]
        scene = _scene(concurrency=2, fresh_runs=0)
        _update(scene, log)

        made = scene.starter.generated()
        for model in ("tiny", "other"):
            last = [cell.id for cell in left if cell.model == model]
            mine = [name for name in made if name.startswith(model)]
            assert mine[len(mine) - len(last) :] == last


@pytest.mark.parametrize("time", range(1, RUNS + 1))
def test_a_cell_that_failed_is_measured_when_resumed(time: int) -> None:
    """Its finished runs count, and only the others are made."""
    log = MemoryRunLog()
    refused = Fault(what="generate", about=FIRST.id, error=REFUSED, time=time)
    first = _update(_scene(starter=ScriptedStarter(faults=[refused])), log)
    before = log.runs

    scene = _scene()
    assert [each.cell for each in first.refused] == [FIRST]
    assert _update(scene, log).refused == []
    assert (_made(scene), before[FIRST.id]) == (ALL - before, time - 1)


def test_a_log_that_cannot_be_written_ends_the_update() -> None:
    """Such as on a full disk: what was noted so far can be resumed."""

    class FullDisk(MemoryRunLog):
        def note(self, *_: object) -> None:
            raise OSError(28, "No space left on device")

    scene = _scene()
    with pytest.raises(OSError, match="No space"):
        _update(scene, FullDisk())
    assert scene.starter.are_all_closed
