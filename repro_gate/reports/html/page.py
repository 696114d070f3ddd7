"""A self-contained page: one file, no network, and a policy that allows our own script and style.

The page is complete without the script and legible without the style.
"""

from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from repro_gate.reports.html.text import plain, visible, visible_lines

_FOLDER: Final = "repro_gate.reports.html"
_NOT_INLINE: Final = ("</script", "</style", "<!--")
"""Text that would end, or hide the end of, the element around it."""


def render_page(
    template: str,
    /,
    *,
    script: str = "script.js",
    styles: Sequence[str] = ("style.css",),
    **values: object,
) -> str:
    """Return the page of a template below `repro_gate/reports/`, which extends the frame.

    Values are escaped; the filters `visible`, `visible_lines` and `plain` are for untrusted text in
    an element, in one with line breaks, and in an attribute.

    Args:
        template: its file.
        script: a file in this folder.
        styles: files in this folder; one style is made of them.
        values: of the template.
    """
    script, style = inline_file(script), "".join(map(inline_file, styles))
    ours = {"policy": policy_of(script, style), "script": script, "style": style}
    return _environment().get_template(template).render(ours | values)


def policy_of(script: str, style: str) -> str:
    """Return the content security policy that allows one script and one style and nothing else."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash_of(script)}",
            f"style-src {_hash_of(style)}",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


@cache
def inline_file(name: str) -> str:
    """Return a file of ours that is written into the page.

    Raises:
        ValueError: it would end the element that it is in.
    """
    # A browser hashes the text with its line ends normalised.
    text = files(_FOLDER).joinpath(name).read_text("utf-8").replace("\r\n", "\n")
    require_inline(text, name)
    return text


def require_inline(text: str, name: str) -> None:
    """Raise ValueError for a script or style that cannot stand inside of its element."""
    for part in _NOT_INLINE:
        if part in text.lower():
            raise ValueError(f"{name} has {part!r}, which would end its element")


def _hash_of(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


@cache
def _environment() -> Environment:
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        loader=PackageLoader("repro_gate", "reports"),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = visible
    environment.filters["visible_lines"] = visible_lines
    environment.filters["plain"] = plain
    return environment
