"""What the token gate costs, as ratios measured in one run.

    python benchmarks/token_gate.py [--gate NAME=PYTHON ...] [--figures raw,naive,...] [options]

Each `--gate` is an interpreter whose installed gate is measured, this one unless any is named: with
two of them, such as those of two checkouts, the gates take turns. Prints, one line each:
* raw: wall time of `check` over the bare llama_decode calls for the same tokens, in one stream on
  the same device with the same number of threads, for a model in the shape of a real one; with the
  digest of all tokens, which must not depend on the gate or on the number of contexts;
* naive: wall time of a loop that loads the model for every run over that of `check`;
* embedded: wall time of the embedded suite over what the engines of the first gate spend decoding
  and sampling, which is the same work for every gate;
* help: `repro-gate --help` over `python -c "import typer"`;
* memory: peak memory of the gate's own process at 100 runs over 10 runs of a cell.

`--seeds 42,43,44` makes 15 cells of 10 runs each. `--json FILE` writes all figures to a file.
"""

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent
_FIGURES = ("raw", "naive", "embedded", "help", "memory")
_MAX_RAW_RUNS = 10
"""Bare decoding of the same tokens takes the same time in every run: more runs are multiplied."""
_CONFIG = """
schema = "repro-gate/matrix/v1"
default_suites = ["shape"]

[engines.llama]
kind = "llama_cpp"
timeout_s = 600

[engines.llama.settings]
n_ctx = 256
n_batch = 256
threads = {threads}
flash_attention = true
kv_type = "f16"
{contexts}

[models.shape]
engine = "llama"
source = "{model}"

[sampler]
top_k = {top_k}
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
seeds = {seeds}

[suites.shape.prompts]
shape = [
    "autumn-leaves", "quick-brown-fox", "once-upon-a-time", "galaxy-far-away", "meaning-of-life"
]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A gate to measure: the one that is installed for an interpreter."""

    name: str
    python: str
    contexts: str
    """The setting of the engine for the large model; empty to leave it out, as for old gates."""

    @property
    def title(self) -> str:
        """What its figures are called."""
        return f"{self.name}/{self.contexts}" if self.contexts else self.name

    def check(self, folder: Path, *arguments: str) -> tuple[float, dict[str, Any]]:
        """Return the wall time of `check` and its report."""
        output = folder / "report"
        command = [*self.command, "check", "--quiet", "--fail-on", "never", "--output", str(output)]
        seconds = _timed(lambda: _run([*command, *arguments]))
        return seconds, json.loads((output / "report.json").read_text())["result"]["report"]

    @property
    def command(self) -> tuple[str, ...]:
        """The command line of the gate."""
        # Without -P a checkout in the working directory would be measured.
        return (self.python, "-P", "-m", "repro_gate")

    @property
    def embedded(self) -> Path:
        """The matrix file of the checkout that is installed."""
        code = "import repro_gate; print(repro_gate.__file__)"
        return Path(_run([self.python, "-P", "-c", code]).strip()).parents[1] / "repro-gate.toml"


class Figures:
    """What was measured, printed as it comes."""

    def __init__(self) -> None:
        self.all: list[dict[str, Any]] = []

    def add(self, figure: str, gate: str, values: Sequence[float], **details: object) -> None:
        """Print the median of some values, and what else is worth knowing."""
        value = statistics.median(values)
        described = ", ".join(f"{name} {found}" for name, found in details.items())
        print(f"{figure} {gate} {value:.3f} ({described})", flush=True)
        self.all.append({"figure": figure, "gate": gate, "value": value, "values": values})
        self.all[-1] |= details


