"""`snapshots/models.json`: what the first recording saw of each model."""

import json
from collections.abc import Mapping
from pathlib import Path

from repro_gate.adapters.atomic import write_atomically
from repro_gate.adapters.documents import read_json, validate

SCHEMA = "repro-gate/models/v1"


class ModelPinsFile:
    """The digests of the models that the matrix itself does not pin."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def pinned(self) -> Mapping[str, str]:
        """Return the sha256 of each pinned model by name, or raise `InputInvalid`."""
        if not self._file.exists():
            return {}
        document = read_json(self._file, schema="models-v1")
        digests: dict[str, str] = document["sha256"]
        return digests

    def pin(self, digests: Mapping[str, str]) -> None:
        """Set pins and keep the others; one that is no digest raises `InputInvalid`."""
        document = {"schema": SCHEMA, "sha256": {**self.pinned(), **digests}}
        validate(document, schema="models-v1", file=self._file)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._file, json.dumps(document, indent=2, sort_keys=True) + "\n")
