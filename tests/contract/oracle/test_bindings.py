"""The prompt of a chat is that of llama-cpp-python, or the difference has a known reason."""

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

import pytest
from llama_cpp import Llama

from repro_gate.protocol import Method
from tests.contract.oracle.chats import CHATS
from tests.contract.oracle.twins import SETTINGS
from tests.fakes.driven_engine import CELL, DrivenEngine, load_params

_OTHERS = [*filter(None, os.environ.get("REPRO_GATE_ORACLE_MODELS", "").split(os.pathsep))]
"""Files of further models, such as Qwen2.5-Coder and Gemma 3."""


class _Asked(Exception):
    """What would be completed: the tokens of a prompt."""


class _Bindings(Llama):
    """llama-cpp-python up to the prompt."""

    def create_completion(self, prompt: Any, *_: Any, **__: Any) -> NoReturn:
        """Raise the prompt, in place of a completion."""
        raise _Asked(prompt)


@pytest.fixture(
    scope="module", params=["", *_OTHERS], ids=lambda path: Path(path).stem or "smollm2"
)
def model(request: pytest.FixtureRequest, smollm2: Path) -> Path:
    """Return a model file."""
    return Path(request.param) if request.param else smollm2


@pytest.fixture(scope="module")
def engine(model: Path) -> Iterator[DrivenEngine]:
    """Yield the engine with the model."""
    with closing(DrivenEngine({})) as started:
        started.ask(Method.LOAD, **{**load_params(model), "settings": SETTINGS})
        yield started


@pytest.fixture(scope="module")
def bindings(model: Path) -> Iterator[_Bindings]:
    """Yield the vocabulary and the templates of the model in llama-cpp-python."""
    with closing(_Bindings(str(model), vocab_only=True, verbose=False)) as opened:
        yield opened


def _is_alike(chat: dict[str, Any]) -> bool:
    """Return whether llama-cpp-python renders a chat as llama-server does, by their sources."""
    messages = chat["messages"]
    return (
        # llama-server continues the last answer.
        messages[-1].get("role") != "assistant"
        # It flattens parts, takes no content as an empty text, and `developer` as `system`.
        and all(isinstance(each.get("content"), str) for each in messages)
        and all(each.get("role") in {"system", "user", "assistant"} for each in messages)
        # It parses the arguments of calls; and `create_chat_completion` has no other arguments.
        and not any("tool_calls" in each for each in messages)
        and chat.keys() <= {"messages", "tools"}
    )


_ALIKE = [chat for chat in CHATS if _is_alike(chat)]


@pytest.mark.parametrize("chat", _ALIKE, ids=lambda chat: json.dumps(chat)[:60])
def test_the_prompt_is_that_of_the_bindings(
    engine: DrivenEngine, bindings: _Bindings, chat: dict[str, Any]
) -> None:
    """Token for token; a model without a template is refused, where they take that of Llama 2."""
    cell = {name: value for name, value in CELL.items() if name != "prompt"}
    engine.send(Method.GENERATE, {**cell, "chat": chat, "max_tokens": 1})
    answer = engine.receive()
    if "tokenizer.chat_template" not in bindings.metadata:
        assert "the model file has no chat template" in answer["error"]["message"]
        return
    with pytest.raises(_Asked) as asked:
        bindings.create_chat_completion(**chat)
    assert [token for token, _ in answer["result"]["prompt"]] == asked.value.args[0]
