"""What a check tells while it runs, and what its report says of the whole."""

import pytest

import repro_gate
from repro_gate.core.report import EngineReport, GateReport, Timing
from tests.fakes.checking import STARTED_AT, Scene, scene_of
from tests.fakes.engines import DESCRIBE_S, GENERATE_S, LOAD_S, REFUSED, Fault, ScriptedStarter
from tests.fakes.stores import MemoryModelFiles
from tests.fakes.values import (
    ENGINE_FACTS,
    GREEDY,
    PROFILE,
    cell_of,
    matrix_of,
    model_facts_of,
    suite_of,
)

A, B = cell_of("haiku", sampler=GREEDY), cell_of("fox", sampler=GREEDY)
OTHER = cell_of("haiku", model="other", sampler=GREEDY)


def _timed(*, engines: dict[str, str] | None = None, faults: tuple[Fault, ...] = ()) -> GateReport:
    scene = scene_of(
        matrix=matrix_of(suite_of(A, B, OTHER), engines=engines),
        starter=ScriptedStarter(faults=faults),
    )
    scene.starter.spend = scene.clock.spend
    return scene.check()


def test_progress_follows_each_run() -> None:
    """It hears first how much there is to do, and then of each finished run."""
    scene = scene_of(A, B, runs=3)
    scene.check()

    a, b = ("ran", A.id, 4), ("ran", B.id, 4)
    assert scene.progress.log == [("started", 2, 6), a, a, b, b, b, a]


def test_a_control_is_no_progress() -> None:
    """It is not one of the runs that were announced."""
    scene = scene_of(cell_of("haiku"), cell_of("fox"), runs=2)
    scene.check()

    assert scene.progress.runs_accounted_for == 4


@pytest.mark.parametrize(
    "fault",
    [
        Fault(what="describe", about="scripted"),
        Fault(what="load", about="tiny"),
        Fault(what="load", about="tiny", time=2),
        Fault(what="generate", about=A.id, time=1),
        Fault(what="generate", about=A.id, time=2),
        Fault(what="generate", about=B.id, time=3),
        Fault(what="generate", about=B.id, error=REFUSED),
    ],
)
def test_progress_always_reaches_the_end(fault: Fault) -> None:
    """Whatever fails, the runs that were made and those given up add up to those announced."""
    scene = scene_of(A, B, OTHER, runs=3, starter=ScriptedStarter(faults=[fault]))
    scene.check()

    assert scene.progress.log[0] == ("started", 3, 9)
    assert scene.progress.runs_accounted_for == 9


def test_given_up_cells_are_told_after_the_start() -> None:
    """Who draws a bar must know its length before anything moves on it."""
    starter = ScriptedStarter(faults=[Fault(what="describe", about="scripted")])
    scene = scene_of(A, B, runs=3, starter=starter)
    scene.check()

    assert scene.progress.log == [("started", 2, 6), ("skipped", A.id, 3), ("skipped", B.id, 3)]


def test_the_time_is_told_apart() -> None:
    """Waiting for engines and models, generating, and all of it by the clock."""
    assert _timed().timing == Timing(
        wall_s=DESCRIBE_S + 4 * LOAD_S + 10 * GENERATE_S,
        load_s=DESCRIBE_S + 4 * LOAD_S,
        engine_s=10 * GENERATE_S,
        generated_tokens=10 * 4,
    )


def test_the_time_of_every_engine_counts() -> None:
    """The waiting is summed over the engines."""
    timing = _timed(engines={"other": "second"}).timing

    assert timing.load_s == 2 * DESCRIBE_S + 4 * LOAD_S


def test_waiting_in_vain_is_waiting() -> None:
    """An engine that failed to describe itself or to load took its time all the same."""
    undescribed = _timed(faults=(Fault(what="describe", about="scripted"),)).timing
    unloaded = _timed(faults=(Fault(what="load", about="tiny"),)).timing

    assert undescribed.load_s == DESCRIBE_S
    assert unloaded.load_s == DESCRIBE_S + 3 * LOAD_S


def test_controls_are_work_too() -> None:
    """Their tokens and their seconds are part of the engine's."""
    timing = scene_of(cell_of("haiku"), runs=2).check().timing

    assert (timing.engine_s, timing.generated_tokens) == (4 * GENERATE_S, 4 * 4)


def test_a_report_says_what_was_used() -> None:
    """Version, time, suites, engines and loaded models stand in the report."""
    scene = scene_of(A, OTHER)
    scene.files = MemoryModelFiles(missing=["other"])
    report = scene.check()

    assert (report.tool_version, report.started_at) == (repro_gate.__version__, STARTED_AT)
    assert (report.suites, report.interrupted, report.measured) == (("quick",), False, True)
    assert report.models == {"tiny": model_facts_of("tiny")}
    assert report.engines == (EngineReport(name="scripted", profile=PROFILE, facts=ENGINE_FACTS),)


def test_wall_time_begins_with_the_command() -> None:
    """Reading the matrix is part of what a user waits for."""
    scene: Scene = scene_of(A)
    scene.clock.now = 107.5
    started = scene.clock.now - 7.5

    assert scene.check(started=started).timing.wall_s == 7.5
