"""Sessions of a history: what counts as a night, and what is kept of a cell."""

from dataclasses import replace

import pytest

from repro_gate.core.history import (
    KeptDraw,
    Tally,
    date_of,
    summarise,
)
from repro_gate.core.logprobs.draw import DrawFacts, InvalidDraw, MissedDraw
from tests.fakes.history import draw_of, session_cell_of
from tests.fakes.scoring import MODEL

CELL = session_cell_of(tokens=50, usd_per_million_tokens=2.0, center=-1.5, bound=8.0)
MISSED = MissedDraw(reason="429 too many requests")
INVALID = InvalidDraw(reason="other tokens", facts=DrawFacts(model="other", latency_s=0.75))
FAR = draw_of([-156.5], fireworks_backend_host="h2", fireworks_cached_prompt_tokens="30")


def test_a_summary_keeps_every_kind_of_draw() -> None:
    """Sums, far ones, faults, who answered, how fast, and the price of what was answered."""
    plain = draw_of([-1.0, -0.5], fireworks_backend_host="h1")

    tally = Tally(CELL)
    for draw in (plain, FAR, INVALID, MISSED):
        tally.take(draw)
    for control in (plain, MISSED):
        tally.take_control(control)
    found = tally.summary()

    assert found.totals == (-1.5, -156.5)
    assert found.far == (-156.5,)
    assert (found.invalid, found.missed) == (1, 1)
    assert found.models == (MODEL, "other")
    assert found.backends == ("h1", "h2")
    assert found.fingerprints == ()
    assert found.latency_ms == 250.0
    assert found.usd == 4 * 50 * 2 / 1e6
    assert found.cached_tokens == 30


def test_a_price_is_unknown_without_tokens_or_price() -> None:
    """Nothing is estimated: a draw without a count makes the price of its cell unknown."""
    counted = draw_of([-1.0], fireworks_prompt_tokens="10")
    cell = replace(CELL, tokens=None)

    assert summarise(cell, [counted]).usd == 10 * 2 / 1e6
    assert summarise(cell, [counted, FAR]).usd is None
    assert summarise(replace(CELL, usd_per_million_tokens=0.0), [counted]).usd is None
    assert summarise(CELL, [MISSED]).usd is None


def test_nothing_is_far_without_a_bound() -> None:
    """A session that has no reference does not guess one."""
    assert summarise(replace(CELL, bound=None), [FAR]).far == ()
    assert summarise(replace(CELL, center=None), [FAR]).far == ()


def test_a_kept_draw_shows_its_call() -> None:
    """A far draw differs from the others, and has its tokens and price."""
    kept = KeptDraw(cell=CELL, purpose="watch", number=1, line=2, outcome=FAR)
    missed = replace(kept, outcome=MISSED)

    assert (kept.is_far, kept.tokens, kept.usd) == (True, 50, 50 * 2 / 1e6)
    assert kept.facts.request_id == "req-1"
    assert (missed.is_far, missed.facts, missed.usd) == (False, DrawFacts(), None)


@pytest.mark.parametrize("text", ["", "yesterday", "20260102T030405+00:00", "2026-01-02T03:04:05"])
def test_a_time_is_complete_and_utc(text: str) -> None:
    """A time without its zone could be of another date."""
    with pytest.raises(ValueError, match=r"\S"):
        date_of(text)


def test_a_count_of_a_server_is_a_number_or_unknown() -> None:
    """Headers are untrusted text."""
    assert draw_of(fireworks_prompt_tokens="many").facts.prompt_tokens is None
    assert draw_of(fireworks_prompt_tokens="12").facts.prompt_tokens == 12
