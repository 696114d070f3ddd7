"""Names of parts, states of files, and the digest of what a model consists of."""

import hashlib
import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.adapters.files.untrusted_files import open_regular_file
from repro_gate.model_files import (
    FileState,
    ModelContent,
    UnusableFolder,
    parse_states,
    part_names,
    states_to_wire,
)
from repro_gate.strict_json import InvalidJson

_MANIFEST = (
    r"find -L . -type f -not -path '*/.*' -printf '%P\n' | LC_ALL=C sort | xargs -d '\n' sha256sum"
)
_STATE = FileState(device=1, inode=2, size=3, modified_ns=4, changed_ns=5)


def _digest(path: Path, *parts: Path) -> str:
    return ModelContent.of(path, parts).digest(open_regular_file)


def test_any_part_names_all_of_them() -> None:
    """As llama.cpp names them, the path included."""
    parts = tuple(f"a/m-0000{number}-of-00003.gguf" for number in (1, 2, 3))

    assert {part_names(part) for part in (*parts, "a/m-00009-of-00003.gguf")} == {parts}


@given(name=st.text() | st.from_regex(r"m-0000[0-9]-of-0000[0-9].(gguf|GGUF)", fullmatch=True))
def test_every_name_has_at_least_one_part(name: str) -> None:
    """Another name than that of a part stands for itself."""
    names = part_names(name)

    assert names == (name,) or (len(names) > 1 and names[0].endswith(f"-of-{len(names):05}.gguf"))


@pytest.mark.parametrize("count", [1, 2, 1000])
def test_states_are_read_as_they_are_written(count: int) -> None:
    """One is an object, several are a list."""
    data = states_to_wire([_STATE] * count)

    assert parse_states(data, "file") == (_STATE,) * count
    assert isinstance(data, dict) is (count == 1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "file: expected an object, or a list of 2 to 1000, found a list of 0"),
        ([1], "file: expected an object, or a list of 2 to 1000, found a list of 1"),
        ([1, 2], "file[0]: expected an object, found 1"),
        ({}, "file: expected the key 'device', found none"),
    ],
)
def test_invalid_states_are_refused(data: Any, message: str) -> None:
    """With their place."""
    with pytest.raises(InvalidJson) as caught:
        parse_states(data, "file")

    assert str(caught.value) == message


def test_the_digest_of_parts_is_that_of_the_joined_file(tmp_path: Path) -> None:
    """So a model of one part has the digest of its file."""
    parts = [tmp_path / name for name in "abc"]
    for part in parts:
        part.write_bytes(part.name.encode() * 5)

    content = ModelContent.of(parts[0], parts)

    assert content.size == 15
    assert _digest(*parts[:1], *parts) == hashlib.sha256(b"aaaaabbbbbccccc").hexdigest()
    assert _digest(parts[0]) == hashlib.sha256(b"aaaaa").hexdigest()


def test_the_digest_of_a_folder_can_be_computed_in_a_shell(tmp_path: Path) -> None:
    """Hidden files do not count, and paths are in the order of their bytes."""
    (tmp_path / ".cache").mkdir()
    for name in ("b", "B", "a b.json", "sub-x", "sub/é", "sub/a", ".hidden", ".cache/x", "sub/.y"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name, "utf-8")
    (tmp_path / "link").symlink_to("sub/a")
    done = subprocess.run(
        ["/bin/sh", "-c", _MANIFEST], cwd=tmp_path, check=True, capture_output=True, text=True
    )

    names = [line.split("  ", 1)[1] for line in done.stdout.splitlines()]
    assert names == ["B", "a b.json", "b", "link", "sub-x", "sub/a", "sub/é"]
    assert _digest(tmp_path) == hashlib.sha256(done.stdout.encode()).hexdigest()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("none", "{folder}: expected a folder with files, found an empty one"),
        ("out", "{folder}/out is a symbolic link that leads out of the model's folder"),
        ("around", "{folder}/around is neither a regular file nor a folder"),
        ("pipe", "{folder}/pipe is neither a regular file nor a folder"),
        ("a\nb", r"{folder} has a file with an unusable name: 'a\nb'"),
        ("a\\b", r"{folder} has a file with an unusable name: 'a\\b'"),
        ("a\udcff", r"{folder} has a file with an unusable name: 'a\udcff'"),
    ],
)
def test_an_unusable_folder_is_refused(tmp_path: Path, entry: str, message: str) -> None:
    """Nothing outside of it is read, and its manifest has one meaning."""
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "other").write_bytes(b"x")
    match entry:
        case "none":
            (folder / ".hidden").write_bytes(b"x")
        case "out":
            (folder / entry).symlink_to("../other")
        case "around":
            (folder / entry).symlink_to(".")
        case "pipe":
            os.mkfifo(folder / entry)
        case _:
            (folder / entry).write_bytes(b"x")

    with pytest.raises(UnusableFolder) as caught:
        ModelContent.of(folder)

    assert str(caught.value) == message.format(folder=folder)


def test_a_folder_may_be_deeper_than_calls_may_nest(tmp_path: Path) -> None:
    """Its only file is found."""
    deepest = tmp_path.joinpath(*["d"] * 100)
    deepest.mkdir(parents=True)
    (deepest / "model.bin").write_bytes(b"weights")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 60)
    try:
        found = ModelContent.of(tmp_path)
    finally:
        sys.setrecursionlimit(limit)

    assert found.paths == (deepest / "model.bin",)


def test_a_folder_of_too_many_folders_is_refused(tmp_path: Path) -> None:
    """Even when they are empty."""
    for number in range(10_000):
        (tmp_path / str(number)).mkdir()

    with pytest.raises(UnusableFolder, match="has more than 10000 folders"):
        ModelContent.of(tmp_path)


def test_a_folder_of_too_many_files_is_refused(tmp_path: Path) -> None:
    """Such as the home folder by mistake."""
    for number in range(101):
        folder = tmp_path / str(number)
        folder.mkdir()
        for other in range(100):
            (folder / str(other)).touch()

    with pytest.raises(UnusableFolder, match="has more than 10000 files"):
        ModelContent.of(tmp_path)
