"""`lint`: every problem of the committed files at once, and no engine."""

import json
import shutil
import subprocess
import sys

from tests.cli.hosted.workspaces import PLANE, HostedWorkspace
from tests.cli.workspaces import PROFILE, Workspace

_COUNTING = """
import collections, json, sys
opened = collections.Counter()
sys.addaudithook(lambda event, given: opened.update([str(given[0])] if event == "open" else []))
from pathlib import Path
from repro_gate.cli.lint.run import run_lint
run_lint(Path(sys.argv[1]), as_json=False)
print(json.dumps(opened))
"""
FOX, HAIKU = "tiny--fox--seed1", "tiny--haiku--seed1"


def test_recorded_goldens_have_no_problem_and_need_no_engine(recorded: Workspace) -> None:
    """Nothing is measured: no engine starts."""
    ran = recorded.run("lint")

    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "repro-gate.toml and 4 snapshots: no problem\n"
    assert recorded.asked("start") == []


def test_all_problems_are_found_at_once(recorded: Workspace) -> None:
    """One that makes a file invalid gives the exit code of an invalid file."""
    recorded.golden(FOX).write_text("<<<<<<< ours\n", "utf-8")
    recorded.golden(HAIKU).rename(recorded.golden("tiny--tanka--seed1"))
    (recorded.snapshots / "models.json").write_text("{}", "utf-8")

    ran = recorded.run("lint")

    folder = f"snapshots/goldens/{PROFILE}"
    assert (ran.code, ran.err) == (3, "")
    assert [line.partition(": expected ")[0] for line in ran.out.splitlines()] == [
        f"invalid: {folder}/{FOX}.json: line 1",
        f"invalid: {folder}/tiny--tanka--seed1.json: cell",
        "invalid: snapshots/models.json",
        f"orphaned: {folder}/tiny--tanka--seed1.json",
        "  try: remove the file, or undo the change of the matrix",
        "unrecorded: repro-gate.toml: suites.quick",
        f"  try: repro-gate update-snapshots --suite quick, on {PROFILE}",
        "repro-gate.toml and 4 snapshots: 3 invalid, 1 orphaned, 1 unrecorded",
    ]


def test_a_file_in_the_place_of_the_snapshots_is_named(recorded: Workspace) -> None:
    """Nothing could be recorded there."""
    shutil.rmtree(recorded.snapshots)
    recorded.snapshots.touch()

    ran = recorded.run("lint")

    assert (ran.code, ran.err) == (10, "")
    assert ran.out.startswith("unexpected: snapshots: expected a snapshot, ")


def test_a_finding_gives_10(recorded: Workspace) -> None:
    """A check would find the same: the goldens are of another definition."""
    recorded.write_matrix(seeds=(1, 2, 3))

    ran = recorded.run("lint")

    assert (ran.code, recorded.run("check", "--quiet").code) == (10, 10)
    assert (
        "expected a golden of each cell for test-cpu, found none of tiny--haiku--seed3" in ran.out
    )


def test_what_no_command_reads_and_every_link_is_found(recorded: Workspace) -> None:
    """Hidden files and Markdown are left alone."""
    folder, profile = recorded.snapshots, recorded.golden(FOX).parent
    for name in (".gitattributes", "README.md"):
        (folder / name).touch()
    (folder / "golden").mkdir()
    (folder / "goldens" / f"{FOX}.json").touch()
    (profile / "x.txt").touch()
    shutil.move(recorded.golden(FOX), recorded.folder / "there.json")
    recorded.golden(FOX).symlink_to(recorded.folder / "there.json")
    (folder / "watch").mkdir()
    (folder / "watch" / "x").touch()

    ran = recorded.run("lint")

    assert ran.code == 3
    assert [line.split(": ")[:2] for line in ran.out.splitlines() if "try:" not in line][:-1] == [
        ["unexpected", "snapshots/golden"],
        ["invalid", f"snapshots/goldens/{PROFILE}/{FOX}.json"],
        ["unexpected", f"snapshots/goldens/{PROFILE}/x.txt"],
        ["unexpected", f"snapshots/goldens/{FOX}.json"],
        ["unexpected", "snapshots/watch/x"],
    ]


def test_every_file_is_read_once(recorded: Workspace) -> None:
    """So the time grows with the files, and with nothing else."""
    ran = subprocess.run(
        [sys.executable, "-c", _COUNTING, str(recorded.folder / "repro-gate.toml")],
        env=recorded.environment(),
        capture_output=True,
        check=True,
        text=True,
    )

    opened = json.loads(ran.stdout.splitlines()[-1])
    goldens = {str(file): 1 for file in recorded.golden(FOX).parent.iterdir()}
    assert {name: count for name, count in opened.items() if name in goldens} == goldens


def test_an_invalid_matrix_is_a_problem(recorded: Workspace) -> None:
    """Nothing else can be said without it."""
    recorded.write_matrix(schema="repro-gate/matrix/v9")

    ran = recorded.run("lint", "--json")

    (problem,) = json.loads(ran.out)
    assert (ran.code, problem["kind"], problem["file"]) == (3, "invalid", "repro-gate.toml")
    assert problem["message"].startswith("repro-gate.toml: schema: expected ")
    assert problem["remedy"] is None


def test_a_baseline_that_was_edited_is_invalid(hosted: HostedWorkspace) -> None:
    """Its digest is of another content; no server and no key is needed."""
    file = hosted.baseline(PLANE)
    file.write_text(file.read_text("utf-8").replace('"temperature": "0.7"', '"temperature": "0.8"'))

    ran = hosted.run("lint")

    assert ran.code == 3
    assert ran.out.startswith(f"invalid: {file.relative_to(hosted.folder)}: digest: expected ")
