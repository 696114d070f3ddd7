"""Values of TOML come back as they were."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.reports.text.toml import toml_key, toml_value
from tests.fakes.hostile_text import HOSTILE

_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | _TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(_TEXT, inner),
)


@given(_VALUES)
def test_every_value_comes_back(value: object) -> None:
    """On one line of visible characters."""
    text = toml_value(value)

    assert tomllib.loads(f"value = {text}") == {"value": value}
    assert text.isprintable()


@given(_TEXT, _TEXT)
def test_every_name_of_a_table_comes_back(outer: str, inner: str) -> None:
    """Bare where it can be."""
    assert tomllib.loads(f"[{toml_key(outer, inner)}]") == {outer: {inner: {}}}
    assert toml_key("models", "a_b-1") == "models.a_b-1"


@pytest.mark.parametrize("text", [text for text in HOSTILE if "\ud800" not in text])
def test_hostile_texts_come_back(text: str) -> None:
    """And nothing of them is a line or a sequence of a terminal."""
    assert tomllib.loads(f"value = {toml_value(text)}") == {"value": text}


@pytest.mark.parametrize("value", [None, b"", ("a",), "\ud800"])
def test_what_toml_lacks_is_refused(value: object) -> None:
    """Rather than written in another form."""
    with pytest.raises(ValueError, match=r"TOML has no value|surrogates"):
        toml_value(value)
