"""Lines at a terminal: text that is inert, whoever chose it, and colours that are ours."""

from collections.abc import Iterator, Sequence
from typing import assert_never

from rich.text import Text

from repro_gate.core.outcome import Outcome
from repro_gate.reports import foreign
from repro_gate.reports.labelled import Line


def title(word: str, subject: str, outcome: Outcome) -> Text:
    """Return the head of a block."""
    return Text.assemble((word, style(outcome)), "  ", (foreign.log_line(subject), "bold"))


def line(text: str, look: str = "") -> Text:
    """Return one line of text."""
    return Text(foreign.log_line(text), look)


def aligned(lines: Sequence[Line]) -> Iterator[Text]:
    """Yield labelled lines under each other."""
    width = max(len(label) for label, _ in lines)
    for label, text in lines:
        yield Text.assemble("  ", (f"{label:<{width}}", "dim"), "  ", foreign.log_line(text))


def style(outcome: Outcome) -> str:
    """Return how an outcome looks."""
    match outcome:
        case Outcome.PASSED:
            return "bold green"
        case Outcome.FAILED:
            return "bold red"
        case Outcome.INCONCLUSIVE:
            return "bold yellow"
        case _:
            assert_never(outcome)
