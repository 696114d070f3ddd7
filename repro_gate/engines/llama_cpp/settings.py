"""Every setting of a model that can change its results; none is left to llama.cpp to choose."""

from dataclasses import dataclass
from enum import StrEnum

from repro_gate.engines.llama_cpp.fields import Fields, bad_request

_MAX_CONTEXT = 2**24
_MAX_THREADS = 512
"""The most that ggml has room for."""


class KvType(StrEnum):
    """How the key-value cache stores its numbers."""

    F32 = "f32"
    F16 = "f16"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a load request."""

    n_ctx: int
    """Places in the context; llama.cpp rounds it up to a multiple of 256."""
    n_batch: int
    """The most tokens in one decode, logical and physical: no batch is ever cut in pieces."""
    threads: int
    """For one token and for many alike."""
    flash_attention: bool
    kv_type: KvType
    repack: bool = True
    """Whether weights may be rearranged for the CPU, which changes the results of some types."""

    @classmethod
    def parse(cls, data: object) -> "Settings":
        """Return the settings, or refuse what is unknown, missing, or out of range."""
        fields = Fields(data, of="settings", known=tuple(cls.__dataclass_fields__))
        settings = cls(
            n_ctx=fields.integer("n_ctx", low=1, high=_MAX_CONTEXT),
            n_batch=fields.integer("n_batch", low=1, high=_MAX_CONTEXT),
            threads=fields.integer("threads", low=1, high=_MAX_THREADS),
            flash_attention=fields.flag("flash_attention"),
            kv_type=KvType(fields.choice("kv_type", tuple(KvType))),
            repack=fields.flag("repack", default=True),
        )
        if settings.n_batch > settings.n_ctx:
            raise bad_request(
                f"settings: 'n_batch' must be at most 'n_ctx', "
                f"got {settings.n_batch} and {settings.n_ctx}"
            )
        return settings
