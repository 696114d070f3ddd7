"""References: what their distances are of."""

from dataclasses import replace

import pytest

from repro_gate.core.tokens.golden import Golden
from tests.fakes.values import GREEDY, PROFILE, cell_of, generation_of, golden_of, reference_of

CELL = cell_of()
GOLDEN = golden_of(CELL, generation_of(7, 8, 9))
ENTRY = reference_of(GOLDEN, distance=0.25).cells[CELL.id]


def test_the_distance_of_a_cell_is_the_mean() -> None:
    """Of its tokens."""
    assert replace(ENTRY, distances=(0.0, 0.1, 0.5)).mean_distance == pytest.approx(0.2)


@pytest.mark.parametrize(
    "other",
    [
        golden_of(CELL, generation_of(7, 8, 10)),
        golden_of(CELL, generation_of(7, 8, 9, prompt=(3,))),
        golden_of(cell_of(sampler=GREEDY), generation_of(7, 8, 9)),
    ],
    ids=["output", "prompt", "sampler"],
)
def test_it_is_of_one_golden(other: Golden) -> None:
    """Distances depend on the tokens before them, and on the sampler."""
    assert (ENTRY.is_of(GOLDEN), ENTRY.is_of(other)) == (True, False)


def test_it_has_a_distance_for_each_token() -> None:
    """A file that lost one is of no golden."""
    assert not replace(ENTRY, distances=(0.0, 0.0)).is_of(GOLDEN)


def test_new_goldens_make_it_stale() -> None:
    """Also one that it does not have yet; one of a model that it leaves out does not."""
    fox, other = golden_of(cell_of("fox")), golden_of(cell_of(model="other"))
    reference = reference_of(GOLDEN, fox)
    changed, new = golden_of(CELL, generation_of(1)), golden_of(cell_of("owl"))

    assert reference.stale([GOLDEN, fox, other]) == ()
    assert reference.stale([changed, fox, new, other]) == (CELL.id, new.cell.id)


@pytest.mark.parametrize(
    ("change", "measured_on", "remedy"),
    [
        ({"setting.threads": "2"}, "cpu-a", "--variant no-flash-attention"),
        ({}, "cpu-a", f"--as no-flash-attention --profile {PROFILE}, on cpu-a"),
        ({}, PROFILE, f"--as no-flash-attention, on {PROFILE}"),
    ],
)
def test_its_remedy_is_the_command_that_recorded_it(
    change: dict[str, str], measured_on: str, remedy: str
) -> None:
    """Of another machine there."""
    found = replace(reference_of(GOLDEN), change=change, measured_on=measured_on)

    assert found.remedy == f"repro-gate record-reference {remedy}"
