"""Draw sets: which draws are requested, and which of them count."""

from hypothesis import given
from hypothesis import strategies as st

from repro_gate.checks.logprobs.collect import DrawCollector, DrawSet
from repro_gate.core.logprobs.baseline import Noise
from repro_gate.core.logprobs.draw import Draw, InvalidDraw, MissedDraw
from repro_gate.core.logprobs.verdicts import Invalid
from repro_gate.core.tokens.verdicts import Inconclusive
from repro_gate.ports import Purpose
from tests.fakes.baseline_stores import MemoryDrawLog
from tests.fakes.scoring import NoisyScorer, encoding_of, moved_draws, suite_of_logprobs
from tests.fakes.watching import RecordingProgress

(CELL,) = suite_of_logprobs(items=1).cells
NOISE = Noise(center=-42.0, scale=0.5, deviation=0.5, atom=0.1, floor=1.0)
NEAR, FAR = Draw(logprobs=(-42.0,)), Draw(logprobs=(-156.5,))


def draw_set_of(noise: Noise | None = NOISE) -> DrawSet:
    """Return an empty draw set."""
    return DrawSet(
        cell=CELL,
        encoding=encoding_of(CELL, 1),
        purpose=Purpose.FIRST_LOOK,
        answers_as=None,
        noise=noise,
        factor=20.0,
    )


def asked(look: DrawSet, wanted: int) -> list[int]:
    """Return the numbers of the draws that a set requests."""
    return [request.number for request in look.requests(wanted)]


def test_a_set_requests_the_draws_it_lacks() -> None:
    """Draws are numbered from 1, and none is requested twice."""
    look = draw_set_of()

    assert asked(look, 2) == [1, 2]
    look.take(2, NEAR)
    look.take(1, NEAR)
    assert asked(look, 2) == []
    assert asked(look, 5) == [3, 4, 5]


def test_an_outlier_is_replaced_by_the_next_number() -> None:
    """So a resumed check requests the same draws."""
    look = draw_set_of()
    look.requests(3)
    for number, draw in ((1, NEAR), (2, FAR), (3, NEAR)):
        look.take(number, draw)

    assert asked(look, 3) == [4]
    assert (look.usable, look.outlying) == ([NEAR, NEAR], [FAR])


def test_without_noise_every_draw_is_usable() -> None:
    """Calibration draws define the noise."""
    look = draw_set_of(noise=None)
    look.requests(3)
    for number, draw in ((1, NEAR), (2, FAR), (3, NEAR)):
        look.take(number, draw)

    assert (look.usable, look.outlying) == ([NEAR, FAR, NEAR], [])


def test_draws_are_in_the_order_of_their_numbers() -> None:
    """Independently of the order of the answers."""
    one, two = Draw(logprobs=(-42.1,)), Draw(logprobs=(-42.2,))
    look = draw_set_of()
    look.take(2, two)
    look.take(1, one)

    assert look.draws == look.usable == [one, two]


def test_a_failed_set_requests_nothing() -> None:
    """The first reason is kept, and invalid draws are counted."""
    invalid, missed = draw_set_of(), draw_set_of()
    invalid.take(1, InvalidDraw(reason="first", position=3))
    invalid.take(2, InvalidDraw(reason="second", position=4))
    missed.take(1, MissedDraw(reason="first", remedy="wait"))
    missed.take(2, MissedDraw(reason="second"))

    assert invalid.invalid == Invalid(reason="first", position=3, count=2)
    assert missed.missed == Inconclusive(reason="first", remedy="wait")
    assert (asked(invalid, 5), asked(missed, 5)) == ([], [])


@given(st.lists(st.booleans(), min_size=12, max_size=12), st.integers(1, 5))
def test_a_set_ends_with_the_wanted_number_of_usable_draws(
    are_far: list[bool], wanted: int
) -> None:
    """However many outliers there are: when most draws are distant, none is an outlier."""
    far = {
        (CELL.id, "first_look", number): -114.0
        for number, is_far in enumerate(are_far, start=1)
        if is_far
    }
    scorer = NoisyScorer(tokens=1, shift=moved_draws(far))
    drawer = DrawCollector(scorer=scorer, log=MemoryDrawLog(), progress=RecordingProgress())
    (request,) = draw_set_of().requests(1)
    center = scorer.drawn(request).total + far.get(request.key, 0.0) * -1
    look = draw_set_of(noise=Noise(center=center, scale=0, deviation=0, atom=1, floor=1))
    drawer.fill({CELL.id: wanted}, {CELL.id: look})

    assert len(look.usable) >= wanted
    assert len(look.draws) == drawer.calls <= 2 * wanted
