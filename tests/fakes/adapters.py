"""Small LoRA adapters, and files that look like one."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from gguf import GGUFReader, GGUFValueType, GGUFWriter

_RANK = 4
_TENSORS = {name: name for name in ("blk.0.attn_q.weight", "blk.1.ffn_down.weight")}


def adapter(
    path: Path,
    model: Path,
    *,
    seed: int = 1,
    architecture: str | None = None,
    kind: str = "adapter",
    alpha: float = 8.0,
    further: Mapping[str, int | list[int]] | None = None,
    further_tensors: Mapping[str, tuple[int, ...]] | None = None,
    names: Mapping[str, str] | None = None,
    rows: int = 0,
) -> Path:
    """Write an adapter of rank 4 for two matrices of a model.

    Args:
        path: where to write it.
        model: the file of the model.
        seed: of its weights.
        architecture: of the model that it is for; that of the file by default.
        kind: what the file declares to be.
        alpha: a whole number is written as one, which llama.cpp does not read.
        further: metadata; a list of numbers is an array of them.
        further_tensors: their shapes by name.
        names: tensors of the model with the names that the adapter has for them; None for two.
        rows: how many more than the model has.
    """
    reader = GGUFReader(model)
    field = reader.get_field("general.architecture")
    assert field is not None
    writer = GGUFWriter(path, architecture or field.contents())
    writer.add_type(kind)
    writer.add_string("adapter.type", "lora")
    add_alpha = writer.add_float32 if isinstance(alpha, float) else writer.add_uint32
    add_alpha("adapter.lora.alpha", alpha)
    for key, value in (further or {}).items():
        if isinstance(value, list):
            writer.add_key_value(key, value, GGUFValueType.ARRAY, sub_type=GGUFValueType.UINT32)
        else:
            writer.add_uint16(key, value)
    generator = np.random.default_rng(seed)
    shapes = {tensor.name: tensor.shape.tolist() for tensor in reader.tensors}
    for name, ours in (
        dict(zip(_TENSORS, _TENSORS, strict=True)) if names is None else names
    ).items():
        columns, height = [*shapes[name], 1][:2]
        for suffix, size in (("a", (_RANK, columns)), ("b", (height + rows, _RANK))):
            values = generator.standard_normal(size).astype(np.float32)
            writer.add_tensor(f"{ours}.lora_{suffix}", values)
    for name, shape in (further_tensors or {}).items():
        writer.add_tensor(name, np.ones(shape, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
