"""The settings in force, for a terminal and as JSON."""

import json
from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Any, Final

from repro_gate.core.origins import EngineSettings, SettingInForce, SettingsInForce, Shared
from repro_gate.reports.text.escape import clipped, log_line

_WIDTH: Final = 100
_MAX_VALUE: Final = 300
"""A grammar may have thousands of characters; JSON has all of them."""
_INDENT: Final = "  "
_GAP: Final = "  "


def render_settings(found: SettingsInForce) -> str:
    """Return the settings in lines of at most 100 columns, with the origin of each at the end."""
    blocks: list[list[str]] = [
        [log_line(f"matrix {found.file}")],
        *map(_engine, found.engines),
        *(_shared("models:", each) for each in found.models),
        *(_shared("samplers of prompts:", each) for each in found.samplers),
        *(_shared("prompts:", each) for each in found.prompts),
    ]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def settings_data(found: SettingsInForce) -> dict[str, Any]:
    """Return the settings as JSON data."""
    return {
        "matrix": found.file,
        "engines": [
            {
                "name": each.name,
                "kind": each.kind,
                "models": each.models,
                "settings": list(map(_data, each.settings)),
            }
            for each in found.engines
        ],
        "models": [_shared_data("models", each) for each in found.models],
        "samplers": [_shared_data("prompts", each) for each in found.samplers],
        "prompts": [_shared_data("prompts", each) for each in found.prompts],
    }


def _shared_data(kind: str, each: Shared) -> dict[str, Any]:
    return {kind: each.names, "settings": list(map(_data, each.settings))}


def _data(setting: SettingInForce) -> dict[str, Any]:
    sampler = {} if setting.sampler is None else {"sampler": setting.sampler}
    value = json.loads(setting.value)
    return {**sampler, "name": setting.name, "value": value, "origin": setting.origin.value}


def _engine(engine: EngineSettings) -> list[str]:
    heading = _heading(f"engine {engine.name} ({engine.kind}), models:", engine.models)
    return [*heading, *_table(engine.settings)]


def _shared(title: str, each: Shared) -> list[str]:
    return [*_heading(title, each.names), *_table(each.settings)]


def _heading(title: str, names: Sequence[str]) -> list[str]:
    text = f"{title} {', '.join(names) or 'none'}"
    return wrap(text, _WIDTH, subsequent_indent=_INDENT * 2, break_on_hyphens=False)


def _table(settings: Sequence[SettingInForce]) -> Iterator[str]:
    samplers = max((len(setting.sampler or "") for setting in settings), default=0)
    names = max((len(setting.name) for setting in settings), default=0)
    origins = max((len(setting.origin.value) for setting in settings), default=0)
    left = len(_INDENT) + (samplers + len(_GAP) if samplers else 0) + names + len(_GAP)
    width = _WIDTH - left - len(_GAP) - origins
    values = [wrap(_value(each), width) for each in settings]
    widest = max((len(line) for lines in values for line in lines), default=0)
    before = None
    for setting, lines in zip(settings, values, strict=True):
        # The name of a sampler stands before its first parameter.
        sampler = "" if setting.sampler == before else setting.sampler or ""
        before = setting.sampler
        start = f"{sampler:{samplers}}{_GAP}" if samplers else ""
        origin = setting.origin.value
        yield f"{_INDENT}{start}{setting.name:{names}}{_GAP}{lines[0]:{widest}}{_GAP}{origin}"
        yield from (f"{'':{left}}{line}" for line in lines[1:])


def _value(setting: SettingInForce) -> str:
    if setting.value == "null":
        return "-"
    value = json.loads(setting.value)
    text = ", ".join(value) if setting.name == "samplers" else setting.value
    return clipped(log_line(text), _MAX_VALUE)
