"""Modes: company, kept caches and restarts, each compared with the runs alone."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repro_gate.checks.tokens.check import measure_tokens
from repro_gate.checks.tokens.record import observe
from repro_gate.core.engines import Ability
from repro_gate.core.matrix import Evidence, Suite, level_alone
from repro_gate.core.outcome import ExitCode, exit_code_for
from repro_gate.core.report import GateReport
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.generation import Generation
from repro_gate.core.tokens.golden import Golden
from repro_gate.core.tokens.modes import (
    ALONE,
    RESTART,
    Level,
    ModeResult,
    Proof,
    in_order,
    mode_of,
)
from repro_gate.core.tokens.verdicts import (
    Depends,
    Drift,
    Inconclusive,
    Match,
    Nondeterministic,
    Unrecorded,
    Vacuous,
)
from tests.fakes.checking import STARTED_AT, Scene, recorded_for, report_on, scene_of, verdicts_of
from tests.fakes.engines import DEAD, REFUSED, Fault, ScriptedStarter
from tests.fakes.stores import MemoryGoldens
from tests.fakes.values import (
    GREEDY,
    answer_to,
    cell_of,
    generation_of,
    golden_of,
    matrix_of,
    with_logits,
)
from tests.fakes.watching import RecordingProgress, Tripwire

CELLS = A, B, C = tuple(cell_of(prompt, sampler=GREEDY) for prompt in ("haiku", "fox", "moon"))
ALL = {
    "concurrent-4": "tokens",
    "mixed-2": "tokens",
    "after-prefix": "tokens",
    "repeat": "tokens",
    "restart": "tokens",
}
SERVER = frozenset(Ability) - {Ability.REMOTE, Ability.NO_BYTES}


def suite_in(
    modes: dict[str, str],
    *cells: Cell,
    evidence: Evidence = Evidence.TOKENS,
    runs: int = 4,
    fresh_runs: int = 1,
) -> Suite:
    """Return a suite with modes and their levels."""
    levels = {mode_of(name): Level(level) for name, level in modes.items()}
    return Suite(
        name="quick",
        runs=runs,
        fresh_runs=fresh_runs,
        modes=in_order({**levels, ALONE: level_alone(evidence)}),
        cells=cells or CELLS,
        evidence=evidence,
    )


def server_of(**changes: object) -> ScriptedStarter:
    """Return an engine that can do everything and depends on nothing."""
    usual: dict[str, object] = {"can": SERVER, "concurrency": 64}
    return ScriptedStarter(**{**usual, **changes})  # type: ignore[arg-type]


def scene_in(suite: Suite, starter: ScriptedStarter, *goldens: Golden) -> Scene:
    """Return the check of a suite, by default with its right goldens."""
    known = MemoryGoldens(goldens or recorded_for(*suite.cells))
    return scene_of(matrix=matrix_of(suite), starter=starter, goldens=known)


def checked(modes: dict[str, str], **changes: object) -> GateReport:
    """Return the report on a suite with these modes, of an engine with changes."""
    return scene_in(suite_in(modes), server_of(**changes)).check()


def other(cell: Cell) -> Generation:
    """Return another answer than alone, of the same prompt."""
    answer = answer_to(cell)
    return replace(answer, tokens=tuple(reversed(answer.tokens)))


def result_in(report: GateReport, mode: str, cell: Cell = A) -> ModeResult:
    """Return the result of a cell in a mode."""
    return next(each for each in report_on(report, cell).modes if each.mode == mode_of(mode))


def test_a_server_that_depends_on_nothing_matches_in_every_mode() -> None:
    """Each mode is seen, with as many answers as it asks for, and everything was compared."""
    report = checked(ALL)

    assert set(verdicts_of(report).values()) == {Match()}
    for cell in CELLS:
        results = report_on(report, cell).modes
        assert [(str(each.mode), each.answers) for each in results] == [
            ("alone", 2),
            ("concurrent-4", 4),
            ("mixed-2", 1),
            ("after-prefix", 1),
            ("repeat", 1),
            ("restart", 1),
        ]
        assert {each.proof for each in results} == {Proof.SEEN}
        assert {each.reached for each in results} == {Level.TOKENS}
        assert {each.shift for each in results} == {0.0}
    assert exit_code_for(report) is ExitCode.PASSED


def test_the_runs_of_a_suite_are_alone() -> None:
    """An engine whose requests share batches gets them one at a time, and only modes together."""
    starter = server_of(crowded=other)
    report = scene_in(suite_in({"repeat": "tokens"}), starter).check()

    assert set(verdicts_of(report).values()) == {Match()}
    assert [cell.runs for cell in report.cells] == [4, 4, 4]


def test_answers_that_depend_on_company_are_a_finding() -> None:
    """The verdict names the modes; the results have how many answers differ and where."""
    report = checked(ALL, crowded=other)
    modes = (mode_of("concurrent-4"), mode_of("mixed-2"))
    found = result_in(report, "concurrent-4")

    assert set(verdicts_of(report).values()) == {Depends(modes=modes)}
    assert (found.answers, found.other_tokens, found.running) == (4, 4, 4)
    assert found.divergence is not None
    assert found.divergence.position == 0
    assert result_in(report, "repeat").reached is Level.TOKENS
    assert exit_code_for(report) is ExitCode.FINDINGS


def test_answers_that_depend_on_the_cache_are_a_finding() -> None:
    """After a prompt with the same beginning, and after the same prompt."""
    report = checked(ALL, warm=other)

    modes = (mode_of("after-prefix"), mode_of("repeat"))
    assert set(verdicts_of(report).values()) == {Depends(modes=modes)}
    assert result_in(report, "repeat").cached == len(answer_to(A).prompt)


def test_answers_that_depend_on_the_start_are_a_finding() -> None:
    """What the fresh process answers is an answer of the mode, and no run of the cell."""
    script = {cell: [*[answer_to(cell)] * 3, other(cell)] for cell in CELLS}
    starter = server_of(script=script)
    report = scene_in(suite_in({"restart": "tokens"}), starter).check()

    assert starter.generated(process=2) == [cell.id for cell in reversed(CELLS)]

    assert set(verdicts_of(report).values()) == {Depends(modes=(RESTART,))}
    assert [cell.runs for cell in report.cells] == [3, 3, 3]


def test_what_is_not_required_is_shown() -> None:
    """With `any` the differences are in the report, and the cell matches."""
    report = checked({"concurrent-4": "any"}, crowded=other)

    assert set(verdicts_of(report).values()) == {Match()}
    assert result_in(report, "concurrent-4").other_tokens == 4


def test_bits_are_compared_where_they_are_required() -> None:
    """Answers with the same tokens and other logits fall short of `bits` only."""

    def shifted(cell: Cell) -> Generation:
        answer = with_logits(answer_to(cell))
        return replace(answer, logits=("f" * 16, *answer.logits[1:]))

    goldens = [golden_of(cell, with_logits(answer_to(cell))) for cell in CELLS]
    verdicts = {}
    for level in ("bits", "tokens"):
        suite = suite_in({"concurrent-4": level}, evidence=Evidence.LOGITS)
        report = scene_in(suite, server_of(crowded=shifted), *goldens).check()
        verdicts[level] = report_on(report, A).verdict
        found = result_in(report, "concurrent-4")
        assert (found.other_tokens, found.other_bits) == (0, 4)
        assert found.reached is Level.TOKENS

    assert verdicts == {"bits": Depends(modes=(mode_of("concurrent-4"),)), "tokens": Match()}


UNPROVEN: dict[str, tuple[str, dict[str, object], str]] = {
    "queued": (
        "concurrent-4",
        {"running": lambda _: 1},
        "at most 1 of 4 sequences were at work at once",
    ),
    "mixed": ("mixed-2", {"running": lambda _: 1}, "at most 1 of 2 sequences were at work at once"),
    "prefix": ("after-prefix", {"cached": lambda _: 0}, "no token of the prompt came from"),
    "cold": ("repeat", {"cached": lambda _: 0}, "no token of the prompt came from the cache"),
    "same": ("restart", {"instance": lambda _: "1"}, "the same server answered before and after"),
}
UNKNOWN: dict[str, tuple[str, dict[str, object], str]] = {
    "company": ("concurrent-4", {"running": lambda _: None}, "how many sequences are at work"),
    "cache": ("repeat", {"cached": lambda _: None}, "how many tokens of a prompt come from"),
    "instance": ("restart", {"instance": lambda _: None}, "whether what computes was started"),
    "no company": ("mixed-2", {"can": SERVER - {Ability.CONCURRENT}}, "can 'concurrent'"),
    "no cache": ("after-prefix", {"can": SERVER - {Ability.KEEP_CACHE}}, "can 'keep_cache'"),
    "no restart": ("restart", {"can": SERVER - {Ability.RESTART}}, "can 'restart'"),
    "limit": ("concurrent-4", {"concurrency": 3}, "takes at most 3 requests at a time"),
}


@pytest.mark.parametrize(("mode", "changes", "reason"), UNPROVEN.values(), ids=UNPROVEN)
def test_a_mode_that_did_not_happen_is_vacuous(
    mode: str, changes: dict[str, object], reason: str
) -> None:
    """Its answers agree, and it is seen that they prove nothing."""
    report = checked({mode: "tokens"}, **changes)
    result = result_in(report, mode)

    assert set(verdicts_of(report).values()) == {Vacuous(mode=mode_of(mode))}
    assert (result.proof, result.reached) == (Proof.ABSENT, Level.TOKENS)
    assert reason in str(result.reason)
    assert result.remedy
    assert exit_code_for(report) is ExitCode.FINDINGS


@pytest.mark.parametrize(("mode", "changes", "reason"), UNKNOWN.values(), ids=UNKNOWN)
def test_a_mode_that_is_not_seen_is_inconclusive(
    mode: str, changes: dict[str, object], reason: str
) -> None:
    """The engine cannot do it, or does not show it; with a remedy."""
    report = checked({mode: "tokens"}, **changes)
    (verdict,) = set(verdicts_of(report).values())

    assert isinstance(verdict, Inconclusive)
    assert verdict.reason.startswith(f"{mode}: ")
    assert reason in verdict.reason
    assert verdict.remedy
    assert exit_code_for(report) is ExitCode.INCONCLUSIVE


@pytest.mark.parametrize("case", [*UNPROVEN.values(), *UNKNOWN.values()])
def test_a_mode_of_which_nothing_is_required_needs_no_proof(
    case: tuple[str, dict[str, object], str],
) -> None:
    """With `any` it is shown that it did not happen."""
    mode, changes, reason = case
    report = checked({mode: "any"}, **changes)

    assert set(verdicts_of(report).values()) == {Match()}
    assert reason in str(result_in(report, mode).reason)


@pytest.mark.parametrize(("seen", "tries", "proof"), [(9, 9, Proof.SEEN), (10, 9, Proof.ABSENT)])
def test_a_round_that_was_not_at_once_is_tried_again(seen: int, tries: int, proof: Proof) -> None:
    """Only the answers of the last round count, and all of them are work to do."""
    starter = server_of()
    starter.running = lambda at_work: 1 if at_work == 1 else _counted(starter, at_work, seen)
    scene = scene_in(suite_in({"concurrent-4": "tokens"}, A, fresh_runs=0, runs=2), starter)
    result = result_in(scene.check(), "concurrent-4")

    assert (result.proof, result.answers) == (proof, 4)
    assert starter.generated().count(A.id) == 2 + 4 * tries
    started = sum(event[2] for event in scene.progress.log if event[0] == "started")
    assert scene.progress.runs_accounted_for == started


def _counted(starter: ScriptedStarter, at_work: int, seen: int) -> int:
    """Return that all are at work from a round on."""
    made = starter.generated().count(A.id) - 2
    return at_work if made > (seen - 1) * 4 else at_work - 1


def test_only_the_gate_can_start_a_remote_server_again() -> None:
    """The remedy is to let the gate start it."""
    can = SERVER - {Ability.RESTART} | {Ability.REMOTE}
    report = checked({"restart": "tokens"}, can=can)

    assert "serve in place of base_url" in str(result_in(report, "restart").remedy)


def test_a_difference_is_a_finding_without_any_proof() -> None:
    """What was seen to differ needs no other proof."""
    report = checked(
        {"concurrent-4": "tokens"}, crowded=other, running=lambda at_work: min(at_work, 2)
    )

    assert result_in(report, "concurrent-4").proof is Proof.ABSENT
    assert set(verdicts_of(report).values()) == {Depends(modes=(mode_of("concurrent-4"),))}


def test_a_run_that_was_not_cold_is_no_run_alone() -> None:
    """Tokens from a cache, though none was asked for, make the cell inconclusive."""
    report = checked({"repeat": "tokens"}, cold=3)
    (verdict,) = set(verdicts_of(report).values())

    assert isinstance(verdict, Inconclusive)
    assert "a run was not cold: 3 tokens of its prompt came from a cache" in verdict.reason


def test_a_run_with_company_is_no_run_alone() -> None:
    """Others may use a server too; with their requests, its answers are not those alone."""
    report = checked({"repeat": "tokens"}, running=lambda at_work: at_work + 1)
    (verdict,) = set(verdicts_of(report).values())

    assert isinstance(verdict, Inconclusive)
    assert verdict.reason == "a run was not alone: 2 sequences were at work at once"


def test_a_cell_that_drifts_or_has_no_golden_still_shows_its_modes() -> None:
    """The verdict is on the runs alone; the results of the modes are in the report."""
    golden = golden_of(A, generation_of(5, 5))
    suite = suite_in({"concurrent-4": "tokens"})
    report = scene_in(suite, server_of(crowded=other), golden).check()

    assert isinstance(report_on(report, A).verdict, Drift)
    assert isinstance(report_on(report, B).verdict, Unrecorded)
    for cell in (A, B):
        assert result_in(report, "concurrent-4", cell).other_tokens == 4


def test_runs_that_differ_are_nondeterministic_whatever_the_modes_show() -> None:
    """Without equal runs alone no mode has anything to depend on."""
    starter = server_of(script={A: [answer_to(A), other(A)]})
    report = scene_in(suite_in({"repeat": "tokens"}, A), starter).check()

    assert isinstance(report_on(report, A).verdict, Nondeterministic)
    assert result_in(report, "alone").other_tokens == 3
    assert report_on(report, A).runs == 4


def test_each_cell_is_mixed_once_with_others() -> None:
    """With fewer cells than sequences, cells of other seeds are the company."""
    starter = server_of()
    scene_in(suite_in({"mixed-5": "tokens"}), starter).check()

    ids = starter.generated(process=1)
    assert [ids.count(cell.id) for cell in CELLS] == [4, 4, 4]
    assert len({*ids} - {cell.id for cell in CELLS}) == 2


def test_an_engine_that_dies_in_a_mode_leaves_the_runs_alone() -> None:
    """The mode is inconclusive, other modes are measured by another process, controls stand."""
    fault = Fault(what="generate", about=A.id, time=5)
    report = scene_in(
        suite_in({"concurrent-4": "tokens", "repeat": "tokens"}), server_of(faults=[fault])
    ).check()

    assert report_on(report, A).verdict == Inconclusive(
        reason=f"concurrent-4: {DEAD.reason}", remedy=DEAD.remedy
    )
    assert report_on(report, A).runs == 4
    assert result_in(report, "repeat").proof is Proof.SEEN
    assert {verdict for id, verdict in verdicts_of(report).items() if id != A.id} == {Match()}
    assert all(control.problem is None for control in report.controls)


def test_a_drift_stands_when_the_engine_dies_in_a_mode() -> None:
    """What was seen alone is a finding."""
    faults = [Fault(what="generate", about=A.id, time=5)]
    suite = suite_in({"concurrent-4": "tokens"}, A)
    report = scene_in(suite, server_of(faults=faults), golden_of(A, generation_of(5))).check()

    assert isinstance(report_on(report, A).verdict, Drift)
    assert result_in(report, "concurrent-4").reason == DEAD.reason


def test_a_dependence_stands_without_the_runs_that_are_left() -> None:
    """What was seen to differ cannot agree by more runs; what is missing is named."""
    fault = Fault(what="generate", about=A.id, time=8, error=REFUSED)
    suite = suite_in({"concurrent-4": "tokens"}, A)
    report = scene_in(suite, server_of(crowded=other, faults=[fault])).check()
    found = report_on(report, A)

    assert found.verdict == Depends(modes=(mode_of("concurrent-4"),))
    assert found.runs == 3
    assert found.unfinished == Inconclusive(reason=REFUSED.reason, remedy=REFUSED.remedy)


def test_a_drift_is_not_announced_as_a_dependence_as_well() -> None:
    """Only what is worse is."""
    goldens = (golden_of(A, generation_of(5)), *recorded_for(B, C))
    scene = scene_in(suite_in({"concurrent-4": "tokens"}), server_of(crowded=other), *goldens)
    scene.check()

    words = sorted(word for _, _, word in scene.progress.findings)
    assert words == ["depends", "depends", "drift"]


def test_the_prompt_before_is_longer_and_leaves_its_cache() -> None:
    """Otherwise nothing of it could be found again."""
    kept: list[str] = []

    def warm(cell: Cell) -> Generation:
        kept.append(str(cell.input))
        return answer_to(A)

    scene_in(suite_in({"after-prefix": "tokens"}, A), server_of(warm=warm)).check()

    assert kept == [f"{A.input} And then it all began again.", A.input]


def test_a_mode_that_kills_every_engine_is_given_up() -> None:
    """After three dead engines in a row its other cells are not tried; other modes are."""
    cells = [cell_of(f"p{number}", sampler=GREEDY) for number in range(5)]
    faults = [Fault(what="generate", about=cell.id, time=4) for cell in cells]
    suite = suite_in({"concurrent-4": "tokens", "repeat": "any"}, *cells, fresh_runs=0, runs=3)
    starter = server_of(faults=faults)
    report = scene_in(suite, starter).check()

    reasons = [result_in(report, "concurrent-4", cell).reason for cell in cells]
    assert reasons[:3] == [DEAD.reason] * 3
    assert all("not tried: the engine failed 3 times in a row" in str(r) for r in reasons[3:])
    assert {result_in(report, "repeat", cell).proof for cell in cells[:3]} == {Proof.SEEN}
    assert starter.are_all_closed


def test_a_refused_answer_makes_its_mode_inconclusive() -> None:
    """The others of the round are compared, and no process is ended."""
    fault = Fault(what="generate", about=A.id, error=REFUSED, time=6)
    starter = server_of(faults=[fault])
    report = scene_in(suite_in({"concurrent-4": "tokens"}, fresh_runs=0), starter).check()

    found = result_in(report, "concurrent-4")
    assert (found.answers, found.reason) == (3, REFUSED.reason)
    assert len(starter.engines) == 1


def test_a_cell_without_runs_alone_has_no_mode() -> None:
    """Nothing is compared with nothing, and the reason is that of its runs."""
    fault = Fault(what="generate", about=A.id, error=REFUSED)
    report = scene_in(suite_in(ALL), server_of(faults=[fault])).check()

    assert report_on(report, A).verdict == Inconclusive(
        reason=REFUSED.reason, remedy=REFUSED.remedy
    )
    assert {each.reason for each in report_on(report, A).modes} == {REFUSED.reason}
    assert report_on(report, B).verdict == Match()


def test_fail_fast_stops_at_a_cell_that_depends() -> None:
    """Nothing runs after it; later cells and modes are not measured, and say so."""
    scene = scene_in(suite_in(ALL), server_of(crowded=other))
    measured, _ = measure_tokens(scene.plan, ports=scene.ports, fail_fast=True)

    assert measured.stopped_at == A
    assert set(measured.modes[A]) == {ALONE, mode_of("concurrent-4")}
    assert set(measured.modes[B]) == {ALONE}
    assert [word for _, _, word in scene.progress.findings] == ["depends"]


def test_a_golden_is_recorded_alone() -> None:
    """An update makes the runs of no mode, and what depends on company can be recorded."""
    scene = scene_in(suite_in(ALL), server_of(crowded=other), golden_of(B, generation_of(5)))
    observation = observe(
        scene.plan, ports=scene.ports, started=scene.clock.now, started_at=STARTED_AT
    )

    assert [golden.cell for golden in observation.goldens] == list(CELLS)
    assert not observation.refused
    assert observation.report is not None
    assert {cell.modes for cell in observation.report.cells} == {()}
    assert {cell.runs for cell in observation.report.cells} == {3}


def test_every_answer_is_counted_by_the_progress() -> None:
    """Runs and compared answers are begun and made, or reported as left out."""
    for starter in (
        server_of(),
        server_of(can=frozenset()),
        server_of(faults=[Fault(what="generate", about=A.id, time=5)]),
        server_of(faults=[Fault(what="generate", about=A.id, error=REFUSED, time=2)]),
    ):
        scene = scene_in(suite_in(ALL), starter)
        scene.check()
        started = sum(event[2] for event in scene.progress.log if event[0] == "started")
        assert scene.progress.runs_accounted_for == started


def _interruptions() -> Iterator[GateReport]:
    def scene_at(step: int | None) -> tuple[Scene, Tripwire]:
        wire = Tripwire(at=step)
        scene = scene_in(suite_in(ALL, A, B), server_of(step=wire))
        scene.progress = RecordingProgress(step=wire)
        return scene, wire

    whole, wire = scene_at(None)
    whole.check()
    for step in range(1, wire.steps + 1):
        scene, _ = scene_at(step)
        yield scene.check()
        assert scene.starter.are_all_closed


def test_an_interruption_leaves_a_report() -> None:
    """A match needs every mode; what was not reached is inconclusive."""
    for report in _interruptions():
        assert exit_code_for(report) is ExitCode.INTERRUPTED
        for cell in report.cells:
            is_seen = all(each.proof is Proof.SEEN for each in cell.modes)
            assert isinstance(cell.verdict, Match if is_seen else Inconclusive)


@settings(deadline=None)
@given(
    st.sets(st.sampled_from(CELLS)),
    st.sampled_from(["concurrent-4", "mixed-2", "mixed-3", "mixed-7"]),
)
def test_dependence_on_company_is_always_found_and_never_invented(
    crowded: set[Cell], mode: str
) -> None:
    """Exactly the cells that answer otherwise in company depend on it."""
    report = checked(
        {mode: "tokens"},
        crowded=lambda cell: other(cell) if cell in crowded else answer_to(cell),
    )

    found = {cell.cell for cell in report.cells if isinstance(cell.verdict, Depends)}
    assert found == crowded
    assert {cell.cell for cell in report.cells if cell.verdict == Match()} == {*CELLS} - crowded
