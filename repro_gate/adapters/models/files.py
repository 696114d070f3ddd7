"""Model files: built in, from a hub or a package index, or at a path of the matrix file."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from repro_gate.adapters.engines.environment import minimal_environment, python_module_argv
from repro_gate.adapters.files.atomic import sweep
from repro_gate.adapters.files.untrusted_files import (
    missing_reason,
    open_regular_file,
    recognise_mistake,
    recognise_pointer,
)
from repro_gate.adapters.models.hub import HUB_FORM, HubFile, download, hub_file_of
from repro_gate.adapters.models.packages import (
    PACKAGE_FORM,
    PackageFile,
    fetch_package,
    package_file_of,
)
from repro_gate.core.engines import EngineKind, FileSpec, ModelSpec, another_file
from repro_gate.core.guards import require_name
from repro_gate.core.text import escape_text
from repro_gate.errors import InputInvalid, MeasurementUnavailable
from repro_gate.model_files import ModelContent, UnusableFolder, is_folder, part_names, parts_of
from repro_gate.ports import ModelFile

_HEAD_BYTES = 1024
_SCHEMES = ("hf:", "builtin:", "package:")
_MAKING_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedModels:
    """The model files of a matrix; built-in and downloaded ones are in a cache folder."""

    beside: Path
    """The folder of the matrix file, to which paths are relative."""
    cache: Path
    pins: Mapping[str, str]
    """SHA-256 digests pinned by the first recording, by model."""

    def locate(self, model: ModelSpec) -> ModelFile:
        """Return the files of a model, after making them if they are built in.

        Raises:
            MeasurementUnavailable: one is missing, with a remedy, or is something else, such as a
                Git LFS pointer.
        """
        if not model.has_files:
            return ModelFile(path=None, sha256=None)
        first, *lora = (self._locate(file, model.engine.kind) for file in model.files)
        return replace(first, lora=tuple(lora))

    def fetch(self, model: ModelSpec) -> ModelFile:
        """Make or download the files of a model, and check that they are the pinned ones.

        Raises:
            MeasurementUnavailable: that failed, or a file is not the pinned one. A download is
                then deleted.
        """
        for file in model.files:
            self._fetch(file)
        located = self.locate(model)
        for file, found in zip(model.files, located.files, strict=True):
            if found.path is None or found.sha256 is None:
                continue
            if (digest := sha256_of(found.path)) != found.sha256:
                raise another_file(file, expected=found.sha256, found=digest)
        return located

    def absence_of(self, model: FileSpec) -> str | None:
        """Return why a file or a part of it is missing, or None if all of it is there."""
        path = self.path_of(model)
        if _may_be_folder(model) and is_folder(path):
            return None
        paths = parts_of(path)
        links = (f"{part} is a symbolic link" for part in paths if paths[1:] and part.is_symlink())
        return next(chain(filter(None, map(missing_reason, paths)), links), None)

    def _locate(self, model: FileSpec, kind: EngineKind) -> ModelFile:
        path = self.path_of(model)
        if model.source.startswith("builtin:"):
            self._make(model, path)
        elif kind.is_llama_cpp and is_folder(path):
            raise _no_folder(model, path)
        elif (absence := self.absence_of(model)) is not None:
            raise MeasurementUnavailable(
                f"model {model.key} is missing: {absence}",
                remedy=absence_remedy(model),
            )
        _require_content(model, _content_of(path), kind)
        return ModelFile(path=path, sha256=self.expected_sha256(model))

    def _fetch(self, model: FileSpec) -> None:
        path = self.path_of(model)
        if not model.source.startswith(("hf:", "package:")) or self._is_up_to_date(model, path):
            return
        paths = parts_of(path)
        # Parts that are there already are kept, unless all are.
        for part in [part for part in paths if missing_reason(part)] or paths:
            _remove(part)
        if model.source.startswith("hf:"):
            self._fetch_from_hub(model, paths)
        else:
            fetch_package(_package_file(model), to=path, environ=os.environ)
        self._require_pinned(model, path)

    def path_of(self, model: FileSpec) -> Path:
        """Return the path of a model's file, which need not exist."""
        if not model.source.isprintable():
            raise MeasurementUnavailable(
                f"the source of {model.key} names no file: {model.source!r}",
                remedy=_source_remedy(model),
            )
        kind, _, rest = model.source.partition(":")
        if kind == "builtin":
            _require_recipe_name(model, rest)
            # Files of different versions of a recipe have different names.
            digest = (self.expected_sha256(model) or "unpinned")[:16]
            return self.cache / "builtin" / f"{rest}-{digest}.gguf"
        if kind == "hf":
            hub_file = _hub_file(model)
            return self.cache / "hf" / hub_file.folder / hub_file.file
        if kind == "package":
            return self.cache / "package" / _package_file(model).place
        try:
            place = self.beside / model.source
            if part_names(place.name)[1:]:
                # The other parts are beside it, and have its name.
                return Path(os.path.realpath(place.parent), place.name)
            # Unlike `Path.resolve`, it accepts a link to itself.
            return Path(os.path.realpath(place))
        except OSError as error:
            raise MeasurementUnavailable(
                f"model {model.key} cannot be found: the working directory was removed",
                remedy="run the command in a folder that exists",
            ) from error

    def expected_sha256(self, model: FileSpec) -> str | None:
        """Return the SHA-256 pinned by the matrix, or else by the first recording."""
        return model.sha256 or self.pins.get(model.key)

    def _is_up_to_date(self, model: FileSpec, path: Path) -> bool:
        if any(map(missing_reason, parts_of(path))):
            return False
        expected = self.expected_sha256(model)
        return expected is None or sha256_of(path) == expected

    def _make(self, model: FileSpec, path: Path) -> None:
        if self._is_up_to_date(model, path):
            return
        expected = self.expected_sha256(model)
        name = model.source.partition(":")[2]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Files of a process that was killed.
            sweep(path.parent, trees=())
        except OSError as error:
            raise MeasurementUnavailable(
                f"{model.key} cannot be written to {path.parent}: {error.strerror}",
                remedy="set REPRO_GATE_CACHE to a writable folder",
            ) from error
        # In a process of its own, because the gate must not import numpy.
        command = [*python_module_argv("repro_gate.tiny_models"), name, str(path)]
        try:
            made = subprocess.run(  # noqa: S603 -- our own module
                command,
                capture_output=True,
                check=False,
                env=minimal_environment(os.environ),
                text=True,
                timeout=_MAKING_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired as error:
            raise MeasurementUnavailable(
                f"making {model.key} took too long", remedy="check again on a less busy machine"
            ) from error
        if made.returncode != 0:
            reason = escape_text(made.stderr.strip().splitlines()[-1] if made.stderr else "")
            raise MeasurementUnavailable(
                f"the built-in model {name} could not be made: {reason}",
                remedy="correct the name after builtin: in the matrix, or free space for "
                f"{path.parent}",
            )
        digest = str(json.loads(made.stdout)["sha256"])
        if expected is not None and digest != expected:
            raise MeasurementUnavailable(
                f"this repro-gate makes {name} with the sha256 {digest}, but the matrix wants "
                f"{expected}",
                remedy=another_file(model, expected=expected, found=digest).remedy,
            )

    def _fetch_from_hub(self, model: FileSpec, paths: Sequence[Path]) -> None:
        hub_file = _hub_file(model)
        for name, path in zip(part_names(hub_file.file), paths, strict=True):
            if missing_reason(path):
                into = self.cache / "hf" / hub_file.folder
                fetched = download(replace(hub_file, file=name), into=into)
                if fetched != path:
                    fetched.replace(path)

    def _require_pinned(self, model: FileSpec, path: Path) -> None:
        """Delete a downloaded file that is not the pinned one."""
        expected = self.expected_sha256(model)
        digest = sha256_of(path) if expected else None
        if digest != expected:
            for part in parts_of(path):
                part.unlink()
            raise MeasurementUnavailable(
                f"the file downloaded for {model.key} has the sha256 {digest}, but {expected} is "
                f"pinned; the file was deleted",
                remedy="name the version of the pinned file in the model's source, or change the "
                "pin if the new file is intended",
            )


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise MeasurementUnavailable(
            f"{path} cannot be replaced: {error.strerror}", remedy=f"remove {path}"
        ) from error


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, all parts of a split one, or a folder, in hexadecimal digits.

    Raises:
        MeasurementUnavailable: something of it cannot be read.
    """
    try:
        return _content_of(path).digest(open_regular_file)
    except InputInvalid as error:
        remedy = "put the model file there, or correct the source of the model in the matrix"
        raise MeasurementUnavailable(str(error), remedy=remedy) from error
    except OSError as error:
        raise MeasurementUnavailable(
            f"{error.filename or path} cannot be read: {error.strerror}",
            remedy="make the file readable, or replace it",
        ) from error


def size_of_several(path: Path) -> int | None:
    """Return the bytes of a split model or a folder; None for one file, or if it is unknown."""
    with suppress(OSError, MeasurementUnavailable):
        content = _content_of(path)
        return content.size if content.is_several else None
    return None


def _content_of(path: Path) -> ModelContent:
    try:
        return ModelContent.of(path, parts_of(path))
    except UnusableFolder as error:
        raise MeasurementUnavailable(
            str(error), remedy="copy what the model needs into a folder of its own"
        ) from error
    except OSError as error:
        raise MeasurementUnavailable(
            f"{error.filename} cannot be read: {error.strerror}",
            remedy="make the folder readable, or replace it",
        ) from error


def absence_remedy(model: FileSpec) -> str:
    """Return how to get the file of a model."""
    if model.source.startswith(_SCHEMES):
        return f"repro-gate models fetch {model.name}"
    return f"put the file there, or {_source_remedy(model)}"


def _source_remedy(model: FileSpec) -> str:
    return f"correct the source of {model.place} in the matrix"


def _may_be_folder(model: FileSpec) -> bool:
    is_path = not model.source.startswith(_SCHEMES)
    return is_path and isinstance(model, ModelSpec) and not model.engine.kind.is_llama_cpp


def _no_folder(model: FileSpec, path: Path) -> MeasurementUnavailable:
    return MeasurementUnavailable(
        f"model {model.key} is a folder, and the engine loads GGUF files: {path}",
        remedy=f"name a GGUF file as the source of {model.place}, or the first part of one; "
        "convert_hf_to_gguf.py makes one of a Hugging Face checkpoint",
    )


def _require_content(model: FileSpec, content: ModelContent, kind: EngineKind) -> None:
    """Raise `MeasurementUnavailable` for a file that is not a model; GGUF is left to the engine.

    Other engines may read anything, but one of several files is never a pointer.
    """
    if not kind.is_llama_cpp and not content.is_several:
        return
    recognise = recognise_mistake if kind.is_llama_cpp else recognise_pointer
    for path in content.paths:
        try:
            with open_regular_file(path) as stream:
                mistaken = recognise(stream.read(_HEAD_BYTES))
        except (InputInvalid, OSError) as error:
            raise MeasurementUnavailable(str(error), remedy=absence_remedy(model)) from error
        if mistaken is not None:
            what, _, remedy = mistaken.partition("; ")
            raise MeasurementUnavailable(
                f"model {model.key} is missing: {path} is {what}",
                remedy=remedy or absence_remedy(model),
            )


def _require_recipe_name(model: FileSpec, name: str) -> None:
    try:
        require_name(name)
    except ValueError as error:
        raise MeasurementUnavailable(
            f"the source of {model.key}: {error}", remedy=_source_remedy(model)
        ) from error


def _hub_file(model: FileSpec) -> HubFile:
    hub_file = hub_file_of(model.source)
    if hub_file is None:
        raise MeasurementUnavailable(
            f"the source of {model.key} must be {HUB_FORM}, and is {model.source!r}",
            remedy=_source_remedy(model),
        )
    return hub_file


def _package_file(model: FileSpec) -> PackageFile:
    package_file = package_file_of(model.source)
    if package_file is None:
        raise MeasurementUnavailable(
            f"the source of {model.key} must be {PACKAGE_FORM}, and is {model.source!r}",
            remedy=_source_remedy(model),
        )
    return package_file
