"""The text of a chat, as llama-server renders it."""

import json
from typing import Any

import pytest

from repro_gate.engines.llama_cpp.chat.renderer import ChatInvalid, answer, render

CHATML = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
USER = {"role": "user", "content": "Hi"}
SYSTEM = {"role": "system", "content": "Be brief."}
ASSISTANT = {"role": "assistant", "content": "Yes"}
CALL = {"type": "function", "function": {"name": "f", "arguments": '{"b": 1, "a": 2}'}}
TOOL = {"type": "function", "function": {"name": "f", "strict": True}}


def rendered(*messages: Any, template: str | None = CHATML, model: Any = None, **chat: Any) -> str:
    """Return the text of some messages."""
    known = {"tool_use_template": None, "bos": "<s>", "eos": "</s>"}
    flags = {"adds_bos": False, "adds_eos": False}
    asked = {"chat": {"messages": messages, **chat}, "template": template}
    text, _ = render({**asked, **known, **flags, **(model or {})})
    return text


@pytest.mark.parametrize(
    ("messages", "chat", "text"),
    [
        ([USER], {}, "<|user|>Hi\n<|assistant|>"),
        ([USER], {"add_generation_prompt": False}, "<|user|>Hi\n"),
        ([SYSTEM, USER], {}, "<|system|>Be brief.\n<|user|>Hi\n<|assistant|>"),
        ([{**SYSTEM, "role": "developer"}], {}, "<|system|>Be brief.\n<|assistant|>"),
        # The last message of the assistant is continued.
        ([USER, ASSISTANT], {}, "<|user|>Hi\n<|assistant|>Yes"),
        ([USER, ASSISTANT, USER], {}, "<|user|>Hi\n<|assistant|>Yes\n<|user|>Hi\n<|assistant|>"),
        # Parts are joined where a template takes text alone, and no content is none.
        (
            [{"role": "user", "content": [{"type": "text", "text": t} for t in "ab"]}],
            {},
            "<|user|>a\nb\n<|assistant|>",
        ),
        (
            [USER, {"role": "assistant", "content": [{"type": "text", "text": t} for t in "ab"]}],
            {},
            "<|user|>Hi\n<|assistant|>a\n\nb",
        ),
        ([{"role": "user", "content": None}], {}, "<|user|>\n<|assistant|>"),
        ([USER], {"template": "{{ messages[0].content }}!"}, "Hi!"),
        (
            [USER],
            {"template": "{{ enable_thinking }}", "template_kwargs": {"enable_thinking": False}},
            "False",
        ),
        (
            [USER],
            {"template": "{{ tools[0].function | tojson }}", "tools": [TOOL]},
            '{"name": "f", "description": "", "parameters": {"type": "object", "properties": {}}}',
        ),
    ],
)
def test_messages_are_rendered(messages: list[Any], chat: dict[str, Any], text: str) -> None:
    """The messages are adapted to the template, as llama-server does."""
    assert rendered(*messages, **chat) == text


def test_a_template_without_a_system_role_gets_the_text_in_the_next_message() -> None:
    """A template that refuses the role is not refused."""
    strict = "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}" + CHATML

    assert rendered(SYSTEM, USER, template=strict) == "<|user|>Be brief.\nHi\n<|assistant|>"
    assert rendered(SYSTEM, template=strict) == "<|assistant|>"


def test_parts_are_not_merged_into_the_next_message() -> None:
    """As llama-server refuses them."""
    text = "{% if m.content is string %}{{ m.content }}{% else %}{{ m.content[0].text }}{% endif %}"
    strict = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}"
        "{% for m in messages %}" + text + "{% endfor %}"
    )
    parts = {"role": "system", "content": [{"type": "text", "text": "Be brief."}]}

    with pytest.raises(ChatInvalid, match="takes no system message"):
        rendered(parts, USER, template=strict)


def test_a_template_that_takes_parts_alone_gets_parts() -> None:
    """A text is one part."""
    parts = "{% for part in messages[0].content %}[{{ part.text }}]{% endfor %}"

    assert rendered(USER, template=parts) == "[Hi]"


def test_a_system_role_is_found_where_a_template_takes_parts_alone() -> None:
    """Its message stays one of its own."""
    turns = "{% for m in messages %}<{{ m.role }}>{% for part in m.content %}{{ part.text }}"
    template = turns + "{% endfor %}{% endfor %}"

    assert rendered(SYSTEM, USER, template=template) == "<system>Be brief.<user>Hi"


