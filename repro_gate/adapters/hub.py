"""The model hub, through huggingface_hub: an optional extra."""

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from repro_gate.adapters.http.secret import Secret
from repro_gate.errors import MeasurementUnavailable


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
        """Where the repository is kept: two revisions of it side by side."""
        return self.repository if self.revision is None else f"{self.repository}@{self.revision}"


def fetch(hub_file: HubFile, *, into: Path) -> Path:
    """Download a file below `into` and return its path.

    The hub's address and a token come from `HF_ENDPOINT` and `HF_TOKEN`, as everywhere.

    Raises:
        MeasurementUnavailable: the extra is not installed, or the file cannot be had.
    """
    try:
        import huggingface_hub  # noqa: PLC0415 -- an extra that most users do not install
    except ImportError as error:
        raise MeasurementUnavailable(
            "fetching from a hub needs the package huggingface_hub",
            remedy="pip install huggingface_hub",
        ) from error
    name = f"{hub_file.repository}/{hub_file.file}"
    try:
        # Its signature names tqdm, which has no types.
        path = huggingface_hub.hf_hub_download(  # pyright: ignore[reportUnknownMemberType]
            hub_file.repository, hub_file.file, revision=hub_file.revision, local_dir=into
        )
    except Exception as error:
        # The hub's library lets through the exceptions of several others.
        raise MeasurementUnavailable(
            f"{name} could not be fetched: {type(error).__name__}: {_first_line(error)}",
            remedy="check the name and revision in the model's source, the network, HF_ENDPOINT, "
            "and HF_TOKEN for a private repository",
        ) from error
    return Path(path)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return Secret(os.environ.get("HF_TOKEN")).quote(lines[0]) if lines else "no reason given"


def is_installed() -> bool:
    """Tell whether fetching is possible."""
    return importlib.util.find_spec("huggingface_hub") is not None
