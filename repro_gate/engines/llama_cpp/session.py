"""One loaded model and its contexts: every setting explicit, llama.cpp chooses nothing itself."""

import re
import sys
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from queue import SimpleQueue

from repro_gate.engines import host
from repro_gate.engines.llama_cpp import native
from repro_gate.engines.llama_cpp.chat.template import ChatTemplate
from repro_gate.engines.llama_cpp.devices.placement import (
    Memory,
    default_contexts,
    fitting_contexts,
    has_room_for_another,
    memory_of_buffers,
    placement_of_weights,
    too_many_contexts,
)
from repro_gate.engines.llama_cpp.devices.targets import Target
from repro_gate.engines.llama_cpp.inference.decode import Decoder
from repro_gate.engines.llama_cpp.lora import Lora, load_adapters
from repro_gate.engines.llama_cpp.model_kinds import (
    decoder_start,
    load_error,
    require_generating,
    require_gguf,
)
from repro_gate.engines.llama_cpp.native_log import LogLine
from repro_gate.engines.llama_cpp.tokenizer import Tokenizer
from repro_gate.engines.model_file import ModelFile, model_invalid
from repro_gate.protocol import MAX_CONCURRENCY, Refusal, RequestRefused, bad_request
from repro_gate.settings import KV_BLOCK, LoadMode, RopeScaling, Settings, SplitMode

_ALL_LAYERS = -1
_NO_LAYERS = 0
_NO_DEVICE = -1
_FIRST_OF_LIST = 0
_MAX_ERRORS = 3
_NO_MEMORY = re.compile(
    r"(?:failed|unable) to allocate|cudaMalloc failed|Cannot allocate memory|bad_alloc"
)
_WITHOUT_FLASH = "grok"
"""The only architecture for which llama.cpp changes the setting."""
_NOT_LOCKED = re.compile(r"failed to (?:mlock|VirtualLock)|mlock not supported")
_HEAD = re.compile(r"print_info: n_embd_head_([kv])(?:_swa)?\s+= (\d+)")
_NO_SPLIT = re.compile(r"does not support split buffers|LLAMA_SPLIT_MODE_TENSOR not implemented")
_SPLIT_MODES = {
    SplitMode.LAYER: native.SPLIT_LAYERS,
    SplitMode.ROW: native.SPLIT_ROWS,
    SplitMode.TENSOR: native.SPLIT_TENSORS,
}
_ROPE_SCALINGS = {
    RopeScaling.NONE: native.ROPE_SCALING_NONE,
    RopeScaling.LINEAR: native.ROPE_SCALING_LINEAR,
    RopeScaling.YARN: native.ROPE_SCALING_YARN,
}
_LOAD_MODES = {
    None: native.LOAD_AUTO,
    LoadMode.NONE: native.LOAD_NONE,
    LoadMode.MMAP: native.LOAD_MMAP,
    LoadMode.MLOCK: native.LOAD_MLOCK,
    LoadMode.MMAP_MLOCK: native.LOAD_MMAP_MLOCK,
}
_NO_THREAD = re.compile("Resource temporarily unavailable")
"""The tensors of a model are checked in a thread each, so a limit of threads or memory counts."""


class Slot:
    """A context of the loaded model: one sequence at a time, in one thread at a time."""

    def __init__(self, decoder: Decoder, tokenizer: Tokenizer, settings: Settings) -> None:
        self.context = decoder.context
        self.settings = settings
        self.tokenizer = tokenizer
        self.decoder = decoder

    def close(self) -> None:
        """Free the batch and the context."""
        self.decoder.close()
        native.free_context(self.context)

    def tokenize(self, prompt: str) -> list[int]:
        """Return the tokens of a prompt, as the part of the model that reads it needs them."""
        return self.tokenizer.encode(prompt, keeps_eos=self.decoder.has_encoder)

    def require_context(self, prompt: int, more: int) -> None:
        """Refuse a sequence that does not fit in the context."""
        size = native.n_ctx(self.context)
        if prompt + more > size:
            raise RequestRefused(
                Refusal.OUT_OF_CONTEXT,
                f"{prompt} tokens of prompt and {more} more do not fit in n_ctx = {size}",
            )


