"""The llama-server of the tests has the options and the defaults of the program."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from repro_gate.adapters.hosted.scorer import HostedScorer
from repro_gate.core.logprobs.draw import MissedDraw
from repro_gate.core.logprobs.policy import Budget, ProviderKind
from tests.fakes.hosted import logprob_cell_of, provider_of

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


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (
            ProviderKind.OPENAI,
            "it ignored `echo` and gave log-probabilities of generated tokens, not of the prompt",
        ),
        (ProviderKind.VLLM, "it gives no log-probabilities of the prompt"),
    ],
)
def test_its_log_probabilities_cannot_be_gated(
    tiny_qwen2: Path, kind: ProviderKind, reason: str
) -> None:
    """All cells have one reason, and what can be done instead."""
    with _serving("-m", tiny_qwen2, "-a", "tiny", "-c", "1024") as url:
        provider = provider_of(f"{url}/v1", kind=kind, api_key_env=None)
        cells = [logprob_cell_of(provider, prompt=prompt, model="tiny") for prompt in "ab"]
        # A sampled token may be a part of a character, which has no log-probability.
        cells = [replace(cell, policy=replace(cell.policy, temperature=0.0)) for cell in cells]
        with closing(HostedScorer(Budget())) as scorer:
            found = scorer.encode(cells)

    reasons = {one.reason for one in found if isinstance(one, MissedDraw)}
    assert reasons == {f"test-host cannot be gated: {reason}"}
    remedies = [one.remedy or "" for one in found if isinstance(one, MissedDraw)]
    assert all('kind = "served"' in remedy for remedy in remedies)
    assert len(remedies) == len(cells)
