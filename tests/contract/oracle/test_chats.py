"""The text of a chat, and its tokens, are those of a real llama-server."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from repro_gate.engines.llama_cpp.chat.renderer import answer
from repro_gate.protocol import Method
from tests.contract.oracle.chats import CHATS, USER
from tests.contract.oracle.llama_server import LlamaServer
from tests.fakes.driven_engine import CELL

if TYPE_CHECKING:
    from tests.contract.oracle.twins import Twins

_PARTS = "{% for part in message.content %}[{{ part.text }}]{% endfor %}"
_EITHER = (
    "{% if message.content is string %}{{ message.content }}{% else %}" + _PARTS + "{% endif %}"
)
_JSON = _EITHER.replace(_PARTS, "{{ message.content | tojson }}")
_CALLS = (
    "{% for message in messages %}<{{ message.role }}>{{ message.content }}"
    "{% for call in message.tool_calls %}{{ call.id }}{{ call.function.name }}"
    "{{ call.function.arguments }}{% endfor %}{{ message.tool_call_id }}</>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
_TURNS = (
    "{% for message in messages %}<{{ message.role }}>{{ message.content }}</>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
_REFUSE = "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}"
_TEMPLATES = {
    "the model's own": "",
    "no system role": _REFUSE + _TURNS,
    "BOS and EOS": "{{ bos_token }}" + _TURNS + "{{ eos_token }}",
    "parts": _TURNS.replace("{{ message.content }}", _PARTS),
    "text or parts": _TURNS.replace("{{ message.content }}", _EITHER),
    "tools": "{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}" + _CALLS,
    "arguments": _CALLS.replace("arguments }}", "arguments | tojson }}"),
    "JSON of parts": _TURNS.replace("{{ message.content }}", _JSON),
    "printed": "{{ [1, 'a', none, 2.50] }}{{ {'a': 1} }}{{ none }}{{ 0.1 + 0.2 }}" + _TURNS,
}


@pytest.fixture(scope="module")
def server_with(oracle: Path, smollm2: Path) -> Iterator[Callable[[str], LlamaServer]]:
    """Return a function that starts a server with a template, once for each."""
    with ExitStack() as opened:

        @cache
        def start(template: str) -> LlamaServer:
            params = {"model.path": str(smollm2), "n_parallel": 1, "n_ctx": 512}
            own = {"chat_template": template} if template else {}
            return opened.enter_context(closing(LlamaServer(oracle, {**params, **own})))

        yield start


@pytest.mark.parametrize("template", _TEMPLATES.values(), ids=_TEMPLATES)
def test_the_text_is_that_of_the_server(
    server_with: Callable[[str], LlamaServer], template: str
) -> None:
    """Both render the same text, or both refuse."""
    server = server_with(template)
    own = server.get("/props")["chat_template"]
    ours = [_ours(own, chat) for chat in CHATS]
    theirs = [_rendered(server, chat) for chat in CHATS]

    assert [*zip(CHATS, ours, strict=True)] == [*zip(CHATS, theirs, strict=True)]


@pytest.mark.parametrize("thinks", [True, False])
def test_a_template_that_reads_enable_thinking_is_given_it(
    server_with: Callable[[str], LlamaServer], *, thinks: bool
) -> None:
    """Both render the value; without it, the server takes one that it finds by an analysis."""
    template = "{{ enable_thinking }}" + _TURNS
    chat = {"messages": [USER], "template_kwargs": {"enable_thinking": thinks}}
    text = _rendered(server_with(template), chat)

    assert text == f"{thinks}<user>Hello</>\n<assistant>"
    assert _ours(template, chat) == text
    assert _ours(template, {"messages": [USER]}) is None


@pytest.mark.parametrize("kwargs", [{"preserve_reasoning": True}, {"preserve_reasoning": False}])
def test_variables_are_derived_as_by_the_server(
    server_with: Callable[[str], LlamaServer], kwargs: dict[str, Any]
) -> None:
    """The program llama-server keeps reasoning by default, which the wheel does not."""
    template = (
        "{{ preserve_reasoning }} {{ preserve_thinking }} {{ clear_thinking }} "
        "{{ truncate_history_thinking }} {{ drop_thinking }} {{ reasoning_strength }}" + _TURNS
    )
    asked = {**kwargs, "enable_thinking": True, "reasoning_effort": "low"}
    more: list[dict[str, Any]] = [
        {},
        {"drop_thinking": 1},
        {"enable_thinking": "true"},
        {"enable_thinking": 1},
    ]
    chats: list[dict[str, Any]] = [
        {"messages": [USER], "template_kwargs": {**asked, **each}} for each in more
    ]

    ours = [_ours(template, chat) for chat in chats]
    assert ours == [_rendered(server_with(template), chat) for chat in chats]
    assert [text is None for text in ours] == [False, False, True, False]


@pytest.mark.parametrize("chat", CHATS, ids=lambda chat: json.dumps(chat)[:60])
def test_the_tokens_are_those_of_the_server(twins: "Twins", chat: dict[str, Any]) -> None:
    """Those of the prompt, with the special ones that are in the text."""
    text = _rendered(twins.server, chat)
    cell = {name: value for name, value in CELL.items() if name != "prompt"}
    twins.engine.send(Method.GENERATE, {**cell, "chat": chat, "max_tokens": 1})
    found = twins.engine.receive()
    if text is None:
        assert found["error"]["kind"] == "bad_request"
    else:
        prompt = [token for token, _ in found["result"]["prompt"]]
        assert (found["result"]["rendered"], prompt) == (text, twins.server.tokenize(text))


def _rendered(server: LlamaServer, chat: dict[str, Any]) -> str | None:
    """Return the text of the server, or None if it refuses the chat."""
    names = {"template_kwargs": "chat_template_kwargs"}
    body = {names.get(name, name): value for name, value in chat.items()}
    text: str | None = server.post("/apply-template", body).get("prompt")
    return text


def _ours(template: str, chat: dict[str, Any]) -> str | None:
    """Return our text, or None if we refuse the chat."""
    model = {
        "template": template,
        "tool_use_template": None,
        # Of SmolLM2, whose tokenizer adds neither.
        "bos": "<|im_start|>",
        "eos": "<|im_end|>",
        "adds_bos": False,
        "adds_eos": False,
    }
    return answer(json.dumps({"chat": chat, **model})).get("rendered")
