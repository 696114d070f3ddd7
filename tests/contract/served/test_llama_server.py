"""The llama-server of the tests has the options and the defaults of the program."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

_PROGRAM = Path(__file__).parents[2] / "fakes" / "llama_server.py"


@contextmanager
def _serving(*options: str | Path) -> Iterator[str]:
    """Give the address of a server on a free port."""
    command = [sys.executable, _PROGRAM, "--port", "0", "-t", "1", *options]
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8"
    )
    assert child.stdout is not None
    with child, child.stdout:
        try:
            yield child.stdout.readline().rpartition(" ")[2].strip()
        finally:
            child.terminate()


@pytest.mark.parametrize(
    ("options", "slots", "context"),
    [
        (("-c", "1024"), 4, 1024),
        (("-c", "1024", "-np", "2"), 2, 512),
        (("-c", "1024", "-np", "2", "-kvu"), 2, 1024),
        (("-c", "1024", "--no-kv-unified"), 4, 256),
    ],
)
def test_slots_share_the_context(
    tiny_qwen2: Path, options: tuple[str, ...], slots: int, context: int
) -> None:
    """Four share one cache by default; when their number is given, each has its part."""
    with _serving("-m", tiny_qwen2, "-a", "tiny", *options) as url:
        props = httpx.get(f"{url}/props", trust_env=False).json()
        models = httpx.get(f"{url}/v1/models", trust_env=False).json()["data"]

    assert (props["total_slots"], props["default_generation_settings"]["n_ctx"]) == (slots, context)
    assert [model["id"] for model in models] == ["tiny"]


def test_an_option_that_the_program_lacks_is_refused(tiny_qwen2: Path) -> None:
    """No server starts with other settings than those that were asked for."""
    command = [sys.executable, str(_PROGRAM), "-m", str(tiny_qwen2), "--slot", "8"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "unrecognized arguments: --slot 8" in ran.stderr
