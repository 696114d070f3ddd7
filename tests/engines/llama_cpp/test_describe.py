"""`describe` reports what the engine is, and the profile for which its results are valid."""

import hashlib
import json
import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import llama_cpp
import pytest

from repro_gate.engines.llama_cpp import native
from repro_gate.engines.llama_cpp.devices.targets import Device
from repro_gate.engines.llama_cpp.provenance import loaded_libraries
from repro_gate.protocol import Method

if TYPE_CHECKING:
    from tests.engines.llama_cpp.conftest import EngineStarter
    from tests.fakes.driven_engine import DrivenEngine


def test_the_cpu_profile_is_machine_and_instruction_set(idle_engine: "DrivenEngine") -> None:
    """The instruction set is the one that the library was built for, not what the CPU has."""
    answer = idle_engine.ask(Method.DESCRIBE, device="cpu")
    features = answer["facts"]["build.features"]
    expected = next(
        (
            name
            for flag, name in {"AVX512": "avx512", "AVX2": "avx2", "NEON": "neon"}.items()
            if f"| {flag} = 1" in features
        ),
        "?",
    )
    assert (answer["engine"], answer["profile"]) == (
        "llama_cpp",
        f"cpu-{platform.machine().lower()}-{expected}",
    )


def test_every_loaded_library_is_named_by_its_digest(idle_engine: "DrivenEngine") -> None:
    """The digests are those of the files in the package's own folder."""
    facts = idle_engine.ask(Method.DESCRIBE, device="cpu")["facts"]
    folder = Path(llama_cpp.__file__).parent / "lib"
    digests = {name: value for name, value in facts.items() if name.startswith("library.")}
    expected = {
        name: hashlib.sha256((folder / name.split(".", 1)[1][: -len(".sha256")]).read_bytes())
        for name in digests
    }
    assert digests == {name: digest.hexdigest() for name, digest in expected.items()}
    assert {name.split(".")[1] for name in digests} >= {"libllama", "libggml-base", "libggml-cpu"}


def test_without_a_list_of_what_is_loaded_every_library_counts() -> None:
    """Only Linux has the list; each file is named once, whatever links there are to it."""
    found = loaded_libraries(Path("/none"))
    assert {file.name.split(".")[0] for file in found} >= {"libllama", "libggml-base"}
    assert [file for file in found if file.is_symlink()] == []


def test_facts_name_neither_host_nor_user(start_engine: "EngineStarter") -> None:
    """A home folder in a search path is written as a tilde."""
    home = str(Path("~").expanduser())
    engine = start_engine(LD_LIBRARY_PATH=f"{home}/lib:/usr/lib", HOSTNAME="secret-host")
    facts = engine.ask(Method.DESCRIBE, device="cpu")["facts"]
    text = json.dumps(facts)
    assert facts["env.LD_LIBRARY_PATH"] == "~/lib:/usr/lib"
    assert not [word for word in (platform.node(), "secret-host", home) if word in text]


def test_variables_that_change_results_are_facts(
    start_engine: "EngineStarter", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only those that are set, and that llama.cpp or its libraries read."""
    for name in list(os.environ):
        if re.match(r"OMP_|OPENBLAS_|MKL_|CUDA_|LD_|GGML_|VK_|HSA_|ONEAPI_", name):
            monkeypatch.delenv(name)
    variables = {
        "GGML_CUDA_DISABLE_GRAPHS": "",
        "GGML_VK_DISABLE_F16": "1",
        "GGML_METAL_FUSION_DISABLE": "1",
        "HSA_OVERRIDE_GFX_VERSION": "11.0.0",
        "VK_DRIVER_FILES": "/icd.json",
        "ONEAPI_DEVICE_SELECTOR": "level_zero:0",
        "OMP_NUM_THREADS": "3",
    }
    others = {"UNRELATED": "1", "GGML_NO_BACKTRACE": "1", "VKD": "1"}
    facts = start_engine(**variables, **others).ask(Method.DESCRIBE, device="cpu")["facts"]
    assert {name: value for name, value in facts.items() if name.startswith("env.")} == {
        f"env.{name}": value for name, value in variables.items()
    }


@pytest.mark.parametrize("device", ["cuda:9", "cuda:99", "metal", "rocm:1"])
def test_a_missing_device_is_unavailable(idle_engine: "DrivenEngine", device: str) -> None:
    """The message names the requested device and the available ones."""
    kind, message = idle_engine.refusal(Method.DESCRIBE, device=device)
    assert kind == "device_unavailable"
    assert message.startswith(f"{device} is not among the devices of this llama.cpp (")
    assert "CPU" in message


def test_all_of_several_devices_must_exist(idle_engine: "DrivenEngine") -> None:
    """The settings of a load decide which devices a profile is for."""
    kind, message = idle_engine.refusal(Method.DESCRIBE, device="cuda:1", settings={"gpus": 3})
    assert kind == "device_unavailable"
    assert message.startswith("3 GPUs from cuda:1 on are not among the devices of this llama.cpp (")


def test_settings_that_the_cpu_ignores_are_refused(idle_engine: "DrivenEngine") -> None:
    """In a description as in a load."""
    kind, message = idle_engine.refusal(Method.DESCRIBE, device="cpu", settings={"gpus": 1})
    assert (kind, "no such setting for the device cpu" in message) == ("bad_request", True)


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:-1", "cuda:0:1", "CPU", "", 0])
def test_an_invalid_device_name_is_a_bad_request(
    idle_engine: "DrivenEngine", device: object
) -> None:
    """The message lists the valid forms."""
    kind, message = idle_engine.refusal(Method.DESCRIBE, device=device)
    assert kind == "bad_request"
    assert "device" in message


def test_the_free_memory_of_a_device_is_read() -> None:
    """llama.cpp has the function for every device; here for the CPU in the place of a GPU."""
    cpu = native.get_device(0)
    device = Device(handle=cpu, name="CUDA0", description="", backend="cuda", index=0)
    assert 2**20 < device.free_memory() < 2**50


@dataclass(frozen=True, slots=True, kw_only=True)
class _SlowDevice(Device):
    """A GPU that starts only after something else was done."""

    is_done: Event

    def free_memory(self) -> int:
        assert self.is_done.wait(60)
        return 0


def test_a_gpu_starts_while_something_else_is_done() -> None:
    """Taking the digest of a model does not wait for the GPU."""
    done = Event()
    cpu = native.get_device(0)
    device = _SlowDevice(
        handle=cpu, name="CUDA0", description="", backend="cuda", index=0, is_done=done
    )
    with device.starting():
        done.set()
    assert done.is_set()