@pytest.mark.parametrize(
    ("adds", "text"),
    [({}, "<s>Hi</s>"), ({"adds_bos": True}, "Hi</s>"), ({"adds_eos": True}, "<s>Hi")],
)
def test_what_the_tokenizer_adds_is_left_to_it(adds: dict[str, bool], text: str) -> None:
    """A BOS or EOS text of the template is not tokenized beside the token that is added."""
    template = "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}"

    assert rendered(USER, template=template, model=adds) == text


def test_tools_have_a_template_of_their_own() -> None:
    """The file's template for tools is used when there are any."""
    model = {"tool_use_template": "T"}

    assert (rendered(USER, model=model, tools=[TOOL]), rendered(USER, model=model)[:4]) == (
        "T",
        "<|us",
    )


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("{{ call.function.arguments | tojson }}", '{"b": 1, "a": 2}'),
        ("{{ call.function.arguments + '' }}", '{"b": 1, "a": 2}'),
    ],
)
def test_arguments_of_tools_have_the_form_that_the_template_takes(form: str, text: str) -> None:
    """An object where it prints one, or else the text."""
    loop = (
        "{% for m in messages %}{% for call in m.tool_calls %}" + form + "{% endfor %}{% endfor %}"
    )
    called = {"role": "assistant", "tool_calls": [{**CALL, "id": "call00001"}]}

    assert rendered(USER, called, USER, template=loop) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0.1 + 0.2", "0.3"),
        ("1.0", "1.0"),
        ("[1, 'a']", "1a"),
        ("{'a': 1}", ""),
        ("none", ""),
        ("nothing.of.this", ""),
        ("{'é': [1]} | tojson", '{"é": [1]}'),
        ("''.__class__.__mro__", ""),
    ],
)
def test_values_are_printed_as_llama_server_does(value: str, text: str) -> None:
    """Jinja2 would print some as Python does, and the sandbox keeps Python's own out."""
    assert rendered(USER, template="[{{ " + value + " }}]") == f"[{text}]"


def test_a_tag_for_training_changes_nothing() -> None:
    """The content of the block is rendered."""
    assert rendered(USER, template="{% generation %}a{% endgeneration %}") == "a"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (None, "no chat template"),
        ("{{ strftime_now('%d') }}", "the time of rendering"),
        ("{{ 'a' if enable_thinking else 'b' }}", "reads enable_thinking, which llama-server sets"),
        ("{% if date_string is defined %}{{ date_string }}{% endif %}", "the day of the request"),
        ("{{ raise_exception('roles must alternate') }}", "refuses the messages: roles must"),
        ("{% if %}", "fails: TemplateSyntaxError"),
        ("{{ [1] | random }}", "fails: TemplateAssertionError"),
        ("{{ range(1000000) }}", "fails: OverflowError"),
        ("{{ 'a' * 2000000 }}", "more than 1048576 characters"),
    ],
)
def test_a_template_that_proves_nothing_is_refused(template: str | None, message: str) -> None:
    """The reason is given."""
    with pytest.raises(ChatInvalid, match=message):
        rendered(USER, template=template)


def test_a_pinned_day_is_rendered() -> None:
    """What would change from day to day may be given, also by the template."""
    kwargs = {"date_string": "26 Jul 2024"}
    pinned = "{% set date_string = '26 Jul 2024' %}{{ date_string }}"
    kept = "{% if not date_string is defined %}{% set date_string = '' %}{% endif %}"

    assert rendered(USER, template=pinned) == "26 Jul 2024"
    with pytest.raises(ChatInvalid, match="the day of the request"):
        rendered(USER, template=kept + "{{ date_string }}")
    assert rendered(USER, template="{{ date_string }}", template_kwargs=kwargs) == "26 Jul 2024"


def test_parts_are_joined_for_a_template_that_refuses_an_empty_list() -> None:
    """As llama-server finds out with one whether a template takes both forms."""
    loop = "{% for part in m.content %}[{{ part.text }}]{% else %}{{ raise_exception('') }}"
    either = "{% if m.content is string %}{{ m.content }}{% else %}" + loop
    template = "{% for m in messages %}" + either + "{% endfor %}{% endif %}{% endfor %}"
    parts = {"role": "user", "content": [{"type": "text", "text": text} for text in "ab"]}

    assert rendered(parts, template=template) == "a\nb"


