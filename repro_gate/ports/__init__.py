"""Protocols for everything outside the process: engines, files and APIs."""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Generic, Protocol, TypeAlias, TypeVar

from repro_gate.core.engines import EngineSpec, ModelSpec
from repro_gate.core.guards import require_at_least, require_finite, require_sha256
from repro_gate.core.logprobs.alignment import ScoredTwice
from repro_gate.core.logprobs.baseline import Baseline
from repro_gate.core.logprobs.draw import DrawOutcome, Encoding, InvalidDraw, MissedDraw
from repro_gate.core.logprobs.policy import LogprobCell, Policy
from repro_gate.core.report import EngineReport, Note
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.generation import Generation, Token
from repro_gate.core.tokens.golden import Conditions, Facts, Golden
from repro_gate.core.tokens.judge import Repetition
from repro_gate.core.tokens.reference import Reference
from repro_gate.core.tokens.verdicts import Finding
from repro_gate.core.tokens.verification import Verification
from repro_gate.errors import MeasurementUnavailable
from repro_gate.model_files import FileState

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """The file or folder of a model, which exists and may be loaded, or the file of an adapter."""

    path: Path | None
    """Of the first part of a split model, whose name has the other ones; None for a model of which
    the matrix names no file."""
    sha256: str | None
    """The expected digest; None when the model is not pinned."""
    states: tuple[FileState, ...] = ()
    """The states in which its files had this digest; empty when they are unknown."""
    lora: tuple["ModelFile", ...] = ()
    """Its adapters."""

    def __post_init__(self) -> None:
        if self.states and self.sha256 is None:
            raise ValueError("states without the digest of the files")
        if self.path is None and (self.states or self.lora):
            raise ValueError("states or adapters without a file")

    @property
    def files(self) -> tuple["ModelFile", ...]:
        """The model, then its adapters."""
        return () if self.path is None else (self, *self.lora)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """An engine's report on the loaded model."""

    sha256: str | None
    """None when a remote engine does not know the files."""
    facts: Facts
    """The model and every effective setting, as flat provenance."""
    notes: tuple[str, ...] = ()
    """Notes of the engine, one sentence each."""
    concurrency: int = 1
    """How many requests the engine works on at a time."""
    states: tuple[FileState, ...] = ()
    """The states of the files when the engine took the digest; empty when they are unknown."""
    has_room_for_another: bool = False
    """Whether another process can load the same model on this device now."""
    instance: str | None = None
    """Another one for each start of what computes; None when the engine does not report it."""

    def __post_init__(self) -> None:
        require_sha256(self.sha256)
        require_at_least(1, concurrency=self.concurrency)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRun:
    """One run of a cell."""

    cell: Cell
    trace: bool
    logits: bool = False
    """Whether the logits are compared too."""
    keep_cache: bool = False
    """Whether it may use what earlier runs left in the caches; otherwise it is cold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedGeneration:
    """One generation, and the seconds that the engine spent on decoding and sampling."""

    generation: Generation
    engine_s: float
    notes: tuple[str, ...] = ()
    """Notes of the engine on the prompt, one sentence each."""
    cached_tokens: int | None = None
    """How many tokens of the prompt came from a cache; None if unknown."""
    running: int | None = None
    """The most requests at work at some time during this one, by the engine's count; None if
    unknown."""

    def __post_init__(self) -> None:
        require_at_least(0, engine_s=self.engine_s, cached_tokens=self.cached_tokens)
        require_at_least(1, running=self.running)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRequest:
    """A prompt and a response, each as text or as token ids."""

    prompt: str | tuple[int, ...]
    response: str | tuple[int, ...]
    temperature: float | None = None
    """Requests sampling log-probabilities too; None requests the raw ones alone."""

    def __post_init__(self) -> None:
        if not self.response:
            raise ValueError("a response must not be empty")
        require_at_least(0, temperature=self.temperature)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Log-probabilities of a response by teacher forcing."""

    encoding: Encoding
    logprobs: tuple[float, ...]
    """Raw, one for each token of the response, in nats."""
    sampling_logprobs: tuple[float, ...] | None
    """The same at the requested temperature; None without one."""
    engine_s: float
    notes: tuple[str, ...] = ()
    """Notes of the engine on the prompt, one sentence each."""

    def __post_init__(self) -> None:
        for logprobs in (self.logprobs, self.sampling_logprobs):
            require_finite(logprobs=logprobs)
            if logprobs is not None and len(logprobs) != len(self.encoding.response):
                raise ValueError(
                    f"{len(logprobs)} log-probabilities for {len(self.encoding.response)} tokens"
                )
        require_at_least(0, engine_s=self.engine_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyRequest:
    """Token ids that are claimed to be the output of a cell."""

    cell: Cell
    prompt: tuple[int, ...]
    tokens: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.prompt or not self.tokens:
            raise ValueError("neither the prompt nor the claimed tokens may be empty")
        require_at_least(0, prompt=min(self.prompt), tokens=min(self.tokens))

    @classmethod
    def of(cls, cell: Cell, *, prompt: Iterable[Token], tokens: Iterable[Token]) -> "VerifyRequest":
        """Return the request to verify generated tokens."""
        claimed, after = (tuple(token.id for token in part) for part in (tokens, prompt))
        return cls(cell=cell, prompt=after, tokens=claimed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What an engine draws in the place of claimed tokens."""

    verification: Verification
    engine_s: float

    def __post_init__(self) -> None:
        require_at_least(0, engine_s=self.engine_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[T]):
    """The outcome of one of several requests to an engine."""

    value: T | MeasurementUnavailable
    """The answer, or why there is none; after an `EngineFailed` only `close` may be called."""
    had_neighbours: bool
    """Whether the engine had another request at some time before this outcome."""

    def answer(self) -> T:
        """Return the answer, or raise why there is none."""
        if isinstance(self.value, MeasurementUnavailable):
            raise self.value
        return self.value


class Engine(Protocol):
    """One running engine process.

    Every method raises `MeasurementUnavailable` when the engine refuses, and `EngineFailed`
    when it died, hung or broke the protocol; after that only `close` may be called.
    """

    def describe(self) -> EngineReport:
        """Return the identity of the engine and the profile of its results."""
        ...

    def load(
        self, model: ModelSpec, file: ModelFile, *, concurrency: int | None = None
    ) -> LoadedModel:
        """Load a model, replacing the previous one.

        Args:
            model: as in the matrix.
            file: its file.
            concurrency: the most requests at a time, for engines with more; None sets no limit.
        """
        ...

    def begin_load(
        self, model: ModelSpec, file: ModelFile, *, concurrency: int | None = None
    ) -> None:
        """Send a load without waiting; only the same `load` may follow, which is its answer."""
        ...

    def generate(self, runs: Iterable[CellRun]) -> Generator[Outcome[TimedGeneration]]:
        """Make runs on the loaded model and yield their outcomes in order.

        As many at a time as the loaded model's concurrency, and at most four times as many are
        taken before their outcomes are yielded. A refusal is an outcome. So is an `EngineFailed`
        that only one run can have caused; then it is the last outcome but for those that were
        finished. Otherwise it is raised. An iterator that is closed early ends the process, unless
        every run has its outcome.
        """
        ...

    def score(self, requests: Iterable[ScoreRequest]) -> Generator[Outcome[Scored]]:
        """Score responses with the loaded model, as `generate` makes runs."""
        ...

    def verify(self, requests: Iterable[VerifyRequest]) -> Generator[Outcome[Verified]]:
        """Verify tokens with the loaded model, as `generate` makes runs."""
        ...

    def abort(self) -> None:
        """End the process, also while another thread waits for an answer, which then fails."""
        ...

    def begin_close(self) -> None:
        """End the process without waiting for it; only `close` may follow."""
        ...

    def close(self) -> None:
        """End the process; idempotent."""
        ...


class EngineStarter(Protocol):
    """Starts engine processes."""

    def start(self, spec: EngineSpec) -> Engine:
        """Start a new process without waiting; failures surface at the first request."""
        ...


class ModelFiles(Protocol):
    """Locates model files."""

    def locate(self, model: ModelSpec) -> ModelFile:
        """Return the files, or raise `MeasurementUnavailable` with a remedy."""
        ...


class GoldenReader(Protocol):
    """The committed goldens by profile."""

    def recorded(self, profile: str) -> frozenset[str]:
        """Return the ids of the cells with a golden for this profile."""
        ...

    def read(self, profile: str, cell_id: str) -> Golden:
        """Return a recorded golden, or raise `InputInvalid`."""
        ...

    def profiles(self) -> frozenset[str]:
        """Return the profiles with any golden."""
        ...


class GoldenStore(GoldenReader, Protocol):
    """The committed goldens, writable."""

    def write(self, golden: Golden) -> None:
        """Write a golden atomically."""
        ...

    def remove(self, profile: str, cell_id: str) -> None:
        """Remove a golden."""
        ...


class ReferenceReader(Protocol):
    """The committed references by profile."""

    def read(self, profile: str) -> tuple[Reference, ...]:
        """Return the references of the goldens of a profile that count, or raise `InputInvalid`."""
        ...

    def unused(self, profile: str) -> tuple[str, ...]:
        """Return the names of those that do not count, or raise `InputInvalid`."""
        ...


class ModelPins(Protocol):
    """The model digests pinned by the first recording."""

    def pinned(self) -> Mapping[str, str]:
        """Return the sha256 of each pinned file by its key, or raise `InputInvalid`."""
        ...

    def pin(self, digests: Mapping[str, str]) -> None:
        """Set pins; pins of other models are kept."""
        ...


class Progress(Protocol):
    """An observer of a measurement."""

    def started(self, runs: Iterable[tuple[Cell | LogprobCell, int]]) -> None:
        """Report work to do: the number of further runs or draws of each cell."""
        ...

    def began(self, cell: Cell | LogprobCell) -> None:
        """Report that a run of a cell begins."""
        ...

    def ran(self, cell: Cell | LogprobCell, *, tokens: int) -> None:
        """Report one finished run or draw of a cell."""
        ...

    def skipped(self, cell: Cell | LogprobCell, *, runs: int) -> None:
        """Report that runs of a cell are left out."""
        ...

    def found(self, cell: Cell, finding: Finding) -> None:
        """Report a finding as soon as a run shows it."""
        ...


class Purpose(StrEnum):
    """The purpose of a draw."""

    CALIBRATION = "calibration"
    FIRST_LOOK = "first_look"
    SECOND_LOOK = "second_look"
    CONTROL = "control"
    WATCH = "watch"


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawRequest:
    """One requested draw."""

    cell: LogprobCell
    encoding: Encoding
    purpose: Purpose
    number: int
    """Counted from 1 within the purpose, including replacements of outliers."""
    answers_as: str | None = None
    """The expected model name in the answer; None without a baseline."""

    def __post_init__(self) -> None:
        require_at_least(1, number=self.number)

    @property
    def key(self) -> tuple[str, str, int]:
        """The unique key of the draw within a check."""
        return self.cell.id, self.purpose.value, self.number


Seen: TypeAlias = Callable[[DrawRequest, DrawOutcome], None]


class Scorer(Protocol):
    """Measures log P(response | prompt) under a policy."""

    def source(self, policy: Policy) -> str:
        """Return the source of the policy's baselines.

        Raises:
            MeasurementUnavailable: it is unknown, such as when an engine does not start.
        """
        ...

    def facts(self, policy: Policy) -> Facts:
        """Return the provenance of the policy's draws, as far as known."""
        ...

    def notes(self) -> tuple[Note, ...]:
        """Return the notes collected so far."""
        ...

    def encode(self, cells: Sequence[LogprobCell]) -> Sequence[Encoding | InvalidDraw | MissedDraw]:
        """Return the tokens of each cell's prompt and response, in order."""
        ...

    def score_twice(self, cell: LogprobCell, encoding: Encoding) -> ScoredTwice | MissedDraw | None:
        """Generate after a cell's prompt, and score the generated tokens again by an echo.

        Returns None where both are one computation, such as in an engine of this machine.
        """
        ...

    def draw(self, requests: Sequence[DrawRequest], *, seen: Seen) -> None:
        """Make the draws and report each outcome immediately, in any order.

        A draw that could not be measured is a `MissedDraw`. An interruption is raised after all
        finished draws are reported.
        """
        ...

    def paused(self, seconds: float) -> None:
        """Move the deadlines by a time in which nothing was asked for."""
        ...

    def close(self) -> None:
        """Close connections and processes; idempotent."""
        ...


class BaselineReader(Protocol):
    """The committed baselines by source."""

    def recorded(self, source: str) -> frozenset[str]:
        """Return the ids of the cells with a baseline for this source."""
        ...

    def read(self, source: str, cell_id: str) -> Baseline:
        """Return a recorded baseline, or raise `InputInvalid`."""
        ...


class BaselineStore(BaselineReader, Protocol):
    """The committed baselines, writable."""

    def write(self, baseline: Baseline) -> None:
        """Write a baseline atomically."""
        ...

    def remove(self, source: str, cell_id: str) -> None:
        """Remove a baseline."""
        ...


class RunLog(Protocol):
    """A durable log of the runs of an update."""

    def known(self, conditions: Conditions) -> Repetition | None:
        """Return the runs of an interrupted update that hold under these conditions, or None."""
        ...

    def note(self, conditions: Conditions, repetition: Repetition) -> None:
        """Record the last run of a repetition durably."""
        ...


class DrawLog(Protocol):
    """A durable log of every draw of a check."""

    def note(self, request: DrawRequest, outcome: DrawOutcome) -> None:
        """Record a draw durably, even if the process is killed right after."""
        ...

    def known(self, request: DrawRequest) -> DrawOutcome | None:
        """Return the draw of an interrupted check, or None."""
        ...
