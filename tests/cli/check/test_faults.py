"""Engines that fail: their cells are inconclusive, and every other cell has its verdict."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.cli.workspaces import Ran, Workspace

_FAULTS: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "hangs": ({"sleep": 600}, "did not answer 'generate' within 0.5 s and was killed"),
    "babbles": ({"raw": "loading\n"}, "something that is not protocol v1: loading"),
    "stutters": (
        {"half": '{"protocol', "stderr": "out of memory", "signal": 9},
        "ended by SIGKILL at 'generate'; its stderr ends with: out of memory",
    ),
    "dies-later": ({"time": 2, "exit": 3}, "ended with exit code 3 at 'generate'"),
    "refuses": (
        {"refuse": {"kind": "out_of_context", "message": "too long"}},
        "out_of_context: too long",
    ),
    "overflows": ({"result": {"tokens": [[1, "20"]] * 5}}, "breaks protocol v1"),
}
"""What happens to one prompt, and what is expected of it."""


def _lost(workspace: Workspace) -> list[str]:
    verdicts = workspace.verdicts()
    assert set(verdicts.values()) <= {"match", "inconclusive"}
    return [cell_id for cell_id, verdict in verdicts.items() if verdict == "inconclusive"]


@pytest.fixture(scope="module")
def faulty(
    recorded_once: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workspace, Ran]:
    """Return a check in which every other prompt meets a fault."""
    workspace = recorded_once.copied_to(tmp_path_factory.mktemp("faulty"))
    prompts = [prompt for fault in _FAULTS for prompt in (fault, f"after-{fault}")]
    engine = {**workspace.engine(), "timeout_s": 0.5}
    workspace.write_matrix(prompts=prompts, seeds=[1], engines={"scripted": engine})
    workspace.record("--prune")
    (workspace.folder / "asked.jsonl").unlink()
    faults = [{"prompt": f"Say {name}", **rule} for name, (rule, _) in _FAULTS.items()]
    workspace.write_script(*({"method": "generate", **fault} for fault in faults))
    return workspace, workspace.run("check")


@pytest.mark.parametrize("name", list(_FAULTS))
def test_a_fault_is_reported(faulty: tuple[Workspace, Ran], name: str) -> None:
    """The cell at which an engine fails is inconclusive, with the reason."""
    verdict = faulty[0].cell(f"tiny--{name}--seed1")["verdict"]

    assert verdict["kind"] == "inconclusive"
    assert _FAULTS[name][1] in verdict["reason"]


def test_a_fault_costs_one_cell(faulty: tuple[Workspace, Ran]) -> None:
    """The cell after each fault has its verdict, and no engine is left behind."""
    workspace, ran = faulty

    assert (ran.code, _lost(workspace)) == (4, [f"tiny--{name}--seed1" for name in _FAULTS])
    assert workspace.engines_alive() == []


def test_a_refusal_costs_no_process(faulty: tuple[Workspace, Ran]) -> None:
    """An engine that answers with a typed error continues with the next cell."""
    asked = faulty[0].asked()
    at = next(index for index, one in enumerate(asked) if one["prompt"] == "Say refuses")

    assert asked[at + 1]["pid"] == asked[at]["pid"]


def test_an_engine_that_cannot_describe_itself_is_given_up(recorded: Workspace) -> None:
    """Without a profile there is no golden to compare with, so nothing is generated."""
    recorded.write_script({"method": "describe", "exit": 1})

    assert recorded.run("check").code == 4
    assert (len(_lost(recorded)), recorded.asked()) == (4, [])


def test_a_model_on_which_every_engine_dies_is_given_up(recorded: Workspace) -> None:
    """After three dead engines in a row the remaining cells are not tried."""
    recorded.write_script({"method": "generate", "signal": 11})

    ran = recorded.run("check")

    assert (ran.code, len(_lost(recorded)), len(recorded.asked())) == (4, 4, 3)
    assert "not tried: the engine failed 3 times in a row" in ran.out


@pytest.fixture(scope="module")
def two_models(
    recorded_once: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workspace, Ran]:
    """Return a check of a model without a file and a valid one."""
    workspace = recorded_once.copied_to(tmp_path_factory.mktemp("two-models"))
    suite = {"runs": 1, "seeds": [1, 2], "prompts": {"gone": ["fox"], "tiny": ["haiku", "fox"]}}
    models = {name: {"engine": "scripted", "source": f"{name}.gguf"} for name in ("gone", "tiny")}
    workspace.write_matrix(models=models, suites={"quick": suite})
    return workspace, workspace.run("check")


def test_a_model_without_a_file_costs_no_other_model(two_models: tuple[Workspace, Ran]) -> None:
    """The cells of the model that is there are checked."""
    workspace, ran = two_models

    assert (ran.code, _lost(workspace)) == (4, ["gone--fox--seed1", "gone--fox--seed2"])


def test_a_model_without_a_file_is_named_with_its_path(
    two_models: tuple[Workspace, Ran],
) -> None:
    """The message has the path where the file is expected."""
    workspace, ran = two_models

    place = workspace.folder / "gone.gguf"
    assert f"model gone is missing: there is no file {place}\n" in ran.out
