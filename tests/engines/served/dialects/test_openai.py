"""vLLM and its like are asked by the API of OpenAI, in the shapes recorded from vLLM 0.32."""

from typing import Any

import pytest

from repro_gate.engines.served.dialects.dialect import Answer, Prompt, Step
from repro_gate.engines.served.dialects.openai import OpenAi, Vllm
from repro_gate.protocol import RequestRefused
from repro_gate.samplers import Sampling
from tests.fakes.served import CELL, Failure, Replies, cell

COMPLETIONS, CHATS = "/v1/completions", "/v1/chat/completions"
CHOICE: dict[str, Any] = {
    "text": "a b",
    "logprobs": {
        "token_logprobs": [-0.5, -3.0],
        "top_logprobs": [
            {"token_id:111": -0.5, "token_id:74": -1.5},
            {"token_id:0": -3.0, "token_id:499": -0.25},
        ],
    },
    "finish_reason": "length",
    "stop_reason": None,
    "token_ids": [111, 0],
    "prompt_token_ids": [286, 278],
}
CHAT_CHOICE: dict[str, Any] = {
    "message": {"role": "assistant", "content": "a b"},
    "logprobs": {
        "content": [
            {
                "token": "token_id:37",
                "logprob": -3.9,
                "top_logprobs": [{"token": "token_id:28", "logprob": -2.2}],
            }
        ]
    },
    "finish_reason": "stop",
    "stop_reason": None,
    "token_ids": [37],
}
METRICS = """\
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="tiny"} 2.0
vllm:num_requests_running{engine="1",model_name="tiny"} 1.0
vllm:prefix_cache_hits_total{engine="0",model_name="tiny"} 384.0
vllm:prefix_cache_hits_created{engine="0",model_name="tiny"} 1.79e+09
vllm:cache_config_info{block_size="128",cache_dtype="auto",num_gpu_blocks="4096"} 1.0
"""


def _answered(changes: dict[str, Any] | None = None, **request: Any) -> Answer:
    answer = {
        "choices": [CHOICE | (changes or {})],
        "system_fingerprint": "vllm-0.32.0-e360ad00",
        "usage": {"prompt_tokens_details": {"cached_tokens": 0}},
    }
    return Vllm(Replies({COMPLETIONS: answer}).http(), "tiny").generate(Prompt(), cell(**request))


def _sent(request: Any, dialect: type[OpenAi] = Vllm, *, keep_cache: bool = False) -> Any:
    replies = Replies({COMPLETIONS: {"choices": [CHOICE]}})
    dialect(replies.http(), "tiny").generate(Prompt(), request, keep_cache=keep_cache)
    return replies.last(COMPLETIONS)


def test_an_answer_of_vllm() -> None:
    """Ids, log-probabilities by id, the cache and the fingerprint have their places."""
    assert _answered() == Answer(
        prompt=(286, 278),
        tokens=(111, 0),
        steps=(
            Step(-0.5, ((111, -0.5), (74, -1.5))),
            Step(-3.0, ((499, -0.25), (0, -3.0))),
        ),
        end="length",
        text="a b",
        cached=0,
        fingerprint="vllm-0.32.0-e360ad00",
    )


def test_every_value_is_sent_to_vllm() -> None:
    """Without one, generation_config.json of the model decides."""
    body = _sent(cell(top_k=0))
    sent = {
        "prompt": "hello",
        "seed": 7,
        "max_tokens": 4,
        "temperature": 0.7,
        "top_k": -1,
        "top_p": 0.9,
        "min_p": 0.05,
        "repetition_penalty": 1,
        "ignore_eos": False,
        "return_token_ids": True,
        "return_tokens_as_token_ids": True,
    }
    assert {name: body[name] for name in sent} == sent


def test_a_cold_run_has_a_salt_of_its_own() -> None:
    """Runs that may keep the cache have the same one, which no other client has."""
    replies = Replies({COMPLETIONS: {"choices": [CHOICE]}})
    dialect = Vllm(replies.http(), "tiny")
    for keep_cache in (False, False, True, True):
        dialect.generate(Prompt(), CELL, keep_cache=keep_cache)
    one, other, kept, again = (body["cache_salt"] for _, body in replies.bodies)
    assert len({one, other, kept}) == 3
    assert kept == again


def test_only_standard_fields_are_sent_to_another_server() -> None:
    """A strict one refuses the others, and no value of them is lost."""
    body = _sent(cell(top_k=0, min_p=0.0), OpenAi)
    assert not {"top_k", "min_p", "cache_salt", "repetition_penalty"} & body.keys()
    with pytest.raises(RequestRefused, match=r"generate\.top_k: the dialect openai"):
        _sent(CELL, OpenAi)


