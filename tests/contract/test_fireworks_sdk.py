"""The SDK of Fireworks can read every kind of answer of the server."""

from typing import TYPE_CHECKING, Any

import fireworks
import pytest
from fireworks.types.shared.log_probs import LogProbs
from fireworks.types.shared.new_log_probs import NewLogProbs

from tests.fakes.fireworks.effects import Fail, on
from tests.fakes.fireworks.hosting import MODEL, HostedModel
from tests.fakes.fireworks.server import serving
from tests.fakes.fireworks.weights import HashedWeights, TinyWeights

if TYPE_CHECKING:
    from tests.contract.conftest import SdkMaker

PROMPT = (104, 195, 169, 33)
TEXT = "hé!"
WEIGHTS = HashedWeights()
GREEDY = {"temperature": 0, "top_p": 1, "top_k": 0}
RAW, _ = WEIGHTS.score(PROMPT, first=1, temperature=None)


def test_an_echo_is_read_in_the_new_format(sdk_of: "SdkMaker") -> None:
    """Every token of the prompt has a row; the first has a meaningless number."""
    with serving() as api:
        answer = sdk_of(api).completions.create(
            model=MODEL, prompt=TEXT, max_tokens=0, echo=True, logprobs=True
        )

    (choice,) = answer.choices
    assert isinstance(choice.logprobs, NewLogProbs)
    rows = choice.logprobs.content or []
    assert [(row.token_id, bytes(row.bytes), row.text_offset) for row in rows] == [
        (104, b"h", 0),
        (195, b"\xc3", 1),
        (169, b"\xa9", 1),
        (33, b"!", 2),
    ]
    assert [row.logprob for row in rows[1:]] == list(RAW)
    assert rows[0].logprob < 0
    assert (choice.text, choice.finish_reason, answer.model) == (TEXT, "length", MODEL)


def test_the_end_of_a_prompt_is_read_in_the_new_format(sdk_of: "SdkMaker") -> None:
    """`echo_last` omits what comes before, and nothing is generated."""
    with serving() as api:
        answer = sdk_of(api).completions.create(
            model=MODEL, prompt=PROMPT, max_tokens=0, echo_last=2, logprobs=True
        )

    assert isinstance(answer.choices[0].logprobs, NewLogProbs)
    rows = answer.choices[0].logprobs.content or []
    assert [(row.token_id, row.logprob) for row in rows] == [(169, RAW[1]), (33, RAW[2])]
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (4, 0)


def test_the_end_of_a_prompt_is_read_in_the_legacy_format(sdk_of: "SdkMaker") -> None:
    """A number for `logprobs` asks for lists; the token itself is among the likeliest."""
    with serving() as api:
        answer = sdk_of(api).completions.create(
            model=MODEL, prompt=PROMPT, max_tokens=0, echo_last=1, logprobs=2
        )

    logprobs = answer.choices[0].logprobs
    assert isinstance(logprobs, LogProbs)
    assert (logprobs.tokens, logprobs.token_logprobs, logprobs.token_ids) == (["!"], [RAW[2]], [33])
    (top,) = logprobs.top_logprobs or []
    assert top["!"] == RAW[2]
    assert max(top.values()) == max(WEIGHTS.following(PROMPT[:3]))


def test_a_full_echo_in_the_legacy_format_starts_with_null(sdk_of: "SdkMaker") -> None:
    """The SDK then takes it for the other type, and keeps the lists unchanged."""
    with serving() as api:
        answer = sdk_of(api).completions.create(
            model=MODEL, prompt=PROMPT, max_tokens=0, echo=True, logprobs=1
        )

    assert answer.choices[0].logprobs is not None
    logprobs = answer.choices[0].logprobs.model_dump()
    assert logprobs["token_logprobs"] == [None, *RAW]
    assert logprobs["top_logprobs"][0] is None
    assert logprobs["token_ids"] == list(PROMPT)


