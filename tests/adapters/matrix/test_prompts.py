"""What a prompt of the matrix file asks: a text, a file with one, or a chat."""

from pathlib import Path
from typing import Any

import pytest

from repro_gate.adapters.matrix.prompts import read_beside, read_input
from repro_gate.core.tokens.chat import Chat
from repro_gate.errors import InputInvalid

MESSAGES = [{"role": "user", "content": "Hi"}]
CALL = {"role": "assistant", "tool_calls": []}


def input_of(folder: Path, **table: Any) -> tuple[str, Chat | None]:
    """Return what the prompt `p` of a matrix file in a folder asks."""
    file = folder / "repro-gate.toml"
    return read_input(file, "p", table, read_beside(file))


def test_a_text_may_be_in_a_file(tmp_path: Path) -> None:
    """The text of the file is that of the prompt."""
    (tmp_path / "long.txt").write_text("Grüß Gott\n", "utf-8")

    assert input_of(tmp_path, file="long.txt") == ("Grüß Gott\n", None)
    assert input_of(tmp_path, text="Hi") == ("Hi", None)


def test_a_chat_has_all_that_its_template_gets(tmp_path: Path) -> None:
    """Messages may be JSON text, as they are in requests."""
    (tmp_path / "chat.jinja").write_text("{{ messages }}", "utf-8")
    tools = [{"type": "function", "function": {"name": "f"}}]
    given = {"template_kwargs": {"enable_thinking": False}, "add_generation_prompt": False}
    chat = Chat.of({"messages": MESSAGES, "tools": tools, "template": "{{ messages }}", **given})
    asked = {"template_file": "chat.jinja", "tools": tools, **given}

    assert input_of(tmp_path, messages=MESSAGES, **asked) == ("", chat)
    assert input_of(tmp_path, messages='[{"role": "user", "content": "Hi"}]', **asked) == ("", chat)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "prompts.p: expected exactly one of text, file, messages, found none"),
        ({"text": "a", "messages": MESSAGES}, "found text and messages"),
        ({"text": "a", "tools": []}, "expected tools only together with messages, found text"),
        ({"messages": []}, "prompts.p.messages: expected a list of messages"),
        ({"messages": "[{"}, "found a string that is not JSON"),
        ({"messages": "{}"}, "expected a list of tables, found an object"),
        ({"messages": [{"content": "a"}]}, r"messages\[0\]: expected a role, such as user, found"),
        ({"messages": [{"role": "user"}]}, r"messages\[0\].content: expected a string or a list"),
        ({"messages": [{**MESSAGES[0], "n": float("nan")}]}, "expected values that JSON has"),
        ({"messages": [{}]}, r"messages\[0\]: expected a role, such as user, found none"),
        ({"messages": MESSAGES, "tools": "["}, "p.tools: expected a list of tools in the form of"),
        (
            {"messages": MESSAGES, "template_kwargs": {"messages": []}},
            "p.template_kwargs: expected variables besides messages, found messages",
        ),
        ({"file": "../secret"}, "prompts.p.file: expected a file inside the folder of this one"),
        ({"file": "link"}, "prompts.p.file: link: expected a file inside the folder of this one"),
        ({"file": "/etc/passwd"}, "expected a file inside the folder of this one"),
        ({"file": "\0"}, "expected a file inside the folder of this one"),
        ({"file": "none.txt"}, "prompts.p.file: .*none.txt: expected a readable file, found none"),
        ({"file": "empty.txt"}, "prompts.p.file: expected a file with a text, found an empty file"),
        ({"file": "latin.txt"}, "prompts.p.file: expected UTF-8, found the byte 0xfc at 4 of"),
    ],
)
def test_a_prompt_refuses_nonsense(tmp_path: Path, table: dict[str, Any], message: str) -> None:
    """The message has the place, what was expected and what was found."""
    (tmp_path / "empty.txt").touch()
    (tmp_path / "latin.txt").write_bytes(b"Gr\xc3\xbc\xfc")
    (tmp_path / "link").symlink_to("/etc/passwd")

    with pytest.raises(InputInvalid, match=message):
        input_of(tmp_path, **table)


def test_a_message_with_tool_calls_needs_no_content(tmp_path: Path) -> None:
    """As in the API of llama-server."""
    _, chat = input_of(tmp_path, messages=[*MESSAGES, CALL])

    assert chat == Chat.of({"messages": [*MESSAGES, CALL]})
