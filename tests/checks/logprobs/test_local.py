"""Scores from engines on this machine, for the logprob gate."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace

import pytest

from repro_gate.adapters.engines.client import EngineProcesses
from repro_gate.adapters.models.files import CachedModels
from repro_gate.checks.logprobs.local import LocalScorer
from repro_gate.core.engines import EngineKind, EngineSpec, ModelSpec
from repro_gate.core.logprobs.draw import (
    Draw,
    DrawFacts,
    DrawOutcome,
    Encoding,
    InvalidDraw,
    MissedDraw,
    Piece,
)
from repro_gate.core.logprobs.policy import LogprobKind, Policy
from repro_gate.core.report import Note, NoteOrigin
from repro_gate.ports import Scored, ScoreRequest
from tests.fakes.engines import REFUSED, Fault, ScriptedStarter
from tests.fakes.local_scoring import (
    LATENCY_S,
    NOW,
    asked_for,
    asked_of,
    draw_of,
    drawn,
    encoding_of,
    logprob_cell_of,
    policy_of,
    request_of,
    scorer_of,
)
from tests.fakes.values import PROFILE, provenance_of, scored_of


@pytest.fixture(name="recorded")
def _recorded() -> tuple[list[ScoreRequest], ScriptedStarter]:
    """Return a starter of engines, and the list of the requests that they receive."""
    recorded: list[ScoreRequest] = []

    def judge(model: str, asked: ScoreRequest) -> Scored:
        recorded.append(asked)
        return scored_of(model, asked)

    return recorded, ScriptedStarter(judge=judge)


def test_the_source_is_the_profile_of_the_engine() -> None:
    """Baselines are valid for one profile; the engine is asked for it once."""
    starter = ScriptedStarter()
    scorer = scorer_of(starter)

    assert [scorer.source(policy_of(model)) for model in ("tiny", "small")] == [PROFILE, PROFILE]
    assert asked_for(starter, "describe") == ["scripted"]


def test_facts_are_those_of_engine_and_model() -> None:
    """Empty before the first request; afterwards equal to those of a golden."""
    scorer = scorer_of(ScriptedStarter())
    before = scorer.facts(policy_of())
    scorer.source(policy_of())
    scorer.encode([logprob_cell_of()])

    assert (before, scorer.facts(policy_of())) == ({}, provenance_of("tiny"))


def test_a_cell_is_encoded_by_its_text(
    recorded: tuple[list[ScoreRequest], ScriptedStarter],
) -> None:
    """The prompt is rendered from the template."""
    asked, starter = recorded

    assert scorer_of(starter).encode([logprob_cell_of()]) == [encoding_of(logprob_cell_of())]
    assert asked == [ScoreRequest(prompt="Be brief. Greet!", response=" hi")]


def test_a_draw_is_requested_by_ids(recorded: tuple[list[ScoreRequest], ScriptedStarter]) -> None:
    """An encoding is never tokenized again; raw values need no temperature."""
    asked, starter = recorded
    cell = logprob_cell_of()

    assert drawn(scorer_of(starter), cell) == [(cell, draw_of(cell))]
    assert asked == [asked_of(cell)]


def test_sampling_values_are_those_at_the_temperature(
    recorded: tuple[list[ScoreRequest], ScriptedStarter],
) -> None:
    """A policy with sampling values gets no raw values."""
    asked, starter = recorded
    cell = logprob_cell_of(policy=policy_of(logprobs=LogprobKind.SAMPLING, temperature=0.5))

    ((_, outcome),) = drawn(scorer_of(starter), cell)

    warmed = tuple(value / 0.5 for value in draw_of(cell).logprobs)
    assert outcome == replace(draw_of(cell), logprobs=warmed)
    assert asked == [asked_of(cell, 0.5)]


def test_a_refused_encoding_is_a_missed_draw() -> None:
    """For example a boundary within a token."""
    starter = ScriptedStarter(faults=[Fault(what="score", about="tiny:  hi", error=REFUSED)])

    assert scorer_of(starter).encode([logprob_cell_of()]) == [
        MissedDraw(reason=REFUSED.reason, remedy=REFUSED.remedy)
    ]


def test_an_answer_is_validated() -> None:
    """A log-probability above 0 is invalid from any source."""

    def judge(model: str, asked: ScoreRequest) -> Scored:
        scored = scored_of(model, asked)
        return replace(scored, logprobs=(*scored.logprobs[:-1], 0.5))

    ((_, outcome),) = drawn(scorer_of(ScriptedStarter(judge=judge)), logprob_cell_of(" hi"))

    assert outcome == InvalidDraw(
        reason='the log-probability 0.5 for 105 "i"',
        position=2,
        facts=DrawFacts(at=NOW, model="tiny", latency_s=LATENCY_S),
    )


def test_a_draw_names_the_model_as_the_matrix_does() -> None:
    """Another file by that name is measured, and another name is invalid."""
    outcomes: list[DrawOutcome] = []
    cell = logprob_cell_of()
    requests = [request_of(cell, answers_as=name) for name in ("tiny", "huge")]
    scorer_of(ScriptedStarter()).draw(requests, seen=lambda _, outcome: outcomes.append(outcome))

    assert outcomes == [
        draw_of(cell),
        InvalidDraw(
            reason="the model 'tiny' answered in place of 'huge'", facts=draw_of(cell).facts
        ),
    ]


def test_tokens_without_ids_are_invalid() -> None:
    """A baseline of another provider, or an edited one, has tokens without ids."""
    encoding = Encoding(prompt=(Piece(1, b"a"),), response=(Piece(None, b"b"),))
    outcomes: list[DrawOutcome] = []
    starter = ScriptedStarter()
    request = replace(request_of(logprob_cell_of()), encoding=encoding)
    scorer_of(starter).draw([request], seen=lambda _, outcome: outcomes.append(outcome))

    assert outcomes == [InvalidDraw(reason="the tokens have no ids, which an engine needs")]
    assert starter.log == []


@pytest.mark.parametrize(
    ("first", "is_spelled"), [(b" ", True), (b"  ", True), (b"", False), (b"\x1b", False)]
)
def test_tokens_that_do_not_spell_the_response_are_invalid(
    first: bytes, *, is_spelled: bool
) -> None:
    """Except for the one space that some tokenizers put before a text."""
    encoding = Encoding(prompt=(Piece(1, b"x"),), response=(Piece(2, first), Piece(3, b"hi")))

    def judge(model: str, asked: ScoreRequest) -> Scored:
        usual = scored_of(model, asked)
        return replace(usual, encoding=encoding, logprobs=usual.logprobs[:2])

    (outcome,) = scorer_of(ScriptedStarter(judge=judge)).encode([logprob_cell_of(" hi")])

    assert (outcome == encoding) is is_spelled
    if isinstance(outcome, InvalidDraw):
        spelled = {b"": "hi", b"\x1b": "\\x1bhi"}[first]
        assert outcome.reason == f'the tokens of the response spell "{spelled}", not " hi"'


def test_a_hosted_policy_is_refused() -> None:
    """The caller has picked the wrong scorer."""
    policy = replace(policy_of(), local_model=None)

    with pytest.raises(ValueError, match="the policy tiny has no model on this machine"):
        scorer_of(ScriptedStarter()).source(policy)


REAL = EngineSpec(
    name="cpu",
    kind=EngineKind.LLAMA_CPP,
    command=(),
    device="cpu",
    settings={
        "n_ctx": 256,
        "n_batch": 256,
        "threads": 1,
        "flash_attention": False,
        "kv_type": "f32",
    },
    timeout_s=60.0,
    pass_env=(),
)


@pytest.fixture(name="real", scope="module")
def _real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalScorer]:
    """Yield a scorer with the built-in engine and models."""
    folder = tmp_path_factory.mktemp("local-scorer")
    models = CachedModels(beside=folder, cache=folder / "cache", pins={})
    with closing(scorer_of(EngineProcesses(), models)) as scorer:
        yield scorer


@pytest.mark.parametrize("model", ["tiny-qwen2", "tiny-phi3"])
def test_a_real_engine_repeats_itself(real: LocalScorer, model: str) -> None:
    """The ids of an encoding spell the response, and give the same values each time."""
    spec = ModelSpec(name=model, engine=REAL, source=f"builtin:{model}", sha256=None)
    raw = replace(policy_of(model), local_model=spec)
    cell = logprob_cell_of(" jumps over \u00e9t\u00e9", policy=raw)
    (encoding,) = real.encode([cell])
    assert isinstance(encoding, Encoding)
    assert b"".join(piece.data for piece in encoding.response) == cell.item.response.encode()

    warm = replace(raw, temperature=1.0, logprobs=LogprobKind.SAMPLING)
    one, again, sampling = _drawn_from(real, encoding, [raw, raw, warm])
    assert one == again
    assert len(set(one)) > 1
    assert sampling == pytest.approx(one, abs=1e-6)


def _drawn_from(
    scorer: LocalScorer, encoding: Encoding, policies: Sequence[Policy]
) -> list[tuple[float, ...]]:
    outcomes: list[DrawOutcome] = []
    cells = [logprob_cell_of(policy=policy) for policy in policies]
    requests = [replace(request_of(cell), encoding=encoding) for cell in cells]
    scorer.draw(requests, seen=lambda _, outcome: outcomes.append(outcome))
    return [outcome.logprobs for outcome in outcomes if isinstance(outcome, Draw)]


def test_notes_on_models_and_prompts_reach_the_check() -> None:
    """A note is about the model that was loaded, or the cell that was encoded."""
    cell = logprob_cell_of()
    starter = ScriptedStarter(
        notes={"tiny": ("no pre-tokenizer",), cell.item.response: ("two BOS tokens",)}
    )
    scorer = scorer_of(starter)
    scorer.encode([cell, cell])

    assert scorer.notes() == (
        Note(about="tiny", message="no pre-tokenizer", origin=NoteOrigin.ENGINE),
        Note(about=cell.id, message="two BOS tokens", origin=NoteOrigin.ENGINE),
    )
