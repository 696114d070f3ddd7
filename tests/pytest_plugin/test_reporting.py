"""`--repro-gate-report DIR`: the reports of a check, from the tests of its cells."""

from tests.pytest_plugin.conftest import Project


def test_a_drift_is_accepted_from_the_report(project: Project) -> None:
    """Without measuring again, and only what was selected."""
    project.drift()
    ran = project.pytest("--repro-gate", "--repro-gate-report", "out", "-k", "fox")
    accepted = project.gate.run("update-snapshots", "--from", "out", "--yes")

    assert (ran.last, accepted.code) == ("1 failed, 1 passed, 4 deselected", 0)
    assert "\nfailed: 1 match, 1 drift; " in ran.out
    assert "\nreports: out\nchange by change: repro-gate review --from out\n" in ran.out
    assert "updated    test-cpu/tiny--fox--seed1: diverges at output[0]\n" in accepted.out
    assert project.pytest("--repro-gate").code == 0


def test_cells_after_the_first_finding_are_reported_as_not_measured(project: Project) -> None:
    """Never as a pass."""
    project.drift("Say haiku")
    project.pytest("--repro-gate", "--repro-gate-report", ".repro-gate", "-x")

    assert project.gate.verdicts() == {
        "tiny--haiku--seed1": "drift",
        "tiny--haiku--seed2": "inconclusive",
        "tiny--fox--seed1": "inconclusive",
        "tiny--fox--seed2": "inconclusive",
    }


def test_a_broken_golden_is_an_error(project: Project) -> None:
    """Its file and place are named, and no cell of its model is judged."""
    project.gate.golden("tiny--fox--seed1").write_text("{", "utf-8")
    ran = project.pytest("--repro-gate", "--repro-gate-report", ".repro-gate")

    assert ran.last == "1 passed, 5 errors"
    assert "tiny--fox--seed1.json: " in ran.out
    assert set(project.gate.verdicts().values()) == {"inconclusive"}


def test_a_folder_that_cannot_be_written_is_refused_at_once(project: Project) -> None:
    """Before any work."""
    project.write("out", "")
    ran = project.pytest("--repro-gate", "--repro-gate-report", "out")

    assert ran.code == 4
    assert "the reports cannot be written to " in ran.out
    assert project.gate.asked("start") == []


def test_a_report_that_cannot_be_written_in_the_end_is_no_pass(project: Project) -> None:
    """A later step would take the missing report for that of an earlier run."""
    lines = (
        "import os, shutil",
        "def test_own():",
        "    shutil.rmtree('out')",
        "    os.mknod('out')",
    )
    project.write("test_own.py", "\n".join(lines))
    ran = project.pytest("--repro-gate", "--repro-gate-report", "out")

    assert (ran.code, ran.last) == (1, "7 passed")
    assert "no report: " in ran.out
