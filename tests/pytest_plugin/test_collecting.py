"""`pytest --repro-gate`: the cells of a matrix as tests."""

import os
import signal
import xml.etree.ElementTree as ET

import pytest

from tests.pytest_plugin.conftest import Project, ended

CELLS = [f"tiny--{prompt}--seed{seed}" for prompt in ("haiku", "fox") for seed in (1, 2)]
FOX_1 = "repro-gate.toml::tiny::tiny--fox--seed1"


def test_each_cell_is_a_test(project: Project) -> None:
    """By model, with its controls, and with the goldens that no cell uses."""
    ran = project.pytest("--repro-gate", "--collect-only", "-q")

    ids = [f"repro-gate.toml::tiny::{name}" for name in ("controls", *CELLS)]
    assert ran.out.splitlines()[:-2] == [*ids, "repro-gate.toml::orphans"]
    assert project.gate.asked("start") == []


def test_nothing_is_collected_unasked(project: Project) -> None:
    """An installed plugin is loaded in every pytest of its environment."""
    assert project.pytest("repro-gate.toml").code == pytest.ExitCode.USAGE_ERROR
    assert project.pytest().code == pytest.ExitCode.NO_TESTS_COLLECTED


def test_matching_cells_pass(project: Project) -> None:
    """A model is measured as a whole, as in a check; so is the summary that of a check."""
    project.write("test_own.py", "def test_own(): pass")
    ran = project.pytest("--repro-gate", "-m", "repro_gate", "--junitxml", "junit.xml")

    assert (ran.code, ran.last) == (0, "6 passed, 1 deselected")
    assert "\npassed: 4 match; wall " in ran.out
    assert (len(project.gate.asked("start")), project.gate.engines_alive()) == (2, [])
    junit = (project.gate.folder / "junit.xml").read_text("utf-8")
    cases = ET.fromstring(junit).iter("testcase")  # noqa: S314 -- our own
    assert [case.get("name") for case in cases] == ["controls", *CELLS, "orphans"]


def test_a_drift_fails_with_the_text_of_a_check(project: Project) -> None:
    """Without a traceback, and with the command that accepts it."""
    project.drift()
    ran, checked = project.pytest("--repro-gate"), project.gate.run("check")

    block, _, _ = checked.out.partition("\n\n")
    assert (ran.code, ran.last, checked.code) == (1, "1 failed, 5 passed", 10)
    assert f" tiny--fox--seed1 {'_' * 51}\n{block}\n" in ran.out
    assert "repro-gate update-snapshots --suite quick --only tiny--fox--seed1" in block
    assert f"FAILED {FOX_1} - Failed: drift  tiny--fox--seed1\n" in ran.out


def test_only_selected_cells_run(project: Project) -> None:
    """By node id, and by -k over suites, models and cells."""
    for arguments, last in (
        ([FOX_1], "1 passed"),
        (["-k", "quick and tiny and fox and not seed2"], "1 passed, 5 deselected"),
    ):
        ran = project.pytest("--repro-gate", *arguments)
        assert ran.last == last
    assert "Say haiku" not in {each["prompt"] for each in project.gate.asked()}


def test_exitfirst_ends_the_measurement_at_the_first_finding(project: Project) -> None:
    """The tests before it, whose cells were not measured to the end, are skipped, not passed."""
    project.drift()
    ran = project.pytest("--repro-gate", "-x")

    assert (ran.code, ran.last) == (1, "1 failed, 3 skipped")
    assert "1 run diverges from the golden at output[0]\n  context" in ran.out
    assert len(project.gate.asked()) < 8


def test_exitfirst_at_an_expected_failure_is_no_pass(project: Project) -> None:
    """What was not measured after it is skipped, and no other test fails."""
    lines = (
        "import pytest",
        "def pytest_itemcollected(item):",
        f"    if item.name == {CELLS[2]!r}:",
        "        item.add_marker(pytest.mark.xfail)",
    )
    project.write("conftest.py", "\n".join(lines))
    project.drift()
    runs = [project.pytest("--repro-gate", *more) for more in ((), ("-x",))]

    assert [ran.last for ran in runs] == ["5 passed, 1 xfailed", "1 passed, 4 skipped, 1 xfailed"]
    assert [ran.code for ran in runs] == [0, 1]


