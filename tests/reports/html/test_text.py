"""Untrusted text in a page."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from repro_gate.reports.html.text import plain, text_of_bytes, visible, visible_lines
from tests.fakes.hostile_text import HOSTILE
from tests.reports.html.elements import Elements

_INVISIBLE = re.compile("[\x00-\x1f\x7f-\xa0\xad\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff]")


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_seen_as_it_is(text: str) -> None:
    """It adds no element, and a reader sees every character."""
    found = Elements(visible(text))

    assert found.text == HOSTILE[text]
    assert found.names() <= {"bdi", "i", "span"}
    assert plain(text) == HOSTILE[text]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_stays_in_its_attribute(text: str) -> None:
    """The attribute has all of it, and the element has no other."""
    found = Elements(Markup('<b title="{}"></b>').format(plain(text)))

    assert found.found == [("b", {"title": HOSTILE[text]})]


def test_the_same_text_as_markup_would_be_found() -> None:
    """The control: a text that is not escaped adds elements, so these tests can fail."""
    assert Elements("<script>pwned=1</script>").names() == {"script"}


def test_an_escape_of_ours_differs_from_the_same_characters() -> None:
    """Only ours is in an element."""
    assert visible("\u202e") == '<bdi class="t" translate="no"><i class="e">\\u202e</i></bdi>'
    assert visible("\\u202e") == '<bdi class="t" translate="no">\\u202e</bdi>'


@given(st.text(st.characters(), max_size=500))
def test_no_text_has_a_hidden_character(text: str) -> None:
    """For any text, in an element and in an attribute; the page can be encoded."""
    for shown in (visible(text), plain(text)):
        assert not _INVISIBLE.search(shown)
        shown.encode()


def test_bytes_that_are_no_text_are_seen() -> None:
    """As in every other report, and apart from the same characters as text."""
    text = text_of_bytes(b"\xd1\\xd1\n")

    assert visible(text) == (
        '<bdi class="t" translate="no"><i class="e">\\xd1</i>\\xd1<i class="e">\\n</i></bdi>'
    )


def test_lines_are_broken_after_their_escape() -> None:
    """Outside of the mark, so that it does not continue on the next line."""
    assert visible_lines("a\n\t\n\nb") == (
        '<bdi class="t" translate="no">a<i class="e">\\n</i>\n<i class="e">\\t\\n</i>\n'
        '<i class="e">\\n</i>\nb</bdi>'
    )
