"""SGLang is asked by its native endpoints, in the shapes of its documentation."""

from typing import Any

import pytest

from repro_gate.engines.served.dialects.dialect import Answer, Prompt, Step
from repro_gate.engines.served.dialects.sglang import SgLang
from repro_gate.protocol import RequestRefused
from tests.fakes.served import CELL, Failure, Replies, cell

PROMPT = Prompt(ids=(1, 2, 3))
GENERATED: dict[str, Any] = {
    "text": "a b",
    "output_ids": [5, 6],
    "meta_info": {
        "finish_reason": {"type": "length", "length": 2},
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "cached_tokens": 0,
        "output_token_logprobs": [[-0.5, 5, None], [-3.0, 6, None]],
        "output_top_logprobs": [[[-0.5, 5, None]], [[-0.25, 9, None], [-3.0, 6, None]]],
    },
}


def _answered(meta: dict[str, Any] | None = None, **changes: Any) -> Answer:
    answer = {**GENERATED, "meta_info": GENERATED["meta_info"] | (meta or {}), **changes}
    return SgLang(Replies({"/generate": answer}).http(), "m").generate(PROMPT, CELL)


def test_an_answer_of_sglang() -> None:
    """Ids, log-probabilities and the cache have their places."""
    assert _answered() == Answer(
        prompt=(1, 2, 3),
        tokens=(5, 6),
        steps=(Step(-0.5, ((5, -0.5),)), Step(-3.0, ((9, -0.25), (6, -3.0)))),
        end="length",
        text="a b",
        cached=0,
    )


def test_ids_come_with_the_log_probabilities_of_an_older_server() -> None:
    """It has no field for them."""
    assert _answered(output_ids=None).tokens == (5, 6)


def test_every_value_is_sent() -> None:
    """Some have other names than elsewhere."""
    replies = Replies({"/generate": GENERATED})
    dialect = SgLang(replies.http(), "m")
    dialect.generate(PROMPT, cell(top_k=0))
    dialect.generate(PROMPT, CELL)
    body = replies.last("/generate")
    first = replies.bodies[0][1]
    assert (first["input_ids"], first["sampling_params"]["top_k"]) == ([1, 2, 3], -1)
    sent = {"sampling_seed": 7, "max_new_tokens": 4, "repetition_penalty": 1, "min_p": 0.05}
    assert {name: body["sampling_params"][name] for name in sent} == sent
    assert first["extra_key"] != body["extra_key"]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ({"type": "stop", "matched": 151645}, ("end_of_generation", None)),
        ({"type": "stop", "matched": "b"}, ("stop_string", "b")),
    ],
)
def test_the_end_of_an_answer(reason: Any, expected: tuple[str, str | None]) -> None:
    """What ended it is a token or a stop string."""
    answer = _answered({"finish_reason": reason})
    assert (answer.end, answer.stop_string) == expected


def test_an_answer_to_another_prompt_is_refused() -> None:
    """Its length shows it."""
    with pytest.raises(RequestRefused, match="another length"):
        _answered({"prompt_tokens": 4})


def test_a_prompt_is_tokenized_by_the_server() -> None:
    """Answers do not show its tokens."""
    replies = Replies({"/tokenize": {"tokens": [4, 5]}})
    assert SgLang(replies.http(), "m").prompt(CELL) == Prompt(ids=(4, 5))
    with pytest.raises(RequestRefused, match="does not tokenize a prompt"):
        SgLang(Replies({}).http(), "m").prompt(CELL)


def test_ready_is_a_warm_server_that_names_the_model() -> None:
    """While it is warming up, its health is 503."""
    models = {"data": [{"id": "m"}]}
    assert SgLang(Replies({"/health": "", "/v1/models": models}).http(), "m").is_ready()
    assert not SgLang(Replies({"/health": Failure(503)}).http(), "m").is_ready()


def test_facts_are_what_can_change_tokens() -> None:
    """Paths and addresses of the server's arguments are left out."""
    info = {"version": "0.5", "model_path": "/anywhere", "attention_backend": "fa3", "dtype": None}
    assert SgLang(Replies({"/get_server_info": info}).http(), "m").facts() == {
        "server.sampler_order": "temperature, top_k, top_p, min_p",
        "server.version": "0.5",
        "server.attention_backend": "fa3",
    }
