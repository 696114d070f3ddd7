"""Concurrent updates, a kill, a full disk and another model."""

import json
import time
from hashlib import sha256
from typing import Any

import pytest

from tests.cli.workspaces import Workspace, contents_of, ended

_OTHER: dict[str, Any] = {"method": "generate", "prompt": "Say fox", "seed": 1, "sleep": 600}


def test_a_second_update_at_once_is_refused(recorded: Workspace) -> None:
    """They would undo each other, so the second one ends at once with the reason."""
    recorded.write_script(_OTHER)
    first = recorded.start("update-snapshots", "--yes")
    recorded.wait_until_asked("Say fox")

    second = recorded.record()
    first.terminate()

    message = "another update of snapshots is running"
    shown = f"repro-gate: {message}\n  try: wait until it ends, or stop it\n"
    assert (second.code, second.out, second.err) == (4, "", shown)
    assert ended(first).code == 130


def test_a_kill_leaves_every_golden_old_or_new(workspace: Workspace) -> None:
    """No golden is truncated, and no other update is locked out."""
    workspace.write_matrix(seeds=range(1, 151), runs=1)
    workspace.record()
    goldens = workspace.snapshots / "goldens"
    old = contents_of(goldens)
    changed = {"method": "generate", "result": {"prompt": [[1, "20"]]}}
    workspace.write_script(changed)

    gate = workspace.start("update-snapshots", "--yes")
    first = workspace.golden("tiny--haiku--seed1")
    while first.read_bytes() == old[f"test-cpu/{first.name}"]:
        assert gate.poll() is None
        time.sleep(0.001)
    gate.kill()
    ended(gate)

    killed = {name: data for name, data in contents_of(goldens).items() if name in old}
    kinds = {name: json.loads(data)["prompt_tokens"] == ["1  "] for name, data in killed.items()}
    assert killed.keys() == old.keys()
    assert {name for name, is_new in kinds.items() if not is_new} == {
        name for name, data in killed.items() if data == old[name]
    }
    assert any(kinds.values())
    assert workspace.record().code == 0


def test_temporary_files_of_a_killed_update_are_removed(recorded: Workspace) -> None:
    """The next update removes them."""
    left = recorded.golden("x").with_name(".repro-gate-abcd1234.tmp")
    left.touch()

    recorded.record()

    assert not left.exists()


@pytest.mark.parametrize("name", [".x.tmp", ".repro-gate-abcd1234.tmp"])
def test_a_folder_with_the_name_of_a_temporary_file_stops_no_update(
    recorded: Workspace, name: str
) -> None:
    """It is not ours, and stays."""
    (recorded.snapshots / name).mkdir()

    ran = recorded.record()

    assert (ran.code, (recorded.snapshots / name).is_dir()) == (0, True)


@pytest.mark.parametrize("command", ["update-snapshots", "record-baseline"])
@pytest.mark.parametrize("snapshots", ["..", "../elsewhere", "{outside}", "link", "inner/../.."])
def test_snapshots_outside_of_the_folder_of_the_matrix_are_3(
    recorded: Workspace, tmp_path_factory: pytest.TempPathFactory, command: str, snapshots: str
) -> None:
    """Before anything is written or removed there."""
    outside = tmp_path_factory.mktemp("outside")
    snapshots = snapshots.format(outside=outside)
    (recorded.folder / "link").symlink_to(outside)
    left = recorded.folder.parent / ".repro-gate-abcd1234.tmp"
    left.touch()
    matrix = recorded.folder / "repro-gate.toml"
    matrix.write_text(f'snapshots = "{snapshots}"\n{matrix.read_text("utf-8")}', "utf-8")

    ran = recorded.run(command, "--yes", "--prune")

    assert (ran.code, left.exists()) == (3, True)
    assert ran.err == (
        "repro-gate: repro-gate.toml: snapshots: expected a relative path inside the folder "
        f"of this file, symbolic links resolved, found '{snapshots}'\n"
    )


