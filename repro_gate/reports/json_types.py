"""The report that programs read, `repro-gate/report/v1`: its own types, promised to others.

They are a translation of `repro_gate.core`, so that the core can change without breaking a
reader. What every field means: `repro_gate/schemas/report-v1.json`.
"""

from typing import TypedDict

from repro_gate.reports.json_logprob_types import FactChangeEntry, LogprobEntry


class Tool(TypedDict):
    """What wrote the report."""

    name: str
    version: str


class TokenEntry(TypedDict):
    """One token."""

    id: int
    text: str


class DivergenceEntry(TypedDict):
    """Where two sides part."""

    place: str
    position: int
    expected: TokenEntry | None
    observed: TokenEntry | None
    context: str
    expected_continuation: str
    observed_continuation: str | None
    margin: float | None
    run: int | None
    in_fresh_process: bool | None


class SamplerEntry(TypedDict):
    """How tokens are drawn, besides the temperature."""

    top_k: int
    top_p: float
    min_p: float


class DefinitionEntry(TypedDict):
    """What the matrix says of a cell."""

    model: str
    prompt: str
    prompt_name: str
    seed: int
    temperature: float
    max_tokens: int
    sampler: SamplerEntry


class FormerGoldenEntry(TypedDict):
    """How the tokens compare with the golden of another definition of the cell."""

    differs: bool
    place: str | None
    position: int | None


class CellEntry(TypedDict):
    """One cell."""

    id: str
    suite: str
    definition: DefinitionEntry
    profile: str | None
    verdict: str
    reason: str | None
    remedy: str | None
    runs: int
    prompt_tokens: list[int]
    tokens: list[int]
    text: str | None
    stop: str | None
    divergence: DivergenceEntry | None
    provenance: list[FactChangeEntry]
    former_golden: FormerGoldenEntry | None
    observed_sha256: str | None


class ControlEntry(TypedDict):
    """Two generations that have to differ."""

    factor: str
    cell: DefinitionEntry
    varied: DefinitionEntry
    differed: bool | None
    position: int | None


class EngineEntry(TypedDict):
    """One engine, as it described itself."""

    name: str
    profile: str
    facts: dict[str, str]


class TimingEntry(TypedDict):
    """Where the time went."""

    wall_s: float
    load_s: float
    engine_s: float
    generated_tokens: int


class OrphanedGoldenEntry(TypedDict):
    """A golden that no cell uses."""

    id: str
    profile: str


class NoteEntry(TypedDict):
    """Something worth knowing that never changes the outcome."""

    about: str
    origin: str
    message: str


class ReportEntry(TypedDict):
    """The whole report."""

    schema: str
    tool: Tool
    outcome: str
    exit_code: int
    partial: bool
    started_at: str
    suites: list[str]
    counts: dict[str, int]
    cells: list[CellEntry]
    orphans: list[OrphanedGoldenEntry]
    controls: list[ControlEntry]
    engines: list[EngineEntry]
    models: dict[str, dict[str, str]]
    timing: TimingEntry
    notes: list[NoteEntry]
    logprobs: list[LogprobEntry]