def test_last_failed_runs_the_drifted_cell_alone(project: Project) -> None:
    """Pytest keeps the node ids."""
    project.drift()
    runs = [project.pytest("--repro-gate", *more) for more in ((), ("--lf",))]

    assert [ran.last for ran in runs] == ["1 failed, 5 passed", "1 failed, 5 deselected"]


def test_what_was_not_measured_is_an_error(project: Project) -> None:
    """Neither a failure nor a pass, with reason and remedy; the other cells are judged."""
    refused = {
        "method": "generate",
        "prompt": "Say fox",
        "refuse": {"kind": "internal", "message": "no"},
    }
    project.gate.write_script(refused)
    ran = project.pytest("--repro-gate")

    assert (ran.code, ran.last) == (1, "4 passed, 2 errors")
    assert (
        "inconclusive  tiny--fox--seed1\n  not measured, so neither a pass nor drift\n" in ran.out
    )
    assert "  reason      internal: no\n  remedy      repro-gate doctor" in ran.out


def test_an_engine_that_does_not_start_leaves_no_pass(project: Project) -> None:
    """Controls and orphaned goldens cannot be judged either."""
    project.gate.write_script({"method": "describe", "exit": 3})
    ran = project.pytest("--repro-gate")

    assert (ran.code, ran.last) == (1, "6 errors")
    assert "control  tiny with another seed\n  not measured" in ran.out
    assert "Traceback" not in ran.out


def test_a_model_that_cannot_differ_fails(project: Project) -> None:
    """Its controls do, and each match is vacuous, also alone; with a drift beside it."""
    same = {"method": "generate", "result": {"tokens": [[7, b" 7".hex()]]}}
    project.gate.write_script(same)
    assert project.gate.record().code == 10
    ran = project.pytest("--repro-gate", "-k", "tiny")
    alone = project.pytest("--repro-gate", FOX_1)

    assert (ran.last, alone.last) == ("5 failed, 1 deselected", "1 failed")
    assert "control  tiny--fox--seed1 with another seed\n  no other seed changes" in ran.out


def test_a_missing_golden_fails_with_the_command_that_records_it(project: Project) -> None:
    """And a golden without a cell with the one that removes it."""
    golden = project.gate.golden("tiny--fox--seed1")
    golden.rename(golden.with_name("tiny--old--seed1.json"))
    ran = project.pytest("--repro-gate")

    assert ran.last == "2 failed, 4 passed"
    assert "unrecorded  tiny--fox--seed1\n  no golden recorded" in ran.out
    assert (
        "command     repro-gate update-snapshots --suite quick --only tiny--fox--seed1\n" in ran.out
    )
    assert "orphaned  tiny--old--seed1\n  no cell in the matrix uses this golden\n" in ran.out
    assert "command     repro-gate update-snapshots --prune\n" in ran.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--repro-gate-suite", "slow"), "there is no suite 'slow' in the matrix; it has: quick"),
        (("--repro-gate-device", "tpu"), "a device is cpu, BACKEND or "),
    ],
)
def test_a_wrong_selection_is_an_error_of_the_collection(
    project: Project, arguments: tuple[str, ...], message: str
) -> None:
    """The message is that of a check."""
    ran = project.pytest("--repro-gate", *arguments)

    assert (ran.code, ran.last) == (pytest.ExitCode.INTERRUPTED, "1 error")
    assert "ERROR collecting repro-gate.toml" in ran.out
    assert f"\n{message}" in ran.out