class Session:
    """A loaded model; close it before the next one.

    Args:
        file: the model.
        device: where it computes.
        settings: how it computes.
        concurrency: how many contexts are of use, or None if there is no limit.
        lora: its adapters.
    """

    def __init__(
        self,
        file: ModelFile,
        device: Target,
        settings: Settings,
        concurrency: int | None = None,
        *,
        lora: Sequence[Lora] = (),
    ) -> None:
        self.file, self.lora = file, lora
        self.device, self.settings = device, settings
        self._gpus = device.log_names if device.is_gpu else frozenset[str]()
        with ExitStack() as undo:
            require_gguf(file.files)
            mark = native.LOG.mark()
            self.model = _load_model(file, device, settings, mark)
            undo.callback(native.free_model, self.model)
            self.load_log = native.LOG.since(mark)
            weights = placement_of_weights(self.load_log, device.log_names)
            require_generating(self.model, self.load_log)
            _require_fitting(settings, self.model, self.load_log, layers=weights.layers)
            file.require_unchanged()
            self._adapters = load_adapters(self.model, file.files, lora)

            self.tokenizer = Tokenizer(native.get_vocabulary(self.model))
            self.chat_template = ChatTemplate(self.model, self.tokenizer)
            mark = native.LOG.mark()
            self.slots = [self._new_slot(undo)]
            log = self.context_log = native.LOG.since(mark)
            self.placement = weights.with_context(log)
            self._one = memory_of_buffers(log, gpus=self._gpus)
            self._add_slots(undo, concurrency or MAX_CONCURRENCY)
            self._free: SimpleQueue[Slot] = SimpleQueue()
            for slot in self.slots:
                self._free.put(slot)
            self._resources = undo.pop_all()

    def close(self) -> None:
        """Free everything."""
        self._resources.close()

    @contextmanager
    def slot(self) -> Generator[Slot]:
        """Yield a slot that is free, after waiting for one if need be."""
        slot = self._free.get()
        try:
            yield slot
        finally:
            self._free.put(slot)

    def has_room_for_another(self) -> bool:
        """Return whether another process could load the model too; ask before the first decode."""
        model = memory_of_buffers(self.load_log, gpus=self._gpus)
        free = self._free_memory()
        return has_room_for_another(model=model, one=self._one, made=len(self.slots), free=free)

    def _add_slots(self, undo: ExitStack, concurrency: int) -> None:
        # All before the first decode, because making a context may write into the model.
        settings, device = self.settings, self.device
        wanted = settings.contexts or default_contexts(
            device.backend,
            device.offload.split_mode,
            cores=host.usable_cores(),
            threads=settings.threads,
        )
        wanted = min(wanted, concurrency)
        fitting = fitting_contexts(wanted, one=self._one, free=self._free_memory())
        try:
            while len(self.slots) < fitting:
                self.slots.append(self._new_slot(undo))
        except RequestRefused:
            # Another program may have taken the memory.
            fitting = len(self.slots)
        if fitting < wanted and settings.contexts is not None:
            raise too_many_contexts(wanted, fitting=fitting, device=device.name)

    def _new_slot(self, undo: ExitStack) -> Slot:
        start_token = decoder_start(self.model, self.tokenizer)
        context = _new_context(self.model, self.settings, native.LOG.mark())
        native.set_adapters(context, self._adapters)
        decoder = Decoder(context, vocabulary=self.tokenizer.size, start_token=start_token)
        slot = Slot(decoder, self.tokenizer, self.settings)
        undo.callback(slot.close)
        return slot

    def _free_memory(self) -> Memory:
        if self.device.is_gpu:
            return Memory(gpu=self.device.free_memory(), host=host.free_memory())
        # The pages of the model must stay: they are read for every token.
        return Memory(gpu=sys.maxsize, host=host.free_memory() - self.file.size)


def _load_model(file: ModelFile, device: Target, settings: Settings, mark: int) -> native.Model:
    params = native.model_params()
    # A list, because an index is ambiguous: llama.cpp reorders and drops devices. The list is read
    # during the call only. Without a GPU in it, the weights stay on the CPU.
    gpus = device.devices if device.is_gpu else ()
    devices = native.device_list(*(gpu.handle for gpu in gpus))
    params.devices = native.address(devices)
    params.split_mode = _SPLIT_MODES[device.offload.split_mode] if gpus[1:] else native.ONE_DEVICE
    params.main_gpu = _FIRST_OF_LIST if gpus else _NO_DEVICE
    # Copied during the call.
    shares = native.shares(*device.offload.tensor_split)
    params.tensor_split = shares if gpus[1:] else None
    params.n_gpu_layers = (device.offload.gpu_layers or _ALL_LAYERS) if gpus else _NO_LAYERS
    params.use_extra_bufts = settings.repack
    params.load_mode = _LOAD_MODES[settings.load_mode]
    params.no_host = False
    # Without this, a model of NaNs loads and generates without an error.
    params.check_tensors = True
    model = native.load_model(file.files, params)
    if model is None:
        _require_memory("the model", mark)
        _require_split(device, mark)
        raise load_error(file.files, native.LOG.errors_since(mark))
    return model


