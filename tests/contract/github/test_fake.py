"""The fake GitHub as a program, for tests whose client is another program."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.fakes.github.world import OF_FORK, OF_JOB

_ROOT = Path(__file__).parents[3]
_PATIENCE_S = 20.0
_STATE = """{
    "pulls": [{"number": 9, "owner": "mallory", "branch": "fix"}],
    "comments": [{"pull": 9, "author": {"login": "mallory"}, "body": "please"}],
    "faults": [{"method": "POST", "path": ".*/9/comments", "status": 503}]
}"""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Give the address of the program."""
    port_file, state = tmp_path / "port", tmp_path / "state.json"
    state.write_text(_STATE)
    command = (sys.executable, "-m", "tests.fakes.github", "--repository", "a/b")
    process = subprocess.Popen(
        [*command, "--port-file", port_file, "--state", state], cwd=_ROOT, start_new_session=True
    )
    try:
        deadline = time.monotonic() + _PATIENCE_S
        while not port_file.exists():
            assert process.poll() is None, "the program has ended"
            assert time.monotonic() < deadline, "the program does not listen"
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port_file.read_text().strip()}"
    finally:
        process.terminate()
        assert process.wait(_PATIENCE_S) == 0


def test_the_program_returns_its_state(url: str) -> None:
    """Comments, faults and permissions are those of its state; it shows no token."""
    comments = f"{url}/repos/a/b/issues/9/comments"
    with httpx.Client(trust_env=False) as http:

        def post(secret: str) -> int:
            headers = {"authorization": f"Bearer {secret}"}
            return http.post(comments, json={"body": "hi"}, headers=headers).status_code

        statuses = [post(secret) for secret in (OF_JOB, OF_JOB, OF_FORK, "unknown")]
        http.post(f"{url}/_state", json={"pulls": [{"number": 9, "sha": "f" * 40}]})
        answer = http.get(f"{url}/_state")

    state = answer.json()
    assert statuses == [503, 201, 403, 401]
    assert [(one["author"]["login"], one["body"]) for one in state["comments"]] == [
        ("mallory", "please"),
        ("github-actions[bot]", "hi"),
    ]
    assert [one["by"] for one in state["requests"]] == [*["github-actions[bot]"] * 3, None]
    assert {pull["number"]: pull["sha"] for pull in state["pulls"]}[9] == "f" * 40
    assert OF_JOB not in answer.text
