"""The server as a service: authentication, rejections, limits, latency and shutdown."""

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.contract.conftest import logprobs_of
from tests.fakes.fireworks.conduct import KEY, Conduct, Dialect
from tests.fakes.fireworks.hosting import MODEL, FirstPosition, HostedModel
from tests.fakes.fireworks.server import serving

if TYPE_CHECKING:
    from tests.contract.conftest import Post

ROOT = Path(__file__).parents[2]
GENERIC = Conduct(dialect=Dialect.GENERIC)
GENERIC_ASK: dict[str, Any] = {"echo_last": ..., "echo": True, "logprobs": 1, "prompt": "hé"}


def _message(response: httpx.Response) -> str:
    assert response.status_code == 400, response.text
    return str(response.json()["error"]["message"])


def test_a_request_is_recorded_without_its_key(post: "Post") -> None:
    """Its path, its body and its other headers."""
    with serving() as api:
        post(api, headers={"x-request-id": "mine"})
        post(api, headers={"authorization": "Bearer wrong"})

    first, second = api.requests
    assert (first.path, first.is_authorized) == ("/inference/v1/completions", True)
    assert first.headers["x-request-id"] == "mine"
    assert first.body["prompt"] == [1, 2, 3, 4]
    assert not second.is_authorized
    assert KEY not in repr(api.requests)


def test_only_the_last_requests_are_recorded(post: "Post") -> None:
    """Up to a number: a long run needs no more memory than a short one."""
    with serving(conduct=Conduct(remembers=2)) as api:
        for number in range(4):
            post(api, prompt=[number, 0])

    assert [asked.body["prompt"][0] for asked in api.requests] == [2, 3]


def test_an_api_may_need_no_key(post: "Post") -> None:
    """As on one's own machine."""
    with serving(conduct=Conduct(key=None)) as api:
        assert post(api, headers={"authorization": ""}).status_code == 200


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stream": True}, "field: 'stream'"),
        ({"n": 2}, "field: 'n'"),
        ({"logprobs": 6}, "field: 'logprobs"),
        ({"max_tokens": -1}, "field: 'max_tokens'"),
        ({"max_tokens": True}, "field: 'max_tokens'"),
        ({"max_tokens": 1, "max_completion_tokens": 1}, "cannot be specified together"),
        ({"temperature": "warm"}, "field: 'temperature'"),
        ({"context_length_exceeded_behavior": "explode"}, "field: 'context_length_exceeded"),
        ({"prompt": []}, "must not be empty"),
        ({"prompt": [256]}, "no token 256"),
        ({"prompt": ["two", "prompts"]}, "field: 'prompt"),
        ({"prompt": ...}, "Field required, field: 'prompt'"),
        ({"min_p": 0.1}, "does not simulate the field, field: 'min_p'"),
        ({"echo_first": 1}, "Extra inputs are not permitted, field: 'echo_first', value: 1"),
        ({"one": 1, "two": 2}, "2 request validation errors: "),
    ],
)
def test_an_unsupported_value_is_a_bad_request(
    post: "Post", changes: dict[str, Any], message: str
) -> None:
    """The message names the field, and nothing that would change the answer is ignored."""
    with serving() as api:
        assert message in _message(post(api, **changes))


@pytest.mark.parametrize("content", [b"{", b"[1]", b""])
def test_a_body_that_is_no_object_is_a_bad_request(content: bytes) -> None:
    """It is recorded all the same."""
    with serving() as api, httpx.Client(trust_env=False) as http:
        key = {"authorization": f"Bearer {api.key}"}
        answer = http.post(f"{api.base_url}/completions", content=content, headers=key)

    assert _message(answer)
    assert len(api.requests) == 1


def test_a_long_prompt_is_rejected_on_request(post: "Post") -> None:
    """The tokens to be generated count too."""
    refuse = {"context_length_exceeded_behavior": "error"}
    with serving(HostedModel(context=4)) as api:
        assert post(api, **refuse).status_code == 200
        assert "maximum context length: 4" in _message(post(api, **refuse, max_tokens=1))


def test_a_long_prompt_is_truncated_silently(post: "Post") -> None:
    """By default: only the ids of the prompt show it."""
    with serving(HostedModel(context=3)) as api:
        answer = post(api, max_tokens=5, return_token_ids=True).raise_for_status().json()

    assert answer["choices"][0]["prompt_token_ids"] == [2, 3, 4]
    assert answer["usage"]["completion_tokens"] == 0


@pytest.mark.parametrize("shape", [True, 0])
@pytest.mark.parametrize("first", [FirstPosition.NUMBER, FirstPosition.NULL])
def test_the_first_position_is_configurable(
    post: "Post", first: FirstPosition, shape: object
) -> None:
    """A number or null, in either format."""
    with serving(conduct=Conduct(first_position=first)) as api:
        answer = post(api, echo=True, logprobs=shape).raise_for_status().json()

    logprobs = answer["choices"][0]["logprobs"]
    value = logprobs["content"][0]["logprob"] if shape is True else logprobs["token_logprobs"][0]
    assert (value is None) == (first is FirstPosition.NULL)


def test_a_repeated_prompt_is_cached(post: "Post") -> None:
    """All but its last token."""
    with serving() as api:
        answers = [post(api).raise_for_status() for _ in range(2)]

    cached = [answer.headers["fireworks-cached-prompt-tokens"] for answer in answers]
    used = [answer.json()["usage"]["prompt_tokens_details"] for answer in answers]
    assert cached == ["0", "3"]
    assert used == [{"cached_tokens": 0}, {"cached_tokens": 3}]


