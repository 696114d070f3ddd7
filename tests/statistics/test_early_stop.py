"""A look is ended early only where no draws to come could make it suspicious."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from repro_gate.statistics.cell import is_suspicious
from repro_gate.statistics.early_stop import is_decided
from repro_gate.statistics.permutation import Floats

ATOM = -42.0
PLANNED = 5
NAMED = (-42.0, -42.5, -41.0, -47.0, -40.0, -44.0)
FAR = (-1e6, -500.0, 0.0)


def column(*totals: float) -> Floats:
    """Return draws of a single token."""
    return np.array(totals)[:, np.newaxis]


@st.composite
def looks(draw: st.DrawFn) -> tuple[Floats, Floats, int]:
    """Draw calibration draws, of which most may be alike, the first new ones, and how many come."""
    tokens = draw(st.integers(1, 2))
    values = st.lists(st.sampled_from(NAMED), min_size=tokens, max_size=tokens)
    usual = draw(values)
    draws = st.just(usual) | st.just(usual) | values
    calibration = draw(st.lists(draws, min_size=6, max_size=10))
    planned = draw(st.integers(3, PLANNED))
    drawn = draw(st.lists(draws, min_size=2, max_size=planned - 1))
    return np.array(calibration), np.array(drawn), planned


def completions(calibration: Floats, drawn: Floats, remaining: int) -> list[Floats]:
    """Return what a service that wants to look suspicious could draw next.

    Far away or seen before, all equal or all different.
    """
    tokens = calibration.shape[1]
    known = np.unique(np.concatenate([calibration, drawn]), axis=0)
    kinds = [*known, *(np.full(tokens, value) for value in FAR), known.mean(axis=0)]
    steps = np.tile(np.arange(1, remaining + 1)[:, np.newaxis] * -0.25, tokens)
    spread = [value + steps for value in FAR]
    if remaining == 1 or len(kinds) ** remaining < 200:
        return [*spread, *(np.array(chosen) for chosen in product(kinds, repeat=remaining))]
    return [*spread, *(np.tile(kind, (remaining, 1)) for kind in kinds)]


@given(looks())
@example((column(*[ATOM] * 6, *NAMED[1:5]), column(ATOM, ATOM), 5))
@example((column(*[-9.6] * 4, -9.1, -9.1, -8.9, -8.9), column(-9.2, -9.2), 3))
@example((column(-6.6, -6.7, -6.7, -2, -5, -6.6, -5, -2), column(-1.5, -9.0), 5))
def test_no_draws_to_come_make_a_decided_look_suspicious(look: tuple[Floats, Floats, int]) -> None:
    """Whatever is drawn, also when it repeats itself or what was new before."""
    calibration, drawn, planned = look
    if not is_decided(calibration, drawn, planned=planned):
        return

    for rest in completions(calibration, drawn, planned - len(drawn)):
        assert not is_suspicious(calibration, np.concatenate([drawn, rest]))


def test_a_service_that_repeats_itself_is_decided_after_two_draws() -> None:
    """Three more draws of whatever kind could not make two repeats suspicious."""
    assert is_decided(column(*[ATOM] * 10), column(ATOM, ATOM), planned=PLANNED)


def test_one_of_ten_that_did_not_repeat_changes_nothing() -> None:
    """Most services are so."""
    assert is_decided(column(*[ATOM] * 9, -43.0), column(ATOM, ATOM), planned=PLANNED)


def test_a_draw_off_the_atom_keeps_the_look_open() -> None:
    """Should the rest be off it as well, that would be suspicious."""
    assert not is_decided(column(*[ATOM] * 10), column(ATOM, -43.0), planned=PLANNED)
    assert not is_decided(column(*[ATOM] * 10), column(-43.0, -43.0), planned=PLANNED)


def test_draws_among_the_others_are_decided_later() -> None:
    """Of a service that never repeats itself it takes draws on both sides of the middle."""
    calibration = column(*(ATOM + step / 10 for step in range(-5, 5)))

    assert not is_decided(calibration, column(ATOM + 0.01, ATOM - 0.02), planned=PLANNED)
    assert is_decided(
        calibration, column(ATOM + 0.01, ATOM - 0.02, -41.79, -42.21), planned=PLANNED
    )


@pytest.mark.parametrize("drawn", [PLANNED, PLANNED + 1])
def test_a_look_that_is_complete_is_not_decided_early(drawn: int) -> None:
    """The result is up to the test itself."""
    assert not is_decided(column(*[ATOM] * 10), column(*[ATOM] * drawn), planned=PLANNED)


def test_two_repeats_do_not_decide_a_longer_look() -> None:
    """With 8 draws the 6 that remain could be suspicious, and with 5 the 3 could not."""
    singles_in_new = math.comb(12, 2) / math.comb(18, 8)

    assert singles_in_new < 0.012
    assert not is_decided(column(*[ATOM] * 10), column(ATOM, ATOM), planned=8)
