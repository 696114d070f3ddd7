"""`check --shard` on several machines and `merge` on one give the result of one machine."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from repro_gate.cli.wiring import REPORTS
from tests.cli.shards.workspaces import Measured, measure, measured_in, read_json
from tests.cli.workspaces import Workspace, contents_of, ended, matrix_of

_FOX_1 = {"method": "generate", "prompt": "Say fox", "seed": 1}
_DRIFT = {**_FOX_1, "result": {"tokens": [[7, b" 7".hex()], [8, b" 8".hex()]]}}
_DEATH = {"method": "generate", "prompt": "Say fox", "seed": 2, "exit": 1}
_OF_THE_MACHINE = {"started_at", "timing"}
_VARIABLES = ("CONFIG", "SUITE", "ONLY", "DEVICE", "DEVICES", "SHARD", "FAIL_ON", "OUTPUT")


@pytest.fixture(scope="module")
def failing(recorded_once: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """Return shards of which the second has a drifted cell."""
    workspace = recorded_once.copied_to(tmp_path_factory.mktemp("failing"))
    workspace.write_script(_DRIFT)
    return measured_in(workspace, codes=(10, 0, 10))


def _without(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return a report without what is another one for every check."""
    return {key: value for key, value in report.items() if key not in _OF_THE_MACHINE}


def _report(folder: Path) -> Any:
    return read_json(folder / "report.json")["result"]["report"]


def _verdicts(folder: Path) -> dict[str, str]:
    return {each["id"]: each["verdict"] for each in read_json(folder / "report.json")["cells"]}


@pytest.mark.parametrize("name", ["measured", "failing"])
def test_shards_together_are_the_check_of_one_machine(
    request: pytest.FixtureRequest, name: str, tmp_path: Path
) -> None:
    """The exit code and the report are equal, except for times."""
    shards: Measured = request.getfixturevalue(name)

    ran = shards.merge(shards.shards, to=tmp_path)

    merged, whole = read_json(tmp_path / "report.json"), shards.whole
    summary = {key: merged[key] for key in ("outcome", "exit_code", "counts", "findings")}
    assert (ran.code, summary) == (whole["exit_code"], {key: whole[key] for key in summary})
    assert merged["result"]["observed"] == whole["result"]["observed"]
    assert _without(merged["result"]["report"]) == _without(whole["result"]["report"])
    usual = contents_of(shards.workspace.output).keys() - {".gitignore"}
    assert contents_of(tmp_path).keys() == usual


def test_a_shard_measures_neighbours(measured: Measured) -> None:
    """Every cell is in one shard, in the order of the matrix, and is judged there too."""
    assert [_verdicts(measured.shards / number) for number in "12"] == [
        {"tiny--haiku--seed1": "match", "tiny--haiku--seed2": "match"},
        {"tiny--fox--seed1": "match", "tiny--fox--seed2": "match"},
    ]


def test_each_shard_shows_that_its_machine_can_fail(measured: Measured) -> None:
    """Another seed and another prompt change an output on each of them."""
    controls = [_report(measured.shards / n)["controls"] for n in "12"]

    factors = [[each["contrast"]["factor"] for each in shard] for shard in controls]
    assert factors == [["seed", "prompt"]] * 2
    assert all(each["divergence"] for shard in controls for each in shard)


def test_the_first_cell_of_a_shard_is_not_its_control(workspace: Workspace) -> None:
    """What passes on one machine passes with shards and devices too."""
    cold = {"method": "generate", "prompt": "Say fox", "result": _DRIFT["result"]}
    workspace.write_script(cold)
    workspace.write_matrix(seeds=[1])
    codes = [workspace.record().code, workspace.run("check").code]

    codes += [measure(workspace, number).code for number in (1, 2)]
    codes += [workspace.run("merge", "shards").code]
    codes += [workspace.run("check", "--devices", "cpu,cpu").code]

    assert codes == [0] * 6


def test_a_check_of_everything_is_not_a_shard(measured: Measured) -> None:
    """It cannot be merged."""
    assert not (measured.workspace.output / "shard.json").exists()


def test_folders_can_be_named_by_a_variable(measured: Measured, tmp_path: Path) -> None:
    """As a path with colons, in any order."""
    folders = ":".join(str(measured.shards / number) for number in "21")

    ran = measured.workspace.run("merge", "-q", "-o", str(tmp_path), REPRO_GATE_MERGE=folders)

    assert (ran.code, ran.out.startswith("passed: 4 match;")) == (0, True)


