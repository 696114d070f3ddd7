"""A server is started on a free port, watched until it is ready, and ended with all it started."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from repro_gate.engines.served import server as served
from repro_gate.engines.served.http import Http, HttpRefused, ServerGone
from repro_gate.engines.served.log import ServerLog
from repro_gate.engines.served.server import Server, StartedServer, ready_server
from repro_gate.protocol import Refusal, RequestRefused
from repro_gate.server_settings import ServerSettings
from tests.fakes.processes import is_running, wait_until_gone

_PROGRAM = Path(__file__).parents[2] / "fakes" / "scripted_server.py"
_NAME = "tiny"


def _settings(script: dict[str, Any], *words: str, **more: Any) -> ServerSettings:
    serve = [sys.executable, "-S", "-E", str(_PROGRAM), "{port}", "{name}", json.dumps(script)]
    return ServerSettings.parse({"dialect": "vllm", "serve": [*serve, "{model}", *words], **more})


def _connect(url: str) -> Callable[[], bool]:
    def is_ready() -> bool:
        with closing(Http(url)) as http:
            try:
                (found,) = http.get("/v1/models")["data"]
            except HttpRefused:
                return False
        if found["id"] != _NAME:
            raise RequestRefused(Refusal.MODEL_INVALID, f"it serves {found['id']}")
        return True

    return is_ready


def _started(settings: ServerSettings, log: ServerLog, *, name: str = _NAME) -> Server:
    return ready_server(settings, model=Path("/m/x.gguf"), name=name, log=log, connect=_connect)


def _refusal(settings: ServerSettings, log: ServerLog, *, name: str = _NAME) -> RequestRefused:
    with pytest.raises(RequestRefused) as caught:
        _started(settings, log, name=name)
    return caught.value


@pytest.fixture(name="log")
def _log(tmp_path: Path) -> Iterator[ServerLog]:
    with closing(ServerLog(tmp_path / "serve-prod.log")) as log:
        yield log


def test_a_server_gets_its_command_and_variables(log: ServerLog, tmp_path: Path) -> None:
    """Every placeholder has its value, and what the engine has in its environment stays."""
    script = {"environ": str(tmp_path / "about")}
    settings = _settings(script, "{host}", env=["A=b c"])

    with closing(_started(settings, log)) as server:
        about = json.loads((tmp_path / "about").read_bytes())

    assert about["argv"][-2:] == ["/m/x.gguf", "127.0.0.1"]
    assert server.base_url == f"http://127.0.0.1:{about['argv'][1]}"
    assert about["environ"]["A"] == "b c"
    assert about["environ"]["PATH"] == os.environ["PATH"]


def test_a_loading_server_is_waited_for(log: ServerLog) -> None:
    """It may answer that it is loading for as long as it is given."""
    with closing(_started(_settings({"loading": 3}), log)) as server:
        assert _connect(server.base_url)()


def test_each_start_is_another_instance(log: ServerLog) -> None:
    """Which shows that a server was restarted."""
    with closing(_started(_settings({}), log)) as one:
        pass
    with closing(_started(_settings({}), log)) as other:
        assert None not in {one.instance, other.instance}
        assert one.instance != other.instance


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ({"exit": 3}, "the server ended with exit code 3 before it was ready; its log, serve-prod"),
        ({"exit": -9}, "the server was ended by SIGKILL, perhaps because memory ran out before it"),
        ({"exit": 137}, "the server was ended by SIGKILL, perhaps because memory ran out before"),
        ({"exit": -6}, "the server was ended by SIGABRT before it was ready; its log, serve-prod"),
        (
            {"exit": 0},
            "the server ended with exit code 0 before it was ready; its log, serve-prod.",
        ),
    ],
)
def test_a_server_that_ends_early_is_refused(
    log: ServerLog, script: dict[str, Any], message: str
) -> None:
    """With its exit code or signal, and what it printed last."""
    said = "".join(f"line {number}\n" for number in range(30))

    refused = _refusal(_settings({**script, "say": said}), log)

    assert refused.kind is Refusal.SERVER_UNAVAILABLE
    assert refused.message.startswith(message)
    assert "serve-prod.log, ends with: line 10 / line 11 / " in refused.message
    assert refused.message.endswith(" / line 29")


def test_a_server_that_is_not_ready_in_time_is_ended(log: ServerLog, tmp_path: Path) -> None:
    """With what it printed last."""
    about = tmp_path / "worker"
    script = {"hang": True, "say": "loading\n", "worker": str(about)}

    refused = _refusal(_settings(script, ready_timeout_s=1), log)

    assert refused.message == (
        "the server was not ready within 1 s; its log, serve-prod.log, ends with: loading"
    )
    wait_until_gone(int(about.read_text("utf-8")))


def test_a_server_of_another_model_is_refused(log: ServerLog, tmp_path: Path) -> None:
    """At once, and nothing of it is left."""
    worker = tmp_path / "worker"

    refused = _refusal(_settings({"worker": str(worker)}), log, name="other")

    assert refused.message == "it serves other"
    wait_until_gone(int(worker.read_text("utf-8")))


def test_a_program_that_is_not_there_is_refused(log: ServerLog) -> None:
    """With its name."""
    serve = ["/nowhere/vllm", "{model}", "{port}"]
    settings = ServerSettings.parse({"dialect": "vllm", "serve": serve})

    refused = _refusal(settings, log)

    assert refused.message.startswith("the server cannot be started: ")
    assert "/nowhere/vllm" in refused.message


def test_another_port_is_tried_once(log: ServerLog, tmp_path: Path) -> None:
    """Another program may have taken the first one."""
    with closing(_started(_settings({"taken": str(tmp_path / "taken")}), log)) as server:
        assert _connect(server.base_url)()


def test_a_port_that_is_taken_twice_is_refused(log: ServerLog) -> None:
    """With what the server printed."""
    script = {"say": "[Errno 98] Address already in use\n", "exit": 1}

    refused = _refusal(_settings(script), log)

    assert refused.message.endswith("Address already in use (on two ports in a row)")


def test_a_stranger_on_the_port_is_not_ready(
    log: ServerLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it answers: the server of another job may have the same model."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        monkeypatch.setattr(served, "free_port", lambda: port)
        # The stranger must not be a process of this session, as what the engine starts is.
        monkeypatch.setattr(os, "getsid", lambda number: number)

        refused = _refusal(_settings({"hang": True}), log)

    start = f"a program that is no child of the engine listens on its port, {port}; use base_url"
    assert refused.message.startswith(start)


def test_a_server_ends_with_all_that_it_started(log: ServerLog, tmp_path: Path) -> None:
    """Also a worker in a session of its own."""
    about, worker = tmp_path / "about", tmp_path / "worker"
    server = _started(_settings({"worker": str(worker)}), log)
    number = int(worker.read_text("utf-8"))
    assert is_running(number)

    server.close()

    wait_until_gone(number)
    assert not about.exists()
    with pytest.raises(ServerGone):
        _connect(server.base_url)()


def test_a_server_that_ignores_the_request_to_end_is_killed(
    log: ServerLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some seconds."""
    monkeypatch.setattr(served, "_TERM_S", 0.2)
    server = _started(_settings({"deaf": True}), log)

    server.close()

    with pytest.raises(ServerGone):
        _connect(server.base_url)()


