"""A history as plain JSON data: its size, state, cells, changes, outliers and weights."""

from collections.abc import Mapping
from dataclasses import asdict
from math import isfinite
from typing import Any

from repro_gate.core.timeline import (
    CellLine,
    PairLine,
    ServiceLine,
    SessionWeights,
    Timeline,
    WeightsSummary,
)
from repro_gate.core.watch.state import Alarm
from repro_gate.core.watch.status import WatchStatus


def history_document(timeline: Timeline) -> dict[str, Any]:
    """Return the history as a document; `history export` has the single draws."""
    return {
        "suite": timeline.suite,
        "sessions": [
            {"key": each.key, "kind": each.kind.value, "started_at": each.started_at}
            | {"is_closed": each.is_closed}
            for each in timeline.sessions
        ],
        "draws": timeline.draws,
        "usd": timeline.usd,
        "watch": None if timeline.watch is None else _watch(timeline.watch),
        "cells": [_cell(line) for line in timeline.cells],
        "services": [_service(line) for line in timeline.services],
        "changes": [
            asdict(each) | {"session": timeline.sessions[each.session].key}
            for each in timeline.changes
        ],
        "outliers": [
            {
                "session": timeline.sessions[each.session].key,
                "cell": each.cell,
                "total": each.total,
                "distance": each.distance,
                "at": each.facts.at,
                "request_id": each.facts.request_id,
                "model": each.facts.model,
                "backend": each.facts.backend,
            }
            for each in timeline.outliers
        ],
        "weights": [_pair(pair, timeline) for pair in timeline.pairs],
    }


def _watch(status: WatchStatus) -> Mapping[str, Any]:
    return {
        "state": status.state.value,
        "since": status.since,
        "unknown": [each.reason for each in status.unknown],
        "alarms": [_alarm(alarm) for alarm in status.report.alarms] if status.report else [],
    }


def _alarm(alarm: Alarm) -> Mapping[str, Any]:
    stream = alarm.level.stream
    return {
        "cell": stream.cell,
        "stream": stream.kind.value,
        "direction": stream.direction.value,
        "start": alarm.start.key,
        "night": alarm.night.key,
        "effect": alarm.effect,
        "is_drift": alarm.is_drift,
    }


def _cell(line: CellLine) -> Mapping[str, Any]:
    return {
        "cell": line.cell,
        "center": line.center,
        "band": line.band,
        "last_median": line.last_median,
        "draws": line.draws,
        "outliers": line.far,
        "invalid": sum(point.invalid for point in line.points),
        "missed": sum(point.missed for point in line.points),
    }


def _service(line: ServiceLine) -> Mapping[str, Any]:
    latencies = [point.latency_ms for point in line.points if point.latency_ms is not None]
    return {
        "policy": line.policy,
        "last_latency_ms": latencies[-1] if latencies else None,
        "usd": line.usd,
    }


def _pair(pair: PairLine, timeline: Timeline) -> Mapping[str, Any]:
    return {
        "base": pair.base,
        "target": pair.target,
        "sessions": [
            {"session": timeline.sessions[point.session].key} | _point(point)
            for point in pair.points
        ],
        "ruinous": [
            {
                "item": each.item,
                "since": timeline.sessions[each.since].key,
                "sessions": each.sessions,
                "share": each.share,
                "log_ratio": each.log_ratio,
                "without": None if each.without is None else _summary(each.without),
            }
            for each in pair.ruinous
        ],
    }


def _point(point: SessionWeights) -> dict[str, Any]:
    return {
        **_summary(point.summary),
        "largest_share": point.largest_share,
        "khat": point.khat,
        "khat_bar": point.khat_bar,
        "ruinous": list(point.ruinous),
        "without": None if point.without is None else _summary(point.without),
    }


def _summary(found: WeightsSummary) -> dict[str, Any]:
    return {
        "items": found.items,
        "effective_size": found.effective_size,
        # JSON has no infinity.
        "mean_weight": found.mean_weight if isfinite(found.mean_weight) else None,
        "divergence": found.divergence,
    }
