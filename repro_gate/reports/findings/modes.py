"""What the answers of a served model depend on: what holds in each mode of what is required."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from repro_gate.core.outcome import Outcome, worst
from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.tokens.modes import Level, Mode, ModeKind, ModeResult, Proof
from repro_gate.core.tokens.verdicts import Depends
from repro_gate.reports.findings.divergence import format_place
from repro_gate.reports.text.escape import Escaped, Line, limited, message, one_line
from repro_gate.reports.text.format import nats, percent, plural

FLIP_RATE: Final = 0.005
"""Of tokens: the rate for which a report shows how likely it is to be missed."""
MISSED: Final = (
    f"missed: the chance that none of these tokens would differ if {percent(FLIP_RATE)} of all did"
)
_CAUSES: Final = {
    ModeKind.ALONE: "the run",
    ModeKind.CONCURRENT: "the other requests in the batch",
    ModeKind.MIXED: "the other requests in the batch",
    ModeKind.AFTER_PREFIX: "what the cache holds",
    ModeKind.REPEAT: "what the cache holds",
    ModeKind.RESTART: "the start of the server",
}
_DIALECT: Final = "server.dialect"
_REMEDIES: Final[Mapping[tuple[str | None, str], str]] = {
    ("llama_server", _CAUSES[ModeKind.CONCURRENT]): (
        "--flash-attn off --cache-type-k f32 --cache-type-v f32 (no token differed when measured), "
        "-np 1 with this mode removed (no bit differed), or --no-kv-unified if slots share a cache "
        "(fewer tokens differed)"
    ),
    ("llama_server", _CAUSES[ModeKind.REPEAT]): (
        "cache_prompt = false in every request, or --no-cache-prompt, with this mode removed (no "
        "bit of cold answers differed when measured)"
    ),
    ("vllm", _CAUSES[ModeKind.CONCURRENT]): (
        "--dtype float32 (no bit differed when measured), VLLM_BATCH_INVARIANT=1 (documented), or "
        "a smaller --max-num-seqs (reported)"
    ),
    ("vllm", _CAUSES[ModeKind.REPEAT]): (
        "--no-enable-prefix-caching, with this mode removed (no bit of cold answers differed when "
        "measured)"
    ),
}
"""By dialect and cause: what helped when it was measured, or is documented or reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One mode of a model in a suite, over all of its cells."""

    mode: Mode
    level: Level
    """The required one."""
    results: tuple[ModeResult, ...]
    """At least one."""

    @property
    def short(self) -> Sequence[ModeResult]:
        """Those with answers that differ and must not."""
        return [result for result in self.results if result.falls_short]

    @property
    def doubts(self) -> Sequence[ModeResult]:
        """Those whose agreement is required and not proven."""
        return [each for each in self.results if each.is_in_doubt and not each.falls_short]

    @property
    def outcome(self) -> Outcome:
        """The worst of the cells, whatever else is wrong with them."""
        if self.short or any(result.proof is Proof.ABSENT for result in self.doubts):
            return Outcome.FAILED
        return Outcome.INCONCLUSIVE if self.doubts else Outcome.PASSED

    @property
    def word(self) -> str:
        """The result in one word; `better` holds at a stricter level than the required one."""
        if self.short:
            return Depends.word
        if self.doubts:
            return "unproven"
        if self.level is self.reached is Level.ANY:
            return "-"
        return "better" if self.reached.rank > self.level.rank else "holds"

    @property
    def answers(self) -> int:
        """The number of compared answers."""
        return sum(result.answers for result in self.results)

    @property
    def same_tokens(self) -> int:
        """How many of them have the tokens of run 1."""
        return self.answers - sum(result.other_tokens for result in self.results)

    @property
    def same_bits(self) -> int | None:
        """How many have its log-probabilities too; None unless all were compared."""
        others = [result.other_bits for result in self.results if result.answers]
        known = [other for other in others if other is not None]
        return self.answers - sum(known) if known and len(known) == len(others) else None

    @property
    def shift(self) -> float | None:
        """The largest change of a log-probability before a divergence, in nats."""
        return max((each.shift for each in self.results if each.shift is not None), default=None)

    @property
    def reached(self) -> Level:
        """The strictest level that is proven for every cell; `any` without a proof."""
        if any(result.proof is not Proof.SEEN for result in self.results):
            return Level.ANY
        return min((result.reached for result in self.results), key=lambda level: level.rank)

    @property
    def tokens(self) -> int:
        """The number of compared tokens."""
        return sum(result.tokens for result in self.results)

    @property
    def running(self) -> int | None:
        """The sequences at work at once, of the cell that had the fewest."""
        return min((each.running for each in self.results if each.running), default=None)

    @property
    def missed(self) -> float | None:
        """The chance of having missed the flip rate; None where tokens differ or none are seen."""
        is_seen = self.reached is not Level.ANY
        return (1 - FLIP_RATE) ** self.tokens if is_seen else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Invariance:
    """The modes of a model in a suite."""

    suite: str
    model: str
    entries: tuple[Entry, ...]

    @property
    def columns(self) -> tuple[tuple[Mode, Level], ...]:
        """The modes with their required levels."""
        return tuple((entry.mode, entry.level) for entry in self.entries)

    @property
    def outcome(self) -> Outcome:
        """The worst of the modes."""
        return worst({entry.outcome for entry in self.entries})


def invariances(cells: Iterable[CellReport]) -> Sequence[Invariance]:
    """Return the modes of each model in each suite with any answer, in the order of the cells."""
    found: dict[tuple[str, str], dict[tuple[Mode, Level], list[ModeResult]]] = {}
    for cell in cells:
        for result in cell.modes:
            modes = found.setdefault((cell.suite, cell.cell.model), {})
            modes.setdefault((result.mode, result.level), []).append(result)
    rows = (
        Invariance(
            suite=suite,
            model=model,
            entries=tuple(
                Entry(mode=mode, level=level, results=tuple(results))
                for (mode, level), results in modes.items()
            ),
        )
        for (suite, model), modes in found.items()
    )
    return [row for row in rows if any(entry.answers for entry in row.entries)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependence:
    """What answers depend on that must not."""

    claim: str
    where: Escaped
    """The models with their modes."""
    remedy: str | None
    """What helped when it was measured; None if nothing is known for the server."""


def format_entry(entry: Entry) -> str:
    """Return what holds in a mode: `48/48 bits`, or how many tokens and bits and the shift."""
    if not entry.answers:
        return "no answer"
    of, bits = entry.answers, entry.same_bits
    parts = [] if bits == of else [f"{entry.same_tokens}/{of} tokens"]
    parts += [] if bits is None else [f"{bits}/{of} bits"]
    parts += [f"{nats(entry.shift)} nats"] if bits != of and entry.shift else []
    return ", ".join(parts)


def format_tokens(entry: Entry) -> str:
    """Return how many tokens were compared, and at how many sequences where several are meant."""
    tokens = plural(entry.tokens, "token")
    running = entry.running if entry.mode.kind.has_company else None
    return tokens if running is None else f"{tokens} at {plural(running, 'sequence')}"


def format_missed(entry: Entry) -> str:
    """Return the chance of having missed the flip rate; a dash where tokens differ."""
    return "-" if entry.missed is None else percent(entry.missed)


def mode_table(row: Invariance) -> Iterator[tuple[str, ...]]:
    """Yield the modes of a model as lines of a table, below a header."""
    yield "mode", "required", "result", "equal answers", "tokens", "at once", "missed"
    for entry in row.entries:
        words = str(entry.mode), entry.level.value, entry.word, format_entry(entry)
        numbers = str(entry.tokens), "-" if entry.running is None else str(entry.running)
        yield *words, *numbers, format_missed(entry)


def weakest(entries: Iterable[Entry]) -> Entry:
    """Return the entry whose agreement shows least: of the fewest tokens, if any agree."""
    return min(entries, key=lambda entry: (entry.missed is None, entry.tokens))


def depends_claim(cell: CellReport) -> str:
    """Return what the answers of a cell depend on, as far as that is a finding."""
    return _claim([result for result in cell.modes if result.falls_short])


def dependences(report: GateReport) -> Iterator[Dependence]:
    """Yield what answers depend on, once for all models and modes with the same remedy."""
    found: dict[tuple[str, str | None], list[tuple[str, ModeResult]]] = {}
    for cell in report.cells:
        for result in cell.modes:
            if result.falls_short:
                cause = _CAUSES[result.mode.kind]
                key = cause, _REMEDIES.get((_dialect(cell, report), cause))
                found.setdefault(key, []).append((cell.cell.model, result))
    for (_, remedy), results in found.items():
        names = dict.fromkeys(f"{result.mode} of {model}" for model, result in results)
        claim = _claim([result for _, result in results])
        yield Dependence(claim=claim, where=message(", ".join(names)), remedy=remedy)


def format_doubts(rows: Iterable[Invariance]) -> Iterator[Line]:
    """Yield each reason for which required modes were not proven, with its remedy."""
    found: dict[tuple[str | None, str | None], list[str]] = {}
    for row in rows:
        for entry in row.entries:
            for result in entry.doubts:
                found.setdefault((result.reason, result.remedy), []).append(str(entry.mode))
    for (reason, remedy), modes in found.items():
        known = "; ".join(filter(None, (reason, remedy and f"remedy: {remedy}")))
        yield "not proven", message(f"{', '.join(dict.fromkeys(modes))}: {known}")


def remedy_of(cell: CellReport, report: GateReport) -> str | None:
    """Return what helps against what the answers of a cell depend on; None if it is unknown."""
    dialect = _dialect(cell, report)
    causes = dict.fromkeys(_CAUSES[each.mode.kind] for each in cell.modes if each.falls_short)
    known = (_REMEDIES.get((dialect, cause)) for cause in causes)
    return "; ".join(filter(None, known)) or None


def mode_lines(cells: Sequence[CellReport]) -> Iterator[Line]:
    """Yield how the answers of the cells that depend on a mode differ in it."""
    texts: dict[str, list[Escaped]] = {}
    for cell in cells:
        of = f"{cell.id}: " if len(cells) > 1 else ""
        for result in cell.modes if isinstance(cell.verdict, Depends) else ():
            if result.falls_short:
                lines = texts.setdefault(str(result.mode), [])
                lines.append(one_line(f"{of}{format_difference(result)}"))
    for mode, lines in texts.items():
        yield from limited(mode, lines)
    if texts and len(cells) > 1:
        yield "shown", one_line(cells[0].id)


def format_difference(result: ModeResult) -> str:
    """Return how many answers differ, where first, by how much before it, and in what company."""
    what = "tokens" if result.other_tokens else "log-probabilities"
    count = result.other_tokens or result.other_bits or 0
    has = "has" if count == 1 else "have"
    parts = [f"{count} of {plural(result.answers, 'answer')} {has} other {what}"]
    if result.divergence is not None:
        parts.append(f"first at {format_place(result.divergence)}")
    if result.shift:
        where = " before it" if result.other_tokens else ""
        parts.append(f"up to {nats(result.shift)} nats{where}")
    if result.mode.kind.has_company and result.running is not None:
        parts.append(f"{plural(result.running, 'sequence')} at once")
    if result.mode.kind.keeps_cache and result.cached is not None:
        parts.append(f"{plural(result.cached, 'prompt token')} from the cache")
    return ", ".join(parts)


def tightened(report: GateReport) -> Iterator[tuple[str, str]]:
    """Yield each suite of which more was proven than is required, with its modes as they hold."""
    suites: dict[str, dict[Mode, list[Entry]]] = {}
    for row in invariances(report.cells):
        for entry in row.entries:
            suites.setdefault(row.suite, {}).setdefault(entry.mode, []).append(entry)
    # What was not measured may hold less.
    partial = {
        cell.suite
        for cell in report.cells
        if report.interrupted or not any(result.answers for result in cell.modes)
    }
    for suite, modes in suites.items():
        levels = {mode: _strictest(entries) for mode, entries in modes.items()}
        is_better = any(levels[mode] is not modes[mode][0].level for mode in modes)
        if is_better and suite not in partial:
            named = ", ".join(f'{mode} = "{level}"' for mode, level in levels.items())
            yield suite, f"modes = {{ {named} }}"


def _strictest(entries: Sequence[Entry]) -> Level:
    """Return the level that holds for all models, at least the required one."""
    reached = min((entry.reached for entry in entries), key=lambda level: level.rank)
    return max(entries[0].level, reached, key=lambda level: level.rank)


def _dialect(cell: CellReport, report: GateReport) -> str | None:
    """Return the kind of server that a cell was measured at; None if it is unknown."""
    return None if cell.provenance is None else report.provenances[cell.provenance].get(_DIALECT)


def _claim(results: Sequence[ModeResult]) -> str:
    causes = " and ".join(dict.fromkeys(_CAUSES[result.mode.kind] for result in results))
    if any(result.other_tokens for result in results):
        return f"the tokens depend on {causes}"
    return f"all tokens are equal, but the log-probabilities depend on {causes}"
