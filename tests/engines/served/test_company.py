"""What a server counts while requests are in flight is the most that each of them saw."""

from contextlib import ExitStack
from threading import Event

from repro_gate.engines.served.company import Company, Seen
from repro_gate.engines.served.dialects.dialect import Work
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


def test_a_request_counts_itself() -> None:
    """A server may show it a moment later."""
    assert _seen([0, 0]).running == 1


def test_a_server_that_shows_nothing_is_asked_once() -> None:
    """Nothing is known then."""
    assert _seen([]).running is None


def test_a_failed_count_is_none() -> None:
    """The request itself shows that a server is gone."""
    assert _seen([2, ServerGone("gone"), ValueError("nan"), 3]).running == 3


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


def test_an_answer_waits_for_a_count_under_way() -> None:
    """VLLM counts for longer than a short answer takes."""
    started, may_end = Event(), Event()

    def count() -> int:
        started.set()
        assert may_end.wait(_PATIENCE_S)
        return 8

    company = Company(count)
    with company.request() as seen:
        assert started.wait(_PATIENCE_S)
        may_end.set()
    company.close()
    assert seen.running == 8


def _together(*answers: tuple[float, float, int, float]) -> list[int]:
    """Return what is known of each answer: when sent and received, its slot and its seconds."""
    company = Company(lambda: None)
    return [
        company.together(sent, received, Work(slot, seconds))
        for sent, received, slot, seconds in answers
    ]


def test_answers_whose_work_must_have_overlapped_were_together() -> None:
    """However fast they were; the one that ends last knows of all."""
    assert _together((0, 1.1, 0, 1.0), (0.1, 1.2, 1, 1.0), (0.2, 1.3, 2, 1.0)) == [1, 2, 3]


def test_answers_that_follow_each_other_were_alone() -> None:
    """In flight together, but each of them waited for the one before."""
    assert _together((0, 1, 0, 1.0), (0, 2, 0, 1.0), (0, 3, 0, 1.0)) == [1, 1, 1]
    assert _together((0, 1, 0, 0.9), (1, 2, 1, 0.9)) == [1, 1]


def test_a_slot_works_at_one_answer() -> None:
    """Times that overlap in a slot are those of an inexact clock."""
    assert _together((0, 1, 0, 1.0), (0.9, 2, 0, 1.1)) == [1, 1]


def test_work_that_may_have_been_at_other_times_proves_nothing() -> None:
    """It was done somewhere between sending and receiving."""
    assert _together((0, 4, 0, 1.0), (0, 4, 1, 1.0)) == [1, 1]


def test_only_those_at_one_moment_count() -> None:
    """A long answer has company of two short ones, one after the other."""
    assert _together((0, 1, 1, 0.9), (2, 3, 2, 0.9), (0, 3, 0, 3.0)) == [1, 1, 2]
