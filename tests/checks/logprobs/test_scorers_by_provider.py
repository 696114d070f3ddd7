"""A suite with both hosted models and engines of this machine."""

from repro_gate.checks.logprobs.local import ScorersByProvider
from repro_gate.core.logprobs.draw import MissedDraw
from repro_gate.core.logprobs.policy import LogprobCell
from repro_gate.core.report import Note, NoteOrigin
from tests.fakes import scoring
from tests.fakes.engines import ScriptedStarter
from tests.fakes.local_scoring import (
    encoding_of,
    logprob_cell_of,
    request_of,
    scorer_of,
)
from tests.fakes.values import PROFILE, provenance_of

_HERE = logprob_cell_of()
_THERE = LogprobCell(policy=scoring.policy_of(), item=scoring.item_of("sea"))
_NOTED = Note(about="hosted", message="slow", origin=NoteOrigin.GATE)


def test_each_policy_is_measured_by_its_provider() -> None:
    """Source and provenance come from the engine or from the API."""
    both = ScorersByProvider(hosted=scoring.NoisyScorer(), local=scorer_of(ScriptedStarter()))

    assert [both.source(cell.policy) for cell in (_HERE, _THERE)] == [PROFILE, scoring.SOURCE]
    both.encode([_HERE])
    assert both.facts(_HERE.policy) == provenance_of("tiny")
    assert both.facts(_THERE.policy) == {"provider": scoring.SOURCE, "model": scoring.MODEL}


def test_encodings_keep_the_order_of_the_cells() -> None:
    """A provider without cells is not asked."""
    hosted = scoring.NoisyScorer()
    both = ScorersByProvider(hosted=hosted, local=scorer_of(ScriptedStarter()))
    here, there = encoding_of(_HERE), scoring.encoding_of(_THERE)

    assert both.encode([_THERE, _HERE, _THERE]) == [there, here, there]
    assert both.encode([_HERE]) == [here]


def test_draws_on_this_machine_come_first() -> None:
    """They are free, so an interruption after them has cost nothing."""
    both = ScorersByProvider(hosted=scoring.NoisyScorer(), local=scorer_of(ScriptedStarter()))
    there = request_of(_THERE)
    order: list[str] = []
    for requests in ([there, request_of(_HERE)], [there], [request_of(_HERE)]):
        both.draw(requests, seen=lambda request, _: order.append(request.cell.id))

    assert order == [_HERE.id, _THERE.id, _THERE.id, _HERE.id]


def test_only_a_hosted_model_is_scored_twice() -> None:
    """A local engine generates and scores with one computation."""
    twice = MissedDraw(reason="no answer", remedy="ask again")
    hosted = scoring.NoisyScorer(twice=[twice])
    both = ScorersByProvider(hosted=hosted, local=scorer_of(ScriptedStarter()))

    scores = [both.score_twice(cell, encoding_of(_HERE)) for cell in (_HERE, _THERE)]
    assert scores == [None, twice]
    assert hosted.compared == [_THERE.id]


def test_notes_are_joined_and_both_are_closed() -> None:
    """No note is lost, and no process or connection is left."""
    starter = ScriptedStarter(notes={"tiny": ("no pre-tokenizer",)})
    hosted = scoring.NoisyScorer(noticed=(_NOTED,))
    both = ScorersByProvider(hosted=hosted, local=scorer_of(starter))
    both.encode([_HERE])
    both.close()

    noted = Note(about="tiny", message="no pre-tokenizer", origin=NoteOrigin.ENGINE)
    assert both.notes() == (noted, _NOTED)
    assert hosted.is_closed
    assert starter.are_all_closed


def test_a_wait_moves_the_deadlines_of_both() -> None:
    """An engine of this machine has none."""
    hosted = scoring.NoisyScorer()

    ScorersByProvider(hosted=hosted, local=scorer_of(ScriptedStarter())).paused(60.0)

    assert hosted.waited == [60.0]
