"""Cells with every parameter of llama-server that their samplers have."""

from typing import Any

from repro_gate.samplers import EXTRAS, PARAMETERS, PLAIN, SAMPLERS, SERVER_ORDER

SERVER = {name: PARAMETERS[name].default for name in PLAIN}
"""The plain parameters as llama-server has them by default."""


def cell_of(
    samplers: tuple[str, ...] = SERVER_ORDER, /, *, prompt: str | None = None, **values: Any
) -> dict[str, Any]:
    """Return a cell with these samplers, the defaults of llama-server, and some other values."""
    needed = {name for sampler in samplers for name in SAMPLERS[sampler]}
    plain = {name: SERVER[name] if name in needed else free for name, free in PLAIN.items()}
    plain |= {name: values.pop(name) for name in PLAIN if name in values}
    defaults = {name: PARAMETERS[name].default for name in EXTRAS if name in needed}
    sampling = {"samplers": list(samplers), **defaults, **values}
    return {**plain, "sampling": sampling, **({"prompt": prompt} if prompt else {})}
