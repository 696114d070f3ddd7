"""What the token gate costs, as ratios measured in one run.

    python benchmarks/token_gate.py [--rounds N] [--runs N] [--quick]

Prints, one line each:
* gate/raw: wall time of `check` at the real Qwen2.5-0.5B shape over the bare llama_decode calls
  for the same tokens, alternating; and naive/gate, for a loop that loads the model for every run;
* gate/engine: wall time of the embedded suite over what its engine spends decoding and sampling;
* help/typer: `repro-gate --help` over `python -c "import typer"`;
* memory: peak memory of the gate's own process at 100 runs over 10 runs of a cell;
* plan: seconds for planning 10,000 cells.

`--quick` leaves out the large model.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from repro_gate.core.matrix import Matrix, PromptSpec, Suite, build_cells, plan
from repro_gate.core.tokens.cell import Sampler

_ROOT = Path(__file__).resolve().parents[1]
_SHAPE = "qwen2.5-0.5b-shape"
# A team of threads spins while it waits for its slowest member: with one on every core, the
# ratio would measure the neighbours.
_THREADS = max(1, (os.cpu_count() or 1) // 2)
_CONFIG = """
schema = "repro-gate/matrix/v1"
default_suites = ["shape"]

[engines.cpu]
kind = "llama_cpp"
timeout_s = 600

[engines.cpu.settings]
n_ctx = 256
n_batch = 256
threads = {threads}
flash_attention = true
kv_type = "f16"

[models.shape]
engine = "cpu"
source = "{model}"

[sampler]
top_k = 40
top_p = 0.95
min_p = 0.05

[prompts]
autumn-leaves = {{ text = "Write a haiku about autumn leaves", temperature = 0.7, max_tokens = 30 }}
quick-brown-fox = {{ text = "The quick brown fox", temperature = 0.8, max_tokens = 20 }}
once-upon-a-time = {{ text = "Once upon a time", temperature = 0.5, max_tokens = 25 }}
galaxy-far-away = {{ text = "In a galaxy far, far away", temperature = 0.9, max_tokens = 30 }}
meaning-of-life = {{ text = "The meaning of life is", temperature = 0.6, max_tokens = 20 }}

[suites.shape]
runs = {runs}
seeds = [42]

[suites.shape.prompts]
shape = [
    "autumn-leaves", "quick-brown-fox", "once-upon-a-time", "galaxy-far-away", "meaning-of-life"
]
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="alternations; medians are printed")
    parser.add_argument("--runs", type=int, default=10, help="runs per cell of the large model")
    parser.add_argument("--quick", action="store_true", help="leave out the large model")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _embedded(Path(folder), rounds=arguments.rounds)
        _help(rounds=arguments.rounds)
        _memory(Path(folder))
        _plan()
        if not arguments.quick:
            _real_shape(Path(folder), rounds=arguments.rounds, runs=arguments.runs)


def _real_shape(folder: Path, *, rounds: int, runs: int) -> None:
    model = _large_model()
    config = folder / "repro-gate.toml"
    config.write_text(_CONFIG.format(model=model, runs=runs, threads=_THREADS))
    sequences: list[list[list[int]]] = []
    ratios: list[float] = []
    naive: list[float] = []
    for number in range(rounds):
        gate_s, report = _check(folder, "--config", str(config), "--fail-on", "never")
        sequences = [_ids(cell["generation"]) for cell in report["cells"]]
        task = {"model": str(model), "threads": _THREADS, "runs": runs, "sequences": sequences}
        raw_s = _raw({**task, "reload": False})["decode_s"]
        # Loading for every run is slow; one run of each cell is enough to know its price.
        once = _raw({**task, "runs": 1, "reload": True})["wall_s"]
        ratios.append(gate_s / raw_s)
        naive.append(once * runs / gate_s)
        print(f"  round {number + 1}: gate {gate_s:.1f} s, raw {raw_s:.1f} s", flush=True)
    tokens = sum(len(output) for _, output in sequences) * runs
    print(f"gate/raw {statistics.median(ratios):.3f} ({tokens} tokens, {_THREADS} threads)")
    print(f"naive/gate {statistics.median(naive):.2f} (loading the model for every run)")


