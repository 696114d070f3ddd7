"""The files of a commit, from its objects."""

import shutil
import subprocess
from pathlib import Path

import pytest

from repro_gate.adapters.sign_off.committed import commit_id_of, files_digest, read_checkout
from repro_gate.core.sign_off.measured import Checkout
from repro_gate.core.sign_off.statement import Kind
from repro_gate.errors import InputInvalid, MeasurementUnavailable
from tests.cli.release.releases import commit_all, git

ROOT = Path(__file__).parents[3]
PROFILE = "cpu-x86_64-avx2"
CELL = "tiny-qwen2--autumn-leaves--seed42"
ITEM = "qwen2--autumn-leaves"
PINS = '{"schema": "repro-gate/models/v1", "sha256": {}}'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository with this project's matrix, a golden and a baseline."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    snapshots = tmp_path / "snapshots"
    for kind, cell in (("goldens", CELL), ("baselines", ITEM)):
        (snapshots / kind / PROFILE).mkdir(parents=True)
        shutil.copy(
            ROOT / "snapshots" / kind / PROFILE / f"{cell}.json", snapshots / kind / PROFILE
        )
    shutil.copy(ROOT / "repro-gate.toml", tmp_path)
    git(tmp_path, "init", "--quiet")
    commit_all(tmp_path)
    return tmp_path


def checkout_in(
    folder: Path, revision: str = "HEAD", *, matrix: str = "repro-gate.toml"
) -> Checkout:
    """Return what a commit contains."""
    return read_checkout(folder, commit_id_of(folder, revision), matrix=matrix)


def test_a_commit_is_read_whole(folder: Path) -> None:
    """Matrix, goldens and baselines, with the digests that a shell can compute."""
    (folder / "snapshots" / "models.json").write_text(PINS, "utf-8")
    commit = commit_all(folder)

    found = checkout_in(folder)

    assert found.commit == commit
    assert list(found.goldens) == [(PROFILE, CELL)]
    assert list(found.baselines) == [(PROFILE, ITEM)]
    assert "embedded" in found.matrix.suites
    assert [(entry.kind, entry.name) for entry in found.entries] == [
        (Kind.MATRIX, "repro-gate.toml"),
        (Kind.GOLDENS, "snapshots/goldens"),
        (Kind.BASELINES, "snapshots/baselines"),
        (Kind.PINS, "snapshots/models.json"),
    ]
    goldens = found.entries[1]
    assert goldens.annotations == {"files": 1}
    assert goldens.digest["gitTree"] == git(folder, "rev-parse", "HEAD:snapshots/goldens")
    listed = "find . -type f | sed 's,^./,,' | LC_ALL=C sort | xargs sha256sum | sha256sum"
    shell = subprocess.run(
        ["/bin/sh", "-c", listed],
        cwd=folder / "snapshots" / "goldens",
        check=True,
        capture_output=True,
        text=True,
    )
    assert shell.stdout.split() == [goldens.sha256, "-"]


def test_the_work_tree_and_the_index_are_not_read(folder: Path) -> None:
    """Whatever they contain."""
    before = checkout_in(folder)
    shutil.rmtree(folder / "snapshots")
    (folder / "repro-gate.toml").write_text("broken", "utf-8")
    git(folder, "add", "--all")

    assert checkout_in(folder) == before


def test_it_works_from_a_folder_below(folder: Path) -> None:
    """Paths are those of the repository."""
    below = folder / "snapshots" / "goldens"

    assert checkout_in(below) == checkout_in(folder)


def test_the_matrix_may_be_in_a_folder(folder: Path) -> None:
    """Its snapshots are beside it."""
    (folder / "gate").mkdir()
    git(folder, "mv", "repro-gate.toml", "snapshots", "gate")
    commit_all(folder)

    found = checkout_in(folder, matrix="gate/repro-gate.toml")

    assert [entry.name for entry in found.entries] == [
        "gate/repro-gate.toml",
        "gate/snapshots/goldens",
        "gate/snapshots/baselines",
    ]