@pytest.mark.parametrize(("mode", "code"), [("findings", 10), ("never", 0)])
def test_fail_on_affects_the_exit_code_of_a_merge(
    failing: Measured, tmp_path: Path, mode: str, code: int
) -> None:
    """The report still has the real exit code."""
    ran = failing.merge(failing.shards, to=tmp_path, also=("--fail-on", mode))

    assert (ran.code, read_json(tmp_path / "report.json")["exit_code"]) == (code, 10)


def test_fail_on_findings_lets_through_what_was_not_measured(
    recorded: Workspace, tmp_path: Path
) -> None:
    """In a shard as in the merge; without it neither is a pass."""
    recorded.write_script(_DEATH)
    codes = [measure(recorded, number, "--fail-on", "findings").code for number in (1, 2)]

    forgiven = recorded.run("merge", "shards", "--fail-on", "findings")

    assert (codes, forgiven.code, recorded.run("merge", "shards").code) == ([0, 0], 0, 4)
    assert recorded.document()["outcome"] == "inconclusive"


@pytest.mark.parametrize(
    ("shard", "text"),
    [
        ("0/2", "--shard: a shard is I/N with 1 <= I <= N, such as 2/8, not 0/2"),
        ("9/8", "--shard: a shard is I/N with 1 <= I <= N, such as 2/8, not 9/8"),
        ("x", "--shard: a shard is I/N with 1 <= I <= N, such as 2/8, not 'x'"),
        ("1/5", "there are only 4 cells and suites to measure, which is not enough for 5 shards"),
    ],
)
def test_an_invalid_shard_is_2(workspace: Workspace, shard: str, text: str) -> None:
    """The message shows the syntax or the largest number."""
    ran = workspace.run("check", "--shard", shard)

    assert (ran.code, ran.out, ran.err) == (2, "", f"repro-gate: {text}\n")


def test_a_shard_can_be_named_by_a_variable(recorded: Workspace) -> None:
    """As an action names it, which has no command line to build."""
    ran = recorded.run("check", "-q", REPRO_GATE_SHARD="2/2", REPRO_GATE_OUTPUT="here")

    assert (ran.code, len(_verdicts(recorded.folder / "here"))) == (0, 2)
    assert read_json(recorded.folder / "here" / "shard.json")["shard"]["shard"] == {
        "index": 2,
        "total": 2,
    }


def test_empty_variables_count_as_unset(recorded: Workspace) -> None:
    """The action passes every input, also those that are not set."""
    empty = {f"REPRO_GATE_{name}": "" for name in _VARIABLES}

    ran = recorded.run("check", "-q", **empty)

    assert (ran.code, ran.out.startswith("passed: 4 match;")) == (0, True)
    files = {".gitignore", "report.json", *REPORTS}
    assert {file.name for file in recorded.output.iterdir()} == files


def test_a_merge_judges_with_the_goldens_of_its_checkout(
    measured: Measured, tmp_path: Path
) -> None:
    """And what it saw can be accepted there, as after a check."""
    matrix = measured.workspace.folder / "repro-gate.toml"
    shutil.copy(matrix, tmp_path)
    shutil.copytree(measured.workspace.snapshots, tmp_path / "snapshots")
    here = Workspace(folder=tmp_path, cache=measured.workspace.cache)
    here.golden("tiny--fox--seed1").unlink()

    codes = [here.run("merge", str(measured.shards)).code]
    verdicts = here.verdicts()
    accepted = here.record("--from", str(here.output))
    codes.append(here.run("merge", str(measured.shards)).code)

    assert (codes, verdicts["tiny--fox--seed1"]) == ([10, 0], "unrecorded")
    assert "1 new; 3 unchanged, 0 refused" in accepted.out
    assert contents_of(here.snapshots) == contents_of(measured.workspace.snapshots)


def test_a_merge_shows_what_changed_on_the_machine_that_drifted(recorded: Workspace) -> None:
    """A driver update, for example, is not part of the profile, but is in the provenance."""
    assert measure(recorded, 1).code == 0
    recorded.write_script(_DRIFT, facts={"device.driver": "999.1"})
    assert measure(recorded, 2).code == 10

    ran = recorded.run("merge", "shards")
    cell = recorded.cell("tiny--fox--seed1")
    accepted = recorded.record("--from", str(recorded.output))

    changed = {"name": "device.driver", "before": None, "after": "999.1"}
    assert (ran.code, cell["verdict"]["provenance"], accepted.code) == (10, [changed], 0)
    golden = read_json(recorded.golden("tiny--fox--seed1"))
    assert golden["provenance"]["device.driver"] == "999.1"
    assert [engine["facts"].get("device.driver") for engine in recorded.report()["engines"]] == [
        None,
        "999.1",
    ]


