"""What cannot be measured is inconclusive, and does not affect the other cells."""

import pytest

from repro_gate.core.outcome import ExitCode, exit_code_for
from repro_gate.core.report import GateReport
from repro_gate.core.tokens.verdicts import Drift, Inconclusive, Match, Nondeterministic, Verdict
from repro_gate.errors import AFTER_FAILURES, EngineFailed, MeasurementUnavailable
from tests.fakes.checking import report_on, scene_of, verdicts_of
from tests.fakes.engines import DEAD, REFUSED, Fault, ScriptedStarter
from tests.fakes.stores import MemoryGoldens, MemoryModelFiles
from tests.fakes.values import (
    GREEDY,
    cell_of,
    digest_of,
    generation_of,
    golden_of,
    matrix_of,
    suite_of,
)

A, B, C, D, E = (
    cell_of(prompt, sampler=GREEDY) for prompt in ("haiku", "fox", "moon", "train", "bread")
)
OTHER = cell_of("haiku", model="other", sampler=GREEDY)
DIED = Inconclusive(reason=DEAD.reason, remedy=DEAD.remedy)
NOT_TRIED = Inconclusive(
    reason="not tried: the engine failed 3 times in a row", remedy=AFTER_FAILURES
)


def _dies_on(*about: str, what: str = "generate", time: int | None = None) -> ScriptedStarter:
    return ScriptedStarter(faults=[Fault(what=what, about=name, time=time) for name in about])


def _verdicts(report: GateReport) -> list[Verdict]:
    return [cell.verdict for cell in report.cells]


@pytest.mark.parametrize("time", [1, 2, 4])
def test_a_death_costs_only_its_cell(time: int) -> None:
    """In whichever run the engine dies, a fresh engine continues with the next cell."""
    scene = scene_of(A, B, C, runs=4, starter=_dies_on(B.id, time=time))
    report = scene.check()

    assert _verdicts(report) == [Match(), DIED, Match()]
    assert [cell.runs for cell in report.cells] == [4, time - 1, 4]
    assert len(scene.starter.engines) == 3
    assert scene.starter.are_all_closed
    assert exit_code_for(report) == ExitCode.INCONCLUSIVE


def test_a_fresh_engine_loads_the_model_again() -> None:
    """The engine that takes over after a death holds no model yet."""
    scene = scene_of(A, B, runs=3, starter=_dies_on(A.id, time=1))
    scene.check()

    asked = [asked.what for asked in scene.starter.log if asked.process == 3]
    assert asked[:4] == ["start", "load", "generate", "generate"]


def test_a_file_that_is_replaced_during_the_check_is_not_measured() -> None:
    """Runs of two models by one name would be compared as if they were one's."""
    digests = iter(("0a" * 32, "0b" * 32))
    report = scene_of(A, B, starter=ScriptedStarter(digest=lambda _: next(digests))).check()

    replaced = Inconclusive(
        reason="the file of tiny was replaced during the check",
        remedy="check again, and do not change the file during the check",
    )
    assert _verdicts(report) == [replaced, replaced]


def test_a_cell_that_was_given_up_is_not_run_in_the_fresh_process() -> None:
    """A cell that killed one engine is not given another one."""
    scene = scene_of(A, B, starter=_dies_on(A.id, time=1))
    scene.check()

    assert scene.starter.generated(process=2) == [B.id]


def test_a_refusal_costs_no_engine() -> None:
    """An engine that refuses is alive, and its remedy is passed on."""
    faults = [Fault(what="generate", about=A.id, error=REFUSED)]
    scene = scene_of(A, B, starter=ScriptedStarter(faults=faults))
    report = scene.check()

    refused = Inconclusive(reason="out_of_context: too long", remedy="raise n_ctx")
    assert _verdicts(report) == [refused, Match()]
    assert len(scene.starter.engines) == 2


def test_a_difference_that_was_seen_survives_a_death() -> None:
    """Runs that differ are a finding, whether or not the rest was run."""
    starter = _dies_on(A.id, time=4)
    starter.script = {A: [generation_of(5), generation_of(6)]}
    report = scene_of(A, runs=10, starter=starter).check()

    assert isinstance(report.cells[0].verdict, Nondeterministic)
    assert report.cells[0].runs == 3
    assert exit_code_for(report) == ExitCode.FINDINGS


