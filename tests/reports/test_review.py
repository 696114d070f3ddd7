"""A change of a review on a screen of any size."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.text import Text
from syrupy.assertion import SnapshotAssertion

from repro_gate.core.cause import diagnose
from repro_gate.core.changes.groups import ChangeGroup, change_groups
from repro_gate.core.changes.review import Change, Decision, Order, ReviewState, step
from repro_gate.core.report import CellReport
from repro_gate.core.tokens.golden import FactChange
from repro_gate.core.tokens.verdicts import Drift, Unrecorded
from repro_gate.reports.explain import render_explanation
from repro_gate.reports.review import ShownChange, render_change, summary_lines
from tests.fakes.hostile_text import HOSTILE
from tests.fakes.reports import drifted, every_verdict, ran, report_of
from tests.fakes.values import cell_of

KV = FactChange(name="setting.kv_type", before="f32", after="f16")
REFUSAL = "nondeterministic: its runs differ from each other"


def _drifts(*prompts: str, change: FactChange = KV) -> list[CellReport]:
    found: list[CellReport] = []
    for prompt in prompts:
        cell = drifted(cell_of(prompt))
        assert isinstance(cell.verdict, Drift)
        found.append(replace(cell, verdict=replace(cell.verdict, provenance=(change,))))
    return found


def _state_of(groups: Sequence[ChangeGroup], order: Order = Order.CAUSE) -> ReviewState:
    changes = [
        Change(
            cell_id=cell.id,
            cause=group.id,
            refusal=REFUSAL if group.kind.startswith("nondeterministic") else None,
        )
        for group in groups
        for cell in group.cells
    ]
    return ReviewState(changes=tuple(changes), order=order)


def _shown(state: ReviewState, cells: Sequence[CellReport], width: int) -> ShownChange:
    report = report_of(*cells)
    (group,) = (each for each in change_groups(report) if each.id == state.change.cause)
    cell = next(each for each in group.cells if each.id == state.change.cell_id)
    found = diagnose(cell, facts={}, committed=None)
    return ShownChange(
        cell=cell,
        group=group,
        golden=f"snapshots/goldens/cpu-test/{cell.id}.json",
        has_golden=isinstance(cell.verdict, Drift),
        explanation=render_explanation(report, cell, found, None, width=width),
    )


def _screen(
    keys: str,
    cells: Sequence[CellReport],
    *,
    width: int = 80,
    height: int = 200,
    order: Order = Order.CAUSE,
) -> list[str]:
    """Return the lines that are shown after some keys."""
    state = _state_of(change_groups(report_of(*cells)), order)
    for key in keys:
        state = step(state, key).state
    shown = _shown(state, cells, width)
    return [line.plain for line in render_change(state, shown, width=width, height=height)]


def test_a_change_is_shown_with_its_cause(snapshot: SnapshotAssertion) -> None:
    """The shared facts, the divergence, the golden and the other changes."""
    assert "\n".join(_screen("rn", _drifts("a", "b", "c"))) == snapshot


def test_a_change_without_a_golden_shows_what_was_observed() -> None:
    """There is nothing to compare it with."""
    unrecorded = Unrecorded(reason="there is no golden for this profile")

    lines = _screen("", [ran(cell_of("a"), unrecorded)])

    assert '  observed  " 7 8 9 10"' in lines
    assert "golden snapshots/goldens/cpu-test/tiny--a--seed42.json (new)" in lines
    assert "  no changed fact of the provenance" in lines
    assert lines[-1] == "[a]ccept  [r]eject  [s]kip  [?] help  [q]uit"


def test_a_change_that_cannot_be_accepted_has_no_such_key() -> None:
    """The reason is shown in its place."""
    cells = [cell for cell in every_verdict() if cell.verdict.word == "nondeterministic"]

    lines = _screen("", cells)

    assert f"cannot be accepted: {REFUSAL}" in lines
    assert lines[-1] == "[r]eject  [s]kip  [?] help  [q]uit"


def test_a_note_is_above_the_keys() -> None:
    """It is about the last key."""
    assert _screen("b", _drifts("a"))[-2] == "! nothing was decided before this change"


def test_what_was_decided_is_shown_on_the_way_back() -> None:
    """And it can be decided again."""
    lines = _screen("sb", _drifts("a", "b"))

    assert "decided: skipped" in lines
    assert "> tiny--a--seed42 (skipped)" in lines


def test_by_cell_no_list_of_the_cause_is_shown() -> None:
    """Only the change itself."""
    lines = _screen("", _drifts("a", "b"), order=Order.CELL)

    assert not any(line.startswith(">") for line in lines)


def test_many_changes_with_a_cause_are_listed_around_the_shown_one() -> None:
    """At most thirty of them."""
    names = [f"p{number:02}" for number in range(40)]

    lines = _screen("n" * 35, _drifts(*names))

    listed = [line for line in lines if line.startswith((">", "  tiny--"))]
    assert (len(listed), "> tiny--p35--seed42" in listed, listed[0]) == (
        30,
        True,
        "  tiny--p10--seed42",
    )
    assert "  and 10 more" in lines


def test_the_help_names_every_key() -> None:
    """It replaces the change."""
    lines = _screen("?", _drifts("a"))

    assert [line[0] for line in lines[1:-1] if line[1:3] in {"  ", ", "}] == list("arsAnbmq")
    assert lines[-1] == "any other key closes the help  [q]uit"


def test_pages_show_every_line_once() -> None:
    """After the last page the first one follows."""
    whole = _screen("", _drifts("a", "b"))
    pages = [_screen("m" * count, _drifts("a", "b"), height=16) for count in range(9)]

    count = int(pages[0][-1].partition("[m]ore 1/")[2].partition(" ")[0])
    bodies = [line for page in pages[:count] for line in page if line in whole[1:-2]]
    assert [line for line in bodies if line] == [line for line in whole[1:-2] if line]
    assert pages[count][1:-2] == pages[0][1:-2]


@given(width=st.integers(40, 200), height=st.integers(16, 60), keys=st.text("nbmr?", max_size=6))
def test_a_screen_is_within_the_terminal(width: int, height: int, keys: str) -> None:
    """Unless it is very small; also with characters that take two columns."""
    wide = FactChange(name="setting.名前", before="値" * 99, after="b")

    lines = _screen(keys, _drifts("a", "b", change=wide), width=width, height=height)

    assert max(map(cell_len, lines)) <= width
    assert len(lines) < height


@pytest.mark.parametrize("text", HOSTILE)
def test_untrusted_text_cannot_control_the_terminal(text: str) -> None:
    """Not in facts, nor in the reason of a verdict."""
    change = FactChange(name=f"setting.{text}", before=text, after="b")
    reason = Unrecorded(reason=f"x{text}")

    lines = [*_screen("", _drifts("a", change=change)), *_screen("", [ran(cell_of("a"), reason)])]

    assert all(line.isprintable() for line in lines)


def test_both_sides_have_their_colours() -> None:
    """The golden is red and what was observed is green."""
    cells = _drifts("a")
    state = _state_of(change_groups(report_of(*cells)))
    shown = replace(_shown(state, cells, 80), explanation="  - golden\n  + observed\n")

    lines = render_change(state, shown, width=80, height=40)

    assert Text("  - golden", "red") in lines
    assert Text("  + observed", "green") in lines


def test_the_summary_counts_decisions() -> None:
    """With the rejected cells, and what had a golden already."""
    changes = [Change(cell_id=name, cause="c") for name in "abcd"]
    decisions = {"a": Decision.ACCEPTED, "b": Decision.REJECTED, "c": Decision.SKIPPED}

    assert list(summary_lines(changes, decisions, recorded=5)) == [
        "1 accepted, 1 rejected, 1 skipped, 1 left; 5 accepted before",
        "rejected: b",
    ]
    assert list(summary_lines([], {}, recorded=0)) == [
        "Nothing to review: the check observed no change of tokens."
    ]
