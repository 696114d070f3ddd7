"""Read how tokens are drawn: `[sampler]` of the matrix file, and what its prompts change."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from repro_gate.core.tokens.cell import Sampler
from repro_gate.errors import InputInvalid
from repro_gate.samplers import (
    BESIDE,
    PARAMETERS,
    PLAIN,
    PLAIN_ORDER,
    SAMPLERS,
    SERVER_ORDER,
    Sampling,
    shown_default,
    without_effect,
)
from repro_gate.strict_json import InvalidJson

_GRAMMARS: Final = ("grammar", "json_schema")


def read_sampler(
    file: Path, prompt: str, own: Mapping[str, Any], shared: Mapping[str, Any]
) -> Sampler:
    """Return the sampler of a prompt.

    Args:
        file: the matrix file, for messages.
        prompt: its name.
        own: the table of the prompt, whose values win.
        shared: the table `sampler`.

    Raises:
        InputInvalid: a value is missing, contradicts another or would have no effect.
    """
    is_like_server = "like" in shared
    order = own.get("samplers", shared.get("samplers"))
    if order is None and is_like_server:
        order = list(SERVER_ORDER)
    try:
        # The names, before their parameters are looked up.
        parameters = _parameters_of(order)
        values = _values(own, shared, parameters, is_like_server=is_like_server)
        further = beside(own, shared) | {
            name: value for name, value in values.items() if name not in PLAIN
        }
        if order is not None:
            further["samplers"] = order
        plain = {name: values.get(name, neutral) for name, neutral in PLAIN.items()}
        sampling = Sampling.parse(further)
        if sampling is not None:
            sampling.require_effect(plain)
    except InvalidJson as error:
        key = error.place.partition("[")[0]
        place = f"prompts.{prompt}" if not key or key in own else "sampler"
        where = f"{place}.{error.place}" if key else place
        raise InputInvalid.at(file, where, expected=error.expected, found=error.found) from error
    return Sampler(
        temperature=float(plain["temperature"]),
        top_k=plain["top_k"],
        top_p=float(plain["top_p"]),
        min_p=float(plain["min_p"]),
        sampling=sampling,
    )


def _parameters_of(order: Sequence[str] | None) -> Sequence[str]:
    if order is None:
        return PLAIN_ORDER
    return list(dict.fromkeys(name for sampler in order for name in SAMPLERS[sampler]))


def _values(
    own: Mapping[str, Any],
    shared: Mapping[str, Any],
    needed: Sequence[str],
    *,
    is_like_server: bool,
) -> dict[str, Any]:
    # The values that prompts share may be for the samplers of others.
    judged = own if "samplers" in own else {**shared, **own}
    for name in PARAMETERS:
        if name in judged and name not in needed:
            raise without_effect(name, name, judged[name])
    values: dict[str, Any] = {}
    if is_like_server:
        values |= {name: PARAMETERS[name].default for name in needed}
    values |= {**shared, **own}
    for name in needed:
        if name not in values:
            expected = (
                f"the key {name!r}, here or in [sampler] "
                f"(llama-server's default: {shown_default(name)})"
            )
            raise InvalidJson("", expected=expected, found="none")
    # Defaults of lists are tuples.
    return {
        name: list(values[name]) if PARAMETERS[name].is_texts else values[name] for name in needed
    }


def beside(own: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Return what applies beside the samplers of a prompt, of its own or shared."""
    # A grammar of the prompt replaces a schema that prompts share, and the other way round.
    has_own = any(name in own for name in _GRAMMARS)
    kept = {name: shared[name] for name in shared if not (has_own and name in _GRAMMARS)}
    return {name: value for name, value in {**kept, **own}.items() if name in BESIDE}
