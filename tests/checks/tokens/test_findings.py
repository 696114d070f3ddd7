"""A finding is reported when a run shows it, and --fail-fast ends the check there."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.checks.tokens.check import Committed, judge_tokens, measure_tokens
from repro_gate.checks.tokens.record import observed_goldens
from repro_gate.checks.tokens.runner import CheckPorts
from repro_gate.core.matrix import plan
from repro_gate.core.outcome import ExitCode, exit_code_for
from repro_gate.core.report import GateReport
from repro_gate.core.shards.split import lanes_of
from repro_gate.core.tokens.cell import Cell, Factor
from repro_gate.core.tokens.controls import Contrast, Control
from repro_gate.core.tokens.generation import Generation
from repro_gate.core.tokens.judge import Repetition
from repro_gate.core.tokens.measurement import Measurement
from repro_gate.core.tokens.verdicts import (
    STOPPED,
    Drift,
    Inconclusive,
    Match,
    Nondeterministic,
    Unrecorded,
)
from tests.fakes.checking import STARTED_AT, Scene, recorded_for, report_on, scene_of
from tests.fakes.engines import REFUSED, Fault, ScriptedStarter
from tests.fakes.stores import MemoryGoldens
from tests.fakes.values import answer_to, cell_of, generation_of, matrix_of, suite_of

A, B, C = cell_of("haiku"), cell_of("fox"), cell_of("moon")
DRIFTED = [generation_of(9)]
UNSTABLE = [answer_to(A), generation_of(6)]


def _scene(script: dict[Cell, list[Generation]], *, runs: int = 3) -> Scene:
    return scene_of(A, B, C, runs=runs, starter=ScriptedStarter(script=script))


def _fast(scene: Scene, *, devices: tuple[str, ...] = ()) -> GateReport:
    ports = CheckPorts(
        starter=scene.starter,
        files=scene.files,
        goldens=scene.goldens,
        progress=scene.progress,
        clock=scene.clock,
    )
    lanes = lanes_of(scene.plan, devices) if devices else ()
    seen, known = measure_tokens(scene.plan, ports=ports, device_plans=lanes, fail_fast=True)
    timing = seen.timing(wall_s=0)
    return judge_tokens(scene.plan, seen, known, timing=timing, started_at=STARTED_AT)


def test_drift_is_reported_after_the_first_run() -> None:
    """After the start and one run, long before the report."""
    scene = _scene({A: DRIFTED})
    scene.check()

    assert scene.progress.findings == [(2, A.id, "drift")]


def test_a_run_that_differs_is_reported_after_that_run() -> None:
    """The golden is met by the first run, and missed by the second."""
    scene = _scene({A: UNSTABLE})
    scene.check()

    assert scene.progress.findings == [(3, A.id, "nondeterministic")]


def test_a_missing_golden_is_reported_after_the_first_run() -> None:
    """The listener decides whether to show it."""
    scene = _scene({})
    scene.goldens = MemoryGoldens(recorded_for(A, C))
    scene.check()

    assert [finding[1:] for finding in scene.progress.findings] == [(B.id, "unrecorded")]


@given(st.lists(st.sampled_from([4, 5]), min_size=1, max_size=4))
def test_reported_findings_equal_those_of_the_report(outputs: list[int]) -> None:
    """The last finding of a cell is its verdict, and each is reported once."""
    script = {A: [generation_of(token) for token in outputs]}
    scene = _scene(script, runs=4)
    verdict = report_on(scene.check(), A).verdict

    words = [word for _, cell_id, word in scene.progress.findings if cell_id == A.id]
    assert words[-1] == verdict.word
    assert len(words) == len(set(words))


def test_nothing_is_reported_of_a_check_that_agrees() -> None:
    """Without a finding there is no line."""
    scene = _scene({})
    scene.check()

    assert scene.progress.findings == []


@pytest.mark.parametrize(
    ("script", "kind"), [(DRIFTED, Drift), (UNSTABLE, Nondeterministic)], ids=["drift", "unstable"]
)
def test_the_first_finding_ends_the_check(
    script: list[Generation], kind: type[Drift | Nondeterministic]
) -> None:
    """The finding stands, and what was not run is inconclusive: findings beat it."""
    scene = _scene({A: script})
    report = _fast(scene)

    found = report_on(report, A)
    assert (type(found.verdict), found.unfinished) == (kind, STOPPED)
    assert [report_on(report, cell).verdict for cell in (B, C)] == [STOPPED, STOPPED]
    assert exit_code_for(report) is ExitCode.FINDINGS
    assert not report.interrupted


def test_nothing_runs_after_the_first_finding() -> None:
    """One run is all that a drift in the first of them costs, and every engine is closed."""
    scene = _scene({A: DRIFTED})
    report = _fast(scene)

    assert [asked.about for asked in scene.starter.log if asked.what == "generate"] == [A.id]
    assert report.controls == ()
    assert scene.starter.are_all_closed


def test_a_missing_golden_ends_the_check_as_a_finding() -> None:
    """It is known before the other runs, and stands although they are not made."""
    scene = _scene({})
    scene.goldens = MemoryGoldens(recorded_for(B, C))
    report = _fast(scene)

    found = report_on(report, A)
    assert (type(found.verdict), found.unfinished) == (Unrecorded, STOPPED)
    assert exit_code_for(report) is ExitCode.FINDINGS


def test_a_failed_control_elsewhere_does_not_hide_the_finding() -> None:
    """A control on another device may have failed; the finding that ended the check stays."""
    scene = _scene({})
    seen = Measurement(
        facts={A: {}},
        repetitions={A: Repetition(first=answer_to(A))},
        controls=[
            Control(
                contrast=Contrast(factor=Factor.PROMPT, cell=A, varied=replace(A, text="Another.")),
                problem=Inconclusive(reason="it died", remedy=None),
            )
        ],
        stopped_at=A,
    )
    nothing = Committed(goldens={}, orphans=())
    timing = seen.timing(wall_s=0)
    report = judge_tokens(scene.plan, seen, nothing, timing=timing, started_at=STARTED_AT)

    assert isinstance(report_on(report, A).verdict, Unrecorded)
    assert exit_code_for(report) is ExitCode.FINDINGS


def test_a_finding_in_the_last_runs_ends_the_check() -> None:
    """Cells that were finished before it keep their verdict."""
    scene = _scene({B: [answer_to(B), answer_to(B), generation_of(6)]})
    report = _fast(scene)

    # The last runs go backwards.
    assert [report_on(report, cell).verdict for cell in (A, C)] == [STOPPED, Match()]
    assert isinstance(report_on(report, B).verdict, Nondeterministic)


def test_a_reason_from_before_the_finding_is_kept() -> None:
    """A cell that could not be measured shows why, and ends nothing."""
    scene = _scene({B: DRIFTED})
    scene.starter = replace(
        scene.starter, faults=[Fault(what="generate", about=A.id, error=REFUSED)]
    )
    report = _fast(scene)

    verdicts = [report_on(report, cell).verdict.word for cell in (A, B, C)]
    assert verdicts == ["inconclusive", "drift", "inconclusive"]
    assert report_on(report, A).verdict != STOPPED


def test_without_findings_a_check_that_would_fail_fast_is_whole() -> None:
    """The report is that of any check."""
    assert _fast(_scene({})) == replace(_scene({}).check(), timing=_fast(_scene({})).timing)


def test_a_finding_on_one_device_ends_the_check_on_all() -> None:
    """The others end after the run that they are at, and close their engines."""
    cells = [cell_of(f"prompt-{number}") for number in range(40)]
    scene = Scene(
        plan=plan(matrix_of(suite_of(*cells, runs=3))),
        starter=ScriptedStarter(script=dict.fromkeys(cells, DRIFTED)),
        goldens=MemoryGoldens(recorded_for(*cells)),
    )
    report = _fast(scene, devices=("cuda:0", "cuda:1"))

    assert 1 <= report.counts["drift"] <= 2
    assert report.counts["inconclusive"] == len(cells) - report.counts["drift"]
    assert exit_code_for(report) is ExitCode.FINDINGS
    assert scene.starter.are_all_closed


def test_nothing_is_accepted_of_a_check_that_ended_before_its_controls() -> None:
    """A finished cell may not become golden while nothing was seen to differ."""
    scene = scene_of(A, B, C, fresh_runs=0, starter=ScriptedStarter(script={B: DRIFTED}))
    report = _fast(scene)

    assert report_on(report, A).verdict == Match()
    assert observed_goldens(report) == []
