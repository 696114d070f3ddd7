"""Summaries and outputs, read back as the runner reads them."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.adapters.github.files import MAX_SUMMARY_BYTES, append_summary, write_outputs
from repro_gate.errors import PublishFailed


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the file that the runner reads."""
    return tmp_path / "file"


def outputs_of(data: bytes) -> dict[str, str]:
    """Return the outputs in a file as a runner reads them."""
    outputs: dict[str, str] = {}
    lines = re.findall(r"([^\n]*)(\n|\Z)", data.decode("utf-8"))
    while lines and lines[0] != ("", ""):
        head, _ = lines.pop(0)
        name, separator, delimiter = head.partition("<<")
        assert all((name, separator, delimiter)), head
        value = ""
        while lines[0][0] != delimiter:
            line, end = lines.pop(0)
            assert end, "the value has no end"
            value += line + end
        assert lines.pop(0)[1] == "\n", "the last line has no end"
        outputs[name] = value.removesuffix("\n")
    return outputs


def test_a_summary_is_appended(file: Path) -> None:
    """It starts on its own line and ends with a line break."""
    file.write_text("before")

    append_summary(file, "# One")
    append_summary(file, "two\n")

    assert file.read_text() == "before\n# One\ntwo\n"


def test_a_summary_starts_a_new_file(file: Path) -> None:
    """Nothing comes before it."""
    append_summary(file, "# One")

    assert file.read_text() == "# One\n"


def test_a_summary_may_have_the_maximum_size(file: Path) -> None:
    """To the last byte, in UTF-8, together with the existing text."""
    file.write_text("ab\n")
    rest = MAX_SUMMARY_BYTES - 4

    append_summary(file, "ä" * (rest // 2))

    assert file.stat().st_size == MAX_SUMMARY_BYTES


def test_a_summary_above_the_maximum_is_not_written(file: Path) -> None:
    """With one byte more the runner would show nothing, not even the existing text."""
    file.write_text("ab\n")
    rest = MAX_SUMMARY_BYTES - 4

    with pytest.raises(PublishFailed, match="would have 1048577 bytes"):
        append_summary(file, "x" * (rest + 1))

    assert file.read_text() == "ab\n"


def test_unwritable_files_are_reported(tmp_path: Path) -> None:
    """Such as a folder."""
    with pytest.raises(PublishFailed, match="the job summary cannot be written"):
        append_summary(tmp_path, "x")
    with pytest.raises(PublishFailed, match="the outputs cannot be written"):
        write_outputs(tmp_path, {"a": "b"})


@pytest.mark.parametrize(
    ("name", "found"), [("pipe", "a named pipe"), ("full", "a character device")]
)
def test_a_pipe_or_device_is_rejected_at_once(tmp_path: Path, name: str, found: str) -> None:
    """A write could block for ever."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "full").symlink_to("/dev/full")
    file = tmp_path / name

    with pytest.raises(PublishFailed) as summary:
        append_summary(file, "x")
    with pytest.raises(PublishFailed) as outputs:
        write_outputs(file, {"a": "b"})

    what = f"cannot be written: {file}: expected a regular file, found {found}"
    assert (summary.value.reason, outputs.value.reason) == (
        f"the job summary {what}",
        f"the outputs {what}",
    )


def test_outputs_are_appended(file: Path) -> None:
    """In their order, each with its own delimiter."""
    write_outputs(file, {"outcome": "failed", "exit-code": "10"})
    write_outputs(file, {"counts": '{"drift": 1}'})

    written = file.read_text()
    assert outputs_of(written.encode()) == {
        "outcome": "failed",
        "exit-code": "10",
        "counts": '{"drift": 1}',
    }
    assert len(set(re.findall(r"ghadelimiter_[0-9a-f-]{36}$", written, re.MULTILINE))) == 3


@given(st.dictionaries(st.from_regex(r"[a-z][a-z_-]{0,9}", fullmatch=True), st.text(), max_size=3))
def test_any_text_comes_back(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, str]
) -> None:
    """Line breaks of every kind, equal signs and other delimiters end nothing."""
    file = tmp_path_factory.mktemp("outputs") / "file"

    write_outputs(file, values)

    assert outputs_of(file.read_bytes()) == values


@pytest.mark.parametrize(
    "value", ["a\nghadelimiter_1\nb", "a\r\nEOF\r\nname<<EOF\r\n", "a\rb", "\n"]
)
def test_a_value_cannot_end_itself(file: Path, value: str) -> None:
    """A delimiter-like line in it is text."""
    write_outputs(file, {"one": value, "two": "2"})

    assert outputs_of(file.read_bytes()) == {"one": value, "two": "2"}


def test_a_lone_surrogate_is_escaped(file: Path) -> None:
    """It cannot be encoded as UTF-8."""
    write_outputs(file, {"one": "\ud800"})

    assert outputs_of(file.read_bytes()) == {"one": "\\ud800"}


def test_a_delimiter_in_a_value_is_refused(file: Path) -> None:
    """It cannot be guessed; if it were, nothing would be written."""
    with pytest.raises(PublishFailed, match="the output two contains its own delimiter"):
        write_outputs(file, {"one": "1", "two": "a\nEND\nb"}, new_delimiter=lambda: "END")

    assert not file.exists()


@pytest.mark.parametrize("name", ["", "a b", "a=b", "a<<b", "a\nb", "1", "ä", "-a"])
def test_an_invalid_output_name_is_refused(file: Path, name: str) -> None:
    """It is a programming error: names are never untrusted."""
    with pytest.raises(ValueError, match="an output has letters"):
        write_outputs(file, {name: "x"})


def test_an_output_that_is_too_large_is_refused(file: Path) -> None:
    """All outputs of a job together have at most 1 MiB."""
    with pytest.raises(PublishFailed, match="the output report has more than 1048576 bytes"):
        write_outputs(file, {"report": "x" * ((1 << 20) + 1)})