@pytest.mark.parametrize("time", [2, 3])
def test_an_observed_drift_survives_a_death(time: int) -> None:
    """The first run diverged from the golden, and a missing later run hides nothing."""
    golden = golden_of(A, generation_of(9))
    starter = _dies_on(A.id, time=time)
    report = scene_of(A, B, starter=starter, goldens=MemoryGoldens([golden, golden_of(B)])).check()

    drifted, other = report.cells
    assert isinstance(drifted.verdict, Drift)
    assert (drifted.runs, drifted.unfinished) == (time - 1, DIED)
    assert (other.verdict, other.unfinished) == (Match(), None)
    assert exit_code_for(report) == ExitCode.FINDINGS


def test_an_observed_drift_survives_an_interruption() -> None:
    """Unreached cells are not measured; what was observed stays a finding."""
    faults = [Fault(what="generate", about=A.id, error=KeyboardInterrupt(), time=2)]
    goldens = MemoryGoldens([golden_of(A, generation_of(9))])
    report = scene_of(A, starter=ScriptedStarter(faults=faults), goldens=goldens).check()

    (drifted,) = report.cells
    assert isinstance(drifted.verdict, Drift)
    assert drifted.unfinished == Inconclusive(
        reason="the check was interrupted", remedy="let the check run to its end"
    )
    assert exit_code_for(report) == ExitCode.INTERRUPTED


def test_an_agreement_is_not_kept_when_runs_are_missing() -> None:
    """Neither is a missing golden."""
    report = scene_of(A, starter=_dies_on(A.id, time=2)).check()
    unrecorded = scene_of(A, starter=_dies_on(A.id, time=2), goldens=MemoryGoldens()).check()

    assert _verdicts(report) == _verdicts(unrecorded) == [DIED]


def test_three_deaths_in_a_row_end_the_trying() -> None:
    """When cell after cell kills the engine, the remaining ones would too."""
    scene = scene_of(A, B, C, D, E, starter=_dies_on(A.id, B.id, C.id))
    report = scene.check()

    assert _verdicts(report) == [DIED, DIED, DIED, NOT_TRIED, NOT_TRIED]
    assert scene.starter.generated() == [A.id, B.id, C.id]
    assert exit_code_for(report) == ExitCode.INCONCLUSIVE


def test_a_successful_run_of_a_cell_that_dies_later_does_not_end_the_row() -> None:
    """An engine that can make one run per process would be started for every cell."""
    starter = _dies_on(*(cell.id for cell in (A, B, C, D, E)), time=2)
    report = scene_of(A, B, C, D, E, starter=starter).check()

    assert _verdicts(report) == [DIED, DIED, DIED, NOT_TRIED, NOT_TRIED]


def test_deaths_that_are_not_consecutive_end_nothing() -> None:
    """A success resets the count."""
    report = scene_of(A, B, C, D, E, starter=_dies_on(A.id, C.id, D.id)).check()

    assert _verdicts(report) == [DIED, Match(), DIED, DIED, Match()]


def test_refusals_end_nothing() -> None:
    """Prompts that are too long do not affect other cells."""
    faults = [Fault(what="generate", about=cell.id, error=REFUSED) for cell in (A, B, C)]
    report = scene_of(A, B, C, D, starter=ScriptedStarter(faults=faults)).check()

    assert _verdicts(report)[3] == Match()


def test_three_deaths_end_one_model_only() -> None:
    """The next model gets a fresh engine."""
    report = scene_of(A, B, C, D, OTHER, starter=_dies_on(A.id, B.id, C.id)).check()

    assert _verdicts(report) == [DIED, DIED, DIED, NOT_TRIED, Match()]


def test_three_deaths_among_the_fresh_runs_end_the_trying() -> None:
    """The fresh runs come backwards, so it is the first cells that are not tried again."""
    starter = _dies_on(C.id, D.id, E.id, time=3)
    report = scene_of(A, B, C, D, E, starter=starter).check()

    assert _verdicts(report) == [NOT_TRIED, NOT_TRIED, DIED, DIED, DIED]


