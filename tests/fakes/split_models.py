"""A model file in parts, as llama-gguf-split makes them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from gguf import GGUFReader, GGUFValueType, GGUFWriter

from repro_gate.model_files import part_names

_OF_THE_FORMAT = ("GGUF.", "general.architecture")
_I32, _U16 = GGUFValueType.INT32, GGUFValueType.UINT16


def split(
    model: Path,
    folder: Path,
    *,
    count: int = 3,
    name: str = "big",
    changes: Mapping[int, Mapping[str, int]] | None = None,
    kind: GGUFValueType = _U16,
) -> tuple[Path, ...]:
    """Write a model in parts, and return their paths in order.

    Args:
        model: the whole file.
        folder: of the parts.
        count: of parts.
        name: without the number of the part.
        changes: other values of `split.no` and `split.count`, by the index of a part.
        kind: the type of `split.no`.
    """
    reader = GGUFReader(model)
    (architecture,) = [reader.fields["general.architecture"].contents()]
    names = part_names(f"{name}-00001-of-{count:05}.gguf") if count > 1 else (f"{name}.gguf",)
    for number, file in enumerate(names):
        values = {"split.no": number, "split.count": count, **(changes or {}).get(number, {})}
        writer = GGUFWriter(folder / file, str(architecture))
        if number == 0:
            _copy_metadata(reader, writer)
        writer.add_key_value("split.no", values["split.no"], kind)
        writer.add_key_value("split.count", values["split.count"], _U16)
        writer.add_key_value("split.tensors.count", len(reader.tensors), _I32)
        _copy_tensors(reader, writer, range(number, len(reader.tensors), count))
    return tuple(folder / file for file in names)


def _copy_metadata(reader: GGUFReader, writer: GGUFWriter) -> None:
    for field in reader.fields.values():
        if not field.name.startswith(_OF_THE_FORMAT):
            sub_type = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=sub_type)


def _copy_tensors(reader: GGUFReader, writer: GGUFWriter, indices: Sequence[int]) -> None:
    for index in indices:
        tensor = reader.tensors[index]
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