def main() -> None:
    """Measure and print."""
    arguments = _arguments()
    figures = Figures()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        gates = _gates(arguments)
        if {"raw", "naive"} & set(arguments.figures):
            _large(gates, figures, arguments, folder)
        # The other figures have nothing to do with the contexts of a large model.
        single = gates[:: len(arguments.contexts)]
        if "embedded" in arguments.figures:
            _embedded(single, figures, folder, rounds=arguments.rounds)
        for gate in single:
            if "help" in arguments.figures:
                _help(gate, figures, rounds=arguments.rounds)
            if "memory" in arguments.figures:
                _memory(gate, figures, folder)
    if arguments.json:
        settings = {name: str(value) for name, value in vars(arguments).items()}
        arguments.json.write_text(json.dumps({"settings": settings, "figures": figures.all}))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--gate", action="append", metavar="NAME=PYTHON", help="repeat to compare")
    add("--figures", type=_words, default=_FIGURES, help=f"of {','.join(_FIGURES)}")
    add("--rounds", type=int, default=3, help="alternations; medians are printed")
    add("--json", type=Path, metavar="FILE", help="write all figures there")
    large = parser.add_argument_group("the large model").add_argument
    large("--device", default="cpu", help="cpu, cuda or cuda:N")
    large("--shape", default="qwen2.5-0.5b-shape", help="a name that shapes.py knows")
    large("--model", type=Path, help="a GGUF file instead of a shape")
    large("--runs", type=int, default=10, help="runs per cell")
    large("--seeds", type=_words, default=["42"], help="such as 42,43,44")
    large("--top-k", type=int, default=40, help="0 for the whole vocabulary")
    large("--threads", type=int, default=1, help="of each context, and of the bare decoding")
    large("--contexts", type=_words, default=[""], help="numbers to compare, such as 1,2,8")
    arguments = parser.parse_args()
    if unknown := set(arguments.figures) - set(_FIGURES):
        parser.error(f"unknown figures {', '.join(sorted(unknown))}: of {', '.join(_FIGURES)}")
    return arguments


def _words(text: str) -> list[str]:
    return text.split(",")


def _gates(arguments: argparse.Namespace) -> list[Gate]:
    """Return each gate with each number of contexts."""
    named = [text.partition("=") for text in arguments.gate or [f"gate={sys.executable}"]]
    return [
        Gate(name=name, python=python, contexts=contexts)
        for name, _, python in named
        for contexts in arguments.contexts
    ]


def _large(
    gates: Sequence[Gate], figures: Figures, arguments: argparse.Namespace, folder: Path
) -> None:
    model = arguments.model or _shape(arguments.shape)
    configs = {
        contexts: _config(folder, model.absolute(), contexts, arguments)
        for contexts in arguments.contexts
    }
    task = {"model": str(model), "device": arguments.device, "threads": arguments.threads}
    times: dict[str, list[float]] = defaultdict(list)
    raw: list[float] = []
    reports: dict[str, dict[str, Any]] = {}
    for number in range(arguments.rounds):
        for gate in gates if number % 2 else gates[::-1]:
            options = ("--config", str(configs[gate.contexts]), "--device", arguments.device)
            seconds, reports[gate.title] = gate.check(folder, *options)
            times[gate.title].append(seconds)
        task["sequences"] = _sequences(reports[gates[0].title])
        raw.append(_raw(task, arguments.runs))
        walls = ", ".join(f"{name} {found[-1]:.2f} s" for name, found in times.items())
        print(f"  round {number + 1}: raw {raw[-1]:.2f} s, {walls}", flush=True)
    for gate in gates:
        _add_large(figures, gate.title, times[gate.title], raw, reports[gate.title])
    if "naive" in arguments.figures:
        # One run of each cell is enough to know the price of loading.
        once = _decode({**task, "runs": 1, "reload": True})["wall_s"]
        for gate in gates:
            ratios = [once * arguments.runs / seconds for seconds in times[gate.title]]
            figures.add("naive/gate", gate.title, ratios, loop_s=round(once * arguments.runs, 1))


def _add_large(
    figures: Figures,
    name: str,
    times: Sequence[float],
    raw: Sequence[float],
    report: Mapping[str, Any],
) -> None:
    sequences = _sequences(report)
    runs = report["cells"][0]["runs"]
    tokens = sum(len(output) for _, output in sequences) * runs
    kinds = [cell["verdict"]["kind"] for cell in report["cells"]]
    timing = report["timing"]
    figures.add(
        "gate/raw",
        name,
        [ours / bare for ours, bare in zip(times, raw, strict=True)],
        gate_s=round(statistics.median(times), 2),
        raw_s=round(statistics.median(raw), 2),
        load_s=round(timing["load_s"], 2),
        engine_s=round(timing["engine_s"], 2),
        gate_tokens_per_s=round(tokens / statistics.median(times)),
        raw_tokens_per_s=round(tokens / statistics.median(raw)),
        tokens=tokens,
        cells=len(kinds),
        different=len({tuple(output) for _, output in sequences}),
        nondeterministic=kinds.count("nondeterministic"),
        digest=hashlib.sha256(json.dumps(sequences).encode()).hexdigest()[:12],
    )


