"""What the cells of a page can be filtered by."""

from collections import Counter
from dataclasses import dataclass

from repro_gate.core.report import GateReport
from repro_gate.reports.findings.logprob_wording import LOGPROB_WORDS
from repro_gate.reports.findings.wording import WORDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """The verdicts that cells have, with the number of cells of each."""

    verdicts: tuple[tuple[str, int], ...]
    cells: int


def filter_of(report: GateReport) -> Filter:
    """Return the verdicts of all cells of both gates."""
    tokens = [cell.verdict.word for cell in report.cells]
    hosted = [cell.verdict.word for part in report.logprobs for cell in part.cells]
    counts = Counter([*tokens, *hosted])
    words = dict.fromkeys((*WORDS, *LOGPROB_WORDS))
    return Filter(
        verdicts=tuple((word, counts[word]) for word in words if counts[word]),
        cells=len(tokens) + len(hosted),
    )
