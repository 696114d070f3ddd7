"""Fixtures that call the server: with the provider's own SDK, and with plain HTTP."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any, TypeAlias

import httpx
import pytest
from fireworks import Fireworks

from tests.fakes.fireworks.hosting import MODEL
from tests.fakes.fireworks.server import Api
from tests.fakes.fireworks.weights import TinyWeights, tiny_weights

SdkMaker: TypeAlias = Callable[[Api], Fireworks]
Post: TypeAlias = Callable[..., httpx.Response]


@pytest.fixture
def sdk_of() -> Iterator[SdkMaker]:
    """Return a function that connects the SDK to a server, with strict validation of answers."""
    with ExitStack() as opened:

        def make(api: Api) -> Fireworks:
            # Without the environment, so that no proxy of the machine comes in between.
            http = httpx.Client(trust_env=False)
            sdk = Fireworks(
                api_key=api.key,
                base_url=f"{api.host}/inference",
                max_retries=0,
                http_client=http,
                _strict_response_validation=True,
            )
            return opened.enter_context(closing(sdk))

        yield make


@pytest.fixture
def post() -> Iterator[Post]:
    """Return a function that requests a completion, by default scores of three tokens."""
    with httpx.Client(trust_env=False) as http:

        def ask(api: Api, *, headers: dict[str, str] | None = None, **changes: Any) -> Any:
            usual = {"model": MODEL, "prompt": [1, 2, 3, 4], "max_tokens": 0, "logprobs": True}
            body = usual | {"echo_last": 3} | changes
            return http.post(
                f"{api.base_url}/completions",
                json={name: value for name, value in body.items() if value is not ...},
                headers={"authorization": f"Bearer {api.key}"} | (headers or {}),
            )

        yield ask


@pytest.fixture(scope="session")
def qwen2() -> Iterator[TinyWeights]:
    """Give the weights of a tiny model, shared by all tests."""
    with tiny_weights("tiny-qwen2") as weights:
        yield weights


def logprobs_of(response: httpx.Response) -> list[float]:
    """Return the log-probabilities of an answer in the new format."""
    content = response.raise_for_status().json()["choices"][0]["logprobs"]["content"]
    return [row["logprob"] for row in content]
