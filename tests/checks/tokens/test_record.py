"""What an update would change, and the change itself."""

from dataclasses import replace

import pytest

from repro_gate.checks.tokens.record import (
    ChangeKind,
    GoldenChange,
    LenientGoldenReader,
    Observation,
    Proposal,
    apply,
    changed_goldens,
    observe,
    observed_elsewhere,
    observed_goldens,
    orphans_of,
    propose,
    refused,
    unpinned,
)
from repro_gate.core.report import EngineReport
from repro_gate.core.tokens.generation import Generation
from repro_gate.core.tokens.golden import Golden
from repro_gate.core.tokens.verdicts import Drift, Inconclusive, Match, Unrecorded, Vacuous
from tests.fakes.checking import STARTED_AT, recorded_for, report_on, scene_of, verdicts_of
from tests.fakes.engines import REFUSED, Fault, ScriptedStarter
from tests.fakes.stores import MemoryGoldens, MemoryPins
from tests.fakes.values import (
    PROFILE,
    answer_to,
    cell_of,
    digest_of,
    generation_of,
    golden_of,
    matrix_of,
    model_facts_of,
    model_spec_of,
    provenance_of,
    suite_of,
    trace_of,
)

A, B, C = cell_of("haiku"), cell_of("fox"), cell_of("moon")
OTHER = cell_of("haiku", model="other")
SAID, MOVED = generation_of(5, 6, 7), generation_of(5, 6, 8)


def _propose(
    *observed: Golden, goldens: MemoryGoldens, orphans: tuple[tuple[str, str], ...] = ()
) -> Proposal:
    return propose(observed, goldens=goldens, digests={}, orphans=orphans)


def _change(
    kind: ChangeKind, before: Golden | None, after: Golden | None, cell_id: str = A.id
) -> GoldenChange:
    return GoldenChange(kind=kind, profile=PROFILE, cell_id=cell_id, before=before, after=after)


def test_a_golden_that_is_not_there_is_new() -> None:
    """What was observed is written."""
    new = golden_of(A, SAID)
    proposal = _propose(new, goldens=MemoryGoldens())

    assert proposal == Proposal(changes=(_change(ChangeKind.NEW, None, new),), unchanged=0, pins={})
    assert not proposal.is_empty


def test_a_golden_of_another_profile_is_not_there() -> None:
    """The first recording on a new class of machine changes nothing of the others."""
    new = golden_of(A, SAID)
    goldens = MemoryGoldens([golden_of(A, MOVED, profile="cpu-other")])

    assert _propose(new, goldens=goldens).changes == (_change(ChangeKind.NEW, None, new),)


def test_other_tokens_are_a_change_of_tokens() -> None:
    """Both what it was and what it becomes are shown."""
    old, new = golden_of(A, SAID), golden_of(A, MOVED)

    assert _propose(new, goldens=MemoryGoldens([old])) == Proposal(
        changes=(_change(ChangeKind.UPDATED, old, new),), unchanged=0, pins={}
    )


def test_other_prompt_tokens_are_a_change_of_tokens() -> None:
    """The prompt is part of what is compared, so it is part of what is recorded."""
    old, new = golden_of(A, SAID), golden_of(A, generation_of(5, 6, 7, prompt=(9,)))

    assert _propose(new, goldens=MemoryGoldens([old])).changes == (
        _change(ChangeKind.UPDATED, old, new),
    )


@pytest.mark.parametrize("output", [SAID, MOVED])
def test_another_definition_is_a_change_of_definition(output: Generation) -> None:
    """Whether its tokens moved with it or not, the question is another one."""
    old, new = golden_of(replace(A, max_tokens=9), SAID), golden_of(A, output)

    assert _propose(new, goldens=MemoryGoldens([old])).changes == (
        _change(ChangeKind.REDEFINED, old, new),
    )


def test_a_broken_golden_is_repaired() -> None:
    """An unreadable file is replaced, and the change is named so."""
    new = golden_of(A, SAID)

    assert _propose(new, goldens=MemoryGoldens(broken=[(PROFILE, A.id)])).changes == (
        _change(ChangeKind.REPAIRED, None, new),
    )


