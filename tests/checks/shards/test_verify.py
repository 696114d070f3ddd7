"""Shards of different checks are refused, and the message names the difference."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from repro_gate import __version__
from repro_gate.checks.shards.verify import FoundShard, require_same_check
from repro_gate.core.logprobs.report import LogprobCellReport, LogprobReport
from repro_gate.core.matrix import Evidence, plan
from repro_gate.core.report import GateReport
from repro_gate.core.shards.report import MeasuredCell, Shard, ShardReport
from repro_gate.core.shards.split import WholePlan
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.controls import Control
from repro_gate.core.tokens.modes import ALONE, Level
from repro_gate.core.tokens.verdicts import Inconclusive
from repro_gate.errors import InputInvalid, MeasurementUnavailable
from tests.fakes.engines import DEAD, Fault, ScriptedStarter
from tests.fakes.logprob_reports import orphaned_baseline_of
from tests.fakes.scoring import plan_of, policy_of, suite_of_logprobs
from tests.fakes.sharding import CELLS, COMMIT, TOKENS, measured_shard, merged_of, two_shards
from tests.fakes.values import (
    GREEDY,
    cell_of,
    contrast_of,
    digest_of,
    generation_of,
    matrix_of,
    suite_of,
)


def test_a_missing_shard_is_named() -> None:
    """A lost shard never merges to green."""
    shards = [measured_shard(Shard(index, 4)) for index in (1, 3)]

    with pytest.raises(MeasurementUnavailable, match=r"^shard 2/4, 4/4 is missing"):
        require_same_check(shards, commit=COMMIT)


def test_a_duplicate_shard_is_named() -> None:
    """It would be unknown which of the two counts."""
    shards = [*two_shards(), replace(measured_shard(Shard(2, 2)), place="again/shard.json")]

    with pytest.raises(
        InputInvalid,
        match=r"^again/shard.json: shard: expected shard 2/2 once, "
        r"found it in shard-2/shard.json, again/shard.json$",
    ):
        require_same_check(shards, commit=COMMIT)


def _with_identity(**changes: Any) -> Callable[[ShardReport], ShardReport]:
    return lambda report: replace(report, identity=replace(report.identity, **changes))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (_with_identity(suites=("slow",), digest="other"), "option --suite"),
        (_with_identity(only="tiny--*", digest="other"), "option --only"),
        (_with_identity(runs=9, digest="other"), "option --runs"),
        (_with_identity(digest="other"), "plan"),
        (_with_identity(commit="f" * 40), "commit"),
        (_with_identity(commit=None), "commit"),
        (lambda report: replace(report, shard=Shard(2, 3)), "number of shards"),
        (lambda report: replace(report, tool_version="0.0.1"), "version of repro-gate"),
    ],
)
def test_a_shard_of_another_check_is_named(
    change: Callable[[ShardReport], ShardReport], what: str
) -> None:
    """Shards of different commits, plans or versions are not one check."""
    first, second = two_shards()
    other = replace(second, report=change(second.report))

    with pytest.raises(InputInvalid, match=rf"^shard-2/shard.json: the {what} in shard 2/"):
        require_same_check([first, other], commit=COMMIT)


@pytest.mark.parametrize("here", ["f" * 40, None])
def test_shards_of_another_commit_than_here_are_refused(here: str | None) -> None:
    """The goldens of this checkout need not be those of the commit that was measured."""
    with pytest.raises(
        InputInvalid,
        match=rf"^shard-1/shard.json: the commit in shard 1/2: expected {here}, "
        rf"which is checked out here, found {COMMIT}$",
    ):
        require_same_check(two_shards(), commit=here)


def test_a_shard_without_the_logits_to_compare_is_refused() -> None:
    """Its cells would be compared by less than the matrix asks for."""
    suites = {
        cell: replace(suite, evidence=Evidence.LOGITS) for cell, suite in TOKENS.suites.items()
    }
    whole = WholePlan(tokens=replace(TOKENS, suites=suites))
    shards = [measured_shard(Shard(index, 2), whole=whole) for index in (1, 2)]
    assert {cell.verdict.word for cell in merged_of(shards, whole=whole).cells} == {"unrecorded"}
    weaker = [
        replace(
            found,
            report=replace(found.report, cells=measured_shard(found.report.shard).report.cells),
        )
        for found in shards
    ]

    with pytest.raises(InputInvalid, match=r"expected the logits of .*, found none$"):
        merged_of(weaker, whole=whole)


def test_a_mode_without_the_logits_to_compare_is_refused() -> None:
    """Its answers would be compared by less than the matrix asks for."""
    suites = {
        cell: replace(suite, evidence=Evidence.LOGITS, modes={ALONE: Level.BITS})
        for cell, suite in TOKENS.suites.items()
    }
    whole = WholePlan(tokens=replace(TOKENS, suites=suites))
    shards = [measured_shard(Shard(index, 2), whole=whole) for index in (1, 2)]
    assert {cell.verdict.word for cell in merged_of(shards, whole=whole).cells} == {"unrecorded"}
    weaker = [
        replace(cell, modes=tuple(replace(each, other_bits=None) for each in cell.modes))
        for cell in shards[1].report.cells
    ]
    shards[1] = replace(shards[1], report=replace(shards[1].report, cells=tuple(weaker)))

    with pytest.raises(InputInvalid, match=r"expected the logits of .* in alone, which are comp"):
        merged_of(shards, whole=whole)


def test_a_different_option_is_named() -> None:
    """It is more useful than two digests."""
    first, second = two_shards()
    change = _with_identity(suites=("slow", "quick"), digest="other")
    other = replace(second, report=change(second.report))

    with pytest.raises(InputInvalid) as caught:
        require_same_check([first, other], commit=COMMIT)
    assert str(caught.value) == (
        "shard-2/shard.json: the option --suite in shard 2/2: "
        "expected None, as in shard-1/shard.json, found slow, quick"
    )


def test_shards_of_another_version_are_refused() -> None:
    """The merging version must have measured them."""
    later = [
        replace(found, report=replace(found.report, tool_version="9.9.9")) for found in two_shards()
    ]

    with pytest.raises(
        InputInvalid,
        match=r"^shard-1/shard.json: the version of repro-gate in shard 1/2: "
        rf"expected {re.escape(__version__)}, which merges here, found 9.9.9$",
    ):
        require_same_check(later, commit=COMMIT)


def test_shards_of_another_matrix_are_refused() -> None:
    """The goldens of this checkout are for this matrix."""
    other = WholePlan(tokens=plan(matrix_of(suite_of(*CELLS, runs=4))))

    with pytest.raises(InputInvalid, match="which is that of the matrix file here"):
        merged_of(two_shards(), whole=other)


def test_two_classes_of_machine_are_refused() -> None:
    """The shard that was measured elsewhere is named, with both profiles."""
    first, second = two_shards()
    engines = tuple(replace(engine, profile="cuda-sm90") for engine in second.report.engines)
    moved = replace(second, report=replace(second.report, engines=engines))

    with pytest.raises(
        InputInvalid,
        match=r"the profile of engine scripted in shard 2/2: expected cpu-test, as in shard 1/2, "
        "found cuda-sm90",
    ):
        merged_of([first, moved])


def test_two_files_of_one_adapter_are_refused() -> None:
    """As two of a model are."""
    fact = "model.lora.1.sha256"
    first, second = (
        replace(shard, report=replace(shard.report, models={"tiny": {**facts, fact: digest * 64}}))
        for shard, digest in zip(two_shards(), "12", strict=True)
        for facts in [shard.report.models["tiny"]]
    )

    with pytest.raises(InputInvalid, match=rf"the {fact} of model tiny in shard 2/2: "):
        merged_of([first, second])


def test_two_files_of_one_model_are_refused() -> None:
    """Without a pin, its goldens would mix two files of weights."""
    first, second = two_shards()
    models = {"tiny": {**second.report.models["tiny"], "model.sha256": "b" * 64}}
    other = replace(second, report=replace(second.report, models=models))

    with pytest.raises(
        InputInvalid,
        match=r"^shard-2/shard.json: the sha256 of model tiny in shard 2/2: "
        rf"expected {digest_of('tiny')}, as in shard 1/2, found {'b' * 64}$",
    ):
        merged_of([first, other])


def _with_cells(found: FoundShard, cells: Sequence[MeasuredCell]) -> FoundShard:
    return replace(found, report=replace(found.report, cells=tuple(cells)))


def test_a_cell_in_two_shards_is_refused() -> None:
    """Every cell is measured exactly once."""
    first, second = two_shards()
    both = _with_cells(second, [*second.report.cells, first.report.cells[0]])

    with pytest.raises(
        InputInvalid, match=f"expected {CELLS[0].id} once in all shards, found it, as"
    ):
        merged_of([first, both])


def test_a_cell_in_no_shard_is_refused() -> None:
    """Nothing that was planned may be lost on the way."""
    first, second = two_shards()

    with pytest.raises(
        InputInvalid, match=rf"{CELLS[3].id} in one of the shards, found it in none"
    ):
        merged_of([first, _with_cells(second, second.report.cells[:-1])])


def test_an_unplanned_cell_is_refused() -> None:
    """Only planned cells are accepted."""
    first, second = two_shards()
    other = MeasuredCell(cell=cell_of("extra"), repetition=None, provenance=None, problem=None)

    with pytest.raises(InputInvalid, match="though the matrix does not plan it"):
        merged_of([first, _with_cells(second, [*second.report.cells, other])])


def test_a_cell_with_another_definition_is_refused() -> None:
    """The same name is not the same cell."""
    first, second = two_shards()
    other = replace(second.report.cells[0], cell=replace(CELLS[2], text="something else"))

    with pytest.raises(InputInvalid, match="another definition of it"):
        merged_of([first, _with_cells(second, [other, *second.report.cells[1:]])])


def _with_controls(found: FoundShard, *controls: Control) -> FoundShard:
    return replace(found, report=replace(found.report, controls=controls))


def test_a_machine_that_did_not_show_that_it_can_fail_is_refused() -> None:
    """That all of its cells agree would prove nothing."""
    first, second = two_shards()

    with pytest.raises(
        InputInvalid,
        match=r"^shard-2/shard.json: controls in shard 2/2: expected one of tiny "
        r"with another seed, which shows that this machine can fail, found none$",
    ):
        merged_of([first, _with_controls(second)])


def test_a_cell_that_failed_does_not_excuse_the_controls_of_the_others() -> None:
    """Another cell of the model was measured, and its agreement has to be worth something."""
    first, second = two_shards()
    one, *others = second.report.cells
    failed = replace(one, problem=Inconclusive(reason="the engine died", remedy=None))
    uncontrolled = _with_controls(_with_cells(second, [failed, *others]))

    assert others
    with pytest.raises(InputInvalid, match="expected one of tiny with another seed"):
        merged_of([first, uncontrolled])


@pytest.mark.parametrize(
    "cell", [cell_of("extra"), cell_of(model="extra"), replace(CELLS[0], seed=99)]
)
def test_a_control_that_was_not_planned_is_refused(cell: Cell) -> None:
    """Another cell or seed might differ where the planned ones do not."""
    first, second = two_shards()
    unplanned = Control(
        contrast=contrast_of(cell), reference=generation_of(1), generation=generation_of(2)
    )

    with pytest.raises(
        InputInvalid,
        match="controls in shard 2/2: expected two cells of the matrix, or one and a planned",
    ):
        merged_of([first, _with_controls(second, *second.report.controls, unplanned)])


def test_a_control_of_greedy_cells_shows_nothing_of_seeds() -> None:
    """At temperature 0 none is planned."""
    whole = WholePlan(tokens=plan(matrix_of(suite_of(cell_of(sampler=GREEDY)))))
    shard = measured_shard(Shard(1, 1), whole=whole)
    unplanned = Control(
        contrast=contrast_of(), reference=generation_of(1), generation=generation_of(2)
    )

    with pytest.raises(InputInvalid, match="expected two cells of the matrix"):
        merged_of([_with_controls(shard, unplanned)], whole=whole)


def test_an_interrupted_shard_needs_no_control() -> None:
    """It does not pass anyway."""
    first, second = two_shards()
    interrupted = replace(
        _with_controls(second), report=replace(_with_controls(second).report, interrupted=True)
    )

    assert merged_of([first, interrupted]).interrupted


SUITE = plan_of(suite_of_logprobs(policies=[policy_of(), policy_of("clone")]))
WITH_SUITE = WholePlan(tokens=TOKENS, logprobs=(SUITE,))


def _merge_with(change: Callable[[LogprobReport], LogprobReport]) -> GateReport:
    shard = measured_shard(Shard(1, 1), whole=WITH_SUITE)
    parts = tuple(map(change, shard.report.logprobs))
    changed = replace(shard, report=replace(shard.report, logprobs=parts))
    return merged_of([changed], whole=WITH_SUITE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda part: replace(part, cells=part.cells[:1]),
            (
                "cells of suite hosted in shard 1/1: expected base--item-1, as it is planned here, "
                "found none"
            ),
        ),
        (
            lambda part: replace(part, cells=(part.cells[0], *part.cells)),
            "expected base--item-1, as it is planned here, found base--item-0",
        ),
        (
            lambda part: replace(part, cells=(*part.cells, part.cells[0])),
            "expected none more, found base--item-0",
        ),
        (
            lambda part: replace(part, cells=(_redefined(part.cells[0]), *part.cells[1:])),
            "expected base--item-0, as it is planned here, found another definition of it",
        ),
        (
            lambda part: replace(part, tolerance=replace(part.tolerance, floor_nats=9.0)),
            "the tolerance of suite hosted in shard 1/1: expected ",
        ),
        (
            lambda part: replace(part, policies=part.policies[:1]),
            (
                "policies of suite hosted in shard 1/1: expected clone, which clone--item-0 was "
                "drawn from, found none of that name"
            ),
        ),
    ],
    ids=["dropped", "doubled", "added", "replaced", "forgiven", "unsupervised"],
)
def test_a_suite_that_is_not_the_planned_one_is_refused(
    change: Callable[[LogprobReport], LogprobReport], message: str
) -> None:
    """Each cell of log-probabilities comes once, as it is planned, and is judged as strictly."""
    with pytest.raises(InputInvalid) as caught:
        _merge_with(change)

    assert str(caught.value).startswith("shard-1/shard.json: ")
    assert message in str(caught.value)


def test_an_orphaned_baseline_is_not_an_extra_cell() -> None:
    """It is reported by the shard that has the suite."""
    orphan = orphaned_baseline_of("base--gone")

    report = _merge_with(lambda part: replace(part, orphans=(orphan,)))

    assert report.logprobs[0].orphans == (orphan,)


def _redefined(found: LogprobCellReport) -> LogprobCellReport:
    assert found.cell is not None
    return replace(found, cell=replace(found.cell, policy=policy_of(temperature=1.5)))


@pytest.mark.parametrize(
    ("engines", "found"), [((), "none"), (("other", "another"), "another, other")]
)
def test_an_engine_that_measured_must_be_described(engines: tuple[str, ...], found: str) -> None:
    """Otherwise the profile of its cells is unknown."""
    first, second = two_shards()
    (engine,) = second.report.engines
    named = tuple(replace(engine, name=name) for name in engines)
    nameless = replace(second, report=replace(second.report, engines=named))

    with pytest.raises(
        InputInvalid,
        match=rf"engines in shard 2/2: expected scripted, which {CELLS[2].id} was run on, "
        rf"found {found}$",
    ):
        merged_of([first, nameless])


def test_a_shard_that_ran_nothing_has_no_engine() -> None:
    """An engine that failed to describe itself gave up its cells, which is consistent."""
    first, _ = two_shards()
    starter = ScriptedStarter(faults=[Fault(what="describe", about="scripted", error=DEAD)])

    report = merged_of([first, measured_shard(Shard(2, 2), starter=starter)])

    verdicts = [cell.verdict.word for cell in report.cells]
    assert verdicts == ["match", "match", "inconclusive", "inconclusive"]
