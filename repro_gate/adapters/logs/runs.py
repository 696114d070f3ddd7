"""`runs.jsonl`: every run of an update as it is made, to resume the update.

The first run of a cell is written with everything that it depends on, except that equal facts are
written once, on a line with a number that first runs refer to. A later run has only its number,
and how its tokens differ if they do.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, TypeAlias, assert_never

from repro_gate import __version__
from repro_gate.adapters.files.codec import decode, encode
from repro_gate.adapters.files.results import Tool
from repro_gate.adapters.logs.append_only import AppendLog, LogLine, json_line, json_object
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.generation import Choice, Generation, Trace
from repro_gate.core.tokens.golden import Conditions, FactChange, Facts
from repro_gate.core.tokens.judge import Repetition
from repro_gate.core.tokens.verdicts import Nondeterministic
from repro_gate.errors import InputInvalid
from repro_gate.strict_json import InvalidJson

FILE: Final = "runs.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The first line."""

    schema: Literal["repro-gate/runs/v1"]
    tool: Tool
    started_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """The facts that the first runs of many cells share."""

    number: int
    """Counted from 1."""
    facts: Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """A trace by columns, which are written in half the time of its choices."""

    logprobs: Sequence[float]
    ids: Sequence[Sequence[int]]
    values: Sequence[Sequence[float]]

    def trace(self) -> Trace:
        """Return the trace; raises ValueError."""
        return Trace(zip(self.logprobs, self.ids, self.values, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstRun:
    """The first run of a cell; earlier lines about the cell no longer count."""

    cell: Cell
    runs: int
    """How many are planned."""
    fresh_runs: int
    profile: str
    provenance: int
    """The number of its facts."""
    generation: Generation
    """Without its trace."""
    trace: Columns
    had_neighbours: bool = False
    """Whether the engine worked on another run at some time during this one."""

    def conditions(self, facts: Facts) -> Conditions:
        """Return everything that the run depends on; raises ValueError."""
        return Conditions(
            cell=self.cell,
            runs=self.runs,
            fresh_runs=self.fresh_runs,
            profile=self.profile,
            facts=facts,
        )

    def traced(self) -> Generation:
        """Return the generation with its trace; raises ValueError."""
        return replace(self.generation, trace=self.trace.trace())


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterRun:
    """A run that gave the tokens of the first one, or the first that gave others."""

    cell: str
    """The id of the cell."""
    run: int
    """Counted from 1."""
    difference: Nondeterministic | None = None
    """How it differs; None too for every run after one that differs."""


_Line: TypeAlias = Provenance | FirstRun | LaterRun


@dataclass(slots=True, kw_only=True)
class _Known:
    """The runs of a cell; its first line is read again when needed, and the rest is here."""

    offset: int
    planned: int
    runs: int = 1
    difference: Nondeterministic | None = None


class RunLogFile:
    """The runs of one update, in an append-only file."""

    def __init__(self, file: Path, *, started_at: str, resume: bool) -> None:
        """Start a new log, or resume the existing one.

        Raises:
            InputInvalid: the log to resume is broken, or is not a regular file.
            MeasurementUnavailable: another process is writing it.
            OSError: the file cannot be written.
        """
        self.remeasured: list[tuple[str, tuple[FactChange, ...]]] = []
        """The cells whose runs no longer hold, with what changed."""
        self._cells: dict[str, _Known] = {}
        self._facts: list[Facts] = []
        """In the order of their numbers."""
        self._log = AppendLog(file, resume=resume, content="a run")
        try:
            if not self._index():
                header = Header(
                    schema="repro-gate/runs/v1",
                    tool=Tool(name="repro-gate", version=__version__),
                    started_at=started_at,
                )
                self._log.append(json_line(encode(header, Header)))
        except BaseException:
            self._log.close()
            raise

    @property
    def cells(self) -> int:
        """The number of cells with a run."""
        return len(self._cells)

    @property
    def runs(self) -> int:
        """The number of runs."""
        return sum(known.runs for known in self._cells.values())

    def known(self, conditions: Conditions) -> Repetition | None:
        """Return the runs of an interrupted update that hold under these conditions, or None."""
        known = self._cells.get(conditions.cell.id)
        if known is None:
            return None
        place = f"byte {known.offset}"
        first = self._parsed(self._log.line_at(known.offset), place)
        if not isinstance(first, FirstRun):
            raise self._log.invalid(place, ValueError("no first run"))
        changes = conditions.changes_since(first.conditions(self._facts[first.provenance - 1]))
        if changes:
            self.remeasured.append((conditions.cell.id, changes))
            return None
        try:
            return Repetition(
                first=first.traced(),
                runs=known.runs,
                difference=known.difference,
                first_had_neighbours=first.had_neighbours,
            )
        except ValueError as error:
            raise self._log.invalid(place, error) from error

    def note(self, conditions: Conditions, repetition: Repetition) -> None:
        """Append the last run of a repetition.

        Raises:
            OSError: it cannot be written.
        """
        name, run, difference = conditions.cell.id, repetition.runs, repetition.difference
        if run == 1:
            first = FirstRun(
                cell=conditions.cell,
                runs=conditions.runs,
                fresh_runs=conditions.fresh_runs,
                profile=conditions.profile,
                provenance=self._number_of(conditions.facts),
                generation=replace(repetition.first, trace=()),
                trace=_columns_of(repetition.first.trace),
                had_neighbours=repetition.first_had_neighbours,
            )
            offset = self._append(first)
            self._cells[name] = _Known(offset=offset, planned=conditions.runs)
        else:
            is_new = difference is not None and difference.run == run
            self._append(LaterRun(cell=name, run=run, difference=difference if is_new else None))
            self._cells[name].runs = run
        self._log.sync()

    def close(self) -> None:
        """Close the file; safe to call more than once."""
        self._log.close()

    def _number_of(self, facts: Facts) -> int:
        """Return the number of these facts, which are written if they are new."""
        # From the end: the cells of a model follow one another.
        for number in range(len(self._facts), 0, -1):
            if self._facts[number - 1] == facts:
                return number
        number = len(self._facts) + 1
        self._append(Provenance(number=number, facts=facts))
        self._facts.append(facts)
        return number

    def _append(self, line: _Line) -> int:
        return self._log.append(json_line(encode(line, _Line)))

    def _index(self) -> bool:
        """Index the known runs, and return whether there is a header."""
        has_header = False
        for line in self._log.lines():
            if has_header:
                self._take(line)
            else:
                self._require_header(line)
                has_header = True
        return has_header

    def _require_header(self, line: LogLine) -> None:
        try:
            decode(json_object(line.data), Header)
        except ValueError as error:
            raise self._log.invalid(line.place, error) from error

    def _take(self, line: LogLine) -> None:
        parsed = self._parsed(line.data, line.place)
        match parsed:
            case Provenance():
                self._take_facts(line, parsed)
            case FirstRun():
                self._take_first(line, parsed)
            case LaterRun():
                self._take_later(line, parsed)
            case _:
                assert_never(parsed)

    def _take_facts(self, line: LogLine, found: Provenance) -> None:
        if found.number != len(self._facts) + 1:
            expected = str(len(self._facts) + 1)
            raise self._invalid(line, "number", expected, found.number)
        self._facts.append(found.facts)

    def _take_first(self, line: LogLine, found: FirstRun) -> None:
        if not 1 <= found.provenance <= len(self._facts):
            expected = "the number of an earlier line"
            raise self._invalid(line, "provenance", expected, found.provenance)
        try:
            conditions = found.conditions(self._facts[found.provenance - 1])
            found.traced()
        except ValueError as error:
            raise self._log.invalid(line.place, error) from error
        self._cells[found.cell.id] = _Known(offset=line.offset, planned=conditions.runs)

    def _take_later(self, line: LogLine, found: LaterRun) -> None:
        known = self._cells.get(found.cell)
        if known is None:
            raise self._invalid(line, "run", "the first run of its cell", found.run)
        if found.run != known.runs + 1 or found.run > known.planned:
            expected = f"the next of {known.planned} runs"
            raise self._invalid(line, "run", expected, found.run)
        known.runs = found.run
        if found.difference is not None:
            if found.difference.run != found.run or known.difference is not None:
                expected = "the first run that differs"
                raise self._invalid(line, "difference.run", expected, found.difference.run)
            known.difference = found.difference

    def _invalid(self, line: LogLine, key: str, expected: str, found: int) -> InputInvalid:
        error = InvalidJson(key, expected=expected, found=str(found))
        return self._log.invalid(line.place, error)

    def _parsed(self, data: bytes, place: str) -> _Line:
        try:
            line: _Line = decode(json_object(data), _Line)
        except (ValueError, OverflowError) as error:
            raise self._log.invalid(place, error) from error
        return line


def _columns_of(trace: Sequence[Choice]) -> Columns:
    if not isinstance(trace, Trace):
        trace = Trace(
            (each.logprob, [token for token, _ in each.best], [value for _, value in each.best])
            for each in trace
        )
    logprobs, ids, values = trace.columns()
    return Columns(logprobs=logprobs, ids=ids, values=values)
