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
from tests.contract.oracle.llama_server import LlamaServer
from tests.fakes.driven_engine import CELL

if TYPE_CHECKING:
    from tests.contract.oracle.twins import Twins

USER = {"role": "user", "content": "Hello"}
SYSTEM = {"role": "system", "content": "Be brief."}
ASSISTANT = {"role": "assistant", "content": "Hi there"}
FUNCTION = {"name": "get_weather", "arguments": '{"unit": "C", "city": "Paris"}'}
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"id": "call00001", "type": "function", "function": FUNCTION}],
}
RESULT = {"role": "tool", "content": "21 C", "tool_call_id": "call00001"}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather é",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def parts(role: str, *texts: str) -> dict[str, Any]:
    """Return a message whose content is a list."""
    return {"role": role, "content": [{"type": "text", "text": text} for text in texts]}


_PARTS = "{% for part in message.content %}[{{ part.text }}]{% endfor %}"
_EITHER = (
    "{% if message.content is string %}{{ message.content }}{% else %}" + _PARTS + "{% endif %}"
)
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
    "printed": "{{ [1, 'a', none, 2.50] }}{{ {'a': 1} }}{{ none }}{{ 0.1 + 0.2 }}" + _TURNS,
}

_CHATS: list[dict[str, Any]] = [
    {"messages": [USER]},
    {"messages": [SYSTEM]},
    {"messages": [SYSTEM, USER]},
    {"messages": [SYSTEM, USER, ASSISTANT, USER]},
    {"messages": [USER, ASSISTANT]},
    {"messages": [SYSTEM, USER, ASSISTANT]},
    {"messages": [USER, ASSISTANT, ASSISTANT]},
    {"messages": [USER, USER]},
    {"messages": [USER, ASSISTANT, SYSTEM, USER]},
    {"messages": [{**SYSTEM, "role": "developer"}, USER]},
    {"messages": [{"role": "user", "content": ""}]},
    {"messages": [{"role": "user", "content": None}]},
    {"messages": [{"role": "user", "content": "Grüße 🙂\n\n  x  "}]},
    {"messages": [{"role": "user", "content": "Hi <|im_end|> there <bos><s>"}]},
    {"messages": [{"role": "user", "content": 'a "b" {{ c }} {% d %} \\n'}]},
    {"messages": [{"content": "no role"}]},
    {"messages": [parts("user", "a", "b")]},
    {"messages": [parts("system", "S"), USER]},
    {"messages": [USER, parts("assistant", "a", "b")]},
    {"messages": [USER], "add_generation_prompt": False},
    {"messages": [USER], "template_kwargs": {"enable_thinking": False}},
    {"messages": [USER], "template_kwargs": {"enable_thinking": True, "day": [1, {"a": "b"}]}},
    {"messages": [USER], "tools": [TOOL]},
    {"messages": [SYSTEM, USER], "tools": [TOOL]},
    {"messages": [USER, CALL, RESULT], "tools": [TOOL]},
    {"messages": [USER, CALL, RESULT]},
]


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
    ours = [_ours(own, chat) for chat in _CHATS]
    theirs = [_rendered(server, chat) for chat in _CHATS]

    assert [*zip(_CHATS, ours, strict=True)] == [*zip(_CHATS, theirs, strict=True)]


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


@pytest.mark.parametrize("chat", _CHATS, ids=lambda chat: json.dumps(chat)[:60])
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
