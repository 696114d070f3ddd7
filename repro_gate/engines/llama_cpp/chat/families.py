"""The families of models whose chats llama-server renders with a handler of its own.

`common_chat_try_specialized_template` of llama.cpp finds a handler by texts in the template; the
first one counts. Every handler continues an answer in its own way; some also change the messages.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from repro_gate.protocol import Json

_SPACE: Final = " \t\n\v\f\r"


@dataclass(frozen=True, slots=True)
class RenderedChat:
    """The text of a chat, and what it was rendered from."""

    template: str
    messages: Sequence[Json]
    text: str
    prompts_answer: bool


@dataclass(frozen=True, slots=True)
class Change:
    """What a handler does to some chats, and whether their text certainly differs then."""

    what: str
    concerns: Callable[[RenderedChat], bool]
    is_certain: bool = True


@dataclass(frozen=True, slots=True)
class Family:
    """The texts that a template has, and those that it has not, if it is of a family."""

    name: str
    markers: tuple[str, ...]
    absent: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()


def _reasons(chat: RenderedChat) -> bool:
    return any("reasoning_content" in each for each in chat.messages)


def _thinks(chat: RenderedChat) -> bool:
    return "thinking" in chat.template and _reasons(chat)


def _calls_tools(chat: RenderedChat) -> bool:
    return any("tool_calls" in each for each in chat.messages)


def _has_unsorted_results(chat: RenderedChat) -> bool:
    calls = [call.get("id") for each in chat.messages for call in each.get("tool_calls", [])]
    answered = [each.get("tool_call_id") for each in chat.messages if each["role"] == "tool"]
    return len(answered) > 1 and answered != [call for call in calls if call in answered]


def _has_prose(chat: RenderedChat) -> bool:
    return any(each["role"] in {"assistant", "system"} for each in chat.messages)


def _has_outer_space(chat: RenderedChat) -> bool:
    return any(
        text != text.strip(_SPACE) for message in chat.messages for text in _texts_of(message)
    )


def _texts_of(message: Json) -> Iterator[str]:
    yield message.get("reasoning_content", "")
    content: str | list[Json] = message["content"]
    if isinstance(content, str):
        yield content
    else:
        yield from (part["text"] for part in content)


def _ends_a_turn(chat: RenderedChat) -> bool:
    return chat.prompts_answer and chat.text.endswith("<turn|>\n")


def _returns(chat: RenderedChat) -> bool:
    return not chat.prompts_answer and "<|return|>" in chat.text


_REASONING: Final = Change("moves reasoning_content into content", _reasons)
_THINKING: Final = Change("copies reasoning_content to thinking, which is printed", _thinks)
_AS_PARTS: Final = Change(
    "makes lists of parts of the system's and the assistant's texts", _has_prose, is_certain=False
)
_RETURN: Final = Change("replaces the last <|return|> by <|end|>", _returns)
_SORTED: Final = Change("sorts results of tools by their calls", _has_unsorted_results)
_OPENED: Final = Change("starts another turn of the model", _ends_a_turn)
_MERGED: Final = Change("moves results of tools into the message of the call", _calls_tools)
_STRIPPED: Final = Change("strips white space around each text", _has_outer_space)
_GEMMA_4: Final = "'<|tool_call>call:'"

FAMILIES: Final = (
    # Beside another handler.
    Family(
        "StepFun",
        ("You have access to the following functions in JSONSchema format",),
        changes=(_STRIPPED,),
    ),
    Family(
        "Ministral 3",
        ("[SYSTEM_PROMPT]", "[TOOL_CALLS]", "[ARGS]"),
        absent=("[CALL_ID]",),
        changes=(_REASONING, _AS_PARTS),
    ),
    Family("gpt-oss", ("<|channel|>",), changes=(_THINKING, _RETURN)),
    Family("Muse Glimmer", ("<atem:function_calls>", "<|eom|>")),
    Family("Functionary v3.2", (">>>all", ">>>${recipient}")),
    Family("Kimi K2", ("<|tool_calls_section_begin|>", "<|tool_call_begin|>")),
    Family("Kimi K3", ("<|open|>", "<|close|>", "<|end_of_msg|>")),
    Family("Ling 3.0", ("<role>ASSISTANT</role>", "<arg_key>")),
    Family("Cohere2 MoE", ("<|START_TEXT|>", "<|START_ACTION|>")),
    Family("LFM2", ("<|tool_list_start|>", "<|tool_list_end|>"), changes=(_THINKING,)),
    Family("LFM2.5", ("List of tools: [",), absent=("<|tool_list_start|>",), changes=(_THINKING,)),
    Family("GigaChat 3", ("<|role_sep|>", "<|message_sep|>"), absent=("<|function_call|>",)),
    Family("MiniMax-M3", ("]<]minimax[>[", "<tool_call>", "<invoke name=")),
    Family("DeepSeek V3.2", ("dsml_token", "DSML", "function_calls")),
    Family("DeepSeek V4", ("dsml_token", "DSML", "tool_calls"), changes=(_SORTED,)),
    Family("Gemma 4", (_GEMMA_4, "{#- OpenAI Chat Completions:"), changes=(_OPENED,)),
    Family("an older Gemma 4", (_GEMMA_4,), changes=(_MERGED, _OPENED)),
    Family("MiniCPM5", ("Tool usage guidelines:", '<function name="', '<param name="')),
    Family(
        "Qwen3-Coder",
        ("<tool_call>", "<function=", "<parameter="),
        absent=("'<tool_call><function=' ~ tool_call.name ~ '>'",),
    ),
)


def family_of(template: str) -> Family | None:
    """Return the family of a template, or None if llama-server has no handler for it."""
    for family in FAMILIES:
        has_all = all(marker in template for marker in family.markers)
        if has_all and not any(marker in template for marker in family.absent):
            return family
    return None
