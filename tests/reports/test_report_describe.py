"""The sentences that every report shares."""

from collections.abc import Callable

import pytest

from repro_gate.core.cells import Cell
from repro_gate.core.goldens import FactChange
from repro_gate.core.report import CellReport
from repro_gate.core.tokens import Generation
from repro_gate.core.verdicts import Inconclusive, Match
from repro_gate.reports.describe import Description, advise, describe
from repro_gate.reports.foreign import change_line, message, one_line


@pytest.mark.parametrize(
    ("runs", "claim"),
    [(1, "1 run equals the golden"), (10, "10 runs equal each other and the golden")],
)
def test_match_claims_no_more_than_was_run(
    runs: int, claim: str, cell_report: Callable[..., CellReport]
) -> None:
    """A single run is not said to equal others."""
    assert describe(cell_report(Match(), runs=runs)) == Description(claim=claim)


def test_drift_of_one_run_claims_no_agreement(
    drift: Callable[..., CellReport],
    cell: Callable[..., Cell],
    generation: Callable[..., Generation],
    cell_report: Callable[..., CellReport],
) -> None:
    """A single run is not said to agree with others either."""
    found = drift(generation("a"), generation("b"), cell())
    once = cell_report(found.verdict, runs=1)

    assert describe(once).claim == "1 run does not equal the golden: they part at output[0]"


def test_reason_and_remedy_are_safe_lines(cell_report: Callable[..., CellReport]) -> None:
    """What an engine says of its failure cannot move a cursor."""
    found = cell_report(Inconclusive(reason="died\x1b[2J", remedy="try\nagain"))

    assert describe(found) == Description(
        claim="not measured, so neither a pass nor drift",
        reason=r"died\x1b[2J",
        remedy=r"try\nagain",
    )


def test_match_leaves_nothing_to_do() -> None:
    """There is advice for a match too, for a report that asks for it."""
    assert advise(Match()) == "Nothing is left to do."


def test_a_reason_without_a_remedy_says_so() -> None:
    """Only what another version or tool measured can have none."""
    assert advise(Inconclusive(reason="x", remedy=None)).startswith("No remedy is known")
    assert advise(Inconclusive(reason="x", remedy="y")) == "Apply the remedy, and check again."


def test_safe_text_is_made_safe_once() -> None:
    """Text that an adapter has escaped already stays as it is."""
    assert one_line(one_line("a\\b\x1b")) == r"a\b\x1b"


def test_endless_message_is_cut() -> None:
    """An engine out of control cannot push the verdicts out of sight."""
    assert message("a" * 1003) == f"{'a' * 1000}... and 3 more characters"


def test_change_says_what_is_not_known() -> None:
    """A fact that one side does not have is no empty fact."""
    changed = FactChange(name="device.driver", before=None, after="560.10")

    assert change_line(changed) == "device.driver: (not said) -> 560.10"
