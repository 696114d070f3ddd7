"""Chats in the engine: the text that it answers is the one that it ran."""

from typing import TYPE_CHECKING, Any

import pytest

from repro_gate.protocol import Method
from tests.fakes.driven_engine import CELL

if TYPE_CHECKING:
    from tests.engines.llama_cpp.conftest import ModelMaker
    from tests.fakes.driven_engine import DrivenEngine

TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"
ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


def cell_of(**chat: Any) -> dict[str, Any]:
    """Return the usual cell with a chat in place of its text."""
    cell = {name: value for name, value in CELL.items() if name != "prompt"}
    messages = [{"role": "user", "content": CELL["prompt"]}]
    return {**cell, "chat": {"messages": messages, **chat}}


def test_what_a_template_does_not_read_is_noted(
    fresh_engine: "DrivenEngine", tiny_model: "ModelMaker"
) -> None:
    """Tools and variables that the text does not depend on would look as if they were gated."""
    fresh_engine.load(tiny_model("tiny-qwen2").path)
    tools = [{"type": "function", "function": {"name": "f"}}]
    asked = {"tools": tools, "template_kwargs": {"a": 1, "b": 2}}
    reading = f"{TEMPLATE}{{% if b and bos_token %}}{{% endif %}}"
    cell = {**cell_of(template=reading, **asked), "trace": True}
    answer = fresh_engine.ask(Method.GENERATE, **cell)

    assert answer["notes"] == ["the chat template does not read a, tools"]


def test_a_chat_is_the_text_of_its_template(
    fresh_engine: "DrivenEngine", tiny_model: "ModelMaker"
) -> None:
    """The tokens are those of the text, which is in the answer."""
    loaded = fresh_engine.load(tiny_model("tiny-qwen2").path)
    text = fresh_engine.generate()
    answer = fresh_engine.ask(Method.GENERATE, **cell_of(template=TEMPLATE))
    del answer["timing"]

    assert answer == {**text, "rendered": CELL["prompt"]}
    assert {name for name in loaded["facts"] if name.startswith("chat.")} == {
        "chat.adds_bos",
        "chat.renderer",
        "chat.template.sha256",
    }


@pytest.mark.parametrize(
    ("chat", "message"),
    [
        ({"template": "{{ '' }}"}, "chat: the chat template renders an empty text"),
        (
            {"template": "{% for i in messages %}"},
            "chat: the chat template fails: TemplateSyntaxError",
        ),
        (
            {"template": ENDLESS},
            "chat: the chat template could not be rendered within 5 seconds and 1024 MiB: ",
        ),
        ({"template": "{{ 'a' * 10 ** 11 }}"}, " within 5 seconds and 1024 MiB: MemoryError"),
        ({"template": 1}, "generate.chat.template: expected a string, found 1"),
        ({"messages": []}, "generate.chat.messages: expected at least one message, found none"),
        ({"stream": True}, "the unknown key 'stream'"),
    ],
)
def test_a_chat_that_cannot_be_rendered_is_refused(
    fresh_engine: "DrivenEngine", tiny_model: "ModelMaker", chat: dict[str, Any], message: str
) -> None:
    """The template of a file can neither hang the engine nor take its memory."""
    fresh_engine.load(tiny_model("tiny-qwen2").path)

    kind, reason = fresh_engine.refusal(Method.GENERATE, **cell_of(**chat))

    assert (kind, message in reason) == ("bad_request", True), reason
    assert fresh_engine.generate()


def test_a_note_on_a_chat_is_in_the_answer(
    fresh_engine: "DrivenEngine", tiny_model: "ModelMaker"
) -> None:
    """That of a family whose chats llama-server may render otherwise."""
    fresh_engine.load(tiny_model("tiny-qwen2").path)
    template = TEMPLATE + "{# [SYSTEM_PROMPT] [TOOL_CALLS] [ARGS] #}"
    messages = [{"role": role, "content": "Hi"} for role in ("system", "user")]
    cell = {**cell_of(template=template, messages=messages), "trace": True}
    answer = fresh_engine.ask(Method.GENERATE, **cell)

    (note,) = answer["notes"]
    assert note.startswith("llama-server has a handler of its own for Ministral 3, which ")
