"""An engine that starts its server, as the gate runs it: with a program that answers as vLLM."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from repro_gate.adapters.engines.client import EngineProcesses
from repro_gate.core.engines import EngineKind, EngineSpec
from repro_gate.errors import EngineFailed, MeasurementUnavailable
from repro_gate.ports import CellRun, Engine, ModelFile
from tests.docs.pages import ROOT
from tests.fakes.processes import generated, is_running, wait_until_gone
from tests.fakes.values import cell_of, model_spec_of

_SERVER = [
    *(sys.executable, "-m", "tests.fakes.vllm", "serve", "{model}"),
    *("--served-model-name", "{name}", "--port", "{port}"),
]
_WORKERS = ("setsid sleep 600", "env -i sleep 600")
"""One leaves its session, as a daemon does; one loses its environment, as those of vLLM do."""
_AND_IT = ' & echo $! > "$0"; exec "$@"'
_DIES_BEFORE_A_WORKER = """
setsid sleep 600 & echo $! > "$0.worker"
"$@" & until [ -e "$0" ]; do sleep 0.1; done
kill -9 $!; wait $!
"""
CELL = cell_of(max_tokens=4)


def _spec(*serve: str) -> EngineSpec:
    return EngineSpec(
        name="prod",
        kind=EngineKind.SERVED,
        command=(),
        device="cpu",
        settings={"dialect": "vllm", "serve": list(serve), "ready_timeout_s": 60},
        timeout_s=60,
        pass_env=(),
    )


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> ModelFile:
    """Return a model, which this server does not read."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}", "utf-8")
    return ModelFile(path=tmp_path / "model", sha256=None)


@pytest.fixture(name="engines")
def _engines(tmp_path: Path) -> Iterator[EngineProcesses]:
    with closing(EngineProcesses(ROOT, tmp_path)) as engines:
        yield engines


def _loaded(engine: Engine, file: ModelFile) -> str | None:
    engine.describe()
    return engine.load(model_spec_of(), file).instance


def _outcomes(engine: Engine) -> Iterator[object]:
    while True:
        yield next(engine.generate([CellRun(cell=CELL, trace=False)])).value


@pytest.mark.parametrize("works", _WORKERS)
def test_a_server_is_started_and_ended(
    engines: EngineProcesses, file: ModelFile, tmp_path: Path, works: str
) -> None:
    """With its log, and all that it has started."""
    worker = tmp_path / "worker"
    spec = _spec("sh", "-c", works + _AND_IT, str(worker), *_SERVER)
    with closing(engines.start(spec)) as engine:
        _loaded(engine, file)
        assert len(generated(engine, CELL, trace=True).generation.tokens) == 4
        number = int(worker.read_text("utf-8"))
        assert is_running(number)

    wait_until_gone(number)
    log = (tmp_path / "serve-prod.log").read_text("utf-8").splitlines()
    assert [line for line in log if line.startswith("serving on port")]
    assert log[-1] == "# repro-gate: ended"


def test_a_fresh_process_is_a_fresh_server(engines: EngineProcesses, file: ModelFile) -> None:
    """Its log is added to that of the one before."""
    found: list[str | None] = []
    for _ in range(2):
        with closing(engines.start(_spec(*_SERVER))) as engine:
            found.append(_loaded(engine, file))

    assert None not in found
    assert found[0] != found[1]


def test_the_death_of_a_server_ends_its_engine(
    engines: EngineProcesses, file: ModelFile, tmp_path: Path
) -> None:
    """What was measured before stands, and the next engine has a new server."""
    spec = _spec("sh", "-c", _DIES_BEFORE_A_WORKER, str(tmp_path / "end"), *_SERVER)
    with closing(engines.start(spec)) as engine:
        _loaded(engine, file)
        (tmp_path / "end").touch()
        outcome = next(each for each in _outcomes(engine) if isinstance(each, EngineFailed))

    assert "its stderr ends with: the server was ended by SIGKILL, perhaps because" in str(outcome)
    assert "its log, serve-prod.log, ends with: serving on port" in str(outcome)
    wait_until_gone(int((tmp_path / "end.worker").read_text("utf-8")))


def test_a_server_that_does_not_start_is_no_death(
    engines: EngineProcesses, file: ModelFile
) -> None:
    """The engine answers with what the server printed, and the log's name."""
    engine = engines.start(_spec("sh", "-c", "echo no GPU >&2; exit 3", *_SERVER))
    with closing(engine), pytest.raises(MeasurementUnavailable) as caught:
        _loaded(engine, file)

    assert not isinstance(caught.value, EngineFailed)
    assert caught.value.reason == (
        "server_unavailable: the server ended with exit code 3 before it was ready; its log, "
        "serve-prod.log, ends with: no GPU"
    )


def test_a_log_of_an_earlier_gate_is_removed(tmp_path: Path, file: ModelFile) -> None:
    """The artifact has what this check has seen."""
    log = tmp_path / "serve-prod.log"
    log.write_text("earlier\n", "utf-8")
    engines = EngineProcesses(ROOT, tmp_path)
    with closing(engines.start(_spec(*_SERVER))) as engine:
        _loaded(engine, file)

    assert "earlier" not in log.read_text("utf-8")


_GATE = """
import sys, time
from pathlib import Path
from repro_gate.ports import ModelFile
from tests.adapters.engines.test_served import _loaded, _spec
from repro_gate.adapters.engines.client import EngineProcesses
engine = EngineProcesses(Path(".")).start(_spec(*sys.argv[2:]))
_loaded(engine, ModelFile(path=Path(sys.argv[1]), sha256=None))
print("loaded", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("works", _WORKERS)
def test_no_server_outlives_a_killed_gate(tmp_path: Path, file: ModelFile, works: str) -> None:
    """Nor a worker that has left the group of its server."""
    worker = tmp_path / "worker"
    serve = ["sh", "-c", works + _AND_IT, str(worker), *_SERVER]
    command = [sys.executable, "-c", _GATE, str(file.path), *serve]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as gate:
        assert gate.stdout is not None
        assert gate.stdout.readline() == "loaded\n"
        number = int(worker.read_text("utf-8"))

        gate.kill()

    wait_until_gone(number)


def test_each_device_has_its_log(engines: EngineProcesses, tmp_path: Path) -> None:
    """Several work in parallel."""
    logs = [tmp_path / f"serve-prod-{device}.log" for device in ("cuda-0", "cuda-1")]
    for log in logs:
        log.touch()

    engines.start(replace(_spec(*_SERVER), device="cuda:1")).close()

    assert [log.exists() for log in logs] == [True, False]