def test_the_limit_is_kept(post: "Post") -> None:
    """Too many requests get an error, and earlier ones the remaining number."""
    with serving(conduct=Conduct(requests_per_minute=2)) as api:
        answers = [post(api) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    left = [answer.headers["x-ratelimit-remaining-requests"] for answer in answers]
    assert left == ["1", "0", "0"]
    over = [answer.headers["x-ratelimit-over-limit"] for answer in answers]
    assert over == ["no", "no", "yes"]


def test_answers_with_latency_do_not_wait_for_one_another(post: "Post") -> None:
    """Each takes its latency, and all of them together not much longer."""
    with serving(conduct=Conduct(latency_s=0.2)) as api, ThreadPoolExecutor(16) as threads:
        started = time.perf_counter()
        asked = [threads.submit(post, api) for _ in range(16)]
        answers = [answer.result() for answer in asked]
        took_s = time.perf_counter() - started

    assert min(answer.elapsed.total_seconds() for answer in answers) >= 0.2
    assert took_s < 16 * 0.2 / 2


def test_two_servers_run_in_parallel(post: "Post") -> None:
    """Each has its own port, models and records."""
    with serving() as one, serving(HostedModel(name="other")) as other:
        assert post(one).status_code == 200
        assert post(other).status_code == 404
        assert one.host != other.host
        assert (len(one.requests), len(other.requests)) == (1, 1)


def test_nothing_is_left_of_a_server(post: "Post") -> None:
    """Neither its thread nor its port, although a client still holds a connection."""
    with serving() as api:
        post(api)

    assert "fireworks" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(httpx.ConnectError):
        post(api)


def test_a_server_ends_at_once(post: "Post") -> None:
    """It does not finish a slow answer, such as one that a client gave up on."""
    slow = Conduct(latency_s=60.0)
    with ThreadPoolExecutor(1) as threads, serving(conduct=slow) as api:
        waiting = threads.submit(post, api)
        while not api.requests:
            time.sleep(0.01)
        started = time.perf_counter()

    with pytest.raises(httpx.HTTPError):
        waiting.result()
    assert time.perf_counter() - started < 10


def test_a_generic_api_has_legacy_arrays_without_ids(post: "Post") -> None:
    """And neither headers nor fields of its own."""
    with serving(conduct=GENERIC) as api:
        answer = post(api, **GENERIC_ASK).raise_for_status()

    assert api.base_url.endswith("/v1")
    logprobs = answer.json()["choices"][0]["logprobs"]
    assert set(logprobs) == {"tokens", "token_logprobs", "top_logprobs", "text_offset"}
    assert logprobs["token_logprobs"][0] is None
    assert logprobs["text_offset"] == [0, 1, 1]
    assert set(answer.json()["usage"]) == {"prompt_tokens", "completion_tokens", "total_tokens"}
    assert not [name for name in answer.headers if name.startswith(("fireworks", "x-ratelimit"))]


@pytest.mark.parametrize(
    "changes",
    [{"logprobs": True}, {"echo_last": 1}, {"return_token_ids": True}, {"top_k": 0}],
)
def test_a_generic_api_does_not_know_extensions(post: "Post", changes: dict[str, Any]) -> None:
    """The error has OpenAI's format, and names the field."""
    (field,) = changes
    with serving(conduct=GENERIC) as api:
        answer = post(api, **(GENERIC_ASK | changes))

    assert f"field: '{field}" in _message(answer)
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_some_apis_must_generate_a_token(post: "Post") -> None:
    """The rest of the answer is as without it."""
    conduct = Conduct(dialect=Dialect.GENERIC, allows_no_tokens=False)
    with serving(conduct=conduct) as api:
        assert "field: 'max_tokens'" in _message(post(api, **GENERIC_ASK))
        answer = post(api, **GENERIC_ASK, max_tokens=1).raise_for_status().json()

    assert len(answer["choices"][0]["logprobs"]["tokens"]) == 4


def test_only_existing_endpoints_are_found() -> None:
    """A completion is requested by POST at its path."""
    with serving() as api, httpx.Client(trust_env=False) as http:
        assert http.post(f"{api.base_url}/embeddings").status_code == 404
        assert http.get(f"{api.base_url}/completions").status_code == 405


def test_the_usual_request_is_answered(post: "Post") -> None:
    """The requests that other tests vary are valid."""
    with serving() as api:
        assert len(logprobs_of(post(api, model=MODEL))) == 3


def test_a_server_may_run_in_a_process_of_its_own() -> None:
    """It prints its address, and ends with its stdin; a benchmark shares no interpreter with it."""
    command = (sys.executable, "-m", "tests.fakes.fireworks", "--latency", "0.01")
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        address = json.loads(server.stdout.readline())
        asked = {"model": address["model"], "prompt": [1, 2], "echo": True, "logprobs": True}
        answer = httpx.post(
            f"{address['base_url']}/completions",
            json=asked | {"max_tokens": 0},
            headers={"authorization": f"Bearer {address['key']}"},
            trust_env=False,
        )
        server.communicate(timeout=30)

    assert len(logprobs_of(answer)) == 2
    assert server.returncode == 0
