"""Reads files in children that get two seconds and 200 MB: `python -m tests.fakes.bounded_reading`.

A request is a line of JSON, `{"reader": NAME, "path": PATH}`; the answer is a line of JSON with the
message of the refusal, or null, or with what ended the child.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from repro_gate.adapters.baseline_files import read_baseline
from repro_gate.adapters.draw_log import DrawLogFile
from repro_gate.adapters.evidence_file import read_evidence
from repro_gate.adapters.golden_files import GoldenFiles
from repro_gate.adapters.matrix_file import read_matrix
from repro_gate.adapters.model_files import sha256_of
from repro_gate.adapters.model_pins import ModelPinsFile
from repro_gate.adapters.observed import read_observed
from repro_gate.adapters.shard_files import read_shards
from repro_gate.core.matrix import Matrix
from repro_gate.errors import ReproGateError

_MAX_BYTES = 200 << 20
_MAX_CPU_S = 2
_NO_MATRIX = Matrix(models={}, suites={}, default_suites=(), snapshots="snapshots")


def _golden(path: Path) -> object:
    return GoldenFiles(path.parent.parent).read(path.parent.name, path.stem)


def _log(path: Path) -> object:
    return DrawLogFile(path, fingerprint="0" * 64, started_at="", resume=True)


READERS: Mapping[str, Callable[[Path], object]] = {
    "matrix": read_matrix,
    "golden": _golden,
    "baseline": lambda path: read_baseline(path, source="source", cell_id="policy--item"),
    "pins": lambda path: ModelPinsFile(path).pinned(),
    "log": _log,
    "model": sha256_of,
    "report": lambda path: read_observed(path.parent, matrix=_NO_MATRIX),
    "evidence": lambda path: read_evidence(path.parent),
    "shard": lambda path: read_shards([path.parent]),
}


def answer(reader: str, path: Path) -> Any:
    """Return what reading a file came to, in a child with little of everything."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        os.write(theirs, json.dumps(_attempt(reader, path)).encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as stream:
        told = stream.read()
    _, status = os.waitpid(child, 0)
    return json.loads(told) if told else {"ended": status}


def _attempt(reader: str, path: Path) -> Any:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    most = pages * resource.getpagesize() + _MAX_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    # A child begins at no time at all.
    used = int(time.process_time())
    resource.setrlimit(resource.RLIMIT_CPU, (used + _MAX_CPU_S, used + _MAX_CPU_S + 1))
    try:
        READERS[reader](path)
    except ReproGateError as error:
        return {"refused": str(error)}
    except BaseException as error:  # noqa: BLE001 -- whatever it is, it is the answer
        return {"crashed": f"{type(error).__name__}: {error}"}
    return None


def main() -> None:
    """Answer each line."""
    for line in sys.stdin:
        asked = json.loads(line)
        sys.stdout.write(f"{json.dumps(answer(asked['reader'], Path(asked['path'])))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
