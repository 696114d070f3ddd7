"""Model files on a hub, which huggingface_hub downloads."""

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from repro_gate.adapters.http.secret import Secret
from repro_gate.errors import MeasurementUnavailable

HUB_FORM: Final = "hf:OWNER/REPO[@REVISION]/FILE"


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFile:
    """A file of a repository of the hub."""

    repository: str
    """`OWNER/REPO`."""
    file: str
    revision: str | None = None
    """A branch, a tag or a commit; the hub's main branch when None."""

    @property
    def folder(self) -> str:
        """The folder of the repository, one for each revision."""
        return self.repository if self.revision is None else f"{self.repository}@{self.revision}"


def download(hub_file: HubFile, *, into: Path) -> Path:
    """Download a file into a folder and return its path.

    `HF_ENDPOINT` and `HF_TOKEN` apply.

    Raises:
        MeasurementUnavailable: huggingface_hub is not installed, or the download failed.
    """
    try:
        import huggingface_hub  # noqa: PLC0415 -- an extra that most users do not install
    except ImportError as error:
        raise MeasurementUnavailable(
            "downloading from a hub needs the package huggingface_hub",
            remedy="pip install huggingface_hub",
        ) from error
    name = f"{hub_file.repository}/{hub_file.file}"
    try:
        # Its signature contains tqdm, which has no types.
        path = huggingface_hub.hf_hub_download(  # pyright: ignore[reportUnknownMemberType]
            hub_file.repository, hub_file.file, revision=hub_file.revision, local_dir=into
        )
    except Exception as error:
        # The library raises exceptions of several other libraries.
        raise MeasurementUnavailable(
            f"{name} could not be downloaded: {type(error).__name__}: {_first_line(error)}",
            remedy="check the name and revision in the model's source, the network, HF_ENDPOINT, "
            "and HF_TOKEN for a private repository",
        ) from error
    return Path(path)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return Secret(os.environ.get("HF_TOKEN")).quote(lines[0]) if lines else "no reason given"


def is_hub_installed() -> bool:
    """Return whether a hub can be used."""
    return importlib.util.find_spec("huggingface_hub") is not None


def hub_file_of(source: str) -> HubFile | None:
    """Return the file that an `hf:` source names; None when it has another form."""
    owner, _, rest = source.removeprefix("hf:").partition("/")
    repository, _, file = rest.partition("/")
    repository, at, revision = repository.partition("@")
    parts = [owner, repository, *file.split("/"), *([revision] if at else [])]
    if not all(parts) or any(part in {".", ".."} or "\\" in part for part in parts):
        return None
    return HubFile(repository=f"{owner}/{repository}", file=file, revision=revision or None)
