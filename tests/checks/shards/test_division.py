"""A divided check gives the result of an undivided one: on one machine, in shards, on devices."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest

from repro_gate.checks.tokens.check import check_tokens
from repro_gate.core.engines import Ability
from repro_gate.core.matrix import Plan, plan
from repro_gate.core.outcome import ExitCode, exit_code_for
from repro_gate.core.report import GateReport
from repro_gate.core.shards.report import Shard
from repro_gate.core.shards.split import WholePlan, lanes_of
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.generation import Generation
from repro_gate.core.tokens.golden import Golden
from repro_gate.core.tokens.modes import Level, in_order, mode_of
from repro_gate.core.tokens.verdicts import Inconclusive, Match
from tests.fakes.checking import STARTED_AT, recorded_for, verdicts_of
from tests.fakes.engines import DEAD, REFUSED, Fault, ScriptedStarter
from tests.fakes.sharding import measured_shard, merged_of, ports_with
from tests.fakes.stores import MemoryGoldens
from tests.fakes.values import (
    GREEDY,
    SAMPLED,
    answer_to,
    cell_of,
    generation_of,
    golden_of,
    matrix_of,
    suite_of,
)

COLD = replace(SAMPLED, temperature=0.01)
WARM = (cell_of("haiku"), cell_of("fox"))
MIXED = (WARM[0], cell_of("frost", sampler=COLD), cell_of("ice", sampler=GREEDY), WARM[1])
OTHERS = tuple(replace(cell, model="other") for cell in MIXED)
CONTROL = replace(WARM[0], seed=43)


def _voice(cell: Cell) -> Generation:
    """Give the same output for every seed at temperature 0, as a confident model does."""
    return answer_to(replace(cell, seed=1) if cell.sampler == COLD else cell)


def _promptless(cell: Cell) -> Generation:
    return answer_to(replace(cell, text="whatever"))


def _seedless(cell: Cell) -> Generation:
    return answer_to(replace(cell, seed=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is planned, and how every machine answers."""

    cells: Sequence[Cell] = MIXED
    voice: Callable[[Cell], Generation] = _voice
    script: dict[Cell, list[Generation]] = field(default_factory=dict)
    faults: Sequence[Fault] = ()
    goldens: Sequence[Golden] | None = None
    """None for the right ones."""
    code: ExitCode = ExitCode.PASSED
    modes: Sequence[str] = ()
    """Names of modes, each at the level of tokens, of an engine that can do them."""
    crowded: Callable[[Cell], Generation] | None = None

    @property
    def plan(self) -> Plan:
        """The whole of it; the matrix names the models in another order than the suite."""
        modes = in_order({mode_of(name): Level.TOKENS for name in self.modes})
        suite = replace(suite_of(*self.cells), modes=modes)
        whole = plan(matrix_of(suite, engines={"other": "second"}))
        return replace(whole, models=dict(list(whole.models.items())[::-1]))

    def machine(self) -> ScriptedStarter:
        """Return one of several that are all alike."""
        return ScriptedStarter(
            voice=self.voice,
            script=self.script,
            faults=self.faults,
            crowded=self.crowded,
            can=frozenset(Ability) if self.modes else frozenset(),
            concurrency=64 if self.modes else 1,
        )

    def known(self) -> MemoryGoldens:
        """Return what is committed."""
        outputs = [golden_of(cell, self.voice(cell)) for cell in self.cells]
        return MemoryGoldens(outputs if self.goldens is None else self.goldens)

    def on_devices(self, count: int) -> GateReport:
        """Check on several devices of one machine."""
        return check_tokens(
            self.plan,
            ports=ports_with(self.machine(), self.known()),
            started=100.0,
            started_at=STARTED_AT,
            device_plans=lanes_of(self.plan, ["cpu"] * count),
        )

    def in_shards(self, count: int) -> GateReport:
        """Check in so many shards, and put them together."""
        whole = WholePlan(tokens=self.plan)
        shards = [
            measured_shard(
                Shard(index, count), whole=whole, starter=self.machine(), goldens=self.known()
            )
            for index in range(1, count + 1)
        ]
        return merged_of(shards, whole=whole, goldens=self.known())


def _refusing(*cells: Cell) -> list[Fault]:
    return [Fault(what="generate", about=cell.id, error=REFUSED) for cell in cells]