def test_a_generated_token_follows_the_echo(sdk_of: "SdkMaker") -> None:
    """It is the likeliest, and equals the best of its alternatives."""
    with serving() as api:
        answer = sdk_of(api).completions.create(
            model=MODEL, prompt=PROMPT, max_tokens=1, echo_last=1, logprobs=True, top_logprobs=1
        )

    assert isinstance(answer.choices[0].logprobs, NewLogProbs)
    last = (answer.choices[0].logprobs.content or [])[-1]
    best = max(range(256), key=WEIGHTS.following(PROMPT).__getitem__)
    assert last.top_logprobs is not None
    assert (last.token_id, last.logprob) == (best, WEIGHTS.following(PROMPT)[best])
    assert (last.top_logprobs[0].token_id, last.top_logprobs[0].logprob) == (best, last.logprob)


def test_ids_are_returned_on_request(sdk_of: "SdkMaker") -> None:
    """Those of the prompt, and those of all returned tokens."""
    with serving() as api:
        answer = sdk_of(api).completions.create(
            model=MODEL,
            prompt=TEXT,
            max_tokens=0,
            echo_last=2,
            return_token_ids=True,
            raw_output=True,
        )

    (choice,) = answer.choices
    assert choice.raw_output is not None
    assert (choice.prompt_token_ids, choice.token_ids) == (list(PROMPT), [169, 33])
    assert choice.raw_output.completion_token_ids == [169, 33]
    assert choice.logprobs is None


def test_a_chat_is_read(sdk_of: "SdkMaker") -> None:
    """A message is generated, with log-probabilities in the new format."""
    with serving() as api:
        answer = sdk_of(api).chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "hi"}],
            max_tokens=2,
            logprobs=True,
            return_token_ids=True,
        )

    (choice,) = answer.choices
    assert isinstance(choice.logprobs, NewLogProbs)
    assert [row.token_id for row in choice.logprobs.content or []] == choice.token_ids
    assert (choice.message.role, answer.object) == ("assistant", "chat.completion")


@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_sampling_logprobs_are_after_the_temperature(
    sdk_of: "SdkMaker", temperature: float
) -> None:
    """The raw ones are unchanged; at temperature 1 both are equal."""
    with serving() as api:
        answer = sdk_of(api).completions.create(
            model=MODEL,
            prompt=PROMPT,
            max_tokens=0,
            echo_last=3,
            logprobs=True,
            temperature=temperature,
            top_p=1,
            top_k=0,
        )

    assert isinstance(answer.choices[0].logprobs, NewLogProbs)
    rows = answer.choices[0].logprobs.content or []
    _, sampling = WEIGHTS.score(PROMPT, first=1, temperature=temperature)
    assert [row.logprob for row in rows] == list(RAW)
    assert [row.sampling_logprob for row in rows] == list(sampling)
    assert (sampling == RAW) == (temperature == 1)


@pytest.mark.parametrize("more", [{}, {"top_p": 1}, {"top_k": 0}, GREEDY])
def test_sampling_logprobs_need_the_whole_distribution(
    sdk_of: "SdkMaker", more: dict[str, Any]
) -> None:
    """Without top_p and top_k the model's defaults truncate it; at temperature 0 there is none."""
    with serving() as api:
        answer = sdk_of(api).completions.create(
            model=MODEL, prompt=PROMPT, max_tokens=0, echo_last=1, logprobs=True, extra_body=more
        )

    assert isinstance(answer.choices[0].logprobs, NewLogProbs)
    assert [row.sampling_logprob for row in answer.choices[0].logprobs.content or []] == [None]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, fireworks.BadRequestError),
        (403, fireworks.PermissionDeniedError),
        (409, fireworks.ConflictError),
        (422, fireworks.UnprocessableEntityError),
        (429, fireworks.RateLimitError),
        (500, fireworks.InternalServerError),
        (503, fireworks.InternalServerError),
    ],
)
def test_an_error_becomes_its_exception(
    sdk_of: "SdkMaker", status: int, kind: type[fireworks.APIStatusError]
) -> None:
    """With its headers, and with a body in which the SDK finds the message."""
    failing = on(1, Fail(status=status, message="no", headers={"retry-after": "2"}))
    with serving(rules=[failing]) as api, pytest.raises(kind) as raised:
        sdk_of(api).completions.create(model=MODEL, prompt=TEXT)

    body: Any = raised.value.body
    assert body["error"]["message"] == "no"
    assert body["error"]["object"] == "error"
    assert raised.value.response.headers["retry-after"] == "2"


