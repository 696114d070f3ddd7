"""Metadata of a distribution: the README with absolute links, which package indexes need."""

import os
import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

REPOSITORY = "REPRO_GATE_REPOSITORY"
"""Variable with the address of the repository that releases. Without it links stay as they are."""
_RELATIVE = re.compile(r"(\]\()(?![a-z]+:|#)")


class LinkedReadme(MetadataHookInterface):
    """Adds the README and the addresses of the project."""

    def update(self, metadata: dict[str, object]) -> None:
        """Add the dynamic fields to the metadata."""
        text = (Path(self.root) / "README.md").read_text("utf-8")
        urls = {}
        if repository := os.environ.get(REPOSITORY, "").rstrip("/"):
            files = f"{repository}/blob/v{metadata['version']}"
            text = _RELATIVE.sub(rf"\g<1>{files}/", text)
            urls = {
                "Repository": repository,
                "Documentation": f"{files}/docs/README.md",
                "Changelog": f"{files}/CHANGELOG.md",
            }
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
        metadata["urls"] = urls
