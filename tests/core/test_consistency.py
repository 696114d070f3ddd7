"""The parts of a report from elsewhere fit together, or the first that does not is named."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from repro_gate.core.consistency import Inconsistency, validate_report, validate_shard
from repro_gate.core.report import GateReport, excerpt_of
from repro_gate.core.shards.report import ShardReport
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.controls import Control
from repro_gate.core.tokens.generation import first_divergence
from repro_gate.core.tokens.grade import GradeReason
from repro_gate.core.tokens.verdicts import Drift, Inconclusive, Match
from tests.fakes.checking import scene_of
from tests.fakes.reports import OTHER_RUN, RUN_1, drifted, ran, report_of, shard_report_of
from tests.fakes.stores import MemoryGoldens
from tests.fakes.values import cell_of, contrast_of, golden_of, grade_of, verification_of

FOX = cell_of("fox")


def place_in(report: GateReport) -> str | None:
    """Return the place of the first inconsistency of a report."""
    found = validate_report(report)
    return None if found is None else found.place


def place_in_shard(report: ShardReport) -> str | None:
    """Return the place of the first inconsistency of the report of a shard."""
    found = validate_shard(report)
    return None if found is None else found.place


def test_a_report_with_every_verdict_fits_together() -> None:
    """The values that these tests change are consistent before."""
    assert validate_report(report_of()) is None
    assert validate_shard(shard_report_of()) is None


def test_the_report_of_a_check_fits_together() -> None:
    """A check among fakes, with a drifted cell, one without a golden and an orphan."""
    goldens = [golden_of(FOX, OTHER_RUN), golden_of(cell_of()), golden_of(cell_of("gone"))]

    report = scene_of(FOX, cell_of(), cell_of("new"), goldens=MemoryGoldens(goldens)).check()

    assert place_in(report) is None


@pytest.mark.parametrize(
    "word", ["--", "--x;rm", "--$(x)", "--a b", "--X", "--a-", "--x\n", "---a", "--prune"]
)
def test_an_option_that_no_reader_should_copy(word: str) -> None:
    """Options are not quoted in a command that a reader copies."""
    report = replace(report_of(), repeat_with=("--device", "$(x)", word))
    identity = replace(shard_report_of().identity, options=(word,))

    assert place_in(report) == "repeat_with[2]"
    assert place_in_shard(replace(shard_report_of(), identity=identity)) == "identity.options[0]"


def test_what_was_found_is_printable() -> None:
    """The words may be an attacker's."""
    found = validate_report(replace(report_of(), repeat_with=("--\x1b[31m",)))

    assert found == Inconsistency(
        place="repeat_with[0]", expected="one of --config, --device", found="--\\x1b[31m"
    )


def test_a_provenance_that_is_not_there() -> None:
    """Each cell refers to one of the provenances of its report."""
    expected = Inconsistency(
        place="cells[0].provenance", expected="one of 1 provenances, counted from 0", found="1"
    )
    first, *others = shard_report_of().cells
    shard = replace(shard_report_of(), cells=(replace(first, provenance=1), *others))

    assert validate_shard(shard) == expected
    assert validate_report(report_of(replace(ran(FOX, Match()), provenance=1))) == expected


def test_a_verification_is_of_the_tokens_that_differ() -> None:
    """Others would give a drift another distance, and a match one."""
    cell = drifted(FOX)
    assert place_in(report_of(cell)) is None
    shorter = replace(cell, verification=cell.verification[:-1])
    others = replace(cell, verification=verification_of(RUN_1))
    matching = replace(ran(FOX, Match()), verification=cell.verification)
    for wrong in (shorter, others, matching):
        assert place_in(report_of(ran(FOX, Match()), wrong)) == "cells[1].verification"


def graded_report(**changes: Any) -> GateReport:
    """Return a report on one drifted and one matching cell, with changes to its grade."""
    report = report_of(drifted(FOX), ran(cell_of(), Match()))
    # The fake verification misses each token by a fiftieth.
    true = replace(
        grade_of(), cells=2, tokens=8, distance=0.01, detectable_shift=None, not_compared=0
    )
    return replace(report, grades=(replace(true, **changes),))


