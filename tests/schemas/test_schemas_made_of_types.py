"""The schemas that are made of types are up to date, and say what reading says."""

import dataclasses
import json

import pytest

from repro_gate.core.report import CellReport, GateReport
from tests.schemas.generate import LAYOUTS, field_texts, file_of, schema_of, text_of


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_committed_schema_is_that_of_the_types(name: str) -> None:
    """Whoever changes a type writes the schemas anew: `python -m tests.schemas.generate`."""
    assert file_of(name).read_text("utf-8") == text_of(name)


def test_a_schema_has_every_field_and_what_is_said_of_it() -> None:
    """The definition of a class says what the class says."""
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


def test_a_verdict_says_its_kind() -> None:
    """Of several types each has a word of its own, which stands first."""
    schema = schema_of("report")["$defs"]

    assert {"$ref": "#/$defs/tagged_drift"} in schema["cell_report"]["properties"]["verdict"][
        "oneOf"
    ]
    assert schema["tagged_drift"]["properties"]["kind"] == {"const": "drift"}
    assert schema["tagged_drift"]["required"] == ["kind", "divergence", "golden", "provenance"]
    assert schema["tagged_finished_check"]["properties"]["kind"] == {"const": "finished"}


def test_what_stands_beneath_a_field_is_its_text() -> None:
    """Also when it has several lines, and not what stands beneath a property."""
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
    }


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_reference_leads_to_a_definition(name: str) -> None:
    """No schema refers to what it does not have, and none has what it does not refer to."""
    schema = schema_of(name)

    used = set(json.dumps(schema).split('"#/$defs/')[1:])
    assert {part.split('"')[0] for part in used} == set(schema["$defs"])
