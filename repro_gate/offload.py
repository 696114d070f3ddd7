"""How much of a model is on GPUs, and on how many: read alike by the gate and its engine."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from repro_gate.strict_json import InvalidJson, array, choice, integer, kind_of, number

OFFLOAD_SETTINGS: Final = ("gpu_layers", "gpus", "split_mode", "tensor_split")
MAX_GPUS: Final = 16
"""`llama_max_devices()`."""
_MAX_LAYERS = 2**16
_MIN_SHARE, _MAX_SHARE = 1e-3, 1e6


class SplitMode(StrEnum):
    """How a model is divided among GPUs."""

    LAYER = "layer"
    """Whole layers, with their part of the KV cache."""
    ROW = "row"
    """The rows of matrices; only with backends that have buffers for it."""
    TENSOR = "tensor"
    """Tensors, on all GPUs at once."""


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

    @classmethod
    def parse(cls, settings: Mapping[str, Any], *, is_cpu: bool) -> "Offload":
        """Return the offload of the settings of an engine; raises `InvalidJson`.

        A value that would have no effect is refused: llama.cpp ignores it.
        """
        given = [name for name in OFFLOAD_SETTINGS if name in settings]
        if is_cpu and given:
            expected = "no such setting for the device cpu, where it would have no effect"
            raise _invalid(given[0], expected, settings)
        gpus = integer(settings.get("gpus", 1), "settings.gpus", low=1, high=MAX_GPUS)
        divided = [name for name in ("split_mode", "tensor_split") if name in settings]
        if gpus == 1 and divided:
            expected = "no such setting without gpus of at least 2, where it would have no effect"
            raise _invalid(divided[0], expected, settings)
        return cls(
            gpu_layers=integer(
                settings["gpu_layers"], "settings.gpu_layers", low=1, high=_MAX_LAYERS
            )
            if "gpu_layers" in settings
            else None,
            gpus=gpus,
            split_mode=_split_mode(settings),
            tensor_split=_tensor_split(settings, gpus),
        )


def _split_mode(settings: Mapping[str, Any]) -> SplitMode:
    place = "settings.split_mode"
    mode = SplitMode(choice(settings.get("split_mode", "layer"), place, tuple(SplitMode)))
    if mode is not SplitMode.TENSOR:
        return mode
    if settings.get("flash_attention") is not True:
        raise _invalid("split_mode", "layer, or flash_attention = true with tensor", settings)
    if settings.get("contexts", 1) != 1:
        # llama.cpp calls its devices for this mode "not thread-safe".
        raise _invalid("contexts", "1 with split_mode = tensor", settings)
    return mode


def _tensor_split(settings: Mapping[str, Any], gpus: int) -> tuple[float, ...]:
    if "tensor_split" not in settings:
        return (1.0,) * gpus
    place = "settings.tensor_split"
    shares = array(settings["tensor_split"], place)
    if len(shares) != gpus:
        expected = f"a number for each of the {gpus} gpus"
        raise InvalidJson(place, expected=expected, found=f"{len(shares)} of them")
    return tuple(
        number(share, f"{place}[{index}]", low=_MIN_SHARE, high=_MAX_SHARE)
        for index, share in enumerate(shares)
    )


def _invalid(name: str, expected: str, settings: Mapping[str, Any]) -> InvalidJson:
    return InvalidJson(f"settings.{name}", expected=expected, found=kind_of(settings[name]))
