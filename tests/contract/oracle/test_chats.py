"""The text of a chat is that of a real llama-server, whose URL is in REPRO_GATE_LLAMA_SERVER.

Start one with any model that has a chat template, or with `--chat-template-file`.
"""

import json
import os
from typing import Any

import httpx
import pytest

from repro_gate.engines.llama_cpp.chat.renderer import answer

URL = os.environ.get("REPRO_GATE_LLAMA_SERVER", "")
pytestmark = pytest.mark.skipif(not URL, reason="REPRO_GATE_LLAMA_SERVER is not set")

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


@pytest.mark.parametrize(
    "chat",
    [
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
        {"messages": [USER], "tools": [TOOL]},
        {"messages": [SYSTEM, USER], "tools": [TOOL]},
        {"messages": [USER, CALL, RESULT], "tools": [TOOL]},
        {"messages": [USER, CALL, RESULT]},
    ],
    ids=lambda chat: json.dumps(chat)[:60],
)
def test_the_text_is_that_of_the_server(chat: dict[str, Any]) -> None:
    """Both render the same text, or both refuse."""
    with httpx.Client(base_url=URL, timeout=60, trust_env=False) as client:
        props = client.get("/props").json()
        body = {{"template_kwargs": "chat_template_kwargs"}.get(k, k): v for k, v in chat.items()}
        theirs = client.post("/apply-template", json=body).json().get("prompt")
        # Whether the tokenizer adds BOS shows in a text without any.
        ids = client.post("/tokenize", json={"content": "a", "add_special": True}).json()["tokens"]
        without = client.post("/tokenize", json={"content": "a"}).json()["tokens"]
    model = {
        "template": props["chat_template"],
        "tool_use_template": None,
        "bos": props["bos_token"],
        "eos": props["eos_token"],
        "adds_bos": ids != without,
        "adds_eos": False,
    }

    assert answer(json.dumps({"chat": chat, **model})).get("rendered") == theirs
