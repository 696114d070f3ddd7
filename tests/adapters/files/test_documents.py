"""Invalid files: the message has the place, what was expected and what was found."""

import json
from pathlib import Path
from typing import Any

import pytest

from repro_gate.adapters.files.documents import max_bytes_of, parse_json, read_toml
from repro_gate.adapters.files.parsing import Limits
from repro_gate.adapters.files.untrusted_files import read_regular_file
from repro_gate.errors import InputInvalid

GOOD = {"schema": "repro-gate/models/v1", "sha256": {"tiny": "0a" * 32}}


def read_json(file: Path, *, schema: str, limits: Limits | None = None) -> Any:
    """Read a JSON file as the readers of snapshots do."""
    max_bytes = limits.max_bytes if limits else max_bytes_of(schema)
    data = read_regular_file(file, max_bytes=max_bytes)
    return parse_json(data, file=file, schema=schema, limits=limits)


def refusal_of(file: Path, *, schema: str = "models-v1", **options: Limits) -> str:
    """Return the message for an invalid file, without the file name."""
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
    """Write a valid document, changed, to a JSON file."""
    return json_of(folder, json.dumps(GOOD | changes))


def test_a_valid_document_is_read(tmp_path: Path) -> None:
    """It is returned unchanged."""
    assert read_json(document_of(tmp_path), schema="models-v1") == GOOD


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{\n  "schema": ,\n}', "line 2, column 13: expected a value, found ','"),
        (
            '{"a": 1',
            (
                "line 1, column 8: expected ',' or the end of the list or object, "
                "found the end of the file"
            ),
        ),
        ("{} {}", "line 1, column 4: expected nothing after the value, found '{}'"),
        ("{a: 1}", "line 1, column 2: expected a key in double quotes, found 'a: 1}'"),
        ('{"a" 1}', "line 1, column 6: expected ':' after the key, found '1}'"),
        (
            '["a',
            "line 1, column 2: expected a string that ends with a double quote, found '\"a'",
        ),
        ('{"a": NaN}', "expected JSON, found NaN, which is not a number in JSON"),
        ('{"a": Infinity}', "expected JSON, found Infinity, which is not a number in JSON"),
        ('{"a": [-Infinity]}', "expected JSON, found -Infinity, which is not a number in JSON"),
        ('{"a": 1, "b": 2, "b": 2}', "expected JSON, found the key 'b' twice in one object"),
        ('{"a": {"b": 1, "b": 2}}', "expected JSON, found the key 'b' twice in one object"),
    ],
)
def test_invalid_json_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """The message has the line and column, or names what JSON does not allow."""
    assert refusal_of(json_of(tmp_path, text)) == message


@pytest.mark.parametrize("text", ["[" * 9_000, '{"a":' * 9_000, f'{{"a": {"9" * 5000}}}'])
def test_json_that_would_exhaust_the_parser_is_refused(tmp_path: Path, text: str) -> None:
    """Deep nesting and very long numbers are invalid, not crashes."""
    assert refusal_of(json_of(tmp_path, text)) in {
        "expected JSON, found a value that is nested too deeply",
        "expected JSON, found a number of more than 4300 digits",
    }


@pytest.mark.parametrize("text", ['{"a": {"b": %s}}', '{"sha256": %s}', '{"sha256": {"a": %s}}'])
def test_nesting_that_can_just_be_parsed_is_refused(tmp_path: Path, text: str) -> None:
    """Showing a value needs more of the stack than parsing it."""
    for depth in range(900, 1000):
        message = refusal_of(json_of(tmp_path, text % ("[" * depth + "]" * depth)))
        assert len(message) < 500


@pytest.mark.parametrize("text", [r'{"a": "\ud800"}', r'{"\uDC00": 1}', r'["\ud83d x"]'])
def test_a_lone_surrogate_is_refused(tmp_path: Path, text: str) -> None:
    """It could not be written again."""
    message = refusal_of(json_of(tmp_path, text))

    assert message == "expected JSON, found a lone surrogate, which is not a character"


def test_a_surrogate_pair_is_a_character(tmp_path: Path) -> None:
    """JSON in ASCII writes most emoji as pairs."""
    file = json_of(tmp_path, json.dumps({**GOOD, "sha256": {"\U0001f342": "0a" * 32}}))

    assert "\\ud83c\\udf42" in file.read_text("ascii")
    assert list(read_json(file, schema="models-v1")["sha256"]) == ["\U0001f342"]


