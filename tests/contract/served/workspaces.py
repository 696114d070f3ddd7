"""A folder with the matrix of a server, and its program on the PATH."""

import os
import stat
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cli.workspaces import Ran, Workspace, ended, toml

ROOT = Path(__file__).parents[3]
PROMPTS = {
    "fox": "The quick brown fox jumps over the lazy dog and then",
    "sea": "Once upon a time, in a small village by the sea, there",
    "sky": "List three reasons why the sky is blue in the morning:",
}
_PATIENCE_S = 900
_COUNTED = ("answers", "other_tokens", "other_bits")
_IMITATIONS = {
    "llama-server": "-m tests.fakes.llama_server",
    "vllm": "-m tests.fakes.vllm",
}

_SMALL = (
    *("--enforce-eager", "--max-model-len", "1024"),
    *("--max-num-batched-tokens", "8192", "--enable-prompt-tokens-details"),
)
_ENV = {
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
}
"""The least that a vLLM on a CPU takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedWorkspace(Workspace):
    """A folder whose engine is a server that the gate starts."""

    programs: Path
    """A folder of the PATH."""

    def environment(self, **changes: str) -> dict[str, str]:
        """Return the environment with the programs."""
        path = f"{self.programs}{os.pathsep}{os.environ['PATH']}"
        return Workspace.environment(self, **({"PATH": path} | changes))

    def run_slowly(self, *arguments: str) -> Ran:
        """Run the program to its end, which may take minutes."""
        return ended(self.start(*arguments), within_s=_PATIENCE_S)

    def modes(self) -> "dict[str, Mode]":
        """Return what the last check measured in each mode, all cells together."""
        results: dict[str, list[dict[str, Any]]] = {}
        for cell in self.report()["cells"]:
            for result in cell.get("modes", ()):
                mode = result["mode"]
                number = f"-{mode['sequences']}" if mode.get("sequences", 1) > 1 else ""
                results.setdefault(f"{mode['kind']}{number}", []).append(result)
        return {name: Mode.of(found) for name, found in results.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """What was seen in a mode."""

    answers: int
    other_tokens: int
    other_bits: int
    proof: str

    @classmethod
    def of(cls, results: Sequence[Mapping[str, Any]]) -> "Mode":
        """Return the sums of the results of cells, and the proof unless it was missing for one."""
        proof = max((result["proof"] for result in results), key=lambda proof: proof != "seen")
        sums = {name: sum(result.get(name) or 0 for result in results) for name in _COUNTED}
        return cls(proof=proof, **sums)


def write_program(path: Path, command: str, *, first: str = "") -> None:
    """Write a script that runs a command with its arguments, after a first line."""
    line = f'PYTHONPATH="{ROOT}" exec {command} "$@"'
    path.write_text(f"#!/bin/sh\n{first}\n{line}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def write_programs(folder: Path) -> None:
    """Write `llama-server`, which is real, and a `vllm` that answers as recorded."""
    for name, arguments in _IMITATIONS.items():
        write_program(folder / name, f'"{sys.executable}" {arguments}')


def llama_server(*options: str) -> dict[str, Any]:
    """Return the engine of a llama-server with a thread, and more options."""
    fixed = ("-m", "{model}", "-a", "{name}", "--host", "{host}", "--port", "{port}")
    return {
        "kind": "served",
        "dialect": "llama_server",
        "serve": ["llama-server", *fixed, "-t", "1", "-c", "8192", *options],
    }


def vllm(*options: str) -> dict[str, Any]:
    """Return the engine of a vLLM, and more options."""
    address = ("--host", "{host}", "--port", "{port}", "--served-model-name", "{name}")
    return {
        "kind": "served",
        "dialect": "vllm",
        "serve": ["vllm", "serve", "{model}", *address, *_SMALL, *options],
        "env": _ENV,
        "ready_timeout_s": 900,
        "timeout_s": 600,
    }


def matrix_of(
    engine: Mapping[str, Any],
    modes: Mapping[str, str],
    *,
    source: str = "builtin:tiny-qwen2",
    max_tokens: int = 40,
) -> str:
    """Return a matrix of one model: six cells."""
    prompts = {name: {"text": text, "max_tokens": max_tokens} for name, text in PROMPTS.items()}
    suite = {"runs": 3, "seeds": [42, 123], "prompts": {"tiny": list(prompts)}}
    return toml(
        {
            "schema": "repro-gate/matrix/v1",
            "default_suites": ["served"],
            "engines": {"server": engine},
            "models": {"tiny": {"engine": "server", "source": source}},
            "sampler": {"top_k": 40, "top_p": 0.95, "min_p": 0.05, "temperature": 0.7},
            "prompts": prompts,
            "suites": {"served": suite | ({"modes": modes} if modes else {})},
        }
    )
