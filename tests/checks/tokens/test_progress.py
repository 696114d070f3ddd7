"""What a check reports while it runs, and what its report has about the whole."""

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
    """The total comes first, and then each finished run."""
    scene = scene_of(A, B, runs=3)
    scene.check()

    a, b = ("ran", A.id, 4), ("ran", B.id, 4)
    assert scene.progress.log == [("started", 2, 6), a, a, b, b, b, a]


def test_a_control_is_not_progress() -> None:
    """It is not one of the announced runs."""
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
    """With any failures, the runs made and given up add up to the announced ones."""
    scene = scene_of(A, B, OTHER, runs=3, starter=ScriptedStarter(faults=[fault]))
    scene.check()

    assert scene.progress.log[0] == ("started", 3, 9)
    assert scene.progress.runs_accounted_for == 9


def test_given_up_cells_are_reported_after_the_start() -> None:
    """A progress bar needs its length first."""
    starter = ScriptedStarter(faults=[Fault(what="describe", about="scripted")])
    scene = scene_of(A, B, runs=3, starter=starter)
    scene.check()

    assert scene.progress.log == [("started", 2, 6), ("skipped", A.id, 3), ("skipped", B.id, 3)]


def test_times_are_reported_separately() -> None:
    """Waiting for engines and models, generating, and the wall time."""
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


def test_failed_waiting_counts_as_waiting() -> None:
    """An engine that failed to describe itself or to load took its time too."""
    undescribed = _timed(faults=(Fault(what="describe", about="scripted"),)).timing
    unloaded = _timed(faults=(Fault(what="load", about="tiny"),)).timing

    assert undescribed.load_s == DESCRIBE_S
    assert unloaded.load_s == DESCRIBE_S + 3 * LOAD_S


def test_controls_are_work_too() -> None:
    """Their tokens and their seconds are part of the engine's."""
    timing = scene_of(cell_of("haiku"), runs=2).check().timing

    assert (timing.engine_s, timing.generated_tokens) == (4 * GENERATE_S, 4 * 4)


def test_a_report_shows_what_was_used() -> None:
    """Version, time, suites, engines and loaded models."""
    scene = scene_of(A, OTHER)
    scene.files = MemoryModelFiles(missing=["other"])
    report = scene.check()

    assert (report.tool_version, report.started_at) == (repro_gate.__version__, STARTED_AT)
    assert (report.suites, report.interrupted, report.measured) == (("quick",), False, True)
    assert report.models == {"tiny": model_facts_of("tiny")}
    assert report.engines == (EngineReport(name="scripted", profile=PROFILE, facts=ENGINE_FACTS),)


def test_wall_time_starts_with_the_command() -> None:
    """Reading the matrix is part of the waiting time."""
    scene: Scene = scene_of(A)
    scene.clock.now = 107.5
    started = scene.clock.now - 7.5

    assert scene.check(started=started).timing.wall_s == 7.5
