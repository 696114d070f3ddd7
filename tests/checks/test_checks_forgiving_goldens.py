"""For an update, a broken golden counts as missing: the update is what repairs it."""

from repro_gate.checks.recording import LenientGoldenReader
from repro_gate.core.verdicts import Match, Unrecorded
from tests.fakes.checking import recorded_for, scene_of, verdicts_of
from tests.fakes.stores import MemoryGoldens
from tests.fakes.values import PROFILE, cell_of, golden_of

A, B = cell_of("haiku"), cell_of("fox")


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


def test_a_check_goes_on_past_a_broken_golden() -> None:
    """Its cell is unrecorded instead of the whole check being refused."""
    goldens = LenientGoldenReader(MemoryGoldens(recorded_for(A), broken=[(PROFILE, B.id)]))

    assert verdicts_of(scene_of(A, B, goldens=goldens).check()) == {
        A.id: Match(),
        B.id: Unrecorded(reason="there is no golden for this profile"),
    }
