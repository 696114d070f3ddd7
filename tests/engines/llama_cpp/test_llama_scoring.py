"""`score` gives log-probabilities of given tokens by teacher forcing."""

from typing import TYPE_CHECKING

import pytest

from repro_gate.protocol import Method

if TYPE_CHECKING:
    from tests.engines.llama_cpp.conftest import DrivenEngine

PROMPT = "The quick brown fox"


def test_a_score_agrees_with_the_trace_of_the_same_tokens(engine: "DrivenEngine") -> None:
    """All positions at once give the values of one at a time, within another mode's rounding."""
    generated = engine.generate(prompt=PROMPT, trace=True)
    response = [token for token, _ in generated["tokens"]]
    scored = engine.ask(Method.SCORE, prompt=PROMPT, response=response)
    assert scored["prompt"] == generated["prompt"]
    assert scored["response"] == generated["tokens"]
    expected = [entry["logprob"] for entry in generated["trace"]]
    assert scored["logprobs"] == pytest.approx(expected, abs=1e-4)


def test_a_repeated_score_is_identical(engine: "DrivenEngine") -> None:
    """A score is as cold as a generation, whatever came before."""
    first = engine.ask(Method.SCORE, prompt=PROMPT, response=[7, 8, 9])
    engine.generate(prompt="The quick")
    again = engine.ask(Method.SCORE, prompt=PROMPT, response=[7, 8, 9])
    assert (again["logprobs"], again["prompt"]) == (first["logprobs"], first["prompt"])


def test_the_first_token_is_scored_after_the_prompt_alone(engine: "DrivenEngine") -> None:
    """What follows a token does not change its own value, but for rounding."""
    alone = engine.ask(Method.SCORE, prompt=PROMPT, response=[7])["logprobs"]
    first = engine.ask(Method.SCORE, prompt=PROMPT, response=[7, 8, 9])["logprobs"][:1]
    assert first == pytest.approx(alone, abs=1e-4)


@pytest.mark.parametrize("token", [-1, 704, 2**31])
def test_a_token_that_the_model_lacks_is_a_bad_request(engine: "DrivenEngine", token: int) -> None:
    """llama.cpp would end the process on it."""
    kind, message = engine.refusal(Method.SCORE, prompt=PROMPT, response=[1, token])
    assert kind == "bad_request"
    assert str(token) in message


@pytest.mark.parametrize("response", [[], [True], ["1"], [1.0], None, 3])
def test_a_response_is_a_list_of_token_ids(engine: "DrivenEngine", response: object) -> None:
    """Anything else is a bad request that names the field."""
    kind, message = engine.refusal(Method.SCORE, prompt=PROMPT, response=response)
    assert kind == "bad_request"
    assert "'response'" in message


def test_a_response_that_does_not_fit_is_out_of_context(engine: "DrivenEngine") -> None:
    """Prompt and response share the context."""
    kind, message = engine.refusal(Method.SCORE, prompt=PROMPT, response=[1] * 256)
    assert kind == "out_of_context"
    assert "256 more do not fit in n_ctx = 256" in message
