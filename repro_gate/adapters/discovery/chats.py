"""Tries a chat template as the built-in engine would render it, in a process of its own."""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from repro_gate.adapters.engines.environment import python_module_argv
from repro_gate.core.start.prompts import ChatForm
from repro_gate.strict_json import value_at

_RENDERER: Final = "repro_gate.engines.llama_cpp.chat.renderer"
_LIMITS: Final = ("5", "1024")
"""Seconds of CPU time and MiB of memory, those of the engine."""
_TIMEOUT_S: Final = 30
_VARIABLES: Final[Mapping[str, Any]] = {
    "enable_thinking": True,
    "date_string": "26 Jul 2024",
    "datetime": "26 Jul 2024",
}
"""What a template may need; llama-server sets the first one so for a model that can think."""
_FAILED: Final = "it could not be rendered within the limits of the engine"


def form_of_chat(template: str, messages: Sequence[Mapping[str, str]]) -> ChatForm:
    """Return which variables a template needs for some messages, or why they are refused."""
    refused = ""
    for variables in _candidates(template):
        refused = _refusal(template, messages, variables) or ""
        if not refused:
            return ChatForm(variables=variables)
    return ChatForm(refused=refused)


def _candidates(template: str) -> Iterator[Mapping[str, Any]]:
    read = {name: value for name, value in _VARIABLES.items() if name in template}
    yield {}
    for name, value in read.items():
        yield {name: value}
    if len(read) > 1:
        yield read


def _refusal(
    template: str, messages: Sequence[Mapping[str, str]], variables: Mapping[str, Any]
) -> str | None:
    """Return why the engine would refuse these messages, or None."""
    request = {
        "chat": {"messages": messages, "template_kwargs": variables, "add_generation_prompt": True},
        "template": template,
        "tool_use_template": None,
        "bos": "",
        "eos": "",
        "adds_bos": False,
        "adds_eos": False,
    }
    try:
        done = subprocess.run(  # noqa: S603 -- our own module
            [*python_module_argv(_RENDERER), *_LIMITS],
            input=json.dumps(request).encode(),
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=True,
        )
        answer = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return _FAILED
    refused = value_at(answer, "refused")
    if isinstance(refused, str):
        return refused
    return None if value_at(answer, "rendered") else _FAILED
