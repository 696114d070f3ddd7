"""The built-in engine and llama-server, with the same model and the same settings."""

from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from repro_gate.engines.llama_cpp import native
from repro_gate.protocol import Method
from tests.contract.oracle.llama_server import LlamaServer
from tests.fakes.driven_engine import CELL, DrivenEngine

SETTINGS = {"n_ctx": 512, "n_batch": 512, "threads": 1, "flash_attention": False, "kv_type": "f16"}
"""The usual ones."""


class Twins:
    """Both, until they are closed.

    Args:
        python: of the environment that has llama-server.
        model: the file.
        settings: those of a load request.
    """

    def __init__(self, python: Path, model: Path, settings: Mapping[str, Any]) -> None:
        with ExitStack() as opened:
            params = {"model.path": str(model), **_params(settings)}
            self.server = opened.enter_context(closing(LlamaServer(python, params)))
            self.engine = opened.enter_context(closing(DrivenEngine({})))
            self.engine.load(model, **settings)
            self._opened = opened.pop_all()

    def close(self) -> None:
        """End both processes."""
        self._opened.close()

    def generate(self, **changes: Any) -> dict[str, Any]:
        """Return what both generate for the usual cell with changes; fail where they differ."""
        cell = CELL | changes
        self.engine.send(Method.GENERATE, cell)
        try:
            theirs = self.server.complete(cell)
        finally:
            # In any case, so that the next answer belongs to the next request.
            answer = self.engine.receive()
        assert "result" in answer, (answer, theirs)
        ours = _run(answer["result"])
        # Without stop strings, the engine gives no text.
        content = {} if "content" in ours else {"content": theirs["content"]}
        assert ours | content == theirs
        return theirs


def _params(settings: Mapping[str, Any]) -> dict[str, Any]:
    kv_type = native.TENSOR_TYPES[settings["kv_type"]]
    return {
        # One sequence, with nothing of an earlier one, and no settings that follow free memory.
        "n_parallel": 1,
        "kv_unified": False,
        "fit_params": False,
        "n_ctx": settings["n_ctx"],
        "n_batch": settings["n_batch"],
        "n_ubatch": settings.get("n_ubatch", settings["n_batch"]),
        "cpuparams.n_threads": settings["threads"],
        "cpuparams_batch.n_threads": settings["threads"],
        "flash_attn_type": int(settings["flash_attention"]),
        "cache_type_k": kv_type,
        "cache_type_v": kv_type,
        "no_extra_bufts": not settings.get("repack", True),
        "swa_full": True,
    }


def _run(result: Mapping[str, Any]) -> dict[str, Any]:
    run = {
        "tokens": [token for token, _ in result["tokens"]],
        "stop": result["stop"],
        "stop_string": result.get("stop_string", ""),
    }
    if "content" in result:
        run["content"] = bytes.fromhex(result["content"]).decode()
    return run
