"""Write a recipe's GGUF file atomically."""

import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from gguf import GGUFValueType, GGUFWriter

from repro_gate.tiny_models.recipes import Recipe
from repro_gate.tiny_models.tokenizers import MetadataValue
from repro_gate.tiny_models.weights import encoded, layout


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeModel:
    """A model file that was just written."""

    path: Path
    """As given to `make`."""

    sha256: str
    """Lower-case hexadecimal digest of the whole file."""

    size: int
    """Bytes."""


def make(recipe: Recipe, path: Path) -> MadeModel:
    """Write the model of `recipe` to `path`, and return what was written.

    The folder must exist. An existing file is replaced in one step, so that neither two processes
    at once nor a kill leave a partial file under that name. Raises `OSError`.
    """
    with _replacing(path) as partial:
        _write(recipe, partial)
        with partial.open("rb") as file:
            # Otherwise a power cut could leave an empty file under the name.
            os.fsync(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = partial.stat().st_size
    return MadeModel(path=path, sha256=digest, size=size)


@contextlib.contextmanager
def _replacing(path: Path) -> Generator[Path, None, None]:
    descriptor, partial = _new_temporary(path.parent)
    try:
        yield partial
        partial.chmod(0o644)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
        os.close(descriptor)


def _new_temporary(folder: Path) -> tuple[int, Path]:
    """Create a temporary file, locked so that the gate does not sweep it."""
    while True:
        descriptor, name = tempfile.mkstemp(prefix=".repro-gate-", suffix=".tmp", dir=folder)
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        # The gate may have swept it before it was locked.
        if os.fstat(descriptor).st_nlink:
            return descriptor, Path(name)
        os.close(descriptor)


def _write(recipe: Recipe, path: Path) -> None:
    writer = GGUFWriter(path, recipe.architecture.name)
    layouts = [layout(tensor, recipe.encoding) for tensor in recipe.tensors()]
    for key, value in recipe.metadata().items():
        _add(writer, key, value)
    for target in layouts:
        writer.add_tensor_info(
            target.tensor.name, target.shape, target.dtype, target.size, raw_dtype=target.kind
        )
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for target in layouts:
            writer.write_tensor_data(encoded(target, seed=recipe.seed))
    finally:
        writer.close()


def _add(writer: GGUFWriter, key: str, value: MetadataValue) -> None:
    match value:
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_uint32(key, value)
        case float():
            writer.add_float32(key, value)
        case str():
            writer.add_string(key, value)
        case tuple():
            writer.add_key_value(key, value, GGUFValueType.ARRAY)