def test_identical_tokens_are_not_rewritten() -> None:
    """Different provenance or log-probabilities alone cause no diff."""
    old = golden_of(A, generation_of(5, 6, 7, is_traced=True), provenance={"device.name": "OLD"})
    proposal = _propose(golden_of(A, SAID), goldens=MemoryGoldens([old]))

    assert proposal == Proposal(changes=(), unchanged=1, pins={})
    assert proposal.is_empty


def test_orphans_are_removed_after_everything_else() -> None:
    """A golden that no cell claims is shown before it goes, if it can be read at all."""
    orphan, new = golden_of(B), golden_of(A)
    goldens = MemoryGoldens([orphan], broken=[(PROFILE, C.id)])
    proposal = _propose(new, goldens=goldens, orphans=((PROFILE, B.id), (PROFILE, C.id)))

    assert proposal.changes == (
        _change(ChangeKind.NEW, None, new),
        _change(ChangeKind.REMOVED, orphan, None, B.id),
        _change(ChangeKind.REMOVED, None, None, C.id),
    )


def test_pins_alone_are_something_to_do() -> None:
    """A model that nothing pinned so far is pinned, even when no golden changes."""
    proposal = propose([], goldens=MemoryGoldens(), digests={"tiny": "0" * 64})

    assert proposal == Proposal(changes=(), unchanged=0, pins={"tiny": "0" * 64})
    assert not proposal.is_empty


def test_proposing_changes_nothing() -> None:
    """It is there to be looked at first."""
    goldens = MemoryGoldens([golden_of(A, SAID), golden_of(B)])
    _propose(golden_of(A, MOVED), goldens=goldens, orphans=((PROFILE, B.id),))

    assert goldens.log == []


def test_applying_writes_removes_and_pins() -> None:
    """Exactly what was proposed is done, in its order."""
    store, pins = MemoryGoldens([golden_of(A, SAID), golden_of(B)]), MemoryPins()
    moved = golden_of(A, MOVED)
    changes = _propose(moved, goldens=store, orphans=((PROFILE, B.id),)).changes
    apply(Proposal(changes=changes, unchanged=0, pins={"tiny": "0" * 64}), store=store, pins=pins)

    assert store.log == [("write", PROFILE, A.id), ("remove", PROFILE, B.id)]
    assert store.kept == {(PROFILE, A.id): moved}
    assert pins.log == [{"tiny": "0" * 64}]


def test_applying_nothing_touches_nothing() -> None:
    """An empty proposal writes no file, the pins included."""
    store, pins = MemoryGoldens(), MemoryPins()
    apply(Proposal(changes=(), unchanged=3, pins={}), store=store, pins=pins)

    assert (store.log, pins.log) == ([], [])


def test_what_was_observed_becomes_golden_with_its_provenance() -> None:
    """Matching, drifting and unrecorded cells may all be recorded."""
    goldens = MemoryGoldens([golden_of(A), golden_of(B, generation_of(9))])
    report = scene_of(A, B, C, goldens=goldens).check()
    kinds = [type(report_on(report, cell).verdict) for cell in (A, B, C)]

    assert kinds == [Match, Drift, Unrecorded]
    assert observed_goldens(report) == [
        golden_of(
            cell,
            replace(answer_to(cell), trace=trace_of(answer_to(cell).tokens)),
            provenance=provenance_of("tiny"),
        )
        for cell in (A, B, C)
    ]
    assert refused(report) == []


def test_each_golden_has_the_provenance_of_its_own_engine() -> None:
    """Two engines of one profile are distinguished by name."""
    matrix = matrix_of(suite_of(A, OTHER), engines={"other": "second"})
    second = EngineReport(name="second", profile=PROFILE, facts={"engine": "another"})
    starter = ScriptedStarter(reports={"second": second})
    report = scene_of(matrix=matrix, starter=starter, goldens=MemoryGoldens()).check()

    assert [golden.provenance for golden in observed_goldens(report)] == [
        provenance_of("tiny"),
        {"engine": "another", **model_facts_of("other")},
    ]