def test_an_answer_without_ids_is_refused() -> None:
    """Texts of tokens collide, so they cannot be compared."""
    for missing in ("token_ids", "prompt_token_ids"):
        with pytest.raises(RequestRefused, match="gives no token ids"):
            _answered({missing: None})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"finish_reason": "length"}, ("length", None)),
        ({"finish_reason": "stop"}, ("end_of_generation", None)),
        ({"finish_reason": "stop", "stop_reason": 151645}, ("end_of_generation", None)),
        ({"finish_reason": "stop", "stop_reason": "b"}, ("stop_string", "b")),
    ],
)
def test_the_end_of_an_answer(changes: dict[str, Any], expected: tuple[str, str | None]) -> None:
    """A stop string is named, an end of generation has no reason or the id of its token."""
    answer = _answered(changes, stop=("b",))
    assert (answer.end, answer.stop_string) == expected


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        {"token_logprobs": [-0.5], "top_logprobs": [{"token_id:1": -0.5}]},
        {"token_logprobs": [-0.5, -1.0], "top_logprobs": [{"a": -0.5}, {"b": -1.0}]},
    ],
    ids=["none", "fewer", "by-text"],
)
def test_tokens_count_without_their_log_probabilities(logprobs: Any) -> None:
    """They are evidence only."""
    answer = _answered({"logprobs": logprobs})
    assert (answer.tokens, answer.steps) == ((111, 0), (None, None))


def test_a_chat_has_an_endpoint_of_its_own() -> None:
    """The server renders it, and shows the tokens of the prompt."""
    answer = {"choices": [CHAT_CHOICE], "prompt_token_ids": [638]}
    replies = Replies({CHATS: answer})
    chat = {"messages": [{"role": "user", "content": "hi"}], "template_kwargs": {"x": 1}}
    found = Vllm(replies.http(), "tiny").generate(Prompt(), cell(prompt="", chat=chat))
    assert (found.prompt, found.tokens, found.text) == ((638,), (37,), "a b")
    assert found.steps == (Step(-3.9, ((28, -2.2), (37, -3.9))),)
    body = replies.last(CHATS)
    assert (body["messages"], body["chat_template_kwargs"]) == (chat["messages"], {"x": 1})
    assert (body["logprobs"], body["top_logprobs"]) == (True, 5)


def test_another_server_has_no_chats() -> None:
    """Its API shows no tokens for them."""
    with pytest.raises(RequestRefused, match=r"generate\.chat"):
        OpenAi(Replies({}).http(), "m").prompt(cell(prompt="", chat={"messages": [{}]}))


def test_the_metrics_of_vllm_are_summed_over_its_engines() -> None:
    """Each data-parallel engine has its own."""
    dialect = Vllm(Replies({"/metrics": METRICS}).http(), "tiny")
    assert (dialect.running(), dialect.cache_hits()) == (3, 384)
    assert Vllm(Replies({}).http(), "tiny").running() is None


def test_the_facts_of_vllm_have_neither_paths_nor_free_memory() -> None:
    """The root of a model is a path, and the number of blocks follows the memory."""
    models = {"data": [{"id": "tiny", "root": "/anywhere/hf", "max_model_len": 1024}]}
    replies = {"/v1/models": models, "/metrics": METRICS, "/version": {"version": "0.32.0"}}
    assert Vllm(Replies(replies).http(), "tiny").facts() == {
        "server.context": "1024",
        "server.version": "0.32.0",
        "server.sampler_order": "temperature, min_p, top_k, top_p",
        "server.block_size": "128",
        "server.cache_dtype": "auto",
    }


def test_ready_is_a_server_that_names_the_model() -> None:
    """An answer on the port alone may be of another program."""
    models = {"data": [{"id": "tiny"}]}
    assert Vllm(Replies({"/v1/models": models}).http(), "tiny").is_ready()
    assert not Vllm(Replies({"/v1/models": Failure(503)}).http(), "tiny").is_ready()
    with pytest.raises(RequestRefused, match=r"no model 'other'.*one of: tiny"):
        Vllm(Replies({"/v1/models": models}).http(), "other").is_ready()
    with pytest.raises(RequestRefused, match="another server"):
        Vllm(Replies({}).http(), "tiny").is_ready()


def test_what_applies_beside_the_samplers() -> None:
    """It has fields of vLLM."""
    data = {"json_schema": {"type": "object"}, "logit_bias": [[5, 1.5]], "ignore_eos": True}
    body = _sent(cell(sampling=Sampling.parse(data)))
    assert (body["logit_bias"], body["ignore_eos"]) == ({"5": 1.5}, True)
    assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}
