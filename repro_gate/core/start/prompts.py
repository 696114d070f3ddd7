"""The prompts and items of a first matrix: short, plain, and different enough to notice changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

MAX_TOKENS: Final = 24
"""Of each answer."""
QUESTIONS: Final[Mapping[str, str]] = {
    "capital": "What is the capital of France? Answer in one sentence.",
    "haiku": "Write a haiku about autumn leaves.",
    "egg": "How do I boil an egg? Give three short steps.",
}
TEXTS: Final[Mapping[str, str]] = {
    "capital": "The capital of France is",
    "story": "Once upon a time, in a small village by the sea,",
    "recipe": "A recipe for bread begins with",
}
ITEMS: Final[Mapping[str, tuple[str, str]]] = {
    "capital": ("The capital of France is", " Paris, a city on the river Seine in the north."),
    "airplane": (
        "To make a paper airplane,",
        " fold a sheet of paper in half, open it, and fold the upper corners to the line.",
    ),
    "leaves": ("In autumn the leaves", " turn red and gold before the wind takes them away."),
    "bread": ("A recipe for bread begins with", " flour, water, salt and yeast, and a warm place."),
    "train": ("The train leaves the station at", " nine, and the town is quiet when it has gone."),
}
"""A prompt and a fixed response, which starts with a space so that a token starts there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatForm:
    """How a chat template takes a plain question."""

    variables: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The variables that it needs, such as `enable_thinking`."""
    refused: str | None = None
    """Why no chat can be rendered; None if it can."""


def messages_of(question: str) -> Sequence[Mapping[str, str]]:
    """Return the chat of one question."""
    return [{"role": "user", "content": question}]


def prompts_of(chat: ChatForm | None) -> Mapping[str, Mapping[str, Any]]:
    """Return the tables of the prompts: chats, or plain texts if there is no usable template."""
    if chat is None or chat.refused is not None:
        return {name: {"max_tokens": MAX_TOKENS, "text": text} for name, text in TEXTS.items()}
    variables = {"template_kwargs": dict(chat.variables)} if chat.variables else {}
    return {
        name: {"max_tokens": MAX_TOKENS, "messages": [*messages_of(question)], **variables}
        for name, question in QUESTIONS.items()
    }
