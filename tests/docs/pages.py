"""The documentation as pages, sections and blocks."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
_CODE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True, slots=True)
class Page:
    """One Markdown file."""

    path: Path

    @property
    def name(self) -> str:
        """The path as a reader of the repository writes it."""
        return self.path.relative_to(ROOT).as_posix()

    @property
    def text(self) -> str:
        """Everything."""
        return _read(self.path)

    @property
    def prose(self) -> str:
        """Everything but the fenced blocks, whose headings and links are of no page."""
        return _FENCE.sub("", self.text)

    def blocks(self, language: str) -> list[str]:
        """Return the fenced blocks of one language, without the indentation of a list."""
        return [
            "".join(line.removeprefix(indent) for line in body.splitlines(keepends=True))
            for indent, found, body in _FENCE.findall(self.text)
            if found == language
        ]

    def sections(self) -> Mapping[str, str]:
        """Return the prose below each heading, as far as the next one."""
        parts = _HEADING.split(self.prose)
        return dict(zip(parts[2::3], parts[3::3], strict=True))

    def whole_sections(self) -> Mapping[str, str]:
        """Return prose and blocks below each heading, for a page without headings in blocks."""
        parts = _HEADING.split(self.text)
        return dict(zip(parts[2::3], parts[3::3], strict=True))

    def code(self) -> frozenset[str]:
        """Return whatever stands between backticks."""
        return frozenset(_CODE.findall(self.prose))


def page(name: str) -> Page:
    """Return a page by its path in the repository."""
    return Page(ROOT / name)


def pages() -> Iterator[Page]:
    """Yield every page that is written for readers of the project."""
    for file in sorted(
        [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob(".github/*.md")]
    ):
        # A report quotes what models generate.
        if file.name != "report.md":
            yield Page(file)


def first_column(section: str) -> frozenset[str]:
    """Return what stands between backticks in the first column of the tables of a section."""
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    return frozenset(code for row in rows for code in _CODE.findall(row.split("|")[1]))


def listed(section: str) -> dict[str, str]:
    """Return the names in backticks at the start of list items, with the note in brackets."""
    rows = re.findall(r"^- (`[^`]+`(?:, `[^`]+`)*)(?: \(([^)]*)\))?:", section, re.MULTILINE)
    return {name: note for names, note in rows for name in _CODE.findall(names)}


@cache
def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")
