"""The status of a watch as data, which its schema describes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from repro_gate.adapters.files.codec import encode
from repro_gate.adapters.files.documents import validate
from repro_gate.core.tokens.verdicts import Inconclusive
from repro_gate.core.watch.night import Uncounted
from repro_gate.core.watch.status import Seen, WatchStatus, not_open
from repro_gate.reports.watch.data import StateData, state_data
from tests.fakes.nights import alarm_of, night_of, watch_of, watch_report_of

ALARM = alarm_of()
DRIFT = WatchStatus(
    suite="hosted",
    watch=watch_of(),
    report=watch_report_of(
        ALARM,
        largest=(ALARM.level,),
        uncounted=(Uncounted(night=night_of(3, {}), reason="torn"),),
        returned=night_of(37, {}),
        notes=("a note",),
    ),
    unknown=(Inconclusive(reason="late", remedy="wait"),),
    seen=(Seen(fact="backend", before=("a",), since=("b",)),),
)
CLOSED = WatchStatus(suite="hosted", watch=None, report=None, unknown=(not_open("hosted"),))
NEW = replace(DRIFT, report=watch_report_of(last=None))


@pytest.mark.parametrize("status", [DRIFT, CLOSED, NEW])
def test_the_data_of_every_status_has_the_schema(status: WatchStatus) -> None:
    """With every part of it and with none."""
    data = json.loads(json.dumps(encode(state_data(status), StateData)))

    validate(data, schema="state-v1", file=Path("x"))


def test_the_data_has_what_the_words_have() -> None:
    """The state, its exit code, and the alarms with their nights."""
    data = encode(state_data(DRIFT), StateData)

    assert (data["state"], data["exit_code"], data["since"]) == ("drift", 10, "2026-02-07")
    assert data["alarms"] == [
        {
            "level": {
                "cell": "base--0",
                "stream": "median",
                "direction": "down",
                "evidence": 1.1e7,
                "threshold": 8.76e6,
            },
            "night": "2026-02-07-run-1",
            "start": "2026-01-31-run-1",
            "before": 0.0,
            "after": -0.3,
            "effect": -0.3,
            "is_drift": True,
        }
    ]
    assert data["uncounted"] == [{"night": "2026-01-04-run-1", "reason": "torn"}]
    assert data["returned"] == "2026-02-07-run-1"
