"""The settings of llama.cpp: read alike by the gate and its engine.

Names are those of llama.cpp where it has one, `server` has the defaults of llama-server 0c1e570.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Final, TypeAlias

from repro_gate.strict_json import (
    InvalidJson,
    array,
    boolean,
    choice,
    exact_table,
    integer,
    kind_of,
    number,
)

Value: TypeAlias = bool | int | float | str | list[float]
MAX_GPUS: Final = 16
"""`llama_max_devices()`."""
_MAX_CONTEXT: Final = 2**24
_MAX_THREADS: Final = 512
"""`GGML_MAX_N_THREADS`."""
_MAX_CONTEXTS: Final = 64
_MAX_LAYERS: Final = 2**16
KV_BLOCK: Final = 32
"""Of every quantized type; llama.cpp cuts the heads of a model into blocks."""


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
        """Whether numbers share a scale in blocks of `KV_BLOCK`."""
        return self not in {KvType.F32, KvType.F16, KvType.BF16}


class SplitMode(StrEnum):
    """How a model is divided among GPUs."""

    LAYER = "layer"
    """Whole layers, with their part of the KV cache."""
    ROW = "row"
    """The rows of matrices; only with backends that have buffers for it."""
    TENSOR = "tensor"
    """Tensors, on all GPUs at once."""


class RopeScaling(StrEnum):
    """How positions are scaled; `longrope` is missing, as llama.cpp treats it as linear here."""

    NONE = "none"
    LINEAR = "linear"
    YARN = "yarn"


class LoadMode(StrEnum):
    """How the file of a model comes into memory; changes no result."""

    NONE = "none"
    """It is read."""
    MMAP = "mmap"
    MLOCK = "mlock"
    """It is read, and its pages are locked."""
    MMAP_MLOCK = "mmap+mlock"


class Kind(StrEnum):
    """What values a setting has."""

    FLAG = "boolean"
    INTEGER = "integer"
    NUMBER = "number"
    CHOICE = "choice"
    NUMBERS = "numbers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a setting may be, and what it is where it is not given."""

    kind: Kind
    low: float = 0
    high: float = 0
    choices: type[StrEnum] | None = None
    default: Value | None = None
    """None if it is required, the one of `same_as`, or left to the model file or the memory."""
    same_as: str | None = None
    """The setting whose value it has by default."""
    is_required: bool = False
    is_for_gpus: bool = False
    """Without effect on the CPU, and refused there."""
    has_fact: bool = True
    """Whether the fact `setting.NAME` shows it as it was asked for."""
    server: Value | None = None
    """What llama-server has by default; None if that depends on the model or the machine."""

    def read(self, value: object, place: str) -> Value:
        """Return a value of the setting, or raise `InvalidJson`."""
        match self.kind:
            case Kind.FLAG:
                return boolean(value, place)
            case Kind.INTEGER:
                return integer(value, place, low=int(self.low), high=int(self.high))
            case Kind.NUMBER:
                return number(value, place, low=self.low, high=self.high)
            case Kind.CHOICE:
                choices = self.choices or KvType
                return choices(choice(value, place, tuple(choices)))
            case Kind.NUMBERS:
                return [
                    number(each, f"{place}[{index}]", low=self.low, high=self.high)
                    for index, each in enumerate(array(value, place))
                ]


def _flag(**rules: Any) -> Setting:
    return Setting(kind=Kind.FLAG, **rules)


def _integer(high: int, **rules: Any) -> Setting:
    return Setting(kind=Kind.INTEGER, low=1, high=high, **rules)


def _number(low: float, high: float, **rules: Any) -> Setting:
    return Setting(kind=Kind.NUMBER, low=low, high=high, **rules)


def _choice(choices: type[StrEnum], **rules: Any) -> Setting:
    return Setting(kind=Kind.CHOICE, choices=choices, **rules)


