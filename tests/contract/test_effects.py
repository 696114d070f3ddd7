"""Scripted effects occur when their rules match, and do what they are for."""

import math
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from repro_gate.core.tokens.generation import Token
from tests.contract.conftest import logprobs_of
from tests.fakes.fireworks.effects import (
    AnswerAs,
    CutOff,
    Effect,
    Fail,
    Head,
    Misread,
    Put,
    Resize,
    Rule,
    Say,
    Shift,
    Swap,
    Wait,
    on,
)
from tests.fakes.fireworks.hosting import MODEL, HostedModel
from tests.fakes.fireworks.noise import Gaussian
from tests.fakes.fireworks.server import serving
from tests.fakes.fireworks.weights import HashedWeights

if TYPE_CHECKING:
    from tests.contract.conftest import Post

PROMPT = (1, 2, 3, 4)
EXACT, _ = HashedWeights().score(PROMPT, first=1, temperature=None)


def _struck(post: "Post", effect: Effect, **changes: Any) -> Any:
    """Return the only choice of an answer with an effect."""
    with serving(rules=[on(1, effect)]) as api:
        return post(api, **changes).raise_for_status().json()["choices"][0]


@pytest.mark.parametrize(
    ("rule", "struck"),
    [
        (on(2, Fail(status=500)), [2]),
        (Rule(effect=Fail(status=500), first=3), [3, 4, 5, 6]),
        (Rule(effect=Fail(status=500), first=2, last=3), [2, 3]),
        (Rule(effect=Fail(status=500), first=2, every=2), [2, 4, 6]),
        (on(1, Fail(status=500), model="another"), []),
        (on(2, Fail(status=500), text="odd"), [3]),
    ],
)
def test_a_rule_matches_the_requests_that_it_counts(
    post: "Post", rule: Rule, struck: list[int]
) -> None:
    """From the first to the last, every n-th, for one model or text."""
    with serving(rules=[rule]) as api:
        found = [
            number
            for number in range(1, 7)
            if post(api, prompt="odd" if number % 2 else "even").status_code != 200
        ]

    assert found == struck


def test_a_text_is_found_in_a_prompt_of_ids(post: "Post") -> None:
    """A prompt of ids is matched too."""
    with serving(rules=[on(1, Fail(status=500), text="plane")]) as api:
        statuses = [post(api, prompt=list(b"a plane")).status_code, post(api).status_code]

    assert statuses == [500, 200]


def test_new_rules_replace_the_old_ones(post: "Post") -> None:
    """A test may change them while the server runs; counting restarts."""
    with serving(rules=[on(2, Fail(status=500))]) as api:
        statuses = [post(api).status_code]
        api.follow(on(2, Fail(status=503)))
        statuses += [post(api).status_code for _ in range(2)]

    assert statuses == [200, 200, 503]


def test_an_outlier_changes_one_token(post: "Post") -> None:
    """The other log-probabilities are identical."""
    with serving(rules=[on(2, Shift(nats=-114.0, token=1))]) as api:
        draws = [logprobs_of(post(api)) for _ in range(3)]

    clean = list(EXACT)
    assert draws == [clean, [EXACT[0], EXACT[1] - 114.0, EXACT[2]], clean]


def test_a_shift_is_spread_over_all_tokens(post: "Post") -> None:
    """In equal parts that add up to it."""
    with serving(rules=[on(1, Shift(nats=-3.0))]) as api:
        shifted = logprobs_of(post(api))

    assert shifted == [value - 1.0 for value in EXACT]


def test_a_model_is_swapped_behind_its_name(post: "Post") -> None:
    """From one request on the numbers are those of other weights; the name stays."""
    other, _ = HashedWeights(2).score(PROMPT, first=1, temperature=None)
    swap = Swap(weights=HashedWeights(2))
    with serving(rules=[Rule(effect=swap, first=2)]) as api:
        answers = [post(api) for _ in range(3)]

    assert [logprobs_of(answer) for answer in answers] == [list(EXACT), list(other), list(other)]
    assert {answer.json()["model"] for answer in answers} == {MODEL}


