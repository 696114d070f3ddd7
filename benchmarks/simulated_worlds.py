"""Worlds to simulate: scores of a hosted model without noise, before and after a change."""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from repro_gate.core.logprobs.draw import Draw, DrawFacts
from repro_gate.ports import DrawRequest, Purpose
from repro_gate.statistics.permutation import Floats
from tests.fakes.scoring import MODEL, NOW, TOKENS, Noise, NoisyScorer

CELLS = 60
_VOCABULARY = 640
_LOGIT_SPREAD = 2.3
"""As the tiny models have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Log-probabilities without noise, in nats; a row for each cell."""

    before: Floats
    """Cells x tokens of the response."""
    after: Floats
    first_before: Floats
    """Cells x tokens that could come first, for the tests that ask for the likeliest of them."""
    first_after: Floats


class Change(Protocol):
    """Something that happens to a hosted model after its baselines were recorded."""

    @property
    def label(self) -> str:
        """What the tables call it."""
        ...

    @property
    def is_everywhere(self) -> bool:
        """Whether every cell changes."""
        ...

    def __call__(self, generator: np.random.Generator) -> World:
        """Return a world in which it has happened."""
        ...


@dataclass(frozen=True, slots=True)
class Nothing:
    """No change: what is found is a false alarm."""

    label: str = "nothing"
    is_everywhere: bool = False
    cells: int = CELLS

    def __call__(self, generator: np.random.Generator) -> World:
        """Return a world of made-up numbers."""
        before = -1.0 - generator.exponential(1.0, (self.cells, TOKENS))
        first = _log_softmax(generator.normal(0, _LOGIT_SPREAD, (self.cells, _VOCABULARY)))
        return World(before=before, after=before, first_before=first, first_after=first)


@dataclass(frozen=True, slots=True)
class MovedItems:
    """The sum of one item, or of every item, moves by the same amount, up or down."""

    nats: float
    is_everywhere: bool

    @property
    def label(self) -> str:
        """What the tables call it."""
        return f"{'every item' if self.is_everywhere else 'one item'} by {self.nats:g}"

    def __call__(self, generator: np.random.Generator) -> World:
        """Return a world in which every token of these items moves by its share."""
        world = Nothing()(generator)
        moved = generator.choice([-self.nats, self.nats], (CELLS, 1))
        if not self.is_everywhere:
            moved *= (np.arange(CELLS) == generator.integers(CELLS))[:, np.newaxis]
        share = moved / TOKENS
        # Each of the likeliest first tokens moves as far as the first token of the response.
        signs = generator.choice([-1.0, 1.0], world.first_before.shape)
        return replace(
            world, after=world.before + share, first_after=world.first_before + signs * share
        )


@dataclass(frozen=True, slots=True)
class MovedToken:
    """One token of one item becomes less likely."""

    nats: float
    is_hidden: bool
    """Whether the least likely token becomes more so, so that the sum stays as it was."""
    is_everywhere: bool = False

    @property
    def label(self) -> str:
        """What the tables call it."""
        return f"one token by {self.nats:g}{', sum kept' if self.is_hidden else ''}"

    def __call__(self, generator: np.random.Generator) -> World:
        """Return a world in which it has happened, to any token."""
        world = Nothing()(generator)
        cell, token = generator.integers(CELLS), generator.integers(TOKENS)
        after, first = world.before.copy(), world.first_before.copy()
        after[cell, token] -= self.nats
        if self.is_hidden:
            least = world.before[cell].copy()
            least[token] = np.inf
            after[cell, least.argmin()] += self.nats
        if token == 0:
            first[cell] += self.nats * generator.choice([-1.0, 1.0], first.shape[1])
        return replace(world, after=after, first_after=first)


@dataclass(frozen=True, slots=True)
class Swapped:
    """Another model answers."""

    label: str = "another policy"
    is_everywhere: bool = True

    def __call__(self, generator: np.random.Generator) -> World:
        """Return a world whose two halves have nothing in common."""
        world, other = Nothing()(generator), Nothing()(generator)
        return replace(world, after=other.before, first_after=other.first_before)


@dataclass(frozen=True, slots=True)
class Measured:
    """A change whose numbers were measured on real models."""

    label: str
    world: World
    is_everywhere: bool = True

    def __call__(self, generator: np.random.Generator) -> World:
        """Return the same world every time: only the noise is another."""
        del generator
        return self.world


@dataclass(slots=True, kw_only=True)
class SimulatedService(NoisyScorer):
    """Answers from a world."""

    world: World

    def drawn(self, request: DrawRequest) -> Draw:
        """Return a draw with noise: before the change for calibration, after it for a check."""
        is_before = request.purpose is Purpose.CALIBRATION
        truth = self.world.before if is_before else self.world.after
        row = truth[int(request.cell.item.name.rpartition("-")[2])]
        if request.purpose is Purpose.CONTROL:
            # The control asks with another prompt, and that makes a difference.
            row = row - 1.0
        noisy = np.minimum(row + self.noise(self._generator, len(row)), 0.0)
        facts = DrawFacts(at=NOW, model=MODEL, request_id="req")
        return Draw(logprobs=tuple(noisy.tolist()), facts=facts)


def draws_of(truth: Floats, noise: Noise, generator: np.random.Generator, *, count: int) -> Floats:
    """Return cells x count x tokens: draws with the noise that the service has."""
    cells, tokens = truth.shape
    values = np.stack([noise(generator, tokens) for _ in range(cells * count)])
    # The noise is that of the sum of a response; a vocabulary is wider, its tokens no less noisy.
    values *= np.sqrt(tokens / TOKENS)
    drawn: Floats = np.minimum(truth[:, np.newaxis] + values.reshape(cells, count, tokens), 0.0)
    return drawn


def _log_softmax(logits: Floats) -> Floats:
    shifted = logits - logits.max(axis=1, keepdims=True)
    result: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result