def _new_context(model: native.Model, settings: Settings, mark: int) -> native.Context:
    params = native.context_params()
    for name, value in settings.rope.items():
        if isinstance(value, RopeScaling):
            params.rope_scaling_type = _ROPE_SCALINGS[value]
        else:
            setattr(params, name, value)
    params.n_ctx = settings.n_ctx
    params.n_batch = settings.n_batch
    params.n_ubatch = settings.n_ubatch
    params.n_seq_max = 1
    params.n_threads, params.n_threads_batch = settings.threads, settings.threads_batch
    params.flash_attn_type = (
        native.FLASH_ATTENTION_ON if settings.flash_attention else native.FLASH_ATTENTION_OFF
    )
    params.type_k = native.TENSOR_TYPES[settings.kv_type_k]
    params.type_v = native.TENSOR_TYPES[settings.kv_type_v]
    params.offload_kqv = settings.offload.offload_kqv
    # True by default in C, where it sends large products of a CPU run to the GPU.
    params.op_offload = settings.op_offload
    params.swa_full = settings.swa_full
    params.kv_unified = False
    params.embeddings = False
    params.no_perf = True
    context = native.new_context(model, params)
    if context is None:
        _require_memory("the context", mark)
        raise model_invalid(f"llama.cpp cannot create a context for it: {_last_errors(mark)}")
    return context


def _require_memory(what: str, mark: int) -> None:
    kinds = (("memory", _NO_MEMORY), ("memory or threads", _NO_THREAD))
    for missing, pattern in kinds:
        if any(map(pattern.search, native.LOG.errors_since(mark))):
            raise RequestRefused(
                Refusal.DEVICE_UNAVAILABLE, f"no {missing} for {what}: {_last_errors(mark)}"
            )


def _require_split(device: Target, mark: int) -> None:
    if any(map(_NO_SPLIT.search, native.LOG.errors_since(mark))):
        raise RequestRefused(
            Refusal.DEVICE_UNAVAILABLE,
            f"this llama.cpp cannot split this model with split_mode = "
            f"{device.offload.split_mode.value} on {device.backend}; use layer",
        )


def _require_part(gpu_layers: int | None, *, layers: int) -> None:
    if gpu_layers is not None and gpu_layers >= layers:
        raise bad_request(
            f"settings.gpu_layers: expected fewer than the {layers} layers of the model (without "
            f"the setting all are on the GPU), found {gpu_layers}"
        )


def _require_fitting(
    settings: Settings, model: native.Model, log: Sequence[LogLine], *, layers: int
) -> None:
    """Refuse settings that llama.cpp ignores for this model, or computes nonsense with."""
    _require_part(settings.offload.gpu_layers, layers=layers)
    _require_locked(settings, log)
    _require_readable(settings, model)
    _require_blocks(settings, log)
    architecture = native.metadata(model, "general.architecture")
    if settings.flash_attention and architecture == _WITHOUT_FLASH:
        raise bad_request(
            f"settings.flash_attention: expected false for {architecture}, where llama.cpp "
            "switches it off"
        )
    if settings.rope and native.rope_type(model) == native.NO_ROPE:
        raise bad_request(
            f"settings.{next(iter(settings.rope))}: expected no such setting for a model without "
            "rotary positions, where it would have no effect"
        )


def _require_locked(settings: Settings, log: Sequence[LogLine]) -> None:
    failed = next((line.text for line in log if _NOT_LOCKED.search(line.text)), None)
    if failed is not None:
        raise RequestRefused(
            Refusal.DEVICE_UNAVAILABLE,
            f"the model cannot be locked in memory, which load_mode = {settings.load_mode} needs; "
            f"raise the limit (ulimit -l): {failed}",
        )


def _require_blocks(settings: Settings, log: Sequence[LogLine]) -> None:
    # Without flash attention llama.cpp does not check it, and computes nonsense.
    kinds = {"k": settings.kv_type_k, "v": settings.kv_type_v}
    for part, size in (found.groups() for line in log if (found := _HEAD.search(line.text))):
        if kinds[part].is_quantized and int(size) % KV_BLOCK:
            name = "kv_type" if kinds["k"] is kinds["v"] else f"kv_type_{part}"
            raise bad_request(
                f"settings.{name}: {part.upper()} cache type {kinds[part]} with block size "
                f"{KV_BLOCK} does not divide n_embd_head_{part}={size} of this model"
            )


def _require_readable(settings: Settings, model: native.Model) -> None:
    # With the bias of its positions, llama.cpp transposes V, and takes blocks for numbers.
    if native.has_encoder(model) and settings.kv_type_v.is_quantized:
        name = "kv_type" if settings.kv_type_k is settings.kv_type_v else "kv_type_v"
        raise bad_request(
            f"settings.{name}: expected a V cache of f32, f16 or bf16 for a model with an encoder, "
            f"where llama.cpp computes nonsense with others, found {settings.kv_type_v}"
        )


def _last_errors(mark: int) -> str:
    errors = native.LOG.errors_since(mark)
    return " / ".join(errors[-_MAX_ERRORS:]) or "no reason given"
