"""Two looks at one cell: suspicion, confirmation, size, and what may be claimed without them."""

import math

import numpy as np
import pytest

from repro_gate.core.logprobs.draw import Encoding, Piece
from repro_gate.core.logprobs.verdicts import Deciding, Effect, Equivalence, Evidence, TokenShift
from repro_gate.statistics.bands import tolerance_factor
from repro_gate.statistics.cell import (
    Confirmed,
    band_of,
    confirm,
    effect_of,
    equivalence_of,
    is_suspicious,
    repeated,
    token_shifts,
)
from repro_gate.statistics.permutation import (
    Floats,
    as_column,
    corrections,
    two_samples,
)

FLOOR = 0.1
ENCODING = Encoding(
    prompt=(Piece(1, b"p"),), response=tuple(Piece(number, b" t") for number in range(7))
)
CALIBRATION = np.full((10, 7), -2.0)
LEAST = 2 / math.comb(20, 10)


def new_draws(*tokens: float, count: int = 5) -> Floats:
    """Return draws that are all alike, away by so much; the last tokens are as they were."""
    away = np.zeros(7)
    away[: len(tokens)] = tokens
    return np.tile(-2.0 + away, (count, 1))


def test_repeats_are_not_suspicious() -> None:
    """Nothing else needs to be drawn."""
    assert not is_suspicious(CALIBRATION, new_draws())


def test_one_draw_off_the_atom_is_not_suspicious() -> None:
    """Most services do that once in ten."""
    assert not is_suspicious(
        CALIBRATION, np.concatenate([new_draws(count=4), new_draws(1, count=1)])
    )


def test_draws_off_the_atom_are_suspicious() -> None:
    """Even by a hundredth of a nat."""
    assert is_suspicious(CALIBRATION, new_draws(0.01))


def test_an_inconspicuous_second_look_confirms_nothing() -> None:
    """Suspicion has to persist."""
    assert confirm(CALIBRATION, new_draws(1.0), new_draws()) is None


def test_an_equal_second_look_confirms() -> None:
    """The p-value is that of both looks, corrected for the three statistics."""
    found = confirm(CALIBRATION, new_draws(0.5), new_draws(0.5))
    factors = corrections(two_samples(CALIBRATION, new_draws(0.5, count=10)))

    assert found == Confirmed(p_values={name: factors[name] * LEAST for name in Evidence})
    assert found.p_value == factors[Evidence.EXACT_REPEATS] * LEAST


def test_a_p_value_is_at_most_1() -> None:
    """Three times a half is not."""
    calibration = np.array([[-1.0], [-1.0], [-1.5], [-1.0], [-1.0]])
    first, second = np.full((5, 1), -1.0), np.full((3, 1), -2.0)
    found = confirm(calibration, first, second)

    assert found is not None
    assert found.p_value <= 1.0


def test_only_what_the_second_look_alone_confirms_is_evidence() -> None:
    """The first look may have been sure of something else."""
    generator = np.random.default_rng(4)
    calibration = generator.normal(-2, 0.1, (10, 2))
    first = generator.normal([-1, -1], 0.1, (5, 2))
    second = generator.normal([-1, -3], 0.1, (5, 2))
    found = confirm(calibration, first, second)

    assert found is not None
    assert list(found.p_values) == [Evidence.TOKENS]
    assert found.p_value < 0.01


@pytest.mark.parametrize(
    ("evidence", "tokens", "is_beyond"),
    [
        (Evidence.SUM, (0.3,), True),
        (Evidence.SUM, (0.3, -0.3), False),
        (Evidence.TOKENS, (0.3, -0.3), True),
        (Evidence.TOKENS, (0.05,) * 7, False),
        (Evidence.SUM, (0.05,) * 7, True),
        (Evidence.EXACT_REPEATS, (0.3, -0.3), True),
        (Evidence.EXACT_REPEATS, (0.05,) * 7, True),
        (Evidence.EXACT_REPEATS, (0.01,) * 7, False),
    ],
)
def test_what_was_shown_has_to_be_beyond_its_band(
    evidence: Evidence, tokens: tuple[float, ...], *, is_beyond: bool
) -> None:
    """The sum by itself, a token by itself; exact repeats show in either."""
    _, beyond = effect_of(
        {evidence: 0.0},
        draws=(CALIBRATION, new_draws(*tokens)),
        floor=FLOOR,
        of=ENCODING,
    )

    assert beyond is is_beyond


@pytest.mark.parametrize(
    ("tokens", "evidence"),
    [
        ((0.3, -0.25), Evidence.TOKENS),
        ((0.05, 0.04), Evidence.SUM),
        ((0.3, 0.3), Evidence.SUM),
    ],
)
def test_of_what_is_certain_that_beyond_its_band_counts(
    tokens: tuple[float, ...], evidence: Evidence
) -> None:
    """A sum that has certainly moved a little hides no token that has moved far."""
    effect, is_beyond = effect_of(
        {Evidence.SUM: 0.001, Evidence.TOKENS: 0.002},
        draws=(CALIBRATION, new_draws(*tokens)),
        floor=FLOOR,
        of=ENCODING,
    )

    assert (effect.evidence, is_beyond) == (evidence, max(tokens) > FLOOR)


@pytest.mark.parametrize("evidence", list(Evidence))
def test_a_distance_is_decided_by_a_token(evidence: Evidence) -> None:
    """It is beyond its band, the mean of those of the tokens, only if one is beyond its own."""
    effect, is_beyond = effect_of(
        {evidence: 0.001},
        draws=(CALIBRATION, new_draws(0.5, -0.5, 0.0, 0.0)),
        floor=FLOOR,
        of=ENCODING,
        by_distance=True,
    )

    assert effect.deciding.token is not None
    assert (effect.deciding.token.position, is_beyond) == (0, True)
    assert effect.shift == pytest.approx(1.0 / len(ENCODING.response))
    assert effect.band == pytest.approx(FLOOR)


