"""References are recorded by forcing the tokens of goldens through changed engines."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from repro_gate.checks.tokens.references import (
    RecordedReferences,
    joined,
    record_machine,
    record_references,
)
from repro_gate.core.matrix import Variant
from repro_gate.core.report import EngineReport
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.generation import Generation
from repro_gate.core.tokens.golden import Golden
from repro_gate.core.tokens.reference import Reference, claim_digest
from repro_gate.core.tokens.verification import Share, Verification, VerifiedToken
from repro_gate.errors import MeasurementUnavailable
from repro_gate.ports import VerifyRequest
from tests.fakes.checking import Scene, scene_of
from tests.fakes.engines import DEAD, REFUSED, Fault, ScriptedStarter
from tests.fakes.stores import MemoryGoldens
from tests.fakes.values import (
    CHAT,
    ENGINE_FACTS,
    GREEDY,
    PROFILE,
    answer_to,
    cell_of,
    engine_spec_of,
    golden_of,
    matrix_of,
    reference_of,
    suite_of,
)

HAIKU, FOX = cell_of("haiku"), cell_of("fox")
OTHER = Variant(
    name="other-build", engine=replace(engine_spec_of("other"), settings={"threads": 2})
)


def missed_on(*names: str, uniform: float | None = 0.38) -> ScriptedStarter:
    """Return engines of which those of some names draw another first token."""

    def verified(asked: VerifyRequest) -> Verification:
        started = [each.about for each in starter.log if each.what == "start"]
        return tuple(
            VerifiedToken(
                id=token,
                logprob=-0.75,
                best=((token + 1, -0.5), (token, -0.75)),
                drawn=token + (place == 0 and started[-1] in names),
                uniform=uniform,
                share=Share(low=0.4, high=0.6),
                drawn_share=Share(low=0.1, high=0.4),
            )
            for place, token in enumerate(asked.tokens)
        )

    starter = ScriptedStarter(verifier=verified)
    return starter


def recorded_in(scene: Scene, goldens: Sequence[Golden], *variants: Variant) -> RecordedReferences:
    """Record references for goldens of the cells of a scene."""
    return record_references(
        goldens, models=scene.plan.models, variants=variants, ports=scene.ports
    )


def test_a_variant_has_the_distance_of_each_token() -> None:
    """With the facts that it changes, and a process of its own."""
    starter = missed_on("other")
    starter.reports = {
        "other": EngineReport(
            name="other", profile="cpu-b", facts={**ENGINE_FACTS, "engine.build": "b"}
        )
    }
    scene, goldens = scene_of(HAIKU, FOX, starter=starter), [golden_of(HAIKU), golden_of(FOX)]

    made = recorded_in(scene, goldens, OTHER)

    (reference,) = made.references
    assert replace(reference, cells={}, tool_version="0") == Reference(
        variant="other-build",
        profile=PROFILE,
        measured_on="cpu-b",
        tool_version="0",
        provenance={"engine.build": "b"},
        cells={},
        change={"engine": "other", "setting.threads": "2"},
    )
    assert [cell.distances for cell in reference.cells.values()] == [(0.02, 0.0, 0.0, 0.0)] * 2
    assert [cell.golden for cell in reference.cells.values()] == list(map(claim_digest, goldens))
    assert (made.refused, made.unaffected, starter.are_all_closed) == (
        [],
        {"other-build": []},
        True,
    )


def test_without_random_numbers_the_distance_is_the_margin() -> None:
    """In nats, and a trace gives a divergence."""
    cell = cell_of(sampler=GREEDY)
    scene = scene_of(cell, starter=missed_on("other", uniform=None))
    golden = golden_of(cell, replace(answer_to(cell)))

    (reference,) = recorded_in(scene, [golden], OTHER).references

    assert reference.cells[cell.id].distances == (0.25, 0.0, 0.0, 0.0)
    assert reference.cells[cell.id].kl_divergence is None


def test_without_a_known_random_number_there_is_no_distance() -> None:
    """The cell is refused."""
    scene = scene_of(HAIKU, starter=missed_on("other", uniform=None))

    made = recorded_in(scene, [golden_of(HAIKU)], OTHER)

    assert made.references == []
    assert [(one.variant, one.reason) for one in made.refused] == [
        ("other-build", "the engine gives no random number for 1 tokens")
    ]


def test_what_the_unchanged_engine_does_not_generate_is_no_base() -> None:
    """No variant is tried on it."""
    scene = scene_of(HAIKU, starter=missed_on("scripted", "other"))

    made = recorded_in(scene, [golden_of(HAIKU)], OTHER)

    assert made.references == []
    assert [(one.variant, one.reason) for one in made.refused] == [
        (None, "the unchanged engine no longer generates 1 of its 4 tokens")
    ]


def _other_prompt(cell: Cell) -> Generation:
    return replace(answer_to(cell), prompt=answer_to(FOX).tokens)


def _other_chat(cell: Cell) -> Generation:
    return replace(answer_to(cell), rendered="Say what?")


@pytest.mark.parametrize(
    ("cell", "voice", "reason"),
    [
        (FOX, _other_prompt, "the prompt has other tokens than in the golden, so this is more"),
        (
            replace(FOX, text="", chat=CHAT),
            _other_chat,
            "the rendered chat has other tokens than in the golden",
        ),
    ],
)
def test_another_prompt_is_more_than_rounding(
    cell: Cell, voice: Callable[[Cell], Generation], reason: str
) -> None:
    """The cell is refused by its name, and no token is forced."""
    starter = missed_on()
    starter.voice = voice
    scene = scene_of(cell, starter=starter, goldens=MemoryGoldens())
    rendered = None if cell.chat is None else "Say it"
    golden = golden_of(cell, replace(answer_to(cell), rendered=rendered))

    made = record_machine([golden], name="here", models=scene.plan.models, ports=scene.ports)

    assert made.references == []
    assert [one.golden.cell for one in made.refused] == [cell]
    assert made.refused[0].reason.startswith(reason)
    assert not [asked for asked in starter.log if asked.what == "verify"]


@pytest.mark.parametrize("what", ["describe", "load", "generate", "verify"])
def test_an_engine_that_fails_leaves_cells_out(what: str) -> None:
    """With its reason; the next variant is tried."""
    starter = missed_on()
    about = {"describe": "other", "load": "tiny"}.get(what, HAIKU.id)
    time = 1 if what == "describe" else 2
    starter.faults = (Fault(what=what, error=REFUSED, about=about, time=time),)
    scene = scene_of(HAIKU, starter=starter)
    more = replace(OTHER, name="more")

    made = recorded_in(scene, [golden_of(HAIKU)], OTHER, more)

    assert [(one.variant, one.reason) for one in made.refused] == [
        ("other-build", "out_of_context: too long")
    ]
    assert [reference.variant for reference in made.references] == ["more"]


def test_an_unchanged_engine_that_fails_is_no_base() -> None:
    """The cell is refused once, not for each variant."""
    starter = missed_on()
    starter.faults = (Fault(what="verify", error=REFUSED, about=HAIKU.id),)

    made = recorded_in(scene_of(HAIKU, starter=starter), [golden_of(HAIKU)], OTHER)

    assert [(one.variant, one.reason) for one in made.refused] == [
        (None, "out_of_context: too long")
    ]


def test_an_engine_that_dies_is_replaced() -> None:
    """The other cells are forced."""
    starter = missed_on()
    starter.faults = (Fault(what="verify", error=DEAD, about=HAIKU.id, time=2),)
    scene = scene_of(HAIKU, FOX, starter=starter)

    made = recorded_in(scene, [golden_of(HAIKU), golden_of(FOX)], OTHER)

    assert [one.golden.cell for one in made.refused] == [HAIKU]
    assert [list(reference.cells) for reference in made.references] == [[FOX.id]]


def test_a_model_without_a_change_is_left_out() -> None:
    """Its engine has all of it already."""
    scene = scene_of(HAIKU, starter=missed_on())
    same = Variant(name="same", engine=scene.plan.models["tiny"].engine)

    made = recorded_in(scene, [golden_of(HAIKU)], same)

    assert made.unaffected == {"same": ["tiny"]}
    assert made.references == []


def test_one_variant_is_on_one_class_of_machine() -> None:
    """Else its distances would be of two changes."""
    mine = cell_of("haiku", model="mine")
    matrix = matrix_of(suite_of(HAIKU, mine), engines={"tiny": "scripted", "mine": "other"})
    starter = missed_on()
    starter.reports = {"other": EngineReport(name="other", profile="cpu-b", facts=ENGINE_FACTS)}
    scene = scene_of(HAIKU, mine, matrix=matrix, starter=starter)

    with pytest.raises(MeasurementUnavailable, match="here is on engines of several profiles"):
        record_machine(
            [golden_of(HAIKU), golden_of(mine)],
            name="here",
            models=scene.plan.models,
            ports=scene.ports,
        )


def test_cells_of_an_earlier_recording_stay() -> None:
    """If they were recorded alike, and may."""
    new = reference_of(golden_of(HAIKU), distance=0.1)
    before = reference_of(golden_of(HAIKU), golden_of(FOX), golden_of(cell_of("owl")))

    assert joined(new, before, keeps=[FOX.id]).cells == {
        FOX.id: before.cells[FOX.id],
        HAIKU.id: new.cells[HAIKU.id],
    }
    assert joined(new, replace(before, measured_on="cpu-b"), keeps=[FOX.id]) == new
    assert joined(new, replace(before, change={"engine": "b"}), keeps=[FOX.id]) == new
