"""Engines of the local scorer: how long they run, and what their failures cost."""

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from repro_gate.checks.engine_worker import EngineWorker
from repro_gate.core.engines import Ability
from repro_gate.core.logprobs.draw import MissedDraw
from repro_gate.errors import MeasurementUnavailable
from repro_gate.ports import CellRun
from tests.fakes.engines import DEAD, REFUSED, Fault, ScriptedStarter
from tests.fakes.local_scoring import (
    DIED,
    NOT_TRIED,
    asked_for,
    death_at,
    draw_of,
    drawn,
    encoding_of,
    logprob_cell_of,
    policy_of,
    request_of,
    scorer_of,
)
from tests.fakes.stores import MemoryModelFiles
from tests.fakes.values import cell_of, digest_of, lora_of, model_spec_of

if TYPE_CHECKING:
    from repro_gate.core.logprobs.policy import LogprobCell

ADAPTED = replace(model_spec_of(), lora=(lora_of(),))
_REPIN = (
    "restore the pinned file; if the new one is intended: repro-gate update-snapshots --repin tiny"
)


def worker_of(starter: ScriptedStarter, files: MemoryModelFiles | None = None) -> EngineWorker:
    """Return a worker with scripted engines."""
    located = files or MemoryModelFiles()
    return EngineWorker(ADAPTED.engine, starter=starter, files=located, clock=lambda: 0.0)


def test_an_unknown_source_is_unavailable() -> None:
    """An engine that dies is restarted, but only a few times."""
    starter = ScriptedStarter(faults=[Fault(what="describe", about="scripted")])
    scorer = scorer_of(starter)
    reasons: list[str] = []
    for _ in range(5):
        with pytest.raises(MeasurementUnavailable) as caught:
            scorer.source(policy_of())
        reasons.append(caught.value.reason)

    assert reasons == [DEAD.reason] * 3 + [NOT_TRIED.reason] * 2
    assert len(starter.engines) == 3


def test_adapters_are_those_that_the_engine_reports() -> None:
    """One that it reports otherwise, or not at all, may not have been applied."""
    digest, scale = "model.lora.1.sha256", "model.lora.1.scale"
    good = {digest: "1" * 64, scale: "0.5"}
    files = MemoryModelFiles(digests={"tiny/lora/1": "1" * 64})
    reasons: list[str] = []
    for applied in ({}, {digest: "1" * 64}, {**good, scale: "1.0"}, {**good, digest: "2" * 64}):
        with pytest.raises(
            MeasurementUnavailable, match="the engine reports the adapter"
        ) as caught:
            worker_of(ScriptedStarter(applied=applied), files).load(ADAPTED)
        reasons.append(caught.value.reason)

    assert len(set(reasons)) == len(reasons)
    assert worker_of(ScriptedStarter(applied=good), files).load(ADAPTED).facts[scale] == "0.5"


def test_an_adapter_stays_the_one_that_was_loaded_first() -> None:
    """A fresh process is given the digest that the first one reported."""
    applied = {"model.lora.1.sha256": "1" * 64, "model.lora.1.scale": "0.5"}
    starter = ScriptedStarter(applied=applied)
    worker = worker_of(starter)
    worker.load(ADAPTED)
    worker.start_fresh()
    worker.switch_to_fresh()
    worker.load(ADAPTED)

    found = [file.lora[0].sha256 for engine in starter.engines for file in engine.files]
    assert found == [None, "1" * 64]


def test_each_model_is_loaded_once() -> None:
    """Answers keep the order of the cells; the work is done model by model."""
    starter = ScriptedStarter()
    one, two = policy_of("one"), policy_of("two")
    cells = [logprob_cell_of(f" {number}", policy=(two, one)[number % 2]) for number in range(6)]

    assert scorer_of(starter).encode(cells) == [encoding_of(cell) for cell in cells]
    assert asked_for(starter, "load") == ["one", "two"]


def test_the_loaded_model_comes_first() -> None:
    """Draws start with the model that was encoded last."""
    starter = ScriptedStarter()
    scorer = scorer_of(starter)
    cells = [logprob_cell_of(policy=policy_of(model)) for model in ("one", "two")]
    scorer.encode(cells)

    assert drawn(scorer, *cells) == [(cell, draw_of(cell)) for cell in reversed(cells)]
    assert asked_for(starter, "load") == ["one", "two", "one"]


def test_each_engine_has_one_process() -> None:
    """Two engines of the matrix are two processes, over any number of requests."""
    starter = ScriptedStarter()
    scorer = scorer_of(starter)
    cells = [logprob_cell_of(policy=policy_of(name, engine=name)) for name in ("cpu", "gpu")]
    for _ in range(3):
        scorer.encode(cells)
        drawn(scorer, *cells)

    assert asked_for(starter, "start") == ["cpu", "gpu"]
    assert asked_for(starter, "load") == ["cpu", "gpu"]