def test_cells_that_must_not_become_goldens_are_refused() -> None:
    """Unstable, vacuous and unmeasured cells are refused; orphans are neither."""
    starter = ScriptedStarter(
        voice=lambda cell: SAID if cell.model == "stuck" else answer_to(cell),
        script={A: [SAID, MOVED]},
        faults=[Fault(what="generate", about=C.id, error=REFUSED)],
    )
    stuck = replace(B, model="stuck")
    orphan = golden_of(cell_of("train"))
    report = scene_of(A, C, stuck, OTHER, starter=starter, goldens=MemoryGoldens([orphan])).check()

    assert [cell.id for cell in refused(report)] == [A.id, C.id, stuck.id]
    assert [golden.cell for golden in observed_goldens(report)] == [OTHER]


@pytest.mark.parametrize(
    ("faults", "doubted"),
    [
        ([], Vacuous),
        ([Fault(what="generate", about=replace(A, seed=43).id, error=REFUSED)], Inconclusive),
    ],
    ids=["failed", "not-run"],
)
def test_a_drift_of_a_model_that_fails_its_controls_is_not_recorded(
    faults: list[Fault], doubted: type[Vacuous | Inconclusive]
) -> None:
    """The drift is a finding, but its golden could not fail a check."""
    voice = answer_to if faults else lambda _: SAID
    goldens = MemoryGoldens([golden_of(A, MOVED)])
    report = scene_of(
        A, starter=ScriptedStarter(voice=voice, faults=faults), goldens=goldens
    ).check()

    assert isinstance(report_on(report, A).verdict, Drift)
    assert observed_goldens(report) == []
    assert [type(cell.verdict) for cell in refused(report)] == [doubted]


def test_a_drift_of_too_few_runs_is_not_recorded() -> None:
    """It is a finding, but the runs that would show that it is stable are missing."""
    faults = [Fault(what="generate", about=A.id, time=3)]
    goldens = MemoryGoldens([golden_of(A, MOVED)])
    report = scene_of(A, B, starter=ScriptedStarter(faults=faults), goldens=goldens).check()

    assert isinstance(report_on(report, A).verdict, Drift)
    assert [golden.cell for golden in observed_goldens(report)] == [B]
    assert [cell.id for cell in refused(report)] == [A.id]


def test_an_unfinished_cell_is_not_recorded() -> None:
    """A cell that was run, but not as often as it should be, proves too little."""
    faults = [Fault(what="generate", about=A.id, error=KeyboardInterrupt(), time=2)]
    starter = ScriptedStarter(faults=faults)
    report = scene_of(A, starter=starter, goldens=MemoryGoldens()).check()

    assert report_on(report, A).generation is not None
    assert observed_goldens(report) == []
    assert [cell.verdict for cell in refused(report)] == [
        Inconclusive(reason="the check was interrupted", remedy="let the check run to its end")
    ]


def test_an_unknown_verdict_is_a_crash() -> None:
    """Only verdicts known to be recordable are recorded."""
    report = scene_of(A).check()
    strange = replace(report.cells[0], verdict="looks fine")  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="unreachable"):
        refused(replace(report, cells=(strange,)))


def test_a_recording_is_what_the_next_check_agrees_with() -> None:
    """Check, record, check again: everything matches, and nothing is left to record."""
    cells, store = (A, B, C, OTHER), MemoryGoldens()
    observed = observed_goldens(scene_of(*cells, goldens=store).check())
    apply(_propose(*observed, goldens=store), store=store, pins=MemoryPins())
    again = scene_of(*cells, goldens=store).check()

    assert {cell.verdict for cell in again.cells} == {Match()}
    assert _propose(*observed_goldens(again), goldens=store).is_empty


def test_orphans_are_those_of_the_measured_profiles() -> None:
    """Sorted by profile and id, without those of other machines."""
    goldens = MemoryGoldens(
        [*recorded_for(A, C, B), golden_of(C, profile="a-first"), golden_of(B, profile="unseen")]
    )
    found = orphans_of(goldens.recorded, [PROFILE, "a-first", PROFILE], claimed={A.id})

    assert found == [("a-first", C.id), (PROFILE, B.id), (PROFILE, C.id)]


