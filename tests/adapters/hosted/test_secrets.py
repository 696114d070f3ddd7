"""The key is sent to its provider only, and is in no outcome, fact, log, exception or repr."""

import base64
import html
import json
import logging
import re
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest

from repro_gate.adapters.hosted.client import endpoint_url, read_key
from repro_gate.adapters.hosted.scorer import HostedScorer
from repro_gate.adapters.http.secret import Secret
from repro_gate.core.logprobs.draw import Draw, Encoding, MissedDraw, Piece
from repro_gate.core.logprobs.policy import Budget
from repro_gate.errors import MeasurementUnavailable
from tests.fakes.hosted import (
    KEY,
    PROMPT,
    RESPONSE,
    content_of,
    document_of,
    draw_with,
    draws_by,
    json_response,
    logprob_cell_of,
    provider_of,
    request_of,
    runtime_of,
    well_answered,
)

FORMS = {
    "as it is": KEY,
    "in a URL": quote(KEY, safe=""),
    "in a path": quote(KEY),
    "in a URL in lower case": re.sub("%..", lambda code: code[0].lower(), quote(KEY, safe="")),
    "in JSON with escapes": "".join(f"\\u{ord(letter):04x}" for letter in KEY),
    "in JSON with slashes": KEY.replace("/", "\\/"),
    "in HTML by numbers": "".join(f"&#{ord(letter)};" for letter in KEY),
    "in JSON": json.dumps({"key": KEY}),
    "in HTML": html.escape(KEY),
    "in base64": base64.b64encode(KEY.encode()).decode(),
}
ECHOES = {**FORMS, "at the end of what is kept": "x" * 290 + KEY}


def _is_shown(text: str) -> bool:
    """Return whether a text contains the key, or enough of it to guess the rest."""
    return any(form in text for form in FORMS.values()) or KEY[:9] in text


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_key_is_reported(value: str | None) -> None:
    """Nothing is sent, and the variable is named."""

    def refuse(_: httpx.Request) -> httpx.Response:
        raise AssertionError

    environ = {} if value is None else {"FIREWORKS_API_KEY": value}
    cell = logprob_cell_of(provider_of(name="fireworks", api_key_env="FIREWORKS_API_KEY"))
    scorer = HostedScorer(Budget(), runtime=runtime_of(refuse, environ=environ))
    missed = MissedDraw(
        reason="FIREWORKS_API_KEY is not set",
        remedy="set FIREWORKS_API_KEY to a key of fireworks",
    )

    results = draws_by(scorer, [request_of(cell, number=number) for number in (1, 2)])
    encoded = scorer.encode([cell])
    scorer.close()

    assert [outcome for _, outcome in results] == [missed, missed]
    assert encoded == [missed]


@pytest.mark.parametrize("odd", ["\n", "\r\nX-Other: 1", " ", "\x00", "\x7f", "é", "🙂"])
def test_a_key_that_no_header_allows_is_not_sent(odd: str) -> None:
    """The variable is named, without its content."""
    with pytest.raises(MeasurementUnavailable) as caught:
        read_key(provider_of(), {"TEST_API_KEY": KEY + odd})

    assert str(caught.value) == (
        "TEST_API_KEY contains a space, a line break or another character that no key has"
    )


def test_an_api_may_need_no_key() -> None:
    """Then no header is sent, whatever the environment contains."""
    heads: list[httpx.Headers] = []

    def keep(request: httpx.Request) -> httpx.Response:
        heads.append(request.headers)
        return json_response(document_of())

    cell = logprob_cell_of(provider_of(api_key_env=None))

    assert isinstance(draw_with(keep, request_of(cell)), Draw)
    assert "authorization" not in heads[0]


def test_the_key_goes_to_its_provider() -> None:
    """Otherwise the tests of this file would also pass."""
    heads: list[httpx.Headers] = []

    def keep(request: httpx.Request) -> httpx.Response:
        heads.append(request.headers)
        return json_response(document_of())

    draw_with(keep)

    assert heads[0]["authorization"] == f"Bearer {KEY}"


