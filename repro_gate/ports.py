"""The outside world as the use cases need it: one small protocol for each neighbour."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol, TypeAlias

from repro_gate.core.comments import CiRun, Marker, PostedComment
from repro_gate.core.engines import EngineSpec, ModelSpec
from repro_gate.core.guards import require_at_least, require_finite, require_sha256
from repro_gate.core.logprobs.alignment import ScoredTwice
from repro_gate.core.logprobs.baseline import Baseline
from repro_gate.core.logprobs.draw import DrawOutcome, Encoding, InvalidDraw, MissedDraw
from repro_gate.core.logprobs.policy import LogprobCell, Policy
from repro_gate.core.report import EngineReport, Note
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.generation import Generation
from repro_gate.core.tokens.golden import Facts, Golden
from repro_gate.core.tokens.verdicts import Drift, Nondeterministic, Unrecorded


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A model file that is there and may be loaded."""

    path: Path
    sha256: str | None
    """What the file must be; None while nothing pins it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """What an engine says of the model that it holds."""

    sha256: str
    facts: Facts
    """The model and every effective setting, as flat provenance."""
    notes: tuple[str, ...] = ()
    """What the engine noticed that is worth knowing; one sentence each."""

    def __post_init__(self) -> None:
        require_sha256(self.sha256)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedGeneration:
    """One generation, and the seconds that the engine spent on decoding and sampling."""

    generation: Generation
    engine_s: float
    notes: tuple[str, ...] = ()
    """What the engine noticed about the prompt; one sentence each."""

    def __post_init__(self) -> None:
        require_at_least(0, engine_s=self.engine_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRequest:
    """A prompt and a response, each as text or as token ids."""

    prompt: str | tuple[int, ...]
    response: str | tuple[int, ...]
    temperature: float | None = None
    """Asks for sampling log-probabilities too; None asks for the raw ones alone."""

    def __post_init__(self) -> None:
        if not self.response:
            raise ValueError("a response must not be empty")
        require_at_least(0, temperature=self.temperature)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What an engine says of a response, by teacher forcing."""

    encoding: Encoding
    logprobs: tuple[float, ...]
    """Raw, one for each token of the response, in nats."""
    sampling_logprobs: tuple[float, ...] | None
    """The same at the temperature that was asked for; None when none was."""
    engine_s: float
    notes: tuple[str, ...] = ()
    """What the engine noticed about the prompt; one sentence each."""

    def __post_init__(self) -> None:
        for logprobs in (self.logprobs, self.sampling_logprobs):
            require_finite(logprobs=logprobs)
            if logprobs is not None and len(logprobs) != len(self.encoding.response):
                raise ValueError(
                    f"{len(logprobs)} log-probabilities for {len(self.encoding.response)} tokens"
                )
        require_at_least(0, engine_s=self.engine_s)


class Engine(Protocol):
    """One running engine process.

    Every method raises `MeasurementUnavailable` when the engine refuses, and `EngineFailed`
    when it died, hung or broke the protocol; after that only `close` may be called.
    """

    def describe(self) -> EngineReport:
        """Return what the engine is and the profile that its results belong to."""
        ...

    def load(self, model: ModelSpec, file: ModelFile) -> LoadedModel:
        """Load a model in place of the one before it."""
        ...

    def generate(self, cell: Cell, *, trace: bool) -> TimedGeneration:
        """Run the cell once, cold, on the loaded model."""
        ...

    def score(self, asked: ScoreRequest) -> Scored:
        """Return how likely the loaded model holds a response to be, cold."""
        ...

    def abort(self) -> None:
        """End the process while another thread may be asking it: what it asks fails."""
        ...

    def close(self) -> None:
        """End the process; safe to call at any time, and more than once."""
        ...


class EngineStarter(Protocol):
    """Something that starts engine processes."""

    def start(self, spec: EngineSpec) -> Engine:
        """Start a fresh process without waiting for it; a failure shows at the first request."""
        ...


class ModelFiles(Protocol):
    """Where the model files are."""

    def locate(self, model: ModelSpec) -> ModelFile:
        """Return the file, or raise `MeasurementUnavailable` with the command that gets it."""
        ...


class GoldenReader(Protocol):
    """The committed goldens, profile by profile."""

    def recorded(self, profile: str) -> frozenset[str]:
        """Return the ids of the cells that have a golden under this very profile."""
        ...

    def read(self, profile: str, cell_id: str) -> Golden:
        """Return a recorded golden, or raise `InputInvalid`."""
        ...

    def profiles(self) -> frozenset[str]:
        """Return the profiles that have any golden."""
        ...


class GoldenStore(GoldenReader, Protocol):
    """The committed goldens, to be changed."""

    def write(self, golden: Golden) -> None:
        """Write a golden; afterwards the file is the old one or the new one, never a part."""
        ...

    def remove(self, profile: str, cell_id: str) -> None:
        """Remove a golden."""
        ...


