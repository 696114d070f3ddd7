"""A cell: one point of the matrix, with all inputs of one generation."""

from dataclasses import dataclass, replace
from enum import StrEnum

from repro_gate.core.guards import require_at_least, require_name, require_share
from repro_gate.core.tokens.chat import Chat
from repro_gate.samplers import PLAIN, Sampling

MAX_SEED = 2**32 - 2
"""llama.cpp takes 2^32-1 as "random seed", and its bindings take 0 the same way."""

MAX_STOP_STRINGS = 16


def require_stop(stop: tuple[str, ...]) -> None:
    """Raise ValueError for stop strings that cannot be."""
    if len(stop) > MAX_STOP_STRINGS or not all(stop):
        raise ValueError(f"expected up to {MAX_STOP_STRINGS} stop strings, none empty, got {stop}")


class Factor(StrEnum):
    """An input that a model's output has to depend on."""

    SEED = "seed"
    PROMPT = "prompt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """Sampling parameters, all explicit, because the defaults of engines differ."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    sampling: Sampling | None = None
    """Further samplers, biases and a grammar; a parameter without its sampler has no effect."""

    def __post_init__(self) -> None:
        require_at_least(0, temperature=self.temperature, top_k=self.top_k)
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, got {self.top_p}")
        require_share(min_p=self.min_p)
        if self.sampling is not None:
            self.sampling.require_effect({name: getattr(self, name) for name in PLAIN})

    @property
    def is_greedy(self) -> bool:
        """Whether the seed has no effect."""
        is_random = self.sampling is not None and self.sampling.draws_when_cold
        return self.temperature == 0 and not is_random


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One generation whose tokens must never change."""

    model: str
    prompt: str
    """The name of the prompt in the matrix."""
    text: str
    """The prompt text; empty for a chat."""
    seed: int
    max_tokens: int
    sampler: Sampler
    chat: Chat | None = None
    """The messages whose rendering is the prompt; None for a text."""
    stop: tuple[str, ...] = ()
    """The generation ends after the first of these strings in its text."""

    def __post_init__(self) -> None:
        require_name(self.model)
        require_name(self.prompt)
        if self.chat is not None and self.text:
            raise ValueError("a prompt is a text or a chat, not both")
        if not 1 <= self.seed <= MAX_SEED:
            raise ValueError(f"a seed must lie between 1 and {MAX_SEED}, got {self.seed}")
        require_at_least(1, max_tokens=self.max_tokens)
        require_stop(self.stop)

    def __hash__(self) -> int:
        """Return a hash of what is different in most cells: they are keys of many mappings."""
        return hash((self.model, self.prompt, self.seed))

    @property
    def input(self) -> str | Chat:
        """What the model is asked: a text, or messages."""
        return self.text if self.chat is None else self.chat

    def with_input(self, asked: str | Chat, *, prompt: str) -> "Cell":
        """Return the cell with another prompt, under its name."""
        if isinstance(asked, Chat):
            return replace(self, prompt=prompt, text="", chat=asked)
        return replace(self, prompt=prompt, text=asked, chat=None)

    @property
    def id(self) -> str:
        """The id of the cell and of its golden.

        No name may hold two separators in a row, so joining them with two makes it certain
        that two cells never share an id.
        """
        return f"{self.model}--{self.prompt}--seed{self.seed}"