def test_a_grade_fits_its_cells() -> None:
    """As far as they show it without the references."""
    assert place_in(graded_report()) is None
    assert place_in(graded_report(cells=1, distance=0.02)) is None
    assert place_in(graded_report(cells=1, not_compared=1, distance=0.0)) is None


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("cells", {"cells": 3}),
        ("cells", {"cells": 2, "not_compared": 1}),
        ("not_compared", {"not_compared": 2}),
        ("distance", {"distance": 0.001}),
        ("tests", {"tests": 2}),
        ("cells", {"model": "other"}),
        ("cells", {"suite": "other"}),
        ("outlier", {"outlier": "tiny--fox--seed9"}),
        (
            "shown_by",
            {
                "reason": GradeReason.SAMPLER,
                "shown_by": FOX.id,
                "p_value": None,
                "variants": (),
                "tests": 0,
            },
        ),
    ],
)
def test_a_grade_that_its_cells_contradict(field: str, changes: Mapping[str, Any]) -> None:
    """It could excuse a drift, or blame a harmless one."""
    assert place_in(graded_report(**changes)) == f"grades[0].{field}"


def test_a_drift_without_verification_is_not_compared() -> None:
    """Nothing is known of its distance."""
    report = graded_report()
    first, second = report.cells

    bare = replace(report, cells=(replace(first, verification=()), second))

    assert place_in(bare) == "grades[0].not_compared"


def test_what_rounding_cannot_do_has_its_grade() -> None:
    """Statistics of other cells do not excuse another prompt."""
    first, second = graded_report().cells
    golden = golden_of(FOX, replace(OTHER_RUN, prompt=OTHER_RUN.prompt[:1]))
    divergence = first_divergence(golden.generation, RUN_1)
    assert isinstance(first.verdict, Drift)
    assert divergence is not None
    drift = replace(first.verdict, golden=golden, divergence=divergence)
    report = graded_report(cells=1, tokens=4, distance=0.0, not_compared=1)
    cells = (replace(first, verdict=drift, verification=()), second)

    assert place_in(replace(report, cells=cells)) == "grades[0].shown_by"


def test_a_model_has_one_grade_in_a_suite() -> None:
    """A second one could have another word."""
    report = graded_report(tests=2)

    assert place_in(replace(report, grades=report.grades * 2)) == "grades[1]"


def test_a_measured_cell_of_a_model_that_was_not_loaded() -> None:
    """The facts of its model are a part of its provenance."""
    assert validate_shard(replace(shard_report_of(), models={})) == Inconsistency(
        place="models", expected=f"tiny, which {cell_of().id} is of", found="none of that name"
    )


@pytest.mark.parametrize("cell", [cell_of("other"), cell_of("snow"), cell_of(seed=44)])
def test_a_control_of_a_cell_that_was_not_run(cell: Cell) -> None:
    """Its reference is the first run of that cell, or a generation of its own."""
    (control,) = shard_report_of().controls
    lacking = replace(control, contrast=contrast_of(cell))

    def found(*controls: Control) -> Inconsistency | None:
        return validate_shard(replace(shard_report_of(), controls=controls))

    assert found(control, lacking) == Inconsistency(
        place="controls[1].reference",
        expected=f"the output of {cell.id}, which was not run here as a cell",
        found="none",
    )
    assert found(replace(lacking, reference=RUN_1)) is None
    assert found(replace(lacking, problem=Inconclusive(reason="lost", remedy=None))) is None


def test_a_control_without_the_output_that_it_varied() -> None:
    """A seed that no cell has was generated for the control, or it was not run."""
    (control,) = shard_report_of().controls
    controls = (replace(control, generation=None),)

    assert place_in_shard(replace(shard_report_of(), controls=controls)) == "controls[0].generation"


def test_an_excerpt_has_the_grade_of_its_cell() -> None:
    """The other cells that it was computed from are not there."""
    report = graded_report()
    cell = next(one for one in report.cells if isinstance(one.verdict, Drift))
    excerpt = excerpt_of(report, cell)

    assert validate_report(excerpt, is_excerpt=True) is None
    assert validate_report(replace(excerpt, grades=()), is_excerpt=True) is None
    assert place_in(excerpt) is not None


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"cells": ()}, "cells"),
        ({"grades": (replace(grade_of(), model="small"),)}, "grades"),
        ({"grades": (grade_of(), grade_of())}, "grades"),
    ],
)
def test_an_excerpt_is_of_one_cell(changes: Mapping[str, Any], place: str) -> None:
    """So is its grade."""
    report = graded_report()
    cell = next(one for one in report.cells if isinstance(one.verdict, Drift))
    found = validate_report(replace(excerpt_of(report, cell), **changes), is_excerpt=True)

    assert found is not None
    assert found.place == place
