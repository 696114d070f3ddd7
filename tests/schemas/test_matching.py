"""The matcher accepts exactly what the validator accepts; only the latter can say what is wrong."""

import copy
import json
import tomllib
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from repro_gate.adapters.files.violations import validator_of
from repro_gate.schemas.matching import matches

ROOT = Path(__file__).parents[2]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2**64)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["name", "a-b", "tokens", "logprobs", "command", "1 a", "0" * 64, "", "\n"])
    | st.dates(min_value=date(2000, 1, 1)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


def _first(folder: str) -> Any:
    return json.loads(min((ROOT / "snapshots" / folder).glob("*/*.json")).read_text("utf-8"))


DOCUMENTS = {
    "golden-v1": _first("goldens"),
    "baseline-v1": _first("baselines"),
    "matrix-v1": tomllib.loads((ROOT / "repro-gate.toml").read_text("utf-8")),
    "policy-v1": tomllib.loads(
        (ROOT / "docs/reference/policy.md").read_text("utf-8").split("```toml\n")[1].split("```")[0]
    ),
    "models-v1": {"schema": "repro-gate/models/v1", "sha256": {"tiny": "0a" * 32}},
}


def _places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value in a document, and of a key that is not there."""
    yield path
    if isinstance(document, dict):
        yield (*path, "unknown")
        for key, value in document.items():
            yield from _places(value, (*path, key))
    elif isinstance(document, list):
        for index, value in enumerate(document[:3]):
            yield from _places(value, (*path, index))


def _changed(document: Any, path: tuple[Any, ...], value: Any, *, remove: bool) -> Any:
    """Return the document with another value at a path, or without it."""
    if not path:
        return value
    whole = copy.deepcopy(document)
    inner = whole
    for step in path[:-1]:
        inner = inner[step]
    if remove and (isinstance(inner, list) or path[-1] in inner):
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return whole


@pytest.mark.parametrize("schema", DOCUMENTS)
@settings(max_examples=300)
@given(data=st.data())
def test_it_accepts_what_the_validator_accepts(schema: str, data: st.DataObject) -> None:
    """After any two changes of a valid document."""
    document = DOCUMENTS[schema]
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from(list(_places(document))))
        document = _changed(
            document, path, data.draw(VALUES), remove=data.draw(st.booleans()) and bool(path)
        )

    assert matches(document, schema) == validator_of(schema).is_valid(document)


@pytest.mark.parametrize("schema", DOCUMENTS)
def test_a_valid_document_matches(schema: str) -> None:
    """So no keyword of its schema is unknown, and no validator is needed for it."""
    assert matches(DOCUMENTS[schema], schema)


@given(VALUES)
@example({"schema": "repro-gate/draws/v1"})
def test_nothing_matches_a_schema_with_an_unknown_keyword(document: Any) -> None:
    """Then the validator decides."""
    assert not matches(document, "draws-v1")