def test_a_refusal_costs_one_draw_and_no_process() -> None:
    """An engine that refuses a request has not failed."""
    cells = [logprob_cell_of(" a"), logprob_cell_of(" b")]
    starter = ScriptedStarter(faults=[replace(death_at(cells[0]), error=REFUSED)])

    assert drawn(scorer_of(starter), *cells) == [
        (cells[0], MissedDraw(reason=REFUSED.reason, remedy=REFUSED.remedy)),
        (cells[1], draw_of(cells[1])),
    ]
    assert len(starter.engines) == 1


def test_a_death_costs_one_draw_and_its_process() -> None:
    """The next draw is made by a fresh process, which loads the model again."""
    cells = [logprob_cell_of(" a"), logprob_cell_of(" b")]
    starter = ScriptedStarter(faults=[death_at(cells[0])])

    assert drawn(scorer_of(starter), *cells) == [(cells[0], DIED), (cells[1], draw_of(cells[1]))]
    assert [engine.is_closed for engine in starter.engines] == [True, False]
    assert asked_for(starter, "load") == ["tiny", "tiny"]


def test_after_three_deaths_in_a_row_the_rest_is_not_tried() -> None:
    """The model is the cause then, and each death may take as long as the time limit."""
    cells = [logprob_cell_of(f" {number}") for number in range(5)]
    other = logprob_cell_of(policy=policy_of("zebra"))
    starter = ScriptedStarter(faults=[death_at(cell) for cell in cells])
    scorer = scorer_of(starter)

    outcomes = [outcome for _, outcome in drawn(scorer, *cells, other)]
    assert outcomes == [DIED] * 3 + [NOT_TRIED] * 2 + [draw_of(other)]
    assert drawn(scorer, cells[0]) == [(cells[0], NOT_TRIED)]


def test_deaths_that_are_not_in_a_row_do_not_add_up() -> None:
    """A successful draw shows that the model can be measured."""
    bad, good = logprob_cell_of(" bad"), logprob_cell_of(" good")
    scorer = scorer_of(ScriptedStarter(faults=[death_at(bad)]))

    outcomes = [outcome for _, outcome in drawn(scorer, bad, bad, good, bad, bad, good)]
    assert outcomes == [DIED, DIED, draw_of(good), DIED, DIED, draw_of(good)]


def test_a_model_that_kills_the_engine_is_tried_three_times() -> None:
    """Deaths during a load count like deaths during a draw."""
    cells = [logprob_cell_of(f" {number}") for number in range(5)]
    starter = ScriptedStarter(faults=[Fault(what="load", about="tiny")])

    outcomes = [outcome for _, outcome in drawn(scorer_of(starter), *cells)]
    assert outcomes == [DIED] * 3 + [NOT_TRIED] * 2


def test_a_refused_model_is_not_loaded_again() -> None:
    """A large file would be read to its end for each draw, with the same result."""
    cells = [logprob_cell_of(" a"), logprob_cell_of(" b")]
    starter = ScriptedStarter(faults=[Fault(what="load", about="tiny", error=REFUSED)])
    missed = MissedDraw(reason=REFUSED.reason, remedy=REFUSED.remedy)

    assert drawn(scorer_of(starter), *cells) == [(cell, missed) for cell in cells]
    assert asked_for(starter, "load") == ["tiny"]


def test_a_refused_model_leaves_none_loaded() -> None:
    """The model before it is loaded again when it is needed."""
    one, two = (logprob_cell_of(policy=policy_of(model)) for model in ("one", "two"))
    starter = ScriptedStarter(faults=[Fault(what="load", about="two", error=REFUSED)])
    scorer = scorer_of(starter)

    outcomes = [outcome for cell in (one, two, one) for _, outcome in drawn(scorer, cell)]
    assert outcomes[::2] == [draw_of(one)] * 2
    assert asked_for(starter, "load") == ["one", "two", "one"]


def test_a_missing_model_has_a_remedy() -> None:
    """The command that fetches it; no engine is started."""
    starter = ScriptedStarter()
    cell = logprob_cell_of()

    assert drawn(scorer_of(starter, MemoryModelFiles(missing=["tiny"])), cell) == [
        (
            cell,
            MissedDraw(reason="model tiny is missing", remedy="repro-gate models fetch tiny"),
        )
    ]
    assert starter.log == []


