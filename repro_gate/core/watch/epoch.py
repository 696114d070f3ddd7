"""The committed part of a watch: its open epoch and the dismissed nights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from repro_gate.core.guards import (
    require_above,
    require_at_least,
    require_finite,
    require_name,
    require_sha256,
    require_share,
    require_text,
)
from repro_gate.core.logprobs.baseline_format import encoding_to_data, rounded
from repro_gate.core.logprobs.draw import Encoding
from repro_gate.core.text import digest_of, escape_text
from repro_gate.core.tokens.golden import Facts

RULE: Final = "night-ranks/v1"
"""The rule that judges the nights of an epoch; another one could not keep its rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The constants of a watched cell, from draws that are no nights of the epoch."""

    value: float
    """The median of the sums of the calibration draws, in nats."""
    far: float
    """The distance from it, in nats, beyond which a draw is far."""

    def __post_init__(self) -> None:
        require_finite(value=self.value)
        require_above(0, far=self.far)
        for name, number in (("value", self.value), ("far", self.far)):
            if rounded(number) != number:
                raise ValueError(f"{name} must be rounded as in a file, got {number}")


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedCell:
    """A cell of an epoch, complete without the matrix and the baselines."""

    source: str
    """The source of the baseline that gave the reference."""
    definition: Facts
    encoding: Encoding
    """The tokens of which every draw must be."""
    answered_as: str
    """The model name in the responses."""
    reference: Reference

    def __post_init__(self) -> None:
        require_text(source=self.source)

    @property
    def definition_digest(self) -> str:
        """The SHA-256 of what the log-probabilities of the cell depend on."""
        return digest_of(dict(self.definition))

    def content(self) -> dict[str, Any]:
        """Return the cell as plain JSON data, untrusted texts escaped."""
        return {
            "source": self.source,
            "definition": dict(self.definition),
            **encoding_to_data(self.encoding),
            "answered_as": escape_text(self.answered_as),
            "reference": {"value": self.reference.value, "far": self.reference.far},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """What nights must have in common to be compared; fixed from its start to its end."""

    suite: str
    cells: Mapping[str, WatchedCell]
    """By the id of the cell."""
    draws: int
    """Valid draws of every cell in every night."""
    rate: float
    """How often a watch may alarm within `nights` nights although nothing has changed."""
    nights: int
    floor_nats: float
    """An alarm about a smaller shift is a note, never drift."""
    opened_at: str
    """ISO 8601, UTC."""
    reason: str
    previous: str | None = None
    """The digest of the epoch that this one replaced."""
    rule: str = RULE

    def __post_init__(self) -> None:
        require_name(self.suite)
        require_at_least(1, draws=self.draws, nights=self.nights)
        require_above(0, rate=self.rate)
        require_share(rate=self.rate)
        require_at_least(0, floor_nats=self.floor_nats)
        require_text(opened_at=self.opened_at, reason=self.reason, rule=self.rule)
        require_sha256(self.previous)
        if not self.cells:
            raise ValueError("an epoch must have at least one cell")

    @property
    def digest(self) -> str:
        """The SHA-256 of the whole epoch, which names its nights."""
        return digest_of(self.content())

    def content(self) -> dict[str, Any]:
        """Return the epoch as plain JSON data."""
        return {
            "suite": self.suite,
            "cells": {name: cell.content() for name, cell in self.cells.items()},
            "draws": self.draws,
            "rate": self.rate,
            "nights": self.nights,
            "floor_nats": self.floor_nats,
            "opened_at": self.opened_at,
            "reason": self.reason,
            "previous": self.previous,
            "rule": self.rule,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Dismissal:
    """The end of an alarm by a person: these nights no longer count, and the evidence is gone."""

    nights: tuple[str, ...]
    """The keys of the dismissed nights."""
    reason: str
    at: str
    """ISO 8601, UTC."""

    def __post_init__(self) -> None:
        require_text(reason=self.reason, at=self.at)
        if not self.nights:
            raise ValueError("a dismissal must have at least one night")


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """The open epoch of a suite, and the dismissals in it."""

    epoch: Epoch
    dismissals: tuple[Dismissal, ...] = ()

    def __post_init__(self) -> None:
        keys = [key for dismissal in self.dismissals for key in dismissal.nights]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise ValueError(f"{twice[0]} is dismissed twice")

    @property
    def dismissed(self) -> frozenset[str]:
        """The keys of all dismissed nights."""
        return frozenset(key for dismissal in self.dismissals for key in dismissal.nights)
