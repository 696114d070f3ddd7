"""The settings of llama.cpp: read strictly, and never without effect."""

from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.schemas.matching import schema_of
from repro_gate.settings import (
    FACTS,
    FOR_GPUS,
    MAX_GPUS,
    SETTINGS,
    Kind,
    KvType,
    LoadMode,
    Offload,
    Settings,
    SplitMode,
    Value,
    facts_of,
    like_server,
    read_shown,
    replaced,
    shown,
)
from repro_gate.strict_json import InvalidJson


def test_without_settings_a_model_is_on_one_device() -> None:
    """Whole, on the CPU as on a GPU, with its cache."""
    assert [Offload.parse({"n_ctx": 1}, is_cpu=is_cpu) for is_cpu in (True, False)] == [
        Offload(offload_kqv=False),
        Offload(),
    ]


def test_a_part_of_a_model_is_on_several_gpus() -> None:
    """Shares are equal unless they are given."""
    settings: dict[str, Any] = {"gpu_layers": 10, "gpus": 2}
    split = Offload(gpu_layers=10, gpus=2, tensor_split=(1.0, 1.0))
    uneven = {"split_mode": "row", "tensor_split": [3, 0.5]}
    assert [
        Offload.parse(settings, is_cpu=False),
        Offload.parse(settings | uneven, is_cpu=False),
    ] == [
        split,
        Offload(gpu_layers=10, gpus=2, split_mode=SplitMode.ROW, tensor_split=(3.0, 0.5)),
    ]


def test_tensors_are_split_with_flash_attention_only() -> None:
    """llama.cpp makes no context otherwise."""
    settings = {"gpus": 4, "split_mode": "tensor", "flash_attention": True, "contexts": 1}
    assert Offload.parse(settings, is_cpu=False).split_mode is SplitMode.TENSOR


_ONE = "no such setting without gpus of at least 2, where it would have no effect"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gpus": 0}, "settings.gpus: expected an integer from 1 to 16, found 0"),
        ({"gpus": 17}, "settings.gpus: expected an integer from 1 to 16, found 17"),
        ({"gpu_layers": 0}, "settings.gpu_layers: expected an integer from 1 to 65536, found 0"),
        ({"split_mode": "row"}, f"settings.split_mode: expected {_ONE}, found a string"),
        ({"gpus": 1, "tensor_split": [1]}, f"settings.tensor_split: expected {_ONE}, found a list"),
        (
            {"gpus": 2, "split_mode": "none"},
            "settings.split_mode: expected one of layer, row, tensor, found another string",
        ),
        (
            {"gpus": 2, "tensor_split": [1]},
            "settings.tensor_split: expected a number for each of the 2 gpus, found 1 of them",
        ),
        (
            {"gpus": 2, "tensor_split": [1, 0]},
            "settings.tensor_split[1]: expected a finite number from 0.001 to 1000000.0, found 0",
        ),
        (
            {"gpus": 2, "split_mode": "tensor", "flash_attention": False},
            (
                "settings.split_mode: expected layer, or flash_attention = true with tensor, "
                "found tensor"
            ),
        ),
        (
            {"gpus": 2, "split_mode": "tensor", "flash_attention": True, "contexts": 2},
            "settings.contexts: expected 1 with split_mode = tensor, found 2",
        ),
    ],
)
def test_what_is_invalid_or_without_effect_is_refused(
    settings: dict[str, Any], message: str
) -> None:
    """With the place."""
    with pytest.raises(InvalidJson) as refused:
        Offload.parse(settings, is_cpu=False)
    assert str(refused.value) == message


_VALUES = st.one_of(st.integers(-1, 20), st.floats(), st.text(), st.lists(st.integers(0, 3)))


@given(st.dictionaries(st.sampled_from(FOR_GPUS), _VALUES))
def test_every_setting_for_gpus_is_read_or_refused(settings: dict[str, Any]) -> None:
    """On the CPU each is refused; on a GPU shares and GPUs are as many."""
    try:
        found = Offload.parse(settings, is_cpu=False)
    except InvalidJson:
        pass
    else:
        assert 1 <= found.gpus == len(found.tensor_split) <= MAX_GPUS
    if settings:
        with pytest.raises(InvalidJson, match="no such setting for the device cpu"):
            Offload.parse(settings, is_cpu=True)