@pytest.mark.parametrize("error", [DEAD, REFUSED])
def test_a_model_that_cannot_be_loaded_is_inconclusive(error: MeasurementUnavailable) -> None:
    """All of its cells get the reason, it is tried once, and other models are measured."""
    starter = ScriptedStarter(faults=[Fault(what="load", about="tiny", error=error)])
    scene = scene_of(A, B, OTHER, starter=starter)
    report = scene.check()

    unloaded = Inconclusive(reason=error.reason, remedy=error.remedy)
    assert _verdicts(report) == [unloaded, unloaded, Match()]
    assert set(report.models) == {"other"}
    assert scene.starter.times["load", "tiny"] == 1


def test_a_model_that_cannot_be_loaded_again_is_inconclusive() -> None:
    """If the fresh process cannot load it, the last runs are missing."""
    starter = _dies_on("tiny", what="load", time=2)
    report = scene_of(A, B, OTHER, starter=starter).check()

    assert _verdicts(report) == [Match(), DIED, Match()]


def test_a_missing_model_file_is_inconclusive() -> None:
    """The remedy is the command that gets it, and no engine is asked to load it."""
    scene = scene_of(A, OTHER)
    scene.files = MemoryModelFiles(missing=["tiny"])
    report = scene.check()

    missing = Inconclusive(reason="model tiny is missing", remedy="repro-gate models fetch tiny")
    assert _verdicts(report) == [missing, Match()]
    assert scene.starter.times["load", "tiny"] == 0


def test_another_file_than_the_pinned_one_is_inconclusive() -> None:
    """An engine that loads what it should not has measured something else."""
    scene = scene_of(A, OTHER)
    scene.files = MemoryModelFiles(digests={"tiny": "0" * 64, "other": digest_of("other")})
    report = scene.check()

    wrong = Inconclusive(
        reason=f"the file of tiny has the sha256 {digest_of('tiny')}, but {'0' * 64} is pinned",
        remedy="restore the pinned file; if the new one is intended: "
        "repro-gate update-snapshots --repin tiny",
    )
    assert _verdicts(report) == [wrong, Match()]


@pytest.mark.parametrize("error", [DEAD, REFUSED])
def test_an_engine_that_cannot_describe_itself_is_not_used(error: MeasurementUnavailable) -> None:
    """Without a profile nothing holds, so its cells are inconclusive and the others measured."""
    matrix = matrix_of(suite_of(A, OTHER), engines={"tiny": "broken"})
    faults = [Fault(what="describe", about="broken", error=error)]
    scene = scene_of(matrix=matrix, starter=ScriptedStarter(faults=faults))
    report = scene.check()

    assert _verdicts(report) == [
        Inconclusive(reason=error.reason, remedy=error.remedy),
        Match(),
    ]
    assert (report_on(report, A).profile, report_on(report, A).provenance) == (None, None)
    assert [engine.name for engine in report.engines] == ["scripted"]
    assert [asked.what for asked in scene.starter.log if asked.process == 1] == [
        "start",
        "describe",
    ]
    assert scene.starter.times["start", "broken"] == 1


def test_an_engine_that_dies_on_the_control_is_replaced() -> None:
    """All cells have run by then, and the next model needs a live engine."""
    sampled = cell_of("haiku")
    control = cell_of("haiku", seed=43)
    report = scene_of(sampled, OTHER, starter=_dies_on(control.id)).check()

    reason = f"its control could not be run, so agreement proves nothing yet: {DIED.reason}"
    unshown = Inconclusive(reason=reason, remedy=DIED.remedy)
    assert verdicts_of(report) == {sampled.id: unshown, OTHER.id: Match()}


def test_an_engine_that_always_dies_is_started_a_bounded_number_of_times() -> None:
    """Hopeless engines are given up, not started for each of a thousand cells."""
    cells = [cell_of(seed=seed, sampler=GREEDY) for seed in range(1, 1001)]
    starter = ScriptedStarter(faults=[Fault(what="generate", about=cell.id) for cell in cells])
    scene = scene_of(*cells, starter=starter)
    scene.check()

    # One for each of three deaths, and the one for the fresh runs.
    assert len(scene.starter.engines) == 4


def test_an_engine_failure_is_a_measurement_that_is_unavailable() -> None:
    """Callers that handle the one handle the other."""
    assert issubclass(EngineFailed, MeasurementUnavailable)
