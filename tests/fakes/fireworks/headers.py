"""The headers of an answer, and the rate limit in some of them."""

from collections.abc import Mapping

_MINUTE_S = 60.0
_PROMPT_TOKENS = 3_600_000
_GENERATED_TOKENS = 36_000


class Limit:
    """A limit of requests per minute: a bucket that is full at first and is refilled steadily."""

    def __init__(self, per_minute: int, *, now: float) -> None:
        self._per_minute = per_minute
        self._level = float(per_minute)
        self._at = now
        self.is_over = False
        """Whether the last request exceeded the limit."""

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
        """The remaining requests, in the current headers and in the older ones."""
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
    """Return the headers with the request's id, as its sender gave it."""
    own = f"{number:032x}"
    return {"x-request-id": asked.get("x-request-id", own), "x-fireworks-request-id": own}


def metrics(*, prompt: int, cached: int, seconds: float) -> dict[str, float]:
    """Return the measurements of Fireworks, by their names in the body of an answer."""
    return {
        "prompt-tokens": prompt,
        "cached-prompt-tokens": cached,
        "server-time-to-first-token": round(seconds, 3),
        "server-processing-time": round(seconds, 3),
    }


def metric_headers(measured: Mapping[str, float]) -> dict[str, str]:
    """Return the measurements as headers."""
    return {f"fireworks-{name}": str(value) for name, value in measured.items()}
