"""Reads files in children with 5 CPU seconds and 200 MB: `python -m tests.fakes.bounded_reading`.

What is larger by nature gets eight seconds and 300 MB: results, and the answers of engines and
servers, as files that hold one.

A request is a line of JSON, `{"reader": NAME, "path": PATH}`; the answer is a line of JSON with the
message of the refusal, or null, or with what ended the child.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from repro_gate.adapters.engines.client import ProtocolEngine
from repro_gate.adapters.engines.process import EngineProcess
from repro_gate.adapters.files.observed import read_observed
from repro_gate.adapters.files.references import ReferenceFiles
from repro_gate.adapters.files.results import read_report, read_shards
from repro_gate.adapters.files.snapshots import GoldenFiles, ModelPinsFile, read_baseline
from repro_gate.adapters.github.failures import document_of
from repro_gate.adapters.hosted.answers import Answer, read_draw, read_encoding
from repro_gate.adapters.hosted.failures import ReplyReader
from repro_gate.adapters.http.client import Reply
from repro_gate.adapters.http.secret import Secret
from repro_gate.adapters.logs.draws import DrawLogFile
from repro_gate.adapters.logs.runs import RunLogFile
from repro_gate.adapters.matrix.reader import read_matrix
from repro_gate.adapters.models.files import sha256_of
from repro_gate.core.logprobs.draw import DrawFacts, Encoding, Piece
from repro_gate.core.logprobs.policy import LogprobKind
from repro_gate.core.matrix import Matrix
from repro_gate.errors import ReproGateError
from tests.fakes.hosted import provider_of
from tests.fakes.processes import generated
from tests.fakes.values import cell_of, engine_spec_of

_MAX_BYTES = 200 << 20
_MAX_CPU_S = 5
_MAX_BYTES_OF_LARGE = 300 << 20
_MAX_CPU_S_OF_LARGE = 8
_OK = HTTPStatus.OK
_HEADERS = {"content-type": "application/json"}
_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_NO_MATRIX = Matrix(models={}, suites={}, default_suites=(), snapshots="snapshots")


def _golden(path: Path) -> object:
    return GoldenFiles(path.parent.parent).read(path.parent.name, path.stem)


def _reference(path: Path) -> object:
    return ReferenceFiles(path.parent.parent).of(path.parent.name, path.stem)


def _log(path: Path) -> object:
    return DrawLogFile(path, fingerprint="0" * 64, started_at="", resume=True)


def _runs(path: Path) -> object:
    return RunLogFile(path, started_at="", resume=True)


class _AnsweringProcess(EngineProcess):
    """An engine that always answers what a file says, whoever asks."""

    def __init__(self, path: Path) -> None:
        super().__init__(["/nowhere"], env={}, timeout_s=1)
        self._path = path

    def receive(self, *, deadline: float, doing: str, more_s: float = 0.0) -> bytes:
        """Return the content of the file."""
        del deadline, doing, more_s
        return self._path.read_bytes()


def _engine(path: Path) -> ProtocolEngine:
    return ProtocolEngine(engine_spec_of(), _AnsweringProcess(path))


def _hosted(path: Path) -> object:
    reply = Reply(status=_OK, headers=_HEADERS, body=path.read_bytes())
    document = ReplyReader(provider_of(), Secret()).document_of(reply, now=_NOW)
    answer = Answer(document=document, facts=DrawFacts(), generated=1, is_suffix=False)
    encoding = read_encoding(answer, prefix="p", response="r")
    piece = Encoding(prompt=(), response=(Piece(None, b"r"),))
    return encoding, read_draw(answer, piece, kind=LogprobKind.RAW, model=None)


def _github(path: Path) -> object:
    return document_of(Reply(status=_OK, headers=_HEADERS, body=path.read_bytes()))


READERS: Mapping[str, Callable[[Path], object]] = {
    "matrix": read_matrix,
    "golden": _golden,
    "reference": _reference,
    "baseline": lambda path: read_baseline(path, source="source", cell_id="policy--item"),
    "pins": lambda path: ModelPinsFile(path).pinned(),
    "log": _log,
    "runs": _runs,
    "model": sha256_of,
    "report": lambda path: read_report(path.parent),
    "observed": lambda path: read_observed(path.parent, matrix=_NO_MATRIX),
    "shard": lambda path: read_shards([path.parent]),
}

ANSWERS: Mapping[str, Callable[[Path], object]] = {
    "describe": lambda path: _engine(path).describe(),
    "generate": lambda path: generated(_engine(path), cell_of(max_tokens=2), trace=True),
    "hosted": _hosted,
    "github": _github,
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
        answer = stream.read()
    _, status = os.waitpid(child, 0)
    return json.loads(answer) if answer else {"ended": status}


def _attempt(reader: str, path: Path) -> Any:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    is_large = reader in {*ANSWERS, "report", "observed", "shard", "log", "runs"}
    more = _MAX_BYTES_OF_LARGE if is_large else _MAX_BYTES
    most = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    # A child begins at no time at all.
    last_s = int(time.process_time()) + (_MAX_CPU_S_OF_LARGE if is_large else _MAX_CPU_S)
    resource.setrlimit(resource.RLIMIT_CPU, (last_s, last_s + 1))
    try:
        {**READERS, **ANSWERS}[reader](path)
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
