"""llama-server is asked by its own endpoints, and its answers are aligned by id."""

import hashlib
from typing import Any

import pytest

from repro_gate.engines.served.dialects.dialect import Answer, Prompt, Work
from repro_gate.engines.served.dialects.llama_server import LlamaServer
from repro_gate.protocol import Refusal, RequestRefused
from repro_gate.samplers import Sampling
from tests.fakes.served import CELL, Failure, Replies, cell

PROMPT = Prompt(ids=(1, 2, 3))
USED: dict[str, Any] = {
    "seed": 7,
    "temperature": 0.699999988079071,
    "top_k": 40,
    "samplers": None,
    "stop": [],
}
"""A part of what llama-server repeats, with floats of 32 bits."""
COMPLETION: dict[str, Any] = {
    "content": "a b",
    "tokens": [5, 6, 7, 8],
    "tokens_evaluated": 3,
    "truncated": False,
    "stop_type": "limit",
    "stopping_word": "",
    "timings": {"cache_n": 0},
    "completion_probabilities": [
        {"id": 5, "logprob": -0.5, "top_logprobs": [{"id": 5, "logprob": -0.5}]},
        {"id": 7, "logprob": -1.5, "top_logprobs": [{"id": 9, "logprob": -0.25}]},
    ],
}


def _completed(changes: dict[str, Any] | None = None, **request: Any) -> Answer:
    replies = Replies({"/completion": COMPLETION | {"generation_settings": {}} | (changes or {})})
    return LlamaServer(replies.http(), "m").generate(PROMPT, cell(**request))


def _body(request: Any, *, keep_cache: bool = False) -> dict[str, Any]:
    replies = Replies({"/completion": COMPLETION | {"generation_settings": {}}})
    LlamaServer(replies.http(), "m").generate(PROMPT, request, keep_cache=keep_cache)
    body: dict[str, Any] = replies.last("/completion")
    return body


def test_every_value_is_sent_also_those_without_effect() -> None:
    """The command line of a server may have set any of them."""
    body = _body(CELL)
    sent = {name: body[name] for name in ("prompt", "seed", "n_predict", "temperature", "top_k")}
    assert sent == {
        "prompt": [1, 2, 3],
        "seed": 7,
        "n_predict": 4,
        "temperature": 0.7,
        "top_k": 40,
    }
    assert body["samplers"] == ["top_k", "top_p", "min_p", "temperature"]
    neutral = {"mirostat": 0, "dynatemp_range": 0, "repeat_penalty": 1, "grammar": "", "stop": []}
    assert {name: body[name] for name in neutral} == neutral


@pytest.mark.parametrize("keep_cache", [False, True])
def test_a_run_is_cold_unless_it_may_keep_the_cache(*, keep_cache: bool) -> None:
    """By a field of each request."""
    assert _body(CELL, keep_cache=keep_cache)["cache_prompt"] is keep_cache


def test_mirostat_is_a_mode_and_no_sampler_of_the_list() -> None:
    """The names of the others are those of llama-server."""
    data = {
        "samplers": ["temperature", "mirostat_v2"],
        "mirostat_tau": 4.0,
        "mirostat_eta": 0.2,
        "dynatemp_range": 0.0,
        "dynatemp_exponent": 1.0,
    }
    body = _body(cell(top_k=0, top_p=1.0, min_p=0.0, sampling=Sampling.parse(data)))
    assert (body["samplers"], body["mirostat"], body["mirostat_tau"]) == (["temperature"], 2, 4.0)


def test_a_schema_is_sent_as_an_object_without_a_grammar() -> None:
    """Beside any grammar, llama-server ignores a schema."""
    data = {"json_schema": {"type": "object"}, "logit_bias": [[5, False]], "ignore_eos": True}
    body = _body(cell(sampling=Sampling.parse(data)))
    assert (body["json_schema"], "grammar" in body) == ({"type": "object"}, False)
    assert (body["logit_bias"], body["ignore_eos"]) == ([[5, False]], True)


@pytest.mark.parametrize(
    ("used", "named"),
    [
        ({"samplers": ["top_k"]}, "samplers"),
        ({"seed": 4294967295}, "seed"),
        ({"temperature": 0.8}, "temperature"),
        ({"grammar": "root ::= x"}, "grammar"),
        ({"stop": ["x"]}, "stop"),
        ({"n_probs": 0}, "n_probs"),
    ],
)
def test_other_settings_than_those_sent_are_refused(used: dict[str, Any], named: str) -> None:
    """llama-server repeats what it used, and leaves out samplers that it does not know."""
    with pytest.raises(RequestRefused, match=rf"was sent {named} = "):
        _completed({"generation_settings": used})


def test_settings_are_equal_with_32_bits() -> None:
    """The server's floats are shorter."""
    used = USED | {"samplers": ["top_k", "top_p", "min_p", "temperature"]}
    assert _completed({"generation_settings": used}).tokens == (5, 6, 7, 8)


def test_log_probabilities_are_aligned_by_id() -> None:
    """Parts of characters have no entry, which shifts all that follow."""
    steps = _completed().steps
    assert [step and step.logprob for step in steps] == [-0.5, None, -1.5, None]


def test_an_entry_that_fits_two_tokens_counts_for_none() -> None:
    """One of two equal tokens has no entry, and it does not show which."""
    entry = COMPLETION["completion_probabilities"][0]
    steps = _completed({"tokens": [5, 5], "completion_probabilities": [entry]}, max_tokens=2).steps
    assert steps == (None, None)


def test_entries_of_other_tokens_are_refused() -> None:
    """They show that the answer was misread."""
    with pytest.raises(RequestRefused, match="for other tokens"):
        _completed({"tokens": [7, 5]})


