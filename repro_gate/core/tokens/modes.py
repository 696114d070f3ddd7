"""Modes: circumstances in which a served model answers, and what its answers showed there."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, TypeVar, assert_never

from repro_gate.core.guards import require_at_least
from repro_gate.core.tokens.generation import Divergence, Generation, Place, first_divergence

MAX_SEQUENCES: Final = 1024
"""The most answers at once; as many as an engine may work on at a time."""
T = TypeVar("T")
N = TypeVar("N", int, float)

_MODE: Final = re.compile(r"([a-z-]+?)(?:-([1-9][0-9]{0,8}))?")


class ModeKind(StrEnum):
    """How a cell is generated in a mode, in the order in which they are measured."""

    ALONE = "alone"
    """One run after the other, each cold: what every other mode is compared with."""
    CONCURRENT = "concurrent"
    """The same cell several times at once."""
    MIXED = "mixed"
    """Different cells at once."""
    AFTER_PREFIX = "after-prefix"
    """After a prompt with the same beginning, of which the cache is kept."""
    REPEAT = "repeat"
    """After the same prompt, of which the cache is kept."""
    RESTART = "restart"
    """Alone and cold, after what computes was started again."""

    @property
    def has_company(self) -> bool:
        """Whether several sequences are generated at once."""
        return self in {ModeKind.CONCURRENT, ModeKind.MIXED}

    @property
    def keeps_cache(self) -> bool:
        """Whether a part of the prompt comes from the cache."""
        return self in {ModeKind.AFTER_PREFIX, ModeKind.REPEAT}


@dataclass(frozen=True, slots=True)
class Mode:
    """Circumstances in which a cell is generated."""

    kind: ModeKind
    sequences: int = 1
    """How many are generated at once."""

    def __post_init__(self) -> None:
        least, most = (2, MAX_SEQUENCES) if self.kind.has_company else (1, 1)
        if not least <= self.sequences <= most:
            raise ValueError(
                f"{self.kind} takes {least} to {most} sequences, got {self.sequences}"
                if self.kind.has_company
                else f"{self.kind} takes no number"
            )

    def __str__(self) -> str:
        """Return the name in a matrix, such as `concurrent-8`."""
        return f"{self.kind}-{self.sequences}" if self.kind.has_company else self.kind.value


_REMEDY_OF_UNKNOWN: Final = "use a server that shows it, or require only any of this mode"

ALONE: Final = Mode(ModeKind.ALONE)
RESTART: Final = Mode(ModeKind.RESTART)


def in_order(modes: Mapping[Mode, T]) -> dict[Mode, T]:
    """Return modes in the order in which they are measured."""
    kinds = tuple(ModeKind)
    order = sorted(modes, key=lambda mode: (kinds.index(mode.kind), mode.sequences))
    return {mode: modes[mode] for mode in order}


def mode_of(name: str) -> Mode:
    """Return the mode of a name in a matrix; raises ValueError."""
    found = _MODE.fullmatch(name)
    kinds = {kind.value: kind for kind in ModeKind}
    if found is None or found[1] not in kinds:
        raise ValueError(f"no mode is called {name!r}")
    return Mode(kinds[found[1]], int(found[2] or 1))


class Level(StrEnum):
    """What the answers of a mode have in common with the one alone, the least first."""

    ANY = "any"
    """Nothing is required: differences are shown, and are no finding."""
    TOKENS = "tokens"
    BITS = "bits"
    """The tokens, and to the bit the logits, or the log-probabilities of a server."""

    @property
    def rank(self) -> int:
        """The place in this order, counted from 0."""
        return tuple(Level).index(self)


class Proof(StrEnum):
    """Whether it was seen that the answers were generated in their mode."""

    SEEN = "seen"
    ABSENT = "absent"
    """They were not, so that their agreement proves nothing."""
    UNKNOWN = "unknown"
    """Not measured, or the engine does not show it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeResult:
    """How the answers of a cell in one mode compare with its first run, alone and cold."""

    mode: Mode
    level: Level
    """The required one."""
    answers: int = 0
    """How many were compared."""
    tokens: int = 0
    """How many they have in all."""
    other_tokens: int = 0
    """How many answers have other tokens."""
    other_bits: int | None = None
    """How many have other tokens or other logits; None when logits are not compared."""
    divergence: Divergence | None = None
    """The earliest of all answers; in the logits only if all tokens are equal."""
    margin: float | None = None
    """The lead of the best token over the second there in run 1, in nats; None if unknown."""
    shift: float | None = None
    """The largest change of a log-probability up to a divergence in nats; None if unknown."""
    running: int | None = None
    """The most sequences that were at work at once; None when the engine does not show it."""
    cached: int | None = None
    """The fewest prompt tokens of an answer from the cache; None when it is not shown."""
    proof: Proof = Proof.UNKNOWN
    reason: str | None = "not all answers of this mode were received"
    """Why it was not seen that the answers were generated in this mode; None when it was."""
    remedy: str | None = "let the check run to its end"

    def __post_init__(self) -> None:
        require_at_least(0, answers=self.answers, tokens=self.tokens, cached=self.cached)
        require_at_least(1, running=self.running)
        require_at_least(0, other_tokens=self.other_tokens, margin=self.margin, shift=self.shift)
        differing = self.other_tokens if self.other_bits is None else self.other_bits
        if not self.other_tokens <= differing <= self.answers:
            raise ValueError(
                f"{self.other_tokens} with other tokens, {self.other_bits} with other logits, of "
                f"{self.answers} answers"
            )
        if (self.divergence is None) != (differing == 0):
            raise ValueError(f"{differing} answers differ, at {self.divergence}")
        if (self.proof is Proof.SEEN) != (self.reason is None):
            raise ValueError(f"{self.proof} with the reason {self.reason}")
        if self.proof is Proof.SEEN and not self.answers:
            raise ValueError("nothing was seen of a mode without answers")

    @property
    def reached(self) -> Level:
        """The strictest level at which all answers agree."""
        if self.other_bits == 0:
            return Level.BITS
        return Level.ANY if self.other_tokens else Level.TOKENS

    @property
    def falls_short(self) -> bool:
        """Whether answers differ that must not, or were not compared as they must be."""
        return self.answers > 0 and self.reached.rank < self.level.rank

    @property
    def is_in_doubt(self) -> bool:
        """Whether a required agreement is not proven."""
        return self.level is not Level.ANY and self.proof is not Proof.SEEN

    def with_answer(self, first: Generation, answer: "Answer") -> "ModeResult":
        """Return the result after one more answer; `first` is run 1 of the cell."""
        found = first_divergence(first, answer.generation)
        earliest = min(filter(None, (self.divergence, found)), key=_order, default=None)
        is_other = found is not None and found.place is not Place.LOGITS
        return replace(
            self,
            answers=self.answers + 1,
            tokens=self.tokens + len(answer.generation.tokens),
            other_tokens=self.other_tokens + is_other,
            other_bits=(self.other_bits or 0) + (found is not None) if first.logits else None,
            divergence=earliest,
            margin=_margin_at(first, earliest),
            shift=_extreme(max, self.shift, answer.shift),
            running=_extreme(max, self.running, answer.running),
            cached=_extreme(min, self.cached, answer.cached),
        )

    def proven(self, *, instances: tuple[str | None, str | None] = (None, None)) -> "ModeResult":
        """Return the result with whether its answers were generated in this mode.

        Args:
            instances: what computed run 1, and the answers; None where it is not reported.
        """
        match self.mode.kind:
            case ModeKind.ALONE:
                return self.judged(Proof.SEEN)
            case ModeKind.CONCURRENT | ModeKind.MIXED:
                return self._with_company()
            case ModeKind.AFTER_PREFIX | ModeKind.REPEAT:
                return self._with_cache()
            case ModeKind.RESTART:
                return self._restarted(*instances)
            case _:
                assert_never(self.mode.kind)

    def _with_company(self) -> "ModeResult":
        wanted = self.mode.sequences
        if self.running is None:
            reason = "the engine does not report how many sequences are at work at once"
            return self.judged(Proof.UNKNOWN, reason, _REMEDY_OF_UNKNOWN)
        if self.running < wanted:
            reason = f"at most {self.running} of {wanted} sequences were at work at once"
            remedy = (
                f"let the server work on {wanted} at once (-np {wanted} of llama-server, "
                f"--max-num-seqs of vLLM), raise max_tokens of short answers, or ask for fewer"
            )
            return self.judged(Proof.ABSENT, reason, remedy)
        return self.judged(Proof.SEEN)

    def _with_cache(self) -> "ModeResult":
        if self.cached is None:
            reason = "the engine does not report how many tokens of a prompt come from its cache"
            return self.judged(Proof.UNKNOWN, reason, _REMEDY_OF_UNKNOWN)
        if not self.cached:
            reason = "no token of the prompt came from the cache"
            remedy = (
                "turn on the cache of prompts, or use a longer prompt: some servers keep only "
                "whole blocks, such as of 128 tokens"
            )
            return self.judged(Proof.ABSENT, reason, remedy)
        return self.judged(Proof.SEEN)

    def _restarted(self, before: str | None, after: str | None) -> "ModeResult":
        if before is None or after is None:
            reason = "the engine does not report whether what computes was started again"
            return self.judged(Proof.UNKNOWN, reason, _REMEDY_OF_UNKNOWN)
        if before == after:
            reason = "the same server answered before and after"
            return self.judged(Proof.ABSENT, reason, "let the gate start the server, with serve")
        return self.judged(Proof.SEEN)

    def judged(
        self, proof: Proof, reason: str | None = None, remedy: str | None = None
    ) -> "ModeResult":
        """Return the result with what is known of its circumstances."""
        return replace(self, proof=proof, reason=reason, remedy=remedy)