def test_a_suite_of_log_probabilities_stays_in_one_shard(recorded: Workspace) -> None:
    """It is judged as a whole, and the merge takes over its result."""
    suites = matrix_of(recorded.engine())["suites"]
    recorded.write_matrix(
        default_suites=["quick", "local"],
        policies={
            "here": {"provider": "local", "model": "tiny", "temperature": 1, "logprobs": "raw"}
        },
        items={"plane": {"prompt": "How?", "response": "So."}},
        suites=suites | {"local": {"kind": "logprobs", "policies": ["here"], "items": ["plane"]}},
    )

    codes = [measure(recorded, number).code for number in (1, 2)]
    merged = recorded.run("merge", "shards")

    first, second = (_report(recorded.folder / f"shards/{n}") for n in (1, 2))
    report = recorded.report()
    assert (codes, merged.code) == ([0, 10], 10)
    assert [len(each["cells"]) for each in (first, second, report)] == [2, 2, 4]
    assert (first["logprobs"], report["logprobs"]) == ([], second["logprobs"])
    assert report["suites"] == ["quick", "local"]
    assert report["logprobs"][0]["cells"][0]["verdict"]["kind"] == "unrecorded"


def test_a_killed_shard_leaves_nothing_of_an_earlier_one(recorded: Workspace) -> None:
    """Earlier reports are removed before the first cell, so none can be merged."""
    assert measure(recorded, 2).code == 0
    recorded.write_script({**_FOX_1, "sleep": 600})
    (recorded.folder / "asked.jsonl").unlink()
    gate = recorded.start("check", "--shard", "2/2", "--output", "shards/2")
    recorded.wait_until_asked("Say fox")

    gate.kill()
    ended(gate)

    assert list((recorded.folder / "shards" / "2").iterdir()) == []


def test_a_full_disk_takes_the_files_and_not_the_verdict(recorded: Workspace) -> None:
    """A shard prints its findings, and that it cannot be merged."""
    # A module compiled within this limit would be cut short, and break every later import.
    limit = (
        "os.environ['PYTHONDONTWRITEBYTECODE'] = '1'; import resource; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))"
    )

    ran = ended(recorded.start("check", "--quiet", "--shard", "2/2", after=limit))

    text = "repro-gate: the reports cannot be written to .repro-gate: File too large\n"
    assert (ran.code, ran.err) == (4, text)
    assert ran.out.startswith("passed: 2 match")
    assert [file.name for file in recorded.output.glob("*.json")] == ["report.json"]
    assert recorded.document()["result"]["kind"] == "unfinished"


def test_a_check_that_fails_to_start_leaves_the_reason_in_its_folder(recorded: Workspace) -> None:
    """Later steps publish the reason, not the report of an earlier check."""
    assert measure(recorded, 1).code == 0
    recorded.write_matrix(runs="ten")

    ran = measure(recorded, 1)

    folder = recorded.folder / "shards" / "1"
    failure = {
        "kind": "unfinished",
        "exit_code": 3,
        "message": "repro-gate.toml: suites.quick.runs: expected an integer, found 'ten'",
        "remedy": None,
    }
    assert (ran.code, read_json(folder / "report.json")["result"]) == (3, failure)
    assert {file.name for file in folder.glob("*.json")} == {"report.json"}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("check", "--suite", "nope"), 2),
        (("check", "--shard", "9/8"), 2),
        (("check", "--config", "nowhere.toml"), 3),
        (("merge", "nowhere"), 3),
    ],
)
def test_no_report_of_an_earlier_check_stays_beside_a_failure(
    recorded: Workspace, arguments: tuple[str, ...], code: int
) -> None:
    """A CI server that always publishes junit.xml would publish a pass."""
    assert recorded.run("check").code == 0

    assert recorded.run(*arguments, CI="true").code == code
    left = {file.name for file in recorded.output.iterdir()}
    assert left == {".gitignore", "report.json"}
    assert recorded.document()["result"]["kind"] == "unfinished"


def test_a_dry_run_removes_nothing(recorded: Workspace) -> None:
    """It checks nothing, so earlier reports stay valid."""
    recorded.run("check")
    before = contents_of(recorded.output)

    assert recorded.run("check", "--dry-run").code == 4
    assert contents_of(recorded.output) == before


def test_a_check_that_fails_to_start_makes_no_folder(workspace: Workspace) -> None:
    """A typo leaves nothing behind."""
    workspace.write_matrix(runs="ten")

    assert workspace.run("check").code == 3
    assert not workspace.output.exists()
