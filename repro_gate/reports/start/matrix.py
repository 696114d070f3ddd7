"""The first matrix as TOML."""

from collections.abc import Iterator
from textwrap import wrap
from typing import Final

from repro_gate.core.start.matrix import FirstMatrix, Section
from repro_gate.reports.text.escape import clipped
from repro_gate.reports.text.toml import toml_key, toml_value

_MAX_COMMENT: Final = 300
_WIDTH: Final = 98


def render_matrix(matrix: FirstMatrix) -> str:
    """Return the text of the matrix file; raises ValueError for a text that TOML cannot hold."""
    return "\n".join("".join(f"{line}\n" for line in _lines(each)) for each in matrix.sections)


def _lines(section: Section) -> Iterator[str]:
    # A line break in an untrusted text would end the comment.
    for comment in section.comments:
        lines = wrap(clipped(comment, _MAX_COMMENT), _WIDTH, break_on_hyphens=False)
        yield from (f"# {line}" for line in lines)
    if section.name:
        yield f"[{toml_key(*section.name)}]"
    for key, value in section.values.items():
        yield f"{toml_key(key)} = {toml_value(value)}"
