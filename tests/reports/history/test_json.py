"""A history as JSON."""

import json
import math
from dataclasses import replace
from typing import Any

from repro_gate.core.tokens.verdicts import Inconclusive
from repro_gate.reports.history.json import history_document
from tests.fakes.timelines import timeline_of


def document_of(**changes: Any) -> dict[str, Any]:
    """Return the document of a history, written and read again."""
    document = history_document(replace(timeline_of(), **changes))
    read: dict[str, Any] = json.loads(json.dumps(document, allow_nan=False))
    return read


def test_the_weights_have_what_an_estimate_needs() -> None:
    """Of each session, and the items that ruin the last one."""
    (pair,) = document_of()["weights"]

    last = pair["sessions"][-1]
    assert (pair["base"], pair["target"], last["ruinous"]) == ("base", "tuned", ["item-4"])
    assert last["effective_size"] < 0.5 * last["items"] < last["without"]["effective_size"]
    (item,) = pair["ruinous"]
    assert item["item"] == "item-4"
    assert item["since"].startswith("2026-03-")
    assert item["without"]["mean_weight"] > 0


def test_the_state_has_its_alarms() -> None:
    """With the session in which the change began."""
    watch = document_of()["watch"]

    assert watch["state"] == "drift"
    assert {alarm["cell"] for alarm in watch["alarms"]} == {None, "tuned--item-2", "tuned--item-4"}
    assert all(alarm["start"] <= alarm["night"] for alarm in watch["alarms"])


def test_a_suite_without_a_watch_or_a_night_has_no_alarm() -> None:
    """The document says so."""
    status = timeline_of().watch
    assert status is not None
    reason = replace(status, report=None, unknown=(_reason(),))

    assert document_of(watch=None)["watch"] is None
    assert document_of(watch=reason)["watch"]["alarms"] == []


def _reason() -> Any:
    return Inconclusive(reason="no night", remedy="draw one")


def test_cells_services_changes_and_outliers_are_there() -> None:
    """Under the key of their session."""
    document = document_of()

    assert len(document["cells"]) == 12
    assert document["cells"][0]["outliers"] == 1
    assert document["services"][0]["last_latency_ms"] > 0
    assert {change["kind"] for change in document["changes"]} == {"model", "fingerprint", "backend"}
    assert document["outliers"][0]["total"] == -156.5
    assert document["outliers"][0]["session"] in {each["key"] for each in document["sessions"]}


def test_a_weight_beyond_every_float_is_null() -> None:
    """JSON has no infinity, and no latency is null too."""
    usual = timeline_of()
    pair = usual.pairs[0]
    point = pair.points[-1]
    huge = replace(point, summary=replace(point.summary, mean_weight=math.inf))
    alone = replace(pair.ruinous[0], without=None)
    silent = replace(usual.services[0].points[0], latency_ms=None)

    document = document_of(
        pairs=(replace(pair, points=(huge,), ruinous=(alone,)),),
        services=(replace(usual.services[0], points=(silent,)),),
    )

    assert document["weights"][0]["sessions"][0]["mean_weight"] is None
    assert document["weights"][0]["ruinous"][0]["without"] is None
    assert document["services"][0]["last_latency_ms"] is None
