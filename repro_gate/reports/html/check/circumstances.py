"""The circumstances of a check: its notes, its times and its provenance, for a template."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from repro_gate.core.report import GateReport
from repro_gate.core.tokens.golden import Facts
from repro_gate.reports.findings import summary
from repro_gate.reports.findings.notes import Note, check_notes
from repro_gate.reports.text.format import plural


def notes_of(report: GateReport) -> Sequence[Note]:
    """Return the notes of a check."""
    return tuple(check_notes(report))


def timing_of(report: GateReport) -> Sequence[tuple[str, str]]:
    """Return where the time of a check went, as labels with texts."""
    timing = report.timing
    lines = [("wall time", summary.seconds(timing.wall_s))]
    if summary.has_engine(report):
        lines += [
            ("engine time", f"{summary.seconds(timing.engine_s)} of decoding and sampling"),
            ("engine / wall", summary.format_ratio(timing)),
            ("loading", summary.seconds(timing.load_s)),
            ("generated", plural(timing.generated_tokens, "token")),
        ]
    return lines


@dataclass(frozen=True, slots=True, kw_only=True)
class FactTable:
    """Facts of one part of a check."""

    kind: str
    name: str
    """Untrusted, as are the facts."""
    about: str
    rows: Sequence[tuple[str, str]]

    @property
    def counted(self) -> str:
        """The number of its facts."""
        return plural(len(self.rows), "fact")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What produced the results."""

    tables: Sequence[FactTable]
    columns: Sequence[str]
    """Of the table of differences: the models of each provenance, and how many cells it has."""
    differing: Sequence[tuple[str, Sequence[str]]]
    """The facts that are not the same for all cells, with a value for each provenance."""


_MAX_COMPARED = 8
"""Provenances side by side; a wider table would be cut on a page."""


def provenance_of(report: GateReport) -> Provenance | None:
    """Return the facts of each engine and model, and what differs between cells."""
    tables = tuple(_tables(report))
    if not tables and not report.provenances:
        return None
    models = defaultdict[int, Counter[str]](Counter)
    for cell in report.cells:
        if cell.provenance is not None:
            models[cell.provenance][cell.cell.model] += 1
    compared = sorted(models, key=lambda place: -models[place].total())[:_MAX_COMPARED]
    return Provenance(
        tables=tables,
        columns=[_column(models[place]) for place in compared],
        differing=tuple(_differing([report.provenances[place] for place in compared])),
    )


def _column(models: Mapping[str, int]) -> str:
    return f"{', '.join(models)}: {plural(sum(models.values()), 'cell')}"


def _tables(report: GateReport) -> Iterator[FactTable]:
    for engine in report.engines:
        yield FactTable(
            kind="Engine",
            name=engine.name,
            about=f"profile {engine.profile}",
            rows=_rows(engine.facts),
        )
    for model, facts in report.models.items():
        yield FactTable(kind="Model", name=model, about="", rows=_rows(facts))


def _rows(facts: Facts) -> Sequence[tuple[str, str]]:
    return sorted(facts.items())


def _differing(provenances: Sequence[Mapping[str, str]]) -> Iterator[tuple[str, Sequence[str]]]:
    names = sorted({name for facts in provenances for name in facts})
    for name in names:
        values = [facts.get(name, "(not reported)") for facts in provenances]
        if len(set(values)) > 1:
            yield name, values
