"""The page of a check: inert whatever is in it, and complete without its script."""

import re
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given, settings

from repro_gate.core.report import GateReport
from repro_gate.reports.html.check.page import render_html
from repro_gate.reports.html.text import visible
from tests.fakes.hostile_text import HOSTILE
from tests.reports.html.elements import Elements
from tests.reports.random_reports import foreign_texts

Hostile = Callable[[str], GateReport]

_TAME = "tame text\n" * 60
"""So long that it is cut and folded, and with an escape: all that a text can do to a page."""
_UNTRUSTED = {"aria-label", "title"}
"""The attributes in which text from outside may be."""
_MARKUP = [text for text in HOSTILE if "<" in text]


_BY_LENGTH = {"bdi", "i", "span", "details", "summary"}
"""Elements whose number depends on the length of a text and on its escapes."""


def shape_of(page: str) -> Counter[tuple[str, str, str | None]]:
    """Return each element with each of its attributes, the values that are ours, and how often."""
    shape: Counter[tuple[str, str, str | None]] = Counter()
    for tag, attributes in Elements(page).found:
        shape[tag, "", ""] += 1
        shape.update(
            (tag, name, None if name in _UNTRUSTED else value) for name, value in attributes.items()
        )
    return Counter({key: 1 if key[0] in _BY_LENGTH else count for key, count in shape.items()})


def is_inert(page: str, tame: str) -> bool:
    """Tell whether a page has the elements and attributes of a tame one."""
    try:
        shape, usual = shape_of(page), shape_of(tame)
    except AssertionError:
        # An element is not closed.
        return False
    # A comment that is not closed is text for this parser, and hides the page in a browser.
    missing = {tag for tag, *_ in usual - shape}
    return "<!--" not in page and shape <= usual and missing <= _BY_LENGTH


def texts_of(page: str) -> Iterator[str]:
    """Yield what is between isolating tags, as a reader sees it."""
    for part in re.findall(r"<bdi[^>]*>(.*?)</bdi>", page, re.DOTALL):
        yield Elements(part).text


@pytest.fixture(name="tame", scope="module")
def _tame(hostile_report: Hostile) -> str:
    """Return the page of a report in which all untrusted text is tame."""
    return render_html(hostile_report(_TAME))


@pytest.fixture(name="both", scope="module")
def _both(rich_report: GateReport, rich_logprob_report: GateReport) -> GateReport:
    """Return a report with every verdict of both gates."""
    return replace(rich_report, logprobs=rich_logprob_report.logprobs)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_adds_no_element(text: str, tame: str, hostile_report: Hostile) -> None:
    """Nor an attribute, nor takes one away, in any field; and it can be read."""
    page = render_html(hostile_report(text))

    assert is_inert(page, tame)
    assert HOSTILE[text] in set(texts_of(page))


@pytest.mark.parametrize("text", _MARKUP, ids=range(len(_MARKUP)))
def test_the_same_text_unescaped_is_found(text: str, tame: str, hostile_report: Hostile) -> None:
    """The control: with one text that is not escaped, the page has another shape."""
    page = render_html(hostile_report(text))
    unescaped = page.replace(visible(text), text, 1)

    assert unescaped != page
    assert not is_inert(unescaped, tame)


@given(text=foreign_texts.filter(bool))
@settings(deadline=None, max_examples=40)
def test_any_text_adds_no_element(text: str, tame: str, hostile_report: Hostile) -> None:
    """Also what nobody has thought of."""
    assert is_inert(render_html(hostile_report(text)), tame)


def test_the_page_runs_nothing_but_its_script(both: GateReport) -> None:
    """No attribute is a script, a style or a file; no link leaves the page."""
    found = Elements(render_html(both))

    assert not [name for name in found.attributes() if name.startswith("on")]
    assert found.attributes() & {"style", "src", "srcdoc", "action", "formaction"} == set()
    assert found.names() & {"link", "img", "iframe", "object", "embed", "base"} == set()
    assert all(str(link["href"]).startswith("#") for link in found.of("a"))
    assert [len(list(found.of(tag))) for tag in ("script", "style")] == [1, 1]


def test_the_policy_has_the_hashes_of_this_page(both: GateReport) -> None:
    """As a browser computes them: it has a script of its own, and two styles in one."""
    page = render_html(both)
    policy = next(str(meta["content"]) for meta in Elements(page).of("meta") if "content" in meta)

    for tag in ("script", "style"):
        text = page.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]
        digest = b64encode(sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy.split("; ")


def test_the_page_is_the_same_twice(both: GateReport) -> None:
    """Byte for byte."""
    assert render_html(both).encode() == render_html(both).encode()


def test_ids_are_ours_and_unique(both: GateReport) -> None:
    """Every link of the page leads to one of them."""
    found = Elements(render_html(both))
    ids = [str(attributes["id"]) for _, attributes in found.found if "id" in attributes]

    assert len(ids) == len(set(ids))
    assert {str(link["href"])[1:] for link in found.of("a")} <= set(ids)
    assert all(re.fullmatch(r"[a-z]+(-[a-z0-9]+)*", each) for each in ids)


def test_the_page_is_complete_without_its_script(both: GateReport) -> None:
    """Every finding, prompt and output is text of the page; only the filter is hidden."""
    found = Elements(render_html(both))
    hidden = [tag for tag, attributes in found.found if "hidden" in attributes]

    assert hidden == ["form"]
    assert all(cell.cell.text in found.text for cell in both.cells)
    assert "red leaves fall down and rest" in found.text


def test_scrolling_boxes_and_tables_have_names(both: GateReport) -> None:
    """A screen reader lists them."""
    page = render_html(both)
    found = Elements(page)

    boxes = [each for each in found.of("div") if each.get("class") == "scroll"]
    assert boxes
    assert all(box["tabindex"] == "0" and box["aria-label"] for box in boxes)
    assert page.count("<table") == page.count("<caption")


def test_a_passed_check_has_no_findings(gate_report: Callable[..., GateReport]) -> None:
    """Nor a section for them; without a cell, none for cells."""
    found = Elements(render_html(gate_report()))

    assert {"findings", "cells"} & {each.get("id") for each in found.of("section")} == set()
    assert "nothing was checked" in found.text
