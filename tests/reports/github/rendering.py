"""Markdown as GitHub renders it: the same parser, with what it does to text afterwards."""

import cmarkgfm  # type: ignore[import-untyped]
from cmarkgfm.cmark import Options  # type: ignore[import-untyped]

_EXTENSIONS = ["table", "autolink", "strikethrough", "tagfilter"]
_OPTIONS = Options.CMARK_OPT_UNSAFE | Options.CMARK_OPT_GITHUB_PRE_LANG


def html_of(markdown: str) -> str:
    """Return the HTML of a comment, with any HTML that stands in it."""
    return str(
        cmarkgfm.markdown_to_html_with_extensions(
            markdown, options=_OPTIONS, extensions=_EXTENSIONS
        )
    )
