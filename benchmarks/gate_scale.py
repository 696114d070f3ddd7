"""What the gate itself costs as a matrix grows, without any inference.

    python benchmarks/gate_scale.py [--cells N] [--runs N] [--concurrency N] [--top N] [--all]

Records N goldens (10,000 by default) of a scripted engine that answers at once, checks them, and
prints, a line for each command: CPU time of the gate's own process, wall time, peak memory, and
the CPU time of one cell. Below it, the share of each phase of the check, and with `--top` the
functions that used the most CPU time, both by sampling the same process.

The gate is the one that is installed for the interpreter, such as that of another checkout.

`--all` also measures two shards with their merge, `publish`, and `update-snapshots --from` with a
report in which every cell is new.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

_PROTOCOL = "repro-gate/engine/v1"
_TOKENS = 25
_SEEDS = 100
_BEST = 5
_FACTS = 55
"""As many as the built-in engine reports of itself and of a model."""
_PHASES = (
    ("read_matrix", "read the matrix"),
    ("start_session", "plan"),
    ("read_committed", "read goldens"),
    ("measure", "exchange with the engine"),
    ("judge_tokens", "judge"),
    ("finish", "write reports"),
    ("propose", "propose changes"),
    ("apply", "write goldens"),
)
"""Functions of the gate by name, and the phase that each one is; the innermost one counts."""
_CONFIG = """
schema = "repro-gate/matrix/v1"
default_suites = ["scale"]
engines.scripted = {{ kind = "command", command = {command}, timeout_s = 60, settings = {{}} }}
models.words = {{ engine = "scripted", source = "model.bin" }}
sampler = {{ top_k = 40, top_p = 0.95, min_p = 0.05 }}

[prompts]
{prompts}
[suites.scale]
runs = {runs}
seeds = {seeds}
prompts = {{ words = {names} }}
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cells", type=int, default=10_000, help="a multiple of 100")
    parser.add_argument("--runs", type=int, default=2, help="of each cell")
    parser.add_argument("--concurrency", type=int, default=1, help="as the engine reports it")
    parser.add_argument("--top", type=int, default=0, help="functions to list")
    parser.add_argument("--all", action="store_true", help="also merge, publish and --from")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        _serve(arguments.concurrency)
        return
    with tempfile.TemporaryDirectory() as folder:
        scale = _Scale(Path(folder), arguments)
        scale.measure("update-snapshots", "--yes")
        scale.measure("check", "--output", "report")
        if arguments.all:
            _measure_others(scale)


def _measure_others(scale: "_Scale") -> None:
    for index in (1, 2):
        scale.measure("check", "--shard", f"{index}/2", "--output", f"shards/{index}")
    scale.measure("merge", "shards", "--output", "merged")
    scale.measure("publish", "--output", "report", env=_github_environment(scale.folder))
    shutil.rmtree(scale.folder / "snapshots" / "goldens")
    scale.measure("check", "--output", "new", "--fail-on", "never")
    scale.measure("update-snapshots", "--yes", "--from", "new")


