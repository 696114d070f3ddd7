"""No document makes the parser raise: it is a draw, or has a reason why not."""

from collections.abc import Callable
from typing import Any, TypeAlias

from hypothesis import given
from hypothesis import strategies as st

from repro_gate.adapters.hosted.abilities import Asked, Seen, findings_of, kind_of_server
from repro_gate.adapters.hosted.answers import Answer, NeedsPrefix, read_draw, read_encoding
from repro_gate.adapters.hosted.client import TimedReply
from repro_gate.adapters.hosted.echoes import Unreadable
from repro_gate.adapters.hosted.generations import read_generation
from repro_gate.adapters.hosted.metadata import facts_of
from repro_gate.adapters.hosted.native import (
    sglang_completion,
    tgi_completion,
    together_completion,
    unchanged,
    vllm_completion,
)
from repro_gate.adapters.http.secret import Secret
from repro_gate.core.logprobs.draw import Draw, DrawFacts, Encoding, InvalidDraw, MissedDraw
from repro_gate.core.logprobs.policy import LogprobKind, ProviderKind
from tests.adapters.hosted.test_native import (
    sglang_document,
    tgi_document,
    together_document,
    vllm_document,
)
from tests.fakes.hosted import (
    ENCODING,
    LOGPROBS,
    PROMPT,
    RESPONSE,
    START,
    TEXT_ENCODING,
    content_of,
    document_of,
    legacy_of,
)

Completion: TypeAlias = Callable[[Any], Any]

_names = st.sampled_from(
    [
        *("choices", "model", "usage", "prompt_tokens", "logprobs", "content", "finish_reason"),
        *("token_logprobs", "tokens", "token_ids", "prompt_token_ids", "token", "bytes"),
        *("logprob", "sampling_logprob", "token_id", "prompt_logprobs", "decoded_token", "20"),
        *("meta_info", "input_token_logprobs", "output_token_logprobs", "text"),
        *("top_logprobs", "output_top_logprobs", "prompt", "details", "prefill", "top_tokens"),
        *("message", "refusal", "id"),
    ]
)
_leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**500), 10**500),
    st.floats(),
    st.text(st.characters(), max_size=8),
    st.sampled_from([" Hello", " you", "error", 20, 21]),
)
_documents: st.SearchStrategy[Any] = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(_names, inner, max_size=4)
    ),
    max_leaves=12,
)
_good = st.sampled_from(
    [
        vllm_document(),
        sglang_document(),
        sglang_document(output_top_logprobs=[[[-1.0, 20, " Hello"]]]),
        tgi_document(),
        together_document(),
        document_of(),
        document_of(content_of((*PROMPT, *RESPONSE), (None, -9.0, -9.0, -9.0, *LOGPROBS))),
        document_of(legacy_of()),
        document_of(legacy_of(has_ids=False)),
    ]
)


def _places(value: Any) -> list[tuple[Any, ...]]:
    """Return the paths of all values in a document."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [(), *((key, *path) for key, part in inner for path in _places(part))]


def _with(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = _with(copy[path[0]], path[1:], new)
    return copy


@st.composite
def _nearly_good(draw: st.DrawFn) -> Any:
    """Draw a valid answer with one value, of any size, replaced."""
    document = draw(_good)
    return _with(document, draw(st.sampled_from(_places(document))), draw(_documents))


_completions = st.sampled_from(
    [unchanged, vllm_completion, sglang_completion, tgi_completion, together_completion]
)
_asked = st.fixed_dictionaries({"generated": st.integers(0, 1), "is_suffix": st.booleans()})


@given(
    document=st.one_of(_documents, _nearly_good()),
    encoding=st.sampled_from([ENCODING, TEXT_ENCODING]),
    kind=st.sampled_from(LogprobKind),
    asked=_asked,
    completion=_completions,
)
def test_every_document_is_a_draw_or_not(
    document: Any, encoding: Encoding, kind: LogprobKind, asked: Any, completion: Completion
) -> None:
    """A draw has a finite number of at most 0 per token; all else is invalid or missing."""
    answer = Answer(document=completion(document), facts=DrawFacts(), **asked)

    found = read_draw(answer, encoding, kind=kind, model=None)

    assert isinstance(found, Draw | InvalidDraw | MissedDraw)
    if isinstance(found, Draw):
        assert len(found.logprobs) == len(RESPONSE)
        assert all(-float("inf") < value <= 0 for value in found.logprobs)


@given(document=st.one_of(_documents, _nearly_good()), asked=_asked, completion=_completions)
def test_every_document_is_an_encoding_or_not(
    document: Any, asked: Any, completion: Completion
) -> None:
    """An encoding of tokens with texts spells the text; without, the prefix may be needed."""
    answer = Answer(document=completion(document), facts=DrawFacts(), **asked)

    found = read_encoding(answer, prefix="Say hi:", response=" Hello you")

    assert isinstance(found, Encoding | InvalidDraw | MissedDraw | NeedsPrefix)
    if isinstance(found, Encoding) and all(piece.data for piece in found.prompt + found.response):
        assert b"".join(piece.data for piece in found.response) == b" Hello you"
        assert b"".join(piece.data for piece in found.prompt).endswith(b"Say hi:")


@given(document=_documents)
def test_every_document_has_facts(document: Any) -> None:
    """Each fact is one short line, or empty."""
    reply = TimedReply(status=200, headers={}, body=b"", latency_s=0.0, request_id="r", model="m")

    facts = facts_of(reply, document, Secret(), attempts=1, now=START)

    assert facts.model.isprintable()


@given(document=st.one_of(_documents, _nearly_good()), completion=_completions)
def test_every_document_is_a_generation_or_not(document: Any, completion: Completion) -> None:
    """With a list of alternatives for each token, none longer than was requested."""
    try:
        answered = read_generation(completion(document), DrawFacts(), top=2)
    except Unreadable:
        return

    assert len(answered.pieces) == len(answered.logprobs) == len(answered.alternatives)
    assert all(len(likely) <= 2 for likely in answered.alternatives)


@given(
    documents=st.lists(st.one_of(_documents, _nearly_good()), min_size=8, max_size=8),
    kind=st.sampled_from([ProviderKind.VLLM, ProviderKind.SGLANG, ProviderKind.TGI]),
)
def test_every_document_of_a_probe_shows_something(documents: Any, kind: ProviderKind) -> None:
    """Each finding is one printable line, and a kind of provider is chosen."""
    models, generated, echoed, unlimited, *chats = [Asked(document=one) for one in documents]
    seen = Seen(model="m", prompt="Say hi", host="h", models=models, generated=generated)
    seen.echoed, seen.unlimited, seen.chats = echoed, unlimited, tuple(chats)
    seen.scored = ((kind, echoed),)

    findings = findings_of(seen, Secret())

    assert all(one.seen.isprintable() for one in findings)
    assert kind_of_server(seen) in ProviderKind
