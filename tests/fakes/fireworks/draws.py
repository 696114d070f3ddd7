"""From the result of a model to one answer: first position, noise, and scripted effects."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tests.fakes.fireworks.answers import Answer, Row
from tests.fakes.fireworks.bodies import Shape
from tests.fakes.fireworks.effects import Effect, OnRows, moved
from tests.fakes.fireworks.hosting import FirstPosition
from tests.fakes.fireworks.noise import Noise


def drawn_answer(
    answer: Answer,
    *,
    first: FirstPosition,
    shape: Shape,
    noise: tuple[Noise, np.random.Generator],
    effects: Sequence[Effect],
) -> Answer:
    """Return the answer to this request.

    Noise and effects are on the tokens of the prompt that come back: its sum over them has the
    standard deviation of the noise. Generated tokens are unchanged.
    """
    rows = [_first(row, first, shape) if row.is_first else row for row in answer.echoed]
    if rows:
        rows = _noisy(rows, *noise)
    for effect in effects:
        if isinstance(effect, OnRows):
            rows = effect.apply(rows)
    return replace(answer, echoed=tuple(rows))


def _first(row: Row, first: FirstPosition, shape: Shape) -> Row:
    is_number = {
        FirstPosition.AS_THE_SHAPE_HAS_IT: shape is Shape.CONTENT,
        FirstPosition.NUMBER: True,
        FirstPosition.NULL: False,
    }[first]
    return row if is_number else replace(row, logprob=None, sampling=None)


def _noisy(rows: Sequence[Row], noise: Noise, dice: np.random.Generator) -> list[Row]:
    after = [row for row in rows if not row.is_first]
    nats = noise.sample(len(after), dice)
    first = [row for row in rows if row.is_first]
    return first + [moved(row, x) for row, x in zip(after, nats, strict=True)]
