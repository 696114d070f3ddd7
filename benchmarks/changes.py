"""Changes of one key of a matrix: every sampler, and every setting of the built-in engine."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeAlias

from benchmarks.corpus import TEXT
from repro_gate.samplers import PARAMETERS, SERVER_ORDER
from repro_gate.settings import SETTINGS

TOKENS: Final = 32
"""Of each generation."""

Table: TypeAlias = Mapping[str, Any]

_SETTINGS: Final[Table] = {
    "n_ctx": 512,
    "n_batch": 512,
    "threads": 1,
    "flash_attention": False,
    "kv_type": "f16",
    "contexts": 1,
}
_SAMPLED: Final[Table] = {"text": "Once upon a time"}
"""The prompt for samplers, with those of llama-server."""
_GREEDY: Final[Table] = {"text": TEXT[:1300], "temperature": 0}
"""The prompt for settings: only logits change its tokens."""
_ORDERS: Final = {
    ", ".join(map(json.dumps, SERVER_ORDER)): "llama-server's",
    ", ".join(map(json.dumps, SERVER_ORDER[::-1])): "reversed",
}


OWN_TEST: Final = "tests/benchmarks/test_effects.py::test_every_change_has_its_effect"
"""It makes the changes with a tiny model."""


class Expected(StrEnum):
    """What a change does to any model."""

    EFFECT = "effect"
    """It changes tokens; a setting may change log-probabilities only."""
    NOTHING = "nothing"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Change:
    """A key of the matrix, and another value for it."""

    name: str
    value: Any
    beside: Table = field(default_factory=dict[str, Any])
    """Keys of the same table, on both sides of the change; None removes one."""
    expected: Expected = Expected.EFFECT
    test: str = OWN_TEST
    """A file and a function in it that fails if the value is not applied."""

    @property
    def is_of_prompt(self) -> bool:
        """Whether it is about samplers, and not about the engine or the model."""
        return self.name not in {*SETTINGS, "lora"}

    @property
    def documents(self) -> tuple[str, str]:
        """The matrix file before and after."""
        return self._matrix(self.beside), self._matrix({**self.beside, self.name: self.value})

    @property
    def label(self) -> str:
        """The value before and after, with the keys beside it."""
        before = self.beside.get(self.name, self._default)
        others = {
            name: value
            for name, value in self.beside.items()
            if name != self.name and value is not None
        }
        beside = ", ".join(f"{name} = {_shown(value)}" for name, value in others.items())
        return f"{_shown(before)} to {_shown(self.value)}" + (f", with {beside}" if beside else "")

    @property
    def _default(self) -> object:
        if self.name == "samplers":
            return SERVER_ORDER
        if self.name in PARAMETERS:
            return PARAMETERS[self.name].default
        return _SETTINGS.get(self.name, SETTINGS[self.name].default if self._is_setting else None)

    @property
    def _is_setting(self) -> bool:
        return self.name in SETTINGS

    def _matrix(self, table: Table) -> str:
        if self.is_of_prompt:
            return _matrix(_SETTINGS, {**_SAMPLED, **table}, {})
        if self._is_setting:
            return _matrix({**_SETTINGS, **table}, _GREEDY, {})
        return _matrix(_SETTINGS, _GREEDY, table)


def _matrix(settings: Table, prompt: Table, model: Table) -> str:
    return f"""