class ModelPins(Protocol):
    """The digests that the first recording pinned."""

    def pinned(self) -> Mapping[str, str]:
        """Return the sha256 of each pinned model by name, or raise `InputInvalid`."""
        ...

    def pin(self, digests: Mapping[str, str]) -> None:
        """Set pins, and keep those of other models."""
        ...


class Progress(Protocol):
    """Someone who watches a measurement."""

    def started(self, *, cells: int, runs: int) -> None:
        """Tell how much there is to do."""
        ...

    def ran(self, cell: Cell | LogprobCell, *, tokens: int) -> None:
        """Tell that one run, or one draw, of a cell is finished."""
        ...

    def skipped(self, cell: Cell | LogprobCell, *, runs: int) -> None:
        """Tell that the remaining runs of a cell will not happen."""
        ...

    def found(self, cell: Cell, finding: Drift | Nondeterministic | Unrecorded) -> None:
        """Report a finding as soon as a run has shown it."""
        ...


class Purpose(StrEnum):
    """What a draw is made for."""

    CALIBRATION = "calibration"
    FIRST_LOOK = "first_look"
    SECOND_LOOK = "second_look"
    CONTROL = "control"


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawRequest:
    """One draw to be made."""

    cell: LogprobCell
    encoding: Encoding
    purpose: Purpose
    number: int
    """Counted from 1 within the purpose; draws that replace an outlier go on counting."""
    answers_as: str | None = None
    """What the answer has to call the model; None while no baseline says so."""

    def __post_init__(self) -> None:
        require_at_least(1, number=self.number)

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells the draw from every other one of a check."""
        return self.cell.id, self.purpose.value, self.number


Seen: TypeAlias = Callable[[DrawRequest, DrawOutcome], None]


class Scorer(Protocol):
    """Something that measures log P(response | prompt) under a policy."""

    def source(self, policy: Policy) -> str:
        """Return the name under which the policy's baselines hold.

        Raises:
            MeasurementUnavailable: it cannot be said, such as when an engine does not start.
        """
        ...

    def facts(self, policy: Policy) -> Facts:
        """Return the provenance of the policy's draws, as far as it is known by now."""
        ...

    def notes(self) -> tuple[Note, ...]:
        """Return what was noticed so far and is worth knowing."""
        ...

    def encode(self, cells: Sequence[LogprobCell]) -> Sequence[Encoding | InvalidDraw | MissedDraw]:
        """Return each cell's prompt and response as the tokens of its model, in order."""
        ...

    def score_twice(self, cell: LogprobCell, encoding: Encoding) -> ScoredTwice | MissedDraw | None:
        """Let the model go on after a cell's prompt, and score what it generated by an echo.

        Returns None where both are one computation, such as in an engine of this machine.
        """
        ...

    def draw(self, requests: Sequence[DrawRequest], *, seen: Seen) -> None:
        """Make the draws, and tell of each as soon as it is there, in any order.

        What cannot be measured is told as a `MissedDraw`. An interruption is let through, after
        everything that had come before was told.
        """
        ...

    def close(self) -> None:
        """Let go of connections and processes; safe to call more than once."""
        ...


class BaselineReader(Protocol):
    """The committed baselines, source by source."""

    def recorded(self, source: str) -> frozenset[str]:
        """Return the ids of the cells that have a baseline for this very source."""
        ...

    def read(self, source: str, cell_id: str) -> Baseline:
        """Return a recorded baseline, or raise `InputInvalid`."""
        ...


class BaselineStore(BaselineReader, Protocol):
    """The committed baselines, to be changed."""

    def write(self, baseline: Baseline) -> None:
        """Write a baseline; afterwards the file is the old one or the new one, never a part."""
        ...

    def remove(self, source: str, cell_id: str) -> None:
        """Remove a baseline."""
        ...


class DrawLog(Protocol):
    """Every draw of a check, kept as it comes."""

    def note(self, request: DrawRequest, outcome: DrawOutcome) -> None:
        """Keep a draw; it is there even when the process is killed in the next moment."""
        ...

    def known(self, request: DrawRequest) -> DrawOutcome | None:
        """Return the draw that an interrupted check had made, or None."""
        ...


class PullRequests(Protocol):
    """The pull requests of one repository, and our comments on them.

    Every method raises `PublishFailed`; no secret is in its words.
    """

    def of_run(self, run: CiRun) -> tuple[int, ...]:
        """Return the open pull requests whose head is the very commit that the run checked."""
        ...

    def comments(self, pull_request: int, *, like: Marker) -> tuple[PostedComment, ...]:
        """Return our own comments about the gate of a marker, the oldest first."""
        ...

    def create(self, pull_request: int, body: str) -> PostedComment:
        """Post a comment; the body begins with its marker."""
        ...

    def update(self, comment: PostedComment, body: str) -> PostedComment:
        """Replace what a comment says; raises `CommentGone` when it is not there any more."""
        ...

    def delete(self, comment: PostedComment) -> None:
        """Take a comment away, unless it is gone already."""
        ...
