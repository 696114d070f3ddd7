"""The draws of a night: always the same number of each cell, and none of them chosen."""

from dataclasses import dataclass, field

import pytest

from repro_gate.checks.logprobs.collect import DrawCollector
from repro_gate.checks.watch.night import NightCell, draw_night
from repro_gate.core.logprobs.draw import Draw, DrawOutcome, InvalidDraw, MissedDraw
from repro_gate.core.tokens.verdicts import Inconclusive
from repro_gate.ports import Purpose
from tests.fakes.baseline_stores import MemoryDrawLog
from tests.fakes.scoring import MODEL, DrawKey, NoisyScorer, encoding_of, suite_of_logprobs
from tests.fakes.watching import RecordingProgress

CELLS = suite_of_logprobs(items=2).cells
FIRST, SECOND = (cell.id for cell in CELLS)
FAR = Draw(logprobs=(-156.5,) * 40)
OTHER = InvalidDraw(reason="the answer is about another token")
SILENT = MissedDraw(reason="no answer", remedy="wait")


@dataclass(slots=True, kw_only=True)
class Night:
    """A night of two cells, three draws each."""

    script: dict[DrawKey, DrawOutcome | BaseException] = field(
        default_factory=dict[DrawKey, DrawOutcome | BaseException]
    )
    log: MemoryDrawLog = field(default_factory=MemoryDrawLog)
    scorer: NoisyScorer = field(init=False)

    def __post_init__(self) -> None:
        self.scorer = NoisyScorer(script=self.script)

    def draw(self) -> dict[str, Inconclusive]:
        """Draw the night; return why cells have too few draws."""
        targets = [
            NightCell(cell=cell, encoding=encoding_of(cell), answers_as=MODEL) for cell in CELLS
        ]
        collector = DrawCollector(scorer=self.scorer, log=self.log, progress=RecordingProgress())
        return dict(draw_night(targets, draws=3, collector=collector))

    def asked(self, cell: str) -> list[int]:
        """Return the numbers of the requests of a cell."""
        return [number for name, _, number in self.scorer.asked if name == cell]


def _key(cell: str, number: int) -> DrawKey:
    return (cell, Purpose.WATCH.value, number)


def test_every_cell_is_drawn_as_often() -> None:
    """Each draw is for the watch, and numbered from 1."""
    night = Night()

    assert night.draw() == {}
    assert set(night.scorer.asked) == {_key(cell.id, n) for cell in CELLS for n in (1, 2, 3)}


def test_an_outlier_is_kept_and_not_replaced() -> None:
    """What is far away is what a watch is for."""
    night = Night(script={_key(FIRST, 2): FAR})

    assert night.draw() == {}
    assert night.asked(FIRST) == [1, 2, 3]
    assert night.log.noted[_key(FIRST, 2)] == FAR


@pytest.mark.parametrize("outcome", [OTHER, SILENT])
def test_an_invalid_or_missing_draw_is_asked_again(outcome: DrawOutcome) -> None:
    """Under the next number; the other cell is not asked again."""
    night = Night(script={_key(FIRST, 2): outcome})

    assert night.draw() == {}
    assert (night.asked(FIRST), night.asked(SECOND)) == ([1, 2, 3, 4], [1, 2, 3])


def test_a_cell_is_asked_at_most_twice_as_often() -> None:
    """A cell whose answers are always invalid has too few draws, and the reason is given."""
    night = Night(script={_key(FIRST, number): OTHER for number in range(1, 100)})

    assert night.draw() == {
        FIRST: Inconclusive(
            reason="0 of 3 draws: the answer is about another token",
            remedy="look at the answers in the history, and wait for the next night",
        )
    }
    assert night.asked(FIRST) == [1, 2, 3, 4, 5, 6]


def test_nothing_is_asked_after_a_round_without_an_answer() -> None:
    """A missing key, a used-up budget or a service that is down."""
    night = Night(script={_key(cell.id, n): SILENT for cell in CELLS for n in range(1, 100)})

    short = night.draw()

    assert short[SECOND] == Inconclusive(reason="0 of 3 draws: no answer", remedy="wait")
    assert night.asked(FIRST) == night.asked(SECOND) == [1, 2, 3]


def test_a_resumed_night_asks_only_for_what_it_lacks() -> None:
    """The draws of the log count, whatever their numbers, and there are never more than wanted."""
    kept: dict[DrawKey, DrawOutcome] = {_key(FIRST, number): FAR for number in (1, 3, 4)}
    night = Night(log=MemoryDrawLog(kept={**kept, _key(SECOND, 2): OTHER}))

    assert night.draw() == {}
    assert (night.asked(FIRST), night.asked(SECOND)) == ([], [1, 3, 4])


def test_an_interruption_is_raised() -> None:
    """What was drawn before is in the log."""
    night = Night(script={_key(SECOND, 1): KeyboardInterrupt()})

    with pytest.raises(KeyboardInterrupt):
        night.draw()

    assert sorted(night.log.noted) == [_key(FIRST, number) for number in (1, 2, 3)]
