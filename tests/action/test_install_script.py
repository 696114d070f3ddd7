"""install.sh: refuses what it does not know, and installs nothing that is not pinned."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.action.files import ROOT
from tests.action.script import Machine
from tests.docs.pages import page

_NVCC = 'echo "Cuda compilation tools, release 13.0, V13.0.{patch}"'


def _flags(folder: Path) -> str:
    settings = tomllib.loads((folder / "uv.toml").read_text("utf-8"))
    flags: str = settings["extra-build-variables"]["llama-cpp-python"]["CMAKE_ARGS"]
    return flags


def _with_cuda(machine: Machine, capabilities: str = "9.0", patch: int = 1) -> None:
    machine.install("nvcc", _NVCC.format(patch=patch))
    machine.install("nvidia-smi", f"printf '{capabilities}\\n'")


def test_an_unknown_phase_is_refused(machine: Machine) -> None:
    """The action calls three phases."""
    assert machine.run("everything").code == 2


def test_two_jobs_at_once_do_not_meet(machine: Machine) -> None:
    """Each run has a folder of its own, and the caller's folder stays as it is."""
    first, second = machine.run("gate"), machine.run("gate")
    shared = {"name": "repro-gate", "uv": str(machine.uv)}
    own = {"claim", "command", "folder", "report", "unique-name"}
    assert set(first.outputs) == {*shared, *own}
    assert set(first.outputs.values()) & set(second.outputs.values()) == set(shared.values())
    assert Path(first.outputs["folder"]).parent == machine.temp
    assert Path(first.outputs["report"]).is_dir()
    assert list(machine.workspace.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("my-gate", "my-gate"),
        ("", "repro-gate"),
        # What GitHub makes of the matrix of a job by default.
        ("null", "repro-gate"),
        ("{}", "repro-gate"),
        ('{\n  "suite": "hosted"\n}', "repro-gate-gate.hosted"),
        ('{"suite": "embedded", "device": "cuda:0"}', "repro-gate-gate.embedded.cuda-0-fa80cb93"),
    ],
)
def test_each_leg_of_a_matrix_has_a_name_of_its_own(
    machine: Machine, given: str, name: str
) -> None:
    """Unless a name was given; the report has another one to fall back on."""
    outputs = machine.run("gate", SETUP_ARTIFACT_NAME=given, GITHUB_JOB="gate").outputs

    assert outputs["name"] == name
    assert re.fullmatch(re.escape(name) + r"-[A-Za-z0-9]{8}", outputs["unique-name"])
    assert outputs["unique-name"].rpartition("-")[2] == outputs["folder"].rpartition(".")[2]
    assert Path(outputs["claim"]).read_text("utf-8").endswith(f"in the artifact {name}.\n")


@pytest.mark.parametrize("given", ["{", "{x}", '{"a": $(touch here)}'])
def test_a_matrix_that_is_no_json_is_refused(machine: Machine, given: str) -> None:
    """The result is published under the default name then."""
    result = machine.run("gate", SETUP_ARTIFACT_NAME=given)

    assert (result.code, result.outputs["refused"]) == (2, "artifact-name")
    assert result.outputs["name"] == "repro-gate"
    assert list(machine.workspace.iterdir()) == []


def test_the_command_is_that_of_this_checkout(machine: Machine) -> None:
    """It is run from a copy in the environment, and no file of the caller's stands in its way."""
    outputs = machine.run("gate").outputs
    command = Path(outputs["command"])
    (package,) = Path(outputs["folder"]).glob("environment/lib/python3.*/site-packages/repro_gate")
    assert (package / "cli" / "app.py").read_bytes() == (
        ROOT / "repro_gate" / "cli" / "app.py"
    ).read_bytes()
    python = f"{outputs['folder']}/environment/bin/python"
    assert command.read_text("utf-8").splitlines()[1] == f'exec {python} -I -m repro_gate "$@"'
    assert os.access(command, os.X_OK)


