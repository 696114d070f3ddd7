"""Files of the user's that are wrong: the message says where, what was expected, what was found."""

import json
from pathlib import Path
from typing import Any

import pytest

from repro_gate.adapters.documents import read_json, read_toml
from repro_gate.errors import InputInvalid

GOOD = {"schema": "repro-gate/models/v1", "sha256": {"tiny": "0a" * 32}}


def refusal_of(file: Path, *, schema: str = "models-v1", **options: int) -> str:
    """Return what is said of a file that is refused, without the file's name before it."""
    read = read_toml if file.suffix == ".toml" else read_json
    with pytest.raises(InputInvalid) as caught:
        read(file, schema=schema, **options)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    return message.removeprefix(f"{file}: ")


def json_of(folder: Path, text: str) -> Path:
    """Write a text to a JSON file."""
    file = folder / "models.json"
    file.write_text(text, "utf-8")
    return file


def document_of(folder: Path, **changes: Any) -> Path:
    """Write a good document with changes to a JSON file."""
    return json_of(folder, json.dumps(GOOD | changes))


def test_a_good_document_is_read(tmp_path: Path) -> None:
    """What the schema allows comes back as it is."""
    assert read_json(document_of(tmp_path), schema="models-v1") == GOOD


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1, column 1: expected JSON, found Expecting value"),
        ('{\n  "schema": ,\n}', "line 2, column 13: expected JSON, found Expecting value"),
        ('{"a": 1', "line 1, column 8: expected JSON, found Expecting ',' delimiter"),
        ("{} {}", "line 1, column 4: expected JSON, found Extra data"),
        (
            "<<<<<<< HEAD\n{}\n=======\n{}\n>>>>>>> main\n",
            "line 1, column 1: expected JSON, found Expecting value",
        ),
        ('{"a": NaN}', "expected JSON, found NaN, which is no number in JSON"),
        ('{"a": Infinity}', "expected JSON, found Infinity, which is no number in JSON"),
        ('{"a": [-Infinity]}', "expected JSON, found -Infinity, which is no number in JSON"),
        ('{"a": 1, "b": 2, "b": 2}', "expected JSON, found the key 'b' twice in one object"),
        ('{"a": {"b": 1, "b": 2}}', "expected JSON, found the key 'b' twice in one object"),
    ],
)
def test_what_is_not_json_is_refused(tmp_path: Path, text: str, told: str) -> None:
    """The message names the line and column, or what JSON does not have."""
    assert refusal_of(json_of(tmp_path, text)) == told


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, f'{{"a": {"9" * 5000}}}'])
def test_what_would_exhaust_the_parser_is_refused(tmp_path: Path, text: str) -> None:
    """Nesting without end and numbers of thousands of digits are invalid files, not crashes."""
    assert refusal_of(json_of(tmp_path, text)).startswith("expected JSON, found ")


@pytest.mark.parametrize("text", ['{"a": {"b": %s}}', '{"sha256": %s}', '{"sha256": {"a": %s}}'])
def test_what_can_just_be_parsed_is_no_crash(tmp_path: Path, text: str) -> None:
    """Whoever looks at a value needs more of the stack than whoever parsed it."""
    for depth in range(900, 1000):
        told = refusal_of(json_of(tmp_path, text % ("[" * depth + "]" * depth)))
        assert len(told) < 500


@pytest.mark.parametrize("text", [r'{"a": "\ud800"}', r'{"\uDC00": 1}', r'["\ud83d x"]'])
def test_half_a_surrogate_pair_is_refused(tmp_path: Path, text: str) -> None:
    """It is no text, and nothing that contains it could be written again."""
    told = refusal_of(json_of(tmp_path, text))

    assert told.startswith("expected JSON, found 'utf-8' codec can't encode character '\\ud")


def test_a_whole_surrogate_pair_is_a_character(tmp_path: Path) -> None:
    """JSON in pure ASCII writes most emoji as pairs."""
    file = json_of(tmp_path, json.dumps({**GOOD, "sha256": {"\U0001f342": "0a" * 32}}))

    assert "\\ud83c\\udf42" in file.read_text("ascii")
    assert list(read_json(file, schema="models-v1")["sha256"]) == ["\U0001f342"]


@pytest.mark.parametrize("name", ["models.json", "matrix.toml"])
def test_what_is_not_utf_8_is_refused(tmp_path: Path, name: str) -> None:
    """The message names the first byte that is not."""
    file = tmp_path / name
    file.write_bytes(b'"caf\xe9"')

    assert refusal_of(file) == "byte 4: expected UTF-8, found the byte 0xe9"


@pytest.mark.parametrize("name", ["models.json", "matrix.toml"])
def test_a_file_that_is_too_large_is_refused(tmp_path: Path, name: str) -> None:
    """It is not even read to its end."""
    file = tmp_path / name
    file.write_bytes(b" " * 101)

    assert refusal_of(file, max_bytes=100) == "expected at most 100 bytes, found a larger file"


