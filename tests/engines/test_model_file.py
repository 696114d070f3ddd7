"""The state of a model file stands for its digest only as long as no write can go unnoticed."""

import os
from pathlib import Path

import pytest

from repro_gate.engines.model_file import read_model_file
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