def test_what_is_checked_does_not_decide_how_we_are_installed(machine: Machine) -> None:
    """Wherever uv works, it finds our settings first, which are empty."""
    folder = Path(machine.run("gate").outputs["folder"])
    assert {call.folder for call in machine.calls()} == {str(folder)}
    assert (folder / "uv.toml").read_bytes() == b""


def test_no_module_of_the_repository_stands_in_for_another(machine: Machine) -> None:
    """Neither the folder in which a step begins nor `PYTHONPATH` is a place for our modules."""
    for name in ("logging", "tomllib", "typer", "venv"):
        module = machine.workspace / f"{name}.py"
        module.write_text(f"raise SystemExit('{name} of the repository')\n", "utf-8")
    hostile = {"PYTHONPATH": str(machine.workspace)}
    gate = machine.run("gate", **hostile)
    plan = machine.run("plan", SETUP_FOLDER=gate.outputs["folder"], **hostile)
    command = [gate.outputs["command"], "--version"]
    done = subprocess.run(command, cwd=machine.workspace, env=os.environ | hostile, check=False)
    assert [(gate.code, gate.printed), (plan.code, plan.printed), done.returncode] == [
        (0, ""),
        (0, ""),
        0,
    ]


def test_uv_is_fetched_where_there_is_none(machine: Machine) -> None:
    """It comes by pip, pinned, and no setting or file of the repository is in the way."""
    machine.install_python()
    machine.uv.unlink()
    result = machine.run("gate")
    folder = result.outputs["folder"]
    venv, pip, *rest = machine.calls()
    assert result.outputs["uv"] == f"{folder}/uv"
    assert venv.arguments == ["-I", "-m", "venv", f"{folder}/fetch"]
    assert pip.arguments[:4] == ["-I", "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary", "--require-hashes"} <= set(pip.arguments)
    assert [call.arguments[0] for call in rest] == ["venv", "pip"]
    assert {call.folder for call in machine.calls()} == {folder}


def test_uv_is_fetched_once(machine: Machine) -> None:
    """The next job on the machine takes the wheel that the first one has kept, whole."""
    machine.install_python()
    machine.uv.unlink()
    results = [machine.run("gate") for _ in range(2)]

    assert [result.code for result in results] == [0, 0]
    assert [call.arguments[3] for call in machine.calls()].count("download") == 1
    (kept,) = (file for file in machine.tools.rglob("*") if file.is_file())
    assert kept.name == "uv-0.13.9-py3-none-linux_x86_64.whl"
    assert kept.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("harm", ["cut", "changed", "unreadable"])
def test_a_uv_that_the_lock_does_not_know_is_fetched_anew(machine: Machine, harm: str) -> None:
    """Any job can write to the folder of tools, and none may decide what the next one runs."""
    machine.install_python()
    machine.uv.unlink()
    machine.run("gate")
    (kept,) = (file for file in machine.tools.rglob("*") if file.is_file())
    good = kept.read_bytes()
    if harm == "unreadable":
        kept.unlink()
        kept.mkdir()
    else:
        kept.write_bytes(good[:-1] if harm == "cut" else good + b"x")

    assert machine.run("gate").code == 0
    assert [call.arguments[3] for call in machine.calls()].count("download") == 2
    assert harm == "unreadable" or kept.read_bytes() == good


def test_uv_is_fetched_where_nothing_can_be_kept(machine: Machine) -> None:
    """The folder of tools may be missing, or belong to somebody else."""
    machine.install_python()
    machine.uv.unlink()
    machine.tools.touch()
    results = [machine.run("gate"), machine.run("gate", RUNNER_TOOL_CACHE="")]

    assert [result.code for result in results] == [0, 0]
    assert "uv could not be kept in" in results[0].printed
    assert results[1].printed == ""


