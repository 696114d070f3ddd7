"""The page of a history in a real browser: inert, complete, and usable by everyone."""

import re
from pathlib import Path
from typing import Any

import pytest

from repro_gate.reports.history.page import render_history_page
from tests.contract.browser.conftest import Browser
from tests.fakes.hostile_text import HOSTILE
from tests.fakes.timelines import timeline_of
from tests.reports.history.test_page import hostile_timeline

_PHONE = {"width": 390, "height": 800}
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
_TEXTS = "[...document.querySelectorAll('bdi')].map(each => each.textContent)"


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of 250 nights."""
    return written(tmp_path_factory.mktemp("usual"), render_history_page(timeline_of(250)))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a page in which every untrusted text is hostile."""
    return written(tmp_path_factory.mktemp("hostile"), render_history_page(hostile_timeline()))


def written(folder: Path, page: str) -> Path:
    """Write a page as the program does."""
    file = folder / "history.html"
    file.write_text(page, "utf-8", newline="\n")
    return file


def test_hostile_text_does_nothing(browser: Browser, hostile: Path) -> None:
    """It runs no script, loads nothing, opens nothing and does not leave the page."""
    with browser.open(hostile) as opened:
        for _ in range(60):
            opened.page.keyboard.press("Tab")

        assert opened.page.evaluate("window.pwned") is None
        assert opened.page.evaluate("document.getElementById('main').tagName") == "MAIN"
        assert opened.events("request", "framenavigated") == [hostile.as_uri()] * 2
        assert opened.events("console", "pageerror", "dialog") == []


def test_hostile_text_is_seen(browser: Browser, hostile: Path) -> None:
    """Every character of it, and our script still runs."""
    with browser.open(hostile) as opened:
        assert set(HOSTILE.values()) <= set(opened.page.evaluate(_TEXTS))
        assert opened.page.locator("form.filter").is_visible()


@pytest.mark.parametrize(("has_policy", "pwned"), [(False, 1), (True, None)])
def test_the_same_text_unescaped_would_run(
    browser: Browser, usual: Path, tmp_path: Path, *, has_policy: bool, pwned: int | None
) -> None:
    """The control: without escaping and policy it does, and the policy alone stops it."""
    attacks = "".join(text for text in HOSTILE if "pwned" in text and "<!--" not in text)
    page = usual.read_text("utf-8").replace("</h1>", f"</h1>{attacks}")
    raw = written(tmp_path, page if has_policy else _POLICY.sub("", page))

    with browser.open(raw) as opened:
        opened.page.wait_for_timeout(200)

        assert opened.page.evaluate("window.pwned") == pwned


def test_the_filter_counts_what_it_shows(browser: Browser, usual: Path) -> None:
    """By words and by kind; the key / leads to it."""
    with browser.open(usual) as opened:
        page, count = opened.page, len(timeline_of(250).sessions)
        page.keyboard.press("/")
        page.keyboard.type("2026-01-05 night")
        assert page.locator("output").text_content() == f"1 of {count}"
        assert page.locator(".block:not([hidden])").count() == 1

        page.locator("input[type=search]").fill("")
        page.locator("input[value=night]").uncheck()
        assert page.locator("output").text_content() == f"1 of {count}"


def test_the_page_is_complete_without_a_script(browser: Browser, usual: Path) -> None:
    """Jenkins shows it so; only the filter is missing."""
    with browser.open(usual, java_script_enabled=False) as opened:
        text = opened.page.locator("main").text_content()

        assert all(session.key in text for session in timeline_of(250).sessions)
        assert not opened.page.locator("form.filter").is_visible()


def test_charts_are_drawn_without_the_style(browser: Browser, usual: Path, tmp_path: Path) -> None:
    """Their attributes have colours, and no shape is filled with black."""
    plain = re.sub(r"<style>.*?</style>", "", usual.read_text("utf-8"), flags=re.DOTALL)

    with browser.open(written(tmp_path, plain)) as opened:
        path = opened.page.locator("figure path.middle").first
        assert path.evaluate("each => getComputedStyle(each).stroke") == "rgb(10, 83, 190)"
        assert path.evaluate("each => getComputedStyle(each).fill") == "none"


def test_print_has_no_controls(browser: Browser, usual: Path) -> None:
    """Paper has no filter."""
    with browser.open(usual) as opened:
        opened.page.emulate_media(media="print")

        assert not opened.page.locator("form.filter").is_visible()
        assert opened.page.locator("figure").first.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [None, _PHONE], ids=["desk", "phone"])
def test_the_page_is_accessible(
    browser: Browser, usual: Path, axe: str, scheme: str, viewport: dict[str, int] | None
) -> None:
    """No rule of WCAG 2.2 AA or best practice is broken, and nothing is wider than the screen."""
    usual_size = {"width": 1280, "height": 900}
    with browser.open(usual, color_scheme=scheme, viewport=viewport or usual_size) as opened:
        opened.page.evaluate(
            "for (const each of document.querySelectorAll('.cv'))"
            " each.style.contentVisibility = 'visible'"
        )
        # The policy forbids an element with this script, and not the debugger.
        opened.page.evaluate(axe)
        found: dict[str, Any] = opened.page.evaluate("axe.run()")

        assert [(each["id"], each["nodes"][0]["html"][:200]) for each in found["violations"]] == []
        width = opened.page.evaluate("document.documentElement.scrollWidth")
        assert width == (viewport or usual_size)["width"]
