"""llama-server as the tests drive it: a child process with one slot, and its HTTP interface."""

import json
import select
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from repro_gate.samplers import PLAIN, PLAIN_ORDER

_PATIENCE_S = 100
_PROGRAM = Path(__file__).with_name("serve.py")
_STOPS = {"limit": "length", "eos": "end_of_generation", "word": "stop_string"}
_MIROSTATS = {"mirostat": 1, "mirostat_v2": 2}


class LlamaServer:
    """A server; it ends with its stdin, and so with this process at the latest.

    Args:
        python: of the environment that has the wheel.
        params: the names and values of the server's parameters.
    """

    def __init__(self, python: Path, params: Mapping[str, Any]) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 -- `close` closes it
        self._child = subprocess.Popen(
            [python, "-P", _PROGRAM, json.dumps(params)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        facts = self._facts()
        self.features: str = facts["features"]
        """What llama.cpp was compiled for."""
        # Without the environment, so that no proxy of the machine comes in between.
        self._http = httpx.Client(base_url=facts["url"], timeout=_PATIENCE_S, trust_env=False)

    def close(self) -> None:
        """End the process."""
        self._http.close()
        self._end()
        self._log.close()

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return an answer; that of an error too."""
        return self._http.post(path, json=body).json()

    def get(self, path: str) -> Any:
        """Return an answer."""
        return self._http.get(path).raise_for_status().json()

    def tokenize(self, text: str, *, add_special: bool = True) -> list[int]:
        """Return the tokens of a prompt."""
        body = {"content": text, "add_special": add_special}
        tokens: list[int] = self.post("/tokenize", body)["tokens"]
        return tokens

    def complete(self, cell: Mapping[str, Any]) -> dict[str, Any]:
        """Return the tokens of a cell, why they end, the stop string that was found, and the text.

        Args:
            cell: the parameters of `generate`.
        """
        answer = self.post("/completion", _body(cell))
        assert "tokens" in answer, answer
        return {
            "tokens": answer["tokens"],
            "stop": _STOPS[answer["stop_type"]],
            "stop_string": answer["stopping_word"],
            "content": answer["content"],
        }

    def first_logprob(self, cell: Mapping[str, Any]) -> float:
        """Return the log-probability of the first token."""
        answer = self.post("/completion", {**_body(cell), "n_probs": 1})
        logprob: float = answer["completion_probabilities"][0]["logprob"]
        return logprob

    def _facts(self) -> Any:
        stdout = self._child.stdout
        assert stdout is not None
        readable, _, _ = select.select([stdout], [], [], _PATIENCE_S)
        line = stdout.readline() if readable else b""
        if not line:
            self._end()
            raise AssertionError(f"llama-server is not ready after {_PATIENCE_S} s: {self._tail()}")
        return json.loads(line)

    def _end(self) -> None:
        self._child.kill()
        self._child.communicate()

    def _tail(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")[-2000:]


def _body(cell: Mapping[str, Any]) -> dict[str, Any]:
    sampling = dict(cell.get("sampling", {}))
    samplers = sampling.pop("samplers", PLAIN_ORDER)
    drawing = {"mirostat": _MIROSTATS[samplers[-1]]} if samplers[-1] in _MIROSTATS else {}
    return {
        "prompt": cell["prompt"],
        "seed": cell["seed"],
        "n_predict": cell["max_tokens"],
        "stop": cell.get("stop", []),
        **{name: cell[name] for name in PLAIN},
        **sampling,
        **drawing,
        "samplers": list(samplers),
        "cache_prompt": False,
        "return_tokens": True,
    }