def _responses(text: str) -> Iterator[httpx.Response]:
    """Return every kind of answer with a text from the server."""
    for status in (200, 400, 401, 404, 429, 500):
        yield httpx.Response(status, text=text)
        yield httpx.Response(status, html=text)
        yield json_response({"error": {"message": text}}, status=status)
        yield json_response({"error": [text]}, status=status)
    ascii_text = text.encode("ascii", errors="replace").decode()
    yield httpx.Response(307, headers={"location": f"https://{KEY}.test/{ascii_text}"})
    yield httpx.Response(307, headers={"location": f"https://other.test/?{ascii_text}"})
    yield httpx.Response(200, headers={"content-type": ascii_text})
    yield json_response(
        document_of(model=text),
        x_request_id=text,
        fireworks_backend_host=text,
        fireworks_deployment=text,
    )
    yield json_response(document_of(content_of((RESPONSE[0], Piece(5, text.encode())), (-1, -1))))
    yield json_response(document_of({"content": [{"token": text, "token_id": 5, "logprob": -1}]}))
    yield json_response(
        document_of(content_of((Piece(7, text.encode()), *PROMPT, *RESPONSE), [-1] * 7))
    )


@pytest.mark.parametrize("text", ECHOES.values(), ids=ECHOES.keys())
def test_a_key_in_an_answer_is_masked(text: str, caplog: pytest.LogCaptureFixture) -> None:
    """In draws, encodings, provenance and logs, in any encoding."""
    shown: list[str] = []
    with caplog.at_level(logging.DEBUG):
        for response in _responses(text):
            runtime = runtime_of(lambda _, response=response: response)
            scorer = HostedScorer(Budget(), runtime=runtime)
            results = draws_by(scorer, [request_of(answers_as=name) for name in (None, "other")])
            encoded = scorer.encode([logprob_cell_of()])
            facts = scorer.facts(logprob_cell_of().policy)
            scorer.close()
            shown += [repr(results), repr(encoded), repr(facts), repr(scorer)]
            shown += [piece.data.decode() for piece in _pieces(encoded[0])]

    assert [text for text in [*shown, caplog.text] if _is_shown(text)] == []


def _pieces(encoded: object) -> tuple[Piece, ...]:
    return encoded.prompt if isinstance(encoded, Encoding) else ()


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError(f"cannot reach https://x.test/?key={quote(KEY)}"),
        httpx.RemoteProtocolError(f"illegal status line: {KEY!r}"),
        OSError(f"{KEY}"),
        RuntimeError(f"{KEY}"),
    ],
)
def test_a_key_in_an_exception_is_masked(error: Exception) -> None:
    """An exception may quote a request."""

    def fail(_: httpx.Request) -> httpx.Response:
        raise error

    assert not _is_shown(repr(draw_with(fail)))


def test_no_repr_shows_the_key() -> None:
    """The objects that hold it do not print it."""
    runtime = runtime_of(well_answered)

    key = read_key(provider_of(), runtime.environ)

    assert repr(key) == "Secret()"
    assert not _is_shown(f"{key!s} {runtime!r} {provider_of()!r}")


def test_a_short_key_does_not_mask_our_own_text() -> None:
    """The prompt had this text before the key was sent."""
    environ = {"TEST_API_KEY": "Say"}
    pieces = (*PROMPT, *RESPONSE)

    def answer(_: httpx.Request) -> httpx.Response:
        return json_response(document_of(content_of(pieces, [-1.0] * 6)))

    scorer = HostedScorer(Budget(), runtime=runtime_of(answer, environ=environ))
    (found,) = scorer.encode([logprob_cell_of()])
    scorer.close()

    assert found == Encoding(prompt=PROMPT, response=RESPONSE)


def test_the_name_of_a_model_is_the_same_with_every_key() -> None:
    """A baseline that was recorded with another key is for the same model."""
    cell = logprob_cell_of()
    model = cell.policy.model
    runtime = runtime_of(
        lambda _: json_response(document_of()), environ={"TEST_API_KEY": model[-3:]}
    )

    scorer = HostedScorer(Budget(), runtime=runtime)
    ((_, drawn),) = draws_by(scorer, [request_of(cell, answers_as=model)])
    scorer.close()

    assert isinstance(drawn, Draw)
    assert drawn.facts.model == model


