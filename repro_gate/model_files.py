"""What the gate and its engines know alike about the files of a model."""

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, Final

from repro_gate.strict_json import MAX_INTEGER, InvalidJson, exact_table, integer, is_list, list_of

MAX_PARTS: Final = 1000
"""Of a split model, and states of files in a message."""
MAX_FILES: Final = 10_000
"""And folders, in the folder of a model."""
_PART: Final = re.compile(r"(?P<stem>.+)-\d{5}-of-(?P<count>\d{5})\.gguf", re.DOTALL)
_MAX_UNSIGNED: Final = 2**64 - 1
_CLOCK_TICK_NS: Final = 20_000_000
"""More than the kernel waits before it moves the clock of its file systems."""
_SECOND_NS: Final = 1_000_000_000
"""Some file systems, such as HFS+, count whole seconds."""
CONVERT_AGAIN: Final = "convert the original model again with convert_hf_to_gguf.py"
KIND_KEYS: Final = ("general.architecture", "general.type", "tokenizer.ggml.model")
"""What the header of a GGUF file shows of its kind."""
_USES: Final = {
    "adapter": "an adapter (LoRA), not a whole model; name it under lora of its model",
    "mmproj": "the image or audio part of a model (mmproj); use the file of the language model",
    "imatrix": "an importance matrix for quantising; use the file of the language model",
    "vocab": "a vocabulary without weights; use the file of the language model",
}
"""By the type that a file declares, what it is and what to do."""
_DRAFT: Final = (
    "a draft model of speculative decoding; use the file of the model that it drafts for"
)
_SOUND: Final = "a part of a model that makes sound, not text; use a causal language model"
_ARCHITECTURES: Final = {
    "clip": _USES["mmproj"],
    "eagle3": _DRAFT,
    "dflash": _DRAFT,
    "gemma4-assistant": _DRAFT,
    "wavtokenizer-dec": _SOUND,
    "pockettts": _SOUND,
    "qwen3tts": _SOUND,
}
"""By its architecture, where that decides it."""
_NO_TOKENIZER: Final = frozenset({"no_vocab", "none"})
_EMBEDDING: Final = re.compile(r"bert|embed(ding)?$|^t5encoder$")
"""In the names of architectures for embeddings; some files do not declare it."""


class UnusableFolder(ValueError):
    """A folder that cannot be a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileState:
    """What any write to a file changes, and so does a file in its place."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def parse(cls, data: object, place: str = "") -> "FileState":
        """Return the state, or refuse what is none."""
        found = exact_table(data, place, keys=tuple(cls.__dataclass_fields__))
        return cls(
            **{
                name: integer(value, f"{place}.{name}", low=0, high=_MAX_UNSIGNED)
                for name, value in found.items()
            }
        )

    @classmethod
    def of(cls, status: os.stat_result) -> "FileState":
        """Return the state that a status shows."""
        return cls(
            # Unsigned numbers of 64 bits, of which the protocol has 63.
            device=status.st_dev & MAX_INTEGER,
            inode=status.st_ino & MAX_INTEGER,
            size=status.st_size,
            modified_ns=status.st_mtime_ns,
            changed_ns=status.st_ctime_ns,
        )

    def is_settled(self, now_ns: int) -> bool:
        """Return whether a write from now on changes the state; the clock of files is coarse."""
        tick_ns = _CLOCK_TICK_NS if self.changed_ns % _SECOND_NS else 2 * _SECOND_NS
        return self.changed_ns + tick_ns < now_ns


def parse_states(data: object, place: str) -> tuple[FileState, ...]:
    """Return the states of the files of a model: one, or a list of at least two."""
    if not is_list(data):
        return (FileState.parse(data, place),)
    if not 1 < len(data) <= MAX_PARTS:
        expected = f"an object, or a list of 2 to {MAX_PARTS}"
        raise InvalidJson(place, expected=expected, found=f"a list of {len(data)}")
    return tuple(list_of(FileState.parse, data, place))


def states_to_wire(states: Sequence[FileState]) -> Any:
    """Return the JSON form of `parse_states`."""
    data = [asdict(state) for state in states]
    return data if data[1:] else data[0]