def test_the_noise_of_a_model_is_swapped(post: "Post") -> None:
    """The weights stay."""
    with serving(rules=[on(2, Swap(noise=Gaussian(1.0)))]) as api:
        draws = [logprobs_of(post(api)) for _ in range(2)]

    assert draws[0] == list(EXACT)
    assert 0 < abs(math.fsum(draws[1]) - math.fsum(EXACT)) < 6


def test_another_model_answers(post: "Post") -> None:
    """The answer has its name."""
    with serving(rules=[on(1, AnswerAs(model="another"))]) as api:
        assert post(api).json()["model"] == "another"


def test_other_ids_are_echoed(post: "Post") -> None:
    """In both formats."""
    misread = Misread(token=1, becomes=Token(9, b"\t"))

    content = _struck(post, misread)["logprobs"]["content"]
    legacy = _struck(post, misread, logprobs=0)["logprobs"]

    assert [row["token_id"] for row in content] == [2, 9, 4]
    assert (legacy["token_ids"], legacy["tokens"][1]) == ([2, 9, 4], "\t")


@pytest.mark.parametrize(("by", "length"), [(-1, 2), (2, 5)])
def test_arrays_have_another_length(post: "Post", by: int, length: int) -> None:
    """All of them, or one only."""
    content = _struck(post, Resize(by=by))["logprobs"]["content"]
    legacy = _struck(post, Resize(by=by, array="token_logprobs"), logprobs=0)["logprobs"]

    assert len(content) == length
    assert {name: len(entries) for name, entries in legacy.items()} == {
        "tokens": 3,
        "token_logprobs": length,
        "top_logprobs": 3,
        "text_offset": 3,
        "token_ids": 3,
    }


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, 0.5, "x"])
@pytest.mark.parametrize("shape", [True, 0])
def test_a_logprob_is_replaced(post: "Post", value: object, shape: object) -> None:
    """NaN and infinity are written as many servers do, although they are not JSON."""
    choice = _struck(post, Put(value=value, token=1), logprobs=shape, top_p=1, top_k=0)

    logprobs = choice["logprobs"]
    row = logprobs["content"][1] if shape is True else {"logprob": logprobs["token_logprobs"][1]}
    found = [row["logprob"], *([row["sampling_logprob"]] if shape is True else [])]
    assert list(map(repr, found)) == [repr(value)] * len(found)


def test_an_answer_is_replaced_by_bytes(post: "Post") -> None:
    """With their own status and headers."""
    page = Say(body=b"<html>", status=502, headers={"content-type": "text/html"})
    with serving(rules=[on(1, page)]) as api:
        answer = post(api)

    assert (answer.status_code, answer.content) == (502, b"<html>")
    assert answer.headers["content-type"] == "text/html"


def test_an_answer_has_other_headers(post: "Post") -> None:
    """Added to its own, or replacing them."""
    head = Head(headers={"fireworks-backend-host": "b-1", "x-ratelimit-remaining-requests": "0"})
    with serving(rules=[on(1, head)]) as api:
        headers = post(api).raise_for_status().headers

    assert (headers["fireworks-backend-host"], headers["x-ratelimit-remaining-requests"]) == (
        "b-1",
        "0",
    )


def test_a_connection_ends_in_the_middle_of_an_answer(post: "Post") -> None:
    """The next request is answered."""
    with serving(rules=[on(1, CutOff(after=10))]) as api:
        with pytest.raises(httpx.RemoteProtocolError, match="received 10 bytes"):
            post(api)
        assert post(api).status_code == 200


def test_one_answer_takes_longer(post: "Post") -> None:
    """By a number of seconds."""
    with serving(HostedModel(), rules=[on(2, Wait(seconds=0.3))]) as api:
        took = [post(api).elapsed.total_seconds() for _ in range(2)]

    assert took[1] >= 0.3 > took[0]


def test_an_impossible_effect_fails_the_test(post: "Post") -> None:
    """A mistake in a script, or in the server, never passes for a fault of the service."""
    with (
        pytest.raises(TypeError, match="NoneType"),
        serving(rules=[on(1, Put(value=0))]) as api,
    ):
        assert post(api, logprobs=...).status_code == 500