def test_nothing_is_escaped_beside_a_safe_text() -> None:
    """As llama-server escapes nothing."""
    assert rendered(USER, template="{{ ({'a': '<'} | tojson | safe) + '\"' }}") == '{"a": "<"}"'


_KEPT = (
    "{{ preserve_reasoning }} {{ preserve_thinking }} {{ clear_thinking }} "
    "{{ truncate_history_thinking }} {{ drop_thinking }} {{ reasoning_strength }}"
)


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({}, "True True False False False "),
        ({"preserve_reasoning": False}, "False False True True True "),
        ({"preserve_reasoning": 1}, "1     "),
        ({"clear_thinking": 1, "reasoning_effort": "low"}, "True True 1 False False low"),
        ({"reasoning_effort": "low", "reasoning_strength": 2}, "True True False False False 2"),
    ],
)
def test_variables_that_llama_server_derives_are_set(kwargs: dict[str, Any], text: str) -> None:
    """Those of the chat come first."""
    assert rendered(USER, template=_KEPT, template_kwargs=kwargs) == text


@pytest.mark.parametrize("value", [True, 0, None])
def test_enable_thinking_is_any_value_but_a_text(value: object) -> None:
    """As in llama-server, whatever the template reads."""
    for text in ("true", ""):
        with pytest.raises(ChatInvalid, match=f"expected true or false, found {text!r}"):
            rendered(USER, template_kwargs={"enable_thinking": text})

    assert rendered(USER, template_kwargs={"enable_thinking": value})


@pytest.mark.parametrize("printed", ["{{ m.content | string }}", "{{ m.content | tojson }}"])
def test_a_printed_list_is_no_form_of_parts(printed: str) -> None:
    """The parts are joined for a template that prints the list itself, as Python or as JSON."""
    either = "{% if m.content is string %}{{ m.content }}{% else %}" + printed + "{% endif %}"
    parts = {"role": "user", "content": [{"type": "text", "text": "a"}]}

    assert rendered(parts, template=f"{{% for m in messages %}}{either}{{% endfor %}}") == "a"


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([{"content": "Hi"}], "needs a role"),
        ([{"role": "user"}], "of the user needs content"),
        ([{"role": "user", "content": 1}], "a string or a list"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "a part of a message"),
        ([{"role": "assistant", "tool_calls": [{}]}], "a tool call has the form"),
        ([USER, ASSISTANT, ASSISTANT], "both the assistant's"),
        ([USER, {**ASSISTANT, "tool_calls": [CALL]}], "cannot be continued"),
    ],
)
def test_messages_that_llama_server_refuses_are_refused(messages: list[Any], message: str) -> None:
    """The reason is given."""
    with pytest.raises(ChatInvalid, match=message):
        rendered(*messages)


def test_an_answer_of_a_model_that_thinks_is_not_continued() -> None:
    """Nothing is rendered that llama-server would render otherwise."""
    with pytest.raises(ChatInvalid, match="thinks"):
        rendered(USER, ASSISTANT, template=CHATML + "{# <think> #}")


def test_arguments_that_are_not_json_are_refused() -> None:
    """They cannot be given to a template that takes an object."""
    loop = "{% for m in messages %}{% for c in m.tool_calls %}{{ c.function.arguments | tojson }}"
    call = {"type": "function", "function": {"name": "f", "arguments": "{"}}
    called = {"role": "assistant", "tool_calls": [call]}

    with pytest.raises(ChatInvalid, match="not JSON"):
        rendered(USER, called, USER, template=loop + "{% endfor %}{% endfor %}")


def test_a_tool_needs_a_name() -> None:
    """The form is given."""
    with pytest.raises(ChatInvalid, match="a tool has the form"):
        rendered(USER, tools=[{}])


@pytest.mark.parametrize(("template", "keys"), [(None, ["refused"]), ("Hi", ["rendered", "notes"])])
def test_the_answer_has_the_text_or_the_reason(template: str | None, keys: list[str]) -> None:
    """A chat without a template is refused."""
    model = {"bos": "", "eos": "", "adds_bos": False, "adds_eos": False, "tool_use_template": None}
    request = json.dumps({"chat": {"messages": [USER]}, "template": template, **model})

    assert list(answer(request)) == keys