schema = "repro-gate/matrix/v1"
default_suites = ["effects"]
sampler = {{ like = "llama-server" }}
engines.cpu = {toml({"kind": "llama_cpp", "timeout_s": 600, "settings": settings})}
models.model = {toml({"engine": "cpu", "source": "model.gguf", **model})}
prompts.prompt = {toml({"max_tokens": TOKENS, **prompt})}
suites.effects = {{ runs = 1, seeds = [42], prompts = {{ model = ["prompt"] }} }}
"""


def toml(value: object) -> str:
    """Return a value as TOML, tables on one line and without what is None."""
    match value:
        case dict():
            given = {name: each for name, each in value.items() if each is not None}
            return f"{{ {', '.join(f'{name} = {toml(each)}' for name, each in given.items())} }}"
        case list() | tuple():
            return f"[{', '.join(map(toml, value))}]"
        case _:
            return json.dumps(value, ensure_ascii=False)


def _shown(value: object) -> str:
    text = "unset" if value is None else toml(value)
    for order, name in _ORDERS.items():
        text = text.replace(order, name)
    return text.replace("|", "\\|")


_TESTS: Final = "tests/engines/llama_cpp/inference/"
_ORACLE: Final = "tests/contract/oracle/test_samplers.py::test_the_tokens_are_those_of_the_server"
_LOOP: Final[Table] = {"text": "one two, one two, one two, one", "dry_allowed_length": 1}
_DRY: Final[Table] = {**_LOOP, "dry_multiplier": 1}
_MIROSTAT: Final[Table] = {"samplers": ["temperature", "mirostat_v2"]}
_ADAPTIVE: Final[Table] = {"samplers": [*SERVER_ORDER, "adaptive_p"], "adaptive_target": 0.2}

_SAMPLERS: Final = (
    Change("samplers", SERVER_ORDER[::-1]),
    Change("samplers", ["temperature", "mirostat"]),
    Change("samplers", ["temperature", "mirostat_v2"]),
    Change("samplers", [*SERVER_ORDER, "adaptive_p"], test=_ORACLE),
    Change("temperature", 1.2),
    Change("temperature", 0),
    Change("dynatemp_range", 0.7),
    Change("dynatemp_exponent", 3, {"dynatemp_range": 0.7}),
    Change("top_k", 5),
    Change("top_p", 0.5),
    Change("min_p", 0.3),
    Change("typical_p", 0.3),
    Change("min_keep", 10, {"top_p": 0.1}),
    Change("top_n_sigma", 0.5),
    Change("xtc_probability", 0.5),
    Change("xtc_threshold", 0.3, {"xtc_probability": 0.5}),
    Change("repeat_penalty", 1.5),
    Change("repeat_last_n", 2, {"repeat_penalty": 1.5}),
    Change("frequency_penalty", 1.5),
    Change("presence_penalty", 1.5),
    Change("dry_multiplier", 1, _LOOP, test=_ORACLE),
    Change("dry_base", 4, _DRY, test=_ORACLE),
    Change("dry_allowed_length", 4, _DRY, test=_ORACLE),
    Change("dry_penalty_last_n", 2, _DRY, test=_ORACLE),
    Change("dry_sequence_breakers", [" two"], _DRY, test=_ORACLE),
    Change("mirostat_tau", 2, _MIROSTAT),
    Change("mirostat_eta", 1, _MIROSTAT),
    Change("adaptive_target", 0.8, _ADAPTIVE),
    Change("adaptive_decay", 0.1, _ADAPTIVE),
    Change("logit_bias", [[28, 100]]),
    Change(
        "ignore_eos",
        value=True,
        beside={"logit_bias": [[2, 100]]},
        test=f"{_TESTS}test_chain.py::test_ends_of_generation_can_be_forbidden",
    ),
    Change("grammar", 'root ::= "The " [a-z ]+'),
    Change("json_schema", {"type": "object"}, expected=Expected.REFUSED),
)


def _adapter(scale: float) -> list[Table]:
    return [{"source": "adapter.gguf", "scale": scale}]


_APART: Final[Table] = {"kv_type": None, "kv_type_k": "f16", "kv_type_v": "f16"}
_KV_TEST: Final = f"{_TESTS}test_kv_cache.py::test_a_quantized_cache_is_a_numeric_mode_of_its_own"
_FLASH: Final[Table] = {"flash_attention": True}
_LINEAR: Final[Table] = {"rope_scaling": "linear", "rope_freq_scale": 0.5}
_YARN: Final[Table] = {"rope_scaling": "yarn", "rope_freq_scale": 0.5}

_OF_ENGINE: Final = (
    Change("n_ctx", 1024, expected=Expected.NOTHING),
    Change("n_batch", 128, expected=Expected.NOTHING),
    Change("n_ubatch", 128, expected=Expected.NOTHING),
    Change("n_ubatch", 64, _FLASH),
    Change("threads", 2, expected=Expected.NOTHING),
    Change("threads_batch", 2, expected=Expected.NOTHING),
    Change("flash_attention", value=True),
    Change("kv_type", "f32"),
    Change("kv_type", "f32", _FLASH, Expected.NOTHING),
    *(Change("kv_type_k", kind, _APART) for kind in ("f32", "bf16")),
    *(Change("kv_type_k", kind, _APART, test=_KV_TEST) for kind in ("q8_0", "q4_0")),
    Change("kv_type_v", "bf16", {**_APART, **_FLASH}),
    *(Change("kv_type_v", kind, {**_APART, **_FLASH}, test=_KV_TEST) for kind in ("q8_0", "q4_0")),
    Change("kv_type_v", "q8_0", _APART, Expected.REFUSED),
    Change("swa_full", value=False, expected=Expected.NOTHING),
    Change("rope_freq_base", 50000),
    Change("rope_scaling", "yarn", _LINEAR),
    Change("rope_scaling", "yarn", expected=Expected.REFUSED),
    Change("rope_freq_scale", 0.25, _LINEAR),
    Change("yarn_ext_factor", 0.5, _YARN),
    Change("yarn_attn_factor", 1.5, {**_YARN, "yarn_ext_factor": 0}),
    Change("yarn_beta_fast", 8, _YARN),
    Change("yarn_beta_slow", 4, _YARN),
    Change("yarn_orig_ctx", 1024, _YARN),
    Change("repack", value=False, expected=Expected.NOTHING),
    Change("load_mode", "none", expected=Expected.NOTHING),
    Change("contexts", 2, expected=Expected.NOTHING),
    Change("offload_kqv", value=False, expected=Expected.REFUSED),
    Change("op_offload", value=False, expected=Expected.REFUSED),
    Change("gpu_layers", 2, expected=Expected.REFUSED),
    Change("gpus", 2, expected=Expected.REFUSED),
    Change("split_mode", "row", expected=Expected.REFUSED),
    Change("tensor_split", [1, 2], expected=Expected.REFUSED),
    Change("lora", _adapter(0.001)),
    Change("lora", _adapter(0.002), {"lora": _adapter(0.001)}),
    Change("lora", _adapter(0), expected=Expected.REFUSED),
)
CHANGES: Final = _SAMPLERS + _OF_ENGINE
