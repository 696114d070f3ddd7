"""What a check has spent at hosted APIs, and may."""

from repro_gate.core.policies import Budget
from repro_gate.errors import MeasurementUnavailable


class Ledger:
    """Counts every attempt that is sent, and sends none beyond the budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.calls = 0
        self.tokens = 0

    def spend(self, tokens: int) -> None:
        """Count one call.

        Raises:
            MeasurementUnavailable: the budget does not allow it.
        """
        budget = self._budget
        if budget.max_calls is not None and self.calls + 1 > budget.max_calls:
            raise _used_up(f"{budget.max_calls} calls", "max_calls")
        if budget.max_tokens is not None and self.tokens + tokens > budget.max_tokens:
            raise _used_up(f"{budget.max_tokens} tokens", "max_tokens")
        self.calls += 1
        self.tokens += tokens


def _used_up(what: str, setting: str) -> MeasurementUnavailable:
    return MeasurementUnavailable(
        f"the budget of {what} is used up",
        remedy=f"raise {setting} of the suite's budget, or ask for fewer draws",
    )