@pytest.mark.parametrize("link", ["goldens", "goldens/test-cpu"])
def test_goldens_behind_a_link_are_neither_written_nor_pruned(
    recorded: Workspace, tmp_path_factory: pytest.TempPathFactory, link: str
) -> None:
    """They are not ours, though they look like goldens."""
    outside = tmp_path_factory.mktemp("outside") / "moved"
    (recorded.snapshots / link).rename(outside)
    (recorded.snapshots / link).symlink_to(outside)
    orphan = next(outside.rglob("*.json")).with_name("tiny--gone--seed1.json")
    orphan.touch()
    before = contents_of(outside)

    ran = recorded.run("update-snapshots", "--yes", "--prune")

    assert (ran.code, contents_of(outside)) == (3, before)
    assert ran.err == (
        f"repro-gate: snapshots/{link}: expected a folder to write into, found a symbolic link\n"
    )


@pytest.mark.parametrize("output", [".repro-gate", "inner/out"])
def test_a_report_folder_that_is_a_link_is_3(
    recorded: Workspace, tmp_path_factory: pytest.TempPathFactory, output: str
) -> None:
    """A repository cannot choose where a check writes and removes files."""
    outside = tmp_path_factory.mktemp("outside")
    (outside / "report.json").write_text("mine", "utf-8")
    (recorded.folder / output).parent.mkdir(exist_ok=True)
    (recorded.folder / output).symlink_to(outside)

    ran = recorded.run("check", "-o", output)

    assert (ran.code, contents_of(outside)) == (3, {"report.json": b"mine"})
    assert ran.err == (
        f"repro-gate: {output}: expected a folder to write into, found a symbolic link\n"
    )


def test_temporary_files_of_a_killed_check_are_removed(recorded: Workspace) -> None:
    """The next check removes them from the report folder, and nothing else."""
    recorded.run("check")
    (recorded.output / "observed" / "test-cpu").mkdir(parents=True)
    left = [recorded.output / ".repro-gate-abcd1234.tmp"]
    left += [folder / left[0].name for folder in (recorded.output / "observed").iterdir()]
    mine = recorded.output / ".mine.tmp"
    for file in (*left, mine):
        file.touch()

    recorded.run("check")

    assert ([file for file in left if file.exists()], mine.exists()) == ([], True)


def test_goldens_that_cannot_be_written_are_4(workspace: Workspace) -> None:
    """A file in place of a folder is named, and is not a crash."""
    workspace.snapshots.mkdir()
    (workspace.snapshots / "goldens").touch()

    ran = workspace.record()

    assert ran.code == 4
    assert "repro-gate: snapshots/goldens: Not a directory\n  try: move away" in ran.err


def test_a_cache_that_cannot_be_written_is_4(recorded: Workspace) -> None:
    """Without a place for the lock nothing is updated, and the message names it."""
    (recorded.folder / "file").touch()

    ran = recorded.run("update-snapshots", "--yes", REPRO_GATE_CACHE="file/cache")

    assert ran.code == 4
    assert ran.err.startswith("repro-gate: file/cache/locks: Not a directory\n  try: move away")


def test_the_first_recording_pins_the_model(workspace: Workspace) -> None:
    """A model without a sha256 in the matrix has one in snapshots/models.json from then on."""
    out = workspace.record().out

    digest = sha256(b"weights").hexdigest()
    pins = json.loads((workspace.snapshots / "models.json").read_text("utf-8"))
    assert (pins["sha256"], f"pin        tiny sha256 {digest}\n" in out) == ({"tiny": digest}, True)


def test_another_model_file_is_inconclusive(recorded: Workspace) -> None:
    """A pinned model that has changed is not compared with goldens of the old one."""
    (recorded.folder / "tiny.gguf").write_bytes(b"other weights")

    ran = recorded.run("check")

    assert (ran.code, set(recorded.verdicts().values())) == (4, {"inconclusive"})
    assert f"{sha256(b'weights').hexdigest()} is pinned" in ran.out


