"""A cell: one point of the matrix, one generation whose tokens must never change."""

import math
import re
from dataclasses import dataclass
from enum import StrEnum

NAME_PATTERN = r"[a-z0-9]+(?:[._-][a-z0-9]+)*"
MAX_NAME_LENGTH = 64
MAX_SEED = 2**32 - 2
"""llama.cpp reads 2^32-1 as "draw a seed at random", and its bindings read 0 the same way."""

_NAME = re.compile(NAME_PATTERN)


class Factor(StrEnum):
    """What the output of a model has to depend on."""

    SEED = "seed"
    PROMPT = "prompt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """How a token is drawn; every value explicit, because the defaults of engines differ."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ValueError(f"temperature must be at least 0, got {self.temperature}")
        if self.top_k < 0:
            raise ValueError(f"top_k must be at least 0, got {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, got {self.top_p}")
        if not 0 <= self.min_p <= 1:
            raise ValueError(f"min_p must lie between 0 and 1, got {self.min_p}")

    @property
    def is_greedy(self) -> bool:
        """At temperature 0 the seed changes nothing."""
        return self.temperature == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One generation whose tokens must never change."""

    model: str
    prompt: str
    """The name of the prompt in the matrix."""
    text: str
    """What the model is given."""
    seed: int
    max_tokens: int
    sampler: Sampler

    def __post_init__(self) -> None:
        require_name(self.model)
        require_name(self.prompt)
        if not 1 <= self.seed <= MAX_SEED:
            raise ValueError(f"a seed must lie between 1 and {MAX_SEED}, got {self.seed}")
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, got {self.max_tokens}")

    @property
    def id(self) -> str:
        """The name of the cell and of its golden.

        No name may hold two separators in a row, so joining them with two makes it certain
        that two cells never share an id.
        """
        return f"{self.model}--{self.prompt}--seed{self.seed}"


def is_name(text: str) -> bool:
    """Tell whether a text can be a part of a cell id and of a file name."""
    return len(text) <= MAX_NAME_LENGTH and _NAME.fullmatch(text) is not None


def require_name(name: str) -> None:
    """Raise ValueError unless `name` can be a part of a cell id and of a file name."""
    if not is_name(name):
        raise ValueError(
            f"a name must be lower-case letters and digits with single '.', '_' or '-' between "
            f"them, and at most {MAX_NAME_LENGTH} characters, got {name!r}"
        )