def require_compared(results: Sequence[ModeResult], first: Generation | None) -> None:
    """Raise ValueError unless each mode has one result, and differs from this run 1 if at all."""
    if len({result.mode for result in results}) < len(results):
        raise ValueError("two results of one mode")
    for result in results:
        found = result.divergence
        if found is not None and (first is None or not found.starts_from(first)):
            raise ValueError(f"the divergence of {result.mode} is not from run 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One generation in a mode, and what the engine showed of its circumstances."""

    generation: Generation
    shift: float | None = None
    """The largest change of a log-probability since run 1, up to a divergence."""
    running: int | None = None
    """The most sequences that were at work at once."""
    cached: int | None = None
    """How many tokens of the prompt came from the cache."""

    def __post_init__(self) -> None:
        require_at_least(0, shift=self.shift, cached=self.cached)
        require_at_least(1, running=self.running)


def _order(divergence: Divergence) -> tuple[int, int]:
    return tuple(Place).index(divergence.place), divergence.position


def _margin_at(first: Generation, divergence: Divergence | None) -> float | None:
    if divergence is None or divergence.place in {Place.TEMPLATE, Place.PROMPT}:
        return None
    # Where run 1 has ended there is none.
    at = first.trace[divergence.position : divergence.position + 1]
    return at[0].margin if at else None


def _extreme(choose: Callable[[Iterable[N]], N], *values: N | None) -> N | None:
    known = [value for value in values if value is not None]
    return choose(known) if known else None
