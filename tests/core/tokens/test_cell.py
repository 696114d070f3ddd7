"""A cell refuses nonsense at birth, and its id is its own."""

import math
import re
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.core.guards import MAX_NAME_LENGTH, require_name
from repro_gate.core.tokens.cell import MAX_SEED, Sampler, require_stop
from repro_gate.samplers import Sampling
from tests.fakes import strategies
from tests.fakes.values import GREEDY, PENALISED, SAMPLED, cell_of

_parts = st.tuples(strategies.names, strategies.names, st.integers(1, MAX_SEED))


@given(_parts, _parts)
def test_cells_share_an_id_only_if_they_are_the_same_point(
    one: tuple[str, str, int], other: tuple[str, str, int]
) -> None:
    """Model, prompt and seed are recoverable from the id, whatever their names."""
    ids = [cell_of(prompt, model=model, seed=seed).id for model, prompt, seed in (one, other)]

    assert (ids[0] == ids[1]) == (one == other)


@given(_parts)
def test_an_id_can_be_taken_apart(parts: tuple[str, str, int]) -> None:
    """Splitting an id at its separators gives back what it was made of."""
    model, prompt, seed = parts

    assert cell_of(prompt, model=model, seed=seed).id.split("--") == [model, prompt, f"seed{seed}"]


@pytest.mark.parametrize("name", ["a", "7", "qwen2.5-0.5b", "a_b.c-d", "x" * MAX_NAME_LENGTH])
def test_a_plain_name_is_accepted(name: str) -> None:
    """Lower-case words joined by single separators can be part of a file name."""
    require_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "A", "a--b", "a-", "-a", "a.._b", "a/b", "..", "a b", "é", "a\n", "x" * 65],
)
def test_any_other_name_is_refused(name: str) -> None:
    """A name that could leave its folder, or make two ids alike, is refused and quoted."""
    with pytest.raises(ValueError, match=re.escape(f"64 characters, got {name!r}")):
        require_name(name)


@pytest.mark.parametrize("seed", [0, -1, 4294967295, 4294967296])
def test_a_seed_that_means_random_is_refused(seed: int) -> None:
    """Engines read 0 and 2^32-1 as a wish for chance."""
    with pytest.raises(ValueError, match=f"between 1 and 4294967294, got {seed}"):
        cell_of(seed=seed)


@pytest.mark.parametrize("seed", [1, 4294967294])
def test_the_outermost_seeds_are_accepted(seed: int) -> None:
    """Both ends of the range are part of it."""
    assert cell_of(seed=seed).seed == seed


def test_a_cell_without_tokens_is_refused() -> None:
    """A generation of nothing could never differ."""
    with pytest.raises(ValueError, match="max_tokens must be at least 1, got 0"):
        cell_of(max_tokens=0)


def test_the_names_in_a_cell_are_checked() -> None:
    """Neither the model nor the prompt may have a name that an id cannot hold."""
    with pytest.raises(ValueError, match="got 'a--b'"):
        cell_of("a--b")
    with pytest.raises(ValueError, match="got 'a--b'"):
        cell_of(model="a--b")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -0.1),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("top_k", -1),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("top_p", math.nan),
        ("min_p", -0.1),
        ("min_p", 1.1),
        ("min_p", math.nan),
    ],
)
def test_a_sampler_outside_its_ranges_is_refused(field: str, value: float) -> None:
    """A value that no engine could obey is refused by its name."""
    values: dict[str, Any] = {**asdict(SAMPLED), field: value}
    with pytest.raises(ValueError, match=f"{field} must .*, got {re.escape(str(value))}"):
        Sampler(**values)


def test_the_ends_of_the_sampler_ranges_are_accepted() -> None:
    """Ranges include their documented ends."""
    assert Sampler(temperature=0, top_k=0, top_p=1, min_p=0).is_greedy
    assert not Sampler(temperature=0.01, top_k=0, top_p=1, min_p=1).is_greedy


def test_only_temperature_zero_is_greedy() -> None:
    """A sampler is greedy when the seed can change nothing."""
    assert (GREEDY.is_greedy, SAMPLED.is_greedy) == (True, False)


@pytest.mark.parametrize(("dynatemp_range", "is_greedy"), [(0, True), (0.5, False)])
def test_further_samplers_may_draw_at_temperature_zero(
    dynatemp_range: float, *, is_greedy: bool
) -> None:
    """A dynamic temperature of 0 is above 0 for some tokens."""
    sampling = Sampling.parse(
        {
            "samplers": ["temperature"],
            "dynatemp_range": dynatemp_range,
            "dynatemp_exponent": 1,
        }
    )
    sampler = Sampler(temperature=0, top_k=0, top_p=1, min_p=0, sampling=sampling)

    assert sampler.is_greedy is is_greedy


def test_a_parameter_without_its_sampler_is_refused() -> None:
    """It would have no effect."""
    with pytest.raises(ValueError, match="top_k: expected 0, because top_k is not one of the"):
        replace(PENALISED, top_k=1)


@pytest.mark.parametrize("stop", [("",), tuple(map(str, range(17)))])
def test_impossible_stop_strings_are_refused(stop: tuple[str, ...]) -> None:
    """An empty string would end everything at once."""
    with pytest.raises(ValueError, match="stop strings"):
        require_stop(stop)
