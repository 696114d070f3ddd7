"""A chat: the messages of a prompt, which the chat template of a model turns into its text."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from repro_gate.core.guards import require_text
from repro_gate.strict_json import is_list


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """What a chat template is given, each value as JSON text: templates print keys in order."""

    messages: tuple[str, ...]
    """Each message, an object with `role` and `content`."""
    tools: tuple[str, ...] = ()
    """Each tool that the model may call."""
    template_kwargs: str = "{}"
    """An object of further variables, such as `enable_thinking`."""
    add_generation_prompt: bool = True
    """Whether the text ends with the start of an answer."""
    template: str | None = None
    """In place of the template of the model file."""

    def __post_init__(self) -> None:
        if not self.messages:
            raise ValueError("a chat has at least one message")
        for text in (*self.messages, *self.tools, self.template_kwargs):
            if not isinstance(_parsed(text), dict) or text != _text_of(_parsed(text)):
                raise ValueError(f"expected an object as compact JSON text, got {text!r}")
        if self.template is not None:
            require_text(template=self.template)

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Chat":
        """Return the chat of plain data: `messages`, and the other fields where they are given.

        Raises:
            ValueError: a value is no JSON, or there is no message.
        """
        return cls(
            messages=tuple(map(_text_of, data["messages"])),
            tools=tuple(map(_text_of, data.get("tools", ()))),
            template_kwargs=_text_of(data.get("template_kwargs", {})),
            add_generation_prompt=data.get("add_generation_prompt", True),
            template=data.get("template"),
        )

    def to_data(self) -> dict[str, Any]:
        """Reverse `of`, without the fields that have their default."""
        return self._changed(
            messages=list(map(_parsed, self.messages)),
            tools=list(map(_parsed, self.tools)),
            template_kwargs=_parsed(self.template_kwargs),
        )

    def to_texts(self) -> dict[str, Any]:
        """Return the fields as they are, without those that have their default."""
        return self._changed(
            messages=list(self.messages),
            tools=list(self.tools),
            template_kwargs=self.template_kwargs,
        )

    @classmethod
    def of_texts(cls, data: Mapping[str, Any]) -> "Chat":
        """Reverse `to_texts`; raises ValueError."""
        given: dict[str, Any] = {
            **data,
            "messages": tuple(data["messages"]),
            "tools": tuple(data.get("tools", ())),
        }
        return cls(**given)

    def with_more(self, words: str) -> "Chat":
        """Return the chat with words at the end of its last message."""
        last = _parsed(self.messages[-1])
        content = last.get("content")
        if isinstance(content, str):
            last["content"] = content + words
        elif is_list(content):
            content.append({"type": "text", "text": words})
        else:
            more = _text_of({"role": "user", "content": words})
            return replace(self, messages=(*self.messages, more))
        return replace(self, messages=(*self.messages[:-1], _text_of(last)))

    def _changed(
        self, *, messages: object, tools: object, template_kwargs: object
    ) -> dict[str, Any]:
        data = {"messages": messages}
        if self.tools:
            data["tools"] = tools
        if self.template_kwargs != "{}":
            data["template_kwargs"] = template_kwargs
        if not self.add_generation_prompt:
            data["add_generation_prompt"] = False
        if self.template is not None:
            data["template"] = self.template
        return data


def _parsed(text: str) -> Any:
    return json.loads(text)


def _text_of(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (RecursionError, TypeError) as error:
        raise ValueError("a value that JSON does not have") from error