@pytest.mark.parametrize("name", ["models.json", "matrix.toml"])
def test_other_encodings_are_refused(tmp_path: Path, name: str) -> None:
    """The message has the first invalid byte."""
    file = tmp_path / name
    file.write_bytes(b'"caf\xe9"')

    assert refusal_of(file) == "byte 4: expected UTF-8, found the byte 0xe9"


@pytest.mark.parametrize("name", ["models.json", "matrix.toml"])
def test_a_file_that_is_too_large_is_refused(tmp_path: Path, name: str) -> None:
    """It is not read to its end."""
    file = tmp_path / name
    file.write_bytes(b" " * 101)

    limits = Limits(max_bytes=100, max_values=100)
    assert refusal_of(file, limits=limits) == "expected at most 100 bytes, found 101"


def test_a_file_at_the_size_limit_is_read(tmp_path: Path) -> None:
    """The limit is inclusive."""
    file = document_of(tmp_path)
    limits = Limits(max_bytes=file.stat().st_size, max_values=3)

    assert read_json(file, schema="models-v1", limits=limits) == GOOD


@pytest.mark.parametrize("name", ["models.json", "matrix.toml"])
def test_a_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    """The message is that of the system."""
    message = refusal_of(tmp_path / name)

    assert message == "expected a readable file, found none"


def test_a_folder_is_refused(tmp_path: Path) -> None:
    """A folder in place of a file is not a crash."""
    (tmp_path / "models.json").mkdir()

    assert refusal_of(tmp_path / "models.json") == "expected a regular file, found a folder"


def test_a_file_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    """Such as a link to itself."""
    file = tmp_path / "models.json"
    file.symlink_to(file)

    message = refusal_of(file)

    assert message == "expected a readable file, found Too many levels of symbolic links"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"schema": "repro-gate/models/v2"},
            "schema: expected 'repro-gate/models/v1', found 'repro-gate/models/v2'",
        ),
        ({"sha256": []}, "sha256: expected an object, found []"),
        ({"sha256": None}, "sha256: expected an object, found null"),
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
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    """The message has the place, the rule and the value, and suggests a similar key."""
    assert refusal_of(document_of(tmp_path, **changes)) == message


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    """The first missing key is named."""
    message = refusal_of(json_of(tmp_path, '{"schema": "repro-gate/models/v1"}'))

    assert message == "expected the key 'sha256', found none"


@pytest.mark.parametrize("text", ["[]", "7", "null", '"text"'])
def test_a_document_of_another_type_is_refused(tmp_path: Path, text: str) -> None:
    """The place is the whole file."""
    message = refusal_of(json_of(tmp_path, text))

    found = "null" if text == "null" else repr(json.loads(text))
    assert message == f"expected an object, found {found}"


def test_a_digest_with_a_newline_after_it_is_refused(tmp_path: Path) -> None:
    """Python's `$` matches before a final newline; the schemas do not allow it."""
    message = refusal_of(document_of(tmp_path, sha256={"tiny": "0a" * 32 + "\n"}))

    assert message.startswith("sha256.tiny: expected a SHA-256")


def test_messages_are_safe_to_print_and_short(tmp_path: Path) -> None:
    """Neither a key nor a value can clear or flood the terminal."""
    message = refusal_of(document_of(tmp_path, sha256={"\x1b[2J": "\u202e" + "x" * 1000}))

    assert message.startswith(r"sha256.\x1b[2J: expected a SHA-256 as 64 lower-case")
    assert message.endswith("xxx...")
    assert message.isprintable()
    assert len(message) < 200


_TWICE = "expected each key and each table once, found a repeated one"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a = ",
            (
                "expected a value: a string in quotes, a number, true, false, a list or a table, "
                "found the end of the file"
            ),
        ),
        ("a = 1\na = 2", f"line 2: {_TWICE}"),
        ("a = 1\na = 2\nb = 3\n", f"line 2: {_TWICE}"),
        ("[a]\n[a]", f"line 2: {_TWICE}"),
        ("a = {}\n[a]\n", f"line 2: {_TWICE}"),
        ("a = { b = 1, b = 2 }", "line 1: expected each key once, found a repeated one"),
        ("a = 1 2", "line 1, column 7: expected the end of the line, found '2'"),
        ("a 1", "line 1, column 3: expected '=' after the key, found '1'"),
        (
            'a = "b\nc',
            (
                "line 1, column 7: expected a string that ends with its quotes on the same line, "
                "found the end of the line"
            ),
        ),
        (
            "a = 1\n<<<<<<< HEAD\n",
            (
                "line 2: expected a file without conflict markers, "
                "found a conflict marker of git; resolve the conflict"
            ),
        ),
    ],
)
def test_invalid_toml_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """The message has the line and column."""
    file = tmp_path / "matrix.toml"
    file.write_text(text, "utf-8")

    assert refusal_of(file) == message