_PLAIN: dict[str, Any] = {"n_ctx": 512, "n_batch": 256, "threads": 2, "flash_attention": False}
_F16 = {**_PLAIN, "kv_type": "f16"}


def test_what_is_not_given_has_a_default() -> None:
    """A fixed value or that of a related setting; the rest is left to the model file."""
    assert Settings.parse(_F16, is_cpu=True) == Settings(
        n_ctx=512,
        n_batch=256,
        n_ubatch=256,
        threads=2,
        threads_batch=2,
        flash_attention=False,
        kv_type_k=KvType.F16,
        kv_type_v=KvType.F16,
        swa_full=True,
        repack=True,
        rope={},
        offload=Offload(offload_kqv=False),
    )
    on_gpu = Settings.parse(_F16, is_cpu=False)
    assert (on_gpu.offload.offload_kqv, on_gpu.op_offload) == (True, True)


def test_every_setting_can_be_given() -> None:
    """And is in force."""
    rope = {"rope_scaling": "yarn", "rope_freq_base": 5000.5, "rope_freq_scale": 0.25}
    yarn = {"yarn_ext_factor": 0.5, "yarn_beta_fast": 16, "yarn_beta_slow": 2, "yarn_orig_ctx": 9}
    given = {
        **_PLAIN, "n_ubatch": 128, "threads_batch": 3, "kv_type_k": "q8_0", "kv_type_v": "bf16",
        "swa_full": False, **rope, **yarn, "repack": False, "load_mode": "mmap+mlock",
        "contexts": 4, "offload_kqv": False, "op_offload": False, "gpu_layers": 3, "gpus": 2,
        "split_mode": "row", "tensor_split": [1, 2],
    }  # fmt: skip
    found = Settings.parse(given, is_cpu=False)
    assert (found.kv_type_k, found.kv_type_v, found.n_ubatch) == (KvType.Q8_0, KvType.BF16, 128)
    assert (found.threads_batch, found.contexts, found.load_mode) == (3, 4, LoadMode.MMAP_MLOCK)
    assert not any((found.swa_full, found.repack, found.op_offload))
    assert found.rope == rope | yarn
    assert (found.offload.gpus, found.offload.offload_kqv) == (2, False)
    only_interpolating = rope | {"yarn_ext_factor": 0, "yarn_attn_factor": 2}
    assert Settings.parse(_F16 | only_interpolating, is_cpu=True).rope == only_interpolating
    only_a_factor = {"yarn_ext_factor": 0, "yarn_attn_factor": 2}
    assert Settings.parse(_F16 | only_a_factor, is_cpu=True).rope == only_a_factor
    assert set(given) | {"kv_type", "yarn_attn_factor"} == set(SETTINGS)


