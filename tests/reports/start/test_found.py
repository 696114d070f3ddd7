"""What was found, what is offered, and what comes next, as text."""

from repro_gate.core.start.machine import Found, Place, RunningServer
from repro_gate.core.start.matrix import FirstMatrix
from repro_gate.core.start.providers import KNOWN_PROVIDERS
from repro_gate.core.start.sources import HostedModel, offers_of
from repro_gate.reports.start.found import format_source, render_found, render_offers
from repro_gate.reports.start.next_steps import render_next
from repro_gate.server_settings import Dialect
from tests.fakes.machines import model_of

_SERVER = RunningServer(
    url="http://127.0.0.1:8080",
    software="llama-server",
    dialect=Dialect.LLAMA_SERVER,
    models=("SmolLM2",),
)
_LOCKED = RunningServer(url="http://127.0.0.1:8000", software="vLLM", wants_key=True)
_UNKNOWN = "(unknown architecture, 5.0 GiB, no chat template; the models of Ollama)"
_FOUND = Found(
    gpus=("NVIDIA H200",),
    models=(
        model_of(context=8192, template="{{ messages }}"),
        model_of("/cache/\x1b[31m.gguf", Place.OLLAMA, architecture="", size=5 << 30),
    ),
    servers=(_SERVER, _LOCKED),
    keys=("FIREWORKS_API_KEY",),
    skipped=("/x.gguf: expected\na model",),
)


def test_everything_found_has_a_line() -> None:
    """Untrusted names are escaped."""
    assert render_found(_FOUND).splitlines() == [
        "found:",
        "  GPU     NVIDIA H200",
        "  model   /models/m.gguf (llama, 1 MiB, context 8192, chat template; this folder)",
        rf"  model   /cache/\x1b[31m.gguf {_UNKNOWN}",
        "  server  http://127.0.0.1:8080 (llama-server, 1 model: SmolLM2)",
        "  server  http://127.0.0.1:8000 (vLLM, which wants a key; none was sent)",
        "  key     FIREWORKS_API_KEY is set: repro-gate init fireworks --model NAME",
        r"  left out: /x.gguf: expected\na model",
    ]


def test_what_was_not_found_has_a_line_too() -> None:
    """So that nobody wonders whether it was looked for."""
    assert render_found(Found()).splitlines() == [
        "found:",
        "  GPU     none",
        "  model   no GGUF file that generates text",
        "  server  none on the usual ports of this machine",
        "  key     none of a known provider",
    ]


def test_a_gpu_that_cannot_be_used_has_the_reason() -> None:
    """A plain install of llama-cpp-python has no CUDA."""
    found = Found(gpus=("NVIDIA H200",), gpu_problem="no cuda here")

    assert "  GPU     not used: no cuda here (how to build it: " in render_found(found)
    assert (found.device, _FOUND.device) == ("cpu", "cuda")


def test_many_models_are_counted() -> None:
    """A cache may hold dozens."""
    found = Found(models=tuple(model_of(f"/{number}.gguf") for number in range(12)))

    assert "  model   and 2 more\n" in render_found(found)


def test_offers_are_numbered() -> None:
    """With the reason for each."""
    assert render_offers(offers_of(_FOUND)) == (
        "  1  /models/m.gguf: a model file of this folder can be pinned\n"
        "  2  SmolLM2 at http://127.0.0.1:8080: a server that runs already is what you serve\n"
        "  3  /cache/\\x1b[31m.gguf: a model file in the models of Ollama\n"
        "  4  builtin:tiny-qwen2: a tiny random model, to try it\n"
    )


def test_a_hosted_model_is_named_with_its_provider() -> None:
    """As it was asked for."""
    known = KNOWN_PROVIDERS["openai"]

    hosted = HostedModel(name="openai", provider=known, model="m", api_key_env=None)
    assert format_source(hosted) == "m at openai"


def test_the_next_commands_show_what_they_take() -> None:
    """Runs, cells and about how long on this machine."""
    matrix = FirstMatrix(
        sections=(), suite="s", cells=6, model_bytes=100_000_000, remarks=("a\nb",)
    )

    lines = render_next(matrix, ["repro-gate.toml"], has_key=True).splitlines()
    assert lines[:2] == [r"note: a\nb", "next:"]
    assert [line.strip() for line in lines[3::2]] == [
        "repro-gate update-snapshots",
        "git add repro-gate.toml snapshots",
        "repro-gate check",
    ]
    assert "# 6 cells x 3 runs of 24 tokens, roughly 7 s if nothing else runs: shows" in lines[2]


def test_a_long_recording_is_announced_in_minutes() -> None:
    """And one of an unknown length not at all."""
    long = FirstMatrix(sections=(), suite="s", cells=6, model_bytes=5 << 30)
    unknown = FirstMatrix(sections=(), suite="s", cells=6)
    tiny = FirstMatrix(sections=(), suite="s", cells=6, is_built_in=True)

    assert "roughly 4 min" in render_next(long, [], has_key=True)
    assert "of 24 tokens: shows" in render_next(unknown, [], has_key=True)
    assert "of 24 tokens, a few seconds: shows" in render_next(tiny, [], has_key=True)


def test_a_hosted_model_starts_with_its_key_and_the_cost() -> None:
    """The key only where it is not set yet."""
    matrix = FirstMatrix(sections=(), suite="s", cells=5, is_hosted=True, key="A_KEY")

    text = render_next(matrix, ["repro-gate.toml"], has_key=False)
    assert text.startswith("next:\n  # your key, which is in no file\n  export A_KEY=...\n")
    assert "# 50 calls or more: shows draws, asks, records them\n  repro-gate record-b" in text
    assert "repro-gate check --dry-run" in text
    assert "export" not in render_next(matrix, [], has_key=True)
