"""Updates that meet each other, a kill, a full disk or another model."""

import json
import time
from hashlib import sha256
from typing import Any

from tests.cli.workspaces import Workspace, contents_of, ended

_OTHER: dict[str, Any] = {"method": "generate", "prompt": "Say fox", "seed": 1, "sleep": 600}


def test_a_second_update_at_once_is_told(recorded: Workspace) -> None:
    """Two updates would undo each other, so the second one ends at once and says why."""
    recorded.write_script(_OTHER)
    first = recorded.start("update-snapshots", "--yes")
    recorded.wait_until_asked("Say fox")

    second = recorded.record()
    first.terminate()

    said = "repro-gate: another update of snapshots is at work\n"
    assert (second.code, second.out, second.err) == (4, "", said)
    assert ended(first).code == 130


def test_a_kill_leaves_every_golden_old_or_new(workspace: Workspace) -> None:
    """An update that is killed while it writes tears no golden, and locks no other out."""
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


def test_what_a_killed_update_left_is_swept(recorded: Workspace) -> None:
    """The half of a file that nobody will finish is gone after the next update."""
    left = recorded.golden("x").with_name(".tiny--fox--seed1.json.abc.tmp")
    left.touch()

    recorded.record()

    assert not left.exists()


def test_goldens_that_cannot_be_written_are_4(workspace: Workspace) -> None:
    """A file where a folder should be is told by its place, and is no crash."""
    workspace.snapshots.mkdir()
    (workspace.snapshots / "goldens").touch()

    ran = workspace.record()

    assert ran.code == 4
    assert ran.err.endswith("repro-gate: snapshots/goldens/test-cpu: Not a directory\n")


def test_a_cache_that_cannot_be_written_is_4(recorded: Workspace) -> None:
    """Without a place for the lock nothing is updated, and the place is named."""
    (recorded.folder / "file").touch()

    ran = recorded.run("update-snapshots", "--yes", REPRO_GATE_CACHE="file/cache")

    assert (ran.code, ran.err) == (4, "repro-gate: file/cache/locks: Not a directory\n")


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
    """Without --repin another file is not accepted, and the message leads to it."""
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
    assert (ran.code, "1 tokens; 3 unchanged, 0 refused\n" in ran.out) == (0, True)
    pins = json.loads((recorded.snapshots / "models.json").read_text("utf-8"))
    assert pins["sha256"] == {"tiny": digests[1]}
    assert recorded.run("check", "--suite", "slow").code == 0


def test_a_new_file_that_cannot_be_recorded_is_not_pinned(recorded: Workspace) -> None:
    """A pin without goldens would only hide that the goldens are of another file."""
    before = contents_of(recorded.snapshots)
    (recorded.folder / "tiny.gguf").write_bytes(b"other weights")
    recorded.write_script({"method": "generate", "refuse": {"kind": "internal", "message": "no"}})

    ran = recorded.record("--repin", "tiny")

    assert (ran.code, contents_of(recorded.snapshots)) == (4, before)


def test_a_digest_in_the_matrix_is_changed_there(recorded: Workspace) -> None:
    """The remedy has the new digest and its place, and --repin refuses to work around it."""
    old, new = (sha256(data).hexdigest() for data in (b"weights", b"other weights"))
    model = {"engine": "scripted", "source": "tiny.gguf", "sha256": old}
    recorded.write_matrix(models={"tiny": model})
    (recorded.folder / "tiny.gguf").write_bytes(b"other weights")

    checked, repinned = recorded.run("check"), recorded.record("--repin", "tiny")

    assert f"set the sha256 of models.tiny in the matrix to {new}, then repro-gate" in checked.out
    assert (checked.code, repinned.code) == (4, 2)
    assert "change the sha256 of models.tiny there" in repinned.err


def test_a_model_that_is_not_there_is_not_repinned(recorded: Workspace) -> None:
    """A typo is a usage error that names the models there are."""
    ran = recorded.record("--repin", "tinny")

    assert (ran.code, ran.err) == (
        2,
        "repro-gate: there is no model 'tinny' in the matrix; it has: tiny\n",
    )


def test_broken_pins_are_3(recorded: Workspace) -> None:
    """A pin that is no digest is told by its place before anything is loaded."""
    (recorded.snapshots / "models.json").write_text(
        '{"schema": "repro-gate/models/v1", "sha256": {"tiny": "abc"}}', "utf-8"
    )

    ran = recorded.run("check")

    assert (ran.code, recorded.asked("load")) == (3, [])
    assert "snapshots/models.json: sha256.tiny: expected a SHA-256" in ran.err