def test_the_path_may_be_relative(machine: Machine) -> None:
    """It is meant from the folder in which the step was started."""
    result = machine.run("gate", PATH=os.path.relpath(machine.uv.parent, machine.workspace))
    assert (result.code, result.printed) == (0, "")
    assert Path(result.outputs["uv"]).samefile(machine.uv)
    assert Path(result.outputs["uv"]).is_absolute()


def test_what_does_not_run_is_not_installed(machine: Machine) -> None:
    """An environment without what should be in it is reported by the step that made it."""
    machine.python.write_text("#!/usr/bin/env bash\necho no module of that name\nexit 1\n", "utf-8")
    result = machine.run("gate")
    assert (result.code, result.outputs) == (4, {})
    assert result.printed.endswith("::what was installed does not run: see above\n")


def test_every_package_is_pinned_by_hash(machine: Machine) -> None:
    """Whatever comes from a package index has a hash, and so has what builds it."""
    machine.run("gate")
    folder = machine.prepared()
    machine.run("plan", SETUP_FOLDER=str(folder))
    machine.run("library", SETUP_FOLDER=str(folder), SETUP_UV=str(machine.uv))
    gate, library = [call.arguments for call in machine.calls() if call.arguments[0] == "pip"]
    assert {"--require-hashes", "--no-build", f"{ROOT}/requirements-report.lock"} <= set(gate)
    assert {"--require-hashes", "--no-deps", "--build-constraints"} <= set(library)
    lock = (folder / "library.lock").read_text("utf-8")
    assert re.fullmatch(r"llama-cpp-python==\S+ \\\n    --hash=sha256:[0-9a-f]{64}\n", lock)


def test_the_cache_is_asked_first(machine: Machine) -> None:
    """What is in uv's cache is installed without asking anybody."""
    machine.run("gate")
    assert all("--offline" in call.arguments for call in machine.calls()[1:])


def test_the_network_is_asked_where_the_cache_has_not_all(machine: Machine) -> None:
    """On a new machine each package comes from the index."""
    machine.install_uv(prints="not found in the cache")
    assert machine.run("gate").code == 0
    online = [call.arguments[1] for call in machine.calls() if "--offline" not in call.arguments]
    assert online == ["--quiet", "sync"]


def test_what_does_not_compile_is_compiled_once(machine: Machine) -> None:
    """It takes minutes, and the compiler's message is shown."""
    folder = machine.prepared()
    machine.install_uv(
        prints="Failed to build llama-cpp-python: The build backend returned an error"
    )
    result = machine.run("library", SETUP_FOLDER=str(folder), SETUP_UV=str(machine.uv))
    compiled = [call for call in machine.calls() if "--no-build-isolation" not in call.arguments]
    assert (result.code, len(compiled)) == (4, 1)
    assert "The build backend returned an error\n" in result.printed
    assert result.printed.endswith("::llama-cpp-python could not be installed: see above\n")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("venv", "there is no Python from 3.11 to 3.14 and none could be fetched, or uv could"),
        ("pip", "the packages of the gate could not be installed: see above"),
    ],
)
def test_a_failure_of_uv_is_told_as_what_it_is(
    machine: Machine, command: str, message: str
) -> None:
    """With the message of uv."""
    machine.install_uv(prints="not found in the cache", fails=command)
    result = machine.run("gate")
    assert (result.code, result.outputs) == (4, {})
    assert f"no {command} today\n::error title=repro-gate::{message}" in result.printed


def test_a_uv_that_cannot_be_fetched_is_told(machine: Machine) -> None:
    """Where the index does not answer, no missing Python is reported."""
    machine.install_python(index_is_there=False)
    machine.uv.unlink()
    result = machine.run("gate")
    printed = "::error title=repro-gate::uv could not be fetched: see above\n"
    assert (result.code, result.printed) == (4, printed)


