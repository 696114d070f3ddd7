"""Read `[engines.NAME]` of the matrix file, and `[variants.NAME]`, which change engines."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, assert_never

from repro_gate.adapters.files.documents import require_known
from repro_gate.core.engines import EngineKind, EngineSpec, ModelSpec
from repro_gate.core.matrix import Matrix, Variant
from repro_gate.errors import InputInvalid
from repro_gate.protocol import CPU
from repro_gate.settings import Settings, like_server
from repro_gate.strict_json import InvalidJson, integer

_CONTEXT_STEP: Final = 256
"""llama.cpp rounds the context up to a multiple of this."""


def read_engine(file: Path, name: str, table: Mapping[str, Any]) -> EngineSpec:
    """Return an engine of the file; raises `InputInvalid`."""
    kind, settings = EngineKind(table["kind"]), dict(table["settings"])
    if kind.is_built_in and settings.pop("like", None):
        settings = like_server(settings)
    spec = EngineSpec(
        name=name,
        kind=kind,
        command=tuple(table.get("command", ())),
        device=table.get("device", CPU),
        settings=settings,
        timeout_s=float(table.get("timeout_s", 120)),
        pass_env=tuple(table.get("pass_env", ())),
    )
    _require_settings(file, f"engines.{name}", spec)
    return spec


def read_variants(
    file: Path, document: Mapping[str, Any], engines: Mapping[str, EngineSpec]
) -> Mapping[str, Variant]:
    """Return the variants of a valid document; raises `InputInvalid`."""
    found: dict[str, Variant] = {}
    for name, table in document.get("variants", {}).items():
        if "engine" in table:
            engine = require_known(file, f"variants.{name}.engine", table["engine"], engines)
            found[name] = Variant(name=name, engine=engines[engine])
        else:
            found[name] = Variant(name=name, settings=table["settings"])
    return found


def require_engines(file: Path, models: Iterable[ModelSpec]) -> None:
    """Raise `InputInvalid` if the built-in engine would refuse settings on their device."""
    for engine in {model.engine.name: model.engine for model in models}.values():
        _require_settings(file, f"engines.{engine.name}", engine)


def require_variants(file: Path, matrix: Matrix, variants: Iterable[Variant]) -> None:
    """Raise `InputInvalid` for variants that an engine would refuse.

    Only where they are recorded: an engine may have other settings by the time of a check.
    """
    lengths: dict[str, int] = {}
    for cell in matrix.cells():
        lengths[cell.model] = max(cell.max_tokens, lengths.get(cell.model, 0))
    for variant in variants:
        _require_variant(file, variant, matrix, lengths)


def _require_variant(
    file: Path, variant: Variant, matrix: Matrix, lengths: Mapping[str, int]
) -> None:
    place = f"variants.{variant.name}"
    models = [matrix.models[name] for name in lengths]
    for model in models:
        changed = variant.of(model).engine
        _require_settings(
            file, place, changed, beside=f" beside the other settings of {changed.name}"
        )
        limit, length = max_tokens_of(changed), lengths[model.name]
        if limit is not None and length > limit:
            expected = f"room for an output of {length} tokens of {model.name}"
            found = f"{limit} tokens for prompt and output"
            raise InputInvalid.at(file, place, expected=expected, found=found)


def _require_settings(file: Path, place: str, spec: EngineSpec, *, beside: str = "") -> None:
    if not spec.kind.is_built_in:
        return
    try:
        Settings.parse(spec.settings, is_cpu=spec.is_cpu)
    except InvalidJson as error:
        where, expected = f"{place}.{error.place}", f"{error.expected}{beside}"
        raise InputInvalid.at(file, where, expected=expected, found=error.found) from error


def max_tokens_of(engine: EngineSpec) -> int | None:
    """Return how long an output can be after a prompt of one token; None if that is unknown."""
    match engine.kind:
        case EngineKind.LLAMA_CPP:
            n_ctx = integer(engine.settings["n_ctx"])
            return math.ceil(n_ctx / _CONTEXT_STEP) * _CONTEXT_STEP - 1
        case EngineKind.COMMAND:
            return None
        case _:
            assert_never(engine.kind)
