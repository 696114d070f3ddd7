"""The frame of a page: its policy, and nothing from outside."""

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files

import pytest

from repro_gate.reports.html.page import policy_of, render_page, require_inline
from tests.reports.html.elements import Elements

_PACKAGE = files("repro_gate.reports.html")


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _frame() -> str:
    return render_page("html/page.html.j2")


def test_the_policy_allows_our_script_and_style_only() -> None:
    """It has the hashes of what is between the tags, as a browser computes them."""
    page = _frame()
    script, style = (
        page.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0] for tag in ("script", "style")
    )
    directives = policy_of(script, style).split("; ")

    assert script == _PACKAGE.joinpath("script.js").read_text("utf-8")
    assert directives[:3] == [
        "default-src 'none'",
        f"script-src {_hash(script)}",
        f"style-src {_hash(style)}",
    ]
    assert not {"'self'", "'unsafe-inline'"} & set(" ".join(directives).split())


def test_the_policy_comes_before_all_that_it_covers() -> None:
    """After the character set, and before any other element of the head."""
    metas = list(Elements(_frame()).of("meta"))
    script, style = (
        _PACKAGE.joinpath(f"{name}").read_text() for name in ("script.js", "style.css")
    )

    assert metas[0] == {"charset": "utf-8"}
    assert metas[1] == {
        "http-equiv": "Content-Security-Policy",
        "content": policy_of(script, style),
    }
    assert [name for name, _ in Elements(_frame()).found][:4] == ["html", "head", "meta", "meta"]


def test_a_page_needs_no_network() -> None:
    """No element names another file, and no attribute has a style or a script."""
    found = Elements(_frame())

    assert found.names() & {"link", "img", "iframe", "object", "embed", "base"} == set()
    assert found.attributes() & {"src", "srcdoc", "style", "action"} == set()
    assert not any(name.startswith("on") for name in found.attributes())
    assert [one["href"] for one in found.of("a")] == ["#main"]
    assert "url(" not in _frame()


def test_a_page_is_the_same_twice() -> None:
    """Byte for byte, with line ends that do not change the hashes."""
    assert _frame() == _frame()
    assert "\r" not in _frame()


@pytest.mark.parametrize("text", ["a </SCRIPT> b", "a <!-- b", "a </style> b"])
def test_a_file_that_would_end_its_element_is_refused(text: str) -> None:
    """Such a script would be cut, or would hide the rest of the page."""
    with pytest.raises(ValueError, match="would end its element"):
        require_inline(text, "x.js")