def test_a_suite_of_log_probabilities_is_left_out_with_the_reason(project: Project) -> None:
    """Its verdicts are those of the whole suite; naming it is refused."""
    policy = {"provider": "local", "model": "tiny", "temperature": 0.7, "logprobs": "raw"}
    quick = {"runs": 2, "seeds": [1, 2], "prompts": {"tiny": ["haiku", "fox"]}}
    hosted = {"kind": "logprobs", "policies": ["base"], "items": ["one"]}
    project.gate.write_matrix(
        default_suites=["quick", "hosted"],
        policies={"base": policy},
        items={"one": {"prompt": "Say", "response": " one two three four"}},
        suites={"quick": quick, "hosted": hosted},
    )
    ran = project.pytest("--repro-gate")
    refused = project.pytest("--repro-gate", "--repro-gate-suite", "hosted")

    assert (ran.last, refused.last) == ("6 passed", "1 error")
    assert "\nleft out: hosted, a suite of log-probabilities, " in ran.out
    assert "\nhosted is a suite of log-probabilities, " in refused.out


def test_an_invalid_matrix_names_its_place(project: Project) -> None:
    """As in a check."""
    project.gate.write_matrix(runs=0)
    ran = project.pytest("--repro-gate")

    assert ran.code == pytest.ExitCode.INTERRUPTED
    assert "repro-gate.toml: suites.quick.runs: expected " in ran.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--repro-gate-suite", "quick"),
            "--repro-gate-suite collects nothing without --repro-gate",
        ),
        (("--repro-gate", "--repro-gate-config", "no.toml"), "there is no file "),
        (
            ("--repro-gate", "--repro-gate-device", "cpu", "--repro-gate-devices", "cpu,cpu"),
            "--repro-gate-device and --repro-gate-devices exclude each other",
        ),
        (("--repro-gate", "test_own.py"), "no repro-gate.toml among the collected paths"),
    ],
)
def test_a_wrong_command_line_is_refused(
    project: Project, arguments: tuple[str, ...], message: str
) -> None:
    """A gate that would check nothing is never green."""
    project.write("test_own.py", "def test_own(): pass")
    ran = project.pytest(*arguments)

    assert ran.code == pytest.ExitCode.USAGE_ERROR
    assert message in ran.out


def test_the_matrix_is_collected_beside_testpaths(project: Project) -> None:
    """Also when only the configuration file asks for it, and under another name."""
    project.write("pyproject.toml", '[tool.pytest]\nrepro_gate = true\ntestpaths = ["tests"]\n')
    (project.gate.folder / "pytest.ini").unlink()
    (project.gate.folder / "tests").mkdir()
    project.write("tests/test_own.py", "def test_own(): pass")
    (project.gate.folder / "repro-gate.toml").rename(project.gate.folder / "other.toml")
    runs = [project.pytest(), project.pytest("--repro-gate-config", "other.toml")]

    assert [ran.last for ran in runs] == ["1 passed", "7 passed"]


def test_goldens_are_not_updated_in_ci(project: Project) -> None:
    """And elsewhere the cells do not change them either."""
    project.drift()
    golden = project.gate.golden("tiny--fox--seed1").read_bytes()
    refused = project.pytest("--repro-gate", "--snapshot-update", CI="true")
    ran = project.pytest("--repro-gate", "--snapshot-update")

    assert (refused.code, ran.last) == (pytest.ExitCode.USAGE_ERROR, "1 failed, 5 passed")
    assert "goldens are not updated in CI (CI is set)" in refused.out
    assert "with repro-gate update-snapshots or review" in refused.out
    assert "\ntests of cells update no golden, also with --snapshot-update: use " in ran.out
    assert project.gate.golden("tiny--fox--seed1").read_bytes() == golden


def test_an_interruption_leaves_no_engine(project: Project) -> None:
    """Ctrl-C ends the engine that is at work, and the report is marked as partial."""
    project.gate.write_script({"method": "generate", "prompt": "Say fox", "sleep": 600})
    process = project.start("--repro-gate", "--repro-gate-report", ".repro-gate")
    project.gate.wait_until_asked("Say fox")
    os.killpg(process.pid, signal.SIGINT)
    ran = ended(process)

    assert ran.code == pytest.ExitCode.INTERRUPTED
    assert "\ninconclusive (partial): " in ran.out
    assert (project.gate.report()["interrupted"], project.gate.engines_alive()) == (True, [])
