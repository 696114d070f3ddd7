"""Engines that fail: their cells are inconclusive, and every other cell has its verdict."""

import pytest

from tests.cli.workspaces import Ran, Workspace

_FOX_1 = {"method": "generate", "prompt": "Say fox", "seed": 1}
_LOST = ["tiny--fox--seed1"]


def _lost(workspace: Workspace) -> list[str]:
    verdicts = workspace.verdicts()
    assert set(verdicts.values()) <= {"match", "inconclusive"}
    return [cell_id for cell_id, verdict in verdicts.items() if verdict == "inconclusive"]


def test_an_engine_that_hangs_is_killed(recorded: Workspace) -> None:
    """After its time-out the engine is ended and the next cell gets a fresh one."""
    engine = {**recorded.engine(), "timeout_s": 0.5}
    recorded.write_matrix(engines={"scripted": engine})
    recorded.write_script({**_FOX_1, "sleep": 600})

    ran = recorded.run("check")

    assert (ran.code, _lost(recorded), recorded.engines_alive()) == (4, _LOST, [])
    assert "the engine did not answer 'generate' within 0.5 s and was killed" in ran.out


def test_an_engine_that_talks_nonsense_is_not_believed(recorded: Workspace) -> None:
    """A line that is not of the protocol costs its cell, and no other."""
    recorded.write_script({**_FOX_1, "raw": "llama_model_load: loading\n"})

    ran = recorded.run("check")

    assert (ran.code, _lost(recorded)) == (4, _LOST)
    assert "something that is not protocol v1: llama_model_load: loading" in ran.out


def test_an_engine_that_dies_within_a_line_is_told_by_its_signal(recorded: Workspace) -> None:
    """Half an answer and a death are one failure, with the last words of the engine."""
    recorded.write_script({**_FOX_1, "half": '{"protocol', "stderr": "out of memory", "signal": 9})

    ran = recorded.run("check")

    assert (ran.code, _lost(recorded)) == (4, _LOST)
    assert "ended by SIGKILL at 'generate'; it last said: out of memory" in ran.out


def test_an_engine_that_dies_later_takes_its_cell_back(recorded: Workspace) -> None:
    """A cell whose second run never came is not called a match for its first."""
    recorded.write_script({**_FOX_1, "time": 2, "exit": 3})

    ran = recorded.run("check")

    assert (ran.code, _lost(recorded)) == (4, _LOST)
    assert "ended with exit code 3 at 'generate'" in ran.out


def test_an_engine_that_refuses_stays_at_work(recorded: Workspace) -> None:
    """A typed error costs one cell, and no process."""
    recorded.write_script({**_FOX_1, "refuse": {"kind": "out_of_context", "message": "too long"}})

    ran = recorded.run("check", "--runs", "1")

    assert (ran.code, _lost(recorded)) == (4, _LOST)
    assert "out_of_context: too long" in ran.out
    assert len({asked["pid"] for asked in recorded.asked()}) == 1


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
    assert "not tried: the engine failed on the 3 cells before" in ran.out


@pytest.fixture(scope="module")
def two_models(
    recorded_once: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workspace, Ran]:
    """Return a check of a model without a file and of one that is well."""
    workspace = recorded_once.copied_to(tmp_path_factory.mktemp("two-models"))
    suite = {"runs": 1, "seeds": [1, 2], "prompts": {"gone": ["fox"], "tiny": ["haiku", "fox"]}}
    models = {name: {"engine": "scripted", "source": f"{name}.gguf"} for name in ("gone", "tiny")}
    workspace.write_matrix(models=models, suites={"quick": suite})
    return workspace, workspace.run("check")


def test_a_model_without_a_file_costs_no_other_model(two_models: tuple[Workspace, Ran]) -> None:
    """The cells of the model that is there are checked."""
    workspace, ran = two_models

    assert (ran.code, _lost(workspace)) == (4, ["gone--fox--seed1", "gone--fox--seed2"])


def test_a_model_without_a_file_is_named_with_its_place(
    two_models: tuple[Workspace, Ran],
) -> None:
    """Who looks for the file is told where it should be."""
    workspace, ran = two_models

    place = workspace.folder / "gone.gguf"
    assert f"the model gone is not here: there is no file {place}\n" in ran.out
