"""A secret is masked in any text, in part and in whole, in time linear in the text."""

import base64
import html
import json
import re
import resource
from collections.abc import Callable, Mapping
from html.entities import html5
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from repro_gate.adapters.http.secret import MIN_RUN, Secret
from tests.fakes.processes import raised_in_a_child

KEY = 'fw_Zq7/tPx+93&vLm2~"secret?4lPHa-OMEGA_9x'
"""41 characters, some of which are escaped in URLs, JSON, HTML and base64."""
_NAMES = {text: name for name, text in html5.items() if name.endswith(";") and len(text) == 1}
_SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": lambda letter: letter,
    "percent": lambda letter: f"%{ord(letter):02X}",
    "percent in lower case": lambda letter: f"%{ord(letter):02x}",
    "JSON by number": lambda letter: f"\\u{ord(letter):04x}",
    "JSON by number in upper case": lambda letter: f"\\u{ord(letter):04X}",
    "JSON by backslash": lambda letter: f"\\{letter}",
    "Python by number": lambda letter: f"\\x{ord(letter):02x}",
    "HTML by name": lambda letter: f"&{_NAMES[letter]}" if letter in _NAMES else letter,
    "HTML by number": lambda letter: f"&#{ord(letter)};",
    "HTML by padded number": lambda letter: f"&#000{ord(letter)};",
    "HTML by hexadecimal": lambda letter: f"&#x{ord(letter):x};",
    "HTML by padded hexadecimal": lambda letter: f"&#X00{ord(letter):X};",
}
_NESTED: dict[str, Callable[[str], str]] = {
    "JSON in a URL": lambda letter: f"%5Cu{ord(letter):04x}",
    "a URL in HTML": lambda letter: f"&#37;{ord(letter):02x}",
    "JSON in JSON in a URL": lambda letter: quote(f"\\\\u{ord(letter):04x}"),
}


def _applied(spell: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: "".join(map(spell, text))


_ENCODINGS: Mapping[str, Callable[[str], str]] = {
    **{name: _applied(spell) for name, spell in (_SPELLINGS | _NESTED).items()},
    "URL": lambda text: quote(text, safe=""),
    "JSON": lambda text: json.dumps(text)[1:-1],
    "HTML": html.escape,
    "upper case": str.upper,
    "lower case": str.lower,
}
_BASE64: Mapping[str, Callable[[bytes], bytes]] = {
    "standard": base64.b64encode,
    "of URLs": base64.urlsafe_b64encode,
    "of URLs in a URL": lambda data: quote(base64.urlsafe_b64encode(data), safe="").encode(),
    "in a URL": lambda data: quote(base64.b64encode(data), safe="").encode(),
    "in JSON": lambda data: base64.b64encode(data).replace(b"/", b"\\/"),
}
# Without the mask's own character; a key of one letter throughout is no less a key.
_letters = st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="*")
_keys = st.text(_letters, min_size=1, max_size=60) | st.text(
    st.sampled_from("aA\\%&#x;u0641/"), min_size=1, max_size=60
)
_other_text = st.text(st.sampled_from("жЩ я\n—\u200b🙂"), max_size=20)


def _grams(secret: str) -> set[str]:
    """Return the parts of a secret that must not be shown, in lower case."""
    run = min(MIN_RUN, len(secret))
    return {secret[start : start + run].lower() for start in range(len(secret) - run + 1)}


