"""When a call that failed is made again, and how long to wait before it."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from repro_gate.adapters.hosted.surroundings import Surroundings
from repro_gate.errors import PublishFailed

_ATTEMPTS = 5
_FIRST_BACKOFF_S = 1.0
_LONGEST_BACKOFF_S = 16.0
_Result = TypeVar("_Result")


class TryAgain(PublishFailed):
    """No answer this time; the next attempt may get one."""

    def __init__(
        self, reason: str, *, after_s: float | None = None, may_be_done: bool = False
    ) -> None:
        super().__init__(reason)
        self.after_s = after_s
        """How long the server asks to wait; None when it does not say."""
        self.may_be_done = may_be_done
        """Whether what was asked for may have been done all the same."""


class Deadline:
    """The end of all calls together: a check that is over must not wait long to be told of."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._ends = clock() + seconds

    @property
    def left_s(self) -> float:
        """Return the seconds that are left."""
        return max(0.0, self._ends - self._clock())

    def allow(self, wait_s: float, *, because: str) -> None:
        """Return when there is time left after a wait; raises `PublishFailed` otherwise."""
        if wait_s < self.left_s:
            return
        asks = f" and asks to wait {wait_s:.0f} s" if wait_s >= self._seconds else ""
        raise PublishFailed(
            f"{because}{asks}; after {self._seconds:g} s nothing more is tried",
            remedy="run the job again later",
        )


async def persist(
    attempt: Callable[[], Awaitable[_Result]], *, deadline: Deadline, surroundings: Surroundings
) -> _Result:
    """Return the first result, trying again with exponential back-off and full jitter.

    Raises:
        PublishFailed: no attempt succeeded, or the next one would come after the deadline.
    """

    def wait_s(state: RetryCallState) -> float:
        backoff = min(_LONGEST_BACKOFF_S, _FIRST_BACKOFF_S * 2.0 ** (state.attempt_number - 1))
        return max(_failure(state).after_s or 0.0, surroundings.random() * backoff)

    def check_deadline(state: RetryCallState) -> None:
        deadline.allow(state.upcoming_sleep, because=_failure(state).reason)

    retrying = AsyncRetrying(
        retry=retry_if_exception_type(TryAgain),
        wait=wait_s,
        stop=stop_after_attempt(_ATTEMPTS),
        before_sleep=check_deadline,
        sleep=surroundings.sleep,
        reraise=True,
    )
    return await retrying(attempt)


def _failure(state: RetryCallState) -> TryAgain:
    failure = None if state.outcome is None else state.outcome.exception()
    return failure if isinstance(failure, TryAgain) else TryAgain("GitHub: no answer")
