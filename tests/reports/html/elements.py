"""The elements of a page, as a parser finds them."""

from collections.abc import Iterator
from html.parser import HTMLParser

VOID = {"meta", "input", "br"}


class Elements(HTMLParser):
    """Collects every element with its attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Add an element."""
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check that elements are closed in their order."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Add text."""
        self.texts.append(data)

    def of(self, tag: str) -> Iterator[dict[str, str | None]]:
        """Yield the attributes of each such element."""
        return (attributes for name, attributes in self.found if name == tag)

    def names(self) -> set[str]:
        """Return the names of all elements."""
        return {name for name, _ in self.found}

    def attributes(self) -> set[str]:
        """Return the names of all attributes."""
        return {name for _, attributes in self.found for name in attributes}

    @property
    def text(self) -> str:
        """All text of the page."""
        return "".join(self.texts)
