"""What `repro-gate probe` finds out about servers: real ones, and the imitations of the tests.

python -m benchmarks.probe_servers [--vllm URL] [--llama-cpp-python URL]
"""

import argparse
import json
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeAlias
from urllib.request import urlopen

from repro_gate.adapters.hosted.probe import probe_server
from repro_gate.adapters.http.retry import Runtime
from repro_gate.reports.probe import render_probe, render_toml
from repro_gate.tiny_models.maker import make
from repro_gate.tiny_models.recipes import RECIPES
from tests.fakes.fireworks.conduct import KEY, Conduct, Dialect
from tests.fakes.fireworks.hosting import HostedModel
from tests.fakes.fireworks.server import serving

Section: TypeAlias = tuple[str, str]
"""A heading and a table."""

_RECIPE: Final = "tiny-qwen2"
_ENVIRON: Final = {"API_KEY": KEY}
IMITATED: Final[Mapping[Dialect, str]] = {
    Dialect.FIREWORKS: "Fireworks",
    Dialect.GENERIC: "an API compatible with OpenAI's",
    Dialect.TOGETHER: "Together",
    Dialect.SGLANG: "SGLang",
    Dialect.TGI: "Text Generation Inference",
    Dialect.OLLAMA: "Ollama",
}
"""The imitations, by what they imitate."""
_PAGE: Final = """# What `repro-gate probe` finds out

`python -m benchmarks.probe_servers --vllm URL --llama-cpp-python URL` prints this page, without the
policies to paste. vLLM 0.32.0 and llama-server (xllamacpp 2026.10.11549) had models with random
weights, llama_cpp.server 0.3.36 had SmolLM2 135M. The imitations follow API references; they
generate greedily, whatever the temperature.
"""


def probed(url: str, model: str, *, key: str | None = None) -> str:
    """Return the table of a server."""
    report = probe_server(url, model, api_key_env=key, runtime=Runtime(environ=_ENVIRON))
    table = render_probe(report).removesuffix(f"{render_toml(report).rstrip()}\n").rstrip()
    return table.replace(url, "URL", 1)


def imitations() -> Iterator[Section]:
    """Yield the table of each imitation."""
    model = HostedModel(name="imitated")
    for dialect, name in IMITATED.items():
        with serving(model, conduct=Conduct(dialect=dialect)) as api:
            url = f"{api.base_url.removesuffix('/v1')}/v1"
            yield f"An imitation of {name}", probed(url, model.name, key="API_KEY")


def llama_server() -> Section:
    """Return the table of a llama-server with a tiny model."""
    with TemporaryDirectory() as folder:
        file = make(RECIPES[_RECIPE], Path(folder) / "tiny.gguf").path
        with _serving(file) as url:
            return "llama-server", probed(url, _RECIPE)


@contextmanager
def _serving(file: Path) -> Generator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    options = ["-m", str(file), "-a", _RECIPE, "--port", str(port), "-np", "1", "-t", "1"]
    command = [sys.executable, "-m", "tests.fakes.llama_server", *options]
    url = f"http://127.0.0.1:{port}/v1"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            while not _answers(f"{url}/models"):
                if server.poll() is not None:
                    raise SystemExit(f"llama-server ended with {server.returncode}")
                time.sleep(0.1)
            yield url
        finally:
            server.terminate()


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5):  # noqa: S310 -- on this machine
            return True
    except OSError:
        return False


def _model_at(url: str) -> str:
    with urlopen(f"{url}/models", timeout=5) as reply:  # noqa: S310 -- named by the user
        name: str = json.load(reply)["data"][0]["id"]
    return name


def main() -> None:
    """Print the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vllm", metavar="URL", help="a running vLLM, ending in /v1")
    parser.add_argument("--llama-cpp-python", metavar="URL", help="a running llama_cpp.server")
    options = parser.parse_args()
    real = {"vLLM": options.vllm, "llama_cpp.server": options.llama_cpp_python}
    sections = [llama_server()]
    sections += [(name, probed(url, _model_at(url))) for name, url in real.items() if url]
    sections += imitations()
    print(_PAGE)
    print("\n\n".join(f"## {title}\n\n```text\n{table}\n```" for title, table in sections))


if __name__ == "__main__":
    main()
