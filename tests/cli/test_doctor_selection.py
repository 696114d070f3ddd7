"""`doctor` describes the engines that a check of the same selection would use, and no others."""

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from repro_gate.cli.doctor import is_on_the_cpu
from repro_gate.core.engines import EngineKind
from tests.cli.workspaces import Workspace
from tests.fakes.values import engine_spec_of

_OURS = tomllib.loads((Path(__file__).parents[2] / "repro-gate.toml").read_text("utf-8"))
_LLAMA = _OURS["engines"]["exact"]
_ABSENT = {"kind": "command", "command": ["./absent"], "timeout_s": 5, "settings": {}}


@pytest.fixture
def mixed(workspace: Workspace) -> Workspace:
    """Return a matrix with three engines: a present one, a missing one, and llama.cpp."""
    engines = {
        "scripted": workspace.engine(),
        "absent": _ABSENT,
        "exact": _LLAMA,
    }
    models = {
        "tiny": {"engine": "scripted", "source": "tiny.gguf"},
        "far": {"engine": "absent", "source": "tiny.gguf"},
        "real": {"engine": "exact", "source": "tiny.gguf"},
    }
    suites = {
        name: {"runs": 1, "seeds": [1], "prompts": {model: ["haiku", "fox"] for model in of}}
        for name, of in {"quick": ["tiny"], "far": ["far"], "both": ["tiny", "real"]}.items()
    }
    workspace.write_matrix(engines=engines, models=models, suites=suites)
    workspace.write_script()
    return workspace


def test_the_doctor_uses_the_default_suites(mixed: Workspace) -> None:
    """An engine that only another suite needs is named, and may be missing."""
    ran = mixed.run("doctor")

    assert ran.code == 0
    assert "engine scripted (command on cpu)\n  profile test-cpu" in ran.out
    for name in ("absent (command", "exact (llama_cpp"):
        assert f"engine {name} on cpu) is not used by any selected cell\n" in ran.out


@pytest.mark.parametrize("option", [("--suite", "far"), ("--suite", "both", "--suite", "far")])
def test_all_engines_of_a_suite_are_described(mixed: Workspace, option: tuple[str, ...]) -> None:
    """The doctor finds what a check could not measure."""
    ran = mixed.run("doctor", *option)

    assert ran.code == 4
    assert "engine absent (command on cpu): " in ran.out
    assert "engine absent (command on cpu) is not used" not in ran.out


def test_cells_that_are_left_out_need_no_engine(mixed: Workspace) -> None:
    """A pattern for cells selects their engines."""
    ran = mixed.run("doctor", "--suite", "both", "--suite", "far", "--only", "tiny--*")

    assert (ran.code, ran.out.count("is not used")) == (0, 2)


def test_a_selection_of_nothing_is_4(mixed: Workspace) -> None:
    """As for a check; the rest is printed."""
    ran = mixed.run("doctor", "--only", "none--*")

    assert (ran.code, "suite quick" in ran.out) == (4, True)
    assert "no cell matches --only 'none--*'" in ran.err


def test_each_of_several_devices_is_described(mixed: Workspace) -> None:
    """All of them would measure."""
    ran = mixed.run("doctor", "--devices", "cuda:0,cuda:1")

    assert ran.code == 0
    for device in ("cuda:0", "cuda:1"):
        assert f"engine scripted (command on {device})\n  profile test-cpu" in ran.out


def test_llama_cpp_on_the_cpu_is_not_a_gpu(mixed: Workspace) -> None:
    """--expect-gpu detects a CPU build and a CPU device in the matrix."""
    ran = mixed.run("doctor", "--suite", "both", "--expect-gpu")

    assert ran.code == 4
    assert "engine exact (llama_cpp on cpu)\n  profile " in ran.out
    assert ran.out.endswith(
        "\nllama.cpp would run on the CPU only: give --device cuda, or change the matrix\n"
    )


@pytest.mark.parametrize("command", [("doctor",), ("check", "--quiet"), ("models", "list")])
def test_settings_that_the_selected_device_ignores_are_3(
    mixed: Workspace, command: tuple[str, ...]
) -> None:
    """In the matrix, or where a device of the command line takes the place of its own."""
    settings = {**_LLAMA["settings"], "gpu_layers": 2}
    engine = {**_LLAMA, "device": "cuda", "settings": settings}
    models = {"real": {"engine": "exact", "source": "tiny.gguf"}}
    suites = {"both": {"runs": 1, "seeds": [1], "prompts": {"real": ["haiku"]}}}
    mixed.write_matrix(
        engines={"exact": engine}, models=models, suites=suites, default_suites=["both"]
    )

    ran = mixed.run(*command, REPRO_GATE_DEVICE="cpu")

    is_checked = command[0] != "models"
    assert ran.code == (3 if is_checked else 0)
    assert ("engines.exact.settings.gpu_layers: expected no such setting" in ran.err) is is_checked


@pytest.mark.parametrize(
    ("engines", "is_on_it"),
    [
        ([("cuda", {"device.kind": "gpu"})], False),
        ([("vulkan", {"device.kind": "software"})], True),
        ([("cpu", {}), ("vulkan", {"device.kind": "software"})], True),
        ([("cpu", {}), ("metal", {"device.kind": "gpu"})], False),
        ([("cuda", None)], False),
        ([], False),
    ],
)
def test_a_driver_on_the_cpu_is_no_gpu(
    *, engines: list[tuple[str, dict[str, str] | None]], is_on_it: bool
) -> None:
    """Whatever llama.cpp calls it; one GPU among several engines is one."""
    built_in = engine_spec_of("exact")
    other = replace(built_in, kind=EngineKind.COMMAND, command=("x",), device="cuda")
    described = [(replace(built_in, device=device), facts) for device, facts in engines]

    assert is_on_the_cpu([(other, {}), *described]) is is_on_it


@pytest.mark.parametrize(
    ("option", "code"), [(("--suite", "quick"), 0), (("--suite", "both", "--device", "cuda"), 4)]
)
def test_a_gpu_is_expected_only_of_llama_cpp(
    mixed: Workspace, option: tuple[str, ...], code: int
) -> None:
    """Another engine may be for the CPU, and reports a missing device itself."""
    ran = mixed.run("doctor", *option, "--expect-gpu")

    assert (ran.code, "on the CPU alone" in ran.out) == (code, False)
