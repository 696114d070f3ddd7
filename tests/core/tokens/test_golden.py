"""What changed since a golden was recorded."""

from dataclasses import fields, replace

import pytest
from hypothesis import given

from repro_gate.core.tokens.cell import Cell, Sampler
from repro_gate.core.tokens.golden import (
    Conditions,
    FactChange,
    Facts,
    definition,
    definition_changes,
    provenance_changes,
)
from tests.fakes import strategies
from tests.fakes.values import CHAT, GREEDY, PENALISED, SAMPLED, cell_of


def test_facts_that_differ_come_back_by_name() -> None:
    """Then those that an earlier version may not have recorded; a variable has been set."""
    before = {"same": "1", "driver": "550", "gone": "x"}
    after = {"same": "1", "driver": "560", "added": "y", "env.OMP_NUM_THREADS": "2"}

    assert provenance_changes(before, after) == (
        FactChange(name="env.OMP_NUM_THREADS", before=None, after="2"),
        FactChange(name="driver", before="550", after="560"),
        FactChange(name="gone", before="x", after=None),
        FactChange(name="added", before=None, after="y"),
    )


@given(strategies.facts, strategies.facts)
def test_nothing_changed_only_between_equal_facts(before: Facts, after: Facts) -> None:
    """There is a change exactly when the facts are not the same."""
    assert (provenance_changes(before, after) == ()) == (before == after)


@pytest.mark.parametrize(
    ("planned", "expected"),
    [
        (replace(cell_of(), model="other"), FactChange(name="model", before="tiny", after="other")),
        (
            replace(cell_of(), text="Shout"),
            FactChange(name="text", before="Say haiku", after="Shout"),
        ),
        (cell_of(seed=7), FactChange(name="seed", before="42", after="7")),
        (cell_of(max_tokens=9), FactChange(name="max_tokens", before="4", after="9")),
        (cell_of(sampler=GREEDY), FactChange(name="temperature", before="0.7", after="0.0")),
        (
            cell_of(sampler=replace(SAMPLED, top_k=1)),
            FactChange(name="top_k", before="40", after="1"),
        ),
        (
            cell_of(sampler=replace(SAMPLED, top_p=0.5)),
            FactChange(name="top_p", before="0.95", after="0.5"),
        ),
        (
            cell_of(sampler=replace(SAMPLED, min_p=0.5)),
            FactChange(name="min_p", before="0.05", after="0.5"),
        ),
    ],
)
def test_a_changed_definition_is_told(planned: Cell, expected: FactChange) -> None:
    """Every changed part of a cell's definition is found."""
    assert definition_changes(cell_of(), planned) == (expected,)


def test_a_definition_includes_every_field_of_a_cell() -> None:
    """No field of a cell or of its sampler is left out of the comparison."""
    known = {field.name for field in (*fields(Cell), *fields(Sampler))}
    cell = replace(cell_of(), text="", chat=CHAT)

    assert set(definition(cell)) == known - {"sampler", "sampling", "stop"}


def test_further_samplers_are_part_of_a_definition() -> None:
    """Each of their values is one fact."""
    planned = cell_of(sampler=PENALISED)

    assert definition_changes(cell_of(sampler=replace(PENALISED, sampling=None)), planned) == (
        FactChange(name="frequency_penalty", before=None, after="0.0"),
        FactChange(name="presence_penalty", before=None, after="0.5"),
        FactChange(name="repeat_last_n", before=None, after="64"),
        FactChange(name="repeat_penalty", before=None, after="1.5"),
        FactChange(name="samplers", before=None, after="penalties"),
    )


def test_conditions_change_with_the_cell_the_plan_and_the_facts() -> None:
    """The definition of the cell comes first, and the provenance last."""
    before = Conditions(
        cell=cell_of("fox"), runs=3, fresh_runs=1, profile="cpu", facts={"device.name": "a"}
    )
    after = Conditions(
        cell=replace(before.cell, text="Other"),
        runs=4,
        fresh_runs=0,
        profile="gpu",
        facts={"device.name": "b"},
    )

    assert before.changes_since(before) == ()
    assert [(each.name, each.after) for each in after.changes_since(before)] == [
        ("text", "Other"),
        ("fresh_runs", "0"),
        ("profile", "gpu"),
        ("runs", "4"),
        ("device.name", "b"),
    ]


def test_stop_strings_are_part_of_a_definition() -> None:
    """A cell with other stop strings is another cell."""
    assert definition(replace(cell_of(), stop=("\n", "."))) == {
        **definition(cell_of()),
        "stop": '["\\n", "."]',
    }