SETTINGS: Final[Mapping[str, Setting]] = {
    "n_ctx": _integer(_MAX_CONTEXT, is_required=True, has_fact=False),
    "n_batch": _integer(_MAX_CONTEXT, is_required=True, server=2048),
    "n_ubatch": _integer(_MAX_CONTEXT, same_as="n_batch", server=512),
    "threads": _integer(_MAX_THREADS, is_required=True),
    "threads_batch": _integer(_MAX_THREADS, same_as="threads"),
    "flash_attention": _flag(is_required=True, server=True),
    "kv_type": _choice(KvType),
    "kv_type_k": _choice(KvType, same_as="kv_type", server=KvType.F16),
    "kv_type_v": _choice(KvType, same_as="kv_type", server=KvType.F16),
    "swa_full": _flag(default=True, server=False),
    "rope_scaling": _choice(RopeScaling),
    "rope_freq_base": _number(1, 1e12),
    "rope_freq_scale": _number(1e-4, 1e4),
    "yarn_ext_factor": _number(0, 10),
    "yarn_attn_factor": _number(0.001, 1000),
    "yarn_beta_fast": _number(0.001, 1e6),
    "yarn_beta_slow": _number(0.001, 1e6),
    "yarn_orig_ctx": _integer(_MAX_CONTEXT),
    "repack": _flag(default=True, server=True),
    "load_mode": _choice(LoadMode, has_fact=False),
    "contexts": _integer(_MAX_CONTEXTS, has_fact=False),
    "offload_kqv": _flag(default=True, is_for_gpus=True, server=True),
    "op_offload": _flag(default=True, is_for_gpus=True, server=True),
    "gpu_layers": _integer(_MAX_LAYERS, is_for_gpus=True),
    "gpus": _integer(MAX_GPUS, default=1, is_for_gpus=True),
    "split_mode": _choice(
        SplitMode, default=SplitMode.LAYER, is_for_gpus=True, server=SplitMode.LAYER
    ),
    "tensor_split": Setting(kind=Kind.NUMBERS, low=1e-3, high=1e6, is_for_gpus=True),
}
"""By name, in the order in which they are shown."""
REQUIRED: Final = tuple(name for name, setting in SETTINGS.items() if setting.is_required)
"""And either `kv_type`, or both of `KV_TYPES`."""
KV_TYPES: Final = ("kv_type_k", "kv_type_v")
ROPE: Final = tuple(name for name in SETTINGS if name.startswith(("rope_", "yarn_")))
"""Those that replace what the model file has."""
FOR_GPUS: Final = tuple(name for name, setting in SETTINGS.items() if setting.is_for_gpus)
FACTS: Final = ("rope", *(name for name, setting in SETTINGS.items() if setting.has_fact))
"""The names of `facts_of`; `rope` is `model` if nothing replaces what the model file has."""
_OPTIONAL: Final = tuple(name for name, setting in SETTINGS.items() if not setting.is_required)
_YARN: Final = tuple(name for name in ROPE if name.startswith("yarn_"))
_EXTRAPOLATING: Final = ("yarn_beta_fast", "yarn_beta_slow", "yarn_orig_ctx")
_NO_EFFECT: Final = ", where it would have no effect"
_ORDER: Final = (("n_batch", "n_ctx"), ("n_ubatch", "n_batch"))
"""The first of each two is at most the second."""
MULTI_GPU: Final = ("split_mode", "tensor_split")