def test_what_is_certain_is_corrected_alike() -> None:
    """By the factor that the smallest p-value of the cell has to bear among the other cells."""
    found = Confirmed(p_values={Evidence.SUM: 0.001, Evidence.TOKENS: 0.002})

    assert found.significant(0.004, level=0.008) == pytest.approx(
        {Evidence.SUM: 0.004, Evidence.TOKENS: 0.008}
    )
    assert list(found.significant(0.004, level=0.007)) == [Evidence.SUM]
    assert found.significant(0.004, level=0.003) == {}


@pytest.mark.parametrize("evidence", list(Evidence))
def test_without_a_floor_what_moved_decides(evidence: Evidence) -> None:
    """Every band is 0, and so is the shift of all other tokens: they decide nothing."""
    effect, is_beyond = effect_of(
        {evidence: 0.001},
        draws=(CALIBRATION, new_draws(0.0, 0.3, 0.0, 0.25)),
        floor=0.0,
        of=ENCODING,
    )

    token = effect.deciding.token
    assert is_beyond
    assert effect.deciding.shift == pytest.approx(0.3 if evidence is Evidence.TOKENS else 0.55)
    assert (token and token.position) == (1 if evidence is Evidence.TOKENS else None)


def test_an_effect_has_its_numbers() -> None:
    """Shift and band of the sum, and the tokens that moved most, first."""
    effect, _ = effect_of(
        {Evidence.SUM: 0.002},
        draws=(CALIBRATION, new_draws(-0.25, 0.0, -0.5)),
        floor=FLOOR,
        of=ENCODING,
    )

    assert effect == Effect(
        evidence=Evidence.SUM,
        p_value=0.002,
        shift=-0.75,
        band=FLOOR,
        deciding=Deciding(
            token=None,
            shift=-0.75,
            band=FLOOR,
            calibration=(-14.0,) * 10,
            draws=(-14.75,) * 5,
        ),
        tokens=(
            TokenShift(position=2, piece=Piece(2, b" t"), expected=-2.0, observed=-2.5),
            TokenShift(position=0, piece=Piece(0, b" t"), expected=-2.0, observed=-2.25),
        ),
    )


@pytest.mark.parametrize(
    ("evidence", "tokens", "position"),
    [
        (Evidence.SUM, (0.3, 0.05), None),
        (Evidence.TOKENS, (0.05, 0.3), 1),
        (Evidence.EXACT_REPEATS, (0.3, 0.3), None),
        (Evidence.EXACT_REPEATS, (-0.3467, 0.33), 0),
        (Evidence.EXACT_REPEATS, (0.01, 0.02), None),
    ],
)
def test_the_quantity_that_decided_is_named_with_its_band(
    evidence: Evidence, tokens: tuple[float, ...], position: int | None
) -> None:
    """What left its band, and of a service without noise that is the sum where it did, too."""
    new = new_draws(*tokens)
    effect, is_beyond = effect_of(
        {evidence: 0.001}, draws=(CALIBRATION, new), floor=FLOOR, of=ENCODING
    )
    deciding = effect.deciding

    assert (deciding.token and deciding.token.position) == position
    assert (abs(deciding.shift) > deciding.band) is is_beyond
    column = new.sum(axis=1) if position is None else new[:, position]
    assert deciding.draws == pytest.approx(column.tolist())
    assert deciding.token is None or deciding.token.shift == pytest.approx(deciding.shift)


def test_at_most_five_tokens_are_named() -> None:
    """Of equal shifts the first ones."""
    found = token_shifts(CALIBRATION, new_draws(*[0.5] * 7), ENCODING)

    assert [token.position for token in found] == [0, 1, 2, 3, 4]


def test_the_band_of_a_noisy_cell_is_wider_than_the_floor() -> None:
    """It is the tolerance factor times the deviation."""
    calibration = np.array([[-2.0 - step] for step in range(10)])

    assert band_of(CALIBRATION, 5, floor=FLOOR) == FLOOR
    assert band_of(calibration, 5, floor=FLOOR) == pytest.approx(
        tolerance_factor(10, 5) * 1.4826 * 2.5
    )


def test_repeats_are_counted_to_the_last_digit_that_counts() -> None:
    """Any calibration draw may be the one that is repeated, with all its tokens."""
    calibration = np.array([[-1.0, -2.0], [-2.0, -1.0]])
    new = np.array([[-2.0, -1.0 + 5e-6], [-1.0, -1.0], [-1.0, -2.0], [-2.0, -1.0 + 5e-5]])

    assert repeated(calibration, new) == 2


def test_draws_are_arrays_of_draws_and_tokens() -> None:
    """A sum is a draw of one token."""
    assert as_column([-1.0, -2.0]).tolist() == [[-1.0], [-2.0]]


@pytest.mark.parametrize(
    ("new", "repeats", "claim"),
    [
        ((-14.0, -14.0), 2, Equivalence.IDENTICAL),
        ((-14.0, -14.02, -14.0, -14.0), 3, Equivalence.EQUIVALENT),
        ((-14.0, -14.0), 1, Equivalence.EQUIVALENT),
        ((-14.0, -12.0, -14.0, -14.0), 3, Equivalence.NOT_SHOWN),
    ],
)
def test_sameness_is_claimed_as_far_as_it_is_shown(
    new: tuple[float, ...], repeats: int, claim: Equivalence
) -> None:
    """Repeats are identical, token by token; a bound within the floor is equivalent."""
    assert equivalence_of((-14.0,) * 10, new, repeats=repeats, floor=FLOOR) is claim
