"""The published schema accepts exactly the protocol."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from repro_gate.protocol import Method, Refusal, refusal, request, result
from repro_gate.schemas import __name__ as schemas
from tests.fakes.driven_engine import validator

REQUESTS: dict[Method, dict[str, Any]] = {
    Method.DESCRIBE: {"device": "cuda:1"},
    Method.LOAD: {
        "model": "tiny",
        "path": "/models/tiny.gguf",
        "sha256": None,
        "device": "cpu",
        "settings": {"n_ctx": 256, "flash_attention": False, "kv_type": "f32", "scale": 0.5},
    },
    Method.GENERATE: {
        "prompt": "",
        "seed": 1,
        "max_tokens": 1,
        "temperature": 0,
        "top_k": 0,
        "top_p": 1,
        "min_p": 0,
        "trace": True,
    },
    Method.SCORE: {"prompt": "a", "response": [0], "temperature": 0.7},
    Method.VERIFY: {
        "prompt": [1],
        "tokens": [2],
        "seed": 1,
        "temperature": 0.7,
        "top_k": 0,
        "top_p": 1,
        "min_p": 0,
        "best": 5,
    },
}
RESULTS: dict[Method, dict[str, Any]] = {
    Method.DESCRIBE: {"engine": "e", "profile": "cuda-sm90-132sm", "facts": {"a.b": "c"}},
    Method.LOAD: {
        "sha256": "0" * 64,
        "size": 1,
        "layers": 1,
        "layers_on_device": 0,
        "facts": {},
    },
    Method.GENERATE: {
        "prompt": [[1, ""]],
        "tokens": [[2, "e280"]],
        "stop": "length",
        "trace": [{"logprob": -0.5, "best": [[2, -0.5]]}],
        "timing": {"decode_s": 0.1, "sample_s": 0},
    },
    Method.SCORE: {
        "prompt": [[1, ""]],
        "response": [[2, "20"]],
        "logprobs": [0],
        "sampling_logprobs": [-0.5],
        "timing": {"decode_s": 0.1},
    },
    Method.VERIFY: {
        "tokens": [
            {
                "logprob": -0.5,
                "best": [[2, -0.5]],
                "drawn": 2,
                "uniform": 0.25,
                "share": [0, 0.5],
                "drawn_share": [0, 0.5],
            }
        ],
        "timing": {"decode_s": 0.1},
    },
}
OPTIONAL = {"trace", "sampling_logprobs", "sha256", "size"}
"""What an answer has only when it was asked for, or not from a remote engine."""
FILE = {"device": 1, "inode": 2, "size": 3, "modified_ns": -4, "changed_ns": 5}


@pytest.mark.parametrize("method", Method)
def test_the_messages_of_each_method_are_valid(method: Method) -> None:
    """A request and an answer match their own definition and the general one."""
    for definition in ("request", f"{method}_request"):
        validator(definition).validate(request(1, method, REQUESTS[method]))
    for definition in ("answer", f"{method}_answer"):
        validator(definition).validate(result(1, RESULTS[method]))


@pytest.mark.parametrize("kind", Refusal)
@pytest.mark.parametrize("number", [1, None])
def test_every_refusal_is_valid(kind: Refusal, number: int | None) -> None:
    """Each kind of error is in the schema, with and without an id."""
    validator("answer").validate(refusal(number, kind, "why"))


@pytest.mark.parametrize("method", Method)
def test_no_level_of_a_message_takes_an_unknown_key(method: Method) -> None:
    """A key that is not in the protocol is invalid at the top and inside."""
    strict_request = validator(f"{method}_request")
    strict_answer = validator(f"{method}_answer")
    message = request(1, method, REQUESTS[method])
    answer = result(1, RESULTS[method])
    assert not strict_request.is_valid(message | {"x": 1})
    assert not strict_request.is_valid(message | {"params": REQUESTS[method] | {"x": 1}})
    assert not strict_answer.is_valid(answer | {"x": 1})
    assert not strict_answer.is_valid(answer | {"result": RESULTS[method] | {"x": 1}})


@pytest.mark.parametrize("method", Method)
def test_only_requested_keys_are_optional(method: Method) -> None:
    """A message without one of its other keys is invalid."""
    missing = [
        name
        for name in RESULTS[method]
        if not validator(f"{method}_answer").is_valid(
            result(1, {key: value for key, value in RESULTS[method].items() if key != name})
        )
    ]
    assert missing == [name for name in RESULTS[method] if name not in OPTIONAL]


@pytest.mark.parametrize(
    ("added", "is_valid"),
    [
        ({"concurrency": 1024, "room_for_another": True, "file": FILE}, True),
        ({"concurrency": 1025}, False),
        ({"concurrency": 0}, False),
        ({"room_for_another": 1}, False),
        ({"file": FILE | {"inode": "2"}}, False),
        ({"file": FILE | {"path": "/"}}, False),
        ({"file": {"inode": 2}}, False),
        ({"file": [FILE, FILE]}, True),
        ({"file": [FILE]}, False),
    ],
)
def test_a_load_answer_may_allow_more_than_one_request(
    added: dict[str, Any], *, is_valid: bool
) -> None:
    """Engines without these keys are asked one request at a time."""
    answer = result(1, RESULTS[Method.LOAD] | added)
    assert validator("load_answer").is_valid(answer) is is_valid


@pytest.mark.parametrize(
    ("added", "is_valid"),
    [
        ({"concurrency": 1}, True),
        ({"sha256": "0" * 64, "file": FILE, "concurrency": 4}, True),
        ({"file": FILE}, False),
        ({"room_for_another": True}, False),
        ({"parts": ["/a", "/b"], "sha256": "0" * 64, "file": [FILE, FILE]}, True),
        ({"parts": ["/a"]}, False),
        ({"parts": ["/a", "/a"]}, False),
        ({"parts": []}, False),
    ],
)
def test_a_load_request_may_name_a_known_state(added: dict[str, Any], *, is_valid: bool) -> None:
    """Of a file whose digest is known too."""
    message = request(1, Method.LOAD, REQUESTS[Method.LOAD] | added)
    assert validator("load_request").is_valid(message) is is_valid


@pytest.mark.parametrize(
    ("prompt", "response", "is_valid"),
    [
        ("a", " b", True),
        ("", " b", True),
        ("a", [1], True),
        ([1], [1], True),
        ([1], " b", False),
        ("a", "", False),
        ("a", [], False),
        ([], [1], False),
        ("a", [-1], False),
        ([1.5], [1], False),
        (None, [1], False),
    ],
)
def test_a_score_takes_text_or_ids(prompt: object, response: object, *, is_valid: bool) -> None:
    """A response of text needs a prompt of text, and neither list is empty."""
    message = request(1, Method.SCORE, {"prompt": prompt, "response": response})
    assert validator("score_request").is_valid(message) is is_valid


@pytest.mark.parametrize("temperature", [0, -1, "1", None])
def test_a_score_has_a_temperature_above_0(temperature: object) -> None:
    """At 0 there is no distribution to score with; the key is left out when it is not needed."""
    params = {"prompt": "a", "response": [1], "temperature": temperature}
    assert not validator("score_request").is_valid(request(1, Method.SCORE, params))


def test_a_definition_can_be_used_by_its_urn() -> None:
    """Other tools may refer to one message of the protocol."""
    schema = validator("answer").schema
    assert isinstance(schema, dict)
    resource: Resource[Any] = Resource.from_contents(schema)
    registry: Registry[Any] = Registry().with_resource("urn:repro-gate:engine:v1", resource)
    reference = {"$ref": "urn:repro-gate:engine:v1#/$defs/error_answer"}
    assert schemas == "repro_gate.schemas"
    Draft202012Validator(reference, registry=registry).validate(refusal(1, Refusal.INTERNAL, "why"))