def test_a_stop_string_ends_an_answer() -> None:
    """The content is the text before it."""
    changes = {"stop_type": "word", "stopping_word": "b", "content": "a "}
    answer = _completed(changes, stop=("b",))
    assert (answer.end, answer.stop_string, answer.text) == ("stop_string", "b", "a ")


@pytest.mark.parametrize(
    ("changes", "kind", "named"),
    [
        ({"truncated": True}, Refusal.OUT_OF_CONTEXT, "context"),
        ({"tokens_evaluated": 4}, Refusal.INTERNAL, "prompt of 4 tokens"),
        ({"tokens": [], "completion_probabilities": []}, Refusal.INTERNAL, "no tokens"),
    ],
)
def test_an_answer_to_another_question_is_refused(
    changes: dict[str, Any], kind: Refusal, named: str
) -> None:
    """It is none of the cell."""
    with pytest.raises(RequestRefused, match=named) as caught:
        _completed(changes)
    assert caught.value.kind is kind


def test_a_chat_is_rendered_by_the_server() -> None:
    """Its text is tokenized as the server tokenizes prompts."""
    replies = Replies({"/apply-template": {"prompt": "<hi>"}, "/tokenize": {"tokens": [4, 5]}})
    chat = {"messages": [{"role": "user", "content": "hi"}], "template_kwargs": {"x": 1}}
    prompt = LlamaServer(replies.http(), "m").prompt(cell(prompt="", chat=chat))
    assert prompt == Prompt(ids=(4, 5), rendered="<hi>")
    assert replies.last("/apply-template")["chat_template_kwargs"] == {"x": 1}
    assert replies.last("/tokenize")["content"] == "<hi>"


def test_a_prompt_is_tokenized_once() -> None:
    """Runs of a cell have the same one."""
    replies = Replies({"/tokenize": {"tokens": [4]}})
    dialect = LlamaServer(replies.http(), "m")
    assert dialect.prompt(CELL) == dialect.prompt(CELL)
    assert len(replies.bodies) == 1


def test_running_is_the_number_of_slots_at_work() -> None:
    """Where they are hidden, the metrics show it, and otherwise nothing does."""
    slots = [{"is_processing": True}, {"is_processing": False}, {"is_processing": True}]
    metrics = "llamacpp:requests_processing 3\n"
    assert LlamaServer(Replies({"/slots": slots}).http(), "m").running() == 2
    assert LlamaServer(Replies({"/metrics": metrics}).http(), "m").running() == 3
    assert LlamaServer(Replies({}).http(), "m").running() is None


def test_ready_is_a_llama_server_with_its_model() -> None:
    """503 is one that loads, and anything else is another program."""
    props = {"total_slots": 1}
    assert LlamaServer(Replies({"/props": props}).http(), "m").is_ready()
    assert not LlamaServer(Replies({"/props": Failure(503)}).http(), "m").is_ready()
    with pytest.raises(RequestRefused, match="no llama-server"):
        LlamaServer(Replies({}).http(), "m").is_ready()


def test_a_refused_key_is_named_as_such() -> None:
    """It may be a llama-server all the same, and no device is to blame."""
    refused = Failure(401, {"error": {"message": "Invalid API Key"}})
    with pytest.raises(RequestRefused, match=r"^the server refuses the key: /props") as caught:
        LlamaServer(Replies({"/props": refused}).http(), "m").is_ready()
    assert caught.value.kind is Refusal.SERVER_UNAVAILABLE


def test_facts_have_no_paths() -> None:
    """llama-server names the file on its host in several places."""
    props = {
        "build_info": "b1",
        "total_slots": 2,
        "model_path": "/anywhere/model.gguf",
        "model_ftype": "Q4_1",
        "chat_template": "{{ x }}",
        "default_generation_settings": {
            "n_ctx": 512,
            "params": {"temperature": 0.8, "samplers": ["top_k"]},
        },
    }
    models = {"data": [{"id": "/anywhere/model.gguf", "meta": {"n_params": 9, "size": 36}}]}
    dialect = LlamaServer(Replies({"/props": props, "/v1/models": models}).http(), "m")
    assert dialect.facts() == {
        "server.build": "b1",
        "server.slots": "2",
        "server.context": "512",
        "server.defaults": "top_k; temperature=0.8",
        "model.ftype": "Q4_1",
        "model.n_params": "9",
        "chat.template_sha256": hashlib.sha256(b"{{ x }}").hexdigest(),
    }


@pytest.mark.parametrize(
    ("size", "is_same"), [(36, True), (900, True), (35, False), (2**27, False)]
)
def test_a_server_with_another_model_is_refused(*, size: int, is_same: bool) -> None:
    """A file has little besides its tensors."""
    models = {"data": [{"id": "m", "meta": {"size": 36}}]}
    dialect = LlamaServer(Replies({"/v1/models": models}).http(), "m")
    if is_same:
        dialect.require_size(size)
    else:
        with pytest.raises(RequestRefused, match="another model: its tensors have 36 bytes"):
            dialect.require_size(size)


@pytest.mark.parametrize(
    ("changes", "work"),
    [
        ({"id_slot": 3, "timings": {"prompt_ms": 250, "predicted_ms": 500.0}}, Work(3, 0.75)),
        ({"timings": {"prompt_ms": 250, "predicted_ms": 500.0}}, None),
        ({"id_slot": 3, "timings": {"prompt_ms": 250}}, None),
    ],
)
def test_the_time_in_a_slot_is_without_that_in_the_queue(
    changes: dict[str, Any], work: Work | None
) -> None:
    """From the first token of the prompt to the last one of the answer, where it is shown."""
    assert _completed(changes).work == work
