"""The committed part of a watch."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from repro_gate.core.logprobs.draw import Piece
from repro_gate.core.watch.epoch import Dismissal, Epoch, Reference, Watch
from tests.fakes.nights import epoch_of, watched_cell_of

EPOCH = epoch_of()
CELL = watched_cell_of()


@pytest.mark.parametrize(
    "other",
    [
        replace(EPOCH, draws=4),
        replace(EPOCH, rate=0.02),
        replace(EPOCH, floor_nats=0.2),
        replace(EPOCH, previous="0" * 64),
        replace(EPOCH, rule="another"),
        replace(EPOCH, cells={"a--b": CELL}),
        epoch_of(3),
    ],
)
def test_every_change_of_an_epoch_changes_its_digest(other: Epoch) -> None:
    """Nights are stored under the digest, so nights of different epochs never mix."""
    assert other.digest != EPOCH.digest
    assert EPOCH.digest == epoch_of().digest


def test_the_definition_and_the_tokens_of_a_cell_are_separate() -> None:
    """Each changes the epoch, and neither the other one."""
    renamed = replace(CELL, definition={**CELL.definition, "model": "other"})
    retokenized = replace(CELL, encoding=replace(CELL.encoding, response=(Piece(1, b"x"),)))

    assert renamed.definition_digest != CELL.definition_digest
    assert renamed.content()["response_tokens"] == CELL.content()["response_tokens"]
    assert retokenized.content()["response_tokens"] != CELL.content()["response_tokens"]
    assert retokenized.definition_digest == CELL.definition_digest
    digests = {replace(EPOCH, cells={"a--b": each}).digest for each in (CELL, renamed, retokenized)}
    assert len(digests) == 3


REFUSALS: dict[str, tuple[Callable[[], object], str]] = {
    "no cells": (lambda: epoch_of(0), "at least one cell"),
    "a rate of 0": (lambda: epoch_of(rate=0.0), "rate must be above 0"),
    "a rate of 2": (lambda: epoch_of(rate=2.0), "rate must lie between 0 and 1"),
    "no reason": (lambda: epoch_of(reason=""), "reason must not be empty"),
    "more digits than a file": (
        lambda: Reference(value=-1.00000001, far=8.0),
        "value must be rounded as in a file, got -1.00000001",
    ),
    "nothing dismissed": (
        lambda: Dismissal(nights=(), reason="x", at="x"),
        "a dismissal must have at least one night",
    ),
    "a night dismissed twice": (
        lambda: Watch(
            epoch=EPOCH,
            dismissals=(
                Dismissal(nights=("a", "b"), reason="x", at="x"),
                Dismissal(nights=("b",), reason="x", at="x"),
            ),
        ),
        "b is dismissed twice",
    ),
}


@pytest.mark.parametrize(("make", "message"), list(REFUSALS.values()), ids=list(REFUSALS))
def test_an_inconsistent_watch_is_refused(make: Callable[[], object], message: str) -> None:
    """It raises ValueError."""
    with pytest.raises(ValueError, match=re.escape(message)):
        make()
