"""An engine that works on several requests at a time, checked by the real program."""

import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import tests.fakes.crowded_engine
from tests.cli.workspaces import PATIENCE_S, Workspace, ended

_ENGINE = Path(tests.fakes.crowded_engine.__file__)
_SHARED = "run 2 had the engine to itself, run 1 shared it with other runs"


@pytest.fixture(name="crowded")
def _crowded(cache: Path, tmp_path: Path) -> Workspace:
    """Return a workspace whose goldens come from an engine that makes one run at a time."""
    workspace = Workspace(folder=tmp_path, cache=cache)
    (tmp_path / "tiny.gguf").write_bytes(b"weights")
    _write_matrix(workspace, concurrency=1)
    assert workspace.record().code == 0
    return workspace


def _write_matrix(
    workspace: Workspace,
    *also: str,
    concurrency: int = 4,
    depends: str = "on nothing",
    timeout_s: float = PATIENCE_S,
    runs: int = 2,
) -> None:
    prompts = ("haiku", *also, "fox")
    table = {
        name: {"text": name, "temperature": 0.7, "max_tokens": 4}
        for name in ("haiku", "fox", *also)
    }
    engine: dict[str, Any] = {
        "kind": "command",
        "command": [sys.executable, "-P", str(_ENGINE)],
        "timeout_s": timeout_s,
        "settings": {"concurrency": concurrency, "depends": depends},
    }
    workspace.write_matrix(
        engines={"scripted": engine}, prompts=prompts, prompts_table=table, runs=runs
    )


def test_runs_side_by_side_match_goldens_of_runs_one_at_a_time(crowded: Workspace) -> None:
    """The number of requests in flight is no setting that a golden depends on."""
    _write_matrix(crowded, concurrency=8)

    ran = crowded.run("check")

    assert (ran.code, set(crowded.verdicts().values())) == (0, {"match"})


@pytest.mark.parametrize("depends", ["on neighbours", "on solitude"])
def test_tokens_that_depend_on_neighbours_are_found(crowded: Workspace, depends: str) -> None:
    """The finding names the run that shared the engine, and how to make sure."""
    _write_matrix(crowded, depends=depends)

    ran = crowded.run("check")

    findings = [each["verdict"] for each in crowded.report()["cells"] if "run" in each["verdict"]]
    assert ran.code == 10
    assert findings
    assert {
        (each["kind"], each["had_neighbours"], each["first_had_neighbours"]) for each in findings
    } == {("nondeterministic", False, True)}
    assert f"reason           {_SHARED}\n" in ran.out
    assert "Check with contexts = 1 in the engine's settings" in ran.out
    assert _SHARED in (crowded.output / "report.md").read_text("utf-8")
    assert _SHARED in (crowded.output / "junit.xml").read_text("utf-8")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("hang", "the engine did not answer 'generate' within 4 s and was killed"),
        ("die", "the engine ended with exit code 3 at 'generate'"),
        ("refuse", "bad_request: refused"),
    ],
)
def test_a_fault_side_by_side_costs_only_its_cells(
    crowded: Workspace, fault: str, reason: str
) -> None:
    """All others are measured, those that were in flight with it again."""
    _write_matrix(crowded, fault, timeout_s=4 if fault == "hang" else PATIENCE_S)

    ran = crowded.run("check")

    assert ran.code == 4
    assert crowded.verdicts() == {
        f"tiny--{prompt}--seed{seed}": "inconclusive" if prompt == fault else "match"
        for prompt in ("haiku", fault, "fox")
        for seed in (1, 2)
    }
    reasons = [each["verdict"].get("reason") for each in crowded.report()["cells"]]
    assert reasons == [None, None, reason, reason, None, None]


def test_fail_fast_does_not_wait_for_the_runs_in_flight(crowded: Workspace) -> None:
    """The process is ended with the run that hangs in it."""
    crowded.golden("tiny--haiku--seed1", profile="crowded").unlink()
    _write_matrix(crowded, "hang", timeout_s=10 * PATIENCE_S)

    ran = crowded.run("check", "--fail-fast")

    assert (ran.code, crowded.verdicts()["tiny--haiku--seed1"]) == (10, "unrecorded")
    assert crowded.runs()["tiny--hang--seed1"] == 0


def test_an_interruption_keeps_what_was_delivered(crowded: Workspace) -> None:
    """Also with requests in flight; the engine is ended."""
    _write_matrix(crowded, "hang", concurrency=2, runs=3)
    gate = crowded.start("check")
    deadline = time.monotonic() + PATIENCE_S
    while len(list(crowded.folder.glob("hanging-*"))) < 2:
        assert time.monotonic() < deadline, "the engine was never asked"
        time.sleep(0.01)
    gate.send_signal(signal.SIGINT)
    ran = ended(gate)

    assert (ran.code, set(crowded.verdicts().values())) == (130, {"inconclusive"})
    assert list(crowded.runs().values()) == [2, 2, 0, 0, 0, 0]
