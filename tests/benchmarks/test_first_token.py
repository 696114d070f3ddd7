"""The program that compares the kinds of policies, and the table that it made."""

from dataclasses import replace
from pathlib import Path

from benchmarks.first_token import CHANGES, Prompted, Row, is_expected, items_of, report, row_of
from repro_gate.core.logprobs.draw import Piece
from repro_gate.core.logprobs.policy import PolicyKind

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "first-token" / "report.md"
_COSTS = {PolicyKind.RESPONSE: 50, PolicyKind.FIRST_TOKEN: 30, PolicyKind.GENERATED: 130}


def _listed(moved: float, *, first: int = 0) -> tuple[tuple[Piece, float], ...]:
    """Return thirty likely tokens, of which the best is away by so much."""
    return tuple(
        (Piece(first + rank, b"t"), -0.5 - first / 1000 - 0.3 * rank + moved * (rank == 0))
        for rank in range(30)
    )


def _served(moved: float = 0.0) -> list[Prompted]:
    """Return three prompts, of which the first value of everything is away by so much."""
    lists = tuple(_listed(moved * (place == 0), first=100 * place) for place in range(4))
    one = Prompted(
        cost=_COSTS,
        first=lists[0],
        answer=tuple(listed[0][0] for listed in lists),
        lists=lists,
        response=(-0.5 + moved, -1.5, -0.75, -2.0),
    )
    other = replace(one, first=_listed(-5.0), response=(-9.0, -9.5, -8.0, -7.0))
    after = tuple(_listed(-9.0, first=100 * place) for place in range(4))
    return [one, replace(other, lists=after), one]


def _row(label: str, found: int) -> Row:
    every = dict.fromkeys(PolicyKind, found)
    share = dict.fromkeys(PolicyKind, 0.5)
    return Row(label=label, found=every, cells=share, repeating=every, lt=1, ours=2)


def test_the_published_tables_have_every_row() -> None:
    """What the command printed last is about the present changes."""
    rows = [line.split(" | ")[0] for line in _PAGE.read_text("utf-8").splitlines() if "|" in line]
    labels = [f"| {change.label}" for change in CHANGES]

    assert [row for row in rows if row in labels] == labels * 4


def test_equal_money_buys_fewer_dear_draws() -> None:
    """As many items as the budget of all first tokens allows, and at least one."""
    assert items_of(_served()) == {
        PolicyKind.RESPONSE: 1,
        PolicyKind.FIRST_TOKEN: 3,
        PolicyKind.GENERATED: 1,
    }


def test_a_planted_change_is_found_and_nothing_is_not() -> None:
    """By every kind, and by both versions of S."""
    nothing, *_, changed = CHANGES
    served = {nothing.label: _served(), changed.label: _served(-1.5)}
    quiet, found = (row_of(change, served, checks=2, few=1) for change in (nothing, changed))

    assert set(quiet.repeating.values()) == {0}
    assert set(found.repeating.values()) == {1}
    assert (quiet.lt, quiet.ours, found.lt, found.ours) == (0, 0, 1, 1)


def test_the_page_has_the_figures() -> None:
    """With intervals."""
    page = report([_row("nothing", 1)], _served(), checks=2)

    assert "| nothing | 1 (1% to 99%) | 1 (1% to 99%) | 1 (1% to 99%) |" in page
    assert "| nothing | 50% | 50% | 50% |" in page
    assert "| nothing | 1 | 2 |" in page


def test_false_alarms_and_missed_weights_are_not_as_expected() -> None:
    """The command fails then."""
    rows = [_row(change.label, 0 if "0.8" in change.label else 1) for change in CHANGES]

    assert is_expected(rows, checks=1)
    assert not is_expected([replace(rows[0], found=_row("x", 2).found), *rows[1:]], checks=1)
    assert not is_expected(rows, checks=2)
