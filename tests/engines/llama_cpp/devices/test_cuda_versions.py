"""Facts about the software of a GPU are read where possible, and omitted elsewhere."""

from pathlib import Path

import pytest

from repro_gate.engines import cuda_driver
from repro_gate.engines.llama_cpp.devices import cuda

CLOSED = (
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023\n"
)
OPEN = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build"
    "  (dvs-builder@U16)  Tue Jan 14 2025\nGCC version:  gcc version 12.3.0 (Ubuntu)\n"
)


@pytest.mark.parametrize(("text", "version"), [(CLOSED, "535.129.03"), (OPEN, "570.86.15")])
def test_the_driver_version_is_read_from_proc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, version: str
) -> None:
    """Both kernel modules are understood."""
    file = tmp_path / "version"
    file.write_text(text)
    monkeypatch.setattr(cuda_driver, "_DRIVER_FILE", file)
    assert cuda.versions()["nvidia_driver"] == version


def test_nvidia_smi_is_the_fallback_for_proc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of several equal answers is the version."""
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 570.86.15\necho 570.86.15\n")
    program.chmod(0o755)
    monkeypatch.setattr(cuda_driver, "_DRIVER_FILE", tmp_path / "missing")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert cuda.versions()["nvidia_driver"] == "570.86.15"


def test_without_an_nvidia_driver_nothing_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing program is not an error."""
    monkeypatch.setattr(cuda_driver, "_DRIVER_FILE", tmp_path / "missing")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cuda.versions()["nvidia_driver"] is None
