"""The state of a model file stands for its digest only as long as no write can go unnoticed."""

import hashlib
import os
import time
from pathlib import Path
from typing import Any

import pytest

from repro_gate.engines.model_file import read_model, read_model_file
from repro_gate.engines.requests import LoadRequest
from repro_gate.model_files import FileState
from repro_gate.protocol import RequestRefused
from repro_gate.strict_json import MAX_INTEGER

_SECOND_NS = 1_000_000_000


def _changed_at(now_ns: int) -> FileState:
    return FileState(device=1, inode=1, size=1, modified_ns=0, changed_ns=now_ns)


def test_a_file_that_was_just_written_is_not_settled() -> None:
    """A second write within the same tick of the clock would leave the state as it is."""
    changed = _changed_at(_SECOND_NS + 1)
    assert not changed.is_settled(_SECOND_NS)
    assert not changed.is_settled(_SECOND_NS + 10_000_000)
    assert changed.is_settled(2 * _SECOND_NS)


def test_a_clock_of_whole_seconds_settles_later() -> None:
    """Some file systems count no parts of a second."""
    changed = _changed_at(5 * _SECOND_NS)
    assert not changed.is_settled(7 * _SECOND_NS)
    assert changed.is_settled(7 * _SECOND_NS + 1)


def test_numbers_of_64_bits_fit_in_the_protocol() -> None:
    """Some file systems have inodes above 2^63."""
    status = os.stat_result((0, 2**64 - 1, 2**64 - 2, 1, 0, 0, 5, 0, 0, 0))
    state = FileState.of(status)
    assert (state.inode, state.device) == (MAX_INTEGER, MAX_INTEGER - 1)


@pytest.mark.parametrize("replaced", [False, True], ids=["written", "replaced"])
def test_a_file_that_changes_while_it_is_loaded_is_refused(
    tmp_path: Path, *, replaced: bool
) -> None:
    """A write and a file in its place are found; new permissions are no change."""
    path, other = tmp_path / "model", tmp_path / "other"
    for one in (path, other):
        one.write_bytes(b"abc")
        os.utime(one, ns=(_SECOND_NS, _SECOND_NS))
    file = read_model_file(path, expected=None)
    path.chmod(0o600)
    file.require_unchanged()
    if replaced:
        other.replace(path)
    else:
        path.write_bytes(b"abd")
    with pytest.raises(RequestRefused, match="changed while it was being loaded"):
        file.require_unchanged()


def _load_of(path: Path, *parts: Path, **more: Any) -> LoadRequest:
    request: dict[str, Any] = {"model": "m", "path": str(path), "device": "cpu"}
    if parts:
        request["parts"] = [str(part) for part in parts]
    return LoadRequest.parse({**request, "sha256": None, "settings": {}, **more})


@pytest.fixture(name="parts")
def _parts(tmp_path: Path) -> list[Path]:
    """Return three files that were written long ago."""
    parts = [tmp_path / f"m-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    for part in parts:
        part.write_bytes(part.name.encode())
        os.utime(part, ns=(_SECOND_NS, _SECOND_NS))
    return parts


def test_all_parts_make_the_digest(parts: list[Path]) -> None:
    """In their order, and the size is that of all."""
    file = read_model(_load_of(parts[0], *parts))

    joined = b"".join(part.read_bytes() for part in parts)
    assert (file.sha256, file.size) == (hashlib.sha256(joined).hexdigest(), len(joined))
    assert file.files == tuple(parts)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_part_that_changes_while_it_is_loaded_is_refused(parts: list[Path], number: int) -> None:
    """Whichever it is."""
    file = read_model(_load_of(parts[0], *parts))
    other = parts[number].with_name("other")
    other.write_bytes(parts[number].read_bytes())
    other.replace(parts[number])

    with pytest.raises(RequestRefused, match=f"{parts[number]}: changed while it was being loaded"):
        file.require_unchanged()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("link", "a symbolic link; the parts of a model must be files"),
        ("pipe", "not a regular file"),
        ("folder", "not a regular file"),
        ("missing", "No such file or directory"),
    ],
)
def test_something_else_than_a_file_is_no_part(parts: list[Path], kind: str, message: str) -> None:
    """The message names the part, and a pipe does not block."""
    parts[2].rename(parts[2].with_name("moved"))
    match kind:
        case "link":
            parts[2].symlink_to("moved")
        case "pipe":
            os.mkfifo(parts[2])
        case "folder":
            parts[2].mkdir()
        case _:
            pass

    with pytest.raises(RequestRefused) as caught:
        read_model(_load_of(parts[0], *parts))

    assert caught.value.message == f"{parts[2]}: {message}"


def test_parts_in_their_known_states_are_not_read_again(parts: list[Path]) -> None:
    """Any other state, and any other number of them, leads to the real digest."""
    time.sleep(0.05)
    file = read_model(_load_of(parts[0], *parts))
    states = file.state_to_wire()["file"]
    wrong = {"sha256": "0" * 64}

    known = read_model(_load_of(parts[0], *parts, file=states, **wrong))
    assert (known.sha256, known.states) == ("0" * 64, file.states)
    for other in ([*states[:2], states[2] | {"inode": 1}], states[:2], states[0]):
        with pytest.raises(RequestRefused, match=f"expected sha256 0.*, found {file.sha256}"):
            read_model(_load_of(parts[0], *parts, file=other, **wrong))


def test_a_folder_is_refused_by_an_engine_that_takes_files(tmp_path: Path) -> None:
    """An engine that loads folders asks for them."""
    (tmp_path / "config.json").write_bytes(b"{}")

    with pytest.raises(RequestRefused, match=f"{tmp_path}: a folder; name a model file in it"):
        read_model(_load_of(tmp_path))
    assert read_model(_load_of(tmp_path), may_be_folder=True).size == 2


def test_a_file_that_comes_while_a_folder_is_loaded_is_found(tmp_path: Path) -> None:
    """Its name alone changes the model; hidden files do not count."""
    (tmp_path / "config.json").write_bytes(b"{}")
    file = read_model(_load_of(tmp_path), may_be_folder=True)
    (tmp_path / ".lock").touch()
    file.require_unchanged()

    (tmp_path / "adapter_config.json").touch()

    with pytest.raises(RequestRefused, match="files came or went while it was being loaded"):
        file.require_unchanged()


def test_an_unusable_folder_is_an_invalid_model(tmp_path: Path) -> None:
    """The engine stays in service."""
    with pytest.raises(RequestRefused, match="expected a folder with files, found an empty one"):
        read_model(_load_of(tmp_path), may_be_folder=True)
