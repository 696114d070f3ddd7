"""Every key of the server is a key of the SDK's types, and the reverse."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import pytest
from fireworks.types.chat import completion_create_params as chat_params
from fireworks.types.chat.completion_create_response import CompletionCreateResponse as ChatAnswer
from fireworks.types.completion_create_params import CompletionCreateParamsNonStreaming
from fireworks.types.completion_create_response import CompletionCreateResponse
from pydantic import BaseModel

from tests.fakes.fireworks.bodies import FireworksChat, FireworksCompletion
from tests.fakes.fireworks.effects import Edit, on
from tests.fakes.fireworks.hosting import MODEL
from tests.fakes.fireworks.server import serving

if TYPE_CHECKING:
    from tests.contract.conftest import Post

EVERYTHING: dict[str, Any] = {
    "max_tokens": 1,
    "echo": True,
    "echo_last": ...,
    "temperature": 0.7,
    "top_p": 1,
    "top_k": 0,
    "return_token_ids": True,
    "raw_output": True,
    "perf_metrics_in_response": True,
}


def _unknown(value: Any, annotation: Any, at: str = "") -> Iterator[str]:
    """Yield the places of keys that are not in the types of an answer."""
    models = [kind for kind in _leaves(annotation) if issubclass(kind, BaseModel)]
    if isinstance(value, list):
        for entry in value:  # pyright: ignore[reportUnknownVariableType] -- JSON
            yield from _unknown(entry, annotation, f"{at}[]")
    elif isinstance(value, dict) and models:
        for key, inner in value.items():  # pyright: ignore[reportUnknownVariableType] -- JSON
            fields = [model.model_fields[key] for model in models if key in model.model_fields]
            if not fields:
                yield f"{at}.{key}"
            for field in fields:
                yield from _unknown(inner, field.annotation, f"{at}.{key}")


def _leaves(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type) and not get_args(annotation):
        yield annotation
    for inner in get_args(annotation):
        yield from _leaves(inner)


@pytest.mark.parametrize("shape", [{"logprobs": True, "top_logprobs": 2}, {"logprobs": 2}])
def test_every_key_of_an_answer_is_known_to_the_sdk(post: "Post", shape: dict[str, Any]) -> None:
    """With everything requested, in either format."""
    with serving() as api:
        answer = post(api, **(EVERYTHING | shape)).raise_for_status().json()

    assert list(_unknown(answer, CompletionCreateResponse)) == []


def test_every_key_of_a_chat_is_known_to_the_sdk(post: "Post") -> None:
    """The answer to a chat has its own types."""
    asked = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "logprobs": True}
    more = {"max_tokens": 1, "return_token_ids": True, "raw_output": True}
    with serving() as api:
        # The path of completions is a part of that of chats.
        api.base_url += "/chat"
        answer = post(api, **dict.fromkeys(["prompt", "echo_last"], ...), **asked, **more)

    assert list(_unknown(answer.raise_for_status().json(), ChatAnswer)) == []


def test_a_key_unknown_to_the_sdk_is_found(post: "Post") -> None:
    """Otherwise the tests above could not fail."""

    def misspell(body: dict[str, Any]) -> None:
        row = body["choices"][0]["logprobs"]["content"][0]
        row["logprobz"] = row["logprob"]

    with serving(rules=[on(1, Edit(change=misspell))]) as api:
        answer = post(api).json()

    assert list(_unknown(answer, CompletionCreateResponse)) == [
        ".choices[].logprobs.content[].logprobz"
    ]


def test_completions_take_the_fields_that_the_sdk_sends() -> None:
    """Each is read or rejected by name; no other is accepted."""
    known = get_type_hints(CompletionCreateParamsNonStreaming)

    assert set(FireworksCompletion.model_fields) == set(known)


def test_chats_take_the_fields_that_the_sdk_sends() -> None:
    """As for completions."""
    known = get_type_hints(chat_params.CompletionCreateParamsNonStreaming)

    assert set(FireworksChat.model_fields) == set(known)
