"""Baselines and model digests on disk."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repro_gate.adapters.files.snapshots import BaselineFiles, ModelPinsFile, baseline_text
from repro_gate.core.logprobs.baseline import Baseline
from repro_gate.core.logprobs.baseline_format import to_data
from repro_gate.core.logprobs.draw import DrawFacts, Encoding, Piece
from repro_gate.core.logprobs.policy import LogprobCell
from repro_gate.core.text import digest_of
from repro_gate.errors import InputInvalid
from tests.fakes.baseline_strategies import baselines
from tests.fakes.scoring import MODEL, NOW, SOURCE, baseline_of, item_of, policy_of

CELL = LogprobCell(policy=policy_of(), item=item_of("fox"))
BASELINE = baseline_of(
    CELL,
    [(-1.5, -0.25), (-1.0, -0.25), (-1.5, -0.25)],
    encoding=Encoding(
        prompt=(Piece(1, b"Say"),), response=(Piece(2, b"\xff "), Piece(3, "🍂".encode()))
    ),
    facts=(DrawFacts(at=NOW, model=MODEL, latency_s=0.5, headers={"cf-ray": "\u202e"}),) * 3,
)
TEXT = baseline_text(BASELINE)
EDITED = (
    "digest: expected the digest of the content, found another one: the file was edited or "
    "merged by hand; record it again with repro-gate record-baseline"
)


def refusal_of(folder: Path, text: str, *, source: str = SOURCE, cell_id: str = CELL.id) -> str:
    """Return the message for a baseline file."""
    store = BaselineFiles(folder)
    file = store.file(source, cell_id)
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, "utf-8")
    with pytest.raises(InputInvalid) as caught:
        store.read(source, cell_id)
    assert str(caught.value).startswith(f"{file}: ")
    return str(caught.value).removeprefix(f"{file}: ")


def redigested(**changes: object) -> str:
    """Return the text of the baseline with changes and the digest of these."""
    content = {**to_data(BASELINE), **changes}
    del content["digest"]
    return json.dumps({**content, "digest": digest_of(content)})


def test_a_baseline_is_readable(tmp_path: Path) -> None:
    """One token or log-probability per line, sorted keys, and a path made of names."""
    BaselineFiles(tmp_path).write(BASELINE)

    text = (tmp_path / "test-provider" / "base--fox.json").read_text("utf-8")
    assert text == TEXT
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    assert '  "response_tokens": [\n    "2 \\\\xff ",\n    "3 🍂"\n  ],\n' in text
    assert '      "draws": [\n        1,\n        3\n      ],\n      "logprobs": [' in text


def test_text_of_a_provider_is_escaped() -> None:
    """A header cannot make a diff show something else."""
    assert '"cf-ray": "\\\\xe2\\\\x80\\\\xae"' in TEXT


def test_a_baseline_is_read_back(tmp_path: Path) -> None:
    """With its noise, at the precision of the file."""
    store = BaselineFiles(tmp_path)
    store.write(BASELINE)

    again = store.read(SOURCE, CELL.id)
    assert baseline_text(again) == TEXT
    assert (again.draws, again.encoding, again.facts) == (
        BASELINE.draws,
        BASELINE.encoding,
        BASELINE.facts,
    )


@settings(derandomize=True, database=None, deadline=None, max_examples=60)
@given(baseline=baselines())
def test_every_baseline_is_read_back(baseline: Baseline) -> None:
    """Whatever the provider sends."""
    with tempfile.TemporaryDirectory() as folder:
        store = BaselineFiles(Path(folder))
        store.write(baseline)

        assert store.recorded(baseline.source) == {baseline.id}
        assert store.read(baseline.source, baseline.id) == baseline


@settings(derandomize=True, database=None, deadline=None, max_examples=300)
@given(place=st.integers(0, len(TEXT) - 1), character=st.sampled_from('0123456789-.e,"\\ []{}xZ\n'))
def test_every_changed_character_is_noticed(place: int, character: str) -> None:
    """Unless it does not change the content."""
    with tempfile.TemporaryDirectory() as folder:
        store = BaselineFiles(Path(folder))
        store.write(BASELINE)
        before = store.read(SOURCE, CELL.id)
        file = store.file(SOURCE, CELL.id)
        file.write_text(TEXT[:place] + character + TEXT[place + 1 :], "utf-8")
        try:
            after = store.read(SOURCE, CELL.id)
        except InputInvalid:
            return

        assert after == before


def _numbers(data: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(data, dict):
        return [found for key in data for found in _numbers(data[key], (*path, key))]
    if isinstance(data, list):
        return [found for key, one in enumerate(data) for found in _numbers(one, (*path, key))]
    return [path] if isinstance(data, int | float) else []


@pytest.mark.parametrize("path", _numbers(to_data(BASELINE)), ids=str)
def test_every_changed_number_is_noticed(tmp_path: Path, path: tuple[Any, ...]) -> None:
    """The digest covers the last digit of each."""
    data = to_data(BASELINE)
    place = data
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] -= 1e-6 if isinstance(place[path[-1]], float) else -1

    message = refusal_of(tmp_path, json.dumps(data))

    # A few numbers are already outside of what the schema allows.
    assert message == EDITED or ": expected at " in message


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"recorded_at": "2026', '"recorded_at": "2027', EDITED),
        ('"attempts": 1', '"attempts": 2', EDITED),
        ("-1.25", "-1", EDITED),
        ("-1.0,", "1.0,", "draws[1].logprobs[0]: expected at most 0, found 1.0"),
        ("-1.0,", "NaN,", "expected JSON, found NaN, which is not a number in JSON"),
        ("-1.0,", "-Infinity,", "expected JSON, found -Infinity, which is not a number in JSON"),
        ("-1.0,", "-1e999,", "draws[1].logprobs[0]: expected a finite number, found -inf"),
        ("-1.0,", "null,", "draws[1].logprobs[0]: expected a finite number, found null"),
        (
            '"id": "base--fox"',
            '"id": "base/fox"',
            (
                "id: expected the names of a policy and of an item with two dashes between them, "
                "found 'base/fox'"
            ),
        ),
        (
            '"3 🍂"',
            '"🍂"',
            (
                "response_tokens[1]: expected a token id or a dash, a space and the text of the "
                "token, found '🍂'"
            ),
        ),
        (
            "baseline/v1",
            "baseline/v2",
            "schema: expected 'repro-gate/baseline/v1', found 'repro-gate/baseline/v2'",
        ),
        (
            '  "draws": [\n    {',
            '<<<<<<< HEAD\n  "draws": [\n    {',
            "line 48: expected a file without conflict markers, found a conflict marker",
        ),
    ],
)
def test_an_invalid_baseline_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    """Merge conflicts and typos are reported."""
    assert old in TEXT

    assert refusal_of(tmp_path, TEXT.replace(old, new, 1)).startswith(message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"calls": []}, "expected a consistent baseline, found 0 calls for 3 draws"),
        (
            {"response_tokens": ["2 a"]},
            (
                "expected a consistent baseline, found 'draws[0]' has 2 log-probabilities for 1 "
                "tokens"
            ),
        ),
        (
            {"source": "elsewhere"},
            "source: expected 'test-provider', found 'elsewhere'",
        ),
        (
            {"id": "base--ox", "definition": {**CELL.definition, "item": "ox"}},
            "id: expected the cell base--fox, found the cell base--ox",
        ),
        (
            {"id": "base--ox"},
            (
                "expected a consistent baseline, found 'id' is base--ox, and 'definition' is that "
                "of base--fox"
            ),
        ),
    ],
)
def test_a_baseline_with_a_new_digest_is_still_checked(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    """Its content must be consistent."""
    assert refusal_of(tmp_path, redigested(**changes)) == message


def test_a_renamed_baseline_is_refused(tmp_path: Path) -> None:
    """Copying a file or folder does not make baselines for another cell or source."""
    assert refusal_of(tmp_path, TEXT, cell_id="base--ox") == (
        "id: expected the cell base--ox, found the cell base--fox"
    )
    assert refusal_of(tmp_path, TEXT, source="elsewhere") == (
        "source: expected 'elsewhere', found 'test-provider'"
    )


@pytest.mark.parametrize("part", list(to_data(BASELINE)))
def test_a_baseline_without_a_key_is_refused(tmp_path: Path, part: str) -> None:
    """Every key is required."""
    data = to_data(BASELINE)
    del data[part]

    assert refusal_of(tmp_path, json.dumps(data)) == f"expected the key '{part}', found none"


@pytest.mark.parametrize("size", [0, 1, 100, len(TEXT) - 3])
def test_a_truncated_baseline_is_refused(tmp_path: Path, size: int) -> None:
    """At whatever position it ends."""
    message = refusal_of(tmp_path, TEXT[:size])
    assert message.startswith(("expected a JSON file, found an empty file", "line "))


@pytest.mark.parametrize(
    "rewritten",
    [json.dumps, lambda data: json.dumps(data, indent=8)],
    ids=["one line", "indented"],
)
def test_the_layout_of_a_baseline_does_not_matter(
    tmp_path: Path, rewritten: Callable[[object], str]
) -> None:
    """Tools that format JSON do not invalidate it."""
    store = BaselineFiles(tmp_path)
    store.write(BASELINE)
    before = store.read(SOURCE, CELL.id)

    store.file(SOURCE, CELL.id).write_text(rewritten(json.loads(TEXT)), "utf-8")

    assert store.read(SOURCE, CELL.id) == before


def test_baselines_are_separated_by_source(tmp_path: Path) -> None:
    """Baselines of other providers are not visible."""
    store = BaselineFiles(tmp_path)
    store.write(BASELINE)
    store.write(baseline_of(CELL, [(-1.0,)], source="other"))

    assert store.sources() == {SOURCE, "other"}
    assert list(map(store.recorded, ("other", "none"))) == [{CELL.id}, set()]
    store.remove("other", CELL.id)
    assert list(map(store.recorded, ("other", SOURCE))) == [set(), {CELL.id}]


def test_other_files_are_not_baselines(tmp_path: Path) -> None:
    """Hidden and temporary files, and those of other types, are ignored."""
    (tmp_path / SOURCE).mkdir()
    for name in (".a.json", ".x.json.k3j2.tmp", "README.md"):
        (tmp_path / SOURCE / name).touch()

    store = BaselineFiles(tmp_path)
    assert (store.sources(), store.recorded(SOURCE)) == (frozenset(), frozenset())


def test_a_baseline_too_large_to_read_is_not_written(tmp_path: Path) -> None:
    """The old one stays, and the message says what to lower."""
    store = BaselineFiles(tmp_path)
    store.write(BASELINE)
    tokens = 90_000
    response = (Piece(2, b"a"),) * tokens
    large = baseline_of(
        CELL,
        [(-1.5,) * tokens, (-1.0,) * tokens, (-1.5,) * tokens],
        encoding=Encoding(prompt=(Piece(1, b"Say"),), response=response),
        facts=(DrawFacts(at=NOW, model=MODEL),) * 3,
    )

    with pytest.raises(InputInvalid) as caught:
        store.write(large)

    assert str(caught.value) == (
        f"{store.file(SOURCE, CELL.id)}: expected at most 250000 values; lower calibration_draws "
        "of the suite, or shorten the prompt or response, found more of them"
    )
    assert store.file(SOURCE, CELL.id).read_text("utf-8") == TEXT


def test_a_baseline_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """A file in place of the folder is an `OSError` for the caller."""
    (tmp_path / SOURCE).touch()

    with pytest.raises(OSError, match="File exists"):
        BaselineFiles(tmp_path).write(BASELINE)


PINS_TEXT = """{
  "schema": "repro-gate/models/v1",
  "sha256": {
    "phi": "0B",
    "qwen": "0A"
  }
}
""".replace("0A", "0a" * 32).replace("0B", "0b" * 32)


def test_without_a_file_nothing_is_pinned(tmp_path: Path) -> None:
    """A new repository has none."""
    assert ModelPinsFile(tmp_path / "models.json").pinned() == {}


def test_the_first_pin_creates_the_file(tmp_path: Path) -> None:
    """And its folder; the lines are sorted."""
    file = tmp_path / "snapshots" / "models.json"

    ModelPinsFile(file).pin({"qwen": "0a" * 32, "phi": "0b" * 32})

    assert file.read_text("utf-8") == PINS_TEXT
    assert ModelPinsFile(file).pinned() == {"phi": "0b" * 32, "qwen": "0a" * 32}


def test_pins_of_other_models_stay(tmp_path: Path) -> None:
    """Only the named models are changed."""
    pins = ModelPinsFile(tmp_path / "models.json")
    pins.pin({"qwen": "0a" * 32, "gemma": "0d" * 32})

    pins.pin({"qwen": "0c" * 32, "phi": "0b" * 32})

    expected = {"gemma": "0d" * 32, "phi": "0b" * 32, "qwen": "0c" * 32}
    assert pins.pinned() == expected


@pytest.mark.parametrize("digest", ["", "x", "0A" * 32, "0a" * 31, "0a" * 32 + "\n"])
def test_an_invalid_digest_is_not_pinned(tmp_path: Path, digest: str) -> None:
    """It may come from a downloaded report, and would break later commands."""
    pins = ModelPinsFile(tmp_path / "models.json")
    pins.pin({"qwen": "0a" * 32})

    with pytest.raises(InputInvalid, match=r"models\.json: sha256\.phi: expected a SHA-256"):
        pins.pin({"phi": digest})

    assert pins.pinned() == {"qwen": "0a" * 32}


def test_an_invalid_file_is_refused_and_not_overwritten(tmp_path: Path) -> None:
    """Such as one with a merge conflict."""
    file = tmp_path / "models.json"
    file.write_text("<<<<<<< HEAD\n", "utf-8")

    for use in (ModelPinsFile(file).pinned, lambda: ModelPinsFile(file).pin({"a": "0a" * 32})):
        with pytest.raises(
            InputInvalid,
            match="line 1: expected a file without conflict markers, found a conflict marker",
        ):
            use()

    assert file.read_text("utf-8") == "<<<<<<< HEAD\n"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("models/v1", "models/v2", "schema: expected 'repro-gate/models/v1'"),
        ("0a" * 32, "0a", r"sha256\.qwen: expected a SHA-256"),
        ('"phi"', '"qwen"', "the key 'qwen' twice in one object"),
    ],
)
def test_invalid_pins_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    """They would let any file through."""
    file = tmp_path / "models.json"
    file.write_text(PINS_TEXT.replace(old, new), "utf-8")

    with pytest.raises(InputInvalid, match=message):
        ModelPinsFile(file).pinned()
