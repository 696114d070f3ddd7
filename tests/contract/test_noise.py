"""The noise of the server has its stated distribution, and is reproducible by seed."""

import math
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import fmean, stdev
from typing import TYPE_CHECKING

import pytest

from tests.contract.conftest import logprobs_of
from tests.fakes.fireworks.conduct import Conduct
from tests.fakes.fireworks.hosting import HostedModel
from tests.fakes.fireworks.noise import Exact, Gaussian, Mixture, Noise, dice_for
from tests.fakes.fireworks.server import Api, serving
from tests.fakes.fireworks.weights import HashedWeights

if TYPE_CHECKING:
    from tests.contract.conftest import Post

DRAWS = 20_000
TOKENS = 8
PROMPT = (1, 2, 3, 4)
EXACT, _ = HashedWeights().score(PROMPT, first=1, temperature=None)


def sums_of(noise: Noise) -> list[float]:
    """Return the sums of many draws."""
    return [math.fsum(noise.sample(TOKENS, dice_for("item", draw))) for draw in range(DRAWS)]


def test_gaussian_noise_has_its_standard_deviation_on_the_sum() -> None:
    """For any number of tokens, with mean 0."""
    sums = sums_of(Gaussian(1.56))

    assert stdev(sums) == pytest.approx(1.56, rel=0.03)
    assert fmean(sums) == pytest.approx(0, abs=0.05)


def test_gaussian_noise_is_on_every_token_alike() -> None:
    """Each token has its share of the variance."""
    draws = [Gaussian(2.0).sample(TOKENS, dice_for("item", draw)) for draw in range(DRAWS)]

    for values in zip(*draws, strict=True):
        assert stdev(values) == pytest.approx(2.0 / math.sqrt(TOKENS), rel=0.03)


def test_a_mixture_is_mostly_exact() -> None:
    """A tenth of the draws moves, by about as much as observed at Fireworks."""
    sums = sums_of(Mixture())
    moved = [total for total in sums if total != 0]

    assert len(moved) / DRAWS == pytest.approx(0.1, abs=0.01)
    assert stdev(moved) == pytest.approx(1.56, rel=0.06)


def test_exact_draws_are_identical(post: "Post") -> None:
    """They are the scores of the weights."""
    with serving(HostedModel(noise=Exact())) as api:
        draws = [logprobs_of(post(api)) for _ in range(3)]

    assert draws == [list(EXACT)] * 3


def _drawn(post: "Post", *, seed: int, noise: Noise) -> list[list[float]]:
    with serving(HostedModel(noise=noise), conduct=Conduct(seed=seed)) as api:
        return [logprobs_of(post(api)) for _ in range(8)]


def test_the_same_seed_gives_the_same_draws(post: "Post") -> None:
    """A second server repeats the first one; another seed gives other draws."""
    first, again, other = (_drawn(post, seed=seed, noise=Gaussian(1.0)) for seed in (1, 1, 2))

    assert first == again
    assert first != other
    assert len({tuple(draw) for draw in first}) == len(first)


def test_draws_do_not_depend_on_the_order_of_requests(post: "Post") -> None:
    """Every item has its own noise: with many threads the same draws come in another order."""
    prompts: list[list[int]] = [[1, 2, 3, 4], [5, 6, 7, 8]] * 8

    def drawn(api: Api, prompt: list[int]) -> tuple[float, ...]:
        return tuple(logprobs_of(post(api, prompt=prompt)))

    with serving(HostedModel(noise=Gaussian(1.0))) as api:
        one_by_one = [drawn(api, prompt) for prompt in prompts]
    with serving(HostedModel(noise=Gaussian(1.0))) as api, ThreadPoolExecutor(8) as threads:
        at_once = list(threads.map(partial(drawn, api), prompts))

    assert sorted(at_once) == sorted(one_by_one)


def test_noise_never_lifts_a_log_probability_above_0(post: "Post") -> None:
    """However strong it is."""
    draws = _drawn(post, seed=1, noise=Gaussian(1000.0))

    assert max(max(draw) for draw in draws) == 0.0