_YARN = {"rope_scaling": "yarn", "rope_freq_scale": 0.25}
_WITHOUT_YARN = "expected no such setting without rope_scaling yarn and a rope_freq_scale other "


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (_PLAIN, "settings: expected the key 'kv_type', found none"),
        (_PLAIN | {"kv_type_v": "f16"}, "settings: expected the key 'kv_type_k', found none"),
        (_F16 | {"kv_type_v": "f16"}, "settings.kv_type_v: expected no such key beside kv_type, "),
        (_F16 | {"kv_type": "q8_1"}, "settings.kv_type: expected one of f32, f16, "),
        (_F16 | {"kv_type": "q8_0"}, "settings.kv_type: expected f32, f16 or bf16, or flash_att"),
        (
            _PLAIN | {"kv_type_k": "f16", "kv_type_v": "q4_0"},
            "settings.kv_type_v: expected f32, f16 or bf16, or flash_attention = true, ",
        ),
        (_F16 | {"n_batch": 513}, "settings.n_batch: expected at most n_ctx, which is 512, found "),
        (_F16 | {"n_ubatch": 257}, "settings.n_ubatch: expected at most n_batch, which is 256, "),
        (_F16 | {"n_batch": 0}, "settings.n_batch: expected an integer from 1 to 16777216, found "),
        (_F16 | {"rope_freq_base": 0}, "settings.rope_freq_base: expected a finite number from 1 "),
        (_F16 | {"rope_freq_base": float("nan")}, "settings.rope_freq_base: expected a finite "),
        (_F16 | {"rope_scaling": "longrope"}, "settings.rope_scaling: expected one of none, lin"),
        (_F16 | {"rope_scaling": "linear"}, "settings.rope_scaling: expected no such setting oth"),
        (_F16 | {"rope_freq_scale": 0.5}, "settings.rope_freq_scale: expected no such setting w"),
        (
            _F16 | {"rope_scaling": "none", "rope_freq_scale": 0.5},
            "settings.rope_freq_scale: expected no such setting without rope_scaling linear or ya",
        ),
        (
            _F16 | {"rope_scaling": "linear", "rope_freq_scale": 0.5, "yarn_ext_factor": 1},
            f"settings.yarn_ext_factor: {_WITHOUT_YARN}",
        ),
        (
            _F16 | _YARN | {"rope_freq_scale": 1, "yarn_beta_slow": 1},
            f"settings.yarn_beta_slow: {_WITHOUT_YARN}",
        ),
        (_F16 | {"yarn_orig_ctx": 128}, f"settings.yarn_orig_ctx: {_WITHOUT_YARN}"),
        (
            _F16 | _YARN | {"yarn_ext_factor": 0, "yarn_beta_fast": 16},
            "settings.yarn_beta_fast: expected no such setting with yarn_ext_factor = 0, where it ",
        ),
        (
            _F16 | _YARN | {"yarn_attn_factor": 2},
            "settings.yarn_attn_factor: expected no such setting without yarn_ext_factor = 0, as ",
        ),
        (_F16 | {"offload_kqv": False}, "settings.offload_kqv: expected no such setting for the "),
        (_F16 | {"op_offload": True}, "settings.op_offload: expected no such setting for the dev"),
        (_F16 | {"load_mode": "dio"}, "settings.load_mode: expected one of none, mmap, mlock, mm"),
        (_F16 | {"kv_unified": True}, "settings: expected only the keys "),
    ],
)
def test_what_contradicts_or_has_no_effect_is_refused(
    settings: dict[str, Any], message: str
) -> None:
    """On the CPU; with the place and the reason."""
    with pytest.raises(InvalidJson) as refused:
        Settings.parse(settings, is_cpu=True)
    assert str(refused.value).startswith(message)


def test_facts_show_what_was_asked_for() -> None:
    """One type of a cache if both are equal, and positions as in the model file if none differ."""
    usual = {
        "n_batch": "256", "n_ubatch": "256", "threads": "2", "threads_batch": "2",
        "flash_attention": "false", "swa_full": "true", "repack": "true",
    }  # fmt: skip
    assert facts_of(_F16) == usual | {"kv_type": "f16", "rope": "model"}
    apart = {"kv_type_k": "q8_0", "kv_type_v": "f16"}
    added = {"rope_freq_base": 10000, "gpu_layers": 3, "tensor_split": [3, 0.5], "contexts": 2}
    shown = {"rope_freq_base": "10000", "gpu_layers": "3", "tensor_split": "3, 0.5"}
    assert facts_of(_PLAIN | apart | added) == usual | apart | shown
    parsed = Settings.parse(_PLAIN | apart | {"rope_freq_base": 1.5}, is_cpu=True).facts()
    off = {"offload_kqv": "false", "op_offload": "false"}
    assert parsed == usual | apart | off | {"rope_freq_base": "1.5"}
    assert facts_of(_F16).keys() <= set(FACTS)


def test_what_is_not_given_may_be_as_in_llama_server() -> None:
    """As far as the context allows; the context and the threads stay to be given."""
    own = {"n_ctx": 4096, "threads": 2}
    like = {
        "n_batch": 2048, "n_ubatch": 512, "flash_attention": True, "kv_type_k": "f16",
        "kv_type_v": "f16", "swa_full": False,
    }  # fmt: skip

    assert like_server(own) == own | like
    assert like_server(own | {"n_ctx": 1000}) == own | like | {"n_ctx": 1000, "n_batch": 1000}
    assert like_server(own | {"n_batch": 100}) == own | like | {"n_batch": 100, "n_ubatch": 100}
    assert "kv_type_k" not in like_server(own | {"kv_type": "q8_0"})
    assert like_server({"n_ubatch": 9}) == like | {"n_ubatch": 9}
    assert Settings.parse(like_server(own), is_cpu=False).n_ubatch == 512


