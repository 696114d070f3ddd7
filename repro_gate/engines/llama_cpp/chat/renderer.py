"""Renders a chat in a process of its own, because the template of a model file is untrusted.

A re-implementation, in Jinja2's sandbox, of how llama-server renders `messages`: what its own
Jinja prints otherwise, and the six rules that it applies besides. Run as a program, it reads one
request from stdin and writes one answer to stdout, within the limits of its arguments: seconds of
CPU time, and MiB of memory.
"""

import json
import re
import resource
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.meta import find_undeclared_variables
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from repro_gate.engines.llama_cpp.chat.families import RenderedChat, family_of
from repro_gate.protocol import MAX_RENDERED, Json
from repro_gate.strict_json import InvalidJson, array, value_at

_MAX_MESSAGE: Final = 300
_TODAY: Final = "for which llama-server takes the day of the request"
_UNKNOWN: Final[Mapping[str, str]] = {
    "date_string": _TODAY,
    "datetime": _TODAY,
    "enable_thinking": "which llama-server sets by an analysis of the template",
}
"""What llama-server passes to a template and this program cannot know, with the reason."""
_THINKS: Final = re.compile(r"think|reasoning|<\|channel", re.IGNORECASE)
_FORGETS: Final = ("clear_thinking", "truncate_history_thinking", "drop_thinking")
_DERIVED: Final[Mapping[str, frozenset[str]]] = {
    "preserve_reasoning": frozenset({"preserve_thinking", *_FORGETS}),
    "reasoning_effort": frozenset({"reasoning_strength"}),
}
"""The variables that llama-server sets by another one."""
_MARK: Final = "REPRO-GATE-MARK"


class ChatInvalid(Exception):
    """A chat that cannot be rendered, or whose rendering would prove nothing."""


class _Raised(Exception):
    """`raise_exception` was called by a template."""