def test_an_old_uv_is_not_used(machine: Machine) -> None:
    """A uv that does not know the flags of the build would build with others."""
    machine.install_uv("0.8.24")
    machine.install("python3", "exit 1")
    result = machine.run("gate")
    assert (result.code, machine.calls()) == (4, [])
    assert "cannot make an environment: install its module venv, or uv 0.9.0" in result.printed


def test_a_machine_without_uv_and_python_is_told_what_it_lacks(machine: Machine) -> None:
    """There is nothing to begin with."""
    machine.uv.unlink()
    result = machine.run("gate")
    assert result.code == 4
    assert "neither uv 0.9.0 nor a Python" in result.printed


def test_the_cpu_build_is_the_one_of_the_project(machine: Machine) -> None:
    """Goldens recorded with `make golden` hold for the action."""
    folder = machine.prepared()
    assert machine.run("plan", SETUP_FOLDER=str(folder)).code == 0
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["uv"]
    written = tomllib.loads((folder / "uv.toml").read_text("utf-8"))
    assert written == {"extra-build-variables": project["extra-build-variables"]}


def test_the_cuda_build_is_the_one_of_the_documentation(machine: Machine) -> None:
    """The flags are those that the page on GPUs exports."""
    _with_cuda(machine)
    folder = machine.prepared()
    result = machine.run("plan", SETUP_FOLDER=str(folder), SETUP_ACCELERATOR="cuda")
    blocks = "\n".join(page("docs/how-to/run-on-a-gpu.md").blocks("sh"))
    documented = re.search(r'export CMAKE_ARGS="([^"]+)"', blocks)
    assert documented is not None
    assert (result.code, _flags(folder)) == (0, documented[1])


def test_an_architecture_that_is_given_is_taken(machine: Machine) -> None:
    """Then nobody asks the GPU."""
    _with_cuda(machine, capabilities="8.0")
    folder = machine.prepared()
    given = {"SETUP_ACCELERATOR": "cuda", "SETUP_CUDA_ARCHITECTURE": "120a"}
    assert machine.run("plan", SETUP_FOLDER=str(folder), **given).code == 0
    assert "-DCMAKE_CUDA_ARCHITECTURES=120a-real " in _flags(folder)


def test_several_equal_gpus_are_one_architecture(machine: Machine) -> None:
    """A runner with eight of them is as good as one with one."""
    _with_cuda(machine, capabilities="9.0\\n9.0")
    folder = machine.prepared()
    assert machine.run("plan", SETUP_FOLDER=str(folder), SETUP_ACCELERATOR="cuda").code == 0
    assert "-DCMAKE_CUDA_ARCHITECTURES=90-real " in _flags(folder)


@pytest.mark.parametrize("capabilities", ["8.0\\n9.0", "", "no devices were found", "[N/A]"])
def test_an_unclear_gpu_has_to_be_named(machine: Machine, capabilities: str) -> None:
    """Where the GPUs differ, or there is none, nothing is guessed."""
    _with_cuda(machine, capabilities=capabilities)
    folder = machine.prepared()
    result = machine.run("plan", SETUP_FOLDER=str(folder), SETUP_ACCELERATOR="cuda")
    assert result.code == 4
    assert "set cuda-architecture" in result.printed


def test_cuda_needs_its_compiler(machine: Machine) -> None:
    """A missing nvcc is reported before minutes have been spent."""
    folder = machine.prepared()
    result = machine.run("plan", SETUP_FOLDER=str(folder), SETUP_ACCELERATOR="cuda")
    assert result.code == 4
    assert "there is no nvcc on the PATH or in CUDA_HOME" in result.printed


