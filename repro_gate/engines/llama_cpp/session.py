"""One loaded model with one context, made with every parameter explicit."""

import re
from contextlib import ExitStack

from repro_gate.engines.llama_cpp import native, placement
from repro_gate.engines.llama_cpp.decoding import Decoder
from repro_gate.engines.llama_cpp.devices import Device
from repro_gate.engines.llama_cpp.model_file import ModelFile, model_invalid
from repro_gate.engines.llama_cpp.model_kinds import load_error, require_generating, require_gguf
from repro_gate.engines.llama_cpp.settings import KvType, Settings
from repro_gate.engines.llama_cpp.tokenizer import Tokenizer
from repro_gate.protocol import Refusal, RequestRefused

_ALL_LAYERS = -1
_NO_LAYERS = 0
_NO_DEVICE = -1
_FIRST_OF_LIST = 0
_KV_TYPES = {KvType.F32: native.TYPE_F32, KvType.F16: native.TYPE_F16}
_ERRORS_TOLD = 3
_NO_MEMORY = re.compile(r"(?:failed|unable) to allocate|cudaMalloc failed")


class Session:
    """What is loaded; `close` it before the next one."""

    def __init__(self, file: ModelFile, device: Device, settings: Settings) -> None:
        self.file = file
        self.device = device
        self.settings = settings
        with ExitStack() as undo:
            require_gguf(file.path)
            mark = native.LOG.mark()
            self.model = _load_model(file, device, settings, mark)
            undo.callback(native.free_model, self.model)
            self.load_log = native.LOG.since(mark)
            weights = placement.of_weights(self.load_log, device.name)
            require_generating(self.model, self.load_log)
            file.require_unchanged()

            mark = native.LOG.mark()
            self.context = _new_context(self.model, device, settings, mark)
            undo.callback(native.free_context, self.context)
            self.placement = weights.with_context(native.LOG.since(mark))

            self.tokenizer = Tokenizer(native.get_vocabulary(self.model))
            self.decoder = Decoder(self.context, vocabulary=self.tokenizer.size)
            undo.callback(self.decoder.close)
            self._resources = undo.pop_all()

    def close(self) -> None:
        """Free everything."""
        self._resources.close()

    def require_room(self, prompt: int, more: int) -> None:
        """Refuse a sequence that does not fit in the context."""
        room = native.n_ctx(self.context)
        if prompt + more > room:
            raise RequestRefused(
                Refusal.OUT_OF_CONTEXT,
                f"{prompt} tokens of prompt and {more} more do not fit in n_ctx = {room}",
            )


def _load_model(file: ModelFile, device: Device, settings: Settings, mark: int) -> native.Model:
    params = native.model_params()
    # The list, and not an index among what llama.cpp finds: it reorders and drops devices. It
    # reads the list during the call only. Without a GPU in it, the weights stay on the CPU.
    devices = native.device_list(*([device.handle] if device.is_gpu else []))
    params.devices = native.address(devices)
    params.split_mode = native.ONE_DEVICE
    params.main_gpu = _FIRST_OF_LIST if device.is_gpu else _NO_DEVICE
    params.n_gpu_layers = _ALL_LAYERS if device.is_gpu else _NO_LAYERS
    params.use_extra_bufts = settings.repack
    params.no_host = False
    # Without this, a model of NaNs loads and generates as if nothing were wrong.
    params.check_tensors = True
    model = native.load_model(str(file.path).encode(), params)
    if model is None:
        _require_memory("the model", mark)
        raise load_error(file.path, native.LOG.errors_since(mark))
    return model


def _new_context(
    model: native.Model, device: Device, settings: Settings, mark: int
) -> native.Context:
    # RoPE and YaRN parameters stay at "as the model says".
    params = native.context_params()
    params.n_ctx = settings.n_ctx
    params.n_batch = params.n_ubatch = settings.n_batch
    params.n_seq_max = 1
    params.n_threads = params.n_threads_batch = settings.threads
    params.flash_attn_type = (
        native.FLASH_ATTENTION_ON if settings.flash_attention else native.FLASH_ATTENTION_OFF
    )
    params.type_k = params.type_v = _KV_TYPES[settings.kv_type]
    params.offload_kqv = device.is_gpu
    # On by default, it sends large products of a CPU run to the GPU.
    params.op_offload = device.is_gpu
    params.swa_full = True
    params.kv_unified = False
    params.embeddings = False
    params.no_perf = True
    context = native.new_context(model, params)
    if context is None:
        _require_memory("the context", mark)
        raise model_invalid(f"llama.cpp makes no context for it: {_last_errors(mark)}")
    return context


def _require_memory(what: str, mark: int) -> None:
    if any(map(_NO_MEMORY.search, native.LOG.errors_since(mark))):
        raise RequestRefused(
            Refusal.DEVICE_UNAVAILABLE, f"no memory for {what}: {_last_errors(mark)}"
        )


def _last_errors(mark: int) -> str:
    errors = native.LOG.errors_since(mark)
    return " / ".join(errors[-_ERRORS_TOLD:]) or "it gives no reason"
