"""`score` returns log-probabilities of given responses by teacher forcing."""

from typing import TYPE_CHECKING, Any

import pytest

from repro_gate.protocol import Method

if TYPE_CHECKING:
    from tests.engines.llama_cpp.conftest import ModelMaker
    from tests.fakes.driven_engine import DrivenEngine

PROMPT = "The quick brown fox"
RESPONSE = " jumps over \u00e9t\u00e9 \U0001f600"


def test_a_score_agrees_with_the_trace_of_the_same_tokens(engine: "DrivenEngine") -> None:
    """All positions at once agree with one at a time, but for rounding in another mode."""
    generated = engine.generate(prompt=PROMPT, trace=True)
    response = [token for token, _ in generated["tokens"]]
    scored = engine.ask(Method.SCORE, prompt=PROMPT, response=response)
    assert scored["prompt"] == generated["prompt"]
    assert scored["response"] == generated["tokens"]
    expected = [entry["logprob"] for entry in generated["trace"]]
    assert scored["logprobs"] == pytest.approx(expected, abs=1e-4)


def test_a_repeated_score_is_identical(engine: "DrivenEngine") -> None:
    """A score is as cold as a generation."""
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
def test_an_unknown_token_is_a_bad_request(engine: "DrivenEngine", token: int) -> None:
    """llama.cpp would abort the process."""
    kind, message = engine.refusal(Method.SCORE, prompt=PROMPT, response=[1, token])
    assert kind == "bad_request"
    assert str(token) in message


@pytest.mark.parametrize("token", [-1, 704, 2**31])
def test_an_unknown_prompt_token_is_a_bad_request(engine: "DrivenEngine", token: int) -> None:
    """The ids of a prompt are checked like those of a response."""
    kind, message = engine.refusal(Method.SCORE, prompt=[1, token], response=[1])
    assert kind == "bad_request"
    assert str(token) in message


@pytest.mark.parametrize("field", ["prompt", "response"])
@pytest.mark.parametrize("value", [[], [True], ["1"], [1.0], None, 3, {}, "\ud800"])
def test_prompt_and_response_are_text_or_token_ids(
    engine: "DrivenEngine", field: str, value: object
) -> None:
    """Anything else is a bad request that names the field."""
    params = {"prompt": PROMPT, "response": [7]} | {field: value}
    kind, message = engine.refusal(Method.SCORE, **params)
    assert kind == "bad_request"
    assert message.startswith(f"score.{field}")


def test_an_empty_response_is_a_bad_request(engine: "DrivenEngine") -> None:
    """It has no tokens to score."""
    assert engine.refusal(Method.SCORE, prompt=PROMPT, response="") == (
        "bad_request",
        "score.response: expected a string or a list of at least one token, found an empty string",
    )


def test_a_response_of_text_needs_a_prompt_of_text(engine: "DrivenEngine") -> None:
    """The two are tokenized together, which needs the text of the prompt."""
    assert engine.refusal(Method.SCORE, prompt=[1, 2], response=RESPONSE) == (
        "bad_request",
        "score.response: expected tokens, as the prompt is, found a string",
    )


@pytest.mark.parametrize("prompt", [PROMPT, "Say:", "a", "\n"])
def test_the_tokens_of_a_response_spell_it(engine: "DrivenEngine", prompt: str) -> None:
    """What a tokenizer adds before a text belongs to the prompt."""
    scored = engine.ask(Method.SCORE, prompt=prompt, response=RESPONSE)
    alone = engine.generate(prompt=prompt, max_tokens=1)["prompt"]
    assert bytes.fromhex("".join(data for _, data in scored["response"])) == RESPONSE.encode()
    assert scored["prompt"] == alone
    assert len(scored["logprobs"]) == len(scored["response"])


def test_ids_are_scored_like_the_text_that_they_spell(engine: "DrivenEngine") -> None:
    """Nothing is added to ids: the tokens of a text give the same values to the bit."""
    by_text = engine.ask(Method.SCORE, prompt=PROMPT, response=RESPONSE)
    ids = {part: [token for token, _ in by_text[part]] for part in ("prompt", "response")}
    by_ids = engine.ask(Method.SCORE, **ids)
    assert _without_timing(by_ids) == _without_timing(by_text)


def test_a_prompt_of_one_token_is_enough(engine: "DrivenEngine") -> None:
    """No BOS token is added to ids."""
    scored = engine.ask(Method.SCORE, prompt=[7], response=[8])
    assert [token for token, _ in scored["prompt"]] == [7]


def test_a_boundary_within_a_token_is_a_bad_request(engine: "DrivenEngine") -> None:
    """Such a response has no first token; the message shows the one that holds the boundary."""
    ((token, data),) = engine.ask(Method.SCORE, prompt="The", response=" fox")["response"]
    kind, message = engine.refusal(Method.SCORE, prompt="The quick brown fo", response="x jumps")
    assert kind == "bad_request"
    assert message.startswith(
        "score: the boundary between prompt and response falls within a token: together they have "
        f"{token} {bytes.fromhex(data)!r} where the prompt alone has "
    )


