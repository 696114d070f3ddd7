"""Goldens with syrupy's fixture: `pytest` and `pytest --snapshot-update` for real."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import repro_gate
from repro_gate.adapters.files.golden_writer import SyrupyGoldens
from repro_gate.core.tokens.golden import Golden
from repro_gate.core.tokens.golden_format import to_data
from tests.fakes.values import cell_of, generation_of, golden_of

CONFTEST = """
from pathlib import Path

import pytest

from repro_gate.adapters.files.golden_writer import golden_extension


@pytest.fixture
def snapshot(snapshot):
    folder = Path(__file__).parent / "goldens" / "cpu-test"
    return snapshot.with_defaults(extension_class=golden_extension(folder))
"""
TEST = """
import json
from pathlib import Path

import pytest

OBSERVED = json.loads(Path(__file__).with_name("observed.json").read_text("utf-8"))


@pytest.mark.parametrize("cell_id", list(OBSERVED))
def test_tokens(cell_id, snapshot):
    assert OBSERVED[cell_id] == snapshot
"""
TRACED = golden_of(cell_of("haiku"), generation_of(7, 8, is_traced=True))
GOLDENS = (TRACED, golden_of(cell_of("fox")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How pytest ended, and its output."""

    code: int
    out: str


@dataclass(frozen=True, slots=True)
class Suite:
    """A folder with a test of goldens, and the goldens of several profiles."""

    folder: Path

    @property
    def goldens(self) -> SyrupyGoldens:
        """The goldens of the suite."""
        return SyrupyGoldens(self.folder / "goldens")

    def observe(self, *goldens: Golden) -> None:
        """Set what the cells of the suite generate."""
        observed = {golden.cell.id: to_data(golden) for golden in goldens}
        (self.folder / "observed.json").write_text(json.dumps(observed), "utf-8")

    def pytest(self, *options: str) -> Ran:
        """Run pytest in the folder, with no other plugin than syrupy: that is twice as fast."""
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "syrupy", *options],
            cwd=self.folder,
            env={
                **{name: os.environ[name] for name in os.environ if "PYTEST_XDIST" not in name},
                "PYTHONPATH": str(Path(repro_gate.__file__).parents[1]),
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        return Ran(code=done.returncode, out=done.stdout)

    def files(self) -> dict[str, tuple[bytes, int]]:
        """Return the content and the age of every golden."""
        folder = self.folder / "goldens"
        return {
            str(file.relative_to(folder)): (file.read_bytes(), file.stat().st_mtime_ns)
            for file in folder.rglob("*.json")
        }


@pytest.fixture(name="suite")
def _suite(tmp_path: Path) -> Suite:
    """Return a suite of two cells whose goldens match."""
    (tmp_path / "conftest.py").write_text(CONFTEST, "utf-8")
    (tmp_path / "test_tokens.py").write_text(TEST, "utf-8")
    suite = Suite(tmp_path)
    suite.observe(*GOLDENS)
    for golden in GOLDENS:
        suite.goldens.write(golden)
    return suite


def test_goldens_of_the_gate_pass(suite: Suite) -> None:
    """They are snapshots of syrupy, and pytest does not change them."""
    before = suite.files()

    ran = suite.pytest()

    assert (ran.code, suite.files()) == (0, before)
    assert "2 snapshots passed" in ran.out


def test_pytest_and_the_gate_write_the_same_bytes(suite: Suite, tmp_path: Path) -> None:
    """Either tool can update a golden."""
    written = {name: content for name, (content, _) in suite.files().items()}
    for name in written:
        (tmp_path / "goldens" / name).unlink()

    ran = suite.pytest("--snapshot-update")

    assert ran.code == 0
    assert {name: content for name, (content, _) in suite.files().items()} == written


def test_changed_tokens_fail(suite: Suite) -> None:
    """Only the changed cell fails, and its golden is unchanged."""
    before = suite.files()
    suite.observe(replace(TRACED, generation=generation_of(7, 9, is_traced=True)), GOLDENS[1])

    ran = suite.pytest()

    assert (ran.code, suite.files()) == (1, before)
    assert "1 snapshot failed. 1 snapshot passed." in ran.out


def test_a_failure_shows_the_tokens_and_not_the_evidence(suite: Suite) -> None:
    """Changed facts come first in the file, and a list of them would be all that pytest shows."""
    suite.observe(golden_of(cell_of("fox"), generation_of(1, 2), provenance={"a": "b"}))

    out = suite.pytest("-vvv").out

    # The value of the test itself is printed above its diff.
    diff = [line for line in out.splitlines() if line.startswith("E  ")]
    assert any('"text": ' in line for line in diff)
    assert not any('"a": "b"' in line for line in diff)


def test_logits_that_the_golden_lacks_fail(suite: Suite) -> None:
    """The tokens are equal, and prove less than what was observed."""
    suite.observe(golden_of(TRACED.cell, generation_of(7, 8, logits="ab")), GOLDENS[1])
    ran = suite.pytest()

    assert ran.code == 1
    assert "1 failed, 1 passed" in ran.out


def test_a_changed_definition_fails(suite: Suite) -> None:
    """The golden of another definition does not count."""
    cell = replace(TRACED.cell, max_tokens=9)
    suite.observe(replace(TRACED, cell=cell), GOLDENS[1])

    assert suite.pytest().code == 1


def test_a_missing_golden_fails(suite: Suite) -> None:
    """A cell without a golden cannot pass."""
    suite.goldens.remove(TRACED.profile, TRACED.cell.id)

    assert suite.pytest().code == 1


def test_an_update_rewrites_changed_tokens(suite: Suite) -> None:
    """The golden of the other cell is not touched."""
    before = suite.files()
    moved = replace(TRACED, generation=generation_of(7, 9, is_traced=True))
    suite.observe(moved, GOLDENS[1])

    ran = suite.pytest("--snapshot-update")

    assert ran.code == 0
    assert suite.goldens.read(moved.profile, moved.cell.id) == moved
    fox = "cpu-test/tiny--fox--seed42.json"
    assert suite.files()[fox] == before[fox]


def test_changed_evidence_and_provenance_pass(suite: Suite) -> None:
    """They are not compared, and do not cause an update."""
    before = suite.files()
    untraced = generation_of(7, 8)
    suite.observe(replace(TRACED, generation=untraced, provenance={"driver": "new"}), GOLDENS[1])

    assert suite.pytest().code == 0
    assert suite.pytest("--snapshot-update").code == 0
    assert suite.files() == before


def test_an_update_leaves_other_profiles_alone(suite: Suite) -> None:
    """Goldens of other machines and orphans are neither deleted nor reported."""
    suite.goldens.write(replace(TRACED, profile="gpu-test"))
    suite.goldens.write(golden_of(cell_of("orphan")))
    before = suite.files()

    for ran in (suite.pytest(), suite.pytest("--snapshot-update")):
        assert ran.code == 0
        assert "2 snapshots passed.\n" in ran.out
        assert "unused" not in ran.out
    assert suite.files() == before


def test_an_update_of_some_cells_keeps_the_others(suite: Suite) -> None:
    """Cells that `-k` deselects keep their goldens."""
    before = suite.files()

    assert suite.pytest("--snapshot-update", "-k", "fox").code == 0
    assert suite.files() == before


@pytest.mark.parametrize("broken", ["<<<<<<< HEAD\n{}\n", "{}", "[]"])
def test_an_invalid_golden_fails(suite: Suite, broken: str) -> None:
    """A merge conflict is a difference, not a crash."""
    file = suite.goldens.file(TRACED.profile, TRACED.cell.id)
    file.write_text(broken, "utf-8")

    ran = suite.pytest()

    assert (ran.code, file.read_text("utf-8")) == (1, broken)
    assert "1 snapshot failed. 1 snapshot passed." in ran.out


def test_an_update_replaces_an_invalid_golden(suite: Suite) -> None:
    """It need not be deleted by hand."""
    suite.goldens.file(TRACED.profile, TRACED.cell.id).write_text("<<<<<<< HEAD\n", "utf-8")

    assert suite.pytest("--snapshot-update").code == 0
    assert suite.goldens.read(TRACED.profile, TRACED.cell.id) == TRACED
