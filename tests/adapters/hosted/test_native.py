"""The own formats of vLLM and SGLang: what is sent, and answers of other shapes."""

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from repro_gate.adapters.hosted.scorer import HostedScorer
from repro_gate.core.logprobs.draw import (
    Draw,
    DrawOutcome,
    Encoding,
    InvalidDraw,
    MissedDraw,
    Piece,
)
from repro_gate.core.logprobs.policy import Budget, LogprobCell, ProviderKind
from tests.fakes.hosted import (
    ENCODING,
    LOGPROBS,
    MODEL,
    PROMPT,
    RESPONSE,
    TEXT,
    TEXT_ENCODING,
    content_of,
    document_of,
    draw_with,
    json_response,
    logprob_cell_of,
    provider_of,
    request_of,
    runtime_of,
)

VLLM = logprob_cell_of(provider_of(kind=ProviderKind.VLLM))
SGLANG = logprob_cell_of(provider_of(kind=ProviderKind.SGLANG))
TOGETHER = logprob_cell_of(provider_of(kind=ProviderKind.TOGETHER))
TGI = logprob_cell_of(provider_of(kind=ProviderKind.TGI))
PIECES = (*PROMPT, *RESPONSE)
IDS = [piece.id for piece in PIECES]
VALUES = (None, -9.0, -9.0, -9.0, *LOGPROBS)
MODELS = {"object": "list", "data": [{"id": MODEL}]}
UNNAMED = replace(TEXT_ENCODING, prompt=(Piece(None, b""), *TEXT_ENCODING.prompt[1:]))
"""The tokens as texts, without that of the first one."""
OTHER = {"999": {"logprob": -0.1, "rank": 1, "decoded_token": "?"}}
ASKED_OF_VLLM = {
    "model": MODEL,
    "temperature": 0.7,
    "return_token_ids": True,
    "top_p": 1,
    "top_k": -1,
    "min_p": 0,
    "repetition_penalty": 1,
    "n": 1,
    "stream": False,
    "max_tokens": 1,
    "prompt_logprobs": 0,
}
ASKED_OF_SGLANG = {
    "sampling_params": {
        "max_new_tokens": 0,
        "temperature": 0.7,
        "top_p": 1,
        "top_k": -1,
        "min_p": 0,
        "n": 1,
    },
    "return_logprob": True,
    "logprob_start_len": 0,
    "return_text_in_logprobs": True,
    "stream": False,
}


