"""Which cells of a report share the cause of their change, and which fact is suspected first."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.core.changes.groups import (
    MAX_FACTS,
    MAX_TEXT,
    ChangeGroup,
    Suspect,
    change_groups,
    first_suspect,
)
from repro_gate.core.report import CellReport, GateReport, result_of
from repro_gate.core.text import digest_of
from repro_gate.core.tokens.generation import Generation
from repro_gate.core.tokens.golden import FactChange
from repro_gate.core.tokens.grade import Grade, GradeReason
from repro_gate.core.tokens.judge import Repetition, judge
from repro_gate.core.tokens.verdicts import Drift, FormerGolden, Inconclusive, Match, Unrecorded
from tests.fakes.hostile_text import HOSTILE
from tests.fakes.reports import RUN_1, drifted, every_verdict, not_run, ran, report_of
from tests.fakes.values import cell_of, golden_of, provenance_of

KV = FactChange(name="setting.kv_type", before="f32", after="f16")
BUILD = FactChange(name="engine.llama", before="b1", after="b2")
MEMORY = FactChange(name="memory.kv", before="1 MiB", after="2 MiB")
NEW = FactChange(name="engine.commit", before=None, after="c")


def _drifted(prompt: str, *changes: FactChange, model: str = "tiny") -> CellReport:
    found = drifted(cell_of(prompt, model=model))
    assert isinstance(found.verdict, Drift)
    return replace(found, verdict=replace(found.verdict, provenance=changes))


def _ids(groups: Sequence[ChangeGroup]) -> list[list[str]]:
    return [[cell.cell.prompt for cell in group.cells] for group in groups]


def test_cells_with_the_same_changed_facts_are_one_group() -> None:
    """The largest group comes first, whatever model or prompt its cells have."""
    cells = [_drifted("a", KV), _drifted("b", BUILD), _drifted("c", BUILD, model="other")]

    groups = change_groups(report_of(*cells))

    assert _ids(groups) == [["b", "c"], ["a"]]
    assert [group.facts for group in groups] == [(BUILD,), (KV,)]
    assert {group.kind for group in groups} == {"drift: numeric"}


def test_consequences_and_facts_that_the_golden_could_not_have_do_not_count() -> None:
    """They differ between models and goldens of different ages, and are no cause."""
    groups = change_groups(report_of(_drifted("a", KV, MEMORY), _drifted("b", KV, NEW)))

    assert (_ids(groups), groups[0].facts) == ([["a", "b"]], (KV,))


def test_each_kind_of_change_is_a_group_of_its_own() -> None:
    """A cell that matches or was not measured has no change."""
    groups = change_groups(report_of(*every_verdict()))

    assert {group.kind: _ids([group]) for group in groups} == {
        "depends: concurrent-8": [["night"]],
        "drift: numeric": [["fox"]],
        "nondeterministic: unknown": [["moon"]],
        "unrecorded: there is no golden for this profile": [["train"]],
        "vacuous: seed": [["rain"]],
    }


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (GradeReason.SAMPLER, "drift: numeric, beyond rounding"),
        (GradeReason.NO_REFERENCE, "drift: numeric"),
    ],
)
def test_a_decided_grade_is_part_of_the_kind(reason: GradeReason, kind: str) -> None:
    """Cells of one grade are accepted together."""
    shown_by = cell_of("a").id if reason is GradeReason.SAMPLER else None
    grade = Grade(suite="quick", model="tiny", reason=reason, shown_by=shown_by)

    (group,) = change_groups(replace(report_of(_drifted("a", KV)), grades=(grade,)))

    assert group.kind == kind


def test_another_definition_has_the_changes_of_the_definition() -> None:
    """They are in the report of the check, so that no checkout is needed to group them."""
    old, new = cell_of("a", max_tokens=4), cell_of("a", max_tokens=5)
    verdict = judge(Repetition(first=RUN_1), cell=new, golden=golden_of(old), facts={})

    (group,) = change_groups(report_of(ran(new, verdict)))

    change = FactChange(name="max_tokens", before="4", after="5")
    assert (group.kind, group.facts) == ("unrecorded: definition", (change,))


def test_an_earlier_report_has_no_changes_of_the_definition() -> None:
    """Its cells are one group without facts."""
    verdict = Unrecorded(reason="another", former=FormerGolden(divergence=None))

    (group,) = change_groups(report_of(ran(cell_of("a"), verdict)))

    assert (group.kind, group.facts) == ("unrecorded: definition", ())


def test_an_id_is_that_of_the_stored_report() -> None:
    """A report is stored without some traces."""
    report = report_of(*every_verdict(), _drifted("a", KV))

    stored = result_of(report).report

    assert [group.id for group in change_groups(stored)] == [
        group.id for group in change_groups(report)
    ]


_FACT = st.builds(
    FactChange,
    name=st.sampled_from(["setting.kv_type", "engine.llama", "memory.kv", "library.x"]),
    before=st.sampled_from(["a", "b"]),
    after=st.sampled_from(["c", None]),
)
_CHANGES = st.lists(_FACT, max_size=3, unique_by=lambda change: change.name)
_PARTS = st.lists(st.one_of(st.none(), _CHANGES), min_size=1, max_size=8)


def _of_parts(parts: Sequence[list[FactChange] | None]) -> list[CellReport]:
    cells = [f"p{number}" for number in range(len(parts))]
    return [
        ran(cell_of(prompt), Match()) if changes is None else _drifted(prompt, *changes)
        for prompt, changes in zip(cells, parts, strict=True)
    ]


@given(_PARTS)
def test_groups_are_a_partition(parts: list[list[FactChange] | None]) -> None:
    """Every cell with a change is in exactly one group, and no other cell is."""
    cells = _of_parts(parts)

    grouped = [cell.id for group in change_groups(report_of(*cells)) for cell in group.cells]

    assert sorted(grouped) == sorted(cell.id for cell in cells if isinstance(cell.verdict, Drift))


@given(_PARTS, st.randoms(use_true_random=False))
def test_ids_depend_neither_on_order_nor_on_other_cells(
    parts: list[list[FactChange] | None], random: Random
) -> None:
    """A cell has the same id in a part of the report, and in any order."""
    cells = _of_parts(parts)
    whole = {c.id: g.id for g in change_groups(report_of(*cells)) for c in g.cells}
    random.shuffle(cells)
    part = cells[: max(1, len(cells) // 2)]

    found = {c.id: g.id for g in change_groups(report_of(*part)) for c in g.cells}

    assert found == {cell_id: whole[cell_id] for cell_id in found}


@pytest.mark.parametrize("text", HOSTILE)
def test_untrusted_facts_are_bounded(text: str) -> None:
    """Names and values are kept up to a length, and two long values that differ still do."""
    changes = [
        FactChange(name=f"{number}{text}", before=text * 99 + "a", after=text * 99 + "b")
        for number in range(MAX_FACTS + 7)
    ]

    (group,) = change_groups(report_of(_drifted("a", *changes)))

    assert (len(group.facts), group.other_facts) == (MAX_FACTS, 7)
    texts = [each for fact in group.facts for each in (fact.name, fact.before, fact.after)]
    assert max(len(each or "") for each in texts) <= MAX_TEXT
    assert all(fact.before != fact.after for fact in group.facts)
    assert len(group.id) == 8


def test_ids_that_would_be_equal_are_longer() -> None:
    """A report that was made to mislead does not join two causes under one id."""
    first, second = _colliding()

    groups = change_groups(report_of(_drifted("a", first), _drifted("b", second)))

    assert {len(group.id) for group in groups} == {16}
    assert len({group.id for group in groups}) == 2
    assert len({group.id[:8] for group in groups}) == 1


def _colliding() -> tuple[FactChange, FactChange]:
    """Return two changes whose groups have the same first eight digits."""
    seen: dict[str, FactChange] = {}
    for number in count():
        change = FactChange(name="engine.llama", before="b1", after=str(number))
        facts = [[change.name, change.before, change.after]]
        digest = digest_of(["drift: numeric", facts])[:8]
        if digest in seen:
            return seen[digest], change
        seen[digest] = change
    raise AssertionError


def test_the_first_suspect_separates_the_drifted_cells_from_the_matching_ones() -> None:
    """What all cells were measured with is not suspected, though it changed too."""
    report = _with_matching({"setting.kv_type": "f32", "engine.llama": "b2"})

    assert first_suspect(report) == Suspect(
        change=KV, differing=2, of_differing=2, matching=0, of_matching=1
    )


def _with_matching(facts: Mapping[str, str]) -> GateReport:
    """Return a report of two drifted cells, and of one that matches with these facts."""
    matching = replace(ran(cell_of("c"), Match()), provenance=1)
    cells = [_drifted("a", BUILD, KV), _drifted("b", BUILD, KV), matching]
    return replace(report_of(*cells), provenances=(provenance_of("tiny"), facts))


def test_a_fact_of_all_differing_cells_is_suspected_though_no_cell_lacks_it() -> None:
    """It is all that is known to have changed; the counts show how little it separates."""
    report = _with_matching({"setting.kv_type": "f16", "engine.llama": "b2"})

    assert first_suspect(report) == Suspect(
        change=BUILD, differing=2, of_differing=2, matching=1, of_matching=1
    )


def test_a_fact_that_separates_nothing_and_is_not_shared_is_no_suspect() -> None:
    """Half of the cells that differ have it, and so do all that match."""
    report = _with_matching({"setting.kv_type": "f16"})
    first, second, matching = report.cells
    assert isinstance(first.verdict, Drift)
    assert isinstance(second.verdict, Drift)
    with_kv = replace(first, verdict=replace(first.verdict, provenance=(KV,)))
    without = replace(second, verdict=replace(second.verdict, provenance=()))

    assert first_suspect(replace(report, cells=(with_kv, without, matching))) is None


def test_without_matching_cells_the_most_frequent_change_is_suspected() -> None:
    """Of equally frequent ones, the first in the order of suspicion."""
    cells = [_drifted("a", KV, BUILD), _drifted("b", KV, BUILD), not_run(cell_of("c"))]

    assert first_suspect(report_of(*cells)) == Suspect(
        change=KV, differing=2, of_differing=2, matching=0, of_matching=0
    )


def test_a_report_without_drift_has_no_suspect() -> None:
    """Nor has one whose drifts have no changed facts."""
    lost = replace(ran(cell_of("a"), Match()), verdict=Inconclusive(reason="x", remedy=None))

    assert first_suspect(report_of(lost)) is None
    assert first_suspect(report_of(_drifted("a"))) is None


def _observed(generation: Generation) -> CellReport:
    return replace(drifted(cell_of("a"), generation), verification=())


def test_a_drift_of_the_prompt_is_of_the_tokenizer() -> None:
    """The kind is the cause that explain names."""
    other = replace(RUN_1, prompt=RUN_1.prompt[:1])

    (group,) = change_groups(report_of(_observed(other)))

    assert group.kind == "drift: tokenizer"


def test_a_group_has_cells() -> None:
    """There is no cause without a change."""
    (group,) = change_groups(report_of(_drifted("a")))

    with pytest.raises(ValueError, match="a group without cells"):
        replace(group, cells=())
