"""The part of report.json that is made for people with jq."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given
from hypothesis import settings as examples

from repro_gate.core.logprobs.verdicts import Agrees, Shifted
from repro_gate.core.report import (
    CheckResult,
    FinishedCheck,
    GateReport,
    UnfinishedCheck,
    result_of,
)
from repro_gate.core.tokens.verdicts import Inconclusive, Match
from repro_gate.reports.findings.logprob_wording import LOGPROB_WORDS
from repro_gate.reports.findings.wording import WORDS
from repro_gate.reports.json import summary_data
from tests.fakes.logprob_reports import effect_of, logprob_cell_report_of, weight_report_of
from tests.reports.conftest import cell_of, cell_report_of, drift_of, gate_report_of, generation_of
from tests.reports.random_reports import HOSTILE
from tests.reports.served import dependent

Build = Callable[..., GateReport]


def summary_of(report: GateReport) -> Any:
    """Return what a reader of the file gets."""
    return json.loads(json.dumps(summary_data(result_of(report))))


def test_findings_outcome_and_counts_stand_first() -> None:
    """A reader needs no more to know whether all is well."""
    assert summary_of(gate_report_of(cell_report_of(Match(), generation=generation_of("hi")))) == {
        "outcome": "passed",
        "exit_code": 0,
        "counts": {
            "tokens": {word: int(word == "match") for word in WORDS},
            "logprobs": dict.fromkeys(LOGPROB_WORDS, 0),
        },
        "cells": [
            {
                "gate": "tokens",
                "suite": "embedded",
                "id": "tiny-qwen2--autumn-leaves--seed42",
                "verdict": "match",
                "text": " hi",
            }
        ],
        "modes": [],
        "false_alarms": [],
        "findings": [],
    }


def test_an_interrupted_check_has_its_exit_code(rich_report: GateReport) -> None:
    """The outcome rests on what it reached."""
    summary = summary_of(replace(rich_report, interrupted=True))

    assert (summary["outcome"], summary["exit_code"]) == ("failed", 130)


def test_a_check_without_a_report_has_no_outcome() -> None:
    """It has the exit code of the process, and every count is 0."""
    summary = summary_data(UnfinishedCheck(exit_code=3, message="x\n\x1b"))

    assert (summary["outcome"], summary["exit_code"], summary["findings"]) == (None, 3, ())
    assert {*summary["counts"]["tokens"].values(), *summary["counts"]["logprobs"].values()} == {0}


def test_a_drifted_cell_is_complete() -> None:
    """What the terminal shows of it is all there."""
    cell = drift_of(generation_of("a b"), generation_of("a c"), cell_of())

    (finding,) = summary_of(gate_report_of(cell))["findings"]

    texts = dict(finding.pop("evidence"))
    assert {"golden", "observed", "context"} <= texts.keys()
    assert finding == {
        "gate": "tokens",
        "suite": None,
        "verdict": "drift",
        "outcome": "failed",
        "subject": cell.id,
        "ids": [cell.id],
        "claim": "10 identical runs, but they diverge from the golden at output[1]",
        "reason": None,
        "remedy": None,
        "changed": finding["changed"],
        "advice": "If the change is intended, accept it. Otherwise start with what changed.",
        "accept": finding["accept"],
        "repeat": finding["repeat"],
    }
    assert finding["accept"].startswith("repro-gate update-snapshots")
    assert finding["repeat"].startswith("repro-gate check")
    assert all(set(change) == {"name", "before", "after"} for change in finding["changed"])


def test_what_is_unknown_has_its_reason_and_remedy() -> None:
    """In the words of whoever knew it, safe to print."""
    lost = Inconclusive(reason="no device \x1b[31m", remedy="plug it in")

    (finding,) = summary_of(gate_report_of(cell_report_of(lost)))["findings"]

    assert (finding["outcome"], finding["reason"], finding["remedy"]) == (
        "inconclusive",
        r"no device \x1b[31m",
        "plug it in",
    )


def test_every_unmatched_cell_is_in_a_finding(rich_report: GateReport) -> None:
    """Cells of which the same holds share one."""
    found = [cell_id for each in summary_of(rich_report)["findings"] for cell_id in each["ids"]]

    unmatched = [cell for cell in rich_report.cells if not isinstance(cell.verdict, Match)]
    assert {cell.id for cell in unmatched} <= set(found)


def test_counts_of_the_gates_are_apart(rich_logprob_report: GateReport) -> None:
    """Cells of one gate are never counted among those of the other."""
    counts = summary_of(rich_logprob_report)["counts"]

    assert set(counts["tokens"].values()) == {0}
    assert counts["logprobs"] == {
        "agrees": 2,
        "drift": 2,
        "outlier": 1,
        "invalid": 1,
        "unrecorded": 2,
        "inconclusive": 1,
        "orphaned": 1,
    }


def test_a_finding_of_log_probabilities_has_its_suite(logprob_suite_report: Build) -> None:
    """With the draws and the tokens that moved."""
    drifted = logprob_cell_report_of(Shifted(effect=effect_of(), provenance=()))
    report = logprob_suite_report(drifted)

    (finding,) = summary_of(report)["findings"]

    assert (finding["gate"], finding["suite"], finding["verdict"], finding["ids"]) == (
        "logprobs",
        report.logprobs[0].suite,
        "drift",
        [drifted.id],
    )
    assert {"evidence", "shift", "draws", "token"} <= {label for label, _ in finding["evidence"]}


def test_unusable_weights_are_a_finding(logprob_suite_report: Build) -> None:
    """About two policies, and no cell."""
    weights = weight_report_of(problems=("no",), must_be_usable=True)

    (finding,) = summary_of(logprob_suite_report(weights=(weights,)))["findings"]

    assert (finding["verdict"], finding["ids"]) == ("weights", ["clone / base"])
    assert "no" in finding["reason"]


def test_every_cell_that_does_not_agree_is_in_a_finding(rich_logprob_report: GateReport) -> None:
    """Whatever its verdict is."""
    cells = [cell for part in rich_logprob_report.logprobs for cell in part.cells]
    found = {each for entry in summary_of(rich_logprob_report)["findings"] for each in entry["ids"]}

    assert {cell.id for cell in cells if not isinstance(cell.verdict, Agrees)} <= found


@examples(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(HOSTILE.results)
def test_all_of_it_is_printable(result: CheckResult) -> None:
    """It can be printed by `jq -r`, whatever a model, an engine or a server chose."""
    if isinstance(result, FinishedCheck):
        assert all(text.isprintable() for text in _texts(summary_data(result)))


def _texts(data: Any) -> Iterator[str]:
    match data:
        case dict():
            for key, value in data.items():
                yield key
                yield from _texts(value)
        case list() | tuple():
            for value in data:
                yield from _texts(value)
        case str():
            yield data
        case _:
            assert data is None or isinstance(data, int | float)


def test_modes_are_rows_for_jq() -> None:
    """A row for each model, suite and mode, with all numbers of the table."""
    rows = summary_of(dependent())["modes"]

    assert len(rows) == 18
    assert rows[1] == {
        "suite": "served",
        "model": "smollm2",
        "mode": "concurrent-8",
        "required": "tokens",
        "result": "depends",
        "answers": 24,
        "same_tokens": 17,
        "same_bits": 16,
        "shift": 0.0075,
        "tokens": 216,
        "running": 8,
        "missed": None,
    }
    assert rows[0]["missed"] == 0.995**216
