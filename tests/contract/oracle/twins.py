"""The built-in engine and llama-server, with the same model and the same settings."""

from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from repro_gate.engines.llama_cpp import native
from repro_gate.protocol import Method
from repro_gate.settings import RopeScaling, Settings
from tests.contract.oracle.llama_server import LlamaServer
from tests.fakes.driven_engine import CELL, DrivenEngine, load_params

SETTINGS = {"n_ctx": 512, "n_batch": 512, "threads": 1, "flash_attention": False, "kv_type": "f16"}
"""The usual ones."""

_SCALINGS = {
    RopeScaling.NONE: native.ROPE_SCALING_NONE,
    RopeScaling.LINEAR: native.ROPE_SCALING_LINEAR,
    RopeScaling.YARN: native.ROPE_SCALING_YARN,
}


class Twins:
    """Both, until they are closed.

    Args:
        python: of the environment that has llama-server.
        model: the file.
        settings: those of a load request.
    """

    def __init__(self, python: Path, model: Path, settings: Mapping[str, Any]) -> None:
        with ExitStack() as opened:
            params = {"model.path": str(model), **params_of(settings)}
            self.server = opened.enter_context(closing(LlamaServer(python, params)))
            self.engine = opened.enter_context(closing(DrivenEngine({})))
            self.engine.ask(Method.LOAD, **{**load_params(model), "settings": dict(settings)})
            self._opened = opened.pop_all()

    def close(self) -> None:
        """End both processes."""
        self._opened.close()

    def first_logprobs(self, prompt: str) -> tuple[float, float]:
        """Return the log-probability of the likeliest first token, of the engine and the server."""
        cell = CELL | {"prompt": prompt, "temperature": 0, "max_tokens": 1, "trace": True}
        ours = self.engine.ask(Method.GENERATE, **cell)["trace"][0]["logprob"]
        return ours, self.server.first_logprob(cell)

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


def params_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of the server that mean these settings."""
    given = Settings.parse(settings, is_cpu=True)
    rope = dict(given.rope)
    if "rope_scaling" in rope:
        rope["rope_scaling_type"] = _SCALINGS[RopeScaling(str(rope.pop("rope_scaling")))]
    return {
        # One sequence, with nothing of an earlier one, and no settings that follow free memory.
        "n_parallel": 1,
        "kv_unified": False,
        "fit_params": False,
        "n_ctx": given.n_ctx,
        "n_batch": given.n_batch,
        "n_ubatch": given.n_ubatch,
        "cpuparams.n_threads": given.threads,
        "cpuparams_batch.n_threads": given.threads_batch,
        "flash_attn_type": int(given.flash_attention),
        "cache_type_k": native.TENSOR_TYPES[given.kv_type_k],
        "cache_type_v": native.TENSOR_TYPES[given.kv_type_v],
        "no_extra_bufts": not given.repack,
        "swa_full": given.swa_full,
        **rope,
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
