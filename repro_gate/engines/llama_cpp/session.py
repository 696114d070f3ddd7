"""One loaded model and its contexts: every setting explicit, llama.cpp chooses nothing itself."""

import re
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
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
from repro_gate.engines.llama_cpp.model_kinds import load_error, require_generating, require_gguf
from repro_gate.engines.llama_cpp.tokenizer import Tokenizer
from repro_gate.engines.model_file import ModelFile, model_invalid
from repro_gate.offload import OFFLOAD_SETTINGS, SplitMode
from repro_gate.protocol import MAX_CONCURRENCY, Refusal, RequestRefused, bad_request
from repro_gate.strict_json import boolean, choice, exact_table, integer

_MAX_CONTEXT = 2**24
_REQUIRED = ("n_ctx", "n_batch", "threads", "flash_attention", "kv_type")
_OPTIONAL = ("n_ubatch", "repack", "contexts", *OFFLOAD_SETTINGS)
"""Those of the offload are read by `Offload`."""
_MAX_THREADS = 512
"""`GGML_MAX_N_THREADS`."""
_ALL_LAYERS = -1
_NO_LAYERS = 0
_NO_DEVICE = -1
_FIRST_OF_LIST = 0
_MAX_ERRORS = 3
_NO_MEMORY = re.compile(
    r"(?:failed|unable) to allocate|cudaMalloc failed|Cannot allocate memory|bad_alloc"
)
_NO_SPLIT = re.compile(r"does not support split buffers|LLAMA_SPLIT_MODE_TENSOR not implemented")
_SPLIT_MODES = {
    SplitMode.LAYER: native.SPLIT_LAYERS,
    SplitMode.ROW: native.SPLIT_ROWS,
    SplitMode.TENSOR: native.SPLIT_TENSORS,
}
_NO_THREAD = re.compile("Resource temporarily unavailable")
"""The tensors of a model are checked in a thread each, so a limit of threads or memory counts."""


class KvType(StrEnum):
    """How the key-value cache stores its numbers."""

    F32 = "f32"
    F16 = "f16"
    BF16 = "bf16"
    Q8_0 = "q8_0"
    Q5_1 = "q5_1"
    Q5_0 = "q5_0"
    Q4_1 = "q4_1"
    Q4_0 = "q4_0"
    IQ4_NL = "iq4_nl"

    @property
    def is_quantized(self) -> bool:
        """Whether numbers share a scale in blocks, which only flash attention can read."""
        return self not in {KvType.F32, KvType.F16, KvType.BF16}


_KV_TYPES = {kind: native.TENSOR_TYPES[kind.value] for kind in KvType}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a load request."""

    n_ctx: int
    """Tokens in the context; llama.cpp rounds it up to a multiple of 256."""
    n_batch: int
    """The most tokens of a prompt in one call of `llama_decode`."""
    n_ubatch: int
    """The most tokens computed at once: llama.cpp splits a longer prompt."""
    threads: int
    """For decoding one token and many alike."""
    flash_attention: bool
    kv_type: KvType
    repack: bool = True
    """Whether weights may be rearranged for the CPU, which changes the results of some types."""
    contexts: int | None = None
    """How many sequences run side by side, each in a context of its own; None for a default."""

    @classmethod
    def parse(cls, data: object) -> "Settings":
        """Return the settings, or refuse what is unknown, missing, or out of range."""
        found = exact_table(data, "settings", keys=_REQUIRED, optional=_OPTIONAL)
        settings = cls(
            n_ctx=integer(found["n_ctx"], "settings.n_ctx", low=1, high=_MAX_CONTEXT),
            n_batch=integer(found["n_batch"], "settings.n_batch", low=1, high=_MAX_CONTEXT),
            n_ubatch=integer(
                found.get("n_ubatch", found["n_batch"]),
                "settings.n_ubatch",
                low=1,
                high=_MAX_CONTEXT,
            ),
            threads=integer(found["threads"], "settings.threads", low=1, high=_MAX_THREADS),
            flash_attention=boolean(found["flash_attention"], "settings.flash_attention"),
            kv_type=KvType(choice(found["kv_type"], "settings.kv_type", tuple(KvType))),
            repack=boolean(found.get("repack", True), "settings.repack"),
            contexts=integer(found["contexts"], "settings.contexts", low=1, high=MAX_CONCURRENCY)
            if "contexts" in found
            else None,
        )
        if settings.n_batch > settings.n_ctx:
            raise bad_request(
                f"settings.n_batch: expected at most n_ctx = {settings.n_ctx}, "
                f"found {settings.n_batch}"
            )
        if settings.n_ubatch > settings.n_batch:
            raise bad_request(
                f"settings.n_ubatch: expected at most n_batch = {settings.n_batch}, "
                f"found {settings.n_ubatch}"
            )
        if settings.kv_type.is_quantized and not settings.flash_attention:
            raise bad_request(
                "settings.kv_type: expected f32, f16 or bf16 without flash_attention, "
                f"found {settings.kv_type.value}"
            )
        return settings


class Slot:
    """A context of the loaded model: one sequence at a time, in one thread at a time."""

    def __init__(self, context: native.Context, tokenizer: Tokenizer, settings: Settings) -> None:
        self.context = context
        self.settings = settings
        self.tokenizer = tokenizer
        self.decoder = Decoder(context, vocabulary=tokenizer.size)

    def close(self) -> None:
        """Free the batch and the context."""
        self.decoder.close()
        native.free_context(self.context)

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
    """

    def __init__(
        self, file: ModelFile, device: Target, settings: Settings, concurrency: int | None = None
    ) -> None:
        self.file = file
        self.device = device
        self.settings = settings
        self._gpus = device.log_names if device.is_gpu else frozenset[str]()
        with ExitStack() as undo:
            require_gguf(file.path)
            mark = native.LOG.mark()
            self.model = _load_model(file, device, settings, mark)
            undo.callback(native.free_model, self.model)
            self.load_log = native.LOG.since(mark)
            weights = placement_of_weights(self.load_log, device.log_names)
            _require_part(device.offload.gpu_layers, layers=weights.layers)
            require_generating(self.model, self.load_log)
            file.require_unchanged()

            self.tokenizer = Tokenizer(native.get_vocabulary(self.model))
            self.chat_template = ChatTemplate(self.model, self.tokenizer)
            mark = native.LOG.mark()
            self.slots = [self._new_slot(undo)]
            log = native.LOG.since(mark)
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
        context = _new_context(self.model, self.device, self.settings, native.LOG.mark())
        slot = Slot(context, self.tokenizer, self.settings)
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
    params.no_host = False
    # Without this, a model of NaNs loads and generates without an error.
    params.check_tensors = True
    model = native.load_model(str(file.path).encode(), params)
    if model is None:
        _require_memory("the model", mark)
        _require_split(device, mark)
        raise load_error(file.path, native.LOG.errors_since(mark))
    return model


def _new_context(
    model: native.Model, device: Target, settings: Settings, mark: int
) -> native.Context:
    # RoPE and YaRN parameters keep their default: those of the model file.
    params = native.context_params()
    params.n_ctx = settings.n_ctx
    params.n_batch = settings.n_batch
    params.n_ubatch = settings.n_ubatch
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


def _last_errors(mark: int) -> str:
    errors = native.LOG.errors_since(mark)
    return " / ".join(errors[-_MAX_ERRORS:]) or "no reason given"
