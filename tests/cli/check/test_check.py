"""The options of `check`, and what it prints and writes."""

import json
from importlib.resources import files

import pytest
from jsonschema import Draft202012Validator

from repro_gate.cli.wiring import REPORTS
from tests.cli.workspaces import Ran, Workspace, contents_of, ended

_DRIFT = {
    "method": "generate",
    "prompt": "Say fox",
    "result": {"tokens": [[7, b" 7".hex()], [8, b" 8".hex()]]},
}


@pytest.fixture(scope="module")
def with_json(
    recorded_once: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workspace, Ran]:
    """Return a check with --json, in which one cell drifts and the others match."""
    workspace = recorded_once.copied_to(tmp_path_factory.mktemp("with-json"))
    workspace.write_script({**_DRIFT, "seed": 1})
    return workspace, workspace.run("check", "--json")


def test_json_prints_the_report_and_only_it(with_json: tuple[Workspace, Ran]) -> None:
    """With --json stdout is report.json byte for byte, and stderr is silent."""
    workspace, ran = with_json

    assert (ran.code, ran.err) == (10, "")
    assert ran.out == (workspace.output / "report.json").read_text("utf-8")


def test_the_report_matches_its_schema(with_json: tuple[Workspace, Ran]) -> None:
    """A report with a match and a drift is valid by the published schema."""
    schema = json.loads((files("repro_gate.schemas") / "report-v1.json").read_text("utf-8"))

    Draft202012Validator(schema).validate(with_json[0].document())
    assert {"match", "drift"} == set(with_json[0].verdicts().values())


def test_quiet_prints_one_line(recorded: Workspace) -> None:
    """With --quiet the outcome is all there is to read."""
    ran = recorded.run("check", "--quiet")

    assert (ran.code, ran.err, ran.out.count("\n")) == (0, "", 1)
    assert ran.out.startswith("passed: 4 match; wall ")


def test_a_log_gets_a_line_of_progress(recorded: Workspace) -> None:
    """Without a terminal, progress is one plain line for a check that takes no time."""
    (line,) = recorded.run("check").err.splitlines()

    assert line.startswith("1/8 runs, 1/4 cells, ")


def test_one_run_is_enough_to_compare_with_the_golden(recorded: Workspace) -> None:
    """With --runs 1 there is one run and no fresh process, and still a verdict."""
    recorded.write_script(_DRIFT)

    assert recorded.run("check", "--runs", "1").code == 10
    assert {cell["runs"] for cell in recorded.report()["cells"]} == {1}


def test_only_cuts_the_selection(recorded: Workspace) -> None:
    """With --only a pattern chooses among the cells."""
    ran = recorded.run("check", "--only", "tiny--fox--*")

    assert (ran.code, list(recorded.verdicts())) == (0, ["tiny--fox--seed1", "tiny--fox--seed2"])


def test_only_names_the_suite_that_has_such_cells(recorded: Workspace) -> None:
    """A pattern for cells of another suite gives an error that names the suite."""
    suites = {
        name: {"runs": 1, "seeds": [1], "prompts": {"tiny": [prompt]}}
        for name, prompt in (("quick", "haiku"), ("slow", "fox"))
    }
    recorded.write_matrix(suites=suites)

    ran = recorded.run("check", "--only", "tiny--fox--*")

    assert (ran.code, "try: --suite slow" in ran.err) == (4, True)


def test_suites_add_up(recorded: Workspace) -> None:
    """A cell of two suites is checked once, with the larger number of runs."""
    suites = {
        "quick": {"runs": 2, "seeds": [1, 2], "prompts": {"tiny": ["haiku"]}},
        "slow": {"runs": 3, "seeds": [2], "prompts": {"tiny": ["haiku", "fox"]}},
    }
    recorded.write_matrix(suites=suites)
    recorded.golden("tiny--fox--seed1").unlink()

    ran = recorded.run("check", "--suite", "quick", "--suite", "slow")

    assert (ran.code, recorded.runs()) == (
        0,
        {"tiny--haiku--seed1": 2, "tiny--haiku--seed2": 3, "tiny--fox--seed2": 3},
    )


def test_the_reports_are_written_where_they_are_wanted(recorded: Workspace) -> None:
    """The output folder holds the reports, and in golden form what matches no golden."""
    goldens = contents_of(recorded.snapshots / "goldens")
    fox = "test-cpu/tiny--fox--seed1.json"
    (recorded.snapshots / "goldens" / fox).unlink()

    recorded.run("check", "--output", "deep/reports")

    written = contents_of(recorded.folder / "deep" / "reports")
    assert written.keys() == {"report.json", *REPORTS, f"observed/{fox}"}
    assert written[f"observed/{fox}"] == goldens[fox]


def test_a_report_is_about_one_check(recorded: Workspace) -> None:
    """Observed tokens of an earlier check in the same folder are removed."""
    earlier = recorded.output / "observed" / "other-gpu" / "tiny--fox--seed1.json"
    earlier.parent.mkdir(parents=True)
    earlier.touch()

    recorded.run("check", "--only", "tiny--fox--seed1")

    assert list(contents_of(recorded.output / "observed")) == []


def test_an_earlier_report_does_not_outlive_a_broken_golden(recorded: Workspace) -> None:
    """A check that ends before its verdict leaves no report of another check behind."""
    earlier = recorded.output / "report.json"
    earlier.parent.mkdir()
    earlier.write_text('{"outcome": "passed"}', "utf-8")
    recorded.golden("tiny--fox--seed1").write_text("{", "utf-8")

    assert recorded.run("check").code == 3
    assert recorded.document()["result"]["kind"] == "unfinished"


def test_the_matrix_is_the_centre_of_its_workspace(recorded: Workspace) -> None:
    """Models and snapshots are found beside the matrix file, which the environment may name."""
    elsewhere = recorded.folder / "elsewhere"
    elsewhere.mkdir()
    env = recorded.environment(REPRO_GATE_CONFIG="../repro-gate.toml")

    assert ended(recorded.start("check", cwd=elsewhere, env=env)).code == 0
    assert (elsewhere / ".repro-gate" / "report.json").exists()
