"""Scores from engines on this machine, as the logprob gate asks for them."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import count

import pytest

from repro_gate.adapters.engines import EngineProcesses
from repro_gate.adapters.local_scorer import LocalScorer
from repro_gate.adapters.model_files import CachedModels
from repro_gate.core.draws import (
    Draw,
    DrawFacts,
    DrawOutcome,
    Encoding,
    InvalidDraw,
    MissedDraw,
    Piece,
)
from repro_gate.core.models import EngineKind, EngineSpec, ModelSpec
from repro_gate.core.policies import (
    LOCAL,
    Item,
    LogprobCell,
    LogprobKind,
    Policy,
    ProviderKind,
    ProviderSpec,
)
from repro_gate.errors import MeasurementUnavailable
from repro_gate.ports import DrawRequest, EngineStarter, ModelFiles, Purpose, Scored, ScoreRequest
from tests.fakes.engines import DEAD, REFUSED, Fault, ScriptedStarter
from tests.fakes.stores import MemoryModelFiles
from tests.fakes.values import (
    PROFILE,
    digest_of,
    model_spec_of,
    pieces_of,
    provenance_of,
    scored_of,
)

NOW = "2026-01-02T03:04:05Z"
LATENCY_S = 0.5
DIED = MissedDraw(reason=DEAD.reason)
NOT_TRIED = MissedDraw(reason="not tried: the engine failed 3 times in a row")
PLACE = ProviderSpec(name=LOCAL, kind=ProviderKind.LOCAL)


def policy_of(
    model: str = "tiny",
    *,
    engine: str = "scripted",
    temperature: float = 0.5,
    logprobs: LogprobKind = LogprobKind.RAW,
) -> Policy:
    """Return a policy that a model of the matrix is."""
    return Policy(
        name=model,
        provider=PLACE,
        model=model,
        system="Be brief.",
        template="{system} {prompt}",
        temperature=temperature,
        logprobs=logprobs,
        local_model=model_spec_of(model, engine=engine),
    )


def logprob_cell_of(response: str = " hi", *, policy: Policy | None = None) -> LogprobCell:
    """Return a cell of a policy, of the usual one unless told otherwise."""
    item = Item(name="item", prompt="Greet!", response=response)
    return LogprobCell(policy=policy or policy_of(), item=item)


def encoding_of(cell: LogprobCell) -> Encoding:
    """Return what the scripted tokenizer makes of a cell."""
    return Encoding(prompt=pieces_of(cell.prefix), response=pieces_of(cell.item.response))


def request_of(cell: LogprobCell, *, answers_as: str | None = None) -> DrawRequest:
    """Return the first draw of a cell."""
    return DrawRequest(
        cell=cell,
        encoding=encoding_of(cell),
        purpose=Purpose.FIRST_LOOK,
        number=1,
        answers_as=answers_as,
    )


def asked_of(cell: LogprobCell, temperature: float | None = None) -> ScoreRequest:
    """Return what an engine is asked for a draw of a cell."""
    return ScoreRequest(
        prompt=tuple(cell.prefix.encode()),
        response=tuple(cell.item.response.encode()),
        temperature=temperature,
    )


def draw_of(cell: LogprobCell) -> Draw:
    """Return what a draw of a cell is when nothing goes wrong."""
    model = cell.policy.model
    return Draw(
        logprobs=scored_of(model, asked_of(cell)).logprobs,
        facts=DrawFacts(at=NOW, model=model, latency_s=LATENCY_S),
    )


def death_at(cell: LogprobCell, *, time: int | None = None) -> Fault:
    """Return the death of the engine at a draw of a cell."""
    about = f"{cell.policy.model}: {tuple(cell.item.response.encode())}"
    return Fault(what="score", about=about, time=time)


def scorer_of(starter: EngineStarter, files: ModelFiles | None = None) -> LocalScorer:
    """Return a scorer whose every answer takes the same time."""
    return LocalScorer(
        starter=starter,
        files=files or MemoryModelFiles(),
        now=lambda: NOW,
        clock=count(step=LATENCY_S).__next__,
    )


def drawn(scorer: LocalScorer, *cells: LogprobCell) -> list[tuple[LogprobCell, DrawOutcome]]:
    """Draw cells once each, and return what was told, in its order."""
    told: list[tuple[LogprobCell, DrawOutcome]] = []
    requests = [request_of(cell) for cell in cells]
    scorer.draw(requests, seen=lambda request, outcome: told.append((request.cell, outcome)))
    return told


def asked_for(starter: ScriptedStarter, what: str) -> list[str]:
    """Return what was asked in one way, in order."""
    return [asked.about for asked in starter.log if asked.what == what]


@pytest.fixture(name="heard")
def _heard() -> tuple[list[ScoreRequest], ScriptedStarter]:
    """Return a list that fills with what the engines of a starter are asked."""
    heard: list[ScoreRequest] = []

    def judge(model: str, asked: ScoreRequest) -> Scored:
        heard.append(asked)
        return scored_of(model, asked)

    return heard, ScriptedStarter(judge=judge)


def test_the_source_is_the_profile_of_the_engine() -> None:
    """Baselines hold on a class of machine; the engine is asked once which one that is."""
    starter = ScriptedStarter()
    scorer = scorer_of(starter)

    assert [scorer.source(policy_of(model)) for model in ("tiny", "small")] == [PROFILE, PROFILE]
    assert asked_for(starter, "describe") == ["scripted"]


def test_a_source_that_cannot_be_said_is_unavailable() -> None:
    """An engine that dies is started anew, but not for ever."""
    starter = ScriptedStarter(faults=[Fault(what="describe", about="scripted")])
    scorer = scorer_of(starter)
    reasons: list[str] = []
    for _ in range(5):
        with pytest.raises(MeasurementUnavailable) as caught:
            scorer.source(policy_of())
        reasons.append(caught.value.reason)

    assert reasons == [DEAD.reason] * 3 + [NOT_TRIED.reason] * 2
    assert len(starter.engines) == 3


def test_facts_are_those_of_engine_and_model() -> None:
    """Nothing is known before the engine was asked; then it is all that a golden says too."""
    scorer = scorer_of(ScriptedStarter())
    before = scorer.facts(policy_of())
    scorer.source(policy_of())
    scorer.encode([logprob_cell_of()])

    assert (before, scorer.facts(policy_of())) == ({}, provenance_of("tiny"))


def test_a_cell_is_encoded_by_its_text(heard: tuple[list[ScoreRequest], ScriptedStarter]) -> None:
    """The prompt is what the template makes of it."""
    asked, starter = heard

    assert scorer_of(starter).encode([logprob_cell_of()]) == [encoding_of(logprob_cell_of())]
    assert asked == [ScoreRequest(prompt="Be brief. Greet!", response=" hi")]


def test_a_draw_is_asked_by_ids(heard: tuple[list[ScoreRequest], ScriptedStarter]) -> None:
    """What was encoded once is never made tokens again; raw values need no temperature."""
    asked, starter = heard
    cell = logprob_cell_of()

    assert drawn(scorer_of(starter), cell) == [(cell, draw_of(cell))]
    assert asked == [asked_of(cell)]


def test_sampling_values_are_those_at_the_temperature(
    heard: tuple[list[ScoreRequest], ScriptedStarter],
) -> None:
    """A policy that wants them gets them, and no raw value among them."""
    asked, starter = heard
    cell = logprob_cell_of(policy=policy_of(logprobs=LogprobKind.SAMPLING, temperature=0.5))

    ((_, outcome),) = drawn(scorer_of(starter), cell)

    warmed = tuple(value / 0.5 for value in draw_of(cell).logprobs)
    assert outcome == replace(draw_of(cell), logprobs=warmed)
    assert asked == [asked_of(cell, 0.5)]


def test_each_model_is_loaded_once() -> None:
    """Answers keep the order of the cells; the work is done model by model."""
    starter = ScriptedStarter()
    one, two = policy_of("one"), policy_of("two")
    cells = [logprob_cell_of(f" {number}", policy=(two, one)[number % 2]) for number in range(6)]

    assert scorer_of(starter).encode(cells) == [encoding_of(cell) for cell in cells]
    assert asked_for(starter, "load") == ["one", "two"]


def test_the_model_that_is_loaded_comes_first() -> None:
    """Draws begin where encoding ended."""
    starter = ScriptedStarter()
    scorer = scorer_of(starter)
    cells = [logprob_cell_of(policy=policy_of(model)) for model in ("one", "two")]
    scorer.encode(cells)

    assert drawn(scorer, *cells) == [(cell, draw_of(cell)) for cell in reversed(cells)]
    assert asked_for(starter, "load") == ["one", "two", "one"]


def test_each_engine_has_one_process_that_stays() -> None:
    """Two engines of the matrix are two processes, however often they are asked."""
    starter = ScriptedStarter()
    scorer = scorer_of(starter)
    cells = [logprob_cell_of(policy=policy_of(name, engine=name)) for name in ("cpu", "gpu")]
    for _ in range(3):
        scorer.encode(cells)
        drawn(scorer, *cells)

    assert asked_for(starter, "start") == ["cpu", "gpu"]
    assert asked_for(starter, "load") == ["cpu", "gpu"]


def test_a_refusal_costs_one_draw_and_no_process() -> None:
    """An engine that refuses is well, and goes on with the next."""
    cells = [logprob_cell_of(" a"), logprob_cell_of(" b")]
    starter = ScriptedStarter(faults=[replace(death_at(cells[0]), error=REFUSED)])

    assert drawn(scorer_of(starter), *cells) == [
        (cells[0], MissedDraw(reason=REFUSED.reason, remedy=REFUSED.remedy)),
        (cells[1], draw_of(cells[1])),
    ]
    assert len(starter.engines) == 1


def test_a_refusal_to_encode_is_missed() -> None:
    """Such as a boundary that falls within a token."""
    starter = ScriptedStarter(faults=[Fault(what="score", about="tiny:  hi", error=REFUSED)])

    assert scorer_of(starter).encode([logprob_cell_of()]) == [
        MissedDraw(reason=REFUSED.reason, remedy=REFUSED.remedy)
    ]


def test_a_death_costs_one_draw_and_its_process() -> None:
    """The next draw is made by a fresh process, which loads the model again."""
    cells = [logprob_cell_of(" a"), logprob_cell_of(" b")]
    starter = ScriptedStarter(faults=[death_at(cells[0])])

    assert drawn(scorer_of(starter), *cells) == [(cells[0], DIED), (cells[1], draw_of(cells[1]))]
    assert [engine.is_closed for engine in starter.engines] == [True, False]
    assert asked_for(starter, "load") == ["tiny", "tiny"]


def test_after_three_deaths_in_a_row_the_rest_is_not_tried() -> None:
    """Then the model is the cause, and each death may take as long as its time-out."""
    cells = [logprob_cell_of(f" {number}") for number in range(5)]
    other = logprob_cell_of(policy=policy_of("zebra"))
    starter = ScriptedStarter(faults=[death_at(cell) for cell in cells])
    scorer = scorer_of(starter)

    outcomes = [outcome for _, outcome in drawn(scorer, *cells, other)]
    assert outcomes == [DIED] * 3 + [NOT_TRIED] * 2 + [draw_of(other)]
    assert drawn(scorer, cells[0]) == [(cells[0], NOT_TRIED)]


def test_deaths_that_are_not_in_a_row_do_not_add_up() -> None:
    """A draw that was made shows that the model can be measured."""
    bad, good = logprob_cell_of(" bad"), logprob_cell_of(" good")
    scorer = scorer_of(ScriptedStarter(faults=[death_at(bad)]))

    outcomes = [outcome for _, outcome in drawn(scorer, bad, bad, good, bad, bad, good)]
    assert outcomes == [DIED, DIED, draw_of(good), DIED, DIED, draw_of(good)]


def test_a_model_that_kills_the_engine_is_tried_three_times() -> None:
    """Deaths while loading count as deaths while drawing do."""
    cells = [logprob_cell_of(f" {number}") for number in range(5)]
    starter = ScriptedStarter(faults=[Fault(what="load", about="tiny")])

    outcomes = [outcome for _, outcome in drawn(scorer_of(starter), *cells)]
    assert outcomes == [DIED] * 3 + [NOT_TRIED] * 2


def test_a_model_that_is_refused_is_not_loaded_again() -> None:
    """A large file would be read to its end for each draw, to hear the same."""
    cells = [logprob_cell_of(" a"), logprob_cell_of(" b")]
    starter = ScriptedStarter(faults=[Fault(what="load", about="tiny", error=REFUSED)])
    missed = MissedDraw(reason=REFUSED.reason, remedy=REFUSED.remedy)

    assert drawn(scorer_of(starter), *cells) == [(cell, missed) for cell in cells]
    assert asked_for(starter, "load") == ["tiny"]


def test_a_model_that_is_not_here_names_its_remedy() -> None:
    """The command that gets it is said, and no engine is started for nothing."""
    starter = ScriptedStarter()
    cell = logprob_cell_of()

    assert drawn(scorer_of(starter, MemoryModelFiles(missing=["tiny"])), cell) == [
        (
            cell,
            MissedDraw(reason="the model tiny is not here", remedy="repro-gate models fetch tiny"),
        )
    ]
    assert starter.log == []


def test_a_model_that_is_not_the_pinned_one_is_not_drawn_from() -> None:
    """Whatever an engine loads, it says its digest."""
    files = MemoryModelFiles(digests={"tiny": "0a" * 32})
    ((_, outcome),) = drawn(scorer_of(ScriptedStarter(), files), logprob_cell_of())

    assert outcome == MissedDraw(
        reason=f"the engine loaded a tiny with the sha256 {digest_of('tiny')}, but "
        f"{'0a' * 32} is pinned"
    )


def test_a_file_that_is_replaced_meanwhile_is_not_drawn_from() -> None:
    """Draws of two models by one name would be taken for those of one."""
    digests = iter(("0a" * 32, "0b" * 32))
    cells = [logprob_cell_of(" a"), logprob_cell_of(" b"), logprob_cell_of(" c")]
    starter = ScriptedStarter(faults=[death_at(cells[1])], digest=lambda _: next(digests))

    assert [outcome for _, outcome in drawn(scorer_of(starter), *cells)] == [
        draw_of(cells[0]),
        DIED,
        MissedDraw(
            reason=f"the engine loaded a tiny with the sha256 {'0b' * 32}, but "
            f"{'0a' * 32} is pinned"
        ),
    ]


def test_an_interruption_is_let_through() -> None:
    """What came before it was told."""
    cells = [logprob_cell_of(" a"), logprob_cell_of(" b"), logprob_cell_of(" c")]
    told: list[LogprobCell] = []
    starter = ScriptedStarter(faults=[replace(death_at(cells[1]), error=KeyboardInterrupt())])

    with pytest.raises(KeyboardInterrupt):
        scorer_of(starter).draw(
            [request_of(cell) for cell in cells],
            seen=lambda request, _: told.append(request.cell),
        )

    assert told == cells[:1]


def test_an_answer_is_judged() -> None:
    """A log-probability above 0 is none, whoever says it."""

    def judge(model: str, asked: ScoreRequest) -> Scored:
        scored = scored_of(model, asked)
        return replace(scored, logprobs=(*scored.logprobs[:-1], 0.5))

    ((_, outcome),) = drawn(scorer_of(ScriptedStarter(judge=judge)), logprob_cell_of(" hi"))

    assert outcome == InvalidDraw(
        reason='the log-probability 0.5 for 105 "i"',
        position=2,
        facts=DrawFacts(at=NOW, model="tiny", latency_s=LATENCY_S),
    )


def test_the_model_answers_by_its_name_in_the_matrix() -> None:
    """So another file by that name is measured, and another name is invalid."""
    told: list[DrawOutcome] = []
    cell = logprob_cell_of()
    requests = [request_of(cell, answers_as=name) for name in ("tiny", "huge")]
    scorer_of(ScriptedStarter()).draw(requests, seen=lambda _, outcome: told.append(outcome))

    assert told == [
        draw_of(cell),
        InvalidDraw(
            reason="the model 'tiny' answered in place of 'huge'", facts=draw_of(cell).facts
        ),
    ]


def test_tokens_without_ids_cannot_be_asked_for() -> None:
    """A baseline of another provider, or one that was edited, names tokens by text alone."""
    encoding = Encoding(prompt=(Piece(1, b"a"),), response=(Piece(None, b"b"),))
    told: list[DrawOutcome] = []
    starter = ScriptedStarter()
    request = replace(request_of(logprob_cell_of()), encoding=encoding)
    scorer_of(starter).draw([request], seen=lambda _, outcome: told.append(outcome))

    assert told == [InvalidDraw(reason="the tokens have no ids, by which an engine is asked")]
    assert starter.log == []


@pytest.mark.parametrize(
    ("first", "is_spelled"), [(b" ", True), (b"  ", True), (b"", False), (b"\x1b", False)]
)
def test_tokens_that_do_not_spell_the_response_are_invalid(
    first: bytes, *, is_spelled: bool
) -> None:
    """But for the one space that some tokenizers put before a text."""
    encoding = Encoding(prompt=(Piece(1, b"x"),), response=(Piece(2, first), Piece(3, b"hi")))

    def judge(model: str, asked: ScoreRequest) -> Scored:
        return replace(scored_of(model, asked), encoding=encoding)

    (outcome,) = scorer_of(ScriptedStarter(judge=judge)).encode([logprob_cell_of(" hi")])

    assert (outcome == encoding) is is_spelled
    if isinstance(outcome, InvalidDraw):
        spelled = {b"": "hi", b"\x1b": "\\x1bhi"}[first]
        assert outcome.reason == f'the tokens of the response spell "{spelled}", not " hi"'


def test_closing_ends_every_engine() -> None:
    """And may be done twice."""
    starter = ScriptedStarter()
    scorer = scorer_of(starter)
    for name in ("cpu", "gpu"):
        scorer.source(policy_of(name, engine=name))
    scorer.close()
    scorer.close()

    assert [engine.is_closed for engine in starter.engines] == [True, True]


def test_a_hosted_policy_is_none_of_its_own() -> None:
    """Whoever asks has picked the wrong scorer."""
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
    """Give a scorer with the built-in engine and models."""
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
    told: list[DrawOutcome] = []
    cells = [logprob_cell_of(policy=policy) for policy in policies]
    requests = [replace(request_of(cell), encoding=encoding) for cell in cells]
    scorer.draw(requests, seen=lambda _, outcome: told.append(outcome))
    return [outcome.logprobs for outcome in told if isinstance(outcome, Draw)]
