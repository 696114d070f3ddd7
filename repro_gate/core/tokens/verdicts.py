"""The verdicts of the token gate on one cell."""

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from repro_gate.core.guards import require_at_least, require_text
from repro_gate.core.tokens.cell import Factor
from repro_gate.core.tokens.generation import Divergence, Generation
from repro_gate.core.tokens.golden import FactChange, Golden
from repro_gate.core.tokens.modes import Mode


@dataclass(frozen=True, slots=True)
class Match:
    """All runs are identical, and equal the golden."""

    word: ClassVar[str] = "match"


@dataclass(frozen=True, slots=True, kw_only=True)
class Nondeterministic:
    """The runs of this check differ from each other."""

    word: ClassVar[str] = "nondeterministic"

    run: int
    """The first run, counted from 1, that differs from run 1."""
    in_fresh_process: bool
    """Whether nothing that computed the earlier runs computed it."""
    divergence: Divergence
    had_neighbours: bool = False
    """Whether the engine worked on another run at some time during this one."""
    first_had_neighbours: bool = False
    """The same of run 1."""
    in_fresh_client: bool = False
    """Whether only the engine process was fresh, and the server behind it stayed."""

    def __post_init__(self) -> None:
        require_at_least(2, run=self.run)
        if self.in_fresh_process and self.had_neighbours:
            raise ValueError("a run in a fresh process has no neighbours")
        if self.in_fresh_process and self.in_fresh_client:
            raise ValueError("either all of it is fresh or only the client")


def require_seen(difference: Nondeterministic, *, first: Generation, runs: int) -> None:
    """Raise ValueError unless one of `runs` runs can differ from the first in this way."""
    if difference.run > runs:
        raise ValueError(f"run {difference.run} of {runs} runs cannot differ")
    if not difference.divergence.starts_from(first):
        raise ValueError("the divergence is neither at a token of run 1 nor at its end")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """The runs are identical, but differ from the golden."""

    word: ClassVar[str] = "drift"

    divergence: Divergence
    golden: Golden
    provenance: tuple[FactChange, ...]
    """What changed in the provenance since the golden was recorded, most likely causes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Depends:
    """The runs alone equal the golden, but answers in other circumstances must and do not."""

    word: ClassVar[str] = "depends"

    modes: tuple[Mode, ...]
    """Those in which answers differ that must not."""
    provenance: tuple[FactChange, ...] = ()
    """What changed in the provenance since the golden was recorded, as of a drift."""

    def __post_init__(self) -> None:
        if not self.modes:
            raise ValueError("the mode in which answers differ is missing")


@dataclass(frozen=True, slots=True, kw_only=True)
class FormerGolden:
    """The comparison with a golden of another definition of the cell."""

    divergence: Divergence | None
    """None when they are equal up to the shorter length."""
    changes: tuple[FactChange, ...] = ()
    """How the definition changed; empty in the report of an earlier version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unrecorded:
    """The cell has no golden for this profile."""

    word: ClassVar[str] = "unrecorded"

    reason: str
    former: FormerGolden | None = None
    """None when there is no golden, or only one without the logits that are compared."""

    def __post_init__(self) -> None:
        require_text(reason=self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vacuous:
    """Agreement proves nothing."""

    word: ClassVar[str] = "vacuous"

    factor: Factor | None = None
    """What the output of the model does not depend on."""
    mode: Mode | None = None
    """The mode in which the answers were not generated; the result of the mode has the reason."""

    def __post_init__(self) -> None:
        if (self.factor is None) == (self.mode is None):
            raise ValueError("agreement proves nothing because of a factor or of a mode")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inconclusive:
    """Not measured: neither a pass nor drift."""

    word: ClassVar[str] = "inconclusive"

    reason: str
    remedy: str | None

    def __post_init__(self) -> None:
        require_text(reason=self.reason)


STOPPED = Inconclusive(
    reason="--fail-fast stopped the check after the first finding",
    remedy="run the check without --fail-fast",
)
"""The verdict on cells after the first finding under `--fail-fast`."""

Finding: TypeAlias = Drift | Nondeterministic | Depends | Unrecorded
"""What may be found before a check has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """A golden or a baseline that no cell of the matrix uses."""

    word: ClassVar[str] = "orphaned"

    id: str
    origin: str
    """The machine profile of a golden, or the source of a baseline."""


Verdict: TypeAlias = (
    Match | Nondeterministic | Drift | Depends | Unrecorded | Vacuous | Inconclusive
)
