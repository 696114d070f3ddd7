"""What a value from elsewhere says that cannot be, given what else it says."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from repro_gate.core.text import printable

_OPTIONS = frozenset({"--config", "--device"})
"""What a command needs to mean the same matrix on the same device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradiction:
    """One place at which a value contradicts itself."""

    place: str
    """As a path of fields, such as `cells[3].verdict`."""
    expected: str
    found: str
    """One printable line, whoever chose its words."""


def within(place: str, inner: Iterable[Contradiction]) -> Iterator[Contradiction]:
    """Yield the contradictions of a part, each with its place in the whole."""
    for found in inner:
        yield replace(found, place=f"{place}.{found.place}")


def contradictions_in_options(place: str, words: Iterable[str]) -> Iterator[Contradiction]:
    """Yield what looks like an option and is none that a reader should copy, such as `--prune`."""
    for index, word in enumerate(words):
        if word.startswith("--") and word not in _OPTIONS:
            yield Contradiction(
                place=f"{place}[{index}]",
                expected=f"one of {', '.join(sorted(_OPTIONS))}",
                found=printable(word),
            )
