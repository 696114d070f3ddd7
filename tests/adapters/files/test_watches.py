"""Watches: files that are read as they were written, and strictly."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from repro_gate.adapters.files.watches import WatchFiles
from repro_gate.core.text import digest_of
from repro_gate.core.watch.epoch import Dismissal, Watch
from repro_gate.errors import InputInvalid
from tests.fakes.nights import epoch_of, watched_cell_of

EPOCH = epoch_of(1)
DISMISSAL = Dismissal(nights=("2026-01-09-7-1",), reason="it went back", at="2026-01-10")
WATCH = Watch(
    epoch=replace(EPOCH, cells={"base--fox": watched_cell_of("fox", answered_as="a\x1b[1m")}),
    dismissals=(DISMISSAL,),
)


def _changed(folder: Path, *place: str, value: Any, is_signed: bool = True) -> WatchFiles:
    """Return the files of the usual watch with one value replaced, and its digest renewed."""
    files = WatchFiles(folder)
    files.write(WATCH)
    document = json.loads(files.file("hosted").read_text("utf-8"))
    inner = document
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    if is_signed:
        del document["digest"]
        document["digest"] = digest_of(document)
    files.file("hosted").write_text(json.dumps(document), "utf-8")
    return files


def _refusal(files: WatchFiles) -> str:
    with pytest.raises(InputInvalid) as refused:
        files.read("hosted")
    return str(refused.value).partition("hosted.json: ")[2]


def test_a_watch_is_read_as_it_was_written(tmp_path: Path) -> None:
    """With the same digest, which names its nights; its text is safe to display."""
    files = WatchFiles(tmp_path / "watch")
    assert files.read("hosted") is None

    files.write(WATCH)

    read = files.read("hosted")
    assert read == WATCH
    assert read is not None
    assert read.epoch.digest == WATCH.epoch.digest
    assert r"a\\x1b[1m" in files.file("hosted").read_text("utf-8")


def test_the_values_of_a_generated_response_are_kept(tmp_path: Path) -> None:
    """Draws of it are compared with them."""
    cell = watched_cell_of("fox")
    generated = replace(cell.encoding, logprobs=(-0.5, -1.25, 0.0))
    watch = Watch(epoch=replace(EPOCH, cells={"base--fox": replace(cell, encoding=generated)}))

    WatchFiles(tmp_path).write(watch)

    assert WatchFiles(tmp_path).read("hosted") == watch


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("epoch", "draws"), 4, "digest: expected the digest of the content, found another one"),
        (("digest",), "0" * 64, "digest: expected the digest of the content, found another one"),
    ],
)
def test_an_edited_file_is_refused(
    tmp_path: Path, place: tuple[str, ...], value: Any, message: str
) -> None:
    """Whoever changes a watch does so by a command, with a reason."""
    assert _refusal(_changed(tmp_path, *place, value=value, is_signed=False)).startswith(message)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("schema",), "repro-gate/watch/v2", "schema: expected"),
        (("epoch", "draws"), 0, "epoch.draws: expected"),
        (("epoch", "draws"), 5.0, "epoch.draws: expected"),
        (("epoch", "rate"), 2, "epoch.rate: expected"),
        (("epoch", "cells"), {}, "epoch.cells: expected"),
        (("epoch", "more"), 1, "epoch: expected"),
        (("epoch", "suite"), "other", "epoch.suite: expected 'hosted', found 'other'"),
        (("epoch", "previous"), "x", "expected a consistent watch, found a sha256"),
        (("dismissals",), [{"nights": [], "reason": "x", "at": "y"}], "dismissals[0].nights:"),
        (
            ("epoch", "cells", "base--fox", "prompt_tokens"),
            ["1 \\q"],
            "expected a consistent watch, found a backslash",
        ),
        (
            ("epoch", "cells", "base--fox", "definition", "item"),
            "other",
            "expected a consistent watch, found 'epoch.cells.base--fox' has the definition of",
        ),
        (
            ("epoch", "cells", "base--fox", "reference", "value"),
            -1.23456789,
            "expected a consistent watch, found value must be rounded",
        ),
        (("epoch", "floor_nats"), 10**400, "expected a consistent watch, found int too"),
    ],
)
def test_an_invalid_value_is_refused(
    tmp_path: Path, place: tuple[str, ...], value: Any, message: str
) -> None:
    """The message names the place, what was expected and what was found."""
    assert _refusal(_changed(tmp_path, *place, value=value)).startswith(message)


def test_a_watch_is_not_read_or_written_through_a_link(tmp_path: Path) -> None:
    """Neither through a folder nor through a file that lead elsewhere."""
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "hosted.json").symlink_to(tmp_path / "nowhere.json")

    with pytest.raises(InputInvalid, match="a symbolic link"):
        WatchFiles(tmp_path / "link").write(WATCH)
    with pytest.raises(InputInvalid):
        WatchFiles(tmp_path).read("hosted")


def test_a_watch_of_another_size_is_refused(tmp_path: Path) -> None:
    """A file that could not be read again is not written."""
    encoding = watched_cell_of("fox").encoding
    cells = {f"base--{n}": watched_cell_of(str(n), encoding=encoding) for n in range(30_000)}

    with pytest.raises(InputInvalid, match="watch fewer cells"):
        WatchFiles(tmp_path).write(Watch(epoch=replace(EPOCH, cells=cells)))
    assert not (tmp_path / "hosted.json").exists()
