"""Engine notes are in the report, and change nothing else in it."""

from dataclasses import replace

import pytest

from repro_gate.core.logprobs.policy import SERVER_FINGERPRINT
from repro_gate.core.outcome import decide, exit_code_for
from repro_gate.core.report import Note, NoteOrigin
from repro_gate.core.tokens.measurement import MAX_NOTES, Measurement
from tests.fakes.checking import scene_of
from tests.fakes.engines import ScriptedStarter
from tests.fakes.gating import recorded_scene
from tests.fakes.scoring import NoisyScorer
from tests.fakes.stores import MemoryGoldens, MemoryReferences
from tests.fakes.values import PROFILE, cell_of, generation_of, golden_of, reference_of

A, B = cell_of("haiku"), cell_of("fox")


def _note(about: str, message: str) -> Note:
    return Note(about=about, message=message, origin=NoteOrigin.ENGINE)


def test_notes_on_models_and_prompts_are_reported_once() -> None:
    """A model that is loaded twice and a prompt that runs three times have one note each."""
    starter = ScriptedStarter(notes={"tiny": ("no pre-tokenizer",), A.id: ("two BOS tokens",)})

    assert scene_of(A, B, runs=3, starter=starter).check().notes == (
        _note("tiny", "no pre-tokenizer"),
        _note("tiny--haiku", "two BOS tokens"),
    )


def test_notes_do_not_change_the_outcome() -> None:
    """Cells, outcome and exit code are those of the check without notes."""
    noted = scene_of(A, B, starter=ScriptedStarter(notes={"tiny": ("x",)})).check()
    plain = scene_of(A, B).check()

    assert noted.cells == plain.cells
    assert (decide(noted), exit_code_for(noted)) == (decide(plain), exit_code_for(plain))


def test_a_measurement_keeps_a_bounded_number_of_notes() -> None:
    """An engine that notes something else on every run cannot fill a report."""
    seen = Measurement()
    seen.add_notes(_note("tiny", str(number)) for number in range(2 * MAX_NOTES))

    assert seen.notes == [_note("tiny", str(number)) for number in range(MAX_NOTES)]


def test_notes_of_a_scorer_come_with_its_suite() -> None:
    """What a scorer noticed while it drew is there when the suite is finished."""
    noted = (_note("tiny", "no pre-tokenizer"),)

    assert recorded_scene(NoisyScorer(noticed=noted)).checked().notes == noted


@pytest.mark.parametrize(
    ("before", "after", "is_noted"),
    [("fp_a", "fp_b", True), ("fp_a", "fp_a", False), ("", "fp_b", False), ("fp_a", "", False)],
)
def test_a_changed_server_fingerprint_is_noted(before: str, after: str, *, is_noted: bool) -> None:
    """It is compared with the recorded one; an unknown one is not compared."""
    scorer = NoisyScorer(now={SERVER_FINGERPRINT: before} if before else {})
    scene = recorded_scene(scorer)
    scorer.now = {SERVER_FINGERPRINT: after} if after else {}

    message = "the server's system_fingerprint was fp_a and is now fp_b"
    noted = Note(about="base", message=message, origin=NoteOrigin.SERVER)
    assert scene.checked().notes == ((noted,) if is_noted else ())


def _on_reference(about: str, message: str) -> Note:
    return Note(about=about, message=message, origin=NoteOrigin.GATE)


def test_stale_references_are_noted() -> None:
    """With the command that records them again; one that is current is not."""
    goldens = [golden_of(A), golden_of(B)]
    scene = scene_of(A, B, goldens=MemoryGoldens(goldens))
    current = reference_of(*goldens, variant="current")
    other = reference_of(golden_of(A, generation_of(1)), golden_of(B), variant="other")
    new = replace(reference_of(variant="h200"), cells={"tiny--owl--seed1": other.cells[A.id]})
    scene.references = MemoryReferences(current, other, new)

    assert scene.check().notes == (
        _on_reference(
            "other",
            "this reference lacks the golden of 1 cell as it is now: "
            "repro-gate record-reference --as other, on cpu-test",
        ),
        _on_reference(
            "h200",
            "this reference lacks the golden of 2 cells as it is now: "
            "repro-gate record-reference --as h200, on cpu-test",
        ),
    )


def test_references_that_grade_nothing_are_noted() -> None:
    """Such as those of a variant that was removed from the matrix."""
    scene = scene_of(A)
    scene.references = MemoryReferences(unused=("old",))

    assert scene.check().notes == (
        _on_reference(
            "old",
            f"this reference for {PROFILE} grades nothing: the matrix has no such variant, or "
            "another change by its name",
        ),
    )


def test_a_shard_notes_no_references() -> None:
    """It does not have all the cells; the merged report has the notes."""
    scene = scene_of(A)
    scene.references = MemoryReferences(unused=("old",))
    scene.plan = replace(scene.plan, whole=(A, B))

    assert scene.check().notes == ()
