"""Log-probabilities in the report that programs read, and in its schema."""

import json
import math
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from repro_gate.core import design
from repro_gate.core.logprob_report import SuiteVerdict
from repro_gate.core.logprob_verdicts import Agrees, Sameness, Shifted
from repro_gate.core.report import GateReport
from repro_gate.reports.json_report import render_json
from tests.fakes.logprob_reports import (
    deciding_of,
    effect_of,
    logprob_cell_report_of,
    policy_noise_of,
    suite_test_of,
    token_of,
    weight_report_of,
)

Build = Callable[..., GateReport]
SCHEMA = json.loads(files("repro_gate.schemas").joinpath("report-v1.json").read_text("utf-8"))


def suite_of(report: GateReport) -> dict[str, Any]:
    """Return what a reader gets of the only suite."""
    (suite,) = json.loads(render_json(report))["logprobs"]
    found: dict[str, Any] = suite
    return found


def errors_of(report: GateReport, **changes: Any) -> list[str]:
    """Return what the schema has against a report whose only suite is changed."""
    data = json.loads(render_json(report))
    data["logprobs"][0].update(changes)
    return [error.json_path for error in Draft202012Validator(SCHEMA).iter_errors(data)]


def test_report_keeps_the_schema(rich_logprob_report: GateReport) -> None:
    """A report with every verdict is what the schema promises."""
    assert errors_of(rich_logprob_report) == []


def test_counts_of_tokens_stay_those_of_tokens(rich_logprob_report: GateReport) -> None:
    """Cells of one gate are never counted among those of the other."""
    data = json.loads(render_json(rich_logprob_report))

    assert set(data["counts"].values()) == {0}
    assert data["logprobs"][0]["counts"] == {
        "agrees": 2,
        "drift": 2,
        "outlier": 1,
        "invalid": 1,
        "unrecorded": 2,
        "inconclusive": 1,
        "orphaned": 1,
    }


def test_drifted_cell_is_complete(logprob_suite_report: Build) -> None:
    """Definition, draws, evidence and tokens are all there."""
    drifted = logprob_cell_report_of(Shifted(effect=effect_of(), provenance=()))

    assert suite_of(logprob_suite_report(drifted))["cells"] == [
        {
            "id": "base--capital",
            "definition": {
                "policy": "base",
                "item": "capital",
                "provider": "fireworks",
                "model": "x",
                "system": "x",
                "template": "x",
                "temperature": 0.7,
                "logprobs": "raw",
                "prompt": "x",
                "response": "x",
            },
            "source": "fireworks",
            "verdict": "drift",
            "reason": None,
            "remedy": None,
            "sameness": None,
            "effect": {
                "evidence": "sum",
                "p_value": 0.00021,
                "shift": -1.25,
                "band": 0.5,
                "deciding": {
                    "token": None,
                    "shift": -1.25,
                    "band": 0.5,
                    "calibration": [-42.0] * 10,
                    "draws": [-43.25] * 10,
                },
                "tokens": [
                    {
                        "position": 3,
                        "id": 43,
                        "text": " Paris",
                        "expected": -0.5,
                        "observed": -1.75,
                        "shift": -1.25,
                    }
                ],
            },
            "provenance": [],
            "outlier_rate": None,
            "invalid": None,
            "center": -42.0,
            "band": 0.5,
            "calibration": [-42.0, -42.0, -42.0, -42.0, -42.5, -41.5, *[-42.0] * 4],
            "totals": [-42.0, -42.0, -42.0, -42.25, -42.0],
            "outliers": [],
        }
    ]


def test_error_rate_is_stated_with_its_parts(logprob_suite_report: Build) -> None:
    """The parts are those that the design promises."""
    assert suite_of(logprob_suite_report())["false_alarms"] == pytest.approx(
        {
            "cells": design.CELLS_SHARE * 0.01,
            "matrix": design.SUITE_SHARE * 0.01,
            "outliers": design.OUTLIERS_SHARE * 0.01,
            "controls": design.CONTROLS_SHARE * 0.01,
        }
    )


def test_weight_beyond_every_number_is_null(logprob_suite_report: Build) -> None:
    """JSON has no infinity, and a report is never lost for want of one."""
    report = logprob_suite_report(
        policies=(policy_noise_of(variance=math.nan),),
        weights=(weight_report_of(mean_weight=math.inf, khat=None, khat_bar=None, control_p=None),),
        suite_test=suite_test_of(mean_shift_bound=math.inf),
    )
    suite = suite_of(report)

    assert [
        suite["weights"][0]["mean_weight"],
        suite["policies"][0]["variance"],
        suite["matrix"]["mean_shift_bound"],
    ] == [None] * 3
    assert errors_of(report) == []


