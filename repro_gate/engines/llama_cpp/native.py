"""The C functions of llama.cpp that the engine calls, with their types.

Everything untyped from ctypes and the bindings stays in this module. Functions that the bindings
lack are looked up through the handle of libllama itself: the wheel holds three copies of each
library, and another handle could belong to a second, unused instance.
"""

import ctypes
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NewType

from repro_gate.engines.llama_cpp.native_log import NativeLog

_PACKAGE = "llama_cpp"
_VERSION = re.compile(r"""^__version__ = ["'](.+)["']$""", re.MULTILINE)


def _import_bindings() -> tuple[Any, str]:
    """Return the C declarations of the bindings, and the version of the package.

    The package itself imports numpy, Jinja and more for a tenth of a second; and with numpy before
    libllama, loading a model is a segmentation fault where numpy has its own libstdc++.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"no module named {_PACKAGE}", name=_PACKAGE)
    version = _VERSION.search(Path(spec.origin).read_text(encoding="utf-8"))
    loaded = sys.modules.get(_PACKAGE)
    sys.modules[_PACKAGE] = loaded or importlib.util.module_from_spec(spec)
    try:
        bindings = importlib.import_module(f"{_PACKAGE}.{_PACKAGE}")
    finally:
        if loaded is None:
            # Whoever imports the package later gets all of it, with the same library.
            del sys.modules[_PACKAGE]
    return bindings, version[1] if version else "unknown"


_bindings, BINDINGS_VERSION = _import_bindings()

Model = NewType("Model", int)
Context = NewType("Context", int)
Vocabulary = NewType("Vocabulary", int)
Memory = NewType("Memory", int)
DeviceHandle = NewType("DeviceHandle", int)
Sampler = NewType("Sampler", object)
Adapter = NewType("Adapter", int)
Struct = Any
"""A C structure of the bindings: batch, model parameters, context parameters."""
CType = Any
"""A type of ctypes."""

LIBRARY_FOLDER = Path(_bindings._lib._name).resolve().parent  # noqa: SLF001 -- not published otherwise
FLASH_ATTENTION_OFF: int = _bindings.LLAMA_FLASH_ATTN_TYPE_DISABLED
FLASH_ATTENTION_ON: int = _bindings.LLAMA_FLASH_ATTN_TYPE_ENABLED
ONE_DEVICE: int = _bindings.LLAMA_SPLIT_MODE_NONE
SPLIT_LAYERS: int = _bindings.LLAMA_SPLIT_MODE_LAYER
SPLIT_ROWS: int = _bindings.LLAMA_SPLIT_MODE_ROW
SPLIT_TENSORS: int = _bindings.LLAMA_SPLIT_MODE_TENSOR
ROPE_SCALING_NONE: int = _bindings.LLAMA_ROPE_SCALING_TYPE_NONE
ROPE_SCALING_LINEAR: int = _bindings.LLAMA_ROPE_SCALING_TYPE_LINEAR
ROPE_SCALING_YARN: int = _bindings.LLAMA_ROPE_SCALING_TYPE_YARN
NO_ROPE = -1
"""Of `enum llama_rope_type`."""
LOAD_AUTO: int = _bindings.LLAMA_LOAD_MODE_AUTO
LOAD_NONE: int = _bindings.LLAMA_LOAD_MODE_NONE
LOAD_MMAP: int = _bindings.LLAMA_LOAD_MODE_MMAP
LOAD_MLOCK: int = _bindings.LLAMA_LOAD_MODE_MLOCK
LOAD_MMAP_MLOCK: int = _bindings.LLAMA_LOAD_MODE_MMAP_MLOCK
TENSOR_TYPES: Mapping[str, int] = {
    "f32": 0,
    "f16": 1,
    "bf16": 30,
    "q8_0": 8,
    "q5_1": 7,
    "q5_0": 6,
    "q4_1": 3,
    "q4_0": 2,
    "iq4_nl": 20,
}
"""Numbers of `ggml_type`, which files contain too; the bindings do not name all of them."""
DEVICE_TYPE_CPU, DEVICE_TYPE_INTEGRATED_GPU = 0, 2
"""Of `enum ggml_backend_dev_type`."""
LAST_OUTPUT = -1
"""The index of the last logits of a decode."""

free_model: Callable[[Model], None] = _bindings.llama_model_free
model_params: Callable[[], Struct] = _bindings.llama_model_default_params
new_context: Callable[[Model, Struct], Context | None] = _bindings.llama_init_from_model
free_context: Callable[[Context], None] = _bindings.llama_free
context_params: Callable[[], Struct] = _bindings.llama_context_default_params

n_ctx: Callable[[Context], int] = _bindings.llama_n_ctx
n_batch: Callable[[Context], int] = _bindings.llama_n_batch
n_ubatch: Callable[[Context], int] = _bindings.llama_n_ubatch
n_seq_max: Callable[[Context], int] = _bindings.llama_n_seq_max
n_threads: Callable[[Context], int] = _bindings.llama_n_threads
n_threads_batch: Callable[[Context], int] = _bindings.llama_n_threads_batch

n_ctx_train: Callable[[Model], int] = _bindings.llama_model_n_ctx_train
n_params: Callable[[Model], int] = _bindings.llama_model_n_params
rope_type: Callable[[Model], int] = _bindings.llama_model_rope_type
has_encoder: Callable[[Model], bool] = _bindings.llama_model_has_encoder
decoder_start_token: Callable[[Model], int] = _bindings.llama_model_decoder_start_token
is_recurrent: Callable[[Model], bool] = _bindings.llama_model_is_recurrent
is_diffusion: Callable[[Model], bool] = _bindings.llama_model_is_diffusion

get_vocabulary: Callable[[Model], Vocabulary] = _bindings.llama_model_get_vocab
n_tokens: Callable[[Vocabulary], int] = _bindings.llama_vocab_n_tokens
bos: Callable[[Vocabulary], int] = _bindings.llama_vocab_bos
eos: Callable[[Vocabulary], int] = _bindings.llama_vocab_eos
adds_bos: Callable[[Vocabulary], bool] = _bindings.llama_vocab_get_add_bos
adds_eos: Callable[[Vocabulary], bool] = _bindings.llama_vocab_get_add_eos
tokenize: Callable[[Vocabulary, bytes, int, Any, int, bool, bool], int] = _bindings.llama_tokenize
token_to_piece: Callable[[Vocabulary, int, Any, int, int, bool], int] = (
    _bindings.llama_token_to_piece
)

get_memory: Callable[[Context], Memory | None] = _bindings.llama_get_memory
clear_memory: Callable[[Memory, bool], None] = _bindings.llama_memory_clear
new_batch: Callable[[int, int, int], Struct] = _bindings.llama_batch_init
free_batch: Callable[[Struct], None] = _bindings.llama_batch_free
encode: Callable[[Context, Struct], int] = _bindings.llama_encode
decode: Callable[[Context, Struct], int] = _bindings.llama_decode
synchronize: Callable[[Context], None] = _bindings.llama_synchronize

chain_params: Callable[[], Struct] = _bindings.llama_sampler_chain_default_params
new_chain: Callable[[Struct], Sampler] = _bindings.llama_sampler_chain_init
add_to_chain: Callable[[Sampler, Sampler], None] = _bindings.llama_sampler_chain_add
free_sampler: Callable[[Sampler], None] = _bindings.llama_sampler_free
greedy: Callable[[], Sampler] = _bindings.llama_sampler_init_greedy
top_k: Callable[[int], Sampler] = _bindings.llama_sampler_init_top_k
top_p: Callable[[float, int], Sampler] = _bindings.llama_sampler_init_top_p
min_p: Callable[[float, int], Sampler] = _bindings.llama_sampler_init_min_p
temperature: Callable[[float], Sampler] = _bindings.llama_sampler_init_temp
dist: Callable[[int], Sampler] = _bindings.llama_sampler_init_dist
typical: Callable[[float, int], Sampler] = _bindings.llama_sampler_init_typical
top_n_sigma: Callable[[float], Sampler] = _bindings.llama_sampler_init_top_n_sigma
dynamic_temperature: Callable[[float, float, float], Sampler] = (
    _bindings.llama_sampler_init_temp_ext
)
xtc: Callable[[float, float, int, int], Sampler] = _bindings.llama_sampler_init_xtc
penalties: Callable[[int, int, float, float, float], Sampler] = (
    _bindings.llama_sampler_init_penalties
)
mirostat: Callable[[int, int, float, float, int], Sampler] = _bindings.llama_sampler_init_mirostat
mirostat_v2: Callable[[int, float, float], Sampler] = _bindings.llama_sampler_init_mirostat_v2
adaptive_p: Callable[[float, float, int], Sampler] = _bindings.llama_sampler_init_adaptive_p
apply: Callable[[Sampler, Struct], None] = _bindings.llama_sampler_apply
sample: Callable[[Sampler, Context, int], int] = _bindings.llama_sampler_sample

llama_version: Callable[[], bytes] = _bindings.llama_version
system_info: Callable[[], bytes] = _bindings.llama_print_system_info


def find_function(
    name: str,
    result: CType,
    *arguments: CType,
    library: ctypes.CDLL = _bindings._lib,  # noqa: SLF001 -- the instance in use
) -> Callable[..., Any] | None:
    """Return a C function of libllama or of a library that it needs; None when there is none."""
    try:
        function: Any = library[name]
    except AttributeError:
        return None
    function.restype = result
    function.argtypes = arguments
    found: Callable[..., Any] = function
    return found


def _function(
    name: str,
    result: CType,
    *arguments: CType,
    library: ctypes.CDLL = _bindings._lib,  # noqa: SLF001 -- the instance in use
) -> Callable[..., Any]:
    function = find_function(name, result, *arguments, library=library)
    if function is None:
        raise RuntimeError(f"llama.cpp has no function {name}")
    return function


_pointer = ctypes.c_void_p
ggml_version: Callable[[], bytes] = _function("ggml_version", ctypes.c_char_p)
ggml_commit: Callable[[], bytes] = _function("ggml_commit", ctypes.c_char_p)
device_count: Callable[[], int] = _function("ggml_backend_dev_count", ctypes.c_size_t)
get_device: Callable[[int], DeviceHandle] = _function(
    "ggml_backend_dev_get", _pointer, ctypes.c_size_t
)
device_type: Callable[[DeviceHandle], int] = _function(
    "ggml_backend_dev_type", ctypes.c_int, _pointer
)
device_name: Callable[[DeviceHandle], bytes] = _function(
    "ggml_backend_dev_name", ctypes.c_char_p, _pointer
)
device_description: Callable[[DeviceHandle], bytes] = _function(
    "ggml_backend_dev_description", ctypes.c_char_p, _pointer
)
_device_registry: Callable[[DeviceHandle], int] = _function(
    "ggml_backend_dev_backend_reg", _pointer, _pointer
)
_registry_name: Callable[[int], bytes] = _function(
    "ggml_backend_reg_name", ctypes.c_char_p, _pointer
)
_device_memory: Callable[..., None] = _function(
    "ggml_backend_dev_memory",
    None,
    _pointer,
    ctypes.POINTER(ctypes.c_size_t),
    ctypes.POINTER(ctypes.c_size_t),
)

# Called for each token, and done at once: to give the GIL back and to wait for it again would take
# many times as long while other contexts work.
_with_gil = ctypes.PyDLL(_bindings._lib._name, handle=_bindings._lib._handle)  # noqa: SLF001 -- the instance in use
logits_address: Callable[[Context, int], int | None] = _function(
    "llama_get_logits_ith", _pointer, _pointer, ctypes.c_int32, library=_with_gil
)
is_end_of_generation: Callable[[Vocabulary, int], bool] = _function(
    "llama_vocab_is_eog", ctypes.c_bool, _pointer, ctypes.c_int32, library=_with_gil
)
accept: Callable[[Sampler, int], None] = _function(
    "llama_sampler_accept", None, _pointer, ctypes.c_int32, library=_with_gil
)


load_adapter: Callable[[Model, bytes], Adapter | None] = _function(
    "llama_adapter_lora_init", _pointer, _pointer, ctypes.c_char_p
)
"""It is freed with the model."""
invocation_tokens: Callable[[Adapter], int] = _function(
    "llama_adapter_get_alora_n_invocation_tokens", ctypes.c_uint64, _pointer
)
_set_adapters: Callable[..., int] = _function(
    "llama_set_adapters_lora", ctypes.c_int32, _pointer, _pointer, ctypes.c_size_t, _pointer
)


def set_adapters(context: Context, scales: Sequence[tuple[Adapter, float]]) -> None:
    """Set the adapters of a context, which has them in place of those before."""
    adapters = (_pointer * len(scales))(*(adapter for adapter, _ in scales))
    _set_adapters(
        context, adapters, len(scales), (ctypes.c_float * len(scales))(*(s for _, s in scales))
    )


def backend_name(device: DeviceHandle) -> bytes:
    """Return what the registry of ggml calls the backend of a device."""
    return _registry_name(_device_registry(device))


def free_memory(device: DeviceHandle) -> int:
    """Return the bytes that are free on a device."""
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    _device_memory(device, ctypes.byref(free), ctypes.byref(total))
    return free.value


def device_list(*devices: DeviceHandle) -> ctypes.Array[ctypes.c_void_p]:
    """Return the list of devices that model parameters point at; keep it as long as the model."""
    return (_pointer * (len(devices) + 1))(*devices, None)


def shares(*each: float) -> ctypes.Array[ctypes.c_float]:
    """Return the shares of devices that model parameters point at, as many as C reads."""
    length: int = _bindings.llama_max_devices()
    return (ctypes.c_float * length)(*each)


def address(array: ctypes.Array[Any]) -> int:
    """Return where an array lies."""
    return ctypes.addressof(array)


def address_of_data(array: Struct) -> int:
    """Return where the candidates of a `llama_token_data_array` begin."""
    return ctypes.cast(array.data, _pointer).value or 0


def load_model(files: Sequence[Path], params: Struct) -> Model | None:
    """Load a model from exactly these files, the parts of a split one in order."""
    paths = (ctypes.c_char_p * len(files))(*(str(path).encode() for path in files))
    model: Model | None = _bindings.llama_model_load_from_splits(paths, len(paths), params)
    return model


def candidate_array(address: int) -> Struct:
    """Return an empty `llama_token_data_array`; keep the memory at the address as long as it."""
    data = ctypes.cast(address, _bindings.llama_token_data_p)
    return _bindings.llama_token_data_array(data, 0, -1, False)  # noqa: FBT003 -- C has no keywords


def dry(vocabulary: Vocabulary, *numbers: float, breakers: Sequence[str]) -> Sampler:
    """Return the sampler against repeated sequences: multiplier, base, allowed length, window."""
    texts = (ctypes.c_char_p * len(breakers))(*(text.encode() for text in breakers))
    made: Sampler = _bindings.llama_sampler_init_dry(vocabulary, *numbers, texts, len(texts))
    return made


def logit_bias(vocabulary: int, biases: Mapping[int, float]) -> Sampler:
    """Return the sampler that adds to the logits of some tokens."""
    pairs = (_bindings.llama_logit_bias * len(biases))(*biases.items())
    made: Sampler = _bindings.llama_sampler_init_logit_bias(vocabulary, len(biases), pairs)
    return made


def grammar(vocabulary: Vocabulary, text: str) -> Sampler | None:
    """Return what a grammar allows as a sampler; None if llama.cpp cannot read it."""
    made: Sampler | None = _bindings.llama_sampler_init_grammar(vocabulary, text.encode(), b"root")
    return made or None


def suppressed_tokens(vocabulary: Vocabulary) -> tuple[int, ...]:
    """Return the tokens that the model file forbids."""
    count = ctypes.c_int32()
    tokens = _bindings.llama_vocab_get_suppress_tokens(vocabulary, ctypes.byref(count))
    return tuple(tokens[: count.value]) if count.value else ()


def metadata(model: Model, key: str) -> str | None:
    """Return a value of the model file as text; None when it has none under that key."""
    size_limit = 256
    while True:
        buffer = ctypes.create_string_buffer(size_limit)
        size: int = _bindings.llama_model_meta_val_str(model, key.encode(), buffer, size_limit)
        if size < size_limit:
            return None if size < 0 else buffer.value.decode("utf-8", errors="replace")
        size_limit = size + 1


class _GgufParams(ctypes.Structure):
    _fields_ = (("no_alloc", ctypes.c_bool), ("context", _pointer))


_gguf_init = _function("gguf_init_from_file", _pointer, ctypes.c_char_p, _GgufParams)
_gguf_free = _function("gguf_free", None, _pointer)
_gguf_find = _function("gguf_find_key", ctypes.c_int64, _pointer, ctypes.c_char_p)
_gguf_type = _function("gguf_get_kv_type", ctypes.c_int, _pointer, ctypes.c_int64)
_gguf_tensors = _function("gguf_get_n_tensors", ctypes.c_int64, _pointer)
_gguf_tensor = _function("gguf_get_tensor_name", ctypes.c_char_p, _pointer, ctypes.c_int64)
_GGUF_U16, _GGUF_F32 = 2, 6
_GGUF_GETTERS: dict[int, Callable[..., Any]] = {
    _GGUF_U16: _function("gguf_get_val_u16", ctypes.c_uint16, _pointer, ctypes.c_int64),
    4: _function("gguf_get_val_u32", ctypes.c_uint32, _pointer, ctypes.c_int64),
    _GGUF_F32: _function("gguf_get_val_f32", ctypes.c_float, _pointer, ctypes.c_int64),
    8: _function("gguf_get_val_str", ctypes.c_char_p, _pointer, ctypes.c_int64),
}
"""By `enum gguf_type`; a getter for another type would end the process."""
_GGUF_TYPES = {"split.no": _GGUF_U16, "split.count": _GGUF_U16, "adapter.lora.alpha": _GGUF_F32}
"""Of what llama.cpp reads without a check, which ends the process for another type."""


OTHER_TYPE = "a value of another type"
"""What `read_gguf` returns for a value that it has no getter for."""


def read_gguf(path: Path, keys: Iterable[str]) -> dict[str, str] | None:
    """Return those of some metadata that a file has, before it is loaded; None if it is damaged."""
    with _opened_gguf(path) as content:
        return None if content is None else dict(_gguf_values(content, keys))


def gguf_tensors(path: Path) -> Sequence[str]:
    """Return the names of the tensors of a file; none if it is damaged."""
    with _opened_gguf(path) as content:
        count = 0 if content is None else _gguf_tensors(content)
        return [_gguf_tensor(content, index).decode("utf-8", "replace") for index in range(count)]


@contextmanager
def _opened_gguf(path: Path) -> Generator[int | None]:
    content = _gguf_init(str(path).encode(), _GgufParams(no_alloc=True, context=None))
    try:
        yield content
    finally:
        if content is not None:
            _gguf_free(content)


def _gguf_values(content: int, keys: Iterable[str]) -> Iterator[tuple[str, str]]:
    for key in keys:
        place = _gguf_find(content, key.encode())
        if place >= 0:
            kind = _gguf_type(content, place)
            get = _GGUF_GETTERS.get(kind) if _GGUF_TYPES.get(key, kind) == kind else None
            value: bytes | int = get(content, place) if get else OTHER_TYPE.encode()
            yield key, value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def description(model: Model) -> str:
    """Return what llama.cpp calls the model."""
    buffer = ctypes.create_string_buffer(256)
    _bindings.llama_model_desc(model, buffer, len(buffer))
    return buffer.value.decode("utf-8", errors="replace")


def file_type(model: Model) -> str:
    """Return the name of the type that most weights have."""
    name: bytes | None = _bindings.llama_ftype_name(_bindings.llama_model_ftype(model))
    return name.decode() if name else "unknown"


LOG = NativeLog()


def _on_log(level: int, text: bytes | None, _user_data: object) -> None:
    LOG.receive(level, text or b"")


# llama.cpp keeps its address and nothing that would keep it alive.
_LOG_CALLBACK: Any = _bindings.llama_log_callback(_on_log)


def start() -> None:
    """Take over the log of llama.cpp, and let it find its devices."""
    _bindings.llama_log_set(_LOG_CALLBACK, _pointer(0))
    _bindings.llama_backend_init()
