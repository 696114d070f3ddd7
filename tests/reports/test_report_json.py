"""The report that programs read, and the schema that promises it."""

import json
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.tokens import Generation
from repro_gate.core.verdicts import Inconclusive, Match
from repro_gate.reports.json_report import render_json

SCHEMA = json.loads(files("repro_gate.schemas").joinpath("report-v1.json").read_text("utf-8"))


def data_of(report: GateReport) -> dict[str, Any]:
    """Return what a reader gets."""
    data: dict[str, Any] = json.loads(render_json(report))
    return data


def errors_of(data: Any) -> list[str]:
    """Return what the schema has against the data."""
    return [error.json_path for error in Draft202012Validator(SCHEMA).iter_errors(data)]


def test_schema_is_a_schema() -> None:
    """The published schema is valid itself."""
    Draft202012Validator.check_schema(SCHEMA)


def test_report_keeps_the_schema(rich_report: GateReport) -> None:
    """A report with every verdict is what the schema promises."""
    assert errors_of(data_of(rich_report)) == []


@pytest.mark.parametrize(
    "hostile", ["\x1b[2J", "</script>", "\ud800", "\N{RIGHT-TO-LEFT OVERRIDE}"]
)
def test_hostile_report_keeps_the_schema(
    hostile: str, hostile_report: Callable[[str], GateReport]
) -> None:
    """No text that an engine chooses makes a report that its readers must refuse."""
    assert errors_of(data_of(hostile_report(hostile))) == []


def test_interrupted_report_keeps_the_schema(rich_report: GateReport) -> None:
    """A partial report says so, and has the exit code of an interruption."""
    data = data_of(replace(rich_report, interrupted=True))

    assert (data["partial"], data["exit_code"], errors_of(data)) == (True, 130, [])


@pytest.mark.parametrize("outcome", [Match(), Inconclusive(reason="no device", remedy=None)])
def test_every_outcome_keeps_the_schema(
    outcome: Match | Inconclusive,
    gate_report: Callable[..., GateReport],
    cell_report: Callable[..., CellReport],
) -> None:
    """Outcome and exit code agree, whatever the outcome is."""
    assert errors_of(data_of(gate_report(cell_report(outcome)))) == []


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        ("schema", "repro-gate/report/v2"),
        ("exit_code", 0),
        ("partial", True),
        ("surprise", 1),
        ("tool", {"name": "another", "version": "1"}),
        ("counts", {"match": 1}),
        ("timing", {"wall_s": -1, "load_s": 0, "engine_s": 0, "generated_tokens": 0}),
        ("suites", "embedded"),
    ],
)
def test_wrong_report_breaks_the_schema(path: str, wrong: Any, rich_report: GateReport) -> None:
    """The schema refuses a report that no check can have made."""
    assert errors_of({**data_of(rich_report), path: wrong}) != []


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("id", "not-a-cell"),
        ("id", "tiny-qwen2--autumn-leaves--seed42\n"),
        ("suite", None),
        ("definition", None),
        ("verdict", "fine"),
        ("verdict", "drift"),
        ("reason", "it matched, but"),
        ("runs", -1),
        ("tokens", ["318"]),
        ("stop", "tired"),
        ("provenance", [{"name": "device.driver", "before": "1", "after": "2"}]),
        ("observed_sha256", "AB" * 32),
        ("observed_sha256", "ab" * 33),
    ],
)
def test_wrong_cell_breaks_the_schema(key: str, wrong: Any, rich_report: GateReport) -> None:
    """The schema refuses a matching cell that says what such a cell cannot say."""
    data = data_of(rich_report)
    data["cells"][0][key] = wrong

    assert errors_of(data) != []


def test_control_without_position_has_not_differed(rich_report: GateReport) -> None:
    """The schema refuses a control that differed nowhere."""
    data = data_of(rich_report)
    data["controls"][0]["position"] = None

    assert errors_of(data) == ["$.controls[0].position"]


def test_cell_says_what_it_is_and_what_was_seen(
    gate_report: Callable[..., GateReport],
    cell_report: Callable[..., CellReport],
    generation: Callable[..., Generation],
) -> None:
    """A matching cell has its definition, its tokens and nothing else to say."""
    found = cell_report(Match(), generation=generation("hi", prompt="on"))

    assert data_of(gate_report(found))["cells"] == [
        {
            "id": "tiny-qwen2--autumn-leaves--seed42",
            "suite": "embedded",
            "definition": {
                "model": "tiny-qwen2",
                "prompt": "Write a haiku",
                "prompt_name": "autumn-leaves",
                "seed": 42,
                "temperature": 0.7,
                "max_tokens": 30,
                "sampler": {"top_k": 40, "top_p": 0.95, "min_p": 0.05},
            },
            "profile": "cpu-x86-64",
            "verdict": "match",
            "reason": None,
            "remedy": None,
            "runs": 10,
            "prompt_tokens": [253],
            "tokens": [241],
            "text": " hi",
            "stop": "length",
            "divergence": None,
            "provenance": [],
            "former_golden": None,
            "observed_sha256": None,
        }
    ]


def test_cell_points_to_the_golden_that_was_written_of_it(
    gate_report: Callable[..., GateReport], cell_report: Callable[..., CellReport]
) -> None:
    """The digest of an observed golden stands with its own cell."""
    found = cell_report(Match())
    text = render_json(gate_report(found), observed={found.id: "ab" * 32, "other": "cd" * 32})

    assert [cell["observed_sha256"] for cell in json.loads(text)["cells"]] == ["ab" * 32]


def test_json_is_ascii_and_ends_with_a_newline(hostile_report: Callable[[str], GateReport]) -> None:
    """A report can be piped through anything."""
    text = render_json(hostile_report("æ\x1b\N{RIGHT-TO-LEFT OVERRIDE}\n"))

    assert text.isascii()
    assert text.endswith("}\n")


def test_prompt_is_exact(hostile_report: Callable[[str], GateReport]) -> None:
    """The prompt is what the matrix says, down to its control characters."""
    data = data_of(hostile_report("a\\b\x1b\n"))

    assert data["cells"][0]["definition"]["prompt"] == "a\\b\x1b\n"
