"""A suite's log-probabilities as programs read them."""

from typing import assert_never

from repro_gate.core import design
from repro_gate.core.goldens import FactChange
from repro_gate.core.logprob_report import (
    LogprobCellReport,
    LogprobControl,
    LogprobReport,
    OutlierDraw,
    PolicyNoise,
    Spending,
)
from repro_gate.core.logprob_verdicts import (
    Agrees,
    Deciding,
    Effect,
    Invalid,
    LogprobVerdict,
    Outlying,
    Shifted,
    TokenShift,
)
from repro_gate.core.outcome import outcome_of_suite
from repro_gate.core.policies import LogprobCell, Tolerance
from repro_gate.core.report import GateReport
from repro_gate.core.text import spell
from repro_gate.core.verdicts import Inconclusive, Unrecorded
from repro_gate.reports import foreign
from repro_gate.reports.json_figures import figure, figures
from repro_gate.reports.json_logprob_types import (
    DecidingEntry,
    EffectEntry,
    FactChangeEntry,
    FalseAlarmsEntry,
    InvalidEntry,
    LogprobCellEntry,
    LogprobControlEntry,
    LogprobEntry,
    OutlierDrawEntry,
    OutlierRateEntry,
    PolicyEntry,
    PolicyItemEntry,
    SpendingEntry,
    TokenShiftEntry,
    ToleranceEntry,
)
from repro_gate.reports.json_suite_tests import matrix_entry, weight_entry
from repro_gate.reports.logprob_words import LOGPROB_WORDS, describe_logprobs

_DECIMALS = 9


def logprob_entry(part: LogprobReport, report: GateReport) -> LogprobEntry:
    """Return everything that is known of a suite."""
    return {
        "suite": foreign.one_line(part.suite),
        "outcome": outcome_of_suite(part, interrupted=report.interrupted).value,
        "tolerance": _tolerance(part.tolerance),
        "false_alarms": _false_alarms(part.tolerance),
        "counts": {word: part.counts.get(word, 0) for word in LOGPROB_WORDS},
        "cells": [_cell(cell) for cell in part.cells],
        "orphans": [
            {"id": foreign.one_line(orphan.id), "source": foreign.one_line(orphan.origin)}
            for orphan in part.orphans
        ],
        "matrix": matrix_entry(part.suite_test),
        "policies": [_policy(noise) for noise in part.policies],
        "weights": [weight_entry(found) for found in part.weights],
        "controls": [_control(control) for control in part.controls],
        "spending": _spending(part.spending),
    }


def fact_change(change: FactChange) -> FactChangeEntry:
    """Return a changed fact."""
    return {"name": change.name, "before": change.before, "after": change.after}


def _tolerance(tolerance: Tolerance) -> ToleranceEntry:
    return {
        "calibration_draws": tolerance.calibration_draws,
        "draws": tolerance.draws,
        "false_alarm_rate": tolerance.false_alarm_rate,
        "floor_nats": tolerance.floor_nats,
        "outlier_factor": tolerance.outlier_factor,
        "max_outlier_rate": tolerance.max_outlier_rate,
    }


def _false_alarms(tolerance: Tolerance) -> FalseAlarmsEntry:
    rate = tolerance.false_alarm_rate
    return {
        "cells": round(rate * design.CELLS_SHARE, _DECIMALS),
        "matrix": round(rate * design.SUITE_SHARE, _DECIMALS),
        "outliers": round(rate * design.OUTLIERS_SHARE, _DECIMALS),
        "controls": round(rate * design.CONTROLS_SHARE, _DECIMALS),
    }