def test_the_death_of_a_server_is_explained(log: ServerLog) -> None:
    """How it ended, and what it printed last; a living one has none."""
    server = _started(_settings({"die_after": 0}), log)
    assert isinstance(server, StartedServer)
    with closing(server):
        assert server.process_is_alive()
        with closing(Http(server.base_url)) as http, pytest.raises(ServerGone):
            http.post("/v1/completions", {})

        assert server.death() == (
            "the server was ended by SIGKILL, perhaps because memory ran out; its log, "
            "serve-prod.log, ends with: out of memory"
        )


def test_a_living_server_has_no_death(log: ServerLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may only be slow."""
    monkeypatch.setattr(served, "_DEATH_S", 0.1)
    with closing(_started(_settings({}), log)) as server:
        assert server.death() is None


def test_a_running_server_is_only_asked(log: ServerLog) -> None:
    """It is no instance of ours, and lives on."""
    with closing(_started(_settings({}), log)) as own:
        there = {"dialect": "vllm", "base_url": own.base_url, "profile": "prod"}
        with closing(_started(ServerSettings.parse(there), log)) as server:
            assert (server.instance, server.death()) == (None, None)
        assert _connect(own.base_url)()


def test_a_running_server_that_does_not_answer_is_refused(log: ServerLog) -> None:
    """At once: nobody here starts it."""
    there = {"dialect": "vllm", "base_url": "http://127.0.0.1:9", "profile": "prod"}

    refused = _refusal(ServerSettings.parse(there), log)

    assert refused.kind is Refusal.SERVER_UNAVAILABLE
    assert refused.message.startswith("no server answers at base_url: ")


_ENGINE = """
import sys, json, time
from pathlib import Path
from repro_gate.engines.served.log import ServerLog
from repro_gate.engines.served.server import ready_server
from repro_gate.server_settings import ServerSettings
settings = ServerSettings.parse(json.loads(sys.argv[1]))
ready_server(
    settings, model=Path("x"), name="n", log=ServerLog(None), connect=lambda url: lambda: True
)
print("ready", flush=True)
time.sleep(600)
"""


def test_nothing_outlives_a_killed_engine(tmp_path: Path) -> None:
    """The kernel kills an engine with its gate, without a chance to end its server."""
    worker = tmp_path / "worker"
    script = {"worker": str(worker), "environ": str(tmp_path / "about")}
    settings = _settings(script)
    data = json.dumps({"dialect": "vllm", "serve": settings.serve})
    command = [sys.executable, "-c", _ENGINE, data]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as engine:
        assert engine.stdout is not None
        assert engine.stdout.readline() == "ready\n"
        number = int(worker.read_text("utf-8"))
        assert is_running(number)

        engine.send_signal(signal.SIGKILL)

    wait_until_gone(number)
