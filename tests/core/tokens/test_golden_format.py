"""The format of golden files: complete, with one token per line."""

import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.adapters.files.golden_writer import SyrupyGoldens, serialize
from repro_gate.core.tokens.generation import Choice, Divergence, Generation, Place, Stop, Token
from repro_gate.core.tokens.golden import Golden, definition_changes
from repro_gate.core.tokens.golden_format import cell_from_data, from_data, line_in_golden, to_data
from tests.fakes import strategies
from tests.fakes.strategies import finite, goldens
from tests.fakes.values import cell_of, generation_of, golden_of

SCHEMA = json.loads(files("repro_gate.schemas").joinpath("golden-v1.json").read_text())

GOLDEN = golden_of(
    cell_of(),
    Generation(
        prompt=(Token(1, b""), Token(2, b"Say")),
        tokens=(Token(50, b" \xf0\x9f"), Token(60, b"\x8d\x81"), Token(7, b"\n")),
        stop=Stop.END_OF_GENERATION,
        trace=(
            Choice(logprob=-0.12345, best=((50, -0.12345), (51, -2.0))),
            Choice(logprob=-0.00001, best=((60, -0.00001),)),
            Choice(logprob=-1.0, best=()),
        ),
    ),
    provenance={"device.name": "TEST"},
)


@given(strategies.goldens(strategies.four_decimals))
def test_a_golden_is_read_as_it_was_written(golden: Golden) -> None:
    """With log-probabilities of four decimals nothing at all is lost, JSON included."""
    assert from_data(json.loads(json.dumps(to_data(golden)))) == golden


@given(strategies.goldens(strategies.finite))
def test_writing_again_changes_nothing(golden: Golden) -> None:
    """Whatever is rounded is rounded the first time."""
    data = to_data(golden)

    assert to_data(from_data(data)) == data


@given(strategies.goldens(strategies.finite))
def test_every_golden_obeys_the_published_schema(golden: Golden) -> None:
    """The gate can read back whatever golden it may ever write."""
    jsonschema.validate(to_data(golden), SCHEMA)


def test_a_golden_file_is_readable() -> None:
    """A token is a line of its id and its bytes, and the file explains itself."""
    assert to_data(GOLDEN) == {
        "schema": "repro-gate/golden/v1",
        "profile": "cpu-test",
        "cell": {
            "model": "tiny",
            "prompt": "haiku",
            "text": "Say haiku",
            "seed": 42,
            "max_tokens": 4,
            "sampler": {"temperature": 0.7, "top_k": 40, "top_p": 0.95, "min_p": 0.05},
        },
        "prompt_tokens": ["1 ", "2 Say"],
        "tokens": ["50  \\xf0\\x9f", "60 \\x8d\\x81", "7 \\n"],
        "stop": "end_of_generation",
        "text": " 🍁\\n",
        "trace": ["-0.1235 | 50:-0.1235 51:-2.0000", "0.0000 | 60:0.0000", "-1.0000 |"],
        "provenance": {"device.name": "TEST"},
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": ["-1"]}, r"'tokens\[0\]' is not an id, alone or with a space and a text: '-1'"),
        ({"tokens": ["50", "51", "52"]}, "'text' is not the text of 'tokens'"),
        ({"prompt_tokens": ["1 ", "x Say"]}, r"'prompt_tokens\[1\]' is not an id"),
        ({"tokens": ["50 \\"]}, "a backslash that starts no escape"),
        ({"text": "another"}, "'text' is not the text of 'tokens'"),
        ({"text": "\\"}, "a backslash that starts no escape"),
        ({"stop": "bored"}, "'bored' is not a valid Stop"),
        ({"trace": ["-0.1 |"]}, "1 trace entries for 3 tokens"),
        ({"trace": ["nan |"] * 3}, "log-probabilities must be finite"),
        ({"trace": ["often"] * 3}, "could not convert string to float: 'often'"),
        ({"trace": ["", "-0.1000 |", "-0.1000 |"]}, "could not convert string to float: ''"),
        ({"trace": ["-0.1 | 5"] * 3}, "not enough values to unpack"),
        ({"trace": ["-0.1000 |\n-0.1000 |", "-0.1000 |"]}, "not enough values to unpack"),
    ],
)
def test_a_contradiction_is_refused(change: dict[str, Any], message: str) -> None:
    """Contradictory data of the right schema raises a ValueError with the reason."""
    with pytest.raises(ValueError, match=message):
        from_data({**to_data(GOLDEN), **change})


