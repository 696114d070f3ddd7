"""The report that programs read: `repro-gate/report/v1`."""

import json
from collections.abc import Mapping

from repro_gate.core.cells import Cell
from repro_gate.core.controls import ControlReport
from repro_gate.core.outcome import decide, exit_code_for
from repro_gate.core.report import CellReport, EngineReport, GateReport, Note, Timing
from repro_gate.core.text import spell
from repro_gate.core.tokens import Token, text_of
from repro_gate.core.verdicts import Unrecorded, Verdict
from repro_gate.reports import foreign
from repro_gate.reports.describe import WORDS, describe
from repro_gate.reports.explain import Explanation, explain
from repro_gate.reports.json_logprobs import fact_change, logprob_entry
from repro_gate.reports.json_types import (
    CellEntry,
    ControlEntry,
    DefinitionEntry,
    DivergenceEntry,
    EngineEntry,
    FormerGoldenEntry,
    NoteEntry,
    ReportEntry,
    TimingEntry,
    TokenEntry,
)

SCHEMA = "repro-gate/report/v1"

_DECIMALS = 6
"""Enough for a microsecond and for a log-probability; more would only record the machine."""


def render_json(report: GateReport, *, observed: Mapping[str, str] = {}) -> str:
    """Return the report as JSON in pure ASCII.

    `observed` tells, by cell id, the sha256 of the golden file that was written of what was
    observed, for those who want to accept it without measuring again.
    """
    entry = _report(report, observed)
    return json.dumps(entry, indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def _report(report: GateReport, observed: Mapping[str, str]) -> ReportEntry:
    return {
        "schema": SCHEMA,
        "tool": {"name": "repro-gate", "version": report.tool_version},
        "outcome": decide(report).value,
        "exit_code": exit_code_for(report).value,
        "partial": report.interrupted,
        "started_at": report.started_at,
        "suites": [foreign.one_line(suite) for suite in report.suites],
        "counts": {word: report.counts.get(word, 0) for word in WORDS},
        "cells": [_cell(cell, observed.get(cell.id)) for cell in report.cells],
        "orphans": [
            {"id": foreign.one_line(orphan.id), "profile": foreign.one_line(orphan.origin)}
            for orphan in report.orphans
        ],
        "controls": [_control(control) for control in report.controls],
        "engines": [_engine(engine) for engine in report.engines],
        "models": {foreign.one_line(m): foreign.facts(f) for m, f in report.models.items()},
        "timing": _timing(report.timing),
        "notes": [_note(note) for note in report.notes],
        "logprobs": [logprob_entry(part, report) for part in report.logprobs],
    }


def _cell(cell: CellReport, sha256: str | None) -> CellEntry:
    said = describe(cell)
    explanation = explain(cell)
    generation = cell.generation
    return {
        "id": foreign.one_line(cell.id),
        "suite": foreign.one_line(cell.suite),
        "definition": _definition(cell.cell),
        "profile": None if cell.profile is None else foreign.one_line(cell.profile),
        "verdict": cell.verdict.word,
        "reason": said.reason,
        "remedy": said.remedy,
        "runs": cell.runs,
        "prompt_tokens": [token.id for token in generation.prompt] if generation else [],
        "tokens": [token.id for token in generation.tokens] if generation else [],
        "text": text_of(generation.tokens) if generation else None,
        "stop": generation.stop.value if generation else None,
        "divergence": None if explanation is None else _divergence(explanation),
        "provenance": [fact_change(change) for change in said.suspects],
        "former_golden": _former(cell.verdict),
        "observed_sha256": sha256,
    }


def _former(verdict: Verdict) -> FormerGoldenEntry | None:
    if not isinstance(verdict, Unrecorded) or verdict.former is None:
        return None
    divergence = verdict.former.divergence
    return {
        "differs": divergence is not None,
        "place": None if divergence is None else divergence.place.value,
        "position": None if divergence is None else divergence.position,
    }


def _definition(cell: Cell) -> DefinitionEntry:
    sampler = cell.sampler
    return {
        "model": cell.model,
        "prompt": cell.text,
        "prompt_name": cell.prompt,
        "seed": cell.seed,
        "temperature": sampler.temperature,
        "max_tokens": cell.max_tokens,
        "sampler": {"top_k": sampler.top_k, "top_p": sampler.top_p, "min_p": sampler.min_p},
    }


def _divergence(explanation: Explanation) -> DivergenceEntry:
    divergence = explanation.divergence
    margin = explanation.margin
    return {
        "place": divergence.place.value,
        "position": divergence.position,
        "expected": _token(divergence.expected),
        "observed": _token(divergence.observed),
        "context": explanation.context,
        "expected_continuation": explanation.expected_continuation,
        "observed_continuation": explanation.observed_continuation,
        "margin": None if margin is None else round(margin, _DECIMALS),
        "run": explanation.run,
        "in_fresh_process": explanation.in_fresh_process,
    }


def _token(token: Token | None) -> TokenEntry | None:
    return None if token is None else {"id": token.id, "text": spell(token.data)}


def _control(control: ControlReport) -> ControlEntry:
    divergence, contrast = control.divergence, control.contrast
    return {
        "factor": contrast.factor.value,
        "cell": _definition(contrast.cell),
        "varied": _definition(contrast.varied),
        "differed": None if control.problem is not None else divergence is not None,
        "position": None if divergence is None else divergence.position,
    }


def _engine(engine: EngineReport) -> EngineEntry:
    return {
        "name": foreign.one_line(engine.name),
        "profile": foreign.one_line(engine.profile),
        "facts": foreign.facts(engine.facts),
    }


def _note(note: Note) -> NoteEntry:
    return {
        "about": foreign.one_line(note.about),
        "origin": note.origin.value,
        "message": foreign.message(note.message),
    }


def _timing(timing: Timing) -> TimingEntry:
    return {
        "wall_s": round(timing.wall_s, _DECIMALS),
        "load_s": round(timing.load_s, _DECIMALS),
        "engine_s": round(timing.engine_s, _DECIMALS),
        "generated_tokens": timing.generated_tokens,
    }