def test_each_build_has_a_key_of_its_own(machine: Machine) -> None:
    """A library is never taken for one of another device, architecture or toolkit."""
    folder = str(machine.prepared())
    keys = [machine.run("plan", SETUP_FOLDER=folder).outputs["key"]]
    for architecture, patch in (("90", 1), ("80", 1), ("90", 2)):
        _with_cuda(machine, patch=patch)
        given = {"SETUP_ACCELERATOR": "cuda", "SETUP_CUDA_ARCHITECTURE": architecture}
        keys.append(machine.run("plan", SETUP_FOLDER=folder, **given).outputs["key"])
    machine.install_uv("0.14.0")
    keys.append(machine.run("plan", SETUP_FOLDER=folder).outputs["key"])
    assert len(set(keys)) == len(keys)
    machine.install_uv()
    assert machine.run("plan", SETUP_FOLDER=folder).outputs["key"] == keys[0]


def test_a_key_is_of_everything_or_there_is_none(machine: Machine) -> None:
    """A program that fails in the middle does not leave a shorter key."""
    machine.install("cc", "echo cc 12")
    result = machine.run("plan", SETUP_FOLDER=str(machine.prepared()), SETUP_UV="gone")
    assert (result.code, "key" in result.outputs) == (127, False)


def test_uv_is_told_the_flags_and_keeps_its_own_settings(machine: Machine) -> None:
    """It runs where the flags are written, and reads the settings of the machine as well."""
    folder = machine.prepared()
    machine.run("library", SETUP_FOLDER=str(folder), SETUP_UV=str(machine.uv))
    (call,) = machine.calls()
    assert call.folder == str(folder)
    assert "--config-file" not in call.arguments


def test_each_build_has_a_cache_of_its_own(machine: Machine) -> None:
    """A call for one of them, also when it is cancelled, does not touch what others have."""
    machine.install_uv(prints="not found in the cache")
    given = {"SETUP_FOLDER": str(machine.prepared()), "SETUP_UV": str(machine.uv)}
    for key in ("cpu", "cuda"):
        assert machine.run("library", SETUP_KEY=key, **given).code == 0

    written = [c.cache for c in machine.calls() if "--no-build-isolation" not in c.arguments]
    caches = [f"{machine.tools}/repro-gate/{key}" for key in ("cpu", "cuda")]
    assert written == [caches[0]] * 3 + [caches[1]] * 3


@pytest.mark.parametrize("key", ["key-of-the-library", ""])
def test_what_is_compiled_is_installed_from_where_it_is(machine: Machine, key: str) -> None:
    """From its own cache, or from that of uv, which an image may have; nothing is compiled."""
    own = f"{machine.tools}/repro-gate/key-of-the-library"
    machine.install_uv(prints="not found in the cache", has=own if key else "")
    given = {"SETUP_FOLDER": str(machine.prepared()), "SETUP_UV": str(machine.uv)}

    assert machine.run("library", **given).code == 0
    assert [call.cache for call in machine.calls()] == ([own] if key else [own, ""])
    assert all({"--offline", "--no-build-isolation"} <= set(c.arguments) for c in machine.calls())


def test_a_runner_without_a_folder_of_tools_has_the_cache_of_uv(machine: Machine) -> None:
    """As before there were others."""
    machine.install_uv(prints="not found in the cache")
    given = {"SETUP_FOLDER": str(machine.prepared()), "SETUP_UV": str(machine.uv)}

    assert machine.run("library", RUNNER_TOOL_CACHE="", **given).code == 0
    assert {call.cache for call in machine.calls()} == {""}


def test_a_library_to_be_kept_is_all_that_is_kept(machine: Machine) -> None:
    """With `cache` the library has a cache of its own, without what can be downloaded."""
    folder = machine.prepared()
    cache = machine.run("plan", SETUP_FOLDER=str(folder)).outputs["cache"]
    given = {"SETUP_FOLDER": str(folder), "SETUP_UV": str(machine.uv), "SETUP_CACHE": "true"}
    machine.install_uv(prints="not found in the cache")
    assert machine.run("library", **given).code == 0
    assert {call.cache for call in machine.calls()} == {cache}
    assert machine.calls()[-1].arguments == ["cache", "prune", "--ci", "--quiet"]