def test_a_model_with_another_digest_is_not_measured() -> None:
    """The digest in the engine's answer is compared with the pin."""
    files = MemoryModelFiles(digests={"tiny": "0a" * 32})
    ((_, outcome),) = drawn(scorer_of(ScriptedStarter(), files), logprob_cell_of())

    assert outcome == MissedDraw(
        reason=f"the file of tiny has the sha256 {digest_of('tiny')}, but {'0a' * 32} is pinned",
        remedy=_REPIN,
    )


def test_a_pinned_model_whose_file_is_unknown_is_not_measured() -> None:
    """Nothing shows that the server of a remote engine has loaded the pinned file."""
    files, starter = MemoryModelFiles(digests={"tiny": "0a" * 32}), ScriptedStarter()
    starter.can, starter.digest = frozenset({Ability.REMOTE}), lambda _: None
    ((_, outcome),) = drawn(scorer_of(starter, files), logprob_cell_of())

    assert outcome == MissedDraw(
        reason="tiny is pinned, and its engine, which did not start the server, does not report "
        "which file the server has loaded",
        remedy="have the engine start the server, or remove the pin of tiny",
    )


def test_a_file_that_is_replaced_during_the_check_is_not_measured() -> None:
    """Draws of two models by one name would be compared as if they were one's."""
    digests = iter(("0a" * 32, "0b" * 32))
    cells = [logprob_cell_of(" a"), logprob_cell_of(" b"), logprob_cell_of(" c")]
    starter = ScriptedStarter(faults=[death_at(cells[1])], digest=lambda _: next(digests))

    assert [outcome for _, outcome in drawn(scorer_of(starter), *cells)] == [
        draw_of(cells[0]),
        DIED,
        MissedDraw(
            reason="the file of tiny was replaced during the check",
            remedy="check again, and do not change the file during the check",
        ),
    ]


def test_draws_and_encodings_of_a_model_are_made_together() -> None:
    """An engine with a concurrency gets several at a time, and their order is kept."""
    starter = ScriptedStarter(concurrency=2)
    scorer = scorer_of(starter)
    cells = [logprob_cell_of(f" {number}") for number in range(3)]
    encodings = scorer.encode(cells)
    starter.log.clear()

    assert encodings == [encoding_of(cell) for cell in cells]
    assert [cell for cell, _ in drawn(scorer, *cells)] == cells
    # The newest of two is answered first.
    responses = [encoding_of(cells[number]).response for number in (1, 0, 2)]
    assert asked_for(starter, "score") == [
        f"tiny: {tuple(piece.id for piece in response)}" for response in responses
    ]


def test_a_death_among_several_draws_costs_the_one_that_fails_again() -> None:
    """The others are drawn again, one at a time, and the report has a note."""
    cells = [logprob_cell_of(f" {number}") for number in range(4)]
    starter = ScriptedStarter(concurrency=4, faults=[death_at(cells[2])])
    scorer = scorer_of(starter)
    outcomes = drawn(scorer, *cells)

    assert [cell for cell, outcome in outcomes if outcome == DIED] == [cells[2]]
    assert [cell for cell, _ in outcomes] == cells
    assert [note.message for note in scorer.notes()] == [
        f"the engine failed with several requests in flight; 4 were made again alone: {DEAD.reason}"
    ]


def test_an_interruption_is_let_through() -> None:
    """The draws before it have been delivered."""
    cells = [logprob_cell_of(" a"), logprob_cell_of(" b"), logprob_cell_of(" c")]
    drawn_cells: list[LogprobCell] = []
    starter = ScriptedStarter(faults=[replace(death_at(cells[1]), error=KeyboardInterrupt())])

    with pytest.raises(KeyboardInterrupt):
        scorer_of(starter).draw(
            [request_of(cell) for cell in cells],
            seen=lambda request, _: drawn_cells.append(request.cell),
        )

    assert drawn_cells == cells[:1]


def test_answers_that_are_not_wanted_end_their_engine() -> None:
    """They would be taken for those of later requests."""
    starter = ScriptedStarter(can=frozenset({Ability.CONCURRENT}), concurrency=2)
    worker = worker_of(starter)
    runs = [CellRun(cell=cell_of(prompt), trace=False) for prompt in ("haiku", "fox")]
    answers = worker.generate_once(model_spec_of("tiny"), runs, at_once=True)
    next(answers)
    answers.close()

    assert starter.are_all_closed


def test_closing_ends_every_engine() -> None:
    """It may be done twice."""
    starter = ScriptedStarter()
    scorer = scorer_of(starter)
    for name in ("cpu", "gpu"):
        scorer.source(policy_of(name, engine=name))
    scorer.close()
    scorer.close()

    assert [engine.is_closed for engine in starter.engines] == [True, True]
