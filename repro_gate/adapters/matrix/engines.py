"""Read `[engines.NAME]` of the matrix file, and `[variants.NAME]`, which change engines."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, assert_never

from repro_gate.adapters.engines.environment import may_hold_an_api_key
from repro_gate.adapters.files.documents import require_known
from repro_gate.core.engines import EngineKind, EngineSpec, ModelSpec, Setting
from repro_gate.core.matrix import Matrix, Variant
from repro_gate.errors import InputInvalid
from repro_gate.protocol import CPU
from repro_gate.server_settings import ServerSettings, variables_of
from repro_gate.settings import Settings, like_server
from repro_gate.strict_json import InvalidJson, integer

_CONTEXT_STEP: Final = 256
"""llama.cpp rounds the context up to a multiple of this."""


def read_engine(file: Path, name: str, table: Mapping[str, Any]) -> EngineSpec:
    """Return an engine of the file; raises `InputInvalid`."""
    kind = EngineKind(table["kind"])
    spec = EngineSpec(
        name=name,
        kind=kind,
        command=tuple(table.get("command", ())),
        device=table.get("device", CPU),
        settings=_settings(kind, table),
        timeout_s=float(table.get("timeout_s", _timeout_s(kind))),
        pass_env=tuple(table.get("pass_env", ())),
    )
    if spec.host is not None and "device" in table:
        place, expected = f"engines.{name}.device", "none beside base_url: profile is the machine"
        raise InputInvalid.at(file, place, expected=expected, found=repr(spec.device))
    key = table.get("api_key_env")
    if key is not None:
        _require_key(file, f"engines.{name}.api_key_env", key)
        spec = replace(spec, pass_env=tuple(dict.fromkeys([*spec.pass_env, key])))
    _require_settings(file, f"engines.{name}", spec)
    return spec


def _settings(kind: EngineKind, table: Mapping[str, Any]) -> Mapping[str, Setting]:
    match kind:
        case EngineKind.LLAMA_CPP:
            settings = dict(table["settings"])
            return like_server(settings) if settings.pop("like", None) else settings
        case EngineKind.SERVED:
            known = ServerSettings.__dataclass_fields__
            settings = {name: value for name, value in table.items() if name in known}
            env = {"env": variables_of(settings["env"])} if "env" in settings else {}
            return settings | env
        case EngineKind.COMMAND:
            return dict(table["settings"])
        case _:
            assert_never(kind)


def _timeout_s(kind: EngineKind) -> float:
    match kind:
        case EngineKind.SERVED:
            # The first request to a server may compile kernels.
            return 300
        case EngineKind.LLAMA_CPP | EngineKind.COMMAND:
            return 120
        case _:
            assert_never(kind)


def _require_key(file: Path, place: str, variable: str) -> None:
    if not may_hold_an_api_key(variable):
        expected = "a variable that holds only an API key of this server"
        found = f"{variable}, which belongs to the CI system or the machine"
        raise InputInvalid.at(file, place, expected=expected, found=found)


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


def require_model(file: Path, name: str, table: Mapping[str, Any], engine: EngineSpec) -> None:
    """Raise `InputInvalid` for keys of a model that its engine does not allow, or needs."""
    place = f"models.{name}"
    match engine.kind:
        case EngineKind.LLAMA_CPP | EngineKind.COMMAND:
            refused = {"served_as": f"no such key: the engine {engine.name} is no server"}
            needs_source = True
        case EngineKind.SERVED:
            refused = {"lora": "no such key: give the adapter in the command of the server"}
            needs_source = not engine.settings.get("base_url")
        case _:
            assert_never(engine.kind)
    if "source" not in table:
        if needs_source:
            raise InputInvalid.at(file, place, expected="the key 'source'", found="none")
        refused["sha256"] = "no digest without a source, whose digest it is"
    for key, expected in refused.items():
        if key in table:
            raise InputInvalid.at(file, f"{place}.{key}", expected=expected, found="one")


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
    try:
        _parse_settings(spec)
    except InvalidJson as error:
        where, expected = f"{place}.{error.place}", f"{error.expected}{beside}"
        raise InputInvalid.at(file, where, expected=expected, found=error.found) from error


def _parse_settings(spec: EngineSpec) -> None:
    match spec.kind:
        case EngineKind.LLAMA_CPP:
            Settings.parse(spec.settings, is_cpu=spec.is_cpu)
        case EngineKind.SERVED:
            ServerSettings.parse(spec.settings)
        case EngineKind.COMMAND:
            return
        case _:
            assert_never(spec.kind)


def max_tokens_of(engine: EngineSpec) -> int | None:
    """Return how long an output can be after a prompt of one token; None if that is unknown."""
    match engine.kind:
        case EngineKind.LLAMA_CPP:
            n_ctx = integer(engine.settings["n_ctx"])
            return math.ceil(n_ctx / _CONTEXT_STEP) * _CONTEXT_STEP - 1
        case EngineKind.COMMAND | EngineKind.SERVED:
            return None
        case _:
            assert_never(engine.kind)
