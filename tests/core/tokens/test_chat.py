"""Chats: the messages of a prompt, whose keys keep their order."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from repro_gate.core.tokens.cell import Factor
from repro_gate.core.tokens.chat import Chat
from repro_gate.core.tokens.controls import applies, further
from repro_gate.core.tokens.generation import Divergence, Place, Token, first_divergence
from repro_gate.core.tokens.golden import Golden, facts_of_texts
from tests.fakes import strategies
from tests.fakes.values import CHAT, cell_of, generation_of

FULL: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Grüß Gott"}],
    "tools": [{"type": "function", "function": {"name": "f", "a": 1}}],
    "template_kwargs": {"enable_thinking": False},
    "add_generation_prompt": False,
    "template": "{{ messages }}",
}


@pytest.mark.parametrize("data", [FULL, {"messages": FULL["messages"]}])
def test_a_chat_is_its_data(data: dict[str, Any]) -> None:
    """What is given is kept, in the order of its keys, and no default is added."""
    chat = Chat.of(data)

    assert (chat.to_data(), list(chat.to_data()["messages"][0])) == (data, ["role", "content"])


@given(chat=strategies.chats)
def test_a_chat_is_read_back(chat: Chat) -> None:
    """Both forms of a chat are read back as it is."""
    assert (Chat.of(chat.to_data()), Chat.of_texts(chat.to_texts())) == (chat, chat)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"messages": []}, "at least one message"),
        ({"messages": ["Hi"]}, "expected an object as compact JSON"),
        ({"messages": [{"a": object()}]}, "a value that JSON does not have"),
        ({"messages": [{"a": float("nan")}]}, "not JSON compliant"),
        ({**FULL, "template": ""}, "template"),
    ],
)
def test_a_chat_refuses_nonsense(data: dict[str, Any], message: str) -> None:
    """A chat has messages, which are JSON objects, and a template that is not empty."""
    with pytest.raises(ValueError, match=message):
        Chat.of(data)


def test_a_prompt_is_a_text_or_a_chat() -> None:
    """A cell has one of them."""
    with pytest.raises(ValueError, match="a text or a chat"):
        replace(cell_of(), chat=CHAT)


def test_a_cell_takes_another_input() -> None:
    """A text replaces a chat, and a chat a text."""
    chat = cell_of().with_input(CHAT, prompt="chat")

    assert (chat.input, chat.with_input("Say haiku", prompt="haiku")) == (CHAT, cell_of())


def test_the_text_of_a_chat_is_compared_before_its_tokens() -> None:
    """The line that differs is reported, whatever differs after it."""
    golden = replace(generation_of(1, 2), rendered="a\nb\n")
    observed = replace(generation_of(3), prompt=(), rendered="a\nc\n")

    assert first_divergence(golden, observed) == Divergence(
        place=Place.TEMPLATE, position=1, expected=Token(1, b"b\n"), observed=Token(1, b"c\n")
    )


def test_a_golden_of_a_chat_has_its_text() -> None:
    """It is compared, so it cannot be left out."""
    with pytest.raises(ValueError, match="rendered prompt"):
        Golden(
            cell=cell_of().with_input(CHAT, prompt="chat"),
            profile="cpu",
            generation=generation_of(1),
            provenance={},
        )


def test_a_chat_is_contrasted_with_other_prompts() -> None:
    """The control of a model with chats alone varies them by a text."""
    cells = [replace(cell_of(), prompt="chat", text="", chat=CHAT, max_tokens=20)]

    assert applies(Factor.PROMPT, cells)
    assert [each.varied.input for each in further(Factor.PROMPT, cells)] == [
        "1 2 3 4 5 6 7 8",
        "Dear Sir or Madam,",
    ]


def test_what_renders_chats_is_no_provenance_of_a_text() -> None:
    """A text does not depend on it."""
    assert facts_of_texts({"chat.renderer": "x", "model.name": "chat."}) == {"model.name": "chat."}


@pytest.mark.parametrize(
    ("content", "longer"),
    [
        ("Hi", [{"role": "user", "content": "Hi you"}]),
        (
            [{"type": "text", "text": "Hi"}],
            [
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": " you"}],
                }
            ],
        ),
        (None, [{"role": "user", "content": None}, {"role": "user", "content": " you"}]),
    ],
)
def test_a_chat_is_made_longer(content: object, longer: list[dict[str, Any]]) -> None:
    """Words are added to the last message, or after it where it has no text."""
    first = {"role": "system", "content": "Be brief."}
    chat = Chat.of({"messages": [first, {"role": "user", "content": content}]})

    assert chat.with_more(" you") == Chat.of({"messages": [first, *longer]})
