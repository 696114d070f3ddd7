"""Every setting of a model that can change its results; none is left to llama.cpp to choose."""

from dataclasses import dataclass
from enum import StrEnum

from repro_gate.protocol import bad_request
from repro_gate.strict_json import boolean, choice, exact_table, integer

_MAX_CONTEXT = 2**24
_REQUIRED = ("n_ctx", "n_batch", "threads", "flash_attention", "kv_type")
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
        found = exact_table(data, "settings", keys=_REQUIRED, optional=("repack",))
        settings = cls(
            n_ctx=integer(found["n_ctx"], "settings.n_ctx", low=1, high=_MAX_CONTEXT),
            n_batch=integer(found["n_batch"], "settings.n_batch", low=1, high=_MAX_CONTEXT),
            threads=integer(found["threads"], "settings.threads", low=1, high=_MAX_THREADS),
            flash_attention=boolean(found["flash_attention"], "settings.flash_attention"),
            kv_type=KvType(choice(found["kv_type"], "settings.kv_type", tuple(KvType))),
            repack=boolean(found.get("repack", True), "settings.repack"),
        )
        if settings.n_batch > settings.n_ctx:
            raise bad_request(
                f"settings.n_batch: expected at most n_ctx = {settings.n_ctx}, "
                f"found {settings.n_batch}"
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