def part_names(name: str) -> tuple[str, ...]:
    """Return the names of all parts of a split GGUF file by that of one; any other name alone.

    They are those of llama.cpp: `x-00001-of-00003.gguf`.
    """
    match = _PART.fullmatch(name)
    count = int(match["count"]) if match else 1
    if match is None or count < 2:  # noqa: PLR2004 -- of one part, it is whole
        return (name,)
    return tuple(f"{match['stem']}-{n:05}-of-{count:05}.gguf" for n in range(1, count + 1))


def problem_of_kind(architecture: str, kind: str, tokenizer: str) -> str | None:
    """Return why a GGUF file with these values of `KIND_KEYS` generates no text, or None."""
    use = _USES.get(kind) or _ARCHITECTURES.get(architecture)
    if use is not None:
        return f"this is {use}"
    if _EMBEDDING.search(architecture):
        makes = "which makes embeddings, not text; use a causal language model"
        return f"this is an encoder ({architecture}), {makes}"
    if tokenizer in _NO_TOKENIZER:
        return f"the file has no tokenizer, so no prompt; {CONVERT_AGAIN}"
    return None


def is_folder(path: Path) -> bool:
    """Return whether a path is a folder or a link to one."""
    # Unlike `Path.is_dir`, it raises nothing for a name that is too long.
    return os.path.isdir(path)  # noqa: PTH112


def parts_of(path: Path) -> tuple[Path, ...]:
    """Return the paths of all parts of a split GGUF file by that of one; any other path alone."""
    return tuple(path.with_name(name) for name in part_names(path.name))


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelContent:
    """The files of a model, in the order in which they make its digest."""

    paths: tuple[Path, ...]
    folder: Path | None = None
    """The folder that is the model; None for a file, or the parts of one."""

    @classmethod
    def of(cls, path: Path, parts: Sequence[Path] = ()) -> "ModelContent":
        """Return the content of a model; raises `OSError` or `UnusableFolder`.

        Args:
            path: a file or a folder.
            parts: every part of a split model, or less than two for any other one.
        """
        if parts[1:] or not is_folder(path):
            return cls(paths=tuple(parts) or (path,))
        return cls(paths=tuple(path / name for name in _files_in(path)), folder=path)

    @property
    def is_several(self) -> bool:
        """Whether it is more than one file, or may be."""
        return self.folder is not None or len(self.paths) > 1

    @property
    def size(self) -> int:
        """The bytes of all files; raises `OSError`."""
        return sum(path.stat().st_size for path in self.paths)

    def digest(self, open_file: Callable[[Path], BufferedReader]) -> str:
        """Return the SHA-256 of the files joined, or of the manifest of a folder.

        The manifest is what `sha256sum` prints for the files of the folder.
        """
        whole = hashlib.sha256()
        for path in self.paths:
            with open_file(path) as file:
                if self.folder is None:
                    hashlib.file_digest(file, lambda: whole)
                else:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                    name = path.relative_to(self.folder).as_posix()
                    whole.update(f"{digest}  {name}\n".encode())
        return whole.hexdigest()


def _files_in(folder: Path) -> list[str]:
    """Return the paths in a folder, in the order of their bytes, but for hidden ones."""
    root = Path(os.path.realpath(folder))
    names: list[str] = []
    for path in _visible(folder):
        name = path.relative_to(folder).as_posix()
        if not name.isprintable() or "\\" in name:
            raise UnusableFolder(f"{folder} has a file with an unusable name: {name!r}")
        if not Path(os.path.realpath(path)).is_relative_to(root):
            raise UnusableFolder(f"{path} is a symbolic link that leads out of the model's folder")
        if not stat.S_ISREG(path.stat().st_mode):
            raise UnusableFolder(f"{path} is neither a regular file nor a folder")
        names.append(name)
        if len(names) > MAX_FILES:
            raise UnusableFolder(f"{folder} has more than {MAX_FILES} files")
    if not names:
        raise UnusableFolder(f"{folder}: expected a folder with files, found an empty one")
    return sorted(names, key=os.fsencode)


def _visible(root: Path) -> Iterator[Path]:
    """Yield what is in a folder and those below, which may be deeper than calls may nest."""
    folders = [root]
    for folder in folders:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if not entry.is_dir(follow_symlinks=False):
                    yield Path(entry.path)
                elif len(folders) == MAX_FILES:
                    raise UnusableFolder(f"{root} has more than {MAX_FILES} folders")
                else:
                    folders.append(Path(entry.path))
