"""A job with `accelerator: cuda` on a runner whose toolkit and GPU are stand-ins."""

import pytest

from tests.action.act.callers import Caller
from tests.action.act.scenes import Stage

pytestmark = pytest.mark.act

_UV = """\
# The library itself is not installed.
if [[ "$*" == *library.lock* ]]; then exit 0; fi
mapfile -t all < <(type -aP uv)
exec "${all[1]}" "$@"
"""
_PROGRAMS = {
    "nvcc": "echo 'Cuda compilation tools, release 13.0, V13.0.1'",
    "nvidia-smi": "echo 9.0",
    "uv": _UV,
}
_LLAMA = """
[engines.exact]
kind = "llama_cpp"
device = "cuda"
timeout_s = 60
settings = { n_ctx = 64, n_batch = 64, threads = 1, flash_attention = false, kv_type = "f32" }

[models.real]
engine = "exact"
source = "corpus.txt"

[suites.gpu]
runs = 1
seeds = [42]
prompts = { real = ["bread"] }
"""


@pytest.fixture
def gpu(stage: Stage) -> Stage:
    """Return a pull request with an engine of its own and llama.cpp, and programs to run first."""
    programs = stage.caller.folder / "programs"
    programs.mkdir()
    for name, script in _PROGRAMS.items():
        (programs / name).write_text(f"#!/usr/bin/env bash\n{script}\n", "utf-8")
        (programs / name).chmod(0o755)
    matrix = stage.caller.folder / "repro-gate.toml"
    matrix.write_text(matrix.read_text("utf-8") + _LLAMA, "utf-8")
    workflow = ".github/workflows/gate.yml"
    put_first = '- run: printf "%s\\n" "$PWD/programs" >>"$GITHUB_PATH"\n      - id: gate\n'
    stage.caller.edit(workflow, "- id: gate\n", put_first)
    stage.caller.edit(workflow, "accelerator: none", "accelerator: cuda")
    return stage


def test_an_engine_for_the_cpu_needs_no_gpu(gpu: Stage) -> None:
    """The suites that are checked need no GPU, and those that do are not looked at."""
    scene = gpu.play(1)

    assert scene.log.results == {"gate": "success"}
    assert "engine markov (command on cpu)" in scene.log.text
    assert "engine exact (llama_cpp on cuda) is not used" in scene.log.text


def test_nothing_is_checked_without_the_gpu(gpu: Stage) -> None:
    """The job ends before the check, and the comment reports none."""
    scene = gpu.play(1, _check_llama)

    assert scene.log.results == {"gate": "failure"}
    assert "exit status 4" in scene.log.text
    assert "The check did not start" in scene.comment


def _check_llama(caller: Caller) -> None:
    workflow = ".github/workflows/gate.yml"
    caller.edit(workflow, "accelerator: cuda", "accelerator: cuda, suite: all gpu")
