"""Files are written atomically."""

import errno
import fcntl
import multiprocessing
import os
import re
import resource
import signal
import string
import tempfile
import time
from itertools import cycle
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from repro_gate.adapters.files.atomic import make_folder, sweep, write_atomically
from repro_gate.errors import InputInvalid
from tests.fakes.processes import raised_in_a_child

OLD = "old\n" * 50_000
NEW = "new\n" * 70_000
NOBODY = 65534


def names_in(folder: Path) -> list[str]:
    """Return the names of everything in a folder."""
    return sorted(file.name for file in folder.iterdir())


@pytest.mark.parametrize("before", [None, "old"])
def test_a_file_is_written_or_replaced(tmp_path: Path, before: str | None) -> None:
    """The file has the text with its newlines, and no other file is left."""
    file = tmp_path / "x.json"
    if before is not None:
        file.write_text(before, "utf-8")

    write_atomically(file, "a\nb\r\né\u2028")

    assert file.read_bytes() == "a\nb\r\né\u2028".encode()
    assert names_in(tmp_path) == ["x.json"]


def test_a_file_is_readable_by_everyone(tmp_path: Path) -> None:
    """Temporary files are private, but goldens are checked out by everyone."""
    write_atomically(tmp_path / "x.json", "x")

    assert (tmp_path / "x.json").stat().st_mode & 0o777 == 0o644


def test_files_being_written_are_not_swept(tmp_path: Path) -> None:
    """Commands may share a folder; files of a killed one are swept."""
    descriptor, _ = tempfile.mkstemp(prefix=".repro-gate-", suffix=".tmp", dir=tmp_path)
    with os.fdopen(descriptor, "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        sweep(tmp_path, trees=())
        during = names_in(tmp_path)

    sweep(tmp_path, trees=())

    assert (len(during), names_in(tmp_path)) == (1, [])


def test_writing_succeeds_during_sweeps(tmp_path: Path) -> None:
    """Every file gets its name, however often the folder is swept meanwhile."""
    writer = multiprocessing.get_context("fork").Process(
        target=write_often, args=[tmp_path / "x.json"]
    )
    writer.start()
    while writer.is_alive():
        sweep(tmp_path, trees=())
    writer.join()

    assert writer.exitcode == 0


def write_often(file: Path) -> None:
    """Replace a file a hundred times."""
    for _ in range(100):
        write_atomically(file, NEW)


def rewrite_forever(file: Path) -> None:
    """Alternate the content of a file forever."""
    for text in cycle([NEW, OLD]):
        write_atomically(file, text)


def test_a_killed_writer_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    """Readers never see a partial file, and what is left can be swept."""
    file = tmp_path / "goldens" / "x.json"
    file.parent.mkdir()
    file.write_text(OLD, "ascii")
    seen = set[str]()
    for _ in range(500):
        writer = multiprocessing.get_context("fork").Process(target=rewrite_forever, args=[file])
        writer.start()
        time.sleep(0.005 + len(names_in(file.parent)) * 0.001)
        writer.kill()
        writer.join()
        seen.add(file.read_text("ascii"))
        assert seen <= {OLD, NEW}
        # On a busy machine it takes more kills until enough came at the moment this is about.
        if seen == {OLD, NEW} and len(names_in(file.parent)) > 20:
            break

    assert seen == {OLD, NEW}
    # A part that lay on another file system could not be put into place in one step.
    assert len(names_in(file.parent)) > 1
    sweep(tmp_path, trees=("goldens",))
    assert names_in(file.parent) == ["x.json"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """The old file stays, and no partial one."""
    file = tmp_path / "x.json"
    file.write_text("old", "ascii")

    def write_with_little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        write_atomically(file, NEW)

    error = raised_in_a_child(write_with_little_room)

    assert isinstance(error, OSError)
    assert (error.errno, error.filename) == (errno.EFBIG, str(file))
    assert (names_in(tmp_path), file.read_text("ascii")) == (["x.json"], "old")


def test_a_read_only_folder_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an `OSError`, before anything is changed."""
    (tmp_path / "x.json").write_text("old", "ascii")
    tmp_path.chmod(0o555)
    # A relative path: the folders above this one are not for everyone to pass.
    monkeypatch.chdir(tmp_path)

    def write_as_nobody() -> None:
        if os.geteuid() == 0:
            os.seteuid(NOBODY)
        write_atomically(Path("x.json"), "new")

    error = raised_in_a_child(write_as_nobody)

    assert isinstance(error, PermissionError)
    assert error.filename == "x.json"
    assert (names_in(tmp_path), Path("x.json").read_text("ascii")) == (["x.json"], "old")


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    """Writing does not create folders."""
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "no" / "x.json", "x")


def test_text_that_cannot_be_encoded_leaves_no_file(tmp_path: Path) -> None:
    """An error in the middle leaves no temporary file."""
    with pytest.raises(UnicodeEncodeError):
        write_atomically(tmp_path / "x.json", "x\ud800")

    assert names_in(tmp_path) == []


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    """A link in a download must not redirect what is written."""
    (tmp_path / "target").write_text("untouched", "ascii")
    (tmp_path / "x.json").symlink_to(tmp_path / "target")

    write_atomically(tmp_path / "x.json", "new")

    assert not (tmp_path / "x.json").is_symlink()
    assert (tmp_path / "target").read_text("ascii") == "untouched"


OURS = ".repro-gate-0a_b9zyx.tmp"


def _left_by_a_killed_writer(folder: Path) -> Path:
    """Return what a writer leaves behind that is killed at some point."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = multiprocessing.get_context("fork").Process(
        target=_die_while_writing, args=[folder / "x.json"]
    )
    writer.start()
    writer.join()
    (left,) = folder.iterdir()
    return left


def _die_while_writing(file: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    write_atomically(file, "xx")


def test_files_of_killed_writers_are_swept(tmp_path: Path) -> None:
    """In the folder, in the named trees, and in their subfolders."""
    left = [_left_by_a_killed_writer(tmp_path / name) for name in ("goldens/cpu", "goldens/gpu")]
    for name in (OURS, f"goldens/{OURS}"):
        (tmp_path / name).touch()

    sweep(tmp_path, trees=("goldens", "not-there"))
    sweep(tmp_path / "no", trees=("not-there",))

    assert [file for file in left if file.exists()] == []
    assert names_in(tmp_path) == ["goldens"]
    assert names_in(tmp_path / "goldens") == ["cpu", "gpu"]


@given(
    name=st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=30)
    | st.from_regex(r"\.repro-gate-[A-Za-z0-9_.-]{6,9}\.tmp", fullmatch=True)
    | st.from_regex(r"\.[a-z.]{1,9}\.[a-z0-9_]{8}\.tmp", fullmatch=True)
)
@example(name=".x.json.abcd1234.tmp")
@example(name=".repro-gate-abcd1234.tmp.tmp")
@example(name=".repro-gate-abcd12345.tmp")
@example(name=".repro-gate-ABCD1234.tmp")
def test_other_files_are_not_swept(name: str) -> None:
    """Only files named by the writer are removed."""
    assume(name not in {".", ".."})
    is_ours = re.fullmatch(r"\.repro-gate-[a-z0-9_]{8}\.tmp", name) is not None
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / name).touch()

        sweep(folder, trees=())

        assert (folder / name).exists() is not is_ours


