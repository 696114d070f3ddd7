"""How a server is started, as facts that are the same on every machine."""

import hashlib
import sys
from pathlib import Path

import pytest

from repro_gate.engines.served.provenance import command_facts
from repro_gate.protocol import RequestRefused
from repro_gate.server_settings import ServerSettings


def _facts(*serve: str, env: tuple[str, ...] = (), key: str | None = None) -> dict[str, str]:
    settings = {"dialect": "vllm", "serve": [*serve, "{model}", "{port}"], "env": list(env)}
    return command_facts(ServerSettings.parse(settings | ({"api_key_env": key} if key else {})))


def _options(*serve: str) -> dict[str, str]:
    facts = _facts(sys.executable, *serve)
    start = "server.option."
    return {name.removeprefix(start): facts[name] for name in facts if name.startswith(start)}


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)


def test_each_option_is_a_fact() -> None:
    """So that a changed one is named."""
    assert _options("-np", "8", "--seed", "-1", "--eager", "-x=1", "-x", "2 3") == {
        "np": "8",
        "seed": "-1",
        "eager": "given",
        "x": "1 '2 3' {model} {port}",
    }


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("/srv/models/a.jinja", "a.jinja"),
        ("./tools/../a.py", "a.py"),
        ("~/a/b", "b"),
        ("file=/a/b.txt,/c/d", "file=b.txt,d"),
        ("models/a.jinja", "models/a.jinja"),
        ("{model}/tokenizer.json", "{model}/tokenizer.json"),
        ("http://a:1/b", "http://a:1/b"),
        ('{"a": "/b/c"}', '\'{"a": "c"}\''),
        ("/", "/"),
    ],
)
def test_a_path_of_the_machine_becomes_its_name(word: str, shown: str) -> None:
    """It differs between machines."""
    assert _options("--o", word, "--rest")["o"] == shown


def test_the_program_is_without_its_path() -> None:
    """With the words before the first option."""
    facts = _facts(sys.executable, "run", "-m", "x")

    assert facts["server.command"] == f"{Path(sys.executable).name} run"


def test_variables_are_facts_but_never_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the matrix, and inherited ones that can change results."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("VLLM_API_KEY", "s3cret")
    monkeypatch.setenv("SGLANG_TOKEN_X", "s3cret")

    env = ("A=/b/c", "VLLM_K=s3cret", "X_API_KEY=s3cret", "TOKENIZERS_PARALLELISM=1")
    facts = _facts(sys.executable, "--api-key", "s3cret", "-x", env=env, key="VLLM_K")

    named = {name: value for name, value in facts.items() if name.startswith("env.")}
    shown = {"env.A": "c", "env.OMP_NUM_THREADS": "1", "env.TOKENIZERS_PARALLELISM": "1"}
    assert (named, facts["server.option.api-key"]) == (shown, "given")


def test_the_versions_of_packages_are_facts(tmp_path: Path) -> None:
    """Of the program's own environment: its package, that of its module, and those that compute."""
    site = tmp_path / "lib" / "python3.12" / "site-packages"
    for name in ("served_tool-1.0", "torch-2.13.0", "other-3"):
        (site / f"{name}.dist-info").mkdir(parents=True)
        text = "Name: {}\nVersion: {}\n".format(*name.split("-"))
        (site / f"{name}.dist-info" / "METADATA").write_text(text, "utf-8")
    program = tmp_path / "bin" / "python"
    program.parent.mkdir()
    program.symlink_to(sys.executable)

    facts = _facts(str(program), "-m", "served_tool.api")

    named = {name: value for name, value in facts.items() if name.startswith("server.p")}
    assert named == {"server.package.served_tool": "1.0", "server.package.torch": "2.13.0"}


def test_another_program_has_its_digest(tmp_path: Path) -> None:
    """As has a script that a program runs."""
    program, script = tmp_path / "serve", tmp_path / "run.py"
    for file in (program, script):
        file.write_text("#!/bin/sh\n", "utf-8")
        file.chmod(0o755)

    facts = _facts(str(program), str(script), "missing.py")

    digest = hashlib.sha256(b"#!/bin/sh\n").hexdigest()
    named = {name: value for name, value in facts.items() if name.startswith("server.p")}
    assert named == {
        "server.program.serve.sha256": digest,
        "server.program.run.py.sha256": digest,
    }


def test_a_program_that_is_not_there_is_refused() -> None:
    """Before anything is loaded, so that doctor shows it."""
    with pytest.raises(RequestRefused, match="there is no program 'no-such-server'"):
        _facts("no-such-server")


def test_nothing_is_known_of_a_running_server() -> None:
    """But for what it shows itself."""
    there = {"dialect": "vllm", "base_url": "http://a", "profile": "prod"}
    assert command_facts(ServerSettings.parse(there)) == {}
