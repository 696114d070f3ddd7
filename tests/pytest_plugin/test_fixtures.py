"""The fixtures for tests of one's own, without `--repro-gate`."""

import subprocess
import sys

from tests.pytest_plugin.conftest import Project

_OWN = """
def test_observed(repro_gate):
    fox, golden = repro_gate.cell("tiny--fox--seed1"), repro_gate.golden("tiny--fox--seed1")
    assert (fox.tokens, fox.text, fox.stop) == (golden.tokens, golden.text, "length")
    assert fox.text == " 242 60 81 114"


def test_check(repro_gate):
    repro_gate.check("tiny--fox--seed1")


def test_no_such_cell(repro_gate):
    repro_gate.check("tiny--cat--seed1")


def test_golden(golden, repro_gate):
    assert repro_gate.cell("tiny--fox--seed1").data == golden("tiny--fox--seed1")
"""
_ALL = """
def test_tokens(repro_gate, repro_gate_cell, golden):
    assert repro_gate.cell(repro_gate_cell).data == golden(repro_gate_cell)
"""
_LIGHT = """
import sys, pytest
before = set(sys.modules)
import repro_gate.pytest_plugin
print(*sorted(set(sys.modules) - before))
"""


def test_a_cell_can_be_looked_at_and_checked(project: Project) -> None:
    """Its tokens and text, its golden and its verdict; a failure has the text of a check."""
    project.write("test_own.py", _OWN)
    matching = project.pytest()
    project.drift()
    drifted = project.pytest("-k", "not such")

    assert matching.last == "1 failed, 3 passed"
    assert "there is no cell 'tiny--cat--seed1' in the selected suites; the first" in matching.out
    assert drifted.last == "3 failed, 1 deselected"
    assert "\ndrift  tiny--fox--seed1\n  2 identical runs, but they diverge " in drifted.out


def test_goldens_of_another_repository_are_snapshots_of_syrupy(project: Project) -> None:
    """Without a conftest: a model is loaded once, and an update writes what drifted."""
    project.write("test_tokens.py", _ALL)
    project.drift()
    ran = project.pytest()
    starts = len(project.gate.asked("start"))
    refused = project.pytest("--snapshot-update", CI="true")
    updated = project.pytest("--snapshot-update")

    assert (ran.last, starts, updated.last) == ("1 failed, 3 passed", 1, "4 passed")
    assert "goldens are not updated in CI (CI is set)" in refused.out
    assert "1 snapshot updated" in updated.out
    assert project.gate.run("check").code == 0


def test_what_a_test_of_a_cell_has_measured_is_used(project: Project) -> None:
    """It is not measured twice in one run of pytest."""
    project.write("test_tokens.py", _ALL)
    project.pytest("--repro-gate", "repro-gate.toml")
    alone = len(project.gate.asked())
    ran = project.pytest("--repro-gate", "repro-gate.toml", "test_tokens.py")

    assert (ran.last, len(project.gate.asked())) == ("10 passed", 2 * alone)


def test_a_cell_that_proves_nothing_is_no_observation(project: Project) -> None:
    """Its model gives the same output for every prompt."""
    project.write("test_tokens.py", _ALL)
    project.gate.write_script({"method": "generate", "result": {"tokens": [[7, "37"]]}})
    ran = project.pytest("-k", "fox and seed1")

    assert ran.last == "1 failed, 3 deselected"


def test_the_plugin_imports_nothing_else() -> None:
    """It is loaded in every pytest of its environment."""
    done = subprocess.run(
        [sys.executable, "-c", _LIGHT], capture_output=True, check=True, text=True
    )
    plugin = "repro_gate.pytest_plugin"
    names = ("repro_gate", plugin, f"{plugin}.fixtures", f"{plugin}.options")
    assert done.stdout.split() == list(names)
