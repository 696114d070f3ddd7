"""A plan is split the same way by everyone, evenly, and nothing is lost or measured twice."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.core.matrix import Plan, plan
from repro_gate.core.shards.report import PlanIdentity, Shard, shard_of
from repro_gate.core.shards.split import WholePlan, divided, lanes_of
from repro_gate.core.tokens.grade import FailingDrift
from repro_gate.core.tokens.modes import ALONE, Level, mode_of
from repro_gate.errors import UsageInvalid
from tests.fakes.scoring import plan_of, suite_of_logprobs
from tests.fakes.values import GREEDY, cell_of, lora_of, matrix_of, suite_of

CELLS = tuple(
    cell_of(prompt, model=model) for model in ("tiny", "large") for prompt in ("haiku", "fox", "a")
)
TOKENS = plan(matrix_of(suite_of(*CELLS)))
SUITE = plan_of(suite_of_logprobs())
WHOLE = WholePlan(tokens=TOKENS, logprobs=(SUITE,))


@pytest.mark.parametrize(
    "text", ["", "1", "0/2", "3/2", "1/0", "1/2/3", "-1/2", "a/b", "1/2 ", "१/२"]
)
def test_an_invalid_shard_is_refused(text: str) -> None:
    """A shard counts from 1 to as many as there are."""
    with pytest.raises(ValueError, match="a shard is I/N with 1 <= I <= N, such as 2/8"):
        shard_of(text)


def test_a_shard_is_written_as_it_is_read() -> None:
    """What one writes is what one reads."""
    assert (shard_of("2/8"), str(shard_of("2/8"))) == (Shard(2, 8), "2/8")


def test_a_billion_shards_are_refused() -> None:
    """An absurd total in a file is refused before missing shards are counted."""
    with pytest.raises(ValueError, match="a shard is I/N with 1 <= I <= N"):
        Shard(1, 10_000)


def test_no_shard_runs_its_cells_less_than_once() -> None:
    """An invalid value in a file is refused before planning."""
    with pytest.raises(ValueError, match="runs must be at least 1, got 0"):
        PlanIdentity(digest="", commit=None, suites=(), only=None, runs=0, options=())


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=40), st.data())
def test_parts_are_neighbours_that_cover_everything(
    weights: list[int], data: st.DataObject
) -> None:
    """The parts are non-empty, consecutive and complete."""
    parts = data.draw(st.integers(1, len(weights)))
    ranges = divided(weights, parts)

    assert len(ranges) == parts
    assert all(ranges)
    assert (ranges[0].start, ranges[-1].stop) == (0, len(weights))
    assert all(before.stop == after.start for before, after in pairwise(ranges))


def test_the_last_part_holds_elements_without_weight() -> None:
    """Nothing is left out of the parts."""
    assert divided([0, 0], 1) == [range(2)]


@given(st.lists(st.integers(1, 100), min_size=8, max_size=80), st.integers(2, 8))
def test_parts_are_balanced(weights: list[int], parts: int) -> None:
    """No part is heavier than a fair share and one more of the heaviest."""
    heaviest = max(sum(weights[part.start : part.stop]) for part in divided(weights, parts))

    assert heaviest <= sum(weights) / parts + 2 * max(weights)


@pytest.mark.parametrize("total", range(1, WHOLE.units + 1))
def test_every_unit_is_in_one_shard(total: int) -> None:
    """Together the shards measure everything once, in the order of the plan."""
    parts = [WHOLE.part(Shard(index, total)) for index in range(1, total + 1)]

    assert [cell for part in parts for cell in part.tokens.cells] == list(CELLS)
    assert [suite for part in parts for suite in part.logprobs] == [SUITE]
    assert all(part.units for part in parts)


def test_a_part_has_the_models_of_its_cells_alone() -> None:
    """A shard does not load what it does not need, and knows that it is a part."""
    part = WholePlan(tokens=TOKENS).part(Shard(2, 2)).tokens

    assert (set(part.models), part.is_part, part.claimed) == ({"large"}, True, TOKENS.claimed)


def test_every_part_knows_the_cells_of_all() -> None:
    """Also a lane of a shard: which controls are tried must not depend on the division."""
    greedy = cell_of("greedy", sampler=GREEDY)
    tokens = plan(matrix_of(suite_of(greedy, *CELLS)))
    shard = WholePlan(tokens=tokens).part(Shard(2, 2)).tokens
    lanes = lanes_of(shard, ["cuda:0", "cuda:1"])

    expected = (greedy, *CELLS[:3])
    assert tokens.all_of("tiny") == expected
    assert [part.all_of("tiny") for part in (shard, *lanes)] == [expected] * 3


def test_long_cells_weigh_more() -> None:
    """The split is by expected tokens, not by cells."""
    long = cell_of("long", max_tokens=400)
    whole = WholePlan(tokens=plan(matrix_of(suite_of(long, *CELLS))))

    assert whole.part(Shard(1, 2)).tokens.cells == (long,)


def test_more_shards_than_units_are_refused() -> None:
    """A runner that would have nothing to do is a mistake in a workflow."""
    with pytest.raises(UsageInvalid, match="only 7 cells and suites to measure"):
        WHOLE.part(Shard(1, 8))


def adapted(scale: float) -> Plan:
    """Return the plan of tokens with an adapter of each model."""
    return replace(
        TOKENS,
        models={
            name: replace(model, lora=(replace(lora_of(name), scale=scale),))
            for name, model in TOKENS.models.items()
        },
    )


def in_mode(name: str, level: str) -> Plan:
    """Return the plan with a mode."""
    modes = {ALONE: Level.TOKENS, mode_of(name): Level(level)}
    return plan(matrix_of(replace(suite_of(*CELLS), modes=modes)))


def test_the_digest_tells_plans_apart() -> None:
    """Another cell, number of runs, mode, setting, tolerance or adapter is another plan."""
    suite = suite_of_logprobs()
    mild = replace(suite_of(*CELLS), fail_on=FailingDrift.BEYOND_ROUNDING)
    stricter = replace(suite, tolerance=replace(suite.tolerance, floor_nats=0.05))
    plans = [
        WHOLE,
        WholePlan(tokens=TOKENS),
        WholePlan(tokens=plan(matrix_of(suite_of(*CELLS[:-1])))),
        WholePlan(tokens=plan(matrix_of(suite_of(*CELLS, runs=4)))),
        WholePlan(tokens=plan(matrix_of(suite_of(*CELLS), engines={"large": "second"}))),
        WholePlan(tokens=TOKENS, logprobs=(plan_of(stricter),)),
        WholePlan(tokens=plan(matrix_of(mild))),
        WholePlan(tokens=plan(matrix_of(replace(mild, against="cpu-other")))),
        *(WholePlan(tokens=in_mode(name, "tokens")) for name in ("alone", "mixed-2", "mixed-3")),
        WholePlan(tokens=in_mode("mixed-2", "any")),
        *(WholePlan(tokens=adapted(scale)) for scale in (0.5, 1.0)),
    ]

    assert len({each.digest for each in plans}) == len(plans)


def test_the_digest_is_of_the_plan_and_not_of_the_device() -> None:
    """Runners may call their devices by different names."""
    (moved,) = lanes_of(TOKENS, ["cuda:1"])

    assert WholePlan(tokens=moved).digest == WholePlan(tokens=TOKENS).digest


def test_each_lane_is_on_its_device() -> None:
    """Devices share the cells, and each runs the engine of its own."""
    lanes = lanes_of(TOKENS, ["cuda:0", "cuda:1"])

    assert [cell for lane in lanes for cell in lane.cells] == list(CELLS)
    assert [{m.engine.device for m in lane.models.values()} for lane in lanes] == [
        {"cuda:0"},
        {"cuda:1"},
    ]


def test_more_devices_than_cells_leave_some_idle() -> None:
    """Four devices and one cell are no mistake: `--only` may have chosen it."""
    one = plan(matrix_of(suite_of(CELLS[0])))

    assert [lane.cells for lane in lanes_of(one, ["cuda:0", "cuda:1"])] == [(CELLS[0],)]


def test_no_cells_are_one_empty_lane() -> None:
    """Where only log-probabilities are checked, devices change nothing."""
    none = plan(matrix_of(suite_of(CELLS[0])), only="nothing")

    assert [lane.cells for lane in lanes_of(none, ["cuda:0", "cuda:1"])] == [()]
