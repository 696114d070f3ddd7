"""The simulation of sessions can show both an alarm by a session alone and none."""

from benchmarks.sessions import CELLS, CONSTANT, Task, has_drift


def test_one_session_alarms_where_sessions_differ() -> None:
    """Variance between sessions of four times that within is taken for a change."""
    found = [has_drift(Task(noise=4.0, sessions=1), seed) for seed in range(3)]

    assert found == [(True, True)] * 3


def test_without_a_difference_nothing_is_found() -> None:
    """The same baselines keep the stated rate where sessions do not differ."""
    found = [has_drift(Task(noise=0.0, sessions=1), seed) for seed in range(3)]

    assert found == [(False, False)] * 3


def test_another_session_does_not_repeat_what_is_constant_within_one() -> None:
    """The second look of the same session confirms its own noise."""
    found = [has_drift(Task(noise=CONSTANT, sessions=3), seed) for seed in range(3)]

    assert sum(same for same, _ in found) > sum(other for _, other in found)


def test_a_large_change_is_found_with_several_sessions() -> None:
    """Every item moves by far more than sessions differ."""
    task = Task(noise=1.0, sessions=5, shift=20.0, items=CELLS)

    assert has_drift(task, 0) == (False, True)
