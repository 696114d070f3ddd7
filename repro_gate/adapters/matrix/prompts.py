"""Read what a prompt of the matrix file asks: a text, a file with one, or a chat."""

from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from repro_gate.adapters.files.documents import limits_of
from repro_gate.adapters.files.parsing import json_of, shown
from repro_gate.adapters.files.untrusted_files import read_regular_file
from repro_gate.core.text import escape_text
from repro_gate.core.tokens.chat import Chat
from repro_gate.errors import InputInvalid
from repro_gate.strict_json import InvalidJson, list_of
from repro_gate.strict_json import table as as_table

ReadFile = Callable[[str], bytes]
"""Returns the content of a file by its path, relative to the matrix file; or raises."""

MAX_FILE_BYTES: Final = 1 << 20
_INPUTS: Final = ("text", "file", "messages")
_OF_MESSAGES: Final = ("tools", "template_kwargs", "add_generation_prompt", "template_file")
_FORM: Final = "a list of messages with role and content"
_INSIDE: Final = "a file inside the folder of this one, symbolic links resolved"
_TOOLS_FORM: Final = "a list of tools in the form of OpenAI"


def read_beside(file: Path) -> ReadFile:
    """Return what reads the files of the folder of a matrix file."""

    def read(name: str) -> bytes:
        folder = file.parent
        try:
            path = (folder / name).resolve()
            is_inside = path.is_relative_to(folder.resolve())
        except (OSError, RuntimeError, ValueError):
            is_inside = False
        if not is_inside:
            raise InputInvalid.at(escape_text(name), "", expected=_INSIDE, found="another")
        return read_regular_file(folder / name, max_bytes=MAX_FILE_BYTES)

    return read


def read_input(
    file: Path, name: str, table: Mapping[str, Any], read: ReadFile
) -> tuple[str, Chat | None]:
    """Return the text of a prompt, or the empty one and the chat; raises `InputInvalid`."""
    place = f"prompts.{name}"
    given = [key for key in _INPUTS if key in table]
    if len(given) != 1:
        found = " and ".join(given) or "none"
        expected = f"exactly one of {', '.join(_INPUTS)}"
        raise InputInvalid.at(file, place, expected=expected, found=found)
    if given != ["messages"]:
        for key in _OF_MESSAGES:
            if key in table:
                expected = f"{key} only together with messages"
                raise InputInvalid.at(file, place, expected=expected, found=given[0])
        text: str = table["text"] if "text" in table else _text(file, place, table, "file", read)
        return text, None
    return "", _chat(file, place, table, read)


def _chat(file: Path, place: str, table: Mapping[str, Any], read: ReadFile) -> Chat:
    data = {key: table[key] for key in _OF_MESSAGES if key in table and key != "template_file"}
    data["messages"] = _objects(file, f"{place}.messages", table["messages"], form=_FORM)
    data["tools"] = _objects(file, f"{place}.tools", table.get("tools", []), form=_TOOLS_FORM)
    if not data["messages"]:
        raise InputInvalid.at(file, f"{place}.messages", expected=_FORM, found="an empty list")
    for index, message in enumerate(data["messages"]):
        if not isinstance(message.get("role"), str):
            where = f"{place}.messages[{index}]"
            found = shown(message["role"]) if "role" in message else "none"
            raise InputInvalid.at(file, where, expected="a role, such as user", found=found)
        if not isinstance(message.get("content"), str | list) and "tool_calls" not in message:
            where = f"{place}.messages[{index}].content"
            found = shown(message["content"]) if "content" in message else "none"
            raise InputInvalid.at(file, where, expected="a string or a list of parts", found=found)
    if "messages" in data.get("template_kwargs", {}):
        where = f"{place}.template_kwargs"
        raise InputInvalid.at(file, where, expected="variables besides messages", found="messages")
    if "template_file" in table:
        data["template"] = _text(file, place, table, "template_file", read)
    try:
        return Chat.of(data)
    except ValueError as error:
        found = escape_text(str(error))
        raise InputInvalid.at(file, place, expected="values that JSON has", found=found) from error


def _objects(file: Path, place: str, value: Any, *, form: str) -> list[Any]:
    """Return a list of objects, which may be written as JSON text."""
    if isinstance(value, str):
        try:
            value = json_of(value.encode(), file, limits_of("matrix-v1"))
        except InputInvalid as error:
            found = f"a string that is not JSON ({error})"
            raise InputInvalid.at(file, place, expected=form, found=found) from error
    try:
        return list_of(as_table, value)
    except InvalidJson as error:
        found = shown(value)
        raise InputInvalid.at(file, place, expected="a list of tables", found=found) from error


def _text(file: Path, place: str, table: Mapping[str, Any], key: str, read: ReadFile) -> str:
    name = table[key]
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        found = escape_text(repr(name))
        raise InputInvalid.at(file, f"{place}.{key}", expected=_INSIDE, found=found)
    try:
        text = read(name).decode()
    except InputInvalid as error:
        raise InputInvalid(f"{file}: {place}.{key}: {error}") from error
    except UnicodeDecodeError as error:
        found = f"the byte {error.object[error.start]:#04x} at {error.start} of {escape_text(name)}"
        raise InputInvalid.at(file, f"{place}.{key}", expected="UTF-8", found=found) from error
    if not text:
        found = "an empty file"
        raise InputInvalid.at(file, f"{place}.{key}", expected="a file with a text", found=found)
    return text
