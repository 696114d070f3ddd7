"""A proxy that validates every request and every answer with GitHub's own description."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.github.server import Github, serving
from tests.fakes.github.world import Pull, World

FOLDER = Path(__file__).parent
_MODULES = FOLDER / "node_modules"
_PRISM = _MODULES / ".bin" / "prism"
_DESCRIPTION = _MODULES / "@octokit" / "openapi" / "generated" / "api.github.com.json"
_PATHS = (
    "/user",
    "/repos/{owner}/{repo}/actions/runs",
    "/repos/{owner}/{repo}/actions/runs/{run_id}/artifacts",
    "/repos/{owner}/{repo}/collaborators/{username}/permission",
    "/repos/{owner}/{repo}/pulls",
    "/repos/{owner}/{repo}/pulls/{pull_number}",
    "/repos/{owner}/{repo}/issues",
    "/repos/{owner}/{repo}/issues/{issue_number}",
    "/repos/{owner}/{repo}/issues/{issue_number}/comments",
    "/repos/{owner}/{repo}/issues/comments/{comment_id}",
)
_PATIENCE_S = 60.0
_GLANCE_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A fake GitHub, and the validating proxy in front of it."""

    github: Github
    api_url: str


@pytest.fixture(scope="session")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Described]:
    """Give the proxy and the GitHub behind it; each test has its own pull request."""
    if not _PRISM.exists():
        missing = "prism is not installed: run `npm ci` in tests/contract/github"
        if "prism" in os.environ.get("REPRO_GATE_REQUIRE", ""):
            pytest.fail(missing)
        pytest.skip(missing)
    folder = tmp_path_factory.mktemp("prism")
    description = folder / "description.json"
    description.write_text(json.dumps(_part_of(json.loads(_DESCRIPTION.read_text("utf-8")))))
    pulls = [Pull(number=number, branch=f"topic-{number}") for number in range(1, 20)]
    with serving(World(pulls=pulls)) as github, (folder / "log").open("w") as log:
        port = _free_port()
        command = (_PRISM, "proxy", "-h", "127.0.0.1", "-p", str(port), "--errors")
        process = subprocess.Popen(
            [*command, description, github.api_url], stdout=log, stderr=subprocess.STDOUT
        )
        try:
            api_url = f"http://127.0.0.1:{port}"
            _wait_for(api_url, process)
            github.world.asked.clear()
            yield Described(github=github, api_url=api_url)
        finally:
            process.terminate()
            process.wait()


def _part_of(description: dict[str, Any]) -> dict[str, Any]:
    """Return the part of the description for our paths; loading all of it takes a minute."""
    paths = {path: description["paths"][path] for path in _PATHS}
    components: dict[str, dict[str, Any]] = {}
    names = _names_in(paths)
    while names:
        kind, _, name = names.pop().partition("/")
        if name not in components.setdefault(kind, {}):
            components[kind][name] = description["components"][kind][name]
            names |= _names_in(components[kind][name])
    kept = ("openapi", "info", "servers")
    return {
        **{name: description[name] for name in kept},
        "paths": paths,
        "components": components,
    }


def _names_in(value: Any) -> set[str]:
    """Return the components that a part of a description refers to."""
    if isinstance(value, list):
        return {name for item in value for name in _names_in(item)}
    if not isinstance(value, dict):
        return set()
    found = {name for item in value.values() for name in _names_in(item)}
    reference = value.get("$ref")
    if isinstance(reference, str):
        found.add(reference.removeprefix("#/components/"))
    return found


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _PATIENCE_S
    with httpx.Client(trust_env=False) as http:
        while True:
            try:
                http.get(f"{url}/user")
            except httpx.TransportError:
                assert process.poll() is None, "prism has ended"
                assert time.monotonic() < deadline, "prism does not listen"
                time.sleep(_GLANCE_S)
            else:
                return