@dataclass(frozen=True, slots=True, kw_only=True)
class Offload:
    """The part of a model that GPUs compute."""

    gpu_layers: int | None = None
    """The last layers, with the output layer; None for all. The others are on the CPU."""
    gpus: int = 1
    """Devices of the same backend, from the requested one on."""
    split_mode: SplitMode = SplitMode.LAYER
    """Counts for several GPUs only, as does the next."""
    tensor_split: tuple[float, ...] = (1.0,)
    """The share of each GPU; equal by default, where llama.cpp would take their free memory."""
    offload_kqv: bool = True
    """Whether the KV cache is on the GPU."""

    @classmethod
    def parse(cls, settings: Mapping[str, Any], *, is_cpu: bool) -> "Offload":
        """Return the offload of the settings of an engine; raises `InvalidJson`.

        A value that would have no effect is refused: llama.cpp ignores it.
        """
        _require_gpus(settings, is_cpu=is_cpu)
        given = _read(settings, names=_OFFLOAD)
        gpus = given.get("gpus", 1)
        shares = given.get("tensor_split", [1.0] * gpus)
        if len(shares) != gpus:
            expected = f"a number for each of the {gpus} gpus"
            raise _invalid("tensor_split", expected, f"{len(shares)} of them")
        return cls(
            gpu_layers=given.get("gpu_layers"),
            gpus=gpus,
            split_mode=_split_mode(given, settings),
            tensor_split=tuple(shares),
            offload_kqv=given.get("offload_kqv", not is_cpu),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting in force."""

    n_ctx: int
    """Tokens in the context; llama.cpp rounds it up to a multiple of 256."""
    n_batch: int
    """The most tokens of a prompt in one call of `llama_decode`."""
    n_ubatch: int
    """The most tokens computed at once: llama.cpp splits a longer prompt."""
    threads: int
    """For one token."""
    threads_batch: int
    """For several tokens at once."""
    flash_attention: bool
    kv_type_k: KvType
    kv_type_v: KvType
    swa_full: bool
    """Whether the cache of a sliding window keeps all positions."""
    repack: bool
    """Whether weights may be rearranged for the CPU, which changes the results of some types."""
    op_offload: bool = False
    """Whether large products of layers on the CPU are computed on the GPU."""
    load_mode: LoadMode | None = None
    """None: `mmap`, where the devices support it."""
    contexts: int | None = None
    """How many sequences run side by side, each in a context of its own; None for a default."""
    rope: Mapping[str, Value]
    """The values of `ROPE` that replace those of the model file."""
    offload: Offload

    @classmethod
    def parse(cls, data: object, *, is_cpu: bool) -> "Settings":
        """Return the settings of an engine.

        Raises:
            InvalidJson: a key is unknown or missing, or a value is out of its range, contradicts
                another or would have no effect.
        """
        found = exact_table(data, "settings", keys=REQUIRED, optional=_OPTIONAL)
        _require_kv_types(found)
        offload = Offload.parse(found, is_cpu=is_cpu)
        given = _read(found, names=tuple(found))
        _require_rope(given)
        values = in_force(given, is_cpu=is_cpu)
        _require_order(values)
        _require_flash_attention(given, values)
        own = {name: values[name] for name in values if name not in {*ROPE, *_OFFLOAD}}
        rope = {name: values[name] for name in ROPE if name in values}
        return cls(**own, rope=rope, offload=offload)

    def facts(self) -> dict[str, str]:
        """Return them as facts, but for those of several or parts of GPUs."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        named["offload_kqv"] = self.offload.offload_kqv
        return facts_of({name: named[name] for name in named if name in SETTINGS} | {**self.rope})


_OFFLOAD: Final = tuple(field.name for field in fields(Offload))


def like_server(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with those of llama-server where they are not given.

    Its context and threads depend on the model and the machine, so they stay required. It has
    flash attention wherever the device can compute it.
    """
    values = dict(given)
    for name, setting in SETTINGS.items():
        is_given = name in given or ("kv_type" in given and name in KV_TYPES)
        if not is_given and setting.server not in (None, setting.default):
            values[name] = setting.server
    for smaller, larger in _ORDER:
        # As llama.cpp bounds them.
        if smaller not in given and larger in values:
            values[smaller] = min(values[smaller], values[larger])
    return values


def replaced(
    given: Mapping[str, Any], changes: Mapping[str, Any], *, is_cpu: bool
) -> dict[str, Any]:
    """Return settings with others in their place, without changes that need a GPU on the CPU."""
    ours = {name: value for name, value in changes.items() if not (is_cpu and name in FOR_GPUS)}
    values = dict(given)
    if "kv_type" in ours:
        values = {name: value for name, value in values.items() if name not in KV_TYPES}
    elif "kv_type" in values and not ours.keys().isdisjoint(KV_TYPES):
        values |= dict.fromkeys(KV_TYPES, values.pop("kv_type"))
    return values | ours


def in_force(given: Mapping[str, Any], *, is_cpu: bool) -> dict[str, Any]:
    """Return the settings that were given with the defaults of the others.

    What is left to the model file or to the memory is left out, as is `kv_type`, which stands for
    two settings.
    """
    values: dict[str, Any] = {}
    for name, setting in SETTINGS.items():
        default = values.get(setting.same_as) if setting.same_as else setting.default
        value = given.get(name, None if setting.is_for_gpus and is_cpu else default)
        if value is not None:
            values[name] = value
    values.pop("kv_type", None)
    return values


def facts_of(given: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings in force that facts show as they were asked for, on whatever device."""
    values = in_force(given, is_cpu=True)
    if values.get("kv_type_k") == values.get("kv_type_v") is not None:
        values = {"kv_type": values["kv_type_k"], **values}
        del values["kv_type_k"], values["kv_type_v"]
    if not any(name in values for name in ROPE):
        values["rope"] = "model"
    return {name: shown(value) for name, value in values.items() if name in FACTS}


def shown(value: Value) -> str:
    """Return a value as facts have it."""
    match value:
        case bool():
            return str(value).lower()
        case list():
            return ", ".join(map(shown, value))
        case float() | int():
            return str(int(value)) if value == int(value) else repr(value)
        case _:
            return str(value)


def read_shown(name: str, fact: str) -> Value:
    """Return the value of a setting as facts have it; raises `InvalidJson`."""
    setting = SETTINGS[name]
    flags: dict[str, object] = {"true": True, "false": False}
    match setting.kind:
        case Kind.FLAG:
            return setting.read(flags.get(fact, fact), name)
        case Kind.CHOICE:
            return setting.read(fact, name)
        case Kind.INTEGER | Kind.NUMBER:
            return setting.read(_number_of(fact), name)
        case Kind.NUMBERS:
            return setting.read(list(map(_number_of, fact.split(","))), name)


def _number_of(fact: str) -> int | float | str:
    """Return a number, or the text where it is none."""
    for kind in (int, float):
        try:
            return kind(fact)
        except ValueError:
            continue
    return fact


def _read(settings: Mapping[str, Any], *, names: tuple[str, ...]) -> dict[str, Any]:
    return {
        name: SETTINGS[name].read(settings[name], f"settings.{name}")
        for name in names
        if name in settings
    }


def _require_gpus(settings: Mapping[str, Any], *, is_cpu: bool) -> None:
    if is_cpu:
        _refuse(settings, FOR_GPUS, f"for the device cpu{_NO_EFFECT}")
    if SETTINGS["gpus"].read(settings.get("gpus", 1), "settings.gpus") == 1:
        _refuse(settings, MULTI_GPU, f"without gpus of at least 2{_NO_EFFECT}")


def _split_mode(given: Mapping[str, Any], settings: Mapping[str, Any]) -> SplitMode:
    mode = SplitMode(given.get("split_mode", SplitMode.LAYER))
    if mode is not SplitMode.TENSOR:
        return mode
    if settings.get("flash_attention") is not True:
        raise _invalid("split_mode", "layer, or flash_attention = true with tensor", mode)
    if settings.get("contexts", 1) != 1:
        # llama.cpp calls its devices for this mode "not thread-safe".
        found = kind_of(settings["contexts"])
        raise _invalid("contexts", "1 with split_mode = tensor", found)
    return mode


def _require_kv_types(found: Mapping[str, Any]) -> None:
    pair = [name for name in KV_TYPES if name in found]
    if "kv_type" in found and pair:
        expected = "no such key beside kv_type, which stands for kv_type_k and kv_type_v"
        raise _invalid(pair[0], expected, kind_of(found[pair[0]]))
    missing = [name for name in KV_TYPES if name not in found] if pair else ["kv_type"]
    if missing and missing[0] not in found:
        raise InvalidJson("settings", expected=f"the key {missing[0]!r}", found="none")


def _require_order(values: Mapping[str, Any]) -> None:
    for smaller, larger in _ORDER:
        if values[smaller] > values[larger]:
            expected = f"at most {larger}, which is {values[larger]}"
            raise _invalid(smaller, expected, str(values[smaller]))


def _require_flash_attention(given: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    kind = KvType(values["kv_type_v"])
    if kind.is_quantized and not values["flash_attention"]:
        expected = "f32, f16 or bf16, or flash_attention = true, which llama.cpp then needs"
        raise _invalid("kv_type" if "kv_type" in given else "kv_type_v", expected, kind)


def _require_rope(given: Mapping[str, Any]) -> None:
    """Raise `InvalidJson` for a value that llama.cpp would ignore, or might with some files."""
    scaling, scale = given.get("rope_scaling"), given.get("rope_freq_scale")
    is_scaled = scaling in {RopeScaling.LINEAR, RopeScaling.YARN}
    if scale is not None and not is_scaled:
        _refuse(given, ("rope_freq_scale",), "without rope_scaling linear or yarn")
    if scale is None and is_scaled:
        _refuse(given, ("rope_scaling",), "other than none without rope_freq_scale")
    if given.get("yarn_ext_factor") == 0:
        _refuse(given, _EXTRAPOLATING, f"with yarn_ext_factor = 0{_NO_EFFECT}")
        return
    _refuse(given, ("yarn_attn_factor",), "without yarn_ext_factor = 0, as YaRN replaces it")
    if scaling is not RopeScaling.YARN or scale == 1:
        _refuse(given, _YARN, "without rope_scaling yarn and a rope_freq_scale other than 1")


def _refuse(settings: Mapping[str, Any], names: tuple[str, ...], where: str) -> None:
    for name in names:
        if name in settings:
            raise _invalid(name, f"no such setting {where}", kind_of(settings[name]))


def _invalid(name: str, expected: str, found: str) -> InvalidJson:
    return InvalidJson(f"settings.{name}", expected=expected, found=found)
