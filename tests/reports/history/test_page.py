"""The page of a history: complete, inert, and of a size that does not follow the nights."""

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from repro_gate.core.logprobs.draw import DrawFacts
from repro_gate.core.timeline import Change, ChangeKind, Outlier, Timeline
from repro_gate.core.tokens.verdicts import Inconclusive
from repro_gate.core.watch.state import WatchState
from repro_gate.reports.history.page import render_history_page
from tests.fakes.hostile_text import HOSTILE
from tests.fakes.timelines import timeline_of
from tests.reports.html.elements import Elements

OURS = {
    *("html", "head", "meta", "title", "style", "body", "script"),
    *("header", "main", "footer", "nav", "section", "div", "form", "fieldset", "legend"),
    *("h1", "h2", "h3", "p", "b", "code", "a", "span", "bdi", "i", "ul", "li", "dl", "dt", "dd"),
    *("table", "caption", "thead", "tbody", "tr", "th", "td", "figure", "figcaption"),
    *("svg", "path", "label", "input", "output"),
}


def hostile_timeline() -> Timeline:
    """Return a history in which every untrusted text is hostile."""
    usual, texts = timeline_of(), tuple(HOSTILE)
    facts = [
        DrawFacts(at=text, model=text, request_id=text, headers={"backend-host": text})
        for text in texts
    ]
    assert usual.watch is not None
    return replace(
        usual,
        changes=tuple(
            Change(session=1, policy="base", kind=ChangeKind.MODEL, before=(text,), after=texts)
            for text in texts
        ),
        outliers=tuple(
            Outlier(session=0, cell="base--item-0", total=-9.0, distance=-8.0, facts=each)
            for each in facts
        ),
        watch=replace(
            usual.watch,
            unknown=tuple(Inconclusive(reason=text, remedy=text) for text in texts),
        ),
    )


def texts_of(page: str) -> Iterator[str]:
    """Yield what is between isolating tags, as a reader sees it."""
    for part in re.findall(r"<bdi[^>]*>(.*?)</bdi>", page, re.DOTALL):
        yield Elements(part).text


def test_the_page_of_a_hostile_history_has_our_elements_only() -> None:
    """And no attribute that runs, styles or loads anything."""
    found = Elements(render_history_page(hostile_timeline()))

    assert found.names() <= OURS
    assert not [name for name in found.attributes() if name.startswith("on")]
    assert found.attributes() & {"style", "src", "srcdoc", "action", "formaction"} == set()
    assert len(list(found.of("script"))) == 1
    assert all(str(link["href"]).startswith("#") for link in found.of("a"))


def test_every_hostile_text_can_be_read() -> None:
    """As a cell of a table; a time is cut after its seconds."""
    shown = set(texts_of(render_history_page(hostile_timeline())))

    assert set(HOSTILE.values()) <= shown


def test_ids_are_ours_and_unique() -> None:
    """Every link of the page leads to one of them."""
    found = Elements(render_history_page(hostile_timeline()))
    ids = [str(attributes["id"]) for _, attributes in found.found if "id" in attributes]

    assert len(ids) == len(set(ids))
    assert {str(link["href"])[1:] for link in found.of("a")} <= set(ids)
    assert all(re.fullmatch(r"[a-z]+(-[a-z0-9]+)?", each) for each in ids)


def test_the_page_is_complete_without_a_script() -> None:
    """Every session, cell, change and outlier is text of the page."""
    timeline = timeline_of()
    text = Elements(render_history_page(timeline)).text

    assert all(session.key in text for session in timeline.sessions)
    assert all(line.item in text for line in timeline.cells)
    assert all(outlier.facts.request_id in text for outlier in timeline.outliers)
    assert all(change.after[0] in text for change in timeline.changes)
    assert "cut off" in text
    assert "item-4" in text.partition("Importance weights")[2]