def _config(folder: Path, model: Path, contexts: str, arguments: argparse.Namespace) -> Path:
    """Write the matrix file of a number of contexts."""
    path = folder / f"{contexts or 'default'}.toml"
    path.write_text(
        _CONFIG.format(
            model=model,
            contexts=f"contexts = {contexts}" if contexts else "",
            seeds=f"[{', '.join(arguments.seeds)}]",
            runs=arguments.runs,
            threads=arguments.threads,
            top_k=arguments.top_k,
        )
    )
    return path


def _sequences(report: Mapping[str, Any]) -> list[list[list[int]]]:
    """Return the ids of the prompt and of the output of each cell."""
    if missing := [cell for cell in report["cells"] if cell["generation"] is None]:
        sys.exit(f"{len(missing)} cells were not measured: {missing[0]['verdict']['reason']}")
    return [
        [[token["id"] for token in cell["generation"][part]] for part in ("prompt", "tokens")]
        for cell in report["cells"]
    ]


def _embedded(gates: Sequence[Gate], figures: Figures, folder: Path, *, rounds: int) -> None:
    walls: dict[str, list[float]] = defaultdict(list)
    engines: dict[str, list[float]] = defaultdict(list)
    start_s = _seconds([gates[0].python, "-c", "pass"], rounds)
    for number in range(rounds + 1):
        for gate in gates:
            arguments = ("--config", str(gate.embedded), "--suite", "embedded")
            wall_s, report = gate.check(folder, *arguments)
            # The first round compiles and reads files.
            if number:
                walls[gate.name].append(wall_s - start_s)
                engines[gate.name].append(report["timing"]["engine_s"])
    for name, found in walls.items():
        ratios = [wall / engine for wall, engine in zip(found, engines[gates[0].name], strict=True)]
        wall, engine = (round(statistics.median(each), 2) for each in (found, engines[name]))
        figures.add("embedded/engine", name, ratios, wall_s=wall, engine_s=engine)


def _help(gate: Gate, figures: Figures, *, rounds: int) -> None:
    count = max(rounds, 5)
    ours = _seconds([*gate.command, "--help"], count)
    typer = _seconds([gate.python, "-c", "import typer"], count)
    figures.add("help/typer", gate.name, [ours / typer], help_s=round(ours, 3))


def _memory(gate: Gate, figures: Figures, folder: Path) -> None:
    few, many = (_peak_memory(gate, folder, runs) for runs in (10, 100))
    figures.add("memory", gate.name, [many / few], kib_at_10=few, kib_at_100=many)


def _peak_memory(gate: Gate, folder: Path, runs: int) -> int:
    """Return the peak memory of the gate's own process in KiB."""
    code = (
        "import resource, sys; from repro_gate.cli.app import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    arguments = ["check", "--suite", "embedded", "--quiet", "--fail-on", "never"]
    arguments += ["--config", str(gate.embedded), "--runs", str(runs), "--output", str(folder)]
    return int(_run([gate.python, "-P", "-c", code, *arguments]).splitlines()[-1])


def _shape(name: str) -> Path:
    return Path(_run([sys.executable, str(_HERE / "shapes.py"), name]).strip())


def _raw(task: Mapping[str, Any], runs: int) -> float:
    measured = min(runs, _MAX_RAW_RUNS)
    once = _decode({**task, "runs": measured, "reload": False})["decode_s"]
    return once * runs / measured


def _decode(task: Mapping[str, Any]) -> dict[str, float]:
    program = str(_HERE / "raw_decode.py")
    found: dict[str, float] = json.loads(_run([sys.executable, program], json.dumps(task)))
    return found


def _run(command: Sequence[str], text: str = "") -> str:
    """Return what a program prints; what a failed one prints explains the failure."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def _seconds(command: Sequence[str], count: int) -> float:
    """Return the median wall time of a command."""
    _run(command)
    return statistics.median(_timed(lambda: _run(command)) for _ in range(count))


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
