"""`pytest --repro-gate -n N`: a model stays on one worker, and each worker has its device."""

import json
from typing import Any

import pytest

from repro_gate.core.report import EngineReport
from repro_gate.errors import MeasurementUnavailable
from repro_gate.pytest_plugin.reporting import require_one_profile
from tests.cli.workspaces import Workspace
from tests.pytest_plugin.conftest import Project

_SPREAD = ("-n", "2", "--dist", "loadscope")


def _with_two_models(project: Project) -> None:
    """Add a second model, without goldens."""
    models = {name: {"engine": "scripted", "source": "tiny.gguf"} for name in ("tiny", "other")}
    prompts = {name: ["haiku", "fox"] for name in models}
    suites = {"quick": {"runs": 2, "seeds": [1, 2], "prompts": prompts}}
    project.gate.write_matrix(models=models, suites=suites)


def _report(workspace: Workspace, folder: str) -> Any:
    """Return a written report without its times."""
    document = json.loads((workspace.folder / folder / "report.json").read_text("utf-8"))
    report = document["result"]["report"]
    return {key: report[key] for key in report.keys() - {"started_at", "timing"}}


def test_each_worker_has_its_models_and_its_device(project: Project) -> None:
    """The report of all workers is that of one process, and that of a check."""
    _with_two_models(project)
    project.drift()
    ran = project.pytest(
        *("--repro-gate", "--repro-gate-report", "spread", *_SPREAD),
        *("--repro-gate-devices", "cuda:0,cuda:1"),
    )
    loads = {(each["model"], each["device"]) for each in project.gate.asked("load")}
    alone = project.pytest("--repro-gate", "--repro-gate-report", "alone")
    checked = project.gate.run("check", "--output", "checked")

    assert (ran.last, alone.last, checked.code) == ("5 failed, 6 passed",) * 2 + (10,)
    assert {device for _, device in loads} == {"cuda:0", "cuda:1"}
    assert len(loads) == 2
    reports = [_report(project.gate, folder) for folder in ("spread", "alone", "checked")]
    assert reports[0] | {"repeat_with": []} == reports[1] == reports[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("-n", "2"),
            "with --dist load each of 2 workers would load every model; use --dist loads",
        ),
        (
            (*_SPREAD, "--repro-gate-devices", "cuda:0"),
            "--repro-gate-devices has 1 devices for 2 workers",
        ),
    ],
)
def test_a_distribution_that_would_load_models_twice_is_refused(
    project: Project, arguments: tuple[str, ...], message: str
) -> None:
    """On one GPU the second one would find no memory."""
    ran = project.pytest("--repro-gate", *arguments)

    assert ran.code != 0
    assert message in ran.out
    assert project.gate.asked("start") == []


def test_devices_without_workers_share_each_model(project: Project) -> None:
    """As in a check."""
    ran = project.pytest("--repro-gate", "--repro-gate-devices", "cpu, cpu")

    assert ran.last == "6 passed"
    # One of them for the orphaned goldens would be too many.
    assert len(project.gate.asked("describe")) == 2


def test_workers_on_devices_of_different_profiles_give_no_report() -> None:
    """Each test has its verdict, but one report compares with the goldens of one profile."""
    engines = [EngineReport(name="llama", profile=f"cuda-sm{each}", facts={}) for each in (80, 90)]

    require_one_profile(engines[:1] * 2)
    with pytest.raises(MeasurementUnavailable, match="different profiles: cuda-sm80 and cuda-sm90"):
        require_one_profile(engines)
