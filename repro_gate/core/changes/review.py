"""The review of changes one by one: a pure state, and what a key does to it."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, TypeAlias

from repro_gate.core.guards import require_text
from repro_gate.core.outcome import ExitCode, Outcome

QUIT: Final = "q"


class Order(StrEnum):
    """How the changes are arranged."""

    CAUSE = "cause"
    """Changes with the same cause follow each other, the largest group first."""
    CELL = "cell"
    """As the report has them."""


class Decision(StrEnum):
    """What the reviewer decided on a change."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The change of one cell."""

    cell_id: str
    cause: str
    """The id of its group."""
    refusal: str | None = None
    """Why it cannot be accepted; None if it can be."""

    def __post_init__(self) -> None:
        require_text(cell_id=self.cell_id, cause=self.cause)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewState:
    """Where a review stands."""

    changes: tuple[Change, ...]
    order: Order
    decisions: Mapping[str, Decision] = field(default_factory=dict[str, Decision])
    """By the id of a cell; the others are undecided."""
    at: int = 0
    """The index of the change that is shown."""
    visited: tuple[int, ...] = ()
    """The changes decided from, the latest last."""
    page: int = 0
    """Of the shown change, counted from 0; it starts again after the last page."""
    shows_help: bool = False
    note: str | None = None
    """Why the last key had no effect."""
    is_over: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.at < len(self.changes):
            raise ValueError(f"there is no change {self.at} of {len(self.changes)}")

    @property
    def change(self) -> Change:
        """The change that is shown."""
        return self.changes[self.at]

    @property
    def section(self) -> tuple[Change, ...]:
        """The changes among which one moves: those with the same cause, or all."""
        if self.order is Order.CELL:
            return self.changes
        return self.with_cause(self.change.cause)

    def with_cause(self, cause: str) -> tuple[Change, ...]:
        """Return the changes with a cause."""
        return tuple(each for each in self.changes if each.cause == cause)

    def count(self, decision: Decision | None) -> int:
        """Return the number of changes with this decision; None counts the undecided ones."""
        return sum(self.decisions.get(each.cell_id) is decision for each in self.changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The state after a key, and what has to be done for it."""

    state: ReviewState
    decision: Decision | None = None
    """None when nothing was decided."""
    cell_ids: tuple[str, ...] = ()
    """The cells that it is on; a decision in place of `ACCEPTED` takes back what was accepted."""


def begin(
    changes: Sequence[Change], order: Order, decisions: Mapping[str, Decision]
) -> ReviewState | None:
    """Return the state at the first undecided change; None where every change is decided.

    Args:
        changes: those that no golden has yet.
        order: how they are arranged.
        decisions: of an earlier review; what it skipped is shown again once the rest is decided.
    """
    known = {each.cell_id: decisions[each.cell_id] for each in changes if each.cell_id in decisions}
    if len(known) == len(changes):
        known = {name: each for name, each in known.items() if each is not Decision.SKIPPED}
    open_ = [index for index, each in enumerate(changes) if each.cell_id not in known]
    if not open_:
        return None
    return ReviewState(changes=tuple(changes), order=order, decisions=known, at=open_[0])


def exit_code_of(
    changes: Iterable[Change], decisions: Mapping[str, Decision], *, others: Collection[Outcome]
) -> ExitCode:
    """Return the exit code of a review: that of a check, were the accepted changes goldens by now.

    Args:
        changes: those that no golden had at the start.
        decisions: on them; what is not accepted is a finding.
        others: the outcomes of the findings that are not decided in a review.
    """
    is_open = any(decisions.get(each.cell_id) is not Decision.ACCEPTED for each in changes)
    if is_open or Outcome.FAILED in others:
        return ExitCode.FINDINGS
    return ExitCode.INCONCLUSIVE if Outcome.INCONCLUSIVE in others else ExitCode.PASSED


def step(state: ReviewState, key: str) -> Step:
    """Return what a key does; an unknown one does nothing."""
    act = _KEYS.get(key)
    if state.shows_help and act is not _more:
        return Step(state=replace(state, shows_help=False, page=0, is_over=key == QUIT))
    return Step(state=state) if act is None else act(replace(state, note=None))


_Act: TypeAlias = Callable[[ReviewState], Step]


def _one(decision: Decision) -> _Act:
    def act(state: ReviewState) -> Step:
        change = state.change
        if decision is Decision.ACCEPTED and change.refusal is not None:
            return _refused(state, change)
        return _decided(state, decision, [change])

    return act


def _all_of_the_cause(decision: Decision) -> _Act:
    def act(state: ReviewState) -> Step:
        cells = [
            each
            for each in state.with_cause(state.change.cause)
            if state.decisions.get(each.cell_id) in {None, Decision.SKIPPED}
            and not (decision is Decision.ACCEPTED and each.refusal is not None)
        ]
        if not cells and decision is Decision.ACCEPTED and state.change.refusal is not None:
            return _refused(state, state.change)
        return _decided(state, decision, cells)

    return act


def _refused(state: ReviewState, change: Change) -> Step:
    return Step(state=replace(state, note=f"cannot be accepted: {change.refusal}"))


def _decided(state: ReviewState, decision: Decision, changes: Iterable[Change]) -> Step:
    ids = tuple(
        each.cell_id for each in changes if state.decisions.get(each.cell_id) is not decision
    )
    decisions = {**state.decisions, **dict.fromkeys(ids, decision)}
    later = [*range(state.at + 1, len(state.changes)), *range(state.at + 1)]
    following = next((at for at in later if state.changes[at].cell_id not in decisions), None)
    moved = replace(
        state,
        decisions=decisions,
        at=state.at if following is None else following,
        visited=(*state.visited, state.at),
        page=0,
        is_over=following is None,
    )
    return Step(state=moved, decision=decision if ids else None, cell_ids=ids)


def _moved(by: int) -> _Act:
    def act(state: ReviewState) -> Step:
        names = [each.cell_id for each in state.section]
        place = names.index(state.change.cell_id) + by
        if not 0 <= place < len(names):
            group = "this cause" if state.order is Order.CAUSE else "all changes"
            which = "last" if by > 0 else "first"
            return Step(state=replace(state, note=f"this is the {which} change of {group}"))
        ids = [each.cell_id for each in state.changes]
        return Step(state=replace(state, at=ids.index(names[place]), page=0))

    return act


def _back(state: ReviewState) -> Step:
    if not state.visited:
        return Step(state=replace(state, note="nothing was decided before this change"))
    *before, at = state.visited
    return Step(state=replace(state, at=at, visited=tuple(before), page=0))


def _more(state: ReviewState) -> Step:
    return Step(state=replace(state, page=state.page + 1))


def _help(state: ReviewState) -> Step:
    return Step(state=replace(state, shows_help=True, page=0))


def _quit(state: ReviewState) -> Step:
    return Step(state=replace(state, is_over=True))


_KEYS: Final[Mapping[str, _Act]] = {
    "a": _one(Decision.ACCEPTED),
    "r": _one(Decision.REJECTED),
    "s": _one(Decision.SKIPPED),
    "A": _all_of_the_cause(Decision.ACCEPTED),
    "R": _all_of_the_cause(Decision.REJECTED),
    "S": _all_of_the_cause(Decision.SKIPPED),
    "n": _moved(1),
    "p": _moved(-1),
    "b": _back,
    "m": _more,
    "?": _help,
    QUIT: _quit,
}
KEYS: Final = frozenset(_KEYS)
