"""The headers of an answer."""

from collections.abc import Mapping

_REQUESTS = 600
_PROMPT_TOKENS = 3_600_000
_GENERATED_TOKENS = 36_000


def naming_headers(asked: Mapping[str, str], *, number: int) -> dict[str, str]:
    """Return what names the request: the name that its sender gave it comes back."""
    own = f"{number:032x}"
    return {"x-request-id": asked.get("x-request-id", own), "x-fireworks-request-id": own}


def limit_headers(*, number: int) -> dict[str, str]:
    """Return how much of the limits is left, in the words of now and in those of before."""
    return {
        "x-ratelimit-limit-requests": str(_REQUESTS),
        # The minutes of this server are as long as the limit: it is never reached by itself.
        "x-ratelimit-remaining-requests": str(_REQUESTS - number % _REQUESTS),
        "x-ratelimit-over-limit": "no",
        "x-ratelimit-limit-tokens-prompt": str(_PROMPT_TOKENS),
        "x-ratelimit-remaining-tokens-prompt": str(_PROMPT_TOKENS),
        "x-ratelimit-limit-tokens-generated": str(_GENERATED_TOKENS),
        "x-ratelimit-remaining-tokens-generated": str(_GENERATED_TOKENS),
    }


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
