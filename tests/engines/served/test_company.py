"""What a server counts while requests are in flight is the most that each of them saw."""

from contextlib import ExitStack
from threading import Event

from repro_gate.engines.served.company import Company, Seen
from repro_gate.engines.served.http import ServerGone

_PATIENCE_S = 10.0


def _seen(counts: list[int | Exception]) -> Seen:
    """Return what one request saw until all counts were made."""
    made = Event()
    left = iter(counts)

    def count() -> int | None:
        found = next(left, None)
        if found is None:
            made.set()
        if isinstance(found, Exception):
            raise found
        return found

    company = Company(count)
    with company.request() as seen:
        assert made.wait(_PATIENCE_S)
    company.close()
    return seen


def test_the_most_counts() -> None:
    """Sequences come and go."""
    assert _seen([1, 3, 2]).running == 3


def test_nothing_at_work_is_unknown() -> None:
    """The request had not started, or had ended already."""
    assert _seen([0, 0]).running is None


def test_a_failed_count_is_none() -> None:
    """The request itself shows that a server is gone."""
    assert _seen([2, ServerGone("gone")]).running == 2


def test_all_requests_share_the_counts() -> None:
    """One thread asks for all of them."""
    counted = Event()

    def count() -> int:
        counted.set()
        return 8

    company = Company(count)
    with ExitStack() as stack:
        seen = [stack.enter_context(company.request()) for _ in range(8)]
        counted.clear()
        assert counted.wait(_PATIENCE_S)
    company.close()
    assert any(each.running == 8 for each in seen)
