"""All verdicts of a check in one line: what stands under the title."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from repro_gate.core.logprob_report import SuiteVerdict
from repro_gate.core.logprob_verdicts import Agrees
from repro_gate.core.report import GateReport
from repro_gate.core.verdicts import Match
from repro_gate.reports.describe import WORDS
from repro_gate.reports.figures import plural
from repro_gate.reports.logprob_words import LOGPROB_WORDS

_PASSING: Final = (Match.word, Agrees.word)
_WORDS: Final = (
    *(word for word in dict.fromkeys((*WORDS, *LOGPROB_WORDS)) if word not in _PASSING),
    *_PASSING,
)


def tally(report: GateReport) -> str:
    """Return how many cells have each verdict, what is wrong first and bold, in our own words."""
    given = Counter(report.counts)
    for part in report.logprobs:
        given.update(part.counts)
    counted = {word: _counted(given[word], word) for word in _WORDS if given[word]}
    found = [words for word, words in counted.items() if word not in _PASSING]
    passing = [words for word, words in counted.items() if word in _PASSING]
    wrong = ", ".join([*found, *_beyond_cells(report)])
    told = [*([f"**{wrong}**"] if wrong else []), *([", ".join(passing)] if passing else [])]
    return "; ".join(told) or "nothing was checked"


def _beyond_cells(report: GateReport) -> Iterator[str]:
    """Yield what is wrong and no verdict on a single cell."""
    parts = report.logprobs
    moved = sum(part.suite_test.verdict is SuiteVerdict.DRIFT for part in parts)
    weights = sum(found.failed for part in parts for found in part.weights)
    undetermined = sum(found.inconclusive for part in parts for found in part.weights)
    controls = sum(control.failed for control in report.controls)
    controls += sum(control.failed for part in parts for control in part.controls)
    uncontrolled = sum(len(part.uncontrolled) for part in parts)
    if moved:
        yield f"{plural(moved, 'suite')} shifted as a whole"
    if weights:
        yield f"{plural(weights, 'set')} of weights not usable"
    if undetermined:
        yield f"{plural(undetermined, 'set')} of weights undetermined"
    if controls:
        yield f"{plural(controls, 'control')} without a difference"
    if uncontrolled:
        policies = "1 policy" if uncontrolled == 1 else f"{uncontrolled} policies"
        yield f"{policies} without a control"


def _counted(count: int, word: str) -> str:
    # The one verdict that is a verb.
    return f"{count} agree" if word == Agrees.word and count != 1 else f"{count} {word}"
