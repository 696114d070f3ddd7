"""`review.json`: what a review of a report rejected and skipped, so that it can be resumed."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from repro_gate.adapters.files.atomic import write_atomically
from repro_gate.adapters.files.parsing import Limits, json_of
from repro_gate.adapters.files.results import MAX_SHARD_BYTES, REPORT
from repro_gate.adapters.files.untrusted_files import read_regular_file, require_no_link
from repro_gate.core.changes.review import Decision
from repro_gate.errors import InputInvalid
from repro_gate.strict_json import InvalidJson, choice, exact_table, string, table

FILE: Final = "review.json"
_SCHEMA: Final = "repro-gate/review/v1"
_LIMITS: Final = Limits(max_bytes=32 << 20, max_values=500_000)
_KEPT: Final = (Decision.REJECTED, Decision.SKIPPED)
"""What was accepted is in the goldens."""


class ReviewDecisions:
    """The decisions on one report, in a file beside it."""

    def __init__(self, folder: Path) -> None:
        """Bind the file to the report that is in the folder now; raises `InputInvalid`."""
        self.file = folder / FILE
        report = folder / REPORT
        data = read_regular_file(report, max_bytes=MAX_SHARD_BYTES, may_be_link=False)
        self._report = hashlib.sha256(data).hexdigest()

    def read(self) -> Mapping[str, Decision] | None:
        """Return the decisions by cell id; None when the file is about another report.

        Raises:
            InputInvalid: the file is not valid.
        """
        if not os.path.lexists(self.file):
            return {}
        require_no_link(self.file.parent)
        data = read_regular_file(self.file, max_bytes=_LIMITS.max_bytes, may_be_link=False)
        document = json_of(data, self.file, _LIMITS)
        try:
            found = exact_table(document, "", keys=("schema", "report", "decisions"))
            choice(found["schema"], "schema", (_SCHEMA,))
            report = string(found["report"], "report")
            decisions = {
                name: Decision(choice(word, "decisions", _KEPT))
                for name, word in table(found["decisions"], "decisions").items()
            }
        except InvalidJson as error:
            raise InputInvalid.at(
                self.file,
                error.place,
                expected=error.expected,
                found=f"{error.found}; remove the file to begin the review again",
            ) from error
        return decisions if report == self._report else None

    def write(self, decisions: Mapping[str, Decision]) -> None:
        """Replace the decisions in one step; raises OSError."""
        kept = {name: word for name, word in sorted(decisions.items()) if word in _KEPT}
        document = {"schema": _SCHEMA, "report": self._report, "decisions": kept}
        write_atomically(self.file, f"{json.dumps(document, indent=1, ensure_ascii=True)}\n")
