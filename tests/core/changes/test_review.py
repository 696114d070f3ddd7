"""What each key of a review does to its state."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.core.changes.review import (
    KEYS,
    Change,
    Decision,
    Order,
    ReviewState,
    Step,
    begin,
    exit_code_of,
    step,
)
from repro_gate.core.outcome import ExitCode, Outcome

ACCEPTED, REJECTED, SKIPPED = Decision
UNSTABLE = "its runs differ"
CHANGES = (
    Change(cell_id="a1", cause="a"),
    Change(cell_id="a2", cause="a"),
    Change(cell_id="a3", cause="a", refusal=UNSTABLE),
    Change(cell_id="b1", cause="b"),
    Change(cell_id="c1", cause="c", refusal=UNSTABLE),
)
START = ReviewState(changes=CHANGES, order=Order.CAUSE)


def after(keys: str, state: ReviewState = START) -> ReviewState:
    """Return the state after some keys."""
    for key in keys:
        state = step(state, key).state
    return state


def decided(keys: str, state: ReviewState = START) -> tuple[Decision | None, tuple[str, ...]]:
    """Return what the last of some keys decided, and on which cells."""
    last = step(after(keys[:-1], state), keys[-1])
    return last.decision, last.cell_ids


@pytest.mark.parametrize(("key", "decision"), [("a", ACCEPTED), ("r", REJECTED), ("s", SKIPPED)])
def test_a_small_letter_decides_on_the_shown_change(key: str, decision: Decision) -> None:
    """The next undecided one follows."""
    moved = step(START, key)

    expected = replace(START, decisions={"a1": decision}, at=1, visited=(0,))
    assert moved == Step(state=expected, decision=decision, cell_ids=("a1",))


@pytest.mark.parametrize(
    ("key", "decision", "ids"),
    [
        ("A", ACCEPTED, ("a1", "a2")),
        ("R", REJECTED, ("a1", "a2", "a3")),
        ("S", SKIPPED, ("a1", "a2", "a3")),
    ],
)
def test_a_capital_letter_decides_on_all_of_the_cause(
    key: str, decision: Decision, ids: tuple[str, ...]
) -> None:
    """Never on another cause, and never accepting what cannot be accepted."""
    assert decided(key) == (decision, ids)


def test_a_capital_letter_leaves_what_was_decided() -> None:
    """What was skipped is open."""
    assert decided("raA") == (None, ())
    assert decided("rpA") == (ACCEPTED, ("a2",))
    assert decided("sA") == (ACCEPTED, ("a1", "a2"))
    assert decided("arR") == (REJECTED, ("a3",))


@pytest.mark.parametrize("keys", ["nna", "AA"])
def test_a_refused_change_cannot_be_accepted(keys: str) -> None:
    """The reason is shown until the next key that has an effect."""
    state = after(keys)

    assert (state.change.cell_id, state.note) == ("a3", f"cannot be accepted: {UNSTABLE}")
    assert "a3" not in state.decisions
    assert after("x", state) == state
    assert after("s", state).note is None


def test_a_cause_of_which_no_change_can_be_accepted_is_refused() -> None:
    """Accepting all of it does nothing."""
    state = after("SsA")

    assert (state.change.cell_id, state.note) == ("c1", f"cannot be accepted: {UNSTABLE}")


@pytest.mark.parametrize("key", ["\r", "\n", "\x1b", " ", "", "aa", "Y", "\x1b[A", "é"])
def test_any_other_key_does_nothing(key: str) -> None:
    """An accidental Enter or Escape decides nothing, nor does pasted text."""
    assert step(START, key) == Step(state=START)


def test_next_and_previous_stay_within_the_cause() -> None:
    """At its end a note is shown."""
    assert [after("n" * count).at for count in range(5)] == [0, 1, 2, 2, 2]
    assert after("nnn").note == "this is the last change of this cause"
    assert after("p").note == "this is the first change of this cause"
    assert after("nnp").at == 1


def test_by_cell_next_moves_among_all_changes() -> None:
    """Their causes do not matter then."""
    state = replace(START, order=Order.CELL)

    assert after("nnnn", state).at == 4
    assert after("nnnnn", state).note == "this is the last change of all changes"


def test_back_returns_to_the_change_decided_before() -> None:
    """Another decision replaces the earlier one, and is to be written."""
    state = after("arb")

    assert (state.at, state.decisions) == (1, {"a1": ACCEPTED, "a2": REJECTED})
    assert after("b", state).at == 0
    assert decided("br", state) == (REJECTED, ("a1",))


def test_the_same_decision_again_changes_nothing() -> None:
    """It moves on to what is undecided."""
    moved = step(after("ab"), "a")

    assert (moved.decision, moved.cell_ids, moved.state.at) == (None, (), 1)


def test_there_is_no_way_back_from_the_first_change() -> None:
    """A note shows it."""
    assert after("b") == replace(START, note="nothing was decided before this change")


def test_more_turns_the_page_of_a_change() -> None:
    """Another change begins with its first page."""
    assert [after(keys).page for keys in ("m", "mm", "mmn", "mms", "mmsb")] == [1, 2, 0, 0, 0]


@pytest.mark.parametrize("key", sorted(KEYS - {"m", "q"} | {"\r", "x"}))
def test_any_key_closes_the_help(key: str) -> None:
    """It does nothing else, as the change could not be seen."""
    assert after("m?").shows_help
    assert step(after("m?"), key) == Step(state=START)


def test_a_long_help_has_pages_too() -> None:
    """Quitting works there as everywhere."""
    state = after("?m")

    assert (state.shows_help, state.page) == (True, 1)
    assert after("q", state).is_over


def test_the_last_decision_ends_the_review() -> None:
    """So does quitting, without a decision."""
    assert after("aassr").is_over is True
    assert step(START, "q") == Step(state=replace(START, is_over=True))


def test_undecided_changes_before_the_shown_one_follow_at_the_end() -> None:
    """A change that was passed over is not forgotten."""
    state = after("nsss")
    assert (state.change.cell_id, state.is_over) == ("c1", False)
    assert after("s", state).change.cell_id == "a1"


@given(st.text(alphabet=sorted(KEYS - {"q"}), max_size=30))
def test_every_decision_is_handed_over_to_be_written(keys: str) -> None:
    """Whatever the keys, what was written is what the state has, and no refused one is accepted."""
    state, written = START, dict[str, Decision]()
    for key in keys:
        moved = step(state, key)
        if moved.decision is not None:
            written |= dict.fromkeys(moved.cell_ids, moved.decision)
        state = moved.state
        if state.is_over:
            break
    assert written == state.decisions
    assert all(written.get(change.cell_id) is not ACCEPTED for change in CHANGES if change.refusal)
    assert state.is_over == (len(written) == len(CHANGES))


@pytest.mark.parametrize(
    ("decisions", "at", "left"),
    [
        ({}, "a1", 5),
        ({"a1": REJECTED, "gone": REJECTED}, "a2", 4),
        ({"a1": SKIPPED}, "a2", 4),
        (dict.fromkeys(["a1", "a2", "a3", "b1"], REJECTED) | {"c1": SKIPPED}, "c1", 1),
    ],
)
def test_a_review_resumes_at_the_first_undecided_change(
    decisions: Mapping[str, Decision], at: str, left: int
) -> None:
    """What was skipped is open again once everything else is decided."""
    state = begin(CHANGES, Order.CAUSE, decisions)

    assert state is not None
    assert (state.change.cell_id, state.count(None)) == (at, left)


def test_a_review_without_an_open_change_does_not_begin() -> None:
    """Everything was rejected, or there is no change."""
    assert begin(CHANGES, Order.CAUSE, {each.cell_id: REJECTED for each in CHANGES}) is None
    assert begin((), Order.CAUSE, {}) is None


def test_a_state_shows_a_change() -> None:
    """There is no review of nothing."""
    with pytest.raises(ValueError, match="there is no change 5 of 5"):
        replace(START, at=5)


@pytest.mark.parametrize(
    ("decisions", "others", "code"),
    [
        ("AAAAA", set[Outcome](), ExitCode.PASSED),
        ("AAAAA", {Outcome.INCONCLUSIVE}, ExitCode.INCONCLUSIVE),
        ("AAAAA", {Outcome.INCONCLUSIVE, Outcome.FAILED}, ExitCode.FINDINGS),
        ("AAAAR", set[Outcome](), ExitCode.FINDINGS),
        ("AAAAS", set[Outcome](), ExitCode.FINDINGS),
        ("AAAA", set[Outcome](), ExitCode.FINDINGS),
    ],
)
def test_the_exit_code_is_that_of_what_is_left(
    decisions: str, others: set[Outcome], code: ExitCode
) -> None:
    """What is rejected, skipped or undecided is a finding, as is what a review does not decide."""
    words = {"A": ACCEPTED, "R": REJECTED, "S": SKIPPED}
    known = {
        change.cell_id: words[letter] for change, letter in zip(CHANGES, decisions, strict=False)
    }

    assert exit_code_of(CHANGES, known, others=others) is code
