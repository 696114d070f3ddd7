"""The settings in force at a terminal and as JSON."""

import json

from repro_gate.core.origins import EngineSettings, Origin, SettingInForce, SettingsInForce, Shared
from repro_gate.reports.settings import render_settings, settings_data


def setting(
    name: str, value: object, origin: Origin = Origin.MATRIX, **more: str
) -> SettingInForce:
    """Return a setting with a value as JSON."""
    return SettingInForce(name=name, value=json.dumps(value), origin=origin, **more)


def in_force(*settings: SettingInForce, names: tuple[str, ...] = ("a",)) -> SettingsInForce:
    """Return what is in force where prompts have these settings and samplers alone."""
    found = (Shared(names=names, settings=settings),)
    return SettingsInForce(file="m.toml", engines=(), models=(), samplers=found, prompts=())


def lines(found: SettingsInForce) -> list[str]:
    """Return the lines of the last block."""
    return render_settings(found).removesuffix("\n").split("\n\n")[-1].split("\n")


def test_every_setting_has_its_value_and_its_origin() -> None:
    """One line each, below the name of what it is a setting of."""
    settings = (setting("n_ctx", 512), setting("rope_scaling", None, Origin.MODEL_FILE))
    engine = EngineSettings(name="e", kind="llama_cpp", models=("m", "n"), settings=settings)
    lora = Shared(names=("n",), settings=(setting("lora", [], Origin.DEFAULT),))
    found = SettingsInForce(
        file="m.toml", engines=(engine,), models=(lora,), samplers=(), prompts=()
    )

    assert render_settings(found).splitlines() == [
        "matrix m.toml",
        "",
        "engine e (llama_cpp), models: m, n",
        "  n_ctx         512  matrix",
        "  rope_scaling  -    model file",
        "",
        "models: n",
        "  lora  []  default",
    ]


def test_a_sampler_stands_before_its_first_parameter() -> None:
    """The order has no sampler, and is written in words."""
    order = setting("samplers", ["dry", "top_k"], Origin.LIKE_SERVER)
    parameters = [
        setting("dry_base", 1.75, sampler="dry"),
        setting("dry_multiplier", 0.5, Origin.SHARED, sampler="dry"),
        setting("top_k", 4, sampler="top_k"),
    ]

    assert lines(in_force(order, *parameters, names=("a", "b"))) == [
        "samplers of prompts: a, b",
        "         samplers        dry, top_k  like llama-server",
        "  dry    dry_base        1.75        matrix",
        "         dry_multiplier  0.5         matrix [sampler]",
        "  top_k  top_k           4           matrix",
    ]


def test_what_is_long_is_continued_below() -> None:
    """No line is wider than 100 columns, and a grammar is cut."""
    grammar = setting("grammar", "root ::= [a-z] " * 400)
    names = tuple(f"a-prompt-with-a-long-name-{number}" for number in range(9))

    shown = lines(in_force(grammar, names=names))

    assert max(map(len, shown)) <= 100
    assert len(shown) == 8
    assert shown[-1].endswith("\N{HORIZONTAL ELLIPSIS}")


def test_no_text_is_a_command_of_a_ci_system() -> None:
    """Nor has any line a control character."""
    shown = render_settings(in_force(setting("stop", ["##[error]\x1b"])))

    assert r'["#\x23[error]\u001b"]' in shown


def test_json_has_whole_values() -> None:
    """With the sampler of what has one."""
    found = in_force(setting("stop", ["x" * 400]), setting("top_k", 4, sampler="top_k"))

    assert settings_data(found) == {
        "matrix": "m.toml",
        "engines": [],
        "models": [],
        "samplers": [
            {
                "prompts": ("a",),
                "settings": [
                    {"name": "stop", "value": ["x" * 400], "origin": "matrix"},
                    {"sampler": "top_k", "name": "top_k", "value": 4, "origin": "matrix"},
                ],
            }
        ],
        "prompts": [],
    }
