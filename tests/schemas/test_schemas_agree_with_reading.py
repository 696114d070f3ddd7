"""Reading does without the schemas: it must refuse what they refuse, and hardly anything else."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from repro_gate.adapters.evidence_file import SCHEMA as EVIDENCE
from repro_gate.adapters.evidence_file import EvidenceFile
from repro_gate.adapters.files.documents import validate
from repro_gate.adapters.lossless import decode, encode
from repro_gate.adapters.lossless_files import THIS_TOOL
from repro_gate.adapters.lossless_scalars import Refused
from repro_gate.adapters.shard_files import SCHEMA as SHARD
from repro_gate.adapters.shard_files import ShardFile
from repro_gate.core.evidence import Evidence, Finished, Unfinished
from repro_gate.errors import InputInvalid
from tests.fakes.changed_data import changed
from tests.fakes.evidence import report_of, shard_report_of
from tests.reports.random_reports import HOSTILE
from tests.schemas.made_of_types import LAYOUTS

_UNFINISHED = Unfinished(exit_code=3, message="x", remedy=None)
_FINISHED = Finished(report=report_of())
_FILES = (
    ("evidence", EvidenceFile(schema=EVIDENCE, tool=THIS_TOOL, evidence=_FINISHED)),
    ("evidence", EvidenceFile(schema=EVIDENCE, tool=THIS_TOOL, evidence=_UNFINISHED)),
    ("shard", ShardFile(schema=SHARD, tool=THIS_TOOL, shard=shard_report_of())),
)
_CONTENTS = [(name, encode(file, type(file))) for name, file in _FILES]
_BEYOND_A_SCHEMA = ("a consistent ", "printable ", "a printable ", "only one spelling ")
"""What the values themselves refuse, and texts that were never written by `printable`."""


def is_allowed(name: str, data: Any) -> bool:
    """Tell whether the schema of a kind of file allows data."""
    try:
        validate(data, schema=f"{name}-v1", file=Path("x"))
    except InputInvalid:
        return False
    return True


def refusal_of(name: str, data: Any) -> Refused | None:
    """Return why reading refuses data, or None."""
    try:
        decode(data, LAYOUTS[name])
    except Refused as refused:
        return refused
    return None


@pytest.mark.parametrize(("name", "data"), _CONTENTS)
def test_what_is_written_is_allowed(name: str, data: Any) -> None:
    """With every verdict in it."""
    assert is_allowed(name, data)
    assert refusal_of(name, data) is None


@examples(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(HOSTILE.evidences)
def test_whatever_is_written_is_allowed(evidence: Evidence) -> None:
    """Whatever the words in it are."""
    file = EvidenceFile(schema=EVIDENCE, tool=THIS_TOOL, evidence=evidence)

    assert is_allowed("evidence", encode(file, EvidenceFile))


@pytest.mark.parametrize(("name", "data"), _CONTENTS)
@examples(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(drawing=st.data())
def test_reading_refuses_what_a_schema_refuses(
    name: str, data: Any, drawing: st.DataObject
) -> None:
    """Whatever has been changed in a file; and a schema refuses what reading refuses."""
    content = drawing.draw(changed(data))

    refused = refusal_of(name, content)
    if refused is None or not refused.expected.startswith(_BEYOND_A_SCHEMA):
        assert is_allowed(name, content) == (refused is None), refused