class Server:
    """Answers every question with one document, and keeps the questions."""

    def __init__(self, document: Any, *, status: int = 200, models: Any = MODELS) -> None:
        self._document = document
        self._status = status
        self._models = models
        self.paths: list[str] = []
        self.bodies: list[Any] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer."""
        self.paths.append(request.url.path)
        if request.method == "GET":
            return json_response(self._models)
        self.bodies.append(json.loads(request.content))
        return json_response(self._document, status=self._status)


def vllm_document(
    entries: Any = None, *, ids: Any = IDS, choice: Any = None, usage: Any = None
) -> Any:
    """Return an answer of vLLM about `ENCODING`."""
    if entries is None:
        entries = [
            {str(piece.id): {"logprob": value, "rank": 7, "decoded_token": piece.data.decode()}}
            for piece, value in zip(PIECES, VALUES, strict=True)
        ]
        entries[0] = None
    own = {"logprobs": None, "text": "!", "prompt_logprobs": entries, "prompt_token_ids": ids}
    return document_of(
        choice={**own, **(choice or {})},
        usage=usage or {"prompt_tokens": 6, "completion_tokens": 1, "total_tokens": 7},
    )


def sglang_document(rows: Any = None, **changes: Any) -> Any:
    """Return an answer of SGLang about `ENCODING`."""
    pairs = zip(PIECES, VALUES, strict=True)
    triples = [[value, piece.id, piece.data.decode()] for piece, value in pairs]
    meta = {
        "id": "1",
        "finish_reason": {"type": "length", "length": 0},
        "prompt_tokens": 6,
        "completion_tokens": 0,
        "cached_tokens": 0,
        "input_token_logprobs": triples if rows is None else rows,
        "output_token_logprobs": [],
    }
    return {"text": "", "meta_info": {**meta, **changes}}


def tgi_document(prefill: Any = None, **changes: Any) -> Any:
    """Return an answer of Text Generation Inference about `ENCODING`."""
    rows = [
        {"id": piece.id, "text": piece.data.decode(), "logprob": value}
        for piece, value in zip(PIECES, VALUES, strict=True)
    ]
    made = {"id": 5, "text": "!", "logprob": -0.5, "special": False}
    details = {
        "finish_reason": "length",
        "generated_tokens": 1,
        "prefill": rows if prefill is None else prefill,
        "tokens": [made],
        "top_tokens": [[made]],
    }
    return {"generated_text": "!", "details": {**details, **changes}}


def together_document(lists: Any = None, **changes: Any) -> Any:
    """Return an answer of Together about `ENCODING`."""
    if lists is None:
        lists = {
            "tokens": [piece.data.decode() for piece in PIECES],
            "token_ids": IDS,
            "token_logprobs": list(VALUES),
        }
    made = {"tokens": ["!"], "token_ids": [5], "token_logprobs": [-0.5]}
    usage = {"prompt_tokens": 6, "completion_tokens": 1, "total_tokens": 7}
    echo = [{"text": TEXT, "logprobs": lists}]
    return document_of(made, **{"usage": usage, "prompt": echo, **changes})


def _drawn(
    document: Any, cell: LogprobCell = VLLM, encoding: Encoding = ENCODING, status: int = 200
) -> DrawOutcome:
    return draw_with(Server(document, status=status), request_of(cell, encoding=encoding))


@pytest.mark.parametrize(("encoding", "prompt"), [(ENCODING, IDS), (UNNAMED, TEXT)])
def test_a_draw_of_vllm_is_one_call(encoding: Encoding, prompt: Any) -> None:
    """Every sampler value is sent, and a salt."""
    server = Server(vllm_document())

    drawn = draw_with(server, request_of(VLLM, encoding=encoding))

    assert isinstance(drawn, Draw)
    assert drawn.logprobs == LOGPROBS
    (body,) = server.bodies
    assert body.pop("cache_salt")
    assert body == {**ASKED_OF_VLLM, "prompt": prompt}
    assert server.paths == ["/v1/completions"]


@pytest.mark.parametrize(
    ("encoding", "prompt"), [(ENCODING, {"input_ids": IDS}), (TEXT_ENCODING, {"text": TEXT})]
)
def test_a_draw_of_sglang_is_one_call(encoding: Encoding, prompt: Any) -> None:
    """The list of models is requested once before."""
    server = Server(sglang_document())

    drawn = draw_with(server, request_of(SGLANG, encoding=encoding))

    assert isinstance(drawn, Draw)
    assert (drawn.logprobs, drawn.facts.model) == (LOGPROBS, MODEL)
    assert server.bodies == [{**ASKED_OF_SGLANG, **prompt}]
    assert server.paths == ["/v1/v1/models", "/v1/generate"]


@pytest.mark.parametrize("cell", [VLLM, SGLANG], ids=["vllm", "sglang"])
def test_a_text_is_tokenized(cell: LogprobCell) -> None:
    """Without the text of its first token too, which vLLM leaves out."""
    document = vllm_document() if cell is VLLM else sglang_document()
    scorer = HostedScorer(Budget(), runtime=runtime_of(Server(document)))

    (found,) = scorer.encode([cell])
    scorer.close()

    assert isinstance(found, Encoding), found
    assert [piece.id for piece in (*found.prompt, *found.response)] == IDS
    assert found.response == RESPONSE


def test_other_tokens_beside_the_one_of_the_prompt_are_ignored() -> None:
    """An entry holds the likeliest tokens too; its keys are ids."""
    own = vllm_document()["choices"][0]["prompt_logprobs"]
    entries = [entry and {**OTHER, **entry} for entry in own]

    drawn = _drawn(vllm_document(entries))

    assert isinstance(drawn, Draw)
    assert drawn.logprobs == LOGPROBS


def test_an_entry_without_the_token_of_the_prompt_is_invalid() -> None:
    """The server gave numbers of other tokens only."""
    own = vllm_document()["choices"][0]["prompt_logprobs"]

    drawn = _drawn(vllm_document([*own[:-1], OTHER]))

    assert isinstance(drawn, InvalidDraw)
    assert drawn.reason == 'no log-probability for 21 " you"'


def test_without_ids_of_the_prompt_the_texts_are_compared() -> None:
    """A vLLM before 0.10.2 does not return the ids, and the first token has no entry."""
    document = vllm_document(ids=None)
    scorer = HostedScorer(Budget(), runtime=runtime_of(Server(document)))

    (found,) = scorer.encode([VLLM])
    scorer.close()

    assert found == UNNAMED
    drawn = _drawn(document, encoding=UNNAMED)
    assert isinstance(drawn, Draw)
    assert drawn.logprobs == LOGPROBS


def test_the_first_token_has_the_text_of_its_repetition() -> None:
    """So that a BOS token that is there twice is noted."""
    bos = {"1": {"logprob": -1.0, "rank": 1, "decoded_token": "<s>"}}
    own = vllm_document()["choices"][0]["prompt_logprobs"]
    document = vllm_document([None, bos, *own[1:]], ids=[1, *IDS])
    cell = logprob_cell_of(VLLM.policy.provider, template="<s>Say {prompt}:")
    scorer = HostedScorer(Budget(), runtime=runtime_of(Server(document)))

    scorer.encode([cell])
    scorer.close()

    (note,) = scorer.notes()
    assert note.message == 'the server adds 1 "<s>" before a prompt that starts with it already'


IGNORED = (
    "test-host cannot be gated: it ignored `{}` and gave log-probabilities of generated tokens, "
    "not of the prompt"
)
REFUSED = (
    "test-host: status 400 (Bad Request): prompt_logprobs is not supported "
    "(it cannot be gated without `prompt_logprobs`)"
)
_WARM = {
    "prompt_tokens": 6,
    "completion_tokens": 1,
    "prompt_tokens_details": {"cached_tokens": 4},
}
_GENERATED = [[-1.0, 20, " Hello"]]
CANNOT: dict[str, tuple[LogprobCell, Any, int, str]] = {
    "llama-server as vLLM": (
        VLLM,
        vllm_document(choice={"prompt_logprobs": None}, usage=_WARM),
        200,
        "test-host cannot be gated: it gives no log-probabilities of the prompt",
    ),
    "prompt_logprobs ignored": (
        VLLM,
        document_of(content_of((RESPONSE[1],), (-1.0,)), choice={"text": " you"}),
        200,
        IGNORED.format("prompt_logprobs"),
    ),
    "prompt_logprobs refused": (
        VLLM,
        {"error": {"message": "prompt_logprobs is not supported"}},
        400,
        REFUSED,
    ),
    "logprob_start_len ignored": (
        SGLANG,
        sglang_document([], output_token_logprobs=_GENERATED, completion_tokens=1),
        200,
        IGNORED.format("logprob_start_len"),
    ),
}


@pytest.mark.parametrize("case", CANNOT)
def test_a_missing_capability_names_the_field(case: str) -> None:
    """As for a server that ignores `echo`."""
    cell, document, status, reason = CANNOT[case]
    server = Server(document, status=status)
    scorer = HostedScorer(Budget(), runtime=runtime_of(server))
    other = logprob_cell_of(cell.policy.provider, prompt="other")

    found = scorer.encode([cell, other])
    scorer.close()

    assert [getattr(one, "reason", None) for one in found] == [reason] * 2
    assert len(server.bodies) == 1


@pytest.mark.parametrize("row", [None, 5, [-1.0], [-1.0, 20, " Hello", 1]])
def test_a_row_of_sglang_that_is_no_triple_is_unreadable(row: Any) -> None:
    """Its place is in the reason."""
    rows = [*sglang_document()["meta_info"]["input_token_logprobs"][:-1], row]

    drawn = _drawn(sglang_document(rows), SGLANG)

    assert isinstance(drawn, MissedDraw)
    assert drawn.reason.startswith("logprobs.content[5]: expected an object")


@pytest.mark.parametrize("document", [{}, [], {"text": "?"}, [document_of()]])
def test_an_answer_of_another_api_is_no_draw_of_sglang(document: Any) -> None:
    """It has no `meta_info`."""
    assert not isinstance(_drawn(document, SGLANG), Draw)


@pytest.mark.parametrize(
    ("models", "served"),
    [
        ({"data": [{"id": "base"}, {"id": MODEL, "parent": "base"}]}, "base"),
        ({"data": []}, "no model"),
        ({}, "no model"),
        ([], "no model"),
    ],
)
def test_sglang_must_serve_the_model_itself(models: Any, served: str) -> None:
    """An adapter is listed as well, but would not be used."""
    server = Server(sglang_document(), models=models)

    drawn = draw_with(server, request_of(SGLANG))

    assert isinstance(drawn, MissedDraw)
    assert drawn.reason == f"test-host serves {served}, not {MODEL}"
    assert server.bodies == []


@pytest.mark.parametrize(
    ("cell", "document", "sent"),
    [
        (
            TGI,
            tgi_document(),
            {
                "inputs": TEXT,
                "parameters": {
                    "max_new_tokens": 1,
                    "details": True,
                    "decoder_input_details": True,
                    "do_sample": True,
                    "temperature": 0.7,
                },
            },
        ),
        (
            TOGETHER,
            together_document(),
            {
                "model": MODEL,
                "prompt": TEXT,
                "temperature": 0.7,
                "logprobs": 1,
                "top_p": 1,
                "n": 1,
                "stream": False,
                "max_tokens": 1,
                "echo": True,
            },
        ),
    ],
    ids=["tgi", "together"],
)
def test_a_draw_by_text_is_one_call(cell: LogprobCell, document: Any, sent: Any) -> None:
    """Its tokens are compared by id, and the generated one is left out."""
    server = Server(document)

    drawn = draw_with(server, request_of(cell))

    assert isinstance(drawn, Draw), drawn
    assert (drawn.logprobs, server.bodies) == (LOGPROBS, [sent])


_PART = {"tokens": ["Say"], "token_ids": [10], "token_logprobs": [None]}
NOT_ECHOED: dict[str, tuple[LogprobCell, Any, str]] = {
    "tgi without prefill": (
        TGI,
        tgi_document([]),
        IGNORED.format("decoder_input_details"),
    ),
    "tgi without values": (
        TGI,
        tgi_document([{"id": id, "text": "x", "logprob": None} for id in IDS]),
        "test-host cannot be gated: it gives no log-probabilities of the prompt",
    ),
    "together without an echo": (TOGETHER, together_document(prompt=[]), IGNORED.format("echo")),
    "together with a part of it": (
        TOGETHER,
        together_document(_PART),
        "test-host cannot be gated: it gives no log-probabilities of the prompt",
    ),
}


@pytest.mark.parametrize("case", NOT_ECHOED)
def test_an_answer_without_the_prompt_is_missed(case: str) -> None:
    """The server lacks the capability, or its flag."""
    cell, document, reason = NOT_ECHOED[case]

    drawn = _drawn(document, cell)

    assert isinstance(drawn, MissedDraw), drawn
    assert drawn.reason == reason