@pytest.mark.parametrize("text", ["a = " + "[" * 9_000, f"a = {'9' * 5000}"])
def test_toml_that_would_exhaust_the_parser_is_refused(tmp_path: Path, text: str) -> None:
    """Deep nesting and very long numbers are invalid, not crashes."""
    file = tmp_path / "matrix.toml"
    file.write_text(text, "utf-8")

    assert refusal_of(file) in {
        "expected TOML, found a value that is nested too deeply",
        (
            "line 1: expected numbers and keys of at most 300 characters, "
            f"found a longer one, {'9' * 40}..."
        ),
    }


_LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"


@pytest.mark.parametrize("name", ["models.json", "matrix.toml"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file"),
        (b" \n" * 900, "an empty file"),
        (_LFS.encode(), "a Git LFS pointer instead of the file; run: git lfs pull"),
        (
            b"\n<!DOCTYPE html><title>Sign in</title>",
            "a web page, such as the login or error page of a download; fetch the file again",
        ),
        (b"\xef\xbb\xbf{}", "a byte order mark; save the file as UTF-8 without one"),
        ("{}".encode("utf-16"), "UTF-16; save the file as UTF-8"),
        (b"PK\x03\x04\x14", "a zip archive; unpack it"),
        (b"\x1f\x8b\x08", "a gzip archive; unpack it"),
    ],
)
def test_other_kinds_of_file_are_recognised(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    """A missing `git lfs pull` is reported as such, not as a syntax error."""
    file = tmp_path / name
    file.write_bytes(content)

    kind = "TOML" if file.suffix == ".toml" else "JSON"
    assert refusal_of(file) == f"expected a {kind} file, found {message}"


@pytest.mark.parametrize("marker", ["<<<<<<< HEAD", "=======", ">>>>>>> main", "||||||| base"])
def test_a_conflict_marker_is_reported_with_its_line(tmp_path: Path, marker: str) -> None:
    """The merge was committed unresolved."""
    message = refusal_of(json_of(tmp_path, f'{{"schema": "a",\n{marker}\n"sha256": {{}}}}'))

    assert message.startswith(
        "line 2: expected a file without conflict markers, found a conflict marker of git; "
    )


def test_a_conflict_marker_in_a_string_is_allowed(tmp_path: Path) -> None:
    """A prompt may contain one, and other errors of its file are reported."""
    file = tmp_path / "matrix.toml"
    file.write_text('a = """\n<<<<<<< HEAD\n"""\nb = ?\n', "utf-8")

    assert refusal_of(file).startswith("line 4, column 5: expected a value: ")


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ("[1, 0, 2, -1]", "seeds[1]: expected at least 1, found 0"),
        ('["a", 1, "b"]', "seeds[0]: expected an integer, found 'a'"),
        ("[3, 1, 2, 1, 3]", "seeds[3]: expected no repeated entry, found 1"),
        ("[1, true, 1.0]", "seeds[1]: expected an integer, found true"),
        (f"[{'0x' + 'f' * 290}]", "seeds[0]: expected at most 4294967294, found a very large"),
    ],
)
def test_the_first_invalid_item_of_a_list_is_named(
    tmp_path: Path, entries: str, expected: str
) -> None:
    """Users fix errors from top to bottom."""
    file = tmp_path / "matrix.toml"
    suite = f"[suites.quick]\nruns = 2\nseeds = {entries}\nprompts = {{tiny = ['a']}}\n"
    head = (
        'schema = "repro-gate/matrix/v1"\ndefault_suites = ["quick"]\n'
        'engines.e = {kind = "command", command = ["x"], settings = {}}\n'
        'models.tiny = {engine = "e", source = "x"}\n'
        "sampler = {top_k = 1, top_p = 1, min_p = 0}\n"
        'prompts.a = {text = "a", temperature = 1, max_tokens = 1}\n'
    )
    file.write_text(head + suite, "utf-8")

    message = refusal_of(file, schema="matrix-v1")

    assert message.removeprefix("suites.quick.").startswith(expected)


def test_the_first_invalid_value_of_a_table_is_named(tmp_path: Path) -> None:
    """In the order of the file."""
    message = refusal_of(document_of(tmp_path, sha256={"b": "0a" * 32, "c": 7, "a": 8, "d": 9}))

    assert message == "sha256.c: expected a SHA-256 as 64 lower-case hexadecimal digits, found 7"
