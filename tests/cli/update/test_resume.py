"""`update-snapshots --resume`: an interrupted update continues where it was."""

import json
import shlex
import signal
from typing import Any

import pytest

import repro_gate
from tests.cli.workspaces import Ran, Workspace, contents_of, ended

_LOG = ".repro-gate/runs.jsonl"
_ASLEEP: dict[str, Any] = {"method": "generate", "prompt": "Say fox", "seed": 1, "sleep": 600}
"""The third of four cells: two of them have a run then, and none is finished."""


def _stopped(workspace: Workspace, number: signal.Signals, *arguments: str) -> Ran:
    """Stop an update in its third run, and wake up the engine again."""
    workspace.write_script(_ASLEEP)
    gate = workspace.start("update-snapshots", "--yes", *arguments)
    workspace.wait_until_asked("Say fox")
    gate.send_signal(number)
    ran = ended(gate)
    workspace.write_script()
    return ran


def _generated_after(workspace: Workspace, before: int) -> list[tuple[str, int]]:
    return [(asked["prompt"], asked["seed"]) for asked in workspace.asked()[before:]]


def _goldens(workspace: Workspace) -> dict[str, bytes]:
    return contents_of(workspace.snapshots / "goldens")


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda each: each.name
)
def test_a_stopped_update_continues(
    workspace: Workspace, recorded_once: Workspace, number: signal.Signals
) -> None:
    """Also before the runs in a fresh process, and also after a kill; the goldens are the same."""
    ran = _stopped(workspace, number)
    before = len(workspace.asked())

    resumed = workspace.record("--resume")

    assert (ran.code, resumed.code) == (-9 if number is signal.SIGKILL else 130, 0)
    assert resumed.err.startswith(f"repro-gate: resuming: {_LOG} has 2 runs of 2 cells\n")
    assert len(_generated_after(workspace, before)) == 6
    assert _goldens(workspace) == _goldens(recorded_once)


def test_an_interruption_shows_the_command_that_continues(workspace: Workspace) -> None:
    """With everything that selected these cells."""
    ran = _stopped(workspace, signal.SIGINT, "--suite", "quick", "--only", "tiny--*", "--prune")

    command = "repro-gate update-snapshots --suite quick --only 'tiny--*' --prune --resume"

    assert (ran.code, ran.err.splitlines()[-2:]) == (
        130,
        [
            "repro-gate: interrupted; nothing was written",
            f"repro-gate: 2 runs kept in {_LOG}; continue with: {command}",
        ],
    )
    assert not workspace.snapshots.exists()


def test_an_update_that_is_stopped_twice_continues_twice(workspace: Workspace) -> None:
    """The second log continues the first."""
    _stopped(workspace, signal.SIGINT)
    workspace.write_script({**_ASLEEP, "seed": 2})
    gate = workspace.start("update-snapshots", "--yes", "--resume")
    while ("Say fox", 2) not in _generated_after(workspace, 0):
        assert gate.poll() is None
    gate.send_signal(signal.SIGINT)
    assert ended(gate).code == 130
    workspace.write_script()
    before = len(workspace.asked())

    assert workspace.record("--resume").code == 0
    assert len(_generated_after(workspace, before)) == 5


def test_without_resume_everything_is_measured_again(workspace: Workspace) -> None:
    """The earlier runs are gone."""
    _stopped(workspace, signal.SIGINT)
    before = len(workspace.asked())

    ran = workspace.record()

    assert (ran.code, "resuming" in ran.err) == (0, False)
    assert len(_generated_after(workspace, before)) == 8


def test_a_changed_prompt_is_measured_again(workspace: Workspace) -> None:
    """The cells of the other prompt keep their runs, and the reason is shown."""
    workspace.record()
    prompts = {
        name: {"text": text, "temperature": 0.7, "max_tokens": 4}
        for name, text in (("haiku", "Say haiku"), ("fox", "Tell fox"))
    }
    workspace.write_matrix(prompts_table=prompts)
    before = len(workspace.asked())

    ran = workspace.record("--resume")

    assert (
        "repro-gate: measured again: tiny--fox--seed1, tiny--fox--seed2: "
        "text: Say fox -> Tell fox\n" in ran.err
    )
    assert {prompt for prompt, _ in _generated_after(workspace, before)} == {"Tell fox"}


def test_a_changed_engine_is_measured_again(workspace: Workspace) -> None:
    """A run of another engine is no run of this one; the profile counts too."""
    workspace.record()
    workspace.write_script(profile="other-cpu", facts={"driver": "2.0"})
    before = len(workspace.asked())

    ran = workspace.record("--resume")

    assert (
        "repro-gate: measured again: tiny--haiku--seed1, tiny--haiku--seed2, tiny--fox--seed1 and "
        "1 more: profile: test-cpu -> other-cpu; driver: (not reported) -> 2.0\n" in ran.err
    )
    assert len(_generated_after(workspace, before)) == 8


@pytest.mark.parametrize(
    ("command", "settings", "reason"),
    [
        (["--fast"], {}, "matrix.command: COMMAND -> COMMAND --fast"),
        ([], {"threads": 2}, "matrix.settings.threads: (not reported) -> 2"),
    ],
)
def test_another_engine_with_the_same_facts_is_measured_again(
    workspace: Workspace, command: list[str], settings: dict[str, int], reason: str
) -> None:
    """A program need not show in its facts how it was started."""
    engine = workspace.engine()
    workspace.record()
    changed = {**engine, "command": engine["command"] + command, "settings": settings}
    workspace.write_matrix(engines={"scripted": changed})
    before = len(workspace.asked())

    ran = workspace.record("--resume")

    assert reason.replace("COMMAND", shlex.join(engine["command"])) in ran.err
    assert len(_generated_after(workspace, before)) == 8


