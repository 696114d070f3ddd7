"""Bare llama_decode calls for given tokens: what no gate around llama.cpp can be faster than.

Reads {"model", "device", "threads", "reload", "runs", "sequences": [[prompt ids, output ids], ...]}
as JSON from stdin and prints {"decode_s", "wall_s"}: the seconds until llama_decode is done, and
those from before the first load to the end. The device is "cpu", "cuda" or "cuda:N".
"""

import ctypes
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import llama_cpp

_CONTEXT = 256


class Decoder:
    """A model and a context that decode token by token, and count the seconds."""

    def __init__(self, path: str, *, device: str, threads: int) -> None:
        kind, _, index = device.partition(":")
        on_gpu = kind == "cuda"
        model_params = llama_cpp.llama_model_default_params()
        model_params.n_gpu_layers = -1 if on_gpu else 0
        model_params.split_mode = llama_cpp.LLAMA_SPLIT_MODE_NONE
        model_params.main_gpu = int(index or 0) if on_gpu else -1
        self._model: Any = llama_cpp.llama_model_load_from_file(path.encode(), model_params)
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = _CONTEXT
        params.n_seq_max = 1
        params.n_threads = params.n_threads_batch = threads
        params.flash_attn_type = 1
        params.offload_kqv = params.op_offload = on_gpu
        params.no_perf = True
        self._context: Any = llama_cpp.llama_init_from_model(self._model, params)
        self.decode_s = 0.0

    def run(self, prompt: Sequence[int], output: Sequence[int]) -> None:
        """Decode a cold prompt and then every output token but the last."""
        memory = llama_cpp.llama_get_memory(self._context)
        llama_cpp.llama_memory_clear(memory, True)  # noqa: FBT003 -- C has no keywords
        self._decode(prompt)
        for token in output[:-1]:
            self._decode([token])

    def free(self) -> None:
        """Give the memory back."""
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)

    def _decode(self, tokens: Sequence[int]) -> None:
        # The batch only points at the array: it must live until the decode is done.
        array = (ctypes.c_int32 * len(tokens))(*tokens)
        batch = llama_cpp.llama_batch_get_one(array, len(tokens))
        started = time.perf_counter()
        code = llama_cpp.llama_decode(self._context, batch)
        # On a GPU the call only starts the work.
        llama_cpp.llama_synchronize(self._context)
        self.decode_s += time.perf_counter() - started
        if code != 0:
            raise RuntimeError(f"llama_decode returned {code}")


def main() -> None:
    """Do what stdin asks."""
    task = json.load(sys.stdin)
    llama_cpp.llama_log_set(_SILENT, ctypes.c_void_p())
    started = time.perf_counter()
    decode_s = 0.0
    decoder: Decoder | None = None
    for prompt, output in task["sequences"]:
        for _ in range(task["runs"]):
            if decoder is None:
                decoder = Decoder(task["model"], device=task["device"], threads=task["threads"])
                if not task["reload"]:
                    # The first decodes of a process read the weights and compile graphs.
                    decoder.run(prompt, output)
                    decoder.decode_s = 0.0
            decoder.run(prompt, output)
            if task["reload"]:
                decode_s += decoder.decode_s
                decoder.free()
                decoder = None
    if decoder is not None:
        decode_s += decoder.decode_s
        decoder.free()
    print(json.dumps({"decode_s": decode_s, "wall_s": time.perf_counter() - started}))


_SILENT = llama_cpp.llama_log_callback(lambda *_: None)

if __name__ == "__main__":
    main()
