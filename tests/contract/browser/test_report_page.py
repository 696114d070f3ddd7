"""The page of a check in a real browser: inert, complete, and usable by everyone."""

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from repro_gate.core.report import GateReport
from repro_gate.core.timeline import KeptHistory
from repro_gate.reports.findings.wording import WORDS
from repro_gate.reports.html.check.page import render_html
from repro_gate.reports.html.text import visible
from tests.contract.browser.conftest import Browser, Opened
from tests.contract.browser.test_history_page import written
from tests.fakes.hostile_text import HOSTILE
from tests.fakes.page_reports import large_page_report, small_page_report
from tests.fakes.timelines import timeline_of
from tests.reports.conftest import GRADES, hostile_report_of

_DESK, _PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
_JENKINS = "sandbox allow-same-origin; default-src 'none'; img-src 'self'; style-src 'self'"
_TEXTS = "[...document.querySelectorAll('bdi')].map(each => each.textContent)"
_ROWS = "tr[data-v]:not([hidden])"
_SHOW_ALL = (
    "for (const each of document.querySelectorAll('.cv')) each.style.contentVisibility = 'visible';"
    "for (const each of document.querySelectorAll('details')) each.open = true"
)


@cache
def small() -> GateReport:
    """Return thirty cells with every verdict, and everything else that a page can have."""
    return replace(small_page_report(), grades=GRADES)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of thirty cells, with a history."""
    history = KeptHistory(timelines=(timeline_of(30),), left_out=2)
    return page_of(tmp_path_factory, small(), history=history)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of ten thousand cells."""
    return page_of(tmp_path_factory, large_page_report())


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Return a page for each hostile text, in which all untrusted text is that."""
    return {text: page_of(tmp_path_factory, hostile_report_of(text)) for text in HOSTILE}


def page_of(paths: pytest.TempPathFactory, report: GateReport, **more: Any) -> Path:
    """Write the page of a report."""
    return written(paths.mktemp("page"), render_html(report, **more))


def is_quiet(opened: Opened, file: Path) -> bool:
    """Return whether one file was opened once, and nothing else happened."""
    # The query of the filter is in the address.
    places = {address.partition("#")[0] for address in opened.events("framenavigated")}
    return (
        opened.events("request") == [file.as_uri()]
        and places == {file.as_uri()}
        and opened.events("console", "pageerror", "dialog") == []
    )


def shown(opened: Opened) -> int:
    """Return the number of rows that are not hidden."""
    return int(opened.page.locator(_ROWS).count())


def search(opened: Opened, text: str) -> None:
    """Type a query."""
    opened.page.locator("input[type=search]").fill(text)


def test_a_page_is_one_request_and_says_nothing(browser: Browser, usual: Path) -> None:
    """No script fails, nothing is loaded, and the policy refuses nothing."""
    with browser.open(usual) as opened:
        opened.page.wait_for_timeout(100)

        assert is_quiet(opened, usual)


def test_every_verdict_is_there_in_words(browser: Browser, usual: Path) -> None:
    """Of both gates, as a badge of its row or finding."""
    with browser.open(usual) as opened:
        words = set(opened.page.locator(".badge").all_text_contents())

    hosted = {cell.verdict.word for part in small().logprobs for cell in part.cells}
    assert words >= {*WORDS, *hosted}


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_text_does_nothing_and_is_seen(
    browser: Browser, hostile: Mapping[str, Path], number: int
) -> None:
    """In every field: it runs and loads nothing, and every character of it can be read."""
    text = list(HOSTILE)[number]
    file = hostile[text]
    with browser.open(file) as opened:
        opened.page.evaluate(_SHOW_ALL)
        for _ in range(20):
            opened.page.keyboard.press("Tab")

        assert opened.page.evaluate("window.pwned") is None
        assert opened.page.evaluate("document.getElementById('main').tagName") == "MAIN"
        assert HOSTILE[text] in opened.page.evaluate(_TEXTS)
        assert opened.page.locator("form.filter").is_visible()
        assert is_quiet(opened, file)


@pytest.mark.parametrize(("has_policy", "pwned"), [(False, 1), (True, None)])
def test_one_field_without_escaping_would_run(
    browser: Browser, hostile: Mapping[str, Path], tmp_path: Path, *, has_policy: bool, pwned: Any
) -> None:
    """The control: the policy alone still stops a script, and not the rest."""
    text = "<img src=x onerror=pwned=1>"
    page = hostile[text].read_text("utf-8").replace(visible(text), text)
    raw = written(tmp_path, page if has_policy else _POLICY.sub("", page))

    with browser.open(raw) as opened:
        opened.page.wait_for_timeout(200)

        assert opened.page.evaluate("window.pwned") == pwned
        assert not is_quiet(opened, raw)


def test_the_box_filters_cells_and_findings(browser: Browser, usual: Path) -> None:
    """By verdict, model and words, and it counts what is left."""
    with browser.open(usual) as opened:
        every = shown(opened)
        search(opened, "v:drift m:qwen")
        drifts = shown(opened)
        search(opened, "v:drift -qwen2.5")

        assert 0 < drifts < every
        assert shown(opened) < every
        assert (
            opened.page.locator("output").text_content().startswith(f"{shown(opened)} of {every}")
        )


def test_a_filtered_view_has_an_address(browser: Browser, usual: Path) -> None:
    """It is the same when opened again; a file on a disk may have one."""
    with browser.open(usual) as opened:
        search(opened, "v:drift")
        address, rows = opened.page.evaluate("location.href"), shown(opened)
        opened.page.goto("about:blank")
        opened.page.goto(address)

        assert address.endswith("#q=v%3Adrift")
        assert opened.page.locator("input[type=search]").input_value() == "v:drift"
        assert shown(opened) == rows


def test_the_page_is_used_with_keys_alone(browser: Browser, usual: Path) -> None:
    """A slash leads to the search and Escape clears it; a finding opens with Enter."""
    with browser.open(usual) as opened:
        page = opened.page
        page.keyboard.press("/")
        page.keyboard.type("nothing like this")
        assert shown(opened) == 0
        page.keyboard.press("Escape")
        assert shown(opened) > 0

        second = page.locator("details.finding summary").nth(1)
        second.focus()
        page.keyboard.press("Enter")
        assert page.locator("details.finding").nth(1).get_attribute("open") is not None


def test_a_button_of_a_verdict_filters(browser: Browser, usual: Path) -> None:
    """And once more shows everything again."""
    with browser.open(usual) as opened:
        every = shown(opened)
        button = opened.page.locator("form.filter button[data-v=match]")
        button.click()
        assert button.get_attribute("aria-pressed") == "true"
        assert 0 < shown(opened) < every
        button.click()

        assert shown(opened) == every


def test_a_row_leads_to_its_finding(browser: Browser, usual: Path) -> None:
    """Which opens; the draws of a hosted cell are there again."""
    with browser.open(usual) as opened:
        opened.page.locator(".strips a").first.click()

        finding = opened.page.locator(f"{opened.page.evaluate('location.hash')}")
        assert finding.is_visible()
        assert finding.locator("svg[role=img]").count() == 1


def test_the_page_is_complete_without_a_script(browser: Browser, usual: Path) -> None:
    """Only the filter is missing."""
    with browser.open(usual, java_script_enabled=False) as opened:
        text = opened.page.locator("main").text_content()

        assert all(cell.cell.prompt in text for cell in small().cells)
        assert all(cell.cell.item.name in text for part in small().logprobs for cell in part.cells)
        assert not opened.page.locator("form.filter").is_visible()


def test_jenkins_shows_every_cell(browser: Browser, usual: Path) -> None:
    """Its header allows neither a script nor a style: pictures have their colours by attributes."""
    with browser.open(usual, java_script_enabled=True) as opened:
        page = opened.page

        def served(route: Any) -> None:
            headers = {"Content-Security-Policy": _JENKINS, "Content-Type": "text/html"}
            route.fulfill(status=200, headers=headers, body=usual.read_text("utf-8"))

        page.route("http://jenkins.test/*", served)
        page.goto("http://jenkins.test/report.html")

        assert page.locator("tr[data-v]").count() == shown_of(small())
        assert page.locator("tr[data-v]").first.is_visible()
        assert not page.locator("form.filter").is_visible()
        band = page.locator(".strip path.band").first
        assert band.evaluate("each => getComputedStyle(each).fill") == "rgb(219, 232, 255)"


def shown_of(report: GateReport) -> int:
    """Return the number of rows of a report."""
    return len(report.cells) + sum(len(part.cells) for part in report.logprobs)


def test_print_has_every_finding_open_and_no_controls(browser: Browser, usual: Path) -> None:
    """Paper has no filter and cannot unfold."""
    with browser.open(usual) as opened:
        opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        opened.page.emulate_media(media="print")

        assert not opened.page.locator("form.filter").is_visible()
        assert opened.page.locator("details:not([open])").count() == 0
        assert opened.page.locator(".strip svg").first.is_visible()


def test_ten_thousand_cells_are_found_by_the_last_one(browser: Browser, large: Path) -> None:
    """All are in the page, for a screen reader and to find, and the box filters them."""
    report = large_page_report()
    last = report.cells[-1].cell
    with browser.open(large) as opened:
        assert opened.page.locator("tr[data-v]").count() == shown_of(report)
        search(opened, f'"{last.model}--{last.prompt}--seed{last.seed}"')

        assert shown(opened) == 1
        assert is_quiet(opened, large)


def test_the_first_finding_is_read_in_order(browser: Browser, usual: Path) -> None:
    """Its verdict, its cell, the tokens with the fork, and what to do, for a screen reader."""
    with browser.open(usual) as opened:
        tree = opened.page.locator("details.finding").first.aria_snapshot()

    places = [tree.find(text) for text in ("nondeterministic", "--seed", "fork", "What to do")]
    assert -1 not in places
    assert places == sorted(places)
    assert "table" in tree
    assert "columnheader" in tree


def test_the_draws_are_a_table_with_pictures_that_have_words(browser: Browser, usual: Path) -> None:
    """On a narrow screen too, where rows are laid out in another way."""
    with browser.open(usual, viewport=_PHONE) as opened:
        tree = opened.page.locator(".strips").first.aria_snapshot()

    assert re.search(r"- table", tree)
    assert re.search(r"- 'img \"base--capital: the band is .* nats; 10 baseline draws", tree)
    assert tree.count("rowheader") == 8


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [_DESK, _PHONE], ids=["desk", "phone"])
def test_the_page_is_accessible(
    browser: Browser, usual: Path, axe: str, scheme: str, viewport: Mapping[str, int]
) -> None:
    """No rule of WCAG 2.2 AA or best practice is broken, and nothing is wider than the screen."""
    with browser.open(
        usual, color_scheme=scheme, viewport=viewport, reduced_motion="reduce"
    ) as opened:
        opened.page.evaluate(_SHOW_ALL)
        # The policy forbids an element with this script, and not the debugger.
        opened.page.evaluate(axe)
        found: dict[str, Any] = opened.page.evaluate("axe.run()")

        assert [(each["id"], each["nodes"][0]["html"][:200]) for each in found["violations"]] == []
        assert opened.page.evaluate("document.documentElement.scrollWidth") == viewport["width"]