def test_only_the_named_folders_are_swept(tmp_path: Path) -> None:
    """Other folders, and deeper ones, are the user's."""
    others = [tmp_path / name / OURS for name in ("other", "goldens/cpu/deeper", "baselines/cpu")]
    for other in others:
        other.parent.mkdir(parents=True)
        other.touch()

    sweep(tmp_path, trees=("goldens",))

    assert [other for other in others if not other.exists()] == []


def test_a_folder_or_link_with_the_name_of_a_temporary_file_stays(tmp_path: Path) -> None:
    """Neither is ours, and neither stops the sweep."""
    (tmp_path / "file").touch()
    (tmp_path / OURS).mkdir()
    for number, target in enumerate(("file", "no", ".")):
        (tmp_path / f".repro-gate-0000000{number}.tmp").symlink_to(tmp_path / target)
    (tmp_path / ".repro-gate-abcdefgh.tmp").touch()
    before = names_in(tmp_path)

    sweep(tmp_path, trees=())

    assert names_in(tmp_path) == [name for name in before if "abcdefgh" not in name]


@pytest.mark.parametrize("link", ["goldens", "goldens/cpu"])
def test_a_tree_with_a_link_is_refused(tmp_path: Path, link: str) -> None:
    """Nothing is removed through it."""
    outside, folder = tmp_path / "outside", tmp_path / "snapshots"
    outside.mkdir()
    (outside / OURS).touch()
    (folder / link).parent.mkdir(parents=True)
    (folder / link).symlink_to(outside)

    with pytest.raises(InputInvalid) as caught:
        sweep(folder, trees=("goldens",))

    assert str(caught.value) == (
        f"{folder / link}: expected a folder to write into, found a symbolic link"
    )
    assert names_in(outside) == [OURS]


def test_a_folder_that_is_a_link_is_not_written_into(tmp_path: Path) -> None:
    """The link may lead anywhere."""
    (tmp_path / "link").symlink_to(tmp_path)

    with pytest.raises(InputInvalid, match="link: expected a folder to write into"):
        make_folder(tmp_path / "link")
