"""The line of a golden file at which a divergence is to be seen."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.adapters.files.golden_writer import SyrupyGoldens, serialize
from repro_gate.core.tokens.generation import Divergence, Place, Stop, Token
from repro_gate.core.tokens.golden import Golden
from repro_gate.core.tokens.golden_format import line_in_golden
from tests.fakes.strategies import finite, goldens
from tests.fakes.values import cell_of, generation_of, golden_of


def at(place: Place, position: int) -> Divergence:
    """Return a divergence; what the two sides say there does not matter."""
    return Divergence(place=place, position=position, expected=None, observed=Token(0, b"x"))


@pytest.fixture
def golden_text(tmp_path: Path) -> str:
    """Return the text of a golden with two prompt tokens and three of output, as it is kept."""
    store, cell = SyrupyGoldens(tmp_path), cell_of()
    store.write(golden_of(cell, generation_of(7, 8, 9, prompt=(1, 2))))
    return store.file("cpu-test", cell.id).read_text("utf-8")


def line_at(text: str, number: int | None) -> str:
    """Return a line of a text without its indentation and its comma."""
    assert number is not None
    return text.split("\n")[number - 1].strip().rstrip(",")


@pytest.mark.parametrize(
    ("place", "position", "line"),
    [
        (Place.PROMPT, 0, '"1  1"'),
        (Place.PROMPT, 1, '"2  2"'),
        (Place.OUTPUT, 0, '"7  7"'),
        (Place.OUTPUT, 2, '"9  9"'),
    ],
)
def test_a_token_is_a_line(golden_text: str, place: Place, position: int, line: str) -> None:
    """The line that is named holds the token of the golden at the divergence."""
    assert line_at(golden_text, line_in_golden(golden_text, at(place, position))) == line


@pytest.mark.parametrize(("place", "last"), [(Place.PROMPT, '"2  2"'), (Place.OUTPUT, '"9  9"')])
def test_golden_that_ended_early_is_shown_at_its_end(
    golden_text: str, place: Place, last: str
) -> None:
    """Where the golden has no token, its last one is shown."""
    assert line_at(golden_text, line_in_golden(golden_text, at(place, 3))) == last


def test_golden_without_a_token_is_shown_where_they_would_be() -> None:
    """An empty list is one line."""
    empty = replace(generation_of(stop=Stop.END_OF_GENERATION), prompt=())
    text = serialize(golden_of(cell_of(), empty))

    assert [
        line_at(text, line_in_golden(text, at(place, 0))) for place in (Place.PROMPT, Place.OUTPUT)
    ] == ['"prompt_tokens": []', '"tokens": []']


def test_lines_may_end_as_on_windows(golden_text: str) -> None:
    """A checkout that changed the ends of lines has the same numbers of lines."""
    windows = golden_text.replace("\n", "\r\n")
    divergence = at(Place.OUTPUT, 1)

    assert line_in_golden(windows, divergence) == line_in_golden(golden_text, divergence)


@pytest.mark.parametrize(
    "text", ["", "{}", '{"tokens": ["1 a"]}', '  "tokens": [', '  "tokens": [\n    "1 a",\n']
)
def test_text_that_is_no_golden_has_no_line(text: str) -> None:
    """Nothing is claimed of a file that someone else formatted, or of a part of one."""
    assert line_in_golden(text, at(Place.OUTPUT, 3)) is None


@given(golden=goldens(finite), place=st.sampled_from(Place), position=st.integers(0, 5))
def test_every_golden_has_its_lines(golden: Golden, place: Place, position: int) -> None:
    """Whatever a golden says, the line holds the token, or else the last one of its list."""
    text = serialize(golden)
    name = {Place.PROMPT: "prompt_tokens", Place.OUTPUT: "tokens"}[place]
    tokens = json.loads(text)[name]
    line = line_at(text, line_in_golden(text, at(place, position)))

    assert line == (
        json.dumps(tokens[min(position, len(tokens) - 1)], ensure_ascii=False)
        if tokens
        else f'"{name}": []'
    )
