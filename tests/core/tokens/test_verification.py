"""How nearly a model generates given tokens."""

from dataclasses import replace
from typing import Any

import pytest

from repro_gate.core.tokens.generation import Place
from repro_gate.core.tokens.verdicts import Drift, Nondeterministic, Unrecorded
from repro_gate.core.tokens.verification import MAX_DISTANCE, Share, VerifiedToken, claim_of
from tests.fakes.reports import DIFFERENCE, RUN_1, drifted
from tests.fakes.values import cell_of

TOKEN = VerifiedToken(
    id=1,
    logprob=-1.0,
    best=((2, -0.5), (1, -1.0)),
    drawn=2,
    uniform=0.25,
    share=Share(low=0.3, high=0.4),
    drawn_share=Share(low=0.2, high=0.3),
)


@pytest.mark.parametrize(
    ("changes", "distance"),
    [
        ({}, 0.05),
        ({"uniform": 0.5}, 0.1),
        ({"uniform": 1.0, "share": Share(low=0.0, high=0.1)}, MAX_DISTANCE),
        ({"share": None}, MAX_DISTANCE),
        ({"drawn": 1}, 0.0),
        ({"uniform": None}, None),
        ({"uniform": None, "drawn": 1}, 0.0),
    ],
)
def test_the_distance_is_that_of_the_random_number(
    changes: dict[str, Any], distance: float | None
) -> None:
    """From the nearer end of the claimed token's share, at most one half."""
    assert replace(TOKEN, **changes).distance == (
        None if distance is None else pytest.approx(distance)
    )


@pytest.mark.parametrize(
    ("changes", "distance"),
    [
        ({"share": Share(low=0.1, high=0.3), "drawn_share": Share(low=0.4, high=0.9)}, 0.1),
        ({"share": Share(low=0.9, high=1.0), "drawn_share": Share(low=0.4, high=0.9)}, 0.0),
        ({"share": None, "drawn_share": Share(low=0.4, high=0.9)}, 0.5),
        ({"drawn_share": None}, None),
    ],
)
def test_an_unknown_number_is_in_the_share_of_what_is_drawn(
    changes: dict[str, Any], distance: float | None
) -> None:
    """So that it has a least distance from another share."""
    assert replace(TOKEN, uniform=None, **changes).least_distance == (
        None if distance is None else pytest.approx(distance)
    )


def test_a_number_in_a_share_has_no_distance() -> None:
    """The ends belong to the share."""
    share = Share(low=0.25, high=0.5)
    assert [share.distance(number) for number in (0.25, 0.3, 0.5, 0.75)] == [0, 0, 0, 0.25]
    assert share.size == 0.25


def test_a_share_does_not_end_before_it_begins() -> None:
    """It is an interval."""
    with pytest.raises(ValueError, match=r"end before it begins"):
        Share(low=0.5, high=0.25)


def test_the_claim_of_a_drift_is_its_golden() -> None:
    """All of its tokens, so that what follows the divergence counts too."""
    verdict = drifted(cell_of("fox")).verdict
    assert isinstance(verdict, Drift)
    assert claim_of(RUN_1, verdict) == verdict.golden.generation.tokens


def test_the_claim_of_differing_runs_is_the_first_token_that_differs() -> None:
    """No more of the other run is kept."""
    claim = claim_of(RUN_1, DIFFERENCE)
    position = DIFFERENCE.divergence.position
    assert claim == (*RUN_1.tokens[:position], DIFFERENCE.divergence.observed)


@pytest.mark.parametrize(
    "finding",
    [
        None,
        Unrecorded(reason="x"),
        replace(DIFFERENCE, divergence=replace(DIFFERENCE.divergence, observed=None)),
        replace(DIFFERENCE, divergence=replace(DIFFERENCE.divergence, place=Place.PROMPT)),
    ],
)
def test_without_other_tokens_there_is_no_claim(finding: Nondeterministic | None) -> None:
    """No golden, a run that ended earlier, and outputs of different prompts."""
    assert claim_of(RUN_1, finding) == ()
