"""What a server has to be able to do, and how an answer shows that it cannot."""

import re
from typing import Any, Final

from repro_gate.adapters.hosted.answers import Answer
from repro_gate.adapters.hosted.echoes import (
    Unreadable,
    choice_of,
    completion_tokens_of,
    echo_of,
    prompt_tokens_of,
)
from repro_gate.core.policies import LogprobKind
from repro_gate.strict_json import value_at

REMEDY: Final = (
    "gate a server whose /v1/completions echoes a prompt with its log-probabilities, as vLLM does "
    "and llama-server does not"
)
_NO_LOGPROBS: Final = "it gives no log-probabilities of the prompt"
_IGNORED: Final = (
    "it ignored `echo` and gave log-probabilities of what it generated, not of the prompt"
)
_NEEDED: Final = re.compile(r"\b(echo|logprobs|top_logprobs)\b")
"""Fields without which nothing can be asked."""


def overrun_of(answer: Answer) -> int | None:
    """Return how many tokens were generated, when they are more than a server may."""
    made = completion_tokens_of(answer.document)
    # One that takes 0 for 1 spends a token, and nothing is wrong with its answer.
    return made if made is not None and made > max(1, answer.generated) else None


def overrun_words(answer: Answer, made: int) -> str:
    """Return that a server has taken the limit for none."""
    return f"it took `max_tokens = {answer.generated}` for no limit and generated {made} tokens"


def gap_in(answer: Answer, *, rows: int | None, text: str | None = None) -> str | None:
    """Return what a server did not do that was asked of it; None when its answer shows nothing.

    Args:
        answer: one that could not be read.
        rows: how many tokens should have come back; None when that is not known.
        text: what was sent, when it was sent as text.
    """
    try:
        choice = choice_of(answer.document)
        if not _has_rows(choice.get("logprobs")):
            return _NO_LOGPROBS
        echo = echo_of(choice, LogprobKind.RAW)
    except Unreadable:
        return None
    count = len(echo.pieces)
    wanted = prompt_tokens_of(answer.document) if rows is None else rows
    made = max(1, answer.generated, completion_tokens_of(answer.document) or 0)
    said = value_at(choice, "text")
    is_echoed = text is not None and isinstance(said, str) and said.startswith(text)
    spelled = b"".join(piece.data for piece in echo.pieces).decode("utf-8", errors="replace")
    is_only_made = spelled == said and text is not None and not is_echoed
    if (count <= made and (wanted is None or count < wanted)) or is_only_made:
        return _NO_LOGPROBS if is_echoed else _IGNORED
    # The last of them may be of what was generated, and the first one has no condition.
    of_prompt = echo.logprobs[: max(1, count - made)]
    blanks = sum(value is None for value in of_prompt)
    return _NO_LOGPROBS if 2 * blanks > len(of_prompt) else None


def needed_field_in(words: str) -> str | None:
    """Return a field that a server refuses by its name, and that no question does without."""
    found = _NEEDED.search(words)
    return found[1] if found else None


def _has_rows(logprobs: Any) -> bool:
    arrays = [value_at(logprobs, name) for name in ("content", "token_logprobs")]
    # What is no array at all is another fault.
    return any(array not in (None, []) for array in arrays) or not (
        logprobs is None or logprobs is False or isinstance(logprobs, dict)
    )
