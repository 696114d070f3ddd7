"""`repro-gate explain --attribute`: planted causes, with a tiny model on the real engine."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.workspaces import PATIENCE_S, Workspace, contents_of, ended, matrix_of, toml

_SETTINGS = {
    "n_ctx": 256,
    "n_batch": 256,
    "threads": 1,
    "flash_attention": False,
    "kv_type": "f32",
}
TEXT, FOX = "tiny--text--seed1", "tiny--fox--seed1"


def _write_matrix(workspace: Workspace, *, temperature: float = 0.9, **settings: Any) -> None:
    engine = {"kind": "llama_cpp", "device": "cpu", "timeout_s": 60}
    text = {"text": "Once upon a time", "temperature": temperature, "max_tokens": 40}
    matrix = matrix_of(
        {**engine, "settings": {**_SETTINGS, **settings}},
        models={"tiny": {"engine": "scripted", "source": "builtin:tiny-qwen2"}},
        prompts=("text",),
        prompts_table={"text": text},
        seeds=(1, 2, 3),
    )
    (workspace.folder / "repro-gate.toml").write_text(toml(matrix), "utf-8")


@pytest.fixture(scope="module")
def recorded_tiny(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return a workspace with goldens of a tiny model, to be copied."""
    workspace = Workspace(folder=tmp_path_factory.mktemp("tiny"), cache=cache)
    _write_matrix(workspace)
    assert workspace.record().code == 0
    return workspace


def _attributed(workspace: Workspace, *arguments: str) -> str:
    """Return what experiments show of the first drift, or of the first cell without one."""
    assert workspace.run("check").code == 10
    found = [cell for cell, verdict in workspace.verdicts().items() if verdict != "match"]
    before = contents_of(workspace.snapshots)
    ran = workspace.run("explain", found[0], "--attribute", *arguments)
    assert ran.code == 0
    assert max(map(len, ran.out.splitlines())) <= 100
    assert contents_of(workspace.snapshots) == before
    return ran.out.partition("\nexperiments  ")[2]


def test_a_planted_setting_is_the_cause(recorded_tiny: Workspace, tmp_path: Path) -> None:
    """The changed one, of two; threads cannot be."""
    tiny = recorded_tiny.copied_to(tmp_path)
    _write_matrix(tiny, flash_attention=True, repack=False)
    text = _attributed(tiny)

    assert "  unchanged  gives the tokens of the report\n" in text
    cause = "  cause      flash_attention false (as recorded): alone it gives the golden's tokens"
    assert cause in text
    (repacked,) = (line.split() for line in text.splitlines() if line.startswith("  repack "))
    assert repacked[1:] == ["true", "(as", "recorded)", "others", "-", "invariant"]


def test_a_planted_definition_is_the_cause(recorded_tiny: Workspace, tmp_path: Path) -> None:
    """The golden has the recorded one."""
    tiny = recorded_tiny.copied_to(tmp_path)
    _write_matrix(tiny, temperature=1.4)
    text = _attributed(tiny)

    assert "  cause      definition temperature 0.9 (as recorded): alone it gives" in text


def test_another_sampler_is_no_setting(recorded_tiny: Workspace, tmp_path: Path) -> None:
    """Nothing that can be tried gives the tokens of another seed."""
    tiny = recorded_tiny.copied_to(tmp_path)
    _write_matrix(tiny)
    (file,), (other,) = (
        list(tiny.snapshots.glob(f"goldens/*/{name}.json")) for name in (TEXT, "tiny--text--seed2")
    )
    golden, taken = (json.loads(each.read_text("utf-8")) for each in (file, other))
    kept = {name: taken[name] for name in ("tokens", "text", "trace", "stop")}
    file.write_text(json.dumps(golden | kept), "utf-8")

    assert "  cause      not found: no change that was tried gives" in _attributed(tiny)


@pytest.fixture
def checked(drifted: Workspace, tmp_path: Path) -> Workspace:
    """Return a workspace in which the cell `FOX` of a scripted engine has drifted."""
    return drifted.copied_to(tmp_path)


def test_an_engine_that_answers_as_the_golden_is_no_drift_any_more(checked: Workspace) -> None:
    """The script that made the drift is gone."""
    ran = checked.run("explain", FOX, "--attribute")

    assert ran.code == 0
    assert "  cause      not here: with the matrix as it is, this machine gives the" in ran.out


def test_a_match_has_nothing_to_attribute(checked: Workspace) -> None:
    """No engine is started."""
    ran = checked.run("explain", "tiny--haiku--seed1", "--attribute")

    assert (ran.code, checked.asked("start")) == (0, [])
    assert ran.out.endswith("\nexperiments  none: there is no divergence from a golden\n")


def test_an_engine_that_cannot_be_run_is_4(checked: Workspace) -> None:
    """The explanation without it is shown all the same."""
    checked.write_script({"method": "load", "exit": 1})
    ran = checked.run("explain", FOX, "--attribute")

    assert ran.code == 4
    assert ran.out == checked.run("explain", FOX).out


def test_a_model_that_the_matrix_lost_is_4(checked: Workspace) -> None:
    """It cannot be run."""
    models = {"owl": {"engine": "scripted", "source": "tiny.gguf"}}
    suite = {"runs": 2, "seeds": [1], "prompts": {"owl": ["fox"]}}
    checked.write_matrix(models=models, suites={"quick": suite})
    ran = checked.run("explain", FOX, "--attribute")

    assert ran.code == 4
    assert "the matrix has no model tiny any more" in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("explain", FOX, "--engine", "other"),
        ("explain", FOX, "--attribute", "--engine", "other"),
        ("explain", "--from", "x.zip", "--attribute"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    checked: Workspace, arguments: tuple[str, ...]
) -> None:
    """Before anything is run."""
    assert checked.run(*arguments).code == 2
    assert checked.asked("start") == []


def test_an_interruption_shows_what_was_found(checked: Workspace) -> None:
    """It ends with 130, and leaves no process."""
    rules: list[dict[str, Any]] = [
        {"method": "generate", "time": 2, "sleep": 600},
        {"method": "generate", "result": {"tokens": [[1, "01"]], "trace": []}},
    ]
    checked.write_script(*rules)
    gate = checked.start("explain", FOX, "--attribute")
    deadline = time.monotonic() + PATIENCE_S
    while len(checked.asked()) < 2:
        assert time.monotonic() < deadline, "the run was not repeated"
        time.sleep(0.01)
    gate.send_signal(signal.SIGINT)
    ran = ended(gate)

    assert ran.code == 130
    assert ran.out.endswith("Interrupted: the rest was not tried.\n")
    assert checked.engines_alive_after(PATIENCE_S) == []
