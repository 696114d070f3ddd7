"""The chat template of a loaded model: the text of a chat, and what it depends on."""

import hashlib
import json
import subprocess
import sys
from functools import lru_cache
from importlib import metadata
from typing import Any, Final

from repro_gate.engines.llama_cpp import native
from repro_gate.engines.llama_cpp.tokenizer import Tokenizer
from repro_gate.protocol import MAX_RENDERED, Json, bad_request

_RENDERER: Final = "repro_gate.engines.llama_cpp.chat.renderer"
_RULES: Final = "2"
"""Changed with any change of the renderer that renders some chat otherwise."""
_MAX_CPU_S: Final = 5
_MAX_MEMORY_MIB: Final = 1024
_TIMEOUT_S: Final = 30
_MAX_KEPT: Final = 256
"""Rendered chats, as a cell is run several times."""


class ChatTemplate:
    """Turns chats into text, each in a process of its own, as llama-server would."""

    def __init__(self, model: native.Model, tokenizer: Tokenizer) -> None:
        self._model: dict[str, Any] = {
            "template": native.metadata(model, "tokenizer.chat_template"),
            "tool_use_template": native.metadata(model, "tokenizer.chat_template.tool_use"),
            "bos": tokenizer.special_text(tokenizer.bos),
            "eos": tokenizer.special_text(tokenizer.eos),
            "adds_bos": tokenizer.adds_bos,
            "adds_eos": tokenizer.adds_eos,
        }
        self._render = lru_cache(maxsize=_MAX_KEPT)(_rendered)

    def facts(self) -> dict[str, str]:
        """Return what the text of a chat depends on besides its messages."""
        adds_bos = {"chat.adds_bos": str(self._model["adds_bos"]).lower()}
        named = {"": self._model["template"], ".tool_use": self._model["tool_use_template"]}
        digests = {
            f"chat.template{name}.sha256": hashlib.sha256(text.encode()).hexdigest()
            for name, text in named.items()
            if text is not None
        }
        return {**adds_bos, **digests, "chat.renderer": renderer()}

    def render(self, chat: Json) -> tuple[str, list[str]]:
        """Return the text of a chat, and notes about it; or refuse it."""
        return self._render(json.dumps({"chat": chat, **self._model}))


def renderer() -> str:
    """Return the name and version of what renders chats."""
    return f"jinja2 {metadata.version('jinja2')}, rules {_RULES}"


def _rendered(request: str) -> tuple[str, list[str]]:
    isolation = "-I" if sys.flags.isolated else "-P"
    try:
        done = subprocess.run(  # noqa: S603 -- our own module
            [sys.executable, isolation, "-m", _RENDERER, f"{_MAX_CPU_S}", f"{_MAX_MEMORY_MIB}"],
            input=request.encode(),
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=True,
        )
        answer = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise bad_request(
            f"chat: the chat template could not be rendered within {_MAX_CPU_S} seconds and "
            f"{_MAX_MEMORY_MIB} MiB: {_reason(error)}"
        ) from error
    if "refused" in answer:
        raise bad_request(f"chat: {answer['refused']}")
    rendered: str = answer["rendered"]
    if not 0 < len(rendered) <= MAX_RENDERED:
        raise bad_request("chat: the chat template renders an empty text")
    return rendered, answer["notes"]


def _reason(error: Exception) -> str:
    match error:
        case subprocess.CalledProcessError(returncode=code) if code < 0:
            return f"its process was ended by signal {-code}"
        case subprocess.CalledProcessError(stderr=bytes(stderr)):
            lines = stderr.decode(errors="replace").strip().splitlines()
            return lines[-1] if lines else "its process failed"
        case _:
            return type(error).__name__