def _cell(cell: LogprobCellReport) -> LogprobCellEntry:
    said = describe_logprobs(cell)
    verdict = cell.verdict
    effect = _effect_of(verdict)
    return {
        "id": foreign.one_line(cell.id),
        "definition": _definition(cell.cell),
        "source": None if cell.source is None else foreign.one_line(cell.source),
        "verdict": verdict.word,
        "reason": said.reason,
        "remedy": said.remedy,
        "sameness": verdict.sameness.value if isinstance(verdict, Agrees) else None,
        "effect": None if effect is None else _effect(effect),
        "provenance": [fact_change(change) for change in said.suspects],
        "outlier_rate": _outlier_rate(verdict) if isinstance(verdict, Outlying) else None,
        "invalid": _invalid(verdict) if isinstance(verdict, Invalid) else None,
        "center": None if cell.center is None else figure(cell.center),
        "band": None if cell.band is None else figure(cell.band),
        "calibration": figures(cell.calibration),
        "totals": figures(cell.totals),
        "outliers": [_outlier(outlier) for outlier in cell.outliers],
    }


def _definition(cell: LogprobCell) -> PolicyItemEntry:
    policy, item = cell.policy, cell.item
    return {
        "policy": policy.name,
        "item": item.name,
        "provider": policy.provider.kind.value,
        "model": policy.model,
        "system": policy.system,
        "template": policy.template,
        "temperature": policy.temperature,
        "logprobs": policy.logprobs.value,
        "prompt": item.prompt,
        "response": item.response,
    }


def _effect_of(verdict: LogprobVerdict) -> Effect | None:
    match verdict:
        case Shifted(effect=effect):
            return effect
        case Agrees(changed=changed):
            return changed
        case Outlying() | Invalid() | Unrecorded() | Inconclusive():
            return None
        case _:
            assert_never(verdict)


def _effect(effect: Effect) -> EffectEntry:
    return {
        "evidence": effect.evidence.value,
        "p_value": figure(effect.p_value),
        "shift": figure(effect.shift),
        "band": figure(effect.band),
        "deciding": _deciding(effect.deciding),
        "tokens": [_token(token) for token in effect.tokens],
    }


def _deciding(deciding: Deciding) -> DecidingEntry:
    return {
        "token": None if deciding.token is None else _token(deciding.token),
        "shift": figure(deciding.shift),
        "band": figure(deciding.band),
        "calibration": figures(deciding.calibration),
        "draws": figures(deciding.draws),
    }


def _token(token: TokenShift) -> TokenShiftEntry:
    return {
        "position": token.position,
        "id": token.piece.id,
        "text": spell(token.piece.data),
        "expected": figure(token.expected),
        "observed": figure(token.observed),
        "shift": figure(token.shift),
    }


def _outlier_rate(verdict: Outlying) -> OutlierRateEntry:
    return {
        "count": verdict.count,
        "draws": verdict.draws,
        "most": verdict.most,
        "rate": figure(verdict.rate),
        "allowed": figure(verdict.allowed),
    }


def _invalid(verdict: Invalid) -> InvalidEntry:
    return {"position": verdict.position, "count": verdict.count}


def _outlier(outlier: OutlierDraw) -> OutlierDrawEntry:
    return {
        "total": figure(outlier.total),
        "center": figure(outlier.center),
        "bound": figure(outlier.bound),
        "tokens": [_token(token) for token in outlier.tokens],
        "request_id": foreign.one_line(outlier.request_id) or None,
    }


def _policy(noise: PolicyNoise) -> PolicyEntry:
    return {
        "policy": noise.policy,
        "model": foreign.one_line(noise.model),
        "temperature": noise.temperature,
        "logprobs": noise.logprobs.value,
        "cells": noise.cells,
        "calibration_variance": figure(noise.calibration_variance),
        "variance": figure(noise.variance),
        "atom": figure(noise.atom),
        "draws": noise.draws,
        "outliers": noise.outliers,
    }


def _control(control: LogprobControl) -> LogprobControlEntry:
    return {
        "policy": foreign.one_line(control.policy),
        "cell": foreign.one_line(control.cell),
        "differed": control.differed,
    }


def _spending(spent: Spending) -> SpendingEntry:
    return {
        "calls": spent.calls,
        "saved": spent.saved,
        "reused": spent.reused,
        "tokens": spent.tokens,
        "usd": figure(spent.usd),
    }