def test_a_pattern_limits_what_is_pruned() -> None:
    """An update of a part removes nothing from the rest."""
    goldens = MemoryGoldens(recorded_for(B, C))

    found = orphans_of(goldens.recorded, [PROFILE], claimed={A.id}, only="*--fox--*")

    assert found == [(PROFILE, B.id)]


def test_models_that_nothing_pins_are_unpinned() -> None:
    """Neither matrix nor pin fixes it, it was loaded here, and something of it is recorded."""
    names = ("fixed", "mute", "refused")
    matrix = matrix_of(suite_of(A, OTHER, *(cell_of(model=name) for name in names)))
    matrix = replace(
        matrix, models={**matrix.models, "fixed": model_spec_of("fixed", sha256="0" * 64)}
    )
    loaded = {name: model_facts_of(name) for name in ("tiny", "other", "elsewhere", *names)}
    pinned = {"other": "1" * 64}

    recorded = loaded.keys() - {"refused"}
    found = unpinned({**loaded, "mute": {}}, recorded=recorded, matrix=matrix, pinned=pinned)
    assert found == {"tiny": digest_of("tiny")}


def test_a_broken_golden_counts_as_missing() -> None:
    """Only goldens that can be read are recorded."""
    goldens = LenientGoldenReader(MemoryGoldens(recorded_for(A), broken=[(PROFILE, B.id)]))

    assert goldens.recorded(PROFILE) == {A.id}


def test_whole_goldens_are_read_as_ever() -> None:
    """Profiles and goldens come from what is kept."""
    other = golden_of(B, profile="cpu-other")
    goldens = LenientGoldenReader(MemoryGoldens([golden_of(A), other]))

    assert goldens.profiles() == {PROFILE, "cpu-other"}
    assert goldens.read("cpu-other", B.id) == other


def test_a_lenient_check_continues_past_a_broken_golden() -> None:
    """Its cell is unrecorded, and the check is not refused."""
    goldens = LenientGoldenReader(MemoryGoldens(recorded_for(A), broken=[(PROFILE, B.id)]))

    assert verdicts_of(scene_of(A, B, goldens=goldens).check()) == {
        A.id: Match(),
        B.id: Unrecorded(reason="there is no golden for this profile"),
    }


def test_a_measurement_is_observed_past_a_broken_golden() -> None:
    """The broken golden is one that the update repairs; a dead engine refuses its own cell."""
    starter = ScriptedStarter(faults=[Fault(what="generate", about=B.id, error=REFUSED)])
    goldens = MemoryGoldens([], broken=[(PROFILE, A.id)])
    scene = scene_of(A, B, starter=starter, goldens=goldens)

    seen = observe(scene.plan, ports=scene.ports, started=0.0, started_at=STARTED_AT)

    assert seen.report is not None
    assert seen == Observation(
        goldens=observed_goldens(seen.report),
        profiles=frozenset({PROFILE}),
        models=seen.report.models,
        refused=refused(seen.report),
        notes=seen.report.notes,
        report=seen.report,
    )
    assert [golden.cell for golden in seen.goldens] == [A]
    assert [cell.id for cell in seen.refused] == [B.id]


def test_another_check_is_limited_to_the_selected_cells() -> None:
    """Profiles and models are those of the selected goldens."""
    other = golden_of(OTHER, profile="elsewhere")
    report = replace(
        scene_of(A).check(),
        models={"tiny": model_facts_of("tiny"), "other": model_facts_of("other")},
    )

    seen = observed_elsewhere([golden_of(A), other], report, cells={OTHER.id})

    assert seen == Observation(
        goldens=[other], profiles=frozenset({"elsewhere"}), models={"other": report.models["other"]}
    )


def test_what_matched_elsewhere_is_in_the_report() -> None:
    """It has no file of its own, unless an earlier version wrote one."""
    report = scene_of(A, B).check()
    written = replace(golden_of(B), provenance={"from": "a file"})

    seen = observed_elsewhere([written], report, cells={A.id, B.id})

    assert (changed_goldens(report), seen.goldens) == ([], [observed_goldens(report)[0], written])
