"""Tiny models behind the server: real numbers, from files of decreasing precision."""

import math
from typing import TYPE_CHECKING

import pytest

from tests.contract.conftest import logprobs_of
from tests.fakes.fireworks.effects import Swap, on
from tests.fakes.fireworks.hosting import HostedModel
from tests.fakes.fireworks.server import serving
from tests.fakes.fireworks.weights import (
    HashedWeights,
    Quantisation,
    TinyWeights,
    Weights,
    tiny_weights,
)

if TYPE_CHECKING:
    from tests.contract.conftest import Post

TEXT = "The quick brown fox jumps over the lazy dog"


def _scores(weights: Weights) -> tuple[float, ...]:
    raw, _ = weights.score(weights.tokenize(TEXT), first=1, temperature=None)
    return raw


def test_a_coarser_file_is_further_from_the_exact_one(qwen2: TinyWeights) -> None:
    """Half precision differs least, eight bits more, four bits most; none is identical."""
    exact = _scores(qwen2)
    distances: list[float] = []
    for quantisation in (Quantisation.F16, Quantisation.Q8_0, Quantisation.Q4_0):
        with tiny_weights("tiny-qwen2", quantisation) as weights:
            moved = zip(exact, _scores(weights), strict=True)
            distances.append(max(abs(one - other) for one, other in moved))

    assert 0 < distances[0] < distances[1] < distances[2] < 5


def test_text_is_tokenized_by_the_model(post: "Post") -> None:
    """With its BOS token."""
    with tiny_weights("tiny-phi3") as weights, serving(HostedModel(weights=weights)) as api:
        answer = post(api, prompt="The quick", echo=True, return_token_ids=True)
        (choice,) = answer.raise_for_status().json()["choices"]

    assert choice["text"] == "<s> The quick"
    assert choice["prompt_token_ids"] == list(choice["token_ids"])
    assert [row["text_offset"] for row in choice["logprobs"]["content"][:3]] == [0, 3, 7]


@pytest.mark.parametrize("is_tiny", [True, False])
def test_what_follows_is_a_distribution(qwen2: TinyWeights, *, is_tiny: bool) -> None:
    """Its probabilities sum to 1, and it agrees with the score of a token."""
    weights: Weights = qwen2 if is_tiny else HashedWeights()
    ids = weights.tokenize("The")

    following = weights.following(ids)

    (raw,), (sampling,) = weights.score((*ids, 7), first=len(ids), temperature=1.0)
    assert math.fsum(map(math.exp, following)) == pytest.approx(1.0)
    assert raw == following[7]
    assert sampling == pytest.approx(raw)


def test_the_greedy_token_is_generated(qwen2: TinyWeights, post: "Post") -> None:
    """With its log-probability after the temperature, too."""
    ids = qwen2.tokenize("The")
    following = qwen2.following(ids)
    best = max(range(len(following)), key=following.__getitem__)
    with serving(HostedModel(weights=qwen2)) as api:
        asked = {"prompt": list(ids), "max_tokens": 1, "echo_last": 0}
        answer = post(api, **asked, temperature=0.7, top_p=1, top_k=0).raise_for_status()

    ((row),) = answer.json()["choices"][0]["logprobs"]["content"]
    _, (sampling,) = qwen2.score((*ids, best), first=len(ids), temperature=0.7)
    assert (row["token_id"], row["logprob"]) == (best, following[best])
    assert row["sampling_logprob"] == pytest.approx(sampling, abs=1e-6)


def test_a_quantised_model_replaces_the_exact_one(qwen2: TinyWeights, post: "Post") -> None:
    """As a provider may do to save money: same name, other numbers."""
    with (
        tiny_weights("tiny-qwen2", Quantisation.Q4_0) as quantised,
        serving(HostedModel(weights=qwen2), rules=[on(2, Swap(weights=quantised))]) as api,
    ):
        before, after, again = (logprobs_of(post(api, prompt=TEXT, echo_last=4)) for _ in range(3))

    assert before == again == list(_scores(qwen2)[-4:])
    assert after != before


def test_many_draws_take_one_request(qwen2: TinyWeights, post: "Post") -> None:
    """The engine is called once, however often a response is scored."""
    counting = _Counting(qwen2)
    with serving(HostedModel(weights=counting)) as api:
        for _ in range(20):
            post(api).raise_for_status()

    assert counting.asked == 1


class _Counting:
    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self.is_quick = weights.is_quick
        self.vocabulary = weights.vocabulary
        self.tokenize = weights.tokenize
        self.following = weights.following
        self.asked = 0

    def score(
        self, ids: tuple[int, ...], *, first: int, temperature: float | None
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Count the request."""
        self.asked += 1
        return self._weights.score(ids, first=first, temperature=temperature)