def _shown(secret: str, text: str) -> set[str]:
    """Return the parts of a secret that other tools find when they decode a text in every way."""
    decoders: list[Callable[[str], str]] = [
        unquote,
        html.unescape,
        lambda text: re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), text),
        lambda text: re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL),
    ]
    texts = {text}
    for _ in range(2):
        texts |= {decode(text) for decode in decoders for text in texts}
    words = {word for text in texts for word in re.findall(r"[A-Za-z0-9+/_-]{8,}", text)}
    for word in words:
        plain = word.replace("-", "+").replace("_", "/")
        for skipped in range(4):
            whole = plain[skipped:][: (len(plain) - skipped) // 4 * 4]
            texts.add(base64.b64decode(whole).decode("latin-1"))
    return {gram for gram in _grams(secret) for text in texts if gram in text.lower()}


def test_the_search_of_these_tests_finds_parts() -> None:
    """Otherwise the other tests of this file could not fail."""
    for text in (
        KEY[5:13],
        quote(KEY[5:13]),
        json.dumps(KEY),
        html.escape(KEY[10:20]),
        base64.b64encode(b"x" + KEY.encode()).decode(),
    ):
        assert _shown(KEY, text), text


@pytest.mark.parametrize("encoding", _ENCODINGS.values(), ids=_ENCODINGS.keys())
def test_every_part_of_a_key_is_masked(encoding: Callable[[str], str]) -> None:
    """Each start, middle and end of eight or more characters is replaced, and nothing else."""
    parts = [
        KEY[start:end]
        for start in range(len(KEY) - MIN_RUN + 1)
        for end in range(start + MIN_RUN, len(KEY) + 1)
    ]

    kept = [part for part in parts if Secret(KEY).scrub(f"«{encoding(part)}»") != "«***»"]

    assert kept == []


@pytest.mark.parametrize("encode", _BASE64.values(), ids=_BASE64.keys())
@pytest.mark.parametrize("before", ["", "Bearer ", "u:", "user:", '{"key": "'])
def test_every_part_of_a_key_is_masked_in_base64(
    encode: Callable[[bytes], bytes], before: str
) -> None:
    """At any position in the encoded text, whatever follows."""
    parts = [KEY[:end] for end in range(MIN_RUN, len(KEY) + 1)] + [
        KEY[start:] for start in range(len(KEY) - MIN_RUN + 1)
    ]

    texts = [
        Secret(KEY).scrub(encode(f"{before}{part}{after}".encode()).decode())
        for part in parts
        for after in ("", '"}', "@host")
    ]

    assert [text for text in texts if "***" not in text or _shown(KEY, text)] == []


@given(
    secret=_keys,
    data=st.data(),
    before=_other_text,
    after=_other_text,
)
def test_a_part_is_masked_in_any_mix_of_escapes(
    secret: str, data: st.DataObject, before: str, after: str
) -> None:
    """Escapes may be mixed; the text around them is unchanged."""
    run = min(MIN_RUN, len(secret))
    start = data.draw(st.integers(0, len(secret) - run), label="start")
    end = data.draw(st.integers(start + run, len(secret)), label="end")
    spellings = [data.draw(st.sampled_from(list(_SPELLINGS))) for _ in range(start, end)]
    letters = zip(spellings, secret[start:end], strict=True)
    spelled = "".join(_SPELLINGS[name](letter) for name, letter in letters)

    masked = Secret(secret).scrub(f"{before}{spelled}{after}")

    assert masked == f"{before}***{after}"


@given(
    secret=st.text(_letters, min_size=8, max_size=60),
    data=st.data(),
    before=st.binary(max_size=12),
    after=st.binary(max_size=12),
)
def test_a_part_is_masked_in_base64_whatever_surrounds_it(
    secret: str, data: st.DataObject, before: bytes, after: bytes
) -> None:
    """Decoding the rest gives no eight characters of the key."""
    start = data.draw(st.integers(0, len(secret) - MIN_RUN), label="start")
    encoded = base64.b64encode(before + secret[start:].encode() + after).decode()

    masked = Secret(secret).scrub(encoded)

    assert "***" in masked
    assert _shown(secret, masked) == set()


@given(
    parts=st.lists(
        st.tuples(
            st.sampled_from([*"abcdefg", "abcdefg", "%61", "\\u0062", "&#99;"]),
            st.sampled_from(["-", "%2d", "\\n", "&amp;", "é"]),
        )
    )
)
@example(parts=[("tuvwxyz", "-")])
def test_a_text_without_the_key_is_unchanged(parts: list[tuple[str, str]]) -> None:
    """Parts of up to seven characters are kept, and so are all escapes."""
    text = "".join(part for pair in parts for part in pair)

    assert Secret("abcdefghijklmnopqrstuvwxyz").scrub(text) == text


@pytest.mark.parametrize("secret", ["Say", "plain", "1234567"])
def test_a_short_key_is_masked_as_a_whole(secret: str) -> None:
    """A part of it could be an ordinary word."""
    encoded = base64.b64encode(secret.encode()).decode().rstrip("=")

    assert Secret(secret).scrub(f"<{secret}> <{secret[:-1]}>") == f"<***> <{secret[:-1]}>"
    assert secret not in Secret(secret).scrub(encoded)
    assert "***" in Secret(secret).scrub(encoded)


@pytest.mark.parametrize("cut", [80, 200, 300])
def test_a_cut_leaves_no_part_of_a_key(cut: int) -> None:
    """At any position in an answer of any length."""
    key = Secret(KEY)
    texts = [
        "x" * before + KEY + "y" * after
        for limit in (cut, 4096, 65536)
        for before in range(limit - len(KEY) - 3, limit + 3, 1 if limit == cut else 7)
        for after in (0, 2 * limit)
    ]

    shown = [key.quote(text, max_length=cut) for text in texts]

    assert [text for text in shown if _shown(KEY, text) or len(text) > cut + 3] == []


@pytest.mark.parametrize(
    ("text", "is_cut"), [("x" * 300, False), ("x" * 301, True), (f"{KEY}{' ' * 9000}", False)]
)
def test_a_cut_is_marked(text: str, is_cut: bool) -> None:  # noqa: FBT001 -- a parameter of the test
    """An ellipsis is where text is omitted, and nowhere else."""
    assert Secret(KEY).quote(text).endswith("...") is is_cut


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        (KEY, KEY[:33]),
        (KEY, base64.b64encode(KEY.encode()).decode()[:40]),
        ("a" * 41, "a" * 7 + "b"),
        ("a" * 41, "a"),
        ("\\" * 41, "\\"),
        ("\\u0041" * 7, "\\u0041"),
        ("&#0" * 14, "&#0"),
        ("%25" * 14, "%25"),
        ("x" * 4000, "x" * 7 + "&#x0000078;"),
    ],
)
def test_a_text_is_searched_in_linear_time(secret: str, text: str) -> None:
    """64 KiB of the worst case take a few CPU seconds at most."""

    def search() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
        Secret(secret).scrub((text * 70_000)[: 1 << 16])

    assert raised_in_a_child(search) is None
