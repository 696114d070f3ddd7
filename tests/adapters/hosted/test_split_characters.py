"""Characters that are split into several tokens: ids decide, and texts as far as they are known."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.adapters.hosted.scorer import HostedScorer
from repro_gate.core.logprobs.draw import Draw, Encoding, InvalidDraw, MissedDraw
from repro_gate.core.logprobs.policy import Budget, LogprobCell, ProviderKind
from tests.fakes.hosted import (
    document_of,
    draws_by,
    json_response,
    logprob_cell_of,
    provider_of,
    request_of,
    runtime_of,
)

_BOS = 1
_STYLES = ("replaced", "late", "named by id")


@dataclass(kw_only=True)
class Server:
    """A vLLM-like server whose tokens may be any bytes."""

    prefix: Sequence[bytes]
    response: Sequence[bytes]
    style: str = "replaced"
    has_ids: bool = True
    boundary_moves: bool = False
    """Whether the tokens of the prefix alone differ from those within the text."""
    asked: list[Any] = field(default_factory=list[Any])

    @property
    def cell(self) -> LogprobCell:
        """The cell of the text."""
        return logprob_cell_of(
            provider_of(kind=ProviderKind.OPENAI),
            prompt=b"".join(self.prefix).decode(),
            response=b"".join(self.response).decode(),
            template="{prompt}",
        )

    def ids(self, tokens: Sequence[bytes]) -> list[int]:
        """Return an id for each token; the same bytes have the same id."""
        return [_BOS, *(int.from_bytes(b"\1" + token) % 1_000_003 for token in tokens)]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Echo the request, which is text or ids."""
        body = json.loads(request.content)
        self.asked.append(body["prompt"])
        whole = [*self.prefix, *self.response]
        tokens = whole
        if body["prompt"] == b"".join(self.prefix).decode():
            tokens = [b"".join(self.prefix)] if self.boundary_moves else list(self.prefix)
        ids = self.ids(tokens)
        texts = ["<s>", *_texts(tokens, self.style)]
        if self.style == "named by id":
            texts = [f"token_id:{id}" for id in ids]
        logprobs = {
            "tokens": texts,
            "token_logprobs": [None, *(-float(n % 7) for n in range(len(tokens)))],
        }
        beside = {"prompt_token_ids": ids, "token_ids": [765]} if self.has_ids else {}
        return json_response(document_of(logprobs, choice=beside, usage=None))


def _texts(tokens: Sequence[bytes], style: str) -> list[str]:
    """Return the texts of tokens, with U+FFFD or nothing until a character is complete."""
    if style != "late":
        return [token.decode(errors="replace") for token in tokens]
    texts, kept = [], b""
    for token in tokens:
        kept += token
        try:
            texts.append(kept.decode())
            kept = b""
        except UnicodeDecodeError:
            texts.append("")
    return texts


def _encoded(server: Server) -> Encoding | InvalidDraw | MissedDraw:
    scorer = HostedScorer(Budget(), runtime=runtime_of(server))
    (found,) = scorer.encode([server.cell])
    scorer.close()
    return found


def _halves(encoding: Encoding) -> tuple[list[int | None], list[int | None]]:
    return [p.id for p in encoding.prompt], [p.id for p in encoding.response]


EMOJI = "\N{GRINNING FACE}".encode()
CUT_AT_START = (EMOJI[:1], EMOJI[1:3], EMOJI[3:], b" yes")


@pytest.mark.parametrize("style", _STYLES)
@pytest.mark.parametrize(
    ("prefix", "response"),
    [
        ((b"Say", b":"), CUT_AT_START),
        ((b"Say ", *CUT_AT_START[:3]), CUT_AT_START),
        ((*CUT_AT_START[:3], b":"), (b"yes", *CUT_AT_START[:3])),
        ((b"caf\xc3", b"\xa9:"), (b" \xf0", EMOJI[1:] + b" ok")),
    ],
)
def test_ids_decide_where_characters_are_split(
    style: str, prefix: Sequence[bytes], response: Sequence[bytes]
) -> None:
    """A response may start with a part of a character; one more call shows where, if anywhere."""
    server = Server(prefix=prefix, response=response, style=style)

    found = _encoded(server)

    assert isinstance(found, Encoding)
    assert _halves(found) == (server.ids(prefix), server.ids(response)[1:])
    assert len(server.asked) <= 2


