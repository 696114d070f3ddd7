"""Shards of a workspace, measured one after the other."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cli.workspaces import Ran, Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A workspace whose whole matrix was checked, and then each half of it as a shard."""

    workspace: Workspace
    whole: Any

    @property
    def shards(self) -> Path:
        """The folder of the two report folders."""
        return self.workspace.folder / "shards"

    def download(self, folder: Path) -> Path:
        """Return both shards in a folder of their own, to be changed."""
        return Path(shutil.copytree(self.shards, folder / "download"))

    def merge(self, *folders: Path, to: Path, also: tuple[str, ...] = ()) -> Ran:
        """Put shards together in the workspace that they are of."""
        return self.workspace.run("merge", *map(str, folders), "--output", str(to), *also)


def measure(workspace: Workspace, number: int, *arguments: str) -> Ran:
    """Measure one of two shards of a workspace."""
    return workspace.run(
        "check", "--shard", f"{number}/2", "--output", f"shards/{number}", *arguments
    )


def measured_in(workspace: Workspace, *, codes: tuple[int, int, int]) -> Measured:
    """Measure the whole and both shards of a workspace, which end with these exit codes."""
    whole = workspace.run("check").code
    assert (whole, *(measure(workspace, number).code for number in (1, 2))) == codes
    return Measured(workspace=workspace, whole=workspace.document())


def read_json(file: Path) -> Any:
    """Return the content of a JSON file."""
    return json.loads(file.read_text("utf-8"))
