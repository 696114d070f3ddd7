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


def thread_note(threads: int, *, cores: int, elsewhere: int, load: float) -> str | None:
    """Return why so many threads may make a CPU slow, or None.

    Args:
        threads: the setting.
        cores: how many the engine may use.
        elsewhere: how many more the machine has.
        load: the load average of the machine before the model runs.
    """
    # A thread alone waits for no other.
    if threads == 1 or threads < cores:
        return None
    cost = "generation can be many times slower; use fewer threads than cores"
    if threads > cores:
        return f"threads = {threads}, but {cores} cores are usable: {cost}"
    if load < elsewhere + 1:
        return None
    busy = f"the machine was busy (load average {load:.1f})"
    return f"threads = {threads} takes every usable core, and {busy}: {cost}"
