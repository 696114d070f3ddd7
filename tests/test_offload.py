"""How much of a model is on GPUs: read strictly, and never without effect."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.offload import MAX_GPUS, OFFLOAD_SETTINGS, Offload, SplitMode
from repro_gate.strict_json import InvalidJson


def test_without_settings_a_model_is_on_one_device() -> None:
    """Whole, on the CPU as on a GPU."""
    assert [Offload.parse({"n_ctx": 1}, is_cpu=is_cpu) for is_cpu in (True, False)] == [
        Offload()
    ] * 2


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
                "settings.split_mode: expected layer, or flash_attention = true with tensor, found "
                "a string"
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


@given(st.dictionaries(st.sampled_from(OFFLOAD_SETTINGS), _VALUES))
def test_every_setting_is_read_or_refused(settings: dict[str, Any]) -> None:
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