def test_what_only_gpus_have_is_by_default_as_in_llama_server() -> None:
    """So that it is not sent to an engine that `--device` puts on a CPU."""
    of_gpus = [setting for setting in SETTINGS.values() if setting.is_for_gpus and setting.server]

    assert of_gpus
    assert all(setting.server == setting.default for setting in of_gpus)


def test_the_schema_has_the_settings() -> None:
    """With their kinds, ranges, choices and fixed defaults."""
    schema = schema_of("matrix-v1")["$defs"]["llama_cpp_settings"]
    required = {name for name in SETTINGS if SETTINGS[name].is_required}
    assert list(schema["properties"]) == ["like", *SETTINGS]
    assert {*schema["required"], *schema["then"]["required"]} == required
    assert set(schema["required"]) == required - like_server({}).keys()
    for name, setting in SETTINGS.items():
        rule = dict(schema["properties"][name])
        assert rule.pop("default", None) == setting.default
        bounds = {"minimum": setting.low, "maximum": setting.high}
        match setting.kind:
            case Kind.FLAG:
                assert rule == {"type": "boolean"}
            case Kind.CHOICE:
                assert rule == {"enum": list(setting.choices or ())}
            case Kind.NUMBERS:
                assert rule["items"] == {"type": "number", **bounds}
            case kind:
                assert rule == {"type": kind, **bounds}


def test_a_default_of_llama_server_is_a_value_of_the_setting() -> None:
    """And so is a fixed default of the gate."""
    for name, setting in SETTINGS.items():
        for value in (setting.default, setting.server):
            assert value is None or setting.read(value, name) == value


_ANY = st.one_of(_VALUES, st.booleans(), *map(st.sampled_from, (KvType, LoadMode, SplitMode)))


@given(given=st.dictionaries(st.sampled_from(list(SETTINGS)), _ANY), is_cpu=st.booleans())
def test_settings_are_in_force_or_refused(given: dict[str, Any], *, is_cpu: bool) -> None:
    """Never anything between."""
    try:
        found = Settings.parse(_F16 | given, is_cpu=is_cpu)
    except InvalidJson:
        return
    assert found.n_ubatch <= found.n_batch <= found.n_ctx
    values = asdict(found)
    values |= values["rope"] | values["offload"] | {"kv_type": found.kv_type_k}
    for name, value in given.items():
        assert values[name] == (tuple(value) if isinstance(value, list) else value)


@pytest.mark.parametrize(
    ("given", "changes", "expected"),
    [
        ({"kv_type": "f16"}, {"kv_type": "f32"}, {"kv_type": "f32"}),
        ({"kv_type_k": "f16", "kv_type_v": "f32"}, {"kv_type": "f32"}, {"kv_type": "f32"}),
        (
            {"kv_type": "f16"},
            {"kv_type_v": "q8_0"},
            {"kv_type_k": "f16", "kv_type_v": "q8_0"},
        ),
        ({"threads": 1}, {"op_offload": False, "threads": 2}, {"threads": 2}),
        ({"kv_type_k": "f16"}, {"kv_type_v": "f32"}, {"kv_type_k": "f16", "kv_type_v": "f32"}),
    ],
)
def test_settings_are_replaced(
    given: dict[str, Any], changes: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Either name of the KV types by the other; those for GPUs have no effect on the CPU."""
    assert replaced(given, changes, is_cpu=True) == expected


def test_settings_for_gpus_are_replaced_on_a_gpu() -> None:
    """Where they have an effect."""
    assert replaced({}, {"op_offload": False}, is_cpu=False) == {"op_offload": False}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("repack", True),
        ("kv_type", KvType.Q8_0),
        ("threads", 8),
        ("rope_freq_scale", 0.25),
        ("rope_freq_base", 1e6),
        ("tensor_split", [1.0, 0.5]),
    ],
)
def test_a_value_is_read_from_its_fact(name: str, value: Value) -> None:
    """As it was shown."""
    assert read_shown(name, shown(value)) == value


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        ("repack", "yes"),
        ("kv_type", "q9"),
        ("threads", "many"),
        ("threads", "0"),
        ("rope_freq_base", "nan"),
        ("tensor_split", "1, x"),
    ],
)
def test_a_fact_that_is_no_value_is_refused(name: str, fact: str) -> None:
    """It may come from another version."""
    with pytest.raises(InvalidJson):
        read_shown(name, fact)