def test_an_update_does_not_move_a_pin(recorded: Workspace) -> None:
    """Without --repin another file is refused, and the message names the option."""
    before = contents_of(recorded.snapshots)
    (recorded.folder / "tiny.gguf").write_bytes(b"other weights")

    ran = recorded.record()

    assert (ran.code, contents_of(recorded.snapshots)) == (4, before)
    remedy = "if the new one is intended: repro-gate update-snapshots --repin tiny\n"
    assert f"           try: restore the pinned file; {remedy}" in ran.out


def test_a_new_file_is_accepted_as_a_whole(recorded: Workspace) -> None:
    """--repin shows both digests, pins the new one and records its cells in every suite."""
    prompts = {
        name: {"text": f"Say {name}", "temperature": 0.7, "max_tokens": 4}
        for name in ("haiku", "fox")
    }
    suite = {"runs": 2, "seeds": [1], "prompts": {"tiny": ["haiku", "fox"]}}
    suites = {"quick": suite, "slow": {**suite, "seeds": [2]}}
    recorded.write_matrix(prompts_table=prompts, suites=suites)
    (recorded.folder / "tiny.gguf").write_bytes(b"other weights")
    recorded.write_script(
        {"method": "generate", "seed": 2, "prompt": "Say fox", "result": {"tokens": [[7, "20"]]}}
    )

    ran = recorded.record("--repin", "tiny")

    digests = [sha256(data).hexdigest() for data in (b"weights", b"other weights")]
    assert f"pin        tiny sha256 {digests[0]} -> {digests[1]}\n" in ran.out
    assert (ran.code, "1 updated; 3 unchanged, 0 refused\n" in ran.out) == (0, True)
    pins = json.loads((recorded.snapshots / "models.json").read_text("utf-8"))
    assert pins["sha256"] == {"tiny": digests[1]}
    assert recorded.run("check", "--suite", "slow").code == 0


def test_a_new_file_that_cannot_be_recorded_is_not_pinned(recorded: Workspace) -> None:
    """A pin without goldens would hide that the goldens belong to another file."""
    before = contents_of(recorded.snapshots)
    (recorded.folder / "tiny.gguf").write_bytes(b"other weights")
    recorded.write_script({"method": "generate", "refuse": {"kind": "internal", "message": "no"}})

    ran = recorded.record("--repin", "tiny")

    assert (ran.code, contents_of(recorded.snapshots)) == (4, before)


def test_a_digest_in_the_matrix_is_changed_there(recorded: Workspace) -> None:
    """The remedy has the new digest and its place, and --repin refuses."""
    old, new = (sha256(data).hexdigest() for data in (b"weights", b"other weights"))
    model = {"engine": "scripted", "source": "tiny.gguf", "sha256": old}
    recorded.write_matrix(models={"tiny": model})
    (recorded.folder / "tiny.gguf").write_bytes(b"other weights")

    checked, repinned = recorded.run("check"), recorded.record("--repin", "tiny")

    assert f"set the sha256 of models.tiny in the matrix to {new}, then repro-gate" in checked.out
    assert (checked.code, repinned.code) == (4, 2)
    assert "change the sha256 of models.tiny there" in repinned.err


def test_an_unknown_model_is_not_repinned(recorded: Workspace) -> None:
    """A typo is a usage error that lists the models."""
    ran = recorded.record("--repin", "tinny")

    assert (ran.code, ran.err) == (
        2,
        "repro-gate: there is no model 'tinny' in the matrix; it has: tiny\n",
    )


def test_broken_pins_are_3(recorded: Workspace) -> None:
    """An invalid digest is named by its place before any load."""
    (recorded.snapshots / "models.json").write_text(
        '{"schema": "repro-gate/models/v1", "sha256": {"tiny": "abc"}}', "utf-8"
    )

    ran = recorded.run("check")

    assert (ran.code, recorded.asked("load")) == (3, [])
    assert "snapshots/models.json: sha256.tiny: expected a SHA-256" in ran.err