CASES = {
    "everything is well": Case(),
    "only sampled cells": Case(cells=WARM),
    "two models": Case(cells=(*MIXED, *OTHERS)),
    "only greedy cells": Case(cells=(MIXED[2], cell_of("snow", sampler=GREEDY))),
    "a greedy cell first": Case(cells=(MIXED[2], *WARM, MIXED[1])),
    "nothing was recorded": Case(goldens=[], code=ExitCode.FINDINGS),
    "a model that ignores its seed": Case(voice=_seedless, cells=WARM, code=ExitCode.FINDINGS),
    "and nothing was recorded": Case(
        voice=_seedless, cells=WARM, goldens=[], code=ExitCode.FINDINGS
    ),
    "a cold cell is the hottest": Case(cells=MIXED[1:3]),
    "drift": Case(script={WARM[1]: [generation_of(9)]}, code=ExitCode.FINDINGS),
    "runs that differ": Case(
        script={WARM[1]: [_voice(WARM[1]), generation_of(9)]}, code=ExitCode.FINDINGS
    ),
    "a golden that its control repeats": Case(
        goldens=[
            golden_of(WARM[0], _voice(CONTROL)),
            *(golden_of(cell, _voice(cell)) for cell in MIXED[1:]),
        ],
        code=ExitCode.FINDINGS,
    ),
    "an orphan": Case(
        goldens=[*(golden_of(cell, _voice(cell)) for cell in MIXED), golden_of(cell_of("gone"))],
        code=ExitCode.FINDINGS,
    ),
    "the first cell is refused": Case(
        cells=(*WARM, MIXED[2]), faults=_refusing(WARM[0]), code=ExitCode.INCONCLUSIVE
    ),
    "a control is refused": Case(cells=(*WARM, MIXED[2]), faults=_refusing(CONTROL)),
    "a cold cell has to stand in": Case(
        cells=(WARM[0], *MIXED[1:3]), faults=_refusing(WARM[0]), code=ExitCode.INCONCLUSIVE
    ),
    "every control is refused": Case(
        cells=(*WARM, MIXED[2]),
        faults=_refusing(*(replace(cell, seed=43) for cell in WARM)),
        code=ExitCode.INCONCLUSIVE,
    ),
    "a model that ignores its prompt": Case(voice=_promptless, code=ExitCode.FINDINGS),
    "one token for ever": Case(voice=lambda _: generation_of(9, 9), code=ExitCode.FINDINGS),
    "answers in modes": Case(modes=("alone", "mixed-3", "repeat")),
    "answers that depend on company": Case(
        modes=("alone", "concurrent-2", "mixed-3"), crowded=_seedless, code=ExitCode.FINDINGS
    ),
    "everything is refused": Case(faults=_refusing(*MIXED), code=ExitCode.INCONCLUSIVE),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_divided_check_gives_the_result_of_an_undivided_one(case: Case) -> None:
    """Verdicts, controls, provenance and exit code do not depend on the division."""
    one = case.on_devices(1)
    divided = [case.on_devices(2), case.on_devices(3)]
    divided += [case.in_shards(count) for count in range(1, len(case.cells) + 1)]

    assert exit_code_for(one) == case.code
    assert [each.cells for each in divided] == [one.cells] * len(divided)
    assert [each.controls for each in divided] == [one.controls] * len(divided)
    for each in divided:
        assert (list(each.engines), list(each.models)) == (list(one.engines), list(one.models))


def _second_of_two(cells: Sequence[Cell], *faults: Fault) -> GateReport:
    whole = WholePlan(tokens=plan(matrix_of(suite_of(*cells))))
    first = measured_shard(Shard(1, 2), whole=whole)
    starter = ScriptedStarter(faults=faults)
    second = measured_shard(Shard(2, 2), whole=whole, starter=starter)
    return merged_of([first, second], whole=whole, goldens=MemoryGoldens(recorded_for(*cells)))


def test_a_control_skips_cells_of_other_shards_that_kill_the_engine() -> None:
    """Another cell can serve as the control."""
    cells = (cell_of("haiku"), cell_of("fox"), cell_of("moon"), cell_of("sea"))

    report = _second_of_two(cells, Fault(what="generate", about=cells[0].id, error=DEAD))

    assert set(verdicts_of(report).values()) == {Match()}
    assert [control.failed for control in report.controls] == [False, False]


def test_a_machine_whose_control_is_refused_does_not_pass() -> None:
    """Greedy cells agree, but nothing shows that this machine could differ."""
    cells = (cell_of("haiku"), cell_of("ice", sampler=GREEDY))

    report = _second_of_two(cells, *_refusing(cells[0]))

    problem = Inconclusive(
        reason=f"its control could not be run, so agreement proves nothing yet: {REFUSED.reason}",
        remedy=f"{REFUSED.remedy}; or add cells that differ only in the seed and have different "
        "outputs",
    )
    assert verdicts_of(report) == {cells[0].id: problem, cells[1].id: Match()}
