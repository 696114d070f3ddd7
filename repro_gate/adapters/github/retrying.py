"""When a call that failed is made again, and until when."""

from repro_gate.adapters.http.retry import Deadline, Passing
from repro_gate.errors import PublishFailed


class TryAgain(PublishFailed, Passing):
    """No answer this time; the next attempt may get one."""

    def __init__(
        self, reason: str, *, after_s: float | None = None, may_be_done: bool = False
    ) -> None:
        super().__init__(reason)
        self.after_s = after_s
        self.may_be_done = may_be_done
        """Whether what was asked for may have been done all the same."""


def require_time(deadline: Deadline, wait_s: float, because: str) -> None:
    """Return when there is time left after a wait; raises `PublishFailed` otherwise.

    A check that is over must not wait long to be told of.
    """
    if wait_s < deadline.left_s:
        return
    asks = f" and asks to wait {wait_s:.0f} s" if wait_s >= deadline.seconds else ""
    raise PublishFailed(
        f"{because}{asks}; after {deadline.seconds:g} s nothing more is tried",
        remedy="run the job again later",
    )
