"""The format of a baseline file, and of the parts of a draw that the draw log shares.

Texts of a provider are escaped by `escape_text`, so that displaying a file is safe. Identical draws
are written once, so a service that mostly repeats itself has short files. A digest guards against
edits. Schema: `repro_gate/schemas/baseline-v1.json`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from repro_gate.core.guards import require_logprobs
from repro_gate.core.logprobs.baseline import DECIMALS, Baseline, Noise, fit_noise
from repro_gate.core.logprobs.draw import Draw, DrawFacts, Encoding, Piece
from repro_gate.core.logprobs.sessions import CalibrationSession
from repro_gate.core.text import digest_of, escape_bytes, escape_text, unescape_bytes, unescape_text
from repro_gate.core.tokens.golden import Facts

_PIECE = re.compile(r"(\d+|-) (.*)")

SCHEMA = "repro-gate/baseline/v1"

_FITTED = ("center", "scale", "deviation", "atom")
"""Fields that follow from the draws alone; the floor also needs other cells."""


def rounded(value: float) -> float:
    """Return a number with as many decimals as a file keeps."""
    # Adding 0.0 turns -0.0 into 0.0.
    return round(value, DECIMALS) + 0.0


def piece_line(piece: Piece) -> str:
    """Return a token as a line of its id, or of a dash, and its text."""
    return f"{'-' if piece.id is None else piece.id} {escape_bytes(piece.data)}"


def pieces_from(place: str, lines: Sequence[str]) -> tuple[Piece, ...]:
    """Return the tokens of the lines at a place; raises ValueError."""
    pieces: list[Piece] = []
    for number, line in enumerate(lines):
        parts = _PIECE.fullmatch(line)
        if parts is None:
            raise ValueError(
                f"'{place}[{number}]' is not an id or a dash, a space and a text: {line!r}"
            )
        pieces.append(Piece(None if parts[1] == "-" else int(parts[1]), unescape_bytes(parts[2])))
    return tuple(pieces)


def facts_to_data(facts: DrawFacts) -> dict[str, Any]:
    """Return the facts of a call as plain JSON data."""
    return {
        "at": escape_text(facts.at),
        "model": escape_text(facts.model),
        "request_id": escape_text(facts.request_id),
        "latency_s": rounded(facts.latency_s),
        "attempts": facts.attempts,
        "headers": None if facts.headers is None else texts_to_data(facts.headers),
    }


def facts_from_data(data: Mapping[str, Any]) -> DrawFacts:
    """Return the facts in data of the right schema.

    Raises:
        ValueError: a value is out of range.
    """
    return DrawFacts(
        at=unescape_text(data["at"]),
        model=unescape_text(data["model"]),
        request_id=unescape_text(data["request_id"]),
        latency_s=float(data["latency_s"]),
        attempts=data["attempts"],
        headers=None if data["headers"] is None else texts_from_data(data["headers"]),
    )


def texts_to_data(texts: Facts) -> dict[str, str]:
    """Escape untrusted facts."""
    return {escape_text(name): escape_text(value) for name, value in texts.items()}


def texts_from_data(data: Mapping[str, str]) -> Facts:
    """Reverse `texts_to_data`; raises ValueError."""
    return {unescape_text(name): unescape_text(value) for name, value in data.items()}


def logprobs_from(place: str, values: Sequence[float]) -> tuple[float, ...]:
    """Return log-probabilities; raises ValueError for an invalid one."""
    require_logprobs(values, place)
    return tuple(map(float, values))


def beside_to_data(draw: Draw) -> dict[str, Any]:
    """Return what a draw has beside the values of the response, as plain JSON data."""
    data: dict[str, Any] = {}
    if draw.others:
        data["other_tokens"] = [piece_line(piece) for piece, _ in draw.others]
        data["other_logprobs"] = [value for _, value in draw.others]
    if draw.fork is not None:
        data["fork"] = draw.fork
    return data


def others_from(place: str, data: Mapping[str, Any]) -> tuple[tuple[Piece, float], ...]:
    """Return the tokens beside those of the response; raises ValueError."""
    pieces = pieces_from(f"{place}other_tokens", data.get("other_tokens", ()))
    values = logprobs_from(f"{place}other_logprobs", data.get("other_logprobs", ()))
    if len(pieces) != len(values):
        raise ValueError(f"'{place}other_logprobs' has {len(values)} for {len(pieces)} tokens")
    return tuple(zip(pieces, values, strict=True))


def encoding_to_data(encoding: Encoding) -> dict[str, Any]:
    """Return the tokens of a cell as plain JSON data."""
    data: dict[str, Any] = {
        "prompt_tokens": [piece_line(piece) for piece in encoding.prompt],
        "response_tokens": [piece_line(piece) for piece in encoding.response],
    }
    if encoding.logprobs is not None:
        data["response_logprobs"] = list(map(rounded, encoding.logprobs))
    return data


def encoding_from_data(data: Mapping[str, Any]) -> Encoding:
    """Reverse `encoding_to_data`; raises ValueError."""
    logprobs = data.get("response_logprobs")
    return Encoding(
        prompt=pieces_from("prompt_tokens", data["prompt_tokens"]),
        response=pieces_from("response_tokens", data["response_tokens"]),
        logprobs=None if logprobs is None else logprobs_from("response_logprobs", logprobs),
    )


def to_data(baseline: Baseline) -> dict[str, Any]:
    """Return the baseline as plain JSON data, its numbers rounded."""
    made = [_rounded(draw) for draw in baseline.made]
    draws = [draw.logprobs for draw in made]
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "id": baseline.id,
        "source": baseline.source,
        "definition": dict(baseline.definition),
        **encoding_to_data(baseline.encoding),
        "draws": _distinct(made),
        "calls": [facts_to_data(facts) for facts in baseline.facts],
        "noise": _noise_to_data(draws, floor=baseline.noise.floor),
        "answered_as": escape_text(baseline.answered_as),
        "provenance": texts_to_data(baseline.provenance),
        "recorded_at": baseline.recorded_at,
    }
    if baseline.sessions:
        content["sessions"] = list(map(asdict, baseline.sessions))
    return {**content, "digest": digest_of(content)}


def is_intact(data: Mapping[str, Any]) -> bool:
    """Return whether data of the right schema is unedited, by its digest."""
    content = {key: value for key, value in data.items() if key != "digest"}
    # Over the escaped text: which characters are escaped depends on the version of Python.
    return digest_of(content) == str(data["digest"])


def from_data(data: Mapping[str, Any]) -> Baseline:
    """Return the baseline in data of the right schema.

    Raises:
        ValueError: a value has the right type and is invalid.
    """
    made = _draws(data["draws"])
    draws = tuple(draw.logprobs for draw in made)
    others, forks = tuple(draw.others for draw in made), tuple(draw.fork for draw in made)
    return Baseline(
        id=data["id"],
        source=data["source"],
        definition=data["definition"],
        encoding=encoding_from_data(data),
        draws=draws,
        facts=tuple(map(facts_from_data, data["calls"])),
        noise=_noise(data["noise"], draws),
        answered_as=unescape_text(data["answered_as"]),
        provenance=texts_from_data(data["provenance"]),
        recorded_at=data["recorded_at"],
        sessions=tuple(CalibrationSession(**session) for session in data.get("sessions", ())),
        others=others if any(others) else (),
        forks=forks if set(forks) != {None} else (),
    )


def _rounded(draw: Draw) -> Draw:
    others = tuple((piece, rounded(value)) for piece, value in draw.others)
    return replace(draw, logprobs=tuple(map(rounded, draw.logprobs)), others=others)


def _distinct(draws: Sequence[Draw]) -> list[dict[str, Any]]:
    numbers: dict[Draw, list[int]] = {}
    for number, draw in enumerate(draws, start=1):
        # Without the facts of its call.
        numbers.setdefault(replace(draw, facts=DrawFacts()), []).append(number)
    return [
        {
            "draws": made,
            "total": rounded(draw.total),
            "logprobs": list(draw.logprobs),
            **beside_to_data(draw),
        }
        for draw, made in numbers.items()
    ]


def _draws(distinct: Sequence[Mapping[str, Any]]) -> tuple[Draw, ...]:
    made: dict[int, Draw] = {}
    for place, data in enumerate(distinct):
        logprobs = logprobs_from(f"draws[{place}].logprobs", data["logprobs"])
        others = others_from(f"draws[{place}].", data)
        draw = Draw(logprobs=logprobs, others=others, fork=data.get("fork"))
        total = rounded(draw.total)
        if data["total"] != total:
            raise ValueError(f"'draws[{place}].total' is {data['total']}, and its sum is {total}")
        made.update(dict.fromkeys(data["draws"], draw))
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
            raise ValueError(f"'noise.{name}' is {data[name]}, and the draws give {value}")
    return Noise(**fitted)
