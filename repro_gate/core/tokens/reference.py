"""References: how far harmless changes move the tokens of goldens."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean

from repro_gate.core.guards import require_at_least, require_name, require_sha256, require_text
from repro_gate.core.text import digest_of
from repro_gate.core.tokens.golden import Facts, Golden, definition
from repro_gate.core.tokens.verification import require_distance


@dataclass(frozen=True, slots=True, kw_only=True)
class CellReference:
    """How far one harmless change moves the tokens of the golden of one cell."""

    golden: str
    """See `claim_digest`: of another golden the distances mean nothing."""
    distances: tuple[float, ...]
    """Of each token of the golden, see `clipped_distance`."""
    kl_divergence: float | None = None
    """A lower bound in nats, the mean over the tokens; None when it is unknown."""

    def __post_init__(self) -> None:
        require_sha256(self.golden)
        require_distance(distances=self.distances)
        require_at_least(0, kl_divergence=self.kl_divergence)
        if not self.distances:
            raise ValueError("a cell needs the distance of at least one token")

    @property
    def mean_distance(self) -> float:
        """The distance of the cell."""
        return fmean(self.distances)

    def is_of(self, golden: Golden) -> bool:
        """Return whether the distances are of the tokens of this golden."""
        is_whole = len(self.distances) == len(golden.generation.tokens)
        return is_whole and self.golden == claim_digest(golden)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """How far one harmless change moves the tokens of the goldens of a profile."""

    variant: str
    """The name of the change."""
    profile: str
    """Of the goldens."""
    measured_on: str
    """The profile of the machine and engine that had the change."""
    tool_version: str
    provenance: Facts
    """What is not as in the goldens."""
    cells: Mapping[str, CellReference]
    """By cell id."""
    change: Facts = field(default_factory=dict[str, str])
    """As the matrix had it; empty for another machine with the settings of the matrix."""

    def __post_init__(self) -> None:
        require_name(self.variant)
        require_name(self.profile)
        require_name(self.measured_on)
        require_text(tool_version=self.tool_version)

    @property
    def remedy(self) -> str:
        """The command that records it again."""
        if self.change:
            return f"repro-gate record-reference --variant {self.variant}"
        goldens = "" if self.measured_on == self.profile else f" --profile {self.profile}"
        return f"repro-gate record-reference --as {self.variant}{goldens}, on {self.measured_on}"

    def stale(self, goldens: Iterable[Golden]) -> tuple[str, ...]:
        """Return the ids of cells whose golden was recorded since; `goldens` are of its profile.

        A model of which it has no cell at all is not meant.
        """
        models = {cell_id.partition("--")[0] for cell_id in self.cells}
        known = ((golden, self.cells.get(golden.cell.id)) for golden in goldens)
        return tuple(
            golden.cell.id
            for golden, entry in known
            if golden.cell.model in models and (entry is None or not entry.is_of(golden))
        )


def claim_digest(golden: Golden) -> str:
    """Return the SHA-256 of what the distances of a golden's tokens depend on.

    These are the definition of the cell, with its sampler, and the tokens of prompt and output.
    """
    generation = golden.generation
    prompt, output = (
        [token.id for token in part] for part in (generation.prompt, generation.tokens)
    )
    return digest_of({**definition(golden.cell), "prompt_tokens": prompt, "tokens": output})