@pytest.mark.parametrize("kind", ["tag", "branch"])
def test_a_name_like_the_id_of_a_commit_hides_no_commit(folder: Path, kind: str) -> None:
    """Git takes the tag, and whoever may push it would choose what is verified."""
    before = git(folder, "rev-parse", "HEAD")
    (folder / "more.txt").write_text("x", "utf-8")
    commit = commit_all(folder)
    assert commit_id_of(folder, commit[:12].upper()) == commit
    git(folder, kind, commit[:12], before)

    assert commit_id_of(folder, commit) == commit
    with pytest.raises(MeasurementUnavailable, match=f"is a tag or a branch at {before}"):
        commit_id_of(folder, commit[:12])


def test_a_folder_is_no_file_of_pins(folder: Path) -> None:
    """Nor a crash."""
    (folder / "snapshots" / "models.json").mkdir()
    (folder / "snapshots" / "models.json" / "x").write_text(PINS, "utf-8")
    commit_all(folder)

    with pytest.raises(InputInvalid, match="expected a regular file, found a folder"):
        checkout_in(folder)


def test_replacements_of_objects_are_not_followed(folder: Path) -> None:
    """They would put other content behind the same commit."""
    before, commit = checkout_in(folder), git(folder, "rev-parse", "HEAD")
    shutil.rmtree(folder / "snapshots")
    git(folder, "replace", commit, commit_all(folder))

    assert checkout_in(folder, commit) == before


def test_a_commit_without_snapshots_has_no_entries_for_them(folder: Path) -> None:
    """Only that of the matrix."""
    shutil.rmtree(folder / "snapshots")
    commit_all(folder)

    found = checkout_in(folder)

    assert [entry.kind for entry in found.entries] == [Kind.MATRIX]
    assert (found.goldens, found.baselines, found.pins) == ({}, {}, {})


def test_other_files_count_and_are_not_read(folder: Path) -> None:
    """Such as one that explains the goldens; its name may be anything."""
    goldens = folder / "snapshots" / "goldens"
    (goldens / "README.md").write_text("x", "utf-8")
    (goldens / PROFILE / ".hidden.json").write_text("x", "utf-8")
    (goldens / "No Name").mkdir()
    (goldens / "No Name" / "x\\\u00e9\n.json").write_text("x", "utf-8")
    commit_all(folder)

    found = checkout_in(folder)

    assert found.entries[1].annotations == {"files": 4}
    assert list(found.goldens) == [(PROFILE, CELL)]


def test_a_link_is_no_golden(folder: Path) -> None:
    """It would lead out of what is signed."""
    (folder / "snapshots" / "goldens" / PROFILE / "x.json").symlink_to("/etc/passwd")
    commit_all(folder)

    with pytest.raises(InputInvalid, match=r"x\.json: expected regular files in the commit"):
        checkout_in(folder)


def test_a_large_file_is_refused_before_it_is_read(folder: Path) -> None:
    """By the limit of its kind."""
    (folder / "snapshots" / "goldens" / PROFILE / "x.json").write_text(" " * (9 << 20), "utf-8")
    commit_all(folder)

    with pytest.raises(InputInvalid, match="expected at most 8388608 bytes, found 9437184"):
        checkout_in(folder)


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("repro-gate.toml", "x", "repro-gate.toml: "),
        ("snapshots/models.json", "{}", "snapshots/models.json: "),
        (f"snapshots/goldens/{PROFILE}/{CELL}.json", "{}", f"snapshots/goldens/{PROFILE}/{CELL}"),
        (f"snapshots/baselines/{PROFILE}/{ITEM}.json", "{}", f"snapshots/baselines/{PROFILE}/"),
    ],
)
def test_an_invalid_file_of_the_commit_is_named(
    folder: Path, path: str, text: str, message: str
) -> None:
    """By its path in the repository."""
    (folder / path).write_text(text, "utf-8")
    commit_all(folder)

    with pytest.raises(InputInvalid) as refused:
        checkout_in(folder)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize("name", ["../other", "/x", "a/../../b"])