def _ids(generation: dict[str, list[dict[str, int]]]) -> list[list[int]]:
    return [[token["id"] for token in generation[part]] for part in ("prompt", "tokens")]


def _embedded(folder: Path, *, rounds: int) -> None:
    arguments = (
        "--config",
        str(_ROOT / "repro-gate.toml"),
        "--suite",
        "embedded",
        "--fail-on",
        "never",
    )
    _check(folder, *arguments)
    start_s = _seconds([sys.executable, "-c", "pass"], rounds)
    ratios: list[float] = []
    for _ in range(rounds):
        wall_s, report = _check(folder, *arguments)
        engine_s = report["timing"]["engine_s"]
        ratios.append((wall_s - start_s) / engine_s)
        print(f"  embedded: wall {wall_s:.2f} s, engine {engine_s:.2f} s", flush=True)
    print(f"gate/engine {statistics.median(ratios):.2f} (300 generations, start {start_s:.3f} s)")


def _help(*, rounds: int) -> None:
    count = max(rounds, 5)
    ours = _seconds([sys.executable, "-m", "repro_gate", "--help"], count)
    typer = _seconds([sys.executable, "-c", "import typer"], count)
    print(f"help/typer {ours / typer:.2f} ({ours:.3f} s over {typer:.3f} s)")


def _memory(folder: Path) -> None:
    few, many = (_peak_memory(folder, runs) for runs in (10, 100))
    print(f"memory {many / few:.3f} ({many} KiB at 100 runs over {few} KiB at 10)")


def _peak_memory(folder: Path, runs: int) -> int:
    """Return the peak memory of the gate's own process in KiB."""
    code = (
        "import resource, sys; from repro_gate.cli.app import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    arguments = ["check", "--suite", "embedded", "--quiet", "--fail-on", "never"]
    arguments += ["--runs", str(runs), "--output", str(folder)]
    printed = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=_ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return int(printed.stdout.splitlines()[-1])


def _plan() -> None:
    sampler = Sampler(temperature=0.7, top_k=40, top_p=0.95, min_p=0.05)
    names = [f"p{number}" for number in range(100)]
    prompt = PromptSpec(text="Once upon a time", max_tokens=25, sampler=sampler)

    def work() -> None:
        cells = build_cells(
            prompts_of={"m": names},
            prompts=dict.fromkeys(names, prompt),
            seeds=list(range(1, 101)),
        )
        suite = Suite(name="s", runs=10, fresh_runs=1, cells=cells)
        matrix = Matrix(models={}, suites={"s": suite}, default_suites=("s",), snapshots="s")
        assert len(plan(matrix).cells) == 10_000  # noqa: PLR2004, S101 -- what is being measured

    print(f"plan {_timed(work):.2f} s for 10,000 cells")


def _large_model() -> Path:
    path = user_cache_path("repro-gate") / "benchmarks" / f"{_SHAPE}.gguf"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "repro_gate.tiny_models", _SHAPE, str(path)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return path


def _check(folder: Path, *arguments: str) -> tuple[float, dict[str, Any]]:
    output = folder / "report"
    command = [sys.executable, "-m", "repro_gate", "check", "--quiet", "--output", str(output)]
    seconds = _timed(
        lambda: subprocess.run(
            [*command, *arguments], cwd=_ROOT, check=True, stdout=subprocess.DEVNULL
        )
    )
    return seconds, json.loads((output / "report.json").read_text())["result"]["report"]


def _raw(task: dict[str, Any]) -> dict[str, float]:
    printed = subprocess.run(
        [sys.executable, str(_ROOT / "benchmarks" / "raw_decode.py")],
        input=json.dumps(task),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    result: dict[str, float] = json.loads(printed.stdout)
    return result


def _seconds(command: Sequence[str], count: int) -> float:
    """Return the median wall time of a command."""

    def work() -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=_ROOT)

    work()
    return statistics.median(_timed(work) for _ in range(count))


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
