"""Chats of many forms."""

from typing import Any

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


CHATS: list[dict[str, Any]] = [
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
