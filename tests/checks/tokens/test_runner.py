"""Which process runs which cell, how often and in what order."""

import pytest

from repro_gate.core.matrix import plan
from tests.fakes.checking import Scene, recorded_for, scene_of
from tests.fakes.engines import Asked, ScriptedStarter
from tests.fakes.stores import MemoryGoldens
from tests.fakes.values import GREEDY, cell_of, matrix_of, suite_of

A, B = cell_of("haiku", sampler=GREEDY), cell_of("fox", sampler=GREEDY)
OTHER = cell_of("haiku", model="other", sampler=GREEDY)


def _log_of(scene: Scene) -> list[Asked]:
    scene.check()
    return scene.starter.log


def test_the_whole_course_of_a_check() -> None:
    """Describe, load, run each cell in turn; then again, backwards, in a process of its own."""
    assert _log_of(scene_of(A, B, runs=3)) == [
        Asked(process=1, what="start", about="scripted"),
        Asked(process=1, what="describe", about="scripted"),
        Asked(process=2, what="start", about="scripted"),
        Asked(process=1, what="load", about="tiny"),
        Asked(process=1, what="generate", about=A.id, is_traced=True),
        Asked(process=1, what="generate", about=A.id),
        Asked(process=1, what="generate", about=B.id, is_traced=True),
        Asked(process=1, what="generate", about=B.id),
        Asked(process=2, what="load", about="tiny"),
        Asked(process=2, what="generate", about=B.id),
        Asked(process=2, what="generate", about=A.id),
    ]


def test_the_fresh_process_has_done_nothing_before() -> None:
    """What it is first asked, after its start, is to load the model for the last runs."""
    starter = ScriptedStarter()
    scene_of(A, B, runs=10, starter=starter).check()

    asked = [asked.what for asked in starter.log if asked.process == 2]
    assert asked == ["start", "load", "generate", "generate"]
    assert starter.generated(process=2) == [B.id, A.id]


@pytest.mark.parametrize(("runs", "fresh_runs"), [(10, 1), (10, 3), (2, 1), (5, 4)])
def test_every_run_is_made_where_it_belongs(runs: int, fresh_runs: int) -> None:
    """The fresh runs are the last of all runs, and no run is made twice or left out."""
    scene = scene_of(A, B, runs=runs, fresh_runs=fresh_runs)
    report = scene.check()

    first, fresh = scene.starter.generated(process=1), scene.starter.generated(process=2)
    assert first == [A.id] * (runs - fresh_runs) + [B.id] * (runs - fresh_runs)
    assert fresh == [B.id] * fresh_runs + [A.id] * fresh_runs
    assert [cell.runs for cell in report.cells] == [runs, runs]


def test_one_process_is_enough_without_fresh_runs() -> None:
    """No unused process is started."""
    scene = scene_of(A, B, runs=3, fresh_runs=0)
    report = scene.check()

    assert len(scene.starter.engines) == 1
    assert [cell.runs for cell in report.cells] == [3, 3]


@pytest.mark.parametrize("models", [1, 2, 3])
def test_models_on_one_engine_share_two_processes(models: int) -> None:
    """It is started twice, and the fresh process starts with the last model."""
    names = ["tiny", "other", "third"][:models]
    cells = [cell_of(prompt, model=name) for name in names for prompt in ("haiku", "fox")]
    scene = scene_of(*cells)
    scene.check()

    assert len(scene.starter.engines) == 2
    loads = [(asked.process, asked.about) for asked in scene.starter.log if asked.what == "load"]
    backwards = [(2, name) for name in reversed(names)]
    assert loads == [*((1, name) for name in names), *backwards]


def test_each_engine_has_its_own_two_processes() -> None:
    """Two engines are started at once, so that neither waits for the other's start."""
    scene = scene_of(matrix=matrix_of(suite_of(A, OTHER), engines={"other": "second"}))
    log = _log_of(scene)

    assert log[:2] == [
        Asked(process=1, what="start", about="scripted"),
        Asked(process=2, what="start", about="second"),
    ]
    starts = [asked.about for asked in log if asked.what == "start"]
    assert starts == ["scripted", "second", "scripted", "second"]


def test_an_engine_gives_its_memory_back_before_the_next_one_works() -> None:
    """Two large models of two engines need not fit on one device together."""
    closed: list[list[bool]] = []
    matrix = matrix_of(suite_of(A, OTHER), engines={"other": "second"})
    scene = scene_of(matrix=matrix)
    scene.starter.step = lambda: closed.append([e.is_closed for e in scene.starter.engines])
    log = _log_of(scene)

    second_loads = next(i for i, asked in enumerate(log) if asked.about == "other")
    assert closed[second_loads] == [True, False, True, False]


def test_the_first_process_is_closed_before_the_fresh_one_loads() -> None:
    """One model need not fit on a device twice."""
    closed: list[list[bool]] = []
    scene = scene_of(A)
    scene.starter.step = lambda: closed.append([e.is_closed for e in scene.starter.engines])
    log = _log_of(scene)

    assert closed[log.index(Asked(process=2, what="load", about="tiny"))] == [True, False]


def test_only_the_first_run_is_traced() -> None:
    """Evidence is needed once; every other run, the control too, is as the user's would be."""
    sampled = cell_of("moon")
    scene = scene_of(A, sampled, runs=5, fresh_runs=2)

    traced = [asked for asked in _log_of(scene) if asked.is_traced]
    assert traced == [
        Asked(process=1, what="generate", about=A.id, is_traced=True),
        Asked(process=1, what="generate", about=sampled.id, is_traced=True),
    ]


def test_each_suite_has_its_own_number_of_runs() -> None:
    """Suites that are checked together keep what they asked for."""
    quick, deep = suite_of(A, runs=2, fresh_runs=0), suite_of(B, name="deep", runs=5, fresh_runs=2)
    planned = plan(matrix_of(quick, deep), suites=["quick", "deep"])
    scene = Scene(plan=planned, goldens=MemoryGoldens(recorded_for(A, B)))
    report = scene.check()

    assert scene.starter.generated(process=1) == [A.id] * 2 + [B.id] * 3
    assert scene.starter.generated(process=2) == [B.id] * 2
    assert report.suites == ("quick", "deep")
    assert [(cell.suite, cell.runs) for cell in report.cells] == [("quick", 2), ("deep", 5)]


def test_no_process_is_left_behind() -> None:
    """Every engine is closed when the report is there."""
    scene = scene_of(A, OTHER)
    scene.check()

    assert scene.starter.are_all_closed


def test_an_unexpected_exception_leaves_no_process_behind() -> None:
    """It is raised after the engines were closed."""
    scene = scene_of(A)

    def stumble() -> None:
        if len(scene.starter.log) > 5:
            raise RuntimeError("a mistake of ours")

    scene.starter.step = stumble
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        scene.check()
    assert scene.starter.are_all_closed


def test_nothing_to_check_starts_nothing() -> None:
    """A plan without cells needs no engine, and its report measured nothing."""
    scene = Scene(plan=plan(matrix_of(suite_of(A)), only="nothing"))
    report = scene.check()

    assert scene.starter.log == []
    assert (report.cells, report.measured, report.interrupted) == ((), False, False)
