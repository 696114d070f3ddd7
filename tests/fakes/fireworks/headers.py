"""The headers of an answer, and the limit that some of them speak of."""

from collections.abc import Mapping

_MINUTE_S = 60.0
_PROMPT_TOKENS = 3_600_000
_GENERATED_TOKENS = 36_000


class Limit:
    """So many requests per minute: a bucket that fills all the time, and is full at first."""

    def __init__(self, per_minute: int, *, now: float) -> None:
        self._per_minute = per_minute
        self._level = float(per_minute)
        self._at = now
        self.is_over = False
        """Whether the last request was one too many."""

    def take(self, *, now: float) -> None:
        """Count a request."""
        flown = (now - self._at) * self._per_minute / _MINUTE_S
        self._level = min(float(self._per_minute), self._level + flown)
        self._at = now
        self.is_over = self._level < 1
        if not self.is_over:
            self._level -= 1

    @property
    def headers(self) -> dict[str, str]:
        """How much is left, in the words of today and in those of before."""
        return {
            "x-ratelimit-limit-requests": str(self._per_minute),
            "x-ratelimit-remaining-requests": str(int(self._level)),
            "x-ratelimit-over-limit": "yes" if self.is_over else "no",
            # Of tokens there are always enough.
            "x-ratelimit-limit-tokens-prompt": str(_PROMPT_TOKENS),
            "x-ratelimit-remaining-tokens-prompt": str(_PROMPT_TOKENS),
            "x-ratelimit-limit-tokens-generated": str(_GENERATED_TOKENS),
            "x-ratelimit-remaining-tokens-generated": str(_GENERATED_TOKENS),
        }


def naming_headers(asked: Mapping[str, str], *, number: int) -> dict[str, str]:
    """Return what names the request: the name that its sender gave it comes back."""
    own = f"{number:032x}"
    return {"x-request-id": asked.get("x-request-id", own), "x-fireworks-request-id": own}


def metrics(*, prompt: int, cached: int, seconds: float) -> dict[str, float]:
    """Return what Fireworks measures of every answer, by the names in the body of an answer."""
    return {
        "prompt-tokens": prompt,
        "cached-prompt-tokens": cached,
        "server-time-to-first-token": round(seconds, 3),
        "server-processing-time": round(seconds, 3),
    }


def metric_headers(measured: Mapping[str, float]) -> dict[str, str]:
    """Return the same as headers."""
    return {f"fireworks-{name}": str(value) for name, value in measured.items()}
