"""The history of a check's cells on its page."""

from dataclasses import replace

from repro_gate.core.timeline import KeptHistory, Timeline
from repro_gate.reports.html.check.history import history_of
from tests.fakes.timelines import timeline_of


def kept_of(*timelines: Timeline, **changes: object) -> KeptHistory:
    """Return what a history has."""
    return replace(KeptHistory(timelines=timelines), **changes)  # type: ignore[arg-type]


def test_without_a_history_there_is_nothing() -> None:
    """Nor with one that has no session of these cells."""
    usual = timeline_of()
    empty = replace(usual, sessions=(), empty=(), cells=(), services=(), changes=(), outliers=())

    assert history_of(None) is None
    assert history_of(kept_of()) is None
    assert history_of(kept_of(empty)) is None


def test_each_suite_has_the_charts_of_its_cells() -> None:
    """With the number of its sessions and their dates."""
    found = history_of(kept_of(timeline_of(3), left_out=2))

    assert found is not None
    (suite,) = found.suites
    assert suite.sessions.startswith("4 sessions, 2026-")
    assert [policy for policy, _ in suite.policies] == ["base", "tuned"]
    assert sum(len(figures) for _, figures in suite.policies) == 12
    assert found.left_out == 2


def test_a_single_session_has_a_single_date() -> None:
    """A range of one would be odd."""
    usual = timeline_of(3)
    first = usual.sessions[:1]
    lines = tuple(replace(line, points=line.points[:1]) for line in usual.cells)
    short = replace(usual, sessions=first, cells=lines, changes=(), watch=None)

    found = history_of(kept_of(short))

    assert found is not None
    assert found.suites[0].sessions == f"1 session, {first[0].date.isoformat()}"


def test_a_history_that_could_not_be_read_is_stated() -> None:
    """It is no finding."""
    found = history_of(kept_of(problem="index.sqlite: no database"))

    assert found is not None
    assert (found.suites, found.problem) == ((), "index.sqlite: no database")
