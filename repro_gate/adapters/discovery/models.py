"""Finds GGUF files: in a folder and in the caches of known programs, and never outside of them."""

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from repro_gate.adapters.discovery.gguf import HeaderValue, read_header
from repro_gate.adapters.files.parsing import Limits, json_of
from repro_gate.adapters.files.untrusted_files import missing_reason, read_regular_file
from repro_gate.adapters.models.hub import hub_file_of
from repro_gate.core.start.machine import GgufModel, Place
from repro_gate.errors import InputInvalid
from repro_gate.model_files import KIND_KEYS, part_names, parts_of, problem_of_kind
from repro_gate.strict_json import items_at, value_at

_NAME: Final = "general.name"
_CONTEXT: Final = ".context_length"
_TEMPLATE: Final = "tokenizer.chat_template"
_SUFFIX: Final = ".gguf"
_MAX_DEPTH: Final = 3
_CACHE_DEPTH: Final = 6
"""A cache of Hugging Face has `models--OWNER--REPO/snapshots/REVISION/FOLDER/FILE`."""
_MAX_ENTRIES: Final = 20_000
_MAX_FILES: Final = 40
_SECONDS: Final = 3.0
_NOT_LOOKED_INTO: Final = frozenset(
    {"__pycache__", "build", "dist", "node_modules", "site-packages", "snapshots", "venv"}
)
"""In the working folder, besides hidden folders."""
_MANIFEST: Final = Limits(max_bytes=1 << 16, max_values=2_000)
_OLLAMA_MODEL: Final = "application/vnd.ollama.image.model"
_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})")
_HUB_PARTS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Where to look."""

    folder: Path
    """The working folder."""
    home: Path
    cache: Path
    """Of repro-gate."""
    environ: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class _Limit:
    """How much may still be looked at."""

    clock: Callable[[], float]
    entries: int = _MAX_ENTRIES
    ends: float = 0.0

    def __post_init__(self) -> None:
        self.ends = self.clock() + _SECONDS

    @property
    def is_reached(self) -> bool:
        """Whether to stop."""
        return self.entries <= 0 or self.clock() > self.ends


def find_models(
    where: Surroundings, *, clock: Callable[[], float] = time.monotonic
) -> tuple[tuple[GgufModel, ...], tuple[str, ...]]:
    """Return the models that generate text, the best first, and notes on what was left out."""
    limit = _Limit(clock=clock)
    models: dict[Path, GgufModel] = {}
    skipped: list[str] = []
    for path, place, title, source in _candidates(where, limit):
        if len(models) + len(skipped) >= _MAX_FILES or limit.is_reached:
            skipped.append("further files: the search ended at its limit")
            break
        try:
            model = model_of(path, place)
        except InputInvalid as error:
            skipped.append(str(error))
            continue
        shown = os.path.relpath(path, where.folder) if place is Place.FOLDER else model.shown
        named = replace(model, source=source, title=title or model.title, shown=shown)
        models.setdefault(Path(os.path.realpath(path)), named)
    skipped += _links_elsewhere(where.folder)
    order = list(Place)
    found = sorted(models.values(), key=lambda each: (order.index(each.place), each.size))
    return tuple(found), tuple(skipped)


def model_of(path: Path, place: Place) -> GgufModel:
    """Return what the header of a file shows.

    Raises:
        InputInvalid: it is no model that generates text, or lacks parts.
    """
    first = path.with_name(part_names(path.name)[0])
    _require_parts(path, parts_of(first))
    header = read_header(first, (*KIND_KEYS, _NAME, _CONTEXT, _TEMPLATE))
    kind = [_text(header, key) for key in KIND_KEYS]
    problem = problem_of_kind(*kind)
    if problem is not None:
        raise InputInvalid.at(path, "", expected="a model that generates text", found=problem)
    context = header.get(_CONTEXT)
    return GgufModel(
        path=first.absolute(),
        shown=str(first),
        place=place,
        title=_text(header, _NAME) or first.stem,
        architecture=kind[0],
        size=sum(part.stat().st_size for part in parts_of(first)),
        context=context if type(context) is int and context > 0 else None,
        template=_text(header, _TEMPLATE) or None,
    )


def _require_parts(path: Path, parts: Sequence[Path]) -> None:
    missing = next(filter(None, map(missing_reason, parts)), None)
    if missing is not None:
        raise InputInvalid.at(path, "", expected="a GGUF file, with all parts of it", found=missing)
    if parts[1:] and any(part.is_symlink() for part in parts):
        found = "symbolic links, which an engine refuses; copy the files"
        raise InputInvalid.at(path, "", expected="the parts of a model as files", found=found)


def _text(header: Mapping[str, HeaderValue], key: str) -> str:
    value = header.get(key)
    return value if isinstance(value, str) else ""


def _candidates(
    where: Surroundings, limit: _Limit
) -> Iterator[tuple[Path, Place, str, str | None]]:
    """Yield each file with its place, its name there, and what fetches it elsewhere."""
    environ, home = where.environ, where.home
    for path in _files_in(where.folder, limit, _MAX_DEPTH, is_cache=False):
        yield path, Place.FOLDER, "", None
    fetched = where.cache / "models" / "hf"
    for path in _files_in(fetched, limit, _CACHE_DEPTH):
        yield path, Place.OWN_CACHE, "", _hub_source(path.relative_to(fetched).as_posix())
    cache = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
    hub = Path(environ.get("HF_HOME") or cache / "huggingface") / "hub"
    hub = Path(environ.get("HF_HUB_CACHE") or hub)
    for path in _files_in(hub, limit, _CACHE_DEPTH):
        yield path, Place.HUGGING_FACE, "", _source_in_hub_cache(path.relative_to(hub))
    for path in _files_in(Path(environ.get("LLAMA_CACHE") or cache / "llama.cpp"), limit, 1):
        yield path, Place.LLAMA_CPP, "", None
    for folder in (home / ".lmstudio" / "models", cache / "lm-studio" / "models"):
        for path in _files_in(folder, limit, _MAX_DEPTH):
            yield path, Place.LM_STUDIO, "", None
    ollama = Path(environ.get("OLLAMA_MODELS") or home / ".ollama" / "models")
    for path, title in _ollama(ollama, limit):
        yield path, Place.OLLAMA, title, None


def _files_in(root: Path, limit: _Limit, depth: int, *, is_cache: bool = True) -> Iterator[Path]:
    """Yield the GGUF files of a folder, of a split one the first part, nearest first."""
    for path in _entries(root, limit, depth, is_cache=is_cache):
        name = path.name
        if name.lower().endswith(_SUFFIX) and part_names(name)[0] == name:
            yield path


def _entries(root: Path, limit: _Limit, depth: int, *, is_cache: bool = True) -> Iterator[Path]:
    """Yield the files of a folder; a link counts if it leads to a file inside of the folder."""
    real_root = Path(os.path.realpath(root))
    folders = [(root, 0)]
    for folder, level in folders:
        for entry in _listed(folder):
            limit.entries -= 1
            if limit.is_reached:
                return
            path = Path(entry.path)
            if _is_folder(entry):
                if level < depth and (is_cache or _is_looked_into(entry.name)):
                    folders.append((path, level + 1))
            elif not entry.is_symlink() or Path(os.path.realpath(path)).is_relative_to(real_root):
                yield path


def _links_elsewhere(folder: Path) -> Iterator[str]:
    """Yield a note on each link of a folder to a GGUF file elsewhere."""
    real_folder = Path(os.path.realpath(folder))
    for entry in _listed(folder):
        is_link = entry.name.lower().endswith(_SUFFIX) and entry.is_symlink()
        if is_link and not Path(os.path.realpath(entry.path)).is_relative_to(real_folder):
            yield f"{entry.name}: a link to another folder; to use it: repro-gate init FILE"


def _is_looked_into(name: str) -> bool:
    return not name.startswith(".") and name not in _NOT_LOOKED_INTO


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _listed(folder: Path) -> "list[os.DirEntry[str]]":
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []


def _source_in_hub_cache(path: Path) -> str | None:
    """Return the source of `models--OWNER--REPO/snapshots/REVISION/FILE`."""
    folder, *rest = path.parts
    names = folder.split("--")
    if len(names) != _HUB_PARTS or names[0] != "models" or rest[:1] != ["snapshots"]:
        return None
    _, revision, *file = rest
    return _hub_source(f"{names[1]}/{names[2]}@{revision}/{'/'.join(file)}")


def _hub_source(name: str) -> str | None:
    source = f"hf:{name}"
    return source if hub_file_of(source) is not None and source.isprintable() else None


def _ollama(root: Path, limit: _Limit) -> Iterator[tuple[Path, str]]:
    """Yield the file and the name of each model of Ollama, by its manifests."""
    for manifest in _entries(root / "manifests", limit, _MAX_DEPTH):
        try:
            data = read_regular_file(manifest, max_bytes=_MANIFEST.max_bytes, may_be_link=False)
            document = json_of(data, manifest, _MANIFEST)
        except InputInvalid:
            continue
        for layer in items_at(document, "layers"):
            digest = value_at(layer, "digest")
            match = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
            if match and value_at(layer, "mediaType") == _OLLAMA_MODEL:
                yield root / "blobs" / f"sha256-{match[1]}", ":".join(manifest.parts[-2:])