def test_a_file_of_just_the_right_size_is_read(tmp_path: Path) -> None:
    """The bound itself is allowed."""
    file = document_of(tmp_path)

    assert read_json(file, schema="models-v1", max_bytes=file.stat().st_size) == GOOD


@pytest.mark.parametrize("name", ["models.json", "matrix.toml"])
def test_a_file_that_is_not_there_is_refused(tmp_path: Path, name: str) -> None:
    """The message says so in the words of the system."""
    told = refusal_of(tmp_path / name)

    assert told == "expected a readable file, found No such file or directory"


def test_a_folder_is_refused(tmp_path: Path) -> None:
    """A folder under the name of a file is no crash."""
    (tmp_path / "models.json").mkdir()

    assert refusal_of(tmp_path / "models.json") == "expected a readable file, found Is a directory"


def test_a_file_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    """A link that leads to itself is as unreadable as a file without permission."""
    file = tmp_path / "models.json"
    file.symlink_to(file)

    told = refusal_of(file)

    assert told == "expected a readable file, found Too many levels of symbolic links"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"schema": "repro-gate/models/v2"},
            "schema: expected 'repro-gate/models/v1', found 'repro-gate/models/v2'",
        ),
        ({"sha256": []}, "sha256: expected object, found []"),
        ({"sha256": None}, "sha256: expected object, found None"),
        (
            {"sha256": {"tiny": 7}},
            "sha256.tiny: expected a SHA-256 as 64 lower-case hexadecimal digits, found 7",
        ),
        (
            {"sha256": {"tiny": "0A" * 32}},
            (
                "sha256.tiny: expected a SHA-256 as 64 lower-case hexadecimal digits, found "
                f"'{'0A' * 32}'"
            ),
        ),
        (
            {"sha265": {}},
            (
                "expected only the keys schema, sha256, found the unknown key 'sha265'; "
                "did you mean 'sha256'?"
            ),
        ),
        ({"x": 1}, "expected only the keys schema, sha256, found the unknown key 'x'"),
    ],
)
def test_what_the_schema_does_not_allow_is_refused(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    """The message names the place, the rule and the value; of a wrong key also the nearest."""
    assert refusal_of(document_of(tmp_path, **changes)) == told


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    """The first key that is missing is said to be expected."""
    told = refusal_of(json_of(tmp_path, '{"schema": "repro-gate/models/v1"}'))

    assert told == "expected the key 'sha256', found none"


@pytest.mark.parametrize("text", ["[]", "7", "null", '"text"'])
def test_a_document_of_another_kind_is_refused(tmp_path: Path, text: str) -> None:
    """The whole file is the place."""
    told = refusal_of(json_of(tmp_path, text))

    assert told == f"expected object, found {json.loads(text)!r}"


def test_a_digest_with_a_newline_after_it_is_refused(tmp_path: Path) -> None:
    """Python's `$` also matches before a last newline; the schemas do not."""
    told = refusal_of(document_of(tmp_path, sha256={"tiny": "0a" * 32 + "\n"}))

    assert told.startswith("sha256.tiny: expected a SHA-256")


def test_what_was_found_is_safe_to_print_and_bounded(tmp_path: Path) -> None:
    """Neither a key nor a value of a file can clear the screen or fill it."""
    told = refusal_of(document_of(tmp_path, sha256={"\x1b[2J": "\u202e" + "x" * 1000}))

    assert told.startswith(r"sha256.\x1b[2J: expected a SHA-256 as 64 lower-case")
    assert told.endswith("xxx...")
    assert told.isprintable()
    assert len(told) < 200


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a = ", "Invalid value (at end of document)"),
        ("a = 1\na = 2", "Cannot overwrite a value (at end of document)"),
        ("[a]\n[a]", "Cannot declare ('a',) twice (at line 2, column 3)"),
        ("a = 1\n<<<<<<< HEAD\n", "Invalid statement (at line 2, column 1)"),
    ],
)
def test_what_is_not_toml_is_refused(tmp_path: Path, text: str, told: str) -> None:
    """The message is the parser's, which names the line and column."""
    file = tmp_path / "matrix.toml"
    file.write_text(text, "utf-8")

    assert refusal_of(file) == f"expected TOML, found {told}"


@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, f"a = {'9' * 5000}"])
def test_what_would_exhaust_the_toml_parser_is_refused(tmp_path: Path, text: str) -> None:
    """Nesting without end and numbers of thousands of digits are invalid files, not crashes."""
    file = tmp_path / "matrix.toml"
    file.write_text(text, "utf-8")

    assert refusal_of(file).startswith("expected TOML, found ")
