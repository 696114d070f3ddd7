"""The building blocks of Markdown hold any untrusted text."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from repro_gate.reports.text.escape import one_line
from repro_gate.reports.text.markdown import code, details, document, fence, table
from tests.reports.github.rendering import html_of

MARKDOWN = MarkdownIt("commonmark").enable("table")

PIECES = [
    "`",
    "``",
    "```",
    "`" * 8,
    "`" * 9,
    "~~~",
    "|",
    "\\",
    " ",
    "<!--",
    "-->",
    "@you",
    "</details>",
    "\n",
    "\r",
]
foreign_text = st.lists(st.sampled_from(PIECES) | st.text(), min_size=1).map("".join)


def shown(text: str) -> str:
    """Return the visible text."""
    line = re.sub("`{9,}", lambda run: r"\x60" * len(run[0]), one_line(text))
    return line.replace("<!--", r"\x3c!--")


class Text(HTMLParser):
    """The elements of a page, and the text that is in none of them that hold code."""

    def __init__(self, markdown: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.alive = ""
        self._open: list[str] = []
        self.feed(html_of(markdown))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element that begins, and any attribute but the language of a fence."""
        self.tags |= {tag} | {name for name, _ in attrs} - {"lang"}
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Note an element that ends."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note text in which GitHub would look for mentions."""
        self.alive += "" if {"code", "pre"} & set(self._open) else data


@given(foreign_text.filter(bool))
@example("`")
@example(" ` ")
@example("   ")
@example("a``b`c")
def test_code_span_holds_all_of_a_text(text: str) -> None:
    """Between two words a code span is one element with the whole text."""
    (_, inline, _) = MARKDOWN.parse(f"before {code(text)} after")

    assert [(token.type, token.content) for token in inline.children or ()] == [
        ("text", "before "),
        ("code_inline", shown(text)),
        ("text", " after"),
    ]


RUNS = [*range(1, 90), *range(250, 260), 999, 5_000]
"""On both sides of 8, which we keep, of 80 and of 255, at which GitHub's parser gives up."""
PAYLOAD = " <b>x</b> @user [a](https://b) https://c.d"


@pytest.mark.parametrize("text", [PAYLOAD, f"{PAYLOAD} {'`' * 80}{PAYLOAD}"])
def test_no_number_of_backticks_closes_a_code_span(text: str) -> None:
    """GitHub's own parser finds only text."""
    for count in RUNS:
        page = Text(f"before {code('`' * count + text)} after")

        assert (page.tags, page.alive) == ({"p", "code"}, "before  after\n")


def test_no_number_of_backticks_closes_a_code_span_in_a_table() -> None:
    """The same holds in a cell."""
    for count in RUNS:
        page = Text("\n".join(table(["a"], [[code("`" * count + PAYLOAD)]])))

        assert page.tags == {"table", "thead", "tbody", "tr", "th", "td", "code"}
        assert page.alive.split() == ["a"]


def test_no_number_of_backticks_closes_a_code_span_in_a_fold() -> None:
    """The same holds below a summary that is HTML."""
    for count in RUNS:
        page = Text("\n".join(details("Facts", [code("`" * count + PAYLOAD)])))

        assert page.tags == {"details", "summary", "p", "code"}
        assert page.alive.split() == ["Facts"]


def test_no_number_of_backticks_closes_a_fence() -> None:
    """Not even a line of nothing else."""
    for count in RUNS:
        page = Text("\n".join(fence(["`" * count, PAYLOAD, "`" * count + PAYLOAD], "text")))

        assert (page.tags, page.alive.strip()) == ({"pre", "code"}, "")


def test_empty_text_is_shown_as_empty() -> None:
    """Markdown has no empty code span."""
    assert code("") == "(empty)"


@given(st.lists(foreign_text, max_size=4))
@example(["```", "````", "</details>", "~~~"])
def test_fence_holds_all_of_its_lines(lines: list[str]) -> None:
    """A fence is one block with every line."""
    (block,) = MARKDOWN.parse("\n".join(fence(lines, "text")))

    text = "".join(f"{shown(line)}\n" for line in lines)
    assert (block.type, block.info, block.content) == ("fence", "text", text)


@given(foreign_text)
@example("|")
@example("\\|")
@example("\\\\|")
@example("||\\||")
def test_table_keeps_its_columns(text: str) -> None:
    """No text adds a column, and only bars after a backslash are escaped differently."""
    tokens = MARKDOWN.parse("\n".join(table(["a", "b"], [[code(text), "x"]])))

    cells = [token for token in tokens if token.type == "inline"]
    spans = [child.content for cell in cells for child in cell.children or ()]
    expected = shown(text).replace("\\|", "\\\\x7c") if text else "(empty)"
    assert spans == ["a", "b", expected, "x"]


@pytest.mark.parametrize("text", ["</details>", "<!-- x -->", "<b>"])
def test_details_end_where_they_should(text: str) -> None:
    """Untrusted text in a collapsed block does not close it."""
    tokens = MARKDOWN.parse("\n".join(details("Facts", [code(text)])))

    assert [token.content for token in tokens if token.type == "html_block"] == [
        "<details>\n<summary>Facts</summary>\n",
        "</details>",
    ]


def test_a_document_separates_its_blocks() -> None:
    """An empty block leaves no gap."""
    assert document([["a", "b"], [], ["c"]]) == "a\nb\n\nc\n"
