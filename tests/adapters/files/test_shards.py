"""Write shards, and read them from the folders of several downloads."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from repro_gate.adapters.files.results import read_shards, write_shard
from repro_gate.errors import InputInvalid
from tests.fakes.reports import shard_report_of

FIRST, SECOND = shard_report_of(index=1), shard_report_of(index=2)


def refusal_of(*folders: Path, **options: int) -> str:
    """Return the message of the error for a shard."""
    with pytest.raises(InputInvalid) as caught:
        read_shards(folders, **options)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_shards_are_read_as_they_were_written(tmp_path: Path) -> None:
    """Each with its file, in the order of the folders."""
    one, two = tmp_path / "b", tmp_path / "a"
    write_shard(one, FIRST)
    write_shard(two, SECOND)

    assert read_shards([one, two]) == ((one / "shard.json", FIRST), (two / "shard.json", SECOND))


def test_a_folder_of_shards_is_read(tmp_path: Path) -> None:
    """In the order of their names; other files are ignored."""
    write_shard(tmp_path / "shard-2", SECOND)
    write_shard(tmp_path / "shard-1", FIRST)
    (tmp_path / "logs").mkdir()
    (tmp_path / "notes.txt").touch()

    found = read_shards([tmp_path])

    assert found == (
        (tmp_path / "shard-1" / "shard.json", FIRST),
        (tmp_path / "shard-2" / "shard.json", SECOND),
    )


def test_folders_below_a_shard_are_not_read(tmp_path: Path) -> None:
    """They are not part of the shard."""
    write_shard(tmp_path, FIRST)
    write_shard(tmp_path / "old", SECOND)

    assert read_shards([tmp_path]) == ((tmp_path / "shard.json", FIRST),)


def test_the_file_names_its_schema(tmp_path: Path) -> None:
    """It is one line of ASCII that starts with the schema."""
    write_shard(tmp_path, FIRST)

    text = (tmp_path / "shard.json").read_text("ascii")
    assert text.count("\n") == 1
    assert next(iter(json.loads(text).items())) == ("schema", "repro-gate/shard/v1")


def test_a_folder_without_a_shard_is_named(tmp_path: Path) -> None:
    """Also when another folder has one."""
    write_shard(tmp_path / "one", FIRST)
    (tmp_path / "two" / "inner" / "too-deep").mkdir(parents=True)
    write_shard(tmp_path / "two" / "inner" / "too-deep", SECOND)

    message = refusal_of(tmp_path / "one", tmp_path / "two")

    expected = "shard.json, or folders with one, as check --shard writes it"
    assert message == f"{tmp_path}/two: expected {expected}, found none"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A mistyped path is not called a file."""
    message = refusal_of(tmp_path / "x")

    assert message == f"{tmp_path}/x: expected a folder, found none"


def test_a_file_in_place_of_a_folder_is_named(tmp_path: Path) -> None:
    """The message has the reason that the system gives."""
    write_shard(tmp_path, FIRST)

    message = refusal_of(tmp_path / "shard.json")

    assert message.startswith(f"{tmp_path}/shard.json")
    assert message.endswith("found Not a directory")


def test_links_are_refused(tmp_path: Path) -> None:
    """As the given folder, as a folder in it, and as the file."""
    real = tmp_path / "real"
    write_shard(real, FIRST)
    (tmp_path / "link").symlink_to(real)
    (tmp_path / "outer").mkdir()
    (tmp_path / "outer" / "inner").symlink_to(real)
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / "shard.json").symlink_to(real / "shard.json")

    message = "expected no symbolic link, found one"
    assert refusal_of(tmp_path / "link") == f"{tmp_path}/link: {message}"
    assert refusal_of(tmp_path / "outer") == f"{tmp_path}/outer/inner: {message}"
    assert refusal_of(tmp_path / "file") == f"{tmp_path}/file/shard.json: {message}"


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    """It is not opened at all."""
    write_shard(tmp_path, FIRST)

    assert "expected at most 9 bytes, found " in refusal_of(tmp_path, max_bytes=9)


def test_an_invalid_shard_is_refused(tmp_path: Path) -> None:
    """The message names the file and the place in it."""
    write_shard(tmp_path, FIRST)
    file = tmp_path / "shard.json"
    text = file.read_text("ascii")

    file.write_text(text.replace('"index":1', '"index":3'), "ascii")
    assert refusal_of(tmp_path) == (
        f"{file}: shard.shard: expected a consistent shard, found a shard is I/N with "
        "1 <= I <= N, such as 2/8, not 3/2"
    )
    file.write_text(text.replace("repro-gate/shard/v1", "repro-gate/report/v1"), "ascii")
    assert refusal_of(tmp_path).startswith(f"{file}: schema: expected 'repro-gate/shard/v1'")


def test_an_inconsistent_shard_is_refused(tmp_path: Path) -> None:
    """The message names the file and the place in it."""
    write_shard(tmp_path, replace(FIRST, models={}))

    assert refusal_of(tmp_path) == (
        f"{tmp_path}/shard.json: shard.models: "
        f"expected tiny, which {FIRST.cells[0].cell.id} is of, found none of that name"
    )