def test_a_cell_out_of_range_is_refused() -> None:
    """The cell in a golden is held to the same rules as the one in a matrix."""
    data = to_data(GOLDEN)
    with pytest.raises(ValueError, match="a seed must lie between"):
        from_data({**data, "cell": {**data["cell"], "seed": 0}})


def test_a_token_without_bytes_is_its_id_alone() -> None:
    """That is another line than one of no bytes, and the text holds the id."""
    tokens = (Token(50, None), Token(7, b""), Token(60, b"\xf0"))
    golden = replace(GOLDEN, generation=replace(GOLDEN.generation, tokens=tokens))
    data = to_data(golden)

    assert data["tokens"] == ["50", "7 ", "60 \\xf0"]
    assert data["text"] == "<50>\\xf0"
    assert from_data(data).generation.tokens == tokens


def test_a_text_may_be_spelled_by_another_python() -> None:
    """Which characters are printable grows with Unicode; a golden holds for all versions."""
    data = {**to_data(GOLDEN), "text": " \\xf0\\x9f\\x8d\\x81\\x0a"}

    assert from_data(data).generation == from_data(to_data(GOLDEN)).generation


def test_a_whole_number_is_the_same_definition() -> None:
    """A JSON tool that writes 1.0 as 1 makes no other cell of it."""
    cell = replace(cell_of(), sampler=replace(cell_of().sampler, temperature=1.0, top_p=1.0))
    data = to_data(golden_of(cell))["cell"]
    data["sampler"] |= {"temperature": 1, "top_p": 1}

    assert definition_changes(cell_from_data(data), cell) == ()


def test_a_trace_is_the_same_whether_its_form_makes_it_certain() -> None:
    """Long numbers are read at once; the others when they are shown, as most never are."""
    data = to_data(GOLDEN)
    longer = [line.replace("-", "-0000000000") for line in data["trace"]]

    assert from_data({**data, "trace": longer}) == from_data(data)
    assert from_data(data).generation.trace[1:] == (
        Choice(logprob=0.0, best=((60, 0.0),)),
        Choice(logprob=-1.0, best=()),
    )


def test_a_golden_without_a_trace_has_no_evidence() -> None:
    """A run that was not traced leaves the list of log-probabilities empty."""
    assert to_data(golden_of(cell_of(), generation_of(5, 6)))["trace"] == []


def test_only_a_generation_with_logits_has_a_key_for_them() -> None:
    """Goldens of suites that compare tokens stay byte for byte."""
    tokens, logits = generation_of(5, 6), generation_of(5, 6, logits="ab")

    assert "logits" not in to_data(golden_of(cell_of(), tokens))
    assert to_data(golden_of(cell_of(), logits))["logits"] == ["a" * 16, "b" * 16]


def at(place: Place, position: int) -> Divergence:
    """Return a divergence between arbitrary tokens."""
    return Divergence(place=place, position=position, expected=None, observed=Token(0, b"x"))


@pytest.fixture
def golden_text(tmp_path: Path) -> str:
    """Return the text of a golden with two prompt tokens and three of output, as it is kept."""
    store, cell = SyrupyGoldens(tmp_path), cell_of()
    store.write(golden_of(cell, generation_of(7, 8, 9, prompt=(1, 2), logits="abc")))
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
        (Place.LOGITS, 2, f'"{"c" * 16}"'),
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
    """The line holds the token, or else the last one of its list, for any golden."""
    text = serialize(golden)
    names = {
        Place.TEMPLATE: "rendered",
        Place.PROMPT: "prompt_tokens",
        Place.OUTPUT: "tokens",
        Place.LOGITS: "logits",
    }
    name = names[place]
    tokens = json.loads(text).get(name)
    number = line_in_golden(text, at(place, position))
    line = None if number is None else line_at(text, number)

    assert line == (
        None
        if tokens is None
        else json.dumps(tokens[min(position, len(tokens) - 1)], ensure_ascii=False)
        if tokens
        else f'"{name}": []'
    )