def test_only_the_filter_needs_the_script() -> None:
    """It is hidden until the script shows it."""
    hidden = [
        tag
        for tag, attrs in Elements(render_history_page(timeline_of())).found
        if "hidden" in attrs
    ]

    assert hidden == ["form"]


def test_the_title_is_the_state() -> None:
    """So that the tab of a browser shows it."""
    page = render_history_page(timeline_of())

    assert "<title>watch hosted: drift since 2026-" in page
    assert page.count('class="badge bad">alarm') == 2


@pytest.mark.parametrize(
    ("state", "style"),
    [(WatchState.QUIET, "good"), (WatchState.WARNING, "good"), (WatchState.DRIFT, "bad")],
)
def test_the_state_has_its_colour_and_its_word(state: WatchState, style: str) -> None:
    """Never the colour alone."""
    usual = timeline_of()
    assert usual.watch is not None
    assert usual.watch.report is not None
    status = replace(usual.watch, report=replace(usual.watch.report, state=state))

    page = render_history_page(replace(usual, watch=status))

    assert f'<p class="badge large {style}">{state}</p>' in page


def test_a_history_without_a_watch_shows_what_is_outside_its_band() -> None:
    """With links to the charts."""
    page = render_history_page(timeline_of(is_watched=False))
    found = Elements(page)

    assert "not watched" in found.text
    assert "hosted: 2 of 12 cells outside the band" in found.text
    assert {"#cell-8", "#cell-10"} <= {link["href"] for link in found.of("a")}
    assert "#watch" not in {link["href"] for link in found.of("a")}


def test_a_policy_without_a_price_has_no_chart_of_its_cost() -> None:
    """And one that never answered no latency."""
    usual = timeline_of()
    line = usual.services[0]
    silent = replace(line.points[0], usd=None, latency_ms=None)

    page = render_history_page(replace(usual, services=(replace(line, points=(silent,)),)))

    assert "Latency in ms" in page
    assert "Cost of a session" not in page


def test_khat_has_a_chart_and_a_limit_where_it_was_fitted() -> None:
    """With fewer items there is none."""
    usual = timeline_of()
    pair = usual.pairs[0]
    point = replace(pair.points[-1], khat=0.25, khat_bar=0.5, ruinous=(), without=None)

    page = render_history_page(replace(usual, pairs=(replace(pair, points=(point,)),)))

    assert "<b>k-hat</b>" in page
    assert "0.25 (limit 0.50)" in page
    assert "k-hat" not in render_history_page(usual)


def test_an_empty_history_is_a_page() -> None:
    """With no session, no cell and no date."""
    usual = timeline_of(is_watched=False)
    page = render_history_page(
        replace(
            usual, sessions=(), empty=(), cells=(), services=(), changes=(), outliers=(), pairs=()
        )
    )

    assert "hosted: 0 of 0 cells outside the band" in page
    assert "no session" in page


def test_long_lists_are_cut_with_the_number_of_the_rest() -> None:
    """Nobody reads a thousand changes."""
    usual = timeline_of()
    change = usual.changes[0]
    line = usual.cells[0]
    far = replace(line.points[1], far=(-1.0,) * 300, totals=(-1.0,) * 300)
    lines = tuple(replace(line, cell=f"base--{n}", points=(far,)) for n in range(25))

    text = Elements(render_history_page(replace(usual, changes=(change,) * 203, cells=lines))).text

    assert "And 3 earlier ones." in text
    assert "And 7499 that are nearer to the center." in text
    assert "and 5 more." in text


def test_sessions_are_in_blocks_that_a_browser_may_skip() -> None:
    """Full blocks only, because their height is known."""
    page = render_history_page(timeline_of(250))

    blocks = re.findall(r'<div class="block( cv)?">', page)
    assert blocks == [" cv", " cv", ""]


def test_the_page_is_the_same_twice() -> None:
    """Byte for byte."""
    assert render_history_page(timeline_of()) == render_history_page(timeline_of())
