"""Two generations side by side."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from repro_gate.core.report import CellReport
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.generation import Generation, Token
from repro_gate.reports.findings.divergence import explain
from repro_gate.reports.html.check.tokens import Fork, Side, fork_of
from tests.fakes.values import verification_of

Generate = Callable[..., Generation]
Drifted = Callable[..., CellReport]


def shown(cell: CellReport) -> Fork:
    """Return the divergence of a cell that has one."""
    explanation = explain(cell)
    assert explanation is not None
    return fork_of(cell, explanation)


@pytest.fixture(name="drifted", scope="module")
def _drifted(drift: Drifted, generation: Generate, cell: Callable[..., Cell]) -> CellReport:
    """Return a drift in the fifth token."""
    golden = generation("a b c d e f g h i j k l m n")
    return drift(golden, generation("a b c d x f g"), cell())


def test_a_drift_shows_both_sides_around_the_fork(drifted: CellReport) -> None:
    """Three positions before it and eight after it; the shorter side ends."""
    rows = shown(drifted).rows

    assert [row.position for row in rows] == list(range(1, 13))
    assert [row.position for row in rows if row.is_fork] == [4]
    assert [row.differs for row in rows[:4]] == [False, False, False, True]
    assert [(row.expected.text, row.observed.text) for row in rows[3:5]] == [
        (" e", " x"),
        (" f", " f"),
    ]
    assert [row.observed.words for row in rows[6:8]] == ["(end of sequence)", ""]


def test_a_token_has_the_probability_of_its_trace(drifted: CellReport) -> None:
    """Before the samplers; it is a number and the width of a bar."""
    found = shown(drifted)

    assert found.has_shares
    assert (found.rows[0].expected.percent, found.rows[0].expected.width) == ("60.7%", "60.7")
    assert (Side().percent, Side().width, Side(share=1.0).width) == ("", "0", "100")


def test_without_a_trace_there_is_no_column_of_probabilities(
    drift: Drifted, generation: Generate, cell: Callable[..., Cell]
) -> None:
    """A golden of another engine may have none."""
    found = shown(drift(generation("a b", traced=False), generation("a c", traced=False), cell()))

    assert not found.has_shares


def test_texts_continue_on_both_sides(drifted: CellReport) -> None:
    """After the end of what they share."""
    assert dict(shown(drifted).texts) == {
        "shared before": " a b c d",
        "golden continues": " e f g h i j k l m n",
        "observed continues": " x f g",
    }


def test_of_another_run_one_token_is_known(
    differing_run: Drifted, generation: Generate, cell: Callable[..., Cell]
) -> None:
    """With the probability that the engine gives it, where it can verify."""
    first, other = generation("a b c d"), generation("a b x y")
    found = differing_run(cell(), first, other)
    claim = replace(first, tokens=other.tokens[:3], trace=first.trace[:3])
    verified = replace(found, verification=verification_of(claim))

    for each, has_share in ((found, False), (verified, True)):
        fork, after, _ = shown(each).rows[2:]
        assert (fork.observed.text, fork.observed.share is not None) == (" x", has_share)
        assert (after.observed.words, after.expected.text) == ("(not kept)", " d")
    assert shown(found).expected_by == "run 1"
    assert [label for label, _ in shown(found).texts] == ["shared before", "run 1 continues"]


def test_another_run_may_end_early(
    differing_run: Drifted, generation: Generate, cell: Callable[..., Cell]
) -> None:
    """Then its end is all that is known."""
    found = shown(differing_run(cell(), generation("a b c"), generation("a b")))

    assert [row.observed.words for row in found.rows if row.is_fork] == ["(end of sequence)"]


def test_tokens_of_a_prompt_have_no_probability(
    drift: Drifted, generation: Generate, cell: Callable[..., Cell]
) -> None:
    """They are not generated."""
    moved = generation("one two", prompt="In a galaxy far")
    found = shown(drift(moved, generation("one two", prompt="In a galaxy"), cell()))

    assert (found.place, found.has_shares) == ("prompt[3]", False)
    assert [row.observed.words for row in found.rows if row.is_fork] == ["(end of sequence)"]


def test_digests_of_logits_are_lines(
    drift: Drifted, generation: Generate, cell: Callable[..., Cell]
) -> None:
    """All tokens are equal, so there is no table of them."""
    found = shown(drift(generation("a b", logits="01"), generation("a b", logits="02"), cell()))

    assert (found.place, found.rows) == ("logits[1]", ())
    assert [sign for sign, _ in found.diff] == [" ", "-", "+"]
    assert dict(found.diff)["+"].startswith("[1] digest 2222")


def test_the_first_step_with_other_logits_is_named(
    drift: Drifted, generation: Generate, cell: Callable[..., Cell]
) -> None:
    """Before the tokens differ, or with them."""
    golden, observed = generation("a b c", logits="011"), generation("a b x", logits="022")
    found = shown(drift(golden, observed, cell()))

    assert found.facts[0] == ("logits", "differ from step 1 on")


def test_a_token_without_bytes_has_its_id(
    drift: Drifted, generation: Generate, cell: Callable[..., Cell]
) -> None:
    """Some servers report ids alone."""
    golden, observed = (
        replace(generation("a", traced=False), tokens=(Token(number, None),)) for number in (7, 8)
    )
    (row,) = shown(drift(golden, observed, cell())).rows[:1]

    assert (row.expected.id, row.expected.text, row.observed.id) == ("7", "", "8")
