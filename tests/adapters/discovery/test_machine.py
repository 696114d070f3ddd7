"""This machine: its GPUs, its keys by name, and how a chat template is tried."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from repro_gate.adapters.discovery import machine
from repro_gate.adapters.discovery.chats import form_of_chat
from repro_gate.adapters.discovery.gpus import cuda_problem, nvidia_gpus
from repro_gate.adapters.discovery.machine import ThisMachine
from repro_gate.adapters.discovery.models import Surroundings
from repro_gate.core.start.machine import Place
from repro_gate.core.start.prompts import ChatForm, messages_of
from repro_gate.errors import UsageInvalid
from repro_gate.tiny_models.maker import make
from repro_gate.tiny_models.recipes import RECIPES

_PLAIN = "{% for m in messages %}{{ m.content }}{% endfor %}"
_DATED = "{% if not date_string is defined %}{% set date_string = strftime_now('%d') %}{% endif %}"


def _program(folder: Path, name: str, text: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


def _machine(folder: Path, environ: Mapping[str, str]) -> ThisMachine:
    where = Surroundings(folder=folder, home=folder / "home", cache=folder / "c", environ=environ)
    return ThisMachine(where=where)


def test_keys_are_found_by_name_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable holds none."""
    monkeypatch.setattr(machine, "find_servers", lambda: ())
    monkeypatch.setenv("PATH", str(tmp_path))
    _program(tmp_path, "llama-server", "exit 0")
    environ = {"TOGETHER_API_KEY": "its-value", "OPENAI_API_KEY": " ", "AWS_SECRET": "x"}

    found = _machine(tmp_path, environ).look()

    assert (found.keys, found.has_llama_server) == (("TOGETHER_API_KEY",), True)
    assert "its-value" not in repr(found)
    assert (found.gpus, found.gpu_problem, found.device) == ((), None, "cpu")
    assert found.cores >= 1


def test_gpus_are_those_that_nvidia_smi_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that fails lists none, and neither does a machine without it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert nvidia_gpus() == ()
    _program(tmp_path, "nvidia-smi", "echo NVIDIA H200; echo; echo NVIDIA T4")
    assert nvidia_gpus() == ("NVIDIA H200", "NVIDIA T4")
    _program(tmp_path, "nvidia-smi", "echo NVIDIA H200; exit 9")
    assert nvidia_gpus() == ()


@pytest.mark.skipif(cuda_problem(Path()) is None, reason="this llama.cpp has a CUDA device")
def test_a_gpu_that_the_engine_cannot_use_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plain install of llama-cpp-python knows the CPU only."""
    monkeypatch.setattr(machine, "find_servers", lambda: ())
    monkeypatch.setattr(machine, "nvidia_gpus", lambda: ("NVIDIA H200",))

    found = _machine(tmp_path, {}).look()

    assert (found.device, found.gpus) == ("cpu", ("NVIDIA H200",))
    assert "cuda is not among the devices of this llama.cpp" in (found.gpu_problem or "")


def test_a_named_file_is_read(tmp_path: Path) -> None:
    """Its header now, and its digest when it is pinned."""
    file = tmp_path / "m.gguf"
    make(RECIPES["tiny-qwen2"], file)
    here = _machine(tmp_path, {})

    assert (here.model_at(file).place, here.digest_of(file)) == (
        Place.GIVEN,
        hashlib.sha256(file.read_bytes()).hexdigest(),
    )


def test_a_source_that_is_fetched_is_read_from_the_cache(tmp_path: Path) -> None:
    """It stays there for every check."""
    source = "hf:owner/repo/m.gguf"
    file = tmp_path / "c/models/hf/owner/repo/m.gguf"
    file.parent.mkdir(parents=True)
    make(RECIPES["tiny-qwen2"], file)

    found = _machine(tmp_path, {}).fetched(source)

    assert (found.path, found.source, found.shown) == (file, source, source)
    assert found.place is Place.OWN_CACHE


@pytest.mark.parametrize("source", ["hf:repo", "package:name/m.gguf", "hf:a/b/\x1b[31m.gguf"])
def test_a_source_of_another_form_is_refused(tmp_path: Path, source: str) -> None:
    """With the form that it must have."""
    with pytest.raises(UsageInvalid, match="SOURCE is "):
        _machine(tmp_path, {}).fetched(source)


@pytest.mark.parametrize(
    ("template", "form"),
    [
        (_PLAIN, ChatForm()),
        (f"{_PLAIN}{{{{ enable_thinking }}}}", ChatForm(variables={"enable_thinking": True})),
        (f"{_DATED}{_PLAIN}", ChatForm(variables={"date_string": "26 Jul 2024"})),
        (
            f"{_PLAIN}{{{{ enable_thinking }}}}{{{{ datetime }}}}",
            ChatForm(variables={"enable_thinking": True, "datetime": "26 Jul 2024"}),
        ),
    ],
    ids=["plain", "thinks", "dated", "both"],
)
def test_a_template_gets_the_variables_that_it_needs(template: str, form: ChatForm) -> None:
    """And no others, which the engine would note."""
    assert form_of_chat(template, messages_of("Hello")) == form


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ raise_exception('no') }}", "the chat template refuses the messages: no"),
        ("{{ strftime_now('%d') }}", "the template prints the time of rendering"),
        ("{% if", "the chat template fails"),
        ("{{ '' }}", "it could not be rendered"),
    ],
)
def test_a_template_that_the_engine_refuses_has_its_reason(template: str, reason: str) -> None:
    """Within its limits of time and memory."""
    assert (form_of_chat(template, messages_of("Hello")).refused or "").startswith(reason)