def test_runs_of_another_version_are_made_again(workspace: Workspace) -> None:
    """Its engine may have drawn other tokens."""
    _stopped(workspace, signal.SIGINT)
    log = workspace.folder / _LOG
    known = f'"repro_gate":"{repro_gate.__version__}"'
    log.write_text(log.read_text("utf-8").replace(known, '"repro_gate":"0.0.1"'), "utf-8")
    before = len(workspace.asked())

    ran = workspace.record("--resume")

    assert f": repro_gate: 0.0.1 -> {repro_gate.__version__}\n" in ran.err
    assert len(_generated_after(workspace, before)) == 8


def test_a_changed_model_file_is_measured_again(workspace: Workspace) -> None:
    """Before its first recording a model is not pinned, so the log alone knows the old file."""
    _stopped(workspace, signal.SIGINT)
    (workspace.folder / "tiny.gguf").write_bytes(b"other weights")
    before = len(workspace.asked())

    ran = workspace.record("--resume")

    assert (ran.code, ": model.sha256: " in ran.err) == (0, True)
    assert len(_generated_after(workspace, before)) == 8


def test_a_log_of_other_cells_is_kept(workspace: Workspace) -> None:
    """An update of some cells in between does not measure the others, and forgets none."""
    _stopped(workspace, signal.SIGINT)
    workspace.record("--resume", "--only", "*--haiku--*")
    before = len(workspace.asked())

    assert workspace.record("--resume").code == 0
    assert _generated_after(workspace, before) == [
        ("Say fox", 1), ("Say fox", 2), ("Say fox", 2), ("Say fox", 1)
    ]  # fmt: skip


def test_resuming_without_a_log_is_an_update(workspace: Workspace) -> None:
    """The first attempt may have ended before its first run."""
    ran = workspace.record("--resume")

    assert (ran.code, "resuming" in ran.err) == (0, False)


def test_a_broken_log_is_3(workspace: Workspace) -> None:
    """It is not replaced, and the message has the line and the way out."""
    workspace.record()
    log = workspace.folder / _LOG
    broken = log.read_text("utf-8").replace('"run":2', '"run":7')
    log.write_text(broken, "utf-8")

    ran = workspace.record("--resume")

    assert (ran.code, log.read_text("utf-8")) == (3, broken)
    assert ran.err == (
        f"repro-gate: {_LOG}: line 7: run: expected the next of 2 runs, found 7; "
        "to start again, leave out --resume\n"
    )


def test_a_log_that_is_a_link_is_not_followed(workspace: Workspace) -> None:
    """Neither when it is resumed nor when it is replaced."""
    mine = workspace.folder / "mine"
    mine.write_text("mine", "utf-8")
    workspace.output.mkdir()
    (workspace.folder / _LOG).symlink_to(mine)

    resumed, replaced = workspace.record("--resume"), workspace.record()

    assert (resumed.code, replaced.code, mine.read_text("utf-8")) == (3, 0, "mine")
    assert f"{_LOG}: expected no symbolic link, found one" in resumed.err


def test_a_folder_in_place_of_the_log_is_4(workspace: Workspace) -> None:
    """Nothing is measured that could not be kept."""
    (workspace.folder / _LOG).mkdir(parents=True)

    ran = workspace.record()

    assert (ran.code, workspace.asked()) == (4, [])
    assert f"repro-gate: {_LOG}: Is a directory\n" in ran.err


def test_two_updates_of_two_matrices_do_not_share_a_log(workspace: Workspace) -> None:
    """They update other snapshots, and would write the same file."""
    matrix = workspace.folder / "repro-gate.toml"
    (workspace.folder / "other.toml").write_text(
        f'snapshots = "others"\n{matrix.read_text("utf-8")}', "utf-8"
    )
    workspace.write_script(_ASLEEP)
    first = workspace.start("update-snapshots", "--yes")
    workspace.wait_until_asked("Say fox")

    second = workspace.record("--config", "other.toml")
    first.terminate()

    assert (second.code, ended(first).code) == (4, 130)
    assert f"repro-gate: another command is writing {_LOG}\n" in second.err


def test_a_full_disk_keeps_the_runs_that_fit(workspace: Workspace) -> None:
    """The update ends with the reason and the command that continues, and continues later."""
    workspace.record()
    size = len((workspace.folder / _LOG).read_bytes())
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))"
    (workspace.folder / _LOG).unlink()
    limited = limit.replace(str(size), str(size - 10))

    ran = ended(workspace.start("update-snapshots", "--yes", after=limited))
    before = len(workspace.asked())

    assert ran.code == 4
    assert f"repro-gate: 7 runs kept in {_LOG}; continue with: " in ran.err
    assert f"repro-gate: {_LOG}: File too large\n  try: free space on the disk" in ran.err
    assert workspace.record("--resume").code == 0
    assert len(_generated_after(workspace, before)) == 1


def test_resume_and_from_exclude_each_other(recorded: Workspace) -> None:
    """The one continues a measurement, and the other has none."""
    recorded.run("check")

    ran = recorded.run("update-snapshots", "--from", ".repro-gate", "--resume")

    assert (ran.code, "--resume and --from exclude each other" in ran.err) == (2, True)


def test_each_run_is_in_the_log_as_soon_as_it_is_made(workspace: Workspace) -> None:
    """A header, the facts, the first runs of two cells, and nothing of the unfinished run."""
    _stopped(workspace, signal.SIGKILL)

    lines = [json.loads(line) for line in (workspace.folder / _LOG).read_text().splitlines()]
    assert [line.get("kind") for line in lines] == [None, "provenance", "first_run", "first_run"]