def test_small_p_value_keeps_its_digits(logprob_suite_report: Build) -> None:
    """A p-value is not rounded to nothing, and a sum has no digits of the machine."""
    effect = effect_of(p_value=1.23456e-9, shift=-1 / 3)
    cell = logprob_cell_report_of(Agrees(sameness=Sameness.EQUIVALENT, changed=effect))
    (entry,) = suite_of(logprob_suite_report(cell))["cells"]

    assert (entry["effect"]["p_value"], entry["effect"]["shift"]) == (1.23456e-9, -0.333333333)


def test_the_token_that_decided_is_complete(logprob_suite_report: Build) -> None:
    """With its band and its draws; the sum stands beside it."""
    token = token_of()
    effect = effect_of(token, shift=0.0, deciding=deciding_of(token))
    (entry,) = suite_of(
        logprob_suite_report(logprob_cell_report_of(Shifted(effect=effect, provenance=())))
    )["cells"]

    assert (entry["effect"]["shift"], entry["effect"]["band"]) == (0.0, 0.5)
    assert entry["effect"]["deciding"] == {
        "token": entry["effect"]["tokens"][0],
        "shift": -1.25,
        "band": 0.1,
        "calibration": [-0.5] * 10,
        "draws": [-1.75] * 10,
    }


@pytest.mark.parametrize(
    ("changes", "usability"),
    [
        ({}, "usable"),
        ({"problems": ("no",), "doubts": ("few",)}, "unusable"),
        ({"doubts": ("few",), "control_doubt": "few"}, "undetermined"),
    ],
)
def test_weights_have_three_states(
    logprob_suite_report: Build, changes: dict[str, Any], usability: str
) -> None:
    """And only one of them is usable."""
    report = logprob_suite_report(weights=(weight_report_of(**changes),))
    (entry,) = suite_of(report)["weights"]

    assert (entry["usable"], entry["usability"]) == (usability == "usable", usability)
    assert entry["problems"] == list(changes.get("problems", ()))
    assert entry["doubts"] == list(changes.get("doubts", ()))
    assert entry["control_doubt"] == changes.get("control_doubt")
    assert errors_of(report) == []


def test_what_was_not_tested_has_no_figures(logprob_suite_report: Build) -> None:
    """No program can take the figures of no test for a result."""
    report = logprob_suite_report(suite_test=suite_test_of(SuiteVerdict.NOT_TESTED, cells=0))

    assert suite_of(report)["matrix"] == {
        "verdict": "not tested",
        "cells": 0,
        "left_out": 0,
        "p_value": None,
        "evidence": None,
        "typical_shift": None,
        "second_look": False,
        "mean_shift": None,
        "mean_shift_bound": None,
        "sameness": None,
    }
    assert errors_of(report) == []


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        ("surprise", 1),
        ("outcome", "fine"),
        ("counts", {"agrees": 1}),
        ("cells", {}),
        ("tolerance", {"draws": 5}),
        ("false_alarms", {"cells": 2, "matrix": 0, "outliers": 0, "controls": 0}),
        ("matrix", {"verdict": "agrees"}),
        ("spending", {"calls": -1, "saved": 0, "reused": 0, "tokens": 0, "usd": 0}),
    ],
)
def test_wrong_suite_breaks_the_schema(
    path: str, wrong: Any, rich_logprob_report: GateReport
) -> None:
    """The schema refuses a suite that no check can have made."""
    assert errors_of(rich_logprob_report, **{path: wrong}) != []


@pytest.mark.parametrize(
    ("number", "key", "wrong"),
    [
        (0, "id", "not-a-cell"),
        (0, "definition", None),
        (0, "verdict", "match"),
        (0, "verdict", "drift"),
        (0, "sameness", None),
        (0, "reason", "it agreed, but"),
        (0, "remedy", "none"),
        (0, "provenance", [{"name": "answer.model", "before": "1", "after": "2"}]),
        (0, "outlier_rate", {"rate": 0.1, "allowed": 0.05}),
        (0, "invalid", {"position": None, "count": 1}),
        (0, "totals", ["-42"]),
        (2, "effect", None),
        (2, "sameness", "identical"),
        (4, "outlier_rate", None),
        (5, "invalid", None),
        (5, "reason", None),
    ],
)
def test_wrong_cell_breaks_the_schema(
    number: int, key: str, wrong: Any, rich_logprob_report: GateReport
) -> None:
    """The schema refuses a cell that says what a cell with its verdict cannot say."""
    cells = suite_of(rich_logprob_report)["cells"]
    cells[number][key] = wrong

    assert errors_of(rich_logprob_report, cells=cells) != []


def test_unusable_weights_have_a_reason(rich_logprob_report: GateReport) -> None:
    """The schema refuses weights that cannot be used for no reason."""
    weights = suite_of(rich_logprob_report)["weights"]
    weights[0]["problems"] = []

    assert errors_of(rich_logprob_report, weights=weights) == ["$.logprobs[0].weights[0].problems"]


def test_older_report_without_the_key_is_still_read(rich_logprob_report: GateReport) -> None:
    """Versions of the schema only grow."""
    data = json.loads(render_json(rich_logprob_report))
    del data["logprobs"]

    assert Draft202012Validator(SCHEMA).is_valid(data)