def test_snapshots_are_below_the_matrix(folder: Path, name: str) -> None:
    """By their name, as no file system counts."""
    file = folder / "repro-gate.toml"
    file.write_text(file.read_text("utf-8").replace('"snapshots"', f'"{name}"'), "utf-8")
    commit_all(folder)

    with pytest.raises(InputInvalid, match="snapshots: expected a relative path inside"):
        checkout_in(folder)


def test_a_commit_without_matrix_is_refused(folder: Path) -> None:
    """The message names the path."""
    with pytest.raises(InputInvalid, match=r"other\.toml: expected a regular file in the commit"):
        checkout_in(folder, matrix="other.toml")


def test_missing_objects_are_not_fetched_and_not_overlooked(folder: Path) -> None:
    """A broken clone gives no answer."""
    blob = git(folder, "rev-parse", "HEAD:repro-gate.toml")
    (folder / ".git" / "objects" / blob[:2] / blob[2:]).unlink()

    with pytest.raises(MeasurementUnavailable, match="git has no object"):
        checkout_in(folder)


def test_nothing_is_fetched(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A partial clone would ask its server for each file."""
    git(folder, "config", "uploadpack.allowFilter", "true")
    partial = tmp_path_factory.mktemp("partial")
    clone = ("clone", "--quiet", "--no-checkout", "--filter=blob:none", f"file://{folder}", "x")
    git(partial, *clone)

    with pytest.raises(MeasurementUnavailable):
        checkout_in(partial / "x")
    git(partial / "x", "checkout", "--quiet", "HEAD")
    assert checkout_in(partial / "x") == checkout_in(folder)


def test_a_repository_may_use_sha256(folder: Path) -> None:
    """Its ids have 64 digits."""
    shutil.rmtree(folder / ".git")
    git(folder, "init", "--quiet", "--object-format=sha256")
    commit = commit_all(folder)

    found = checkout_in(folder)

    assert (len(commit), found.commit) == (64, commit)
    assert len(found.entries[1].digest["gitTree"]) == 64


@pytest.mark.parametrize("revision", ["ab" * 20, "gone", "--all", "HEAD^{tree}", "x\0y", ""])
def test_only_commits_that_are_here_are_found(folder: Path, revision: str) -> None:
    """An option of git, a tree and a zero byte are none."""
    with pytest.raises(MeasurementUnavailable, match="is not in the repository at"):
        commit_id_of(folder, revision)


def test_a_tag_and_a_branch_name_their_commit(folder: Path) -> None:
    """Whole ids are the same."""
    commit = git(folder, "rev-parse", "HEAD")
    git(folder, "tag", "-a", "-m", "x", "v1")

    assert {commit_id_of(folder, name) for name in ("v1", "HEAD", commit, commit[:12])} == {commit}


def test_the_digest_of_a_folder_depends_on_names_and_content() -> None:
    """And not on the order."""
    one = {"a": b"1", "b": b"2"}

    assert files_digest(one) == files_digest(dict(reversed(one.items())))
    others = ({"a": b"2", "b": b"1"}, {"a": b"1"}, {"a": b"1", "c": b"2"})
    assert len({files_digest(each) for each in (one, *others)}) == 4


def test_the_file_of_a_prompt_is_that_of_the_commit(folder: Path) -> None:
    """What the work tree has does not count, and a file that is not committed is missing."""
    matrix = folder / "repro-gate.toml"
    text = matrix.read_text("utf-8")
    own = 'text = "Write a haiku about autumn leaves"'
    assert own in text
    matrix.write_text(text.replace(own, 'file = "leaves.txt"'), "utf-8")
    commit_all(folder)
    with pytest.raises(InputInvalid, match=r"leaves\.txt: expected a regular file in the commit"):
        checkout_in(folder)
    (folder / "leaves.txt").write_text("Leaves fall", "utf-8")
    commit_all(folder)
    (folder / "leaves.txt").write_text("Changed", "utf-8")

    texts = {cell.text for cell in checkout_in(folder).matrix.cells() if cell.prompt in CELL}

    assert "Leaves fall" in texts