def test_the_boundary_is_shown_safely(
    fresh_engine: "DrivenEngine", tiny_model: "ModelMaker"
) -> None:
    """The bytes of a token are escaped, so they cannot break a line or move a cursor."""
    fresh_engine.load(tiny_model("tiny-qwen2").path)
    kind, message = fresh_engine.refusal(Method.SCORE, prompt="Hello.\n", response="\nBye")
    assert kind == "bad_request"
    assert message.endswith(
        "together they have 329 b'.\\n\\n' where the prompt alone has 432 b'.\\n'"
    )


def test_a_response_that_its_tokens_do_not_spell_is_a_bad_request(
    fresh_engine: "DrivenEngine", tiny_model: "ModelMaker"
) -> None:
    """Phi-3's special tokens swallow the space after them, so another text would be scored."""
    fresh_engine.load(tiny_model("tiny-phi3").path)
    refused = fresh_engine.refusal(Method.SCORE, prompt="<|assistant|>", response="\nHello")
    assert refused == (
        "bad_request",
        "score: the tokens of the response spell b' Hello', not b'\\nHello'",
    )


def test_the_space_before_a_text_may_belong_to_a_response(
    fresh_engine: "DrivenEngine", tiny_model: "ModelMaker"
) -> None:
    """SentencePiece adds one after a special token, as in every chat with such a model."""
    fresh_engine.load(tiny_model("tiny-phi3").path)
    scored = fresh_engine.ask(Method.SCORE, prompt="<|assistant|>", response="Hello")
    assert bytes.fromhex("".join(data for _, data in scored["response"])) == b" Hello"


def test_special_tokens_are_parsed_in_a_response(
    fresh_engine: "DrivenEngine", tiny_model: "ModelMaker"
) -> None:
    """The end of a turn is one token, spelled by its name."""
    fresh_engine.load(tiny_model("tiny-phi3").path)
    scored = fresh_engine.ask(Method.SCORE, prompt=PROMPT, response=" jumps<|end|>")
    assert bytes.fromhex(scored["response"][-1][1]) == b"<|end|>"


def test_a_temperature_does_not_change_the_raw_values(engine: "DrivenEngine") -> None:
    """Without a temperature there are no sampling values."""
    raw = engine.ask(Method.SCORE, prompt=PROMPT, response=RESPONSE)
    both = engine.ask(Method.SCORE, prompt=PROMPT, response=RESPONSE, temperature=0.7)
    sampling = both.pop("sampling_logprobs")
    assert _without_timing(both) == _without_timing(raw)
    assert len(sampling) == len(raw["logprobs"])
    assert all(one != other for one, other in zip(sampling, raw["logprobs"], strict=True))


def test_at_temperature_1_sampling_values_are_the_raw_ones(engine: "DrivenEngine") -> None:
    """Dividing by 1 changes nothing."""
    both = engine.ask(Method.SCORE, prompt=PROMPT, response=RESPONSE, temperature=1)
    assert both["sampling_logprobs"] == both["logprobs"]


@pytest.mark.parametrize(
    "temperature", [0, -1, 0.0009, 1001, True, "1", None, [1]], ids=lambda value: f"{value!r}"
)
def test_a_temperature_is_within_its_limits(engine: "DrivenEngine", temperature: object) -> None:
    """At 0 one token has the probability 1, which is not a distribution to score with."""
    kind, message = engine.refusal(
        Method.SCORE, prompt=PROMPT, response=[7], temperature=temperature
    )
    assert kind == "bad_request"
    assert "score.temperature: expected a finite number from 0.001 to 1000.0" in message


@pytest.mark.parametrize("n_batch", [1, 4, 7])
def test_a_response_may_be_longer_than_a_batch(
    fresh_engine: "DrivenEngine", tiny_model: "ModelMaker", n_batch: int
) -> None:
    """Each token has the value that it has in a single batch, with a temperature too."""
    fresh_engine.load(tiny_model("tiny-qwen2").path)
    at_once = _score_of_ids(fresh_engine)
    fresh_engine.load(tiny_model("tiny-qwen2").path, n_batch=n_batch)
    split = _score_of_ids(fresh_engine)

    assert len(set(at_once["logprobs"])) == len(at_once["response"])
    for name in ("logprobs", "sampling_logprobs"):
        assert split[name] == pytest.approx(at_once[name], abs=1e-4)


def _score_of_ids(engine: "DrivenEngine") -> dict[str, Any]:
    ids = range(5, 24)
    scored: dict[str, Any] = engine.ask(
        Method.SCORE, prompt=[*ids[:6]], response=[*ids[6:]], temperature=0.7
    )
    return scored


def test_a_response_that_does_not_fit_is_out_of_context(engine: "DrivenEngine") -> None:
    """Prompt and response share the context."""
    kind, message = engine.refusal(Method.SCORE, prompt=PROMPT, response=[1] * 256)
    assert kind == "out_of_context"
    assert "256 more do not fit in n_ctx = 256" in message


def _without_timing(result: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in result.items() if name != "timing"}
