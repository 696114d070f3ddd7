"""Read what is in force by a matrix file, and where each value comes from."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, assert_never

from repro_gate.adapters.files.documents import read_toml
from repro_gate.adapters.matrix.engines import read_engine
from repro_gate.adapters.matrix.reader import matrix_of
from repro_gate.adapters.matrix.sampler import beside, read_sampler
from repro_gate.core.engines import EngineKind, EngineSpec
from repro_gate.core.origins import EngineSettings, Origin, SettingInForce, SettingsInForce, shared
from repro_gate.core.tokens.cell import Sampler
from repro_gate.protocol import CPU
from repro_gate.samplers import BESIDE, PLAIN, SAMPLERS, Sampling
from repro_gate.server_settings import ServerSettings
from repro_gate.settings import KV_TYPES, MULTI_GPU, ROPE, SETTINGS, in_force

_Table = Mapping[str, Any]


def read_settings(file: Path) -> SettingsInForce:
    """Return what is in force by a matrix file; raises `InputInvalid` as `read_matrix` does."""
    document: _Table = read_toml(file, schema="matrix-v1")
    # It refuses whatever the tables below must not have.
    matrix = matrix_of(document, file)
    common: _Table = document.get("sampler", {})
    prompts: Mapping[str, _Table] = document.get("prompts", {}) if matrix.suites else {}
    drawn = {name: read_sampler(file, name, table, common) for name, table in prompts.items()}
    return SettingsInForce(
        file=str(file),
        engines=tuple(
            _engine(read_engine(file, name, table), table, document)
            for name, table in document.get("engines", {}).items()
        ),
        models=shared(
            {name: tuple(_model(table)) for name, table in document.get("models", {}).items()}
        ),
        samplers=shared(
            {name: tuple(_sampler(drawn[name], prompts[name], common)) for name in prompts}
        ),
        prompts=shared(
            {name: tuple(_prompt(drawn[name], prompts[name], common)) for name in prompts}
        ),
    )


def _engine(spec: EngineSpec, table: _Table, document: _Table) -> EngineSettings:
    models = document.get("models", {})
    return EngineSettings(
        name=spec.name,
        kind=spec.kind.value,
        models=tuple(name for name, model in models.items() if model["engine"] == spec.name),
        settings=tuple(_engine_settings(spec, table)),
    )


def _engine_settings(spec: EngineSpec, table: _Table) -> Iterator[SettingInForce]:
    if spec.host is None:
        yield _given("device", table, default=spec.device)
    yield _given("timeout_s", table, default=spec.timeout_s)
    match spec.kind:
        case EngineKind.LLAMA_CPP:
            yield from _llama_cpp(spec, table["settings"])
        case EngineKind.SERVED:
            yield from _server(spec)
        case EngineKind.COMMAND:
            for name in spec.settings:
                yield _given(name, spec.settings, default=None)
        case _:
            assert_never(spec.kind)


def _server(spec: EngineSpec) -> Iterator[SettingInForce]:
    """Yield what applies to a server that is started, or to one that runs already."""
    settings = asdict(ServerSettings.parse(spec.settings))
    for name, value in settings.items():
        if value or name in spec.settings:
            yield _given(name, spec.settings, default=value)


def _llama_cpp(spec: EngineSpec, given: _Table) -> Iterator[SettingInForce]:
    """Yield what applies on the device of the engine."""
    is_cpu = spec.device == CPU
    values = in_force(spec.settings, is_cpu=is_cpu)
    gpus = values.get("gpus", 1)
    values.setdefault("tensor_split", [1.0] * gpus)
    for name, setting in SETTINGS.items():
        has_effect = not (is_cpu and setting.is_for_gpus) and (gpus > 1 or name not in MULTI_GPU)
        if has_effect and name != "kv_type":
            yield _setting(name, values.get(name), _origin_of_setting(name, given))


def _origin_of_setting(name: str, given: _Table) -> Origin:
    if name in given or ("kv_type" in given and name in KV_TYPES):
        return Origin.MATRIX
    if "like" in given and SETTINGS[name].server is not None:
        return Origin.LIKE_SERVER
    return Origin.MODEL_FILE if name in ROPE else Origin.DEFAULT


def _model(table: _Table) -> Iterator[SettingInForce]:
    yield _given("source", table, default=None)
    if "served_as" in table:
        yield _given("served_as", table, default=None)
    yield _given("lora", table, default=[])


def _sampler(sampler: Sampler, own: _Table, common: _Table) -> Iterator[SettingInForce]:
    """Yield the order of the samplers, and the parameters of each in that order."""
    sampling = sampler.sampling or Sampling()
    plain = {name: getattr(sampler, name) for name in PLAIN}
    missing = Origin.LIKE_SERVER if "like" in common else Origin.DEFAULT
    yield _setting("samplers", sampling.order, _origin("samplers", own, common, missing))
    for link in sampling.order:
        for name in SAMPLERS[link] if sampling.samplers else (link,):
            value = plain[name] if name in plain else sampling.value(name)
            yield _setting(name, value, _origin(name, own, common, missing), sampler=link)


def _prompt(sampler: Sampler, table: _Table, common: _Table) -> Iterator[SettingInForce]:
    """Yield what applies beside the samplers, and how a chat becomes a text."""
    sampling, kept = sampler.sampling or Sampling(), beside(table, common)
    yield _given("max_tokens", table, default=None)
    yield _given("stop", table, default=[])
    for name in BESIDE:
        yield _setting(name, sampling.value(name), _origin(name, table, kept, Origin.DEFAULT))
    if "messages" in table:
        origin = Origin.MATRIX if "template_file" in table else Origin.MODEL_FILE
        yield _setting("template_file", table.get("template_file"), origin)
        yield _given("template_kwargs", table, default={})
        yield _given("add_generation_prompt", table, default=True)


def _given(name: str, table: _Table, *, default: object) -> SettingInForce:
    origin = Origin.MATRIX if name in table else Origin.DEFAULT
    return _setting(name, table.get(name, default), origin)


def _origin(name: str, own: _Table, common: _Table, missing: Origin) -> Origin:
    if name in own:
        return Origin.MATRIX
    return Origin.SHARED if name in common else missing


def _setting(
    name: str, value: object, origin: Origin, sampler: str | None = None
) -> SettingInForce:
    text = json.dumps(value, ensure_ascii=False)
    return SettingInForce(name=name, value=text, origin=origin, sampler=sampler)
