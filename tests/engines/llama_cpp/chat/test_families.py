"""Chats that llama-server renders with a handler of its own."""

import json
from pathlib import Path
from typing import Any

import pytest

from repro_gate.engines.llama_cpp.chat.families import FAMILIES, Family, family_of
from repro_gate.engines.llama_cpp.chat.renderer import answer
from tests.engines.llama_cpp.chat import test_renderer
from tests.engines.llama_cpp.chat.test_renderer import ASSISTANT, CHATML, SYSTEM, USER

_ROOT = Path(__file__).parents[4]
_REASONED = {**ASSISTANT, "reasoning_content": "Hm"}
_THINKING = {"template": CHATML + "{# thinking #}"}
_CALLS = {
    "role": "assistant",
    "content": "",
    "tool_calls": [
        {"type": "function", "id": id_, "function": {"name": "f", "arguments": "{}"}}
        for id_ in "ab"
    ],
}


def answered(family: str, *messages: Any, template: str = CHATML, **chat: Any) -> Any:
    """Return the answer for a template that has the texts of a family."""
    (markers,) = [each.markers for each in FAMILIES if each.name == family]
    model = {"tool_use_template": None, "bos": "", "eos": "", "adds_bos": False, "adds_eos": False}
    marked = template + "{% if false %}" + "".join(f"{{{{ {m!r} }}}}" for m in markers)
    request = {"chat": {"messages": messages, **chat}, "template": marked + "{% endif %}"}
    return answer(json.dumps({**request, **model}))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_is_found_by_all_its_texts(family: Family) -> None:
    """With a text missing, or one that excludes it, a template has another family or none."""
    assert family_of(" ".join(family.markers)) == family
    for marker in family.markers:
        assert family_of(" ".join({*family.markers} - {marker})) != family
    for marker in family.absent:
        assert family_of(" ".join((*family.markers, marker))) != family


@pytest.mark.parametrize("family", [each.name for each in FAMILIES])
def test_an_answer_of_a_family_is_not_continued(family: str) -> None:
    """Each handler continues it in a way of its own."""
    reason = answered(family, USER, ASSISTANT)["refused"]

    assert "how llama-server continues" in reason


@pytest.mark.parametrize("family", [each.name for each in FAMILIES])
def test_a_question_is_rendered_without_a_note(family: str) -> None:
    """No handler changes it."""
    text = test_renderer.rendered(USER)

    assert answered(family, USER) == {"rendered": text, "notes": []}


@pytest.mark.parametrize(
    ("family", "messages", "chat", "change"),
    [
        ("StepFun", [{**USER, "content": "Hi\n"}], {}, "strips white space"),
        ("StepFun", [{**USER, "content": [{"type": "text", "text": " "}]}], {}, "strips white"),
        ("StepFun", [{**_REASONED, "reasoning_content": " Hm"}, USER], {}, "strips white space"),
        ("Ministral 3", [_REASONED, USER], {}, "moves reasoning_content"),
        ("gpt-oss", [USER, _REASONED, USER], _THINKING, "copies reasoning_content"),
        (
            "gpt-oss",
            [USER],
            {"add_generation_prompt": False, "template": CHATML + "<|return|>"},
            "replaces the last <|return|>",
        ),
        ("LFM2", [_REASONED, USER], _THINKING, "copies reasoning_content"),
        ("LFM2.5", [_REASONED, USER], _THINKING, "copies reasoning_content"),
        (
            "DeepSeek V4",
            [_CALLS, *({"role": "tool", "content": "1", "tool_call_id": id_} for id_ in "ba")],
            {},
            "sorts results of tools",
        ),
        ("an older Gemma 4", [_CALLS, USER], {}, "moves results of tools"),
        ("Gemma 4", [USER], {"template": "<turn|>\n"}, "starts another turn"),
    ],
)
def test_a_chat_that_a_handler_changes_is_refused(
    family: str, messages: list[Any], chat: dict[str, Any], change: str
) -> None:
    """The reason has the family and the change."""
    reason = answered(family, *messages, **chat)["refused"]

    assert f"a handler of its own for {family}, which {change}" in reason


def test_a_chat_that_a_handler_may_change_is_noted() -> None:
    """Its text is rendered as for another model."""
    note = (
        "llama-server has a handler of its own for Ministral 3, which makes lists of parts of the "
        "system's and the assistant's texts; this is not reproduced, so compare the text once with "
        "that of its /apply-template"
    )
    text = test_renderer.rendered(SYSTEM, USER)

    assert answered("Ministral 3", SYSTEM, USER) == {"rendered": text, "notes": [note]}


def test_results_in_the_order_of_their_calls_are_rendered() -> None:
    """A handler that sorts them changes nothing."""
    results = [{"role": "tool", "content": "1", "tool_call_id": id_} for id_ in "ab"]

    assert answered("DeepSeek V4", _CALLS, *results)["notes"] == []


@pytest.mark.parametrize("path", sorted(_ROOT.glob("docs/examples/**/*.jinja")), ids=str)
def test_usual_templates_are_of_no_family(path: Path) -> None:
    """llama-server has no handler for them."""
    assert family_of(path.read_text()) is None
    assert family_of(CHATML) is None
