"""The generated schemas are up to date and complete."""

import dataclasses
import json

import pytest

from repro_gate.core.report import CellReport, GateReport
from tests.schemas.generate import LAYOUTS, field_texts, file_of, schema_of, text_of


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_committed_schema_is_up_to_date(name: str) -> None:
    """After a change to a type, run `python -m tests.schemas.generate`."""
    assert file_of(name).read_text("utf-8") == text_of(name)


def test_a_schema_describes_every_field() -> None:
    """With the docstrings of the class and of its fields."""
    definition = schema_of("report")["$defs"]["cell_report"]

    fields = dataclasses.fields(CellReport)
    assert list(definition["properties"]) == [field.name for field in fields]
    assert definition["required"] == [
        field.name for field in fields if field.default is dataclasses.MISSING
    ]
    assert definition["description"] == CellReport.__doc__
    assert definition["properties"]["runs"] == {
        "description": "The number of finished runs.",
        "$ref": "#/$defs/int",
    }


def test_a_member_of_a_union_has_a_tag() -> None:
    """The tag is the first key, and required."""
    schema = schema_of("report")["$defs"]

    assert {"$ref": "#/$defs/tagged_drift"} in schema["cell_report"]["properties"]["verdict"][
        "oneOf"
    ]
    assert schema["tagged_drift"]["properties"]["kind"] == {"const": "drift"}
    assert schema["tagged_drift"]["required"] == ["kind", "divergence", "golden", "provenance"]
    assert schema["tagged_finished_check"]["properties"]["kind"] == {"const": "finished"}


def test_the_string_below_a_field_describes_it() -> None:
    """Also over several lines; strings below properties do not."""
    assert field_texts(GateReport) == {
        "started_at": "ISO 8601, UTC.",
        "orphans": "Goldens that no cell uses.",
        "engines": ("Several of one name where machines of one profile reported different facts."),
        "models": "Facts and settings of each loaded model, by name.",
        "interrupted": (
            "Whether the check was interrupted; cells that it did not reach are inconclusive."
        ),
        "repeat_with": (
            "Options that select the same matrix and device again, such as `--device`, `cuda`."
        ),
        "logprobs": "One for each suite whose log-probabilities were checked.",
        "provenances": (
            "The distinct provenances of the cells: engine, machine, model and settings."
        ),
        "notes": "Distinct notes; they never change the outcome.",
        "commit": (
            "The checked-out commit; None if it is unknown or a tracked file differs from it."
        ),
        "grades": (
            "One for each model in each suite in which it drifted, or which is against a profile."
        ),
    }


@pytest.mark.parametrize("name", LAYOUTS)
def test_references_and_definitions_match(name: str) -> None:
    """No reference is dangling, and no definition is unused."""
    schema = schema_of(name)

    used = set(json.dumps(schema).split('"#/$defs/')[1:])
    assert {part.split('"')[0] for part in used} == set(schema["$defs"])
