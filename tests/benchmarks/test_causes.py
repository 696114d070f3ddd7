"""The program that plants causes of other outputs, and the table that it made."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.causes import Found, find, is_expected, report, tiny_model
from benchmarks.planted import CAUSES, Expected, Planted, digest, matrix
from benchmarks.workplace import Workplace
from repro_gate.core.cause import Cause
from repro_gate.core.tokens.grade import GradeWord
from repro_gate.errors import MeasurementUnavailable
from tests.fakes.values import grade_of

_REPORT = Path(__file__).resolve().parents[2] / "docs" / "examples" / "causes" / "report.md"


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """Return a folder with the goldens and references of a tiny model."""
    folder = tmp_path_factory.mktemp("causes")
    model = tiny_model(folder)
    place = Workplace(folder, model)
    place.record(matrix(sha256=digest(model)))
    return place


@pytest.mark.parametrize(
    "planted", [cause for cause in CAUSES if cause.is_quick], ids=lambda cause: cause.name
)
def test_a_planted_cause_is_found_as_expected(workplace: Workplace, planted: Planted) -> None:
    """By a check as a user runs it, and by its explanation."""
    found = find(workplace, planted)
    assert is_expected(planted, found), found


def test_the_published_report_has_every_cause() -> None:
    """What the command printed last is about the present causes."""
    published = _REPORT.read_text("utf-8").splitlines()
    rows = [line for line in published if line.startswith("| ")][1:]
    assert [row.split(" | ")[0] for row in rows] == [f"| {cause.name}" for cause in CAUSES]
    others = [line for line in published if line and line not in rows]
    assert others == [line for line in report([]).splitlines() if line]


_ROUNDED = Expected(
    tokens=None, logits=True, grades=[GradeWord.CONSISTENT], causes=[Cause.ROUNDING]
)


@pytest.mark.parametrize(
    "other",
    [
        {"moved": 0},
        {"has_other_file": True},
        {"grade": grade_of(p_value=0.001)},
        {"grade": None},
        {"causes": {"sampler": 1}},
    ],
)
def test_what_is_not_expected_is_found(other: dict[str, Any]) -> None:
    """Above all a cause that nothing shows."""
    found = Found(
        cells=20,
        drifted=0,
        moved=20,
        has_other_file=False,
        grade=grade_of(),
        causes={"rounding": 20},
    )
    planted = Planted(name="a change", expected=_ROUNDED)
    assert is_expected(planted, found)
    assert not is_expected(planted, replace(found, **other))


def test_a_fault_of_the_program_is_no_finding(workplace: Workplace) -> None:
    """An engine that refuses every cell shows nothing of what was planted."""
    refusing = Planted(
        name="refused", fault={"sampling": {"samplers": ["temperature"]}}, expected=_ROUNDED
    )
    with pytest.raises(MeasurementUnavailable):
        find(workplace, refusing)