class _Scale:
    """A matrix of many cells in a folder of its own."""

    def __init__(self, folder: Path, arguments: argparse.Namespace) -> None:
        self.folder = folder
        self._cells = arguments.cells
        self._top = arguments.top
        names = [f"prompt-{number}" for number in range(max(1, arguments.cells // _SEEDS))]
        prompt = '{name} = {{ text = "A prompt, {name}", temperature = 0.8, max_tokens = {count} }}'
        serve = [__file__, "--serve", "--concurrency", str(arguments.concurrency)]
        config = _CONFIG.format(
            command=json.dumps([sys.executable, *serve]),
            prompts="\n".join(prompt.format(name=name, count=_TOKENS) for name in names),
            runs=arguments.runs,
            seeds=list(range(1, _SEEDS + 1)),
            names=json.dumps(names),
        )
        (folder / "repro-gate.toml").write_text(config)
        (folder / "model.bin").write_bytes(b"model")

    def measure(self, *command: str, env: dict[str, str] | None = None) -> None:
        """Run one command of the gate, and print what it used."""
        usage = self.folder / "usage.json"
        started = time.monotonic()
        # Without -P a checkout in the working directory could be measured.
        child = [sys.executable, "-P", "-c", _MEASURED, str(usage), json.dumps(_PHASES), *command]
        # Compiled modules are written, as on the machine of any user.
        unwanted = {"CI", "GITHUB_ACTIONS", "PYTHONDONTWRITEBYTECODE"}
        environment = {name: os.environ[name] for name in os.environ.keys() - unwanted}
        environment |= env or {}
        done = subprocess.run(
            child, cwd=self.folder, env=environment, check=False, capture_output=True, text=True
        )
        wall_s = time.monotonic() - started
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr}")
        used = json.loads(usage.read_text())
        each = used["cpu_s"] / self._cells * 1e6
        print(
            f"{' '.join(command)}: CPU {used['cpu_s']:.2f} s, wall {wall_s:.1f} s, "
            f"peak {used['peak_kib'] / 1024:.0f} MiB, {each:.0f} us of CPU a cell",
            flush=True,
        )
        samples = max(1, sum(used["phases"].values()))
        for phase, count in Counter(used["phases"]).most_common():
            print(f"  {used['cpu_s'] * count / samples:6.2f} s  {phase}")
        for function, count in Counter(used["functions"]).most_common(self._top):
            print(f"    {used['cpu_s'] * count / samples:6.2f} s  {function}")


_MEASURED = """
import json, resource, signal, sys
from collections import Counter
usage, known, command = sys.argv[1], dict(json.loads(sys.argv[2])), sys.argv[3:]
phases, functions = Counter(), Counter()
def sample(_, frame):
    code = frame.f_code
    functions[f"{code.co_filename.rpartition('repro_gate/')[2]}:{code.co_name}"] += 1
    while frame is not None and (
        frame.f_code.co_name not in known or "repro_gate" not in frame.f_code.co_filename
    ):
        frame = frame.f_back
    phases["start, imports and all else" if frame is None else known[frame.f_code.co_name]] += 1
signal.signal(signal.SIGPROF, sample)
signal.setitimer(signal.ITIMER_PROF, 0.002, 0.002)
sys.argv = ["repro-gate", *command]
from repro_gate.cli.app import main
code = 0
try:
    main()
except SystemExit as end:
    code = end.code
signal.setitimer(signal.ITIMER_PROF, 0)
used = resource.getrusage(resource.RUSAGE_SELF)
with open(usage, "w") as file:
    json.dump({
        "cpu_s": used.ru_utime + used.ru_stime, "peak_kib": used.ru_maxrss,
        "phases": phases, "functions": functions,
    }, file)
sys.exit(code)
"""
"""Runs a command in this process, so that its children do not count."""


def _github_environment(folder: Path) -> dict[str, str]:
    event = folder / "event.json"
    event.write_text(json.dumps({"pull_request": {"number": 1, "head": {"sha": "0" * 40}}}))
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_API_URL": "http://127.0.0.1:9",
        "GITHUB_EVENT_NAME": "pull_request",
        "GITHUB_EVENT_PATH": str(event),
        "GITHUB_OUTPUT": str(folder / "output.txt"),
        "GITHUB_REPOSITORY": "owner/name",
        "GITHUB_RUN_ATTEMPT": "1",
        "GITHUB_RUN_ID": "1",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_SHA": "0" * 40,
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        "REPRO_GATE_COMMENT": "never",
    }


def _serve(concurrency: int) -> None:
    """Answer requests as an engine whose tokens depend on prompt and seed alone."""
    for line in sys.stdin.buffer:
        request = json.loads(line)
        answer = _answer(request["method"], request["params"], concurrency)
        message = {"protocol": _PROTOCOL, "id": request["id"], "result": answer}
        sys.stdout.write(json.dumps(message, separators=(",", ":")) + "\n")
        sys.stdout.flush()


def _answer(method: str, params: dict[str, Any], concurrency: int) -> dict[str, Any]:
    facts = {f"fact.number-{number}": f"value {number}" for number in range(_FACTS)}
    if method == "describe":
        return {"engine": "scripted", "profile": "scripted-1", "facts": facts}
    if method == "load":
        digest = sha256(Path(params["path"]).read_bytes()).hexdigest()
        layers = {"layers": 1, "layers_on_device": 1, "concurrency": concurrency}
        return {"sha256": digest, "size": 5, "facts": {"setting.warm": "false"}, **layers}
    random = Random(f"{params['prompt']}/{params['seed']}")  # noqa: S311 -- a script
    answer: dict[str, Any] = {
        "prompt": [_token(number) for number in range(8)],
        # Few words are frequent, and most are rare.
        "tokens": [_token(int(50_000 ** random.random())) for _ in range(params["max_tokens"])],
        "stop": "length",
        "timing": {"decode_s": 0.0, "sample_s": 0.0},
    }
    if params["trace"]:
        answer["trace"] = [_choice(random, token) for token, _ in answer["tokens"]]
    return answer


def _token(number: int) -> list[int | str]:
    return [number, f" w{number}".encode().hex()]


def _choice(random: Random, token: int) -> dict[str, Any]:
    best = [[token + place, -random.random() - place] for place in range(_BEST)]
    return {"logprob": best[0][1], "best": best}


if __name__ == "__main__":
    main()
