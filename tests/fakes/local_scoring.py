"""Cells on scripted engines, the scorer that measures them, and its results."""

from itertools import count

from repro_gate.checks.logprobs.local import LocalScorer
from repro_gate.core.logprobs.draw import Draw, DrawFacts, DrawOutcome, Encoding, MissedDraw
from repro_gate.core.logprobs.policy import (
    LOCAL,
    Item,
    LogprobCell,
    LogprobKind,
    Policy,
    ProviderKind,
    ProviderSpec,
)
from repro_gate.errors import AFTER_FAILURES
from repro_gate.ports import DrawRequest, EngineStarter, ModelFiles, Purpose, ScoreRequest
from tests.fakes.engines import DEAD, Fault, ScriptedStarter
from tests.fakes.stores import MemoryModelFiles
from tests.fakes.values import model_spec_of, pieces_of, scored_of

NOW = "2026-01-02T03:04:05Z"
LATENCY_S = 0.5
DIED = MissedDraw(reason=DEAD.reason, remedy=DEAD.remedy)
NOT_TRIED = MissedDraw(
    reason="not tried: the engine failed 3 times in a row", remedy=AFTER_FAILURES
)
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
    """Return a cell of a policy, by default the usual one."""
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
    """Return the request to an engine for a draw of a cell."""
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
    """Draw each cell once, and return the outcomes in order."""
    outcomes: list[tuple[LogprobCell, DrawOutcome]] = []
    requests = [request_of(cell) for cell in cells]
    scorer.draw(requests, seen=lambda request, outcome: outcomes.append((request.cell, outcome)))
    return outcomes


def asked_for(starter: ScriptedStarter, what: str) -> list[str]:
    """Return the subjects of all requests of one kind, in order."""
    return [asked.about for asked in starter.log if asked.what == what]
