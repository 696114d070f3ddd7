"""`DIR/evidence.json`: all that a check leaves behind, for the commands that tell of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from repro_gate.adapters import lossless_files as files
from repro_gate.adapters.lossless_files import THIS_TOOL, Tool
from repro_gate.core.consistency import contradiction_in
from repro_gate.core.evidence import Evidence, Finished

FILE: Final = "evidence.json"
SCHEMA: Final = "repro-gate/evidence/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceFile:
    """What a check left behind: a report, or why there is none."""

    schema: Literal["repro-gate/evidence/v1"]
    tool: Tool
    evidence: Evidence


def write_evidence(folder: Path, evidence: Evidence) -> None:
    """Write what a check leaves behind, and the folder where there is none.

    Raises:
        OSError: it cannot be written.
    """
    content = EvidenceFile(schema=SCHEMA, tool=THIS_TOOL, evidence=evidence)
    files.write_value(folder / FILE, content)


def read_evidence(folder: Path, *, max_bytes: int = files.MAX_BYTES) -> Evidence | None:
    """Return what a check left behind, or None: then it was killed.

    The folder is an untrusted download. What is returned can be rendered by every report; that
    it is true, nobody can know.

    Raises:
        InputInvalid: there is something, but nothing that could be believed.
    """
    file = folder / FILE
    if not files.is_there(file):
        return None
    content: EvidenceFile = files.read_value(file, EvidenceFile, max_bytes=max_bytes)
    if isinstance(content.evidence, Finished):
        found = contradiction_in(content.evidence.report)
        files.require_consistent(file, found, within="evidence.report")
    return content.evidence
