"""The pieces of Markdown that hold foreign text."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from repro_gate.reports.foreign import one_line
from repro_gate.reports.markdown_text import code, details, document, fence, table

MARKDOWN = MarkdownIt("commonmark").enable("table")

PIECES = ["`", "``", "```", "~~~", "|", "\\", " ", "<!--", "-->", "@you", "</details>", "\n", "\r"]
foreign_text = st.lists(st.sampled_from(PIECES) | st.text(), min_size=1).map("".join)


def shown(text: str) -> str:
    """Return what a reader sees of foreign text."""
    return one_line(text).replace("<!--", r"\x3c!--")


@given(foreign_text.filter(bool))
@example("`")
@example(" ` ")
@example("   ")
@example("a``b`c")
def test_code_span_holds_all_of_a_text(text: str) -> None:
    """Between two words a code span is one piece, and says the whole text."""
    (_, inline, _) = MARKDOWN.parse(f"before {code(text)} after")

    assert [(token.type, token.content) for token in inline.children or ()] == [
        ("text", "before "),
        ("code_inline", shown(text)),
        ("text", " after"),
    ]


def test_empty_text_is_said_to_be_empty() -> None:
    """Markdown has no empty code span."""
    assert code("") == "(empty)"


@given(st.lists(foreign_text, max_size=4))
@example(["```", "````", "</details>", "~~~"])
def test_fence_holds_all_of_its_lines(lines: list[str]) -> None:
    """A fence is one block, and says every line."""
    (block,) = MARKDOWN.parse("\n".join(fence(lines, "text")))

    said = "".join(f"{shown(line)}\n" for line in lines)
    assert (block.type, block.info, block.content) == ("fence", "text", said)


@given(foreign_text)
@example("|")
@example("\\|")
@example("\\\\|")
@example("||\\||")
def test_table_keeps_its_columns(text: str) -> None:
    """No text makes a column, and only bars behind a backslash are written otherwise."""
    tokens = MARKDOWN.parse("\n".join(table(["a", "b"], [[code(text), "x"]])))

    cells = [token for token in tokens if token.type == "inline"]
    spans = [child.content for cell in cells for child in cell.children or ()]
    expected = shown(text).replace("\\|", "\\\\x7c") if text else "(empty)"
    assert spans == ["a", "b", expected, "x"]


@pytest.mark.parametrize("text", ["</details>", "<!-- x -->", "<b>"])
def test_details_end_where_they_should(text: str) -> None:
    """Foreign text within a collapsed block does not close it."""
    tokens = MARKDOWN.parse("\n".join(details("Facts", [code(text)])))

    assert [token.content for token in tokens if token.type == "html_block"] == [
        "<details>\n<summary>Facts</summary>\n",
        "</details>",
    ]


def test_document_parts_its_blocks() -> None:
    """Blocks stand apart, and an empty one leaves no gap."""
    assert document([["a", "b"], [], ["c"]]) == "a\nb\n\nc\n"