@pytest.mark.parametrize(
    ("base_url", "reason"),
    [
        ("http://api.test/v1", "is neither https:// nor on this machine"),
        ("http://127.0.0.1.evil.test/v1", "is neither https:// nor on this machine"),
        ("http://localhost.evil.test/v1", "is neither https:// nor on this machine"),
        ("http://10.0.0.1/v1", "is neither https:// nor on this machine"),
        ("ftp://localhost/v1", "is neither https:// nor on this machine"),
        ("https:///v1", "is neither https:// nor on this machine"),
        ("", "is neither https:// nor on this machine"),
        ("https://user:hunter2@api.test/v1", "contains a user name or password"),
        ("http://user@localhost/v1", "contains a user name or password"),
        ("https://api.test:port/v1", "is not a URL"),
    ],
)
def test_the_key_leaves_the_machine_only_encrypted(base_url: str, reason: str) -> None:
    """A base URL to which no key may be sent is refused before any call."""
    missed = draw_with(well_answered, request_of(logprob_cell_of(provider_of(base_url))))

    assert isinstance(missed, MissedDraw)
    assert missed.reason == f"the base_url of test-host {reason}"


@pytest.mark.parametrize(
    "base_url", ["http://localhost:8000/v1", "http://127.0.0.2/v1", "http://[::1]/v1/"]
)
def test_a_server_on_this_machine_needs_no_encryption(base_url: str) -> None:
    """The traffic does not leave the machine."""
    found = endpoint_url(provider_of(base_url), "completions")

    assert str(found) == f"{base_url.rstrip('/')}/completions"


def test_a_text_without_the_key_is_unchanged() -> None:
    """Masking changes nothing else."""
    assert Secret(KEY).quote("all is well") == "all is well"
    assert Secret().quote("all is well") == "all is well"


@pytest.mark.parametrize("blank", [b"", "\ufffd".encode()])
@pytest.mark.parametrize(
    "added", [(KEY,), ("", KEY), (KEY[:12], KEY[12:]), (f"\ufffd{KEY}\ufffd",)]
)
def test_a_key_before_split_characters_is_masked(added: tuple[str, ...], blank: bytes) -> None:
    """Tokens without a text of their own do not show how much comes before our text."""
    cut = (Piece(100, b"Say"), *[Piece(101, blank)] * 40, Piece(102, b":"))
    pieces = (*(Piece(1, text.encode()) for text in added), *cut, *RESPONSE)
    answer = json_response(document_of(content_of(pieces, [-1.0] * len(pieces))))
    scorer = HostedScorer(Budget(), runtime=runtime_of(lambda _: answer))
    (found,) = scorer.encode([logprob_cell_of(template="Say{prompt}:", prompt="🙂" * 20)])
    scorer.close()

    assert isinstance(found, Encoding)
    assert len(found.prompt) == len(added) + len(cut)
    text = b"".join(piece.data for piece in found.prompt)
    assert [n for n in range(len(KEY) - 7) if KEY[n : n + 8].encode() in text] == []


def test_a_key_in_many_short_tokens_is_masked() -> None:
    """The text before ours is searched as a whole, and our own is not."""
    spelled = (*(Piece(9, letter.encode()) for letter in KEY), *PROMPT, *RESPONSE)
    answer = json_response(document_of(content_of(spelled, [-1.0] * len(spelled))))
    scorer = HostedScorer(Budget(), runtime=runtime_of(lambda _: answer))
    (found,) = scorer.encode([logprob_cell_of()])
    scorer.close()

    assert isinstance(found, Encoding)
    hidden = (Piece(9, b"***<s>"), *[Piece(9, b"")] * (len(KEY) - 1), Piece(1, b""))
    assert found == Encoding(prompt=(*hidden, *PROMPT[1:]), response=RESPONSE)
