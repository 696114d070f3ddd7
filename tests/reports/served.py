"""Checks of served models, whose answers were compared in several modes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.tokens.cell import Cell, Sampler
from repro_gate.core.tokens.generation import Generation, first_divergence
from repro_gate.core.tokens.golden import FactChange
from repro_gate.core.tokens.modes import Level, ModeResult, Proof, mode_of
from repro_gate.core.tokens.verdicts import Depends, Inconclusive, Match, Vacuous, Verdict
from tests.reports.conftest import cell_of, cell_report_of, gate_report_of, generation_of

FIRST = generation_of("Leaves drift down over the old pond and rest", logits="123456789")
OTHER = generation_of("Leaves drift down over the warm stones and rest", logits="1234567a9")
MOVED = generation_of("Leaves drift down over the old pond and rest", logits="12345678b")
GREEDY = Sampler(temperature=0.0, top_k=0, top_p=1.0, min_p=0.0)
LEVELS = {
    "alone": Level.BITS,
    "concurrent-8": Level.TOKENS,
    "mixed-8": Level.TOKENS,
    "after-prefix": Level.TOKENS,
    "repeat": Level.TOKENS,
    "restart": Level.BITS,
}
SLOTS = FactChange(name="server.option.np", before="1", after="8")
QUEUED: Mapping[str, Any] = {
    "running": 1,
    "proof": Proof.ABSENT,
    "reason": "the server worked on 1 sequence at once, where 8 were wanted",
    "remedy": "give the server 8 slots, such as -np 8",
}


def result_of(name: str, *others: Generation, answers: int = 8, **changes: Any) -> ModeResult:
    """Return the result of a cell in a mode in which some answers differ from run 1."""
    found = [first_divergence(FIRST, other) for other in others]
    tokens = sum(other.tokens != FIRST.tokens for other in others)
    mode = mode_of(name)
    usual: dict[str, Any] = {
        "mode": mode,
        "level": LEVELS[name],
        "answers": answers,
        "tokens": answers * len(FIRST.tokens),
        "other_tokens": tokens,
        "other_bits": len(others),
        "divergence": found[0] if found else None,
        "margin": 0.05 if others else None,
        "shift": 0.0015 * len(others),
        "running": mode.sequences,
        "cached": 24 if mode.kind.keeps_cache else 0,
        "proof": Proof.SEEN,
        "reason": None,
        "remedy": None,
    }
    return ModeResult(**{**usual, **changes})


def served_cell_of(cell: Cell, *changed: ModeResult) -> CellReport:
    """Return the report on a cell with the verdict that its modes give; others hold at bits."""
    by_name = {str(result.mode): result for result in changed}
    modes = tuple(by_name.get(name) or result_of(name) for name in LEVELS)
    short = tuple(result.mode for result in modes if result.falls_short)
    unproven = [result for result in modes if result.is_in_doubt]
    verdict: Verdict = Depends(modes=short, provenance=(SLOTS,)) if short else Match()
    for result in () if short else unproven[:1]:
        absent = result.proof is Proof.ABSENT
        lost = Inconclusive(reason=f"{result.mode}: {result.reason}", remedy=result.remedy)
        verdict = Vacuous(mode=result.mode) if absent else lost
    return cell_report_of(
        verdict,
        cell,
        suite="served",
        runs=5,
        generation=FIRST,
        provenance=0,
        modes=modes,
    )


def dependent() -> GateReport:
    """Return a check of three models: one depends on its batch, one holds, one was not shown to."""
    greedy = {seed: replace(cell_of(seed=seed, model="smollm2"), sampler=GREEDY) for seed in (1, 2)}
    cells = (
        served_cell_of(
            greedy[1],
            result_of("concurrent-8", OTHER, OTHER, MOVED),
            result_of("repeat", MOVED, answers=1),
        ),
        served_cell_of(
            greedy[2],
            result_of("concurrent-8", *[OTHER] * 5),
            result_of("mixed-8", OTHER, answers=1),
        ),
        served_cell_of(cell_of(seed=3, model="smollm2")),
        served_cell_of(cell_of(model="qwen"), result_of("mixed-8", MOVED, answers=1)),
        served_cell_of(cell_of(model="gemma"), result_of("concurrent-8", **QUEUED)),
    )
    return served_report_of(*cells)


def served_report_of(*cells: CellReport, dialect: str = "llama_server") -> GateReport:
    """Return a report on cells that a server answered."""
    facts = {"server.dialect": dialect}
    return gate_report_of(*cells, suites=("served",), provenances=(facts,))


def steady() -> GateReport:
    """Return a check in which more holds than is required."""
    return served_report_of(*(served_cell_of(cell_of(seed=seed)) for seed in (1, 2)))
