"""Two generations side by side: the tokens around their divergence, one on a line."""

from collections.abc import Iterator, Sequence

from repro_gate.core.tokens import Token
from repro_gate.reports.explain import Explanation, spell_token

_BEFORE = 3
_AFTER = 4
"""Tokens shown on each side from the divergence on; behind it the two are not aligned."""


def token_diff(explanation: Explanation) -> Iterator[str]:
    """Yield the tokens around the divergence as the lines of a diff, printable."""
    position = explanation.divergence.position
    before = explanation.before[-_BEFORE:]
    yield from _token_lines(" ", position - len(before), before)
    # Of a run that was not kept there is one token; more on the other side would look like an end.
    after = 1 if explanation.observed is None else _AFTER
    expected = explanation.expected[:after] or [explanation.divergence.expected]
    observed = (explanation.observed or ())[:after] or [explanation.divergence.observed]
    yield from _token_lines("-", position, expected)
    yield from _token_lines("+", position, observed)


def _token_lines(sign: str, start: int, tokens: Sequence[Token | None]) -> Iterator[str]:
    for position, token in enumerate(tokens, start):
        yield f"{sign} [{position}] {spell_token(token)}"