class _GenerationTag(Extension):
    """`{% generation %}`, with which templates mark what a model is trained on."""

    tags = {"generation"}  # noqa: RUF012 -- declared so by jinja2

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Return the content of the block."""
        parser.stream.skip(1)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Template:
    """A compiled template with the variables of every rendering."""

    def __init__(self, source: str, variables: Json, *, strip: tuple[str, str]) -> None:
        environment = _environment()
        tree = environment.parse(source)
        read = find_undeclared_variables(tree)
        self._read = read
        for name in sorted((_UNKNOWN.keys() & read) - variables.keys()):
            raise ChatInvalid(
                f"the template reads {name}, {_UNKNOWN[name]}; set it in template_kwargs"
            )
        self._template = environment.from_string(tree)
        self._variables = variables
        self._bos, self._eos = strip

    def unread(self, names: Iterable[str]) -> list[str]:
        """Return a note on the variables that have no effect, if there are any."""
        found = [name for name in names if not self._read & {name, *_DERIVED.get(name, ())}]
        return [f"the chat template does not read {', '.join(sorted(found))}"] if found else []

    def render(self, messages: Sequence[Json], *, prompts_answer: bool) -> str:
        """Return the text of some messages."""
        end = {"add_generation_prompt": True} if prompts_answer else {}
        parts: list[str] = []
        size = 0
        for part in self._template.generate(messages=messages, **{**end, **self._variables}):
            parts.append(part)
            size += len(part)
            if size > MAX_RENDERED:
                raise ChatInvalid(f"the template renders more than {MAX_RENDERED} characters")
        return "".join(parts).removeprefix(self._bos).removesuffix(self._eos)

    def shows(self, messages: Sequence[Json], *wanted: str) -> bool:
        """Return whether it can render some messages, with these texts in the result."""
        try:
            rendered = self.render(messages, prompts_answer=True)
        except Exception:  # noqa: BLE001 -- a template may fail in any way
            return False
        return all(text in rendered for text in wanted)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[loopcontrols, _GenerationTag],
        undefined=jinja2.ChainableUndefined,
        finalize=_printed,
    )
    del environment.filters["random"], environment.globals["lipsum"]
    environment.filters |= {"tojson": _tojson, "safe": str}
    functions: dict[str, Any] = environment.globals
    functions |= {"raise_exception": _raise, "strftime_now": _refuse_today}
    return environment


def render(request: Json) -> tuple[str, list[str]]:
    """Return the text of a chat, and notes on it.

    Args:
        request: `chat`, and of the model `template`, `tool_use_template`, `bos`, `eos`, `adds_bos`
            and `adds_eos`.

    Raises:
        ChatInvalid: there is no template, or the chat cannot be rendered.
    """
    chat: dict[str, Any] = request["chat"]
    tools = [*map(_tool, chat.get("tools", []))]
    own: str | None = request["tool_use_template"] if tools else None
    source: str | None = chat.get("template") or own or request["template"]
    if source is None:
        raise ChatInvalid(
            "the model file has no chat template, and llama-server would use ChatML instead; "
            "give the template as template_file, or a text in place of messages"
        )
    messages = [*map(_message, chat["messages"])]
    kwargs = chat.get("template_kwargs", {})
    given = {**({"tools": tools} if tools else {}), **kwargs}
    tokens = {"bos_token": request["bos"], "eos_token": request["eos"]}
    variables = {**tokens, **_with_derived(kwargs), **given}
    asks: bool = chat.get("add_generation_prompt", True)
    strip = (request["bos"] * request["adds_bos"], request["eos"] * request["adds_eos"])
    try:
        template = _Template(source, variables, strip=strip)
        text = _rendered(template, source, messages, asks=asks)
    except (ChatInvalid, MemoryError):
        raise
    except _Raised as error:
        raise ChatInvalid(f"the chat template refuses the messages: {error}") from error
    except Exception as error:
        raise ChatInvalid(f"the chat template fails: {type(error).__name__}: {error}") from error
    notes = _notes(RenderedChat(source, messages, text, prompts_answer=asks))
    return text, [*notes, *template.unread(given)]


def _notes(chat: RenderedChat) -> list[str]:
    """Return what llama-server may do otherwise in a chat; refuse what it does otherwise."""
    family = family_of(chat.template)
    if family is None:
        return []
    changes = [change for change in family.changes if change.concerns(chat)]
    for change in changes:
        if change.is_certain:
            raise ChatInvalid(
                f"llama-server has a handler of its own for {family.name}, which {change.what} "
                "here; this is not reproduced, so give a text in place of messages"
            )
    return [
        f"llama-server has a handler of its own for {family.name}, which {change.what}; this is "
        "not reproduced, so compare the text once with that of its /apply-template"
        for change in changes
    ]


def _with_derived(kwargs: Json) -> Json:
    """Return the variables of a chat with those that llama-server derives from them."""
    if isinstance(kwargs.get("enable_thinking"), str):
        raise ChatInvalid(
            f"template_kwargs.enable_thinking: expected true or false, found "
            f"{kwargs['enable_thinking']!r}, a text, which llama-server refuses"
        )
    variables: dict[str, Any] = {"preserve_reasoning": True, **kwargs}
    keeps = variables["preserve_reasoning"]
    if isinstance(keeps, bool):
        variables |= {"preserve_thinking": keeps, **dict.fromkeys(_FORGETS, not keeps)}
    if isinstance(variables.get("reasoning_effort"), str):
        variables["reasoning_strength"] = variables["reasoning_effort"]
    return variables


def _rendered(template: _Template, source: str, messages: list[Json], *, asks: bool) -> str:
    last = messages[-1]
    is_continued = last["role"] == "assistant"
    if is_continued:
        _require_continuable(source, messages)
        messages = messages[:-1]
    messages = _adapted(template, source, messages)
    if not is_continued:
        return template.render(messages, prompts_answer=asks)
    without = template.render(messages, prompts_answer=False)
    with_prompt = template.render(messages, prompts_answer=True)
    shared = 0
    for one, other in zip(without, with_prompt, strict=False):
        if one != other:
            break
        shared += 1
    return without + with_prompt[shared:] + _flat(last["content"], "\n\n")


def _require_continuable(source: str, messages: Sequence[Json]) -> None:
    if len(messages) > 1 and messages[-2]["role"] == "assistant":
        raise ChatInvalid("the last two messages are both the assistant's, which is refused")
    if "tool_calls" in messages[-1]:
        raise ChatInvalid("the last message calls tools, so it cannot be continued")
    if _THINKS.search(source):
        raise ChatInvalid(
            "the last message is the assistant's, and the template is of a model that thinks: how "
            "llama-server continues its answer is not reproduced; give a text in place of messages"
        )
    family = family_of(source)
    if family is not None:
        raise ChatInvalid(
            f"the last message is the assistant's, and how llama-server continues an answer of "
            f"{family.name} is not reproduced; give a text in place of messages"
        )


def _adapted(template: _Template, source: str, messages: list[Json]) -> list[Json]:
    """Return the messages in the form that the template can render, as llama-server does."""
    if "<|channel|>" not in source:
        messages = [
            {**each, "role": "system"} if each["role"] == "developer" else each for each in messages
        ]
    user: Json = {"role": "user"}
    takes_text = template.shows([{**user, "content": _MARK}], _MARK)
    takes_parts = _takes_parts(template)
    if takes_text:
        # llama-server makes sure of both forms with a list that is empty.
        takes_parts &= template.shows([{**user, "content": []}])
    pair: list[Json] = [
        {"role": "system", "content": _MARK},
        {**user, "content": "a question"},
    ]
    if not takes_parts:
        messages = [{**each, "content": _flat(each["content"])} for each in messages]
    elif not takes_text:
        messages, pair = _in_parts(messages), _in_parts(pair)
    if messages and messages[0]["role"] == "system" and not template.shows(pair, _MARK):
        messages = _without_system(messages)
    return _with_arguments(template, messages)


def _takes_parts(template: _Template) -> bool:
    turns: list[Json] = [{"role": "user", "content": [{"type": "text", "text": _MARK}]}]
    # The list itself may be printed, as in Python or as JSON.
    is_printed = any(template.shows(turns, f"{quote}{_MARK}{quote}") for quote in "'\"")
    return template.shows(turns, _MARK) and not is_printed


def _without_system(messages: list[Json]) -> list[Json]:
    system, *others = messages
    if not others:
        return others
    first, *rest = others
    if not isinstance(system["content"], str) or not isinstance(first["content"], str):
        raise ChatInvalid(
            "the template takes no system message, and llama-server puts no list of parts before "
            "the next message; give its content as a string"
        )
    return [{**first, "content": f"{system['content']}\n{first['content']}"}, *rest]


def _with_arguments(template: _Template, messages: list[Json]) -> list[Json]:
    """Parse the arguments of tool calls, where the template prints them as an object."""
    if not any("tool_calls" in each for each in messages):
        return messages
    call = {"type": "function", "function": {"name": "f", "arguments": {"a": _MARK}}}
    turns: list[Json] = [
        {"role": "user", "content": "a question"},
        {"role": "assistant", "content": "", "tool_calls": [{**call, "id": "call00001"}]},
        {"role": "tool", "content": "an answer", "tool_call_id": "call00001"},
        {"role": "assistant", "content": "an answer"},
        {"role": "user", "content": "a question"},
    ]
    if not template.shows(turns, _MARK):
        return messages
    return [
        {**each, "tool_calls": [*map(_parsed_call, each["tool_calls"])]}
        if "tool_calls" in each
        else each
        for each in messages
    ]


def _parsed_call(call: Json) -> Json:
    function = call["function"]
    try:
        arguments = json.loads(function["arguments"])
    except ValueError as error:
        raise ChatInvalid("the arguments of a tool call are not JSON") from error
    return {**call, "function": {**function, "arguments": arguments}}


def _message(message: Json) -> Json:
    """Return a message with the keys that llama-server keeps, in its order."""
    role, content, calls = message.get("role"), message.get("content"), message.get("tool_calls")
    if not isinstance(role, str):
        raise ChatInvalid("a message needs a role")
    if "content" not in message and not (role == "assistant" and calls):
        raise ChatInvalid(f"a message of the {role} needs content")
    if content is not None and not isinstance(content, str):
        content = _parts(content)
    names = ("reasoning_content", "name", "tool_call_id")
    kept = {name: message[name] for name in names if message.get(name)}
    called = {"tool_calls": [*map(_tool_call, calls)]} if calls else {}
    return {"role": role, "content": content or "", **kept, **called}


def _parts(content: Any) -> list[Json]:
    try:
        parts = array(content)
    except InvalidJson as error:
        raise ChatInvalid("the content of a message is a string or a list of parts") from error
    texts = [value_at(part, "text") for part in parts if value_at(part, "type") == "text"]
    if len(texts) < len(parts) or not all(isinstance(text, str) for text in texts):
        raise ChatInvalid('a part of a message has the form {"type": "text", "text": "..."}')
    return [{"type": "text", "text": text} for text in texts]


def _tool_call(call: Any) -> Json:
    try:
        function = call["function"]
        arguments = function["arguments"]
        if not isinstance(arguments, str):
            arguments = _compact(arguments)
        called = {"name": function["name"], "arguments": arguments}
        known = {"id": call["id"]} if call.get("id") else {}
    except (AttributeError, KeyError, TypeError) as error:
        form = '{"type": "function", "function": {"name": ..., "arguments": ...}}'
        raise ChatInvalid(f"a tool call has the form {form}") from error
    return {"type": "function", "function": called, **known}


def _tool(tool: Any) -> Json:
    try:
        function = tool["function"]
        known = {"name": function["name"], "description": function.get("description", "")}
        empty: Json = {"type": "object", "properties": {}}
        parameters: Json = function.get("parameters") or empty
    except (AttributeError, KeyError, TypeError) as error:
        form = '{"type": "function", "function": {"name": ..., "parameters": ...}}'
        raise ChatInvalid(f"a tool has the form {form}") from error
    return {"type": "function", "function": {**known, "parameters": parameters}}


def _flat(content: str | list[Json], between: str = "\n") -> str:
    return content if isinstance(content, str) else between.join(part["text"] for part in content)


def _in_parts(messages: list[Json]) -> list[Json]:
    return [
        {**each, "content": [{"type": "text", "text": each["content"]}]}
        if isinstance(each["content"], str)
        else each
        for each in messages
    ]


def _printed(value: Any) -> Any:
    """Return what llama-server prints for a value."""
    if value is None or isinstance(value, dict):
        return ""
    if type(value) in {list, tuple}:
        return "".join(str(_printed(each)) for each in value)
    if isinstance(value, float):
        short = f"{value:.6f}".rstrip("0")
        return f"{short}0" if short.endswith(".") else short
    return value


def _tojson(
    value: Any,
    ensure_ascii: bool = False,  # noqa: FBT001, FBT002
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,  # noqa: FBT001, FBT002
) -> str:
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _raise(message: object) -> NoReturn:
    raise _Raised(message)


def _refuse_today(format_: object) -> NoReturn:
    raise ChatInvalid(
        f"the template prints the time of rendering, strftime_now({format_!r}), so no golden can "
        "hold; set its variable in template_kwargs, or give another template_file"
    )


def _limit(cpu_s: str, memory_mib: str) -> None:
    limits = ((resource.RLIMIT_CPU, int(cpu_s)), (resource.RLIMIT_AS, int(memory_mib) << 20))
    for kind, limit in limits:
        # macOS does not know the second one.
        with suppress(OSError, ValueError):
            resource.setrlimit(kind, (limit, limit))


def answer(line: str) -> Json:
    """Return the answer to a request; raises MemoryError and RecursionError."""
    try:
        text, notes = render(json.loads(line))
    except ChatInvalid as error:
        return {"refused": str(error)[:_MAX_MESSAGE]}
    return {"rendered": text, "notes": notes}


if __name__ == "__main__":
    _limit(*sys.argv[1:])
    json.dump(answer(sys.stdin.read()), sys.stdout)
