"""Several contexts of one model side by side: their speed, and that their tokens are equal.

    python benchmarks/contexts.py [--device cuda] [--contexts 1,2,4,8,16] [options]

Drives the built-in engine over its protocol, with as many requests in flight as it has contexts.
Prints the speed of bare llama_decode in one stream for the same tokens, and a line for each number
of contexts:

    contexts 4: 1865 tokens/s, time/bare 0.41, identical 60 of 60;
      per token: decode 1.90 ms, sample 0.11 ms, other 0.02 ms, CPU 1.31 ms

`identical` counts the sequences whose tokens are those of one context; `CPU` is that of the whole
engine process. Two lines have the cost of the evidence for a token, and the time relative to a run
without it:

    trace: 0.510 ms more per token, time 1.012
    logits: 0.240 ms more per token, time 1.006

Returns 1 if any token differs, and 2 if something could not be measured.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

_HERE = Path(__file__).resolve().parent
_PROMPTS = (
    "Write a haiku about autumn leaves",
    "The quick brown fox",
    "Once upon a time",
    "In a galaxy far, far away",
    "The meaning of life is",
)
_SEED = 42
_CONTEXT = 256
_SAMPLE = 4
_ROUNDS = 3
"""Sequences with evidence, and how often they are generated with and without it, in turn."""
_DEFAULTS = {"cpu": ("1,2", 12, 24), "cuda": ("1,2,4,8,16", 60, 60)}
"""Numbers of contexts, sequences, and tokens of each."""

Json: TypeAlias = dict[str, Any]
Sequences: TypeAlias = list[list[list[int]]]
"""The ids of the prompt and of the output of each."""


class NotMeasuredError(Exception):
    """The engine cannot do what was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the engine did for all sequences."""

    sequences: Sequences
    wall_s: float
    decode_s: float
    sample_s: float
    """Summed over contexts, as is the time of decoding."""
    cpu_s: float

    @property
    def tokens(self) -> int:
        """How many were generated."""
        return sum(len(output) for _, output in self.sequences)

    def other_s(self, contexts: int = 1) -> float:
        """Return the time of the contexts in which they neither decoded nor sampled."""
        return self.wall_s * contexts - self.decode_s - self.sample_s

    def per_token(self, contexts: int) -> str:
        """Describe the costs of one token, in the time of its context."""
        costs = {
            "decode": self.decode_s,
            "sample": self.sample_s,
            "other": self.other_s(contexts),
            "CPU": self.cpu_s,
        }
        return ", ".join(f"{name} {1e3 * s / self.tokens:.3f} ms" for name, s in costs.items())


class Engine:
    """The engine in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._number = 0

    def load(self, params: Json) -> Json:
        """Load a model, and return what the engine answers."""
        return self.call([("load", params)], in_flight=1)[0]

    def measure(self, requests: Sequence[Json], *, in_flight: int) -> Measured:
        """Generate what is asked for, with some requests in flight at a time."""
        cpu, started = self._cpu_s(), time.perf_counter()
        answers = self.call([("generate", asked) for asked in requests], in_flight=in_flight)
        wall = time.perf_counter() - started
        return Measured(
            sequences=[
                [[token[0] for token in answer[part]] for part in ("prompt", "tokens")]
                for answer in answers
            ],
            wall_s=wall,
            decode_s=sum(answer["timing"]["decode_s"] for answer in answers),
            sample_s=sum(answer["timing"]["sample_s"] for answer in answers),
            cpu_s=self._cpu_s() - cpu,
        )

    def call(self, calls: Sequence[tuple[str, Json]], *, in_flight: int) -> list[Json]:
        """Return the results of some calls, in their order."""
        first = self._number
        waiting = iter(calls)
        results: dict[int, Json] = {}
        for _ in range(in_flight):
            self._send(waiting)
        while len(results) < len(calls):
            number, found = self._receive()
            results[number - first] = found
            self._send(waiting)
        return [results[place] for place in range(len(calls))]

    def _send(self, waiting: Iterator[tuple[str, Json]]) -> None:
        for method, params in waiting:
            message = {
                "protocol": "repro-gate/engine/v1",
                "id": self._number,
                "method": method,
                "params": params,
            }
            self._number += 1
            assert self._process.stdin is not None  # noqa: S101 -- it is a pipe
            # What an engine that has ended does not read is missing from its answers.
            with suppress(BrokenPipeError):
                self._process.stdin.write(json.dumps(message) + "\n")
                self._process.stdin.flush()
            return

    def _receive(self) -> tuple[int, Json]:
        assert self._process.stdout is not None  # noqa: S101 -- it is a pipe
        line = self._process.stdout.readline()
        if not line:
            raise NotMeasuredError(f"the engine ended with {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            error = answer["error"]
            raise NotMeasuredError(f"the engine refused: {error['kind']}: {error['message']}")
        return answer["id"], answer["result"]

    def _cpu_s(self) -> float:
        """Return the CPU time of the process so far; 0 where it cannot be read."""
        try:
            text = Path(f"/proc/{self._process.pid}/stat").read_text()
        except OSError:
            return 0.0
        user, system = text.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Measure and print, and return the exit code."""
    arguments = _arguments()
    try:
        return _measure_all(arguments)
    except NotMeasuredError as error:
        print(f"contexts.py: {error}", file=sys.stderr)
        return 2


def _measure_all(arguments: argparse.Namespace) -> int:
    model = arguments.model or Path(
        _run([sys.executable, str(_HERE / "shapes.py"), arguments.shape])
    )
    requests = _requests(arguments)
    with _engine(arguments, model, 1) as engine:
        alone = engine.measure(requests, in_flight=1)
        evidence = _evidence(engine, requests[:_SAMPLE], is_old=arguments.old)
    bare_s = _bare(arguments, model, alone.sequences)
    print(
        f"{model.name}, {arguments.device}, top_k {arguments.top_k}: {len(requests)} sequences, "
        f"{alone.tokens} tokens, {arguments.threads} threads per context"
    )
    print(f"bare decode, one stream: {alone.tokens / bare_s:.0f} tokens/s")
    different = _report(1, alone, alone, bare_s)
    different += sum(_report_evidence(name, *both) for name, both in evidence.items())
    missing: list[NotMeasuredError] = []
    for contexts in arguments.contexts:
        if contexts > 1:
            try:
                with _engine(arguments, model, contexts) as engine:
                    found = engine.measure(requests, in_flight=contexts)
                different += _report(contexts, found, alone, bare_s)
            except NotMeasuredError as error:
                missing.append(error)
    if different:
        return 1
    if missing:
        raise NotMeasuredError("\n".join(map(str, missing)))
    return 0


def _evidence(
    engine: Engine, requests: Sequence[Json], *, is_old: bool
) -> dict[str, tuple[Measured, Measured]]:
    """Return the quickest of some rounds with each kind of evidence, and that of rounds without."""
    kinds: dict[str, Json] = {"": {}, "trace": {"trace": True}, "logits": {"logits": True}}
    if is_old:
        del kinds["logits"]
    rounds = [
        {
            name: engine.measure([asked | more for asked in requests], in_flight=1)
            for name, more in kinds.items()
        }
        for _ in range(_ROUNDS)
    ]
    plain, *others = (
        min((each[name] for each in rounds), key=lambda found: found.wall_s - found.decode_s)
        for name in kinds
    )
    return {name: (found, plain) for name, found in zip(list(kinds)[1:], others, strict=True)}


def _report_evidence(name: str, found: Measured, plain: Measured) -> bool:
    """Print a line, and return whether the tokens are others than without the evidence."""
    # Decoding is the same work, and its time varies by more.
    more_s = (found.wall_s - found.decode_s) - (plain.wall_s - plain.decode_s)
    ratio = 1 + more_s / plain.wall_s
    print(f"{name}: {1e3 * more_s / plain.tokens:.3f} ms more per token, time {ratio:.3f}")
    return found.sequences != plain.sequences


def _report(contexts: int, found: Measured, alone: Measured, bare_s: float) -> int:
    """Print a line, and return how many sequences are not those of one context."""
    same = [ours == theirs for ours, theirs in zip(found.sequences, alone.sequences, strict=True)]
    print(
        f"contexts {contexts}: {found.tokens / found.wall_s:.0f} tokens/s, "
        f"time/bare {found.wall_s / bare_s:.3f}, identical {sum(same)} of {len(same)};\n"
        f"  per token: {found.per_token(contexts)}",
        flush=True,
    )
    return same.count(False)


def _requests(arguments: argparse.Namespace) -> list[Json]:
    return [
        {
            "prompt": _PROMPTS[number % len(_PROMPTS)],
            "seed": _SEED + number // len(_PROMPTS),
            "max_tokens": arguments.tokens,
            "temperature": 0.7,
            "top_k": arguments.top_k,
            "top_p": arguments.top_p,
            "min_p": arguments.min_p,
            "trace": False,
        }
        for number in range(arguments.sequences)
    ]


@contextmanager
def _engine(arguments: argparse.Namespace, model: Path, contexts: int) -> Iterator[Engine]:
    """Yield an engine with the model loaded, and every context used once."""
    command = [arguments.python, "-P", "-m", "repro_gate.engines.llama_cpp"]
    with tempfile.TemporaryFile("w+") as stderr:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True
        )
        try:
            engine = Engine(process)
            _load(engine, arguments, model, contexts)
            engine.measure(_requests(arguments)[:contexts], in_flight=contexts)
            yield engine
        except NotMeasuredError as error:
            stderr.seek(0)
            last = stderr.read().strip().splitlines()[-5:]
            text = "\n  ".join([f"contexts {contexts}: {error}", *last])
            raise NotMeasuredError(text) from error
        finally:
            process.kill()
            process.wait()


def _load(engine: Engine, arguments: argparse.Namespace, model: Path, contexts: int) -> None:
    settings = {
        "n_ctx": _CONTEXT,
        "n_batch": _CONTEXT,
        "threads": arguments.threads,
        "flash_attention": True,
        "kv_type": "f16",
    }
    # An engine from before this setting has one context.
    if contexts > 1 or not arguments.old:
        settings["contexts"] = contexts
    result = engine.load(
        {
            "model": "benchmark",
            "path": str(model.absolute()),
            "sha256": None,
            "device": arguments.device,
            "settings": settings,
        }
    )
    if result.get("concurrency", 1) < contexts:
        raise NotMeasuredError(f"the engine takes {result.get('concurrency', 1)} at a time")


def _bare(arguments: argparse.Namespace, model: Path, sequences: Sequences) -> float:
    task = {
        "model": str(model),
        "device": arguments.device,
        "threads": arguments.threads,
        "reload": False,
        "runs": 1,
        "sequences": sequences,
    }
    printed = _run([sys.executable, str(_HERE / "raw_decode.py")], json.dumps(task))
    found: dict[str, float] = json.loads(printed)
    return found["decode_s"]


def _run(command: Sequence[str], text: str = "") -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotMeasuredError(f"{command[-1]} returned {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout.strip()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--device", default="cpu", help="cpu, cuda or cuda:N")
    add("--model", type=Path, help="a GGUF file instead of a shape")
    add("--shape", default="qwen2.5-0.5b-shape", help="a name that shapes.py knows")
    add("--contexts", type=_numbers, help="such as 1,2,4; 1 is always measured")
    add("--threads", type=int, default=1, help="of each context, and of the bare decoding")
    add("--sequences", type=int, help="12 on the CPU, 60 on a GPU")
    add("--tokens", type=int, help="of each sequence: 24 on the CPU, 60 on a GPU")
    add("--top-k", type=int, default=40, help="0 for the whole vocabulary")
    add("--top-p", type=float, default=0.95)
    add("--min-p", type=float, default=0.05)
    add("--python", default=sys.executable, help="the interpreter of another checkout")
    add("--old", action="store_true", help="the engine does not know the setting `contexts`")
    arguments = parser.parse_args()
    contexts, sequences, tokens = _DEFAULTS["cpu" if arguments.device == "cpu" else "cuda"]
    arguments.contexts = arguments.contexts or _numbers(contexts)
    arguments.sequences = arguments.sequences or sequences
    arguments.tokens = arguments.tokens or tokens
    if arguments.model and not arguments.model.is_file():
        parser.error(f"{arguments.model}: no such file")
    if arguments.sequences < max(arguments.contexts):
        parser.error("--sequences: expected at least one for each context")
    return arguments


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
