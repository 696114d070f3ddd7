"""`repro-gate explain`."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.workspaces import PROFILE, Workspace, ended

FOX = "tiny--fox--seed1"


@pytest.fixture
def checked(drifted: Workspace, tmp_path: Path) -> Workspace:
    """Return a workspace in which the cell `FOX` has drifted."""
    return drifted.copied_to(tmp_path)


def test_a_drift_is_explained_without_an_engine(checked: Workspace) -> None:
    """With the report and the matrix alone, from the id or a pattern for it."""
    ran = checked.run("explain", FOX)

    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"drift  {FOX}\n")
    assert f"  profile  {PROFILE}\n" in ran.out
    assert max(map(len, ran.out.splitlines())) <= 100
    assert checked.run("explain", "*--fox--seed1").out == ran.out
    assert checked.asked("start") == []


def test_a_cell_without_a_finding_has_nothing_to_explain(checked: Workspace) -> None:
    """It is shown with its verdict."""
    ran = checked.run("explain", "tiny--haiku--seed1")

    assert (ran.code, ran.err) == (0, "")
    assert "match  tiny--haiku--seed1\n  2 identical runs match the golden\n" in ran.out
    assert "cause    none: there is no divergence to explain\n" in ran.out


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("tiny--owl--*", "no cell of tokens in the report matches 'tiny--owl--*'; it has: tiny--"),
        ("tiny--fox--*", "2 cells match 'tiny--fox--*': tiny--fox--seed1, tiny--fox--seed2\n"),
    ],
)
def test_a_pattern_matches_one_cell(checked: Workspace, pattern: str, message: str) -> None:
    """No more, and no less."""
    ran = checked.run("explain", pattern)

    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err


def test_a_report_is_needed(workspace: Workspace) -> None:
    """In the folder that is given."""
    ran = workspace.run("explain", FOX, "--report", "elsewhere")

    assert (ran.code, ran.out) == (3, "")
    assert "elsewhere/report.json: expected the report of a check, as repro-gate" in ran.err


def test_a_check_that_did_not_start_has_no_report(workspace: Workspace) -> None:
    """The reason is repeated."""
    workspace.output.mkdir()
    workspace.write_matrix(sampler={"top_k": -1, "top_p": 1, "min_p": 0})
    assert workspace.run("check").code == 3

    ran = workspace.run("explain", FOX)

    assert (ran.code, ran.out) == (3, "")
    assert "found a check that did not start: repro-gate.toml: sampler.top_k" in ran.err


def test_a_report_from_elsewhere_is_explained_with_the_goldens_here(checked: Workspace) -> None:
    """A golden that was accepted since is named."""
    shutil.move(checked.output, checked.folder / "downloaded")
    golden = json.loads(checked.golden(FOX).read_text("utf-8"))
    changed = golden | {"tokens": ["7  7", "8  8"], "text": " 7 8", "trace": []}
    checked.golden(FOX).write_text(json.dumps(changed), "utf-8")

    ran = checked.run("explain", FOX, "--report", "downloaded")

    assert "golden   has been updated since to what was observed\n" in ran.out
    checked.golden(FOX).unlink()
    gone = checked.run("explain", FOX, "--report", "downloaded")
    assert "golden   is no longer committed for this profile\n" in gone.out


def test_an_invalid_golden_is_refused(checked: Workspace) -> None:
    """With its file."""
    checked.golden(FOX).write_text("{}", "utf-8")

    ran = checked.run("explain", FOX)

    assert (ran.code, ran.out) == (3, "")
    assert f"snapshots/goldens/{PROFILE}/{FOX}.json" in ran.err


def test_lost_output_is_4(checked: Workspace) -> None:
    """The page is in no report."""
    with Path("/dev/full").open("wb") as full:
        ran = ended(checked.start("explain", FOX, stdout=full))

    assert ran.code == 4
    assert "the result cannot be printed" in ran.err
