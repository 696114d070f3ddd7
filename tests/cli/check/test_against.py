"""Suites that are compared with the goldens of another profile, from the command line."""

import json
import shutil
from typing import Any

import pytest

from tests.cli.workspaces import PROFILE, Workspace, contents_of, matrix_of

ELSEWHERE = "gpu-other"
FOX = "tiny--fox--seed1"


def suites_of(workspace: Workspace) -> dict[str, Any]:
    """Return the usual suite, and the same against the goldens of this machine."""
    quick = matrix_of(workspace.engine())["suites"]["quick"]
    return {"quick": quick, "gpu": {**quick, "kind": "reference", "against": PROFILE}}


@pytest.fixture
def moved(recorded: Workspace) -> Workspace:
    """Return a workspace with goldens, whose engine is on another machine by now."""
    recorded.write_matrix(suites=suites_of(recorded))
    recorded.write_script(profile=ELSEWHERE)
    return recorded


def test_the_same_tokens_on_another_machine_match(moved: Workspace) -> None:
    """Where the other suite has no golden at all."""
    assert moved.run("check", "--suite", "gpu").code == 0
    assert moved.run("check", "--suite", "quick").code == 10


def test_a_cell_without_a_golden_there_is_inconclusive(moved: Workspace) -> None:
    """The reason names the profile."""
    moved.golden(FOX).unlink()

    ran = moved.run("check", "--suite", "gpu")

    assert ran.code == 4
    assert f"there is no golden for {PROFILE}, which its suite is against" in ran.out


def test_one_cell_has_one_verdict(moved: Workspace) -> None:
    """Two suites that judge it differently are refused together."""
    ran = moved.run("check", "--suite", "quick", "--suite", "gpu")

    assert ran.code == 2
    assert f"the suites quick and gpu judge {FOX.replace('fox', 'haiku')} differently" in ran.err


def test_an_update_records_no_goldens_for_it(moved: Workspace) -> None:
    """Alone it is refused; beside others it is left out, and named."""
    before = contents_of(moved.snapshots)
    refused = moved.record("--suite", "gpu")
    assert refused.code == 2
    assert f"the goldens of gpu (against {PROFILE}) are recorded on that profile" in refused.err
    assert contents_of(moved.snapshots) == before

    ran = moved.record("--suite", "gpu", "--suite", "quick")

    assert ran.code == 0
    assert f"left out, as their goldens are recorded elsewhere: gpu (against {PROFILE})" in ran.err
    assert moved.golden(FOX, profile=ELSEWHERE).exists()


def test_what_it_observed_is_not_accepted(moved: Workspace) -> None:
    """Not by --from either: only a suite of tokens has goldens of its machine."""
    changed = {"tokens": [[7, b" 7".hex()]]}
    moved.write_script(
        {"method": "generate", "prompt": "Say fox", "seed": 1, "result": changed},
        profile=ELSEWHERE,
    )
    assert moved.run("check", "--suite", "gpu").code != 0
    shutil.move(moved.output, moved.folder / "download")

    ran = moved.record("--from", "download")

    assert ran.code == 0
    assert "nothing to record; 0 unchanged, 0 refused" in ran.out
    assert not moved.golden(FOX, profile=ELSEWHERE).exists()


def test_the_golden_that_counts_is_explained(moved: Workspace) -> None:
    """And no command accepts a drift from it."""
    changed = {"tokens": [[7, b" 7".hex()]]}
    moved.write_script(
        {"method": "generate", "prompt": "Say fox", "seed": 1, "result": changed},
        profile=ELSEWHERE,
    )
    ran = moved.run("check", "--suite", "gpu")
    assert "update-snapshots" not in ran.out

    golden = json.loads(moved.golden(FOX).read_text("utf-8"))
    moved.golden(FOX).write_text(json.dumps(golden | {"stop": "end_of_generation"}), "utf-8")
    assert moved.run("explain", FOX).code == 0


def test_the_doctor_names_the_profile(moved: Workspace) -> None:
    """And what the suite waits for there."""
    for file in moved.snapshots.glob("goldens/*/*.json"):
        file.unlink()

    ran = moved.run("doctor", "--suite", "gpu")

    assert f"  suite gpu: 4 cells x 2 runs against {PROFILE}\n" in ran.out
    assert (
        f"    tiny waits for goldens of {PROFILE}: repro-gate update-snapshots there, with a suite "
        "of tokens\n"
    ) in ran.out


def test_the_doctor_names_the_references_of_that_profile(moved: Workspace) -> None:
    """Those that grade the suite."""
    moved.write_script(profile=ELSEWHERE, verifies=True)
    assert moved.run("record-reference", "--yes", "--suite", "gpu", "--as", "other").code == 0

    assert "\n    reference other: 4 cells\n" in moved.run("doctor", "--suite", "gpu").out
