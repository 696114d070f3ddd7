"""LoRA adapters in the matrix file."""

from pathlib import Path

import pytest

from repro_gate.core.engines import LoraSpec
from tests.adapters.matrix.test_reader import matrix_from, refusal_of

MINE = 'source = "mine.gguf"\n'
ADAPTER = '{ source = "a.gguf", scale = 1 }'


def with_lora(*adapters: str) -> tuple[str, str]:
    """Return the change that gives a model these adapters."""
    return MINE, f"{MINE}lora = [{', '.join(adapters)}]\n"


def test_adapters_are_read_in_order(tmp_path: Path) -> None:
    """Of both kinds of engine, with a pin or without."""
    other = f'{{ source = "hf:o/r/b.gguf", sha256 = "{"0b" * 32}", scale = -0.5 }}'

    assert matrix_from(tmp_path, with_lora(ADAPTER, other)).models["mine"].lora == (
        LoraSpec(name="mine", source="a.gguf", sha256=None, number=1, scale=1.0),
        LoraSpec(name="mine", source="hf:o/r/b.gguf", sha256="0b" * 32, number=2, scale=-0.5),
    )


@pytest.mark.parametrize(
    ("adapters", "message"),
    [
        ([], "models.mine.lora: expected at least 1"),
        (['{ source = "a.gguf" }'], "models.mine.lora[0]: expected the key 'scale'"),
        ([ADAPTER, '{ source = "b", scale = 0 }'], "models.mine.lora[1].scale: expected at least"),
        (['{ source = "b", scale = -0.0 }'], "others have no effect, found -0"),
        (['{ source = "b", scale = nan }'], "models.mine.lora[0].scale: expected a finite number"),
        (['{ source = "b", scale = 1001 }'], "models.mine.lora[0].scale: expected at most 1000"),
        (['{ source = "b", scale = true }'], "models.mine.lora[0].scale: expected a "),
        (['{ source = "b", scale = 1, rank = 4 }'], "models.mine.lora[0]: expected only the keys"),
        (['{ source = "builtin:tiny-qwen2", scale = 1 }'], "no adapter is built in"),
        (['{ source = "~/b", scale = 1 }'], "models.mine.lora[0].source: expected a path"),
        (
            ['{ source = "b", scale = 1, sha256 = "x" }'],
            "models.mine.lora[0].sha256: expected a SH",
        ),
    ],
)
def test_an_adapter_that_is_none_or_has_no_effect_is_refused(
    tmp_path: Path, adapters: list[str], message: str
) -> None:
    """The message names its place."""
    assert message in refusal_of(tmp_path, with_lora(*adapters))