def test_draws_of_split_characters_are_made_by_ids() -> None:
    """The texts of the tokens are useless, and the ids are complete."""
    server = Server(prefix=(b"Say", b":"), response=CUT_AT_START)
    encoding = _encoded(server)
    assert isinstance(encoding, Encoding)
    scorer = HostedScorer(Budget(), runtime=runtime_of(server))

    ((_, drawn),) = draws_by(scorer, [request_of(server.cell, encoding=encoding)])
    scorer.close()

    assert isinstance(drawn, Draw)
    assert drawn.logprobs == (-2.0, -3.0, -4.0, -5.0)
    assert server.asked[-1] == server.ids([*server.prefix, *server.response])


@pytest.mark.parametrize("style", _STYLES)
def test_a_token_across_the_boundary_is_found_by_ids(style: str) -> None:
    """Where the prefix alone has other tokens, no boundary is invented."""
    server = Server(
        prefix=(b"Say ", EMOJI[:2], EMOJI[2:]),
        response=CUT_AT_START,
        style=style,
        boundary_moves=True,
    )

    found = _encoded(server)

    assert isinstance(found, MissedDraw)
    assert found.reason == (
        "by its ids, a token crosses the start of the response: "
        "change the end of the template or the start of the response"
    )


def test_without_ids_texts_must_show_the_boundary() -> None:
    """A split character next to complete ones is resolved; two next to each other are not."""
    clear = Server(prefix=(b"Say", b":"), response=CUT_AT_START, has_ids=False)
    unclear = Server(
        prefix=(b"Say ", EMOJI[:3], EMOJI[3:]),
        response=(EMOJI[:2], EMOJI[2:3], EMOJI[3:]),
        has_ids=False,
    )

    found, refused = _encoded(clear), _encoded(unclear)

    assert isinstance(found, Encoding)
    assert len(found.prompt) == 3
    assert isinstance(refused, MissedDraw)
    assert refused.reason.startswith(
        "the response starts at a character that is split into several"
    )


def test_known_texts_must_still_spell_the_text() -> None:
    """A token without a text excuses no other token."""
    server = Server(prefix=(b"Say", b":"), response=CUT_AT_START)
    wrong = Server(prefix=(b"Soy", b":"), response=CUT_AT_START)
    scorer = HostedScorer(Budget(), runtime=runtime_of(wrong))

    (found,) = scorer.encode([server.cell])
    scorer.close()

    assert isinstance(found, InvalidDraw)
    assert found.reason == (
        "the tokens do not spell the text that was sent: at its byte 1 is the token "
        f'{wrong.ids((b"Soy",))[1]} "Soy"'
    )


@st.composite
def _cut(draw: st.DrawFn) -> tuple[list[bytes], list[bytes]]:
    """Return two texts as tokens that may be split at any byte."""

    def tokens(text: str) -> list[bytes]:
        data = text.encode()
        cuts = draw(st.sets(st.integers(1, max(1, len(data) - 1)), max_size=8))
        ends = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
        return [data[a:b] for a, b in pairwise(ends)]

    texts = st.text(st.sampled_from("ab é\N{GRINNING FACE}\ufffdß:"), min_size=1, max_size=8)
    return tokens(draw(texts)), tokens(draw(texts))


@given(cut=_cut(), style=st.sampled_from(_STYLES), has_ids=st.booleans())
def test_no_boundary_is_wrong(
    cut: tuple[list[bytes], list[bytes]], style: str, *, has_ids: bool
) -> None:
    """With ids the boundary is found, and without ids it is found or refused."""
    prefix, response = cut
    server = Server(prefix=prefix, response=response, style=style, has_ids=has_ids)

    found = _encoded(server)

    if has_ids or style == "named by id":
        assert isinstance(found, Encoding)
        assert _halves(found) == (server.ids(prefix), server.ids(response)[1:])
    else:
        assert isinstance(found, MissedDraw | Encoding)
        assert isinstance(found, MissedDraw) or len(found.prompt) == 1 + len(prefix)
