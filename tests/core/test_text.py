"""Untrusted bytes are escaped as one safe line, reversibly."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.core.text import escape_bytes, escape_text, unescape_bytes, unescape_text


@given(st.binary() | st.text().map(str.encode))
def test_spelling_loses_no_byte(data: bytes) -> None:
    """Whatever bytes are spelled, unspelling gives them back."""
    assert unescape_bytes(escape_bytes(data)) == data


@given(st.binary() | st.text().map(str.encode))
def test_a_spelling_is_one_printable_line(data: bytes) -> None:
    """No bytes can move a cursor or start a second line."""
    spelled = escape_bytes(data)

    assert spelled.isprintable()
    assert len(spelled.splitlines()) <= 1


@pytest.mark.parametrize(
    ("data", "spelled"),
    [
        (b"", ""),
        (b" autumn leaves", " autumn leaves"),
        ("Blätter 叶 🍁".encode(), "Blätter 叶 🍁"),
        (b"a\nb\rc\td", r"a\nb\rc\td"),
        (rb"C:\x41", r"C:\\x41"),
        (b"\x1b[2J\x00", r"\x1b[2J\x00"),
        (b"\xff\xe5\x8f", r"\xff\xe5\x8f"),
        ("\N{RIGHT-TO-LEFT OVERRIDE}".encode(), r"\xe2\x80\xae"),
        ("\N{ZERO WIDTH SPACE}".encode(), r"\xe2\x80\x8b"),
        ("\N{LINE SEPARATOR}".encode(), r"\xe2\x80\xa8"),
        (b"\xed\xa0\x80", r"\xed\xa0\x80"),
    ],
)
def test_bytes_are_spelled_readably(data: bytes, spelled: str) -> None:
    """Printable UTF-8 stands for itself, and everything else is escaped byte by byte."""
    assert escape_bytes(data) == spelled


@pytest.mark.parametrize(
    "character",
    [
        "\N{COMBINING GRAPHEME JOINER}",
        "\N{HANGUL FILLER}",
        "\N{HALFWIDTH HANGUL FILLER}",
        "\N{VARIATION SELECTOR-16}",
        "\N{VARIATION SELECTOR-256}",
    ],
)
def test_what_is_displayed_as_nothing_is_escaped(character: str) -> None:
    """An invisible character that Python calls printable cannot hide text."""
    assert character.isprintable()
    assert escape_bytes(character.encode()) == "".join(
        f"\\x{byte:02x}" for byte in character.encode()
    )


def test_no_formatting_character_is_left() -> None:
    """Of all of Unicode, no control or format character stands for itself."""
    left = [
        character
        for character in map(chr, range(sys.maxunicode + 1))
        if unicodedata.category(character) in {"Cc", "Cf", "Zl", "Zp"}
        and character in escape_bytes(character.encode())
    ]

    assert left == []


@pytest.mark.parametrize("text", ["\\", "\\q", "a\\x4", "\\xZZ", "\\x4G", "\\\\\\"])
def test_a_stray_backslash_is_refused(text: str) -> None:
    """Text that no spelling can have produced is not guessed at."""
    with pytest.raises(ValueError, match="a backslash that starts no escape in "):
        unescape_bytes(text)


def test_a_lone_surrogate_is_refused() -> None:
    """JSON can hold half a character, which no bytes spell."""
    with pytest.raises(ValueError, match="surrogates not allowed"):
        unescape_bytes("\ud800")


def test_an_untrusted_message_becomes_one_safe_line() -> None:
    """An engine's message can neither add lines nor colours, nor smuggle in half characters."""
    assert escape_text("oh\n\x1b[31mno\ud800") == r"oh\n\x1b[31mno\xed\xa0\x80"


@given(
    st.text(st.characters(codec=None)) | st.text(st.sampled_from("\\x1\ud83c\udf42\ud800\u202e"))
)
def test_a_printable_text_can_be_read_back(text: str) -> None:
    """Untrusted text is preserved, even invalid Unicode."""
    assert unescape_text(escape_text(text)) == text