def test_an_unknown_field_is_a_bad_request(sdk_of: "SdkMaker") -> None:
    """The API is strict, and names the field."""
    with serving() as api, pytest.raises(fireworks.BadRequestError, match="'best_of'"):
        sdk_of(api).completions.create(model=MODEL, prompt=TEXT, extra_body={"best_of": 1})


def test_a_model_that_is_not_hosted_is_not_found(sdk_of: "SdkMaker") -> None:
    """With the message of the API."""
    with serving() as api, pytest.raises(fireworks.NotFoundError, match="not deployed"):
        sdk_of(api).completions.create(model="accounts/nobody/models/none", prompt=TEXT)


def test_a_wrong_key_is_rejected(sdk_of: "SdkMaker") -> None:
    """The wrong key is not recorded anywhere."""
    with serving() as api, pytest.raises(fireworks.AuthenticationError):
        sdk_of(api).with_options(api_key="fw_wrong").completions.create(model=MODEL, prompt=TEXT)

    (asked,) = api.requests
    assert not asked.is_authorized
    assert "fw_wrong" not in repr(asked)


def test_the_headers_of_an_answer_are_those_of_fireworks(sdk_of: "SdkMaker") -> None:
    """Measurements, the request id, and both kinds of limits."""
    with serving() as api:
        raw = sdk_of(api).completions.with_raw_response.create(
            model=MODEL,
            prompt=PROMPT,
            max_tokens=0,
            perf_metrics_in_response=True,
            extra_headers={"x-request-id": "mine"},
        )

    measured = raw.parse().perf_metrics
    assert measured is not None
    assert {f"fireworks-{name}": str(value) for name, value in measured.items()} == {
        name: value for name, value in raw.headers.items() if name.startswith("fireworks-")
    }
    assert raw.headers["fireworks-prompt-tokens"] == "4"
    assert raw.headers["x-request-id"] == "mine"
    assert raw.headers["x-fireworks-request-id"] == f"{1:032x}"
    assert raw.headers["x-ratelimit-remaining-requests"] == "59999"
    assert raw.headers["x-ratelimit-limit-tokens-generated"] == "36000"


def test_the_sdk_reads_the_numbers_of_the_engine(sdk_of: "SdkMaker", qwen2: TinyWeights) -> None:
    """Exactly, raw and at a temperature."""
    prompt = qwen2.tokenize("The quick brown fox")
    response = qwen2.tokenize(" jumps over the lazy dog")
    with serving(HostedModel(weights=qwen2)) as api:
        answer = sdk_of(api).completions.create(
            model=MODEL,
            prompt=[*prompt, *response],
            max_tokens=0,
            echo_last=len(response),
            logprobs=True,
            temperature=0.7,
            top_p=1,
            top_k=0,
        )

    asked = qwen2.ask(prompt=prompt, response=response, temperature=0.7)
    assert isinstance(answer.choices[0].logprobs, NewLogProbs)
    rows = answer.choices[0].logprobs.content or []
    assert tuple(row.logprob for row in rows) == asked.logprobs
    assert tuple(row.sampling_logprob for row in rows) == asked.sampling_logprobs
    assert tuple(bytes(row.bytes) for row in rows) == tuple(
        piece.data for piece in asked.encoding.response
    )
