"""The shape of a baseline file: everything that explains its draws, and a digest over it all.

A draw that repeats another one to the last digit is not written twice, so a service that mostly
repeats itself has short files. Schema: `repro_gate/schemas/baseline-v1.json`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from repro_gate.core.baselines import Baseline, Noise, fit_noise
from repro_gate.core.digests import digest_of
from repro_gate.core.draw_format import (
    facts_from_data,
    facts_to_data,
    logprobs_from,
    piece_line,
    pieces_from,
    rounded,
    texts_from_data,
    texts_to_data,
)
from repro_gate.core.draws import Encoding
from repro_gate.core.text import printable, unprinted

SCHEMA = "repro-gate/baseline/v1"

_FITTED = ("center", "scale", "deviation", "atom")
"""What the draws say of their noise by themselves; the floor comes from other cells too."""


def to_data(baseline: Baseline) -> dict[str, Any]:
    """Return the baseline as plain JSON data, its numbers rounded."""
    draws = [tuple(map(rounded, draw)) for draw in baseline.draws]
    content = {
        "schema": SCHEMA,
        "id": baseline.id,
        "source": baseline.source,
        "definition": dict(baseline.definition),
        "prompt_tokens": [piece_line(piece) for piece in baseline.encoding.prompt],
        "response_tokens": [piece_line(piece) for piece in baseline.encoding.response],
        "draws": _distinct(draws),
        "calls": [facts_to_data(facts) for facts in baseline.facts],
        "noise": _noise_to_data(draws, floor=baseline.noise.floor),
        "answered_as": printable(baseline.answered_as),
        "provenance": texts_to_data(baseline.provenance),
        "recorded_at": baseline.recorded_at,
    }
    return {**content, "digest": digest_of(content)}


def is_intact(data: Mapping[str, Any]) -> bool:
    """Tell whether data of the right schema is as it was recorded; an edit is not."""
    content = {key: value for key, value in data.items() if key != "digest"}
    # Over what is written, not what it means: how a text is spelled depends on Python's version.
    return digest_of(content) == str(data["digest"])


def from_data(data: Mapping[str, Any]) -> Baseline:
    """Return the baseline that data of the right schema describes.

    Raises:
        ValueError: a value is of the right shape, but says something that cannot be.
    """
    encoding = Encoding(
        prompt=pieces_from("prompt_tokens", data["prompt_tokens"]),
        response=pieces_from("response_tokens", data["response_tokens"]),
    )
    draws = _draws(data["draws"])
    return Baseline(
        id=data["id"],
        source=data["source"],
        definition=data["definition"],
        encoding=encoding,
        draws=draws,
        facts=tuple(map(facts_from_data, data["calls"])),
        noise=_noise(data["noise"], draws),
        answered_as=unprinted(data["answered_as"]),
        provenance=texts_from_data(data["provenance"]),
        recorded_at=data["recorded_at"],
    )


def _distinct(draws: Sequence[tuple[float, ...]]) -> list[dict[str, Any]]:
    numbers: dict[tuple[float, ...], list[int]] = {}
    for number, draw in enumerate(draws, start=1):
        numbers.setdefault(draw, []).append(number)
    return [
        {"draws": made, "total": rounded(math.fsum(draw)), "logprobs": list(draw)}
        for draw, made in numbers.items()
    ]


def _draws(distinct: Sequence[Mapping[str, Any]]) -> tuple[tuple[float, ...], ...]:
    made: dict[int, tuple[float, ...]] = {}
    for place, data in enumerate(distinct):
        logprobs = logprobs_from(f"draws[{place}].logprobs", data["logprobs"])
        total = rounded(math.fsum(logprobs))
        if data["total"] != total:
            raise ValueError(f"'draws[{place}].total' is {data['total']}, and its sum is {total}")
        made.update(dict.fromkeys(data["draws"], logprobs))
    named = sorted(number for data in distinct for number in data["draws"])
    if named != list(range(1, len(named) + 1)):
        raise ValueError(f"the draws are not numbered from 1 on, each once: {named}")
    return tuple(made[number] for number in named)


def _noise_to_data(draws: Sequence[tuple[float, ...]], *, floor: float) -> dict[str, float]:
    fitted = fit_noise(draws)
    return {**{name: rounded(getattr(fitted, name)) for name in _FITTED}, "floor": rounded(floor)}


def _noise(data: Mapping[str, float], draws: Sequence[tuple[float, ...]]) -> Noise:
    fitted = _noise_to_data(draws, floor=data["floor"])
    for name, value in fitted.items():
        if data[name] != value:
            raise ValueError(f"'noise.{name}' is {data[name]}, and the draws say {value}")
    return Noise(**fitted)
