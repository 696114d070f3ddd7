"""Controls: log-probabilities depend on the prompt, and an echo is not off by one token."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import TypeAlias

from repro_gate.checks.logprobs.collect import DrawCollector, DrawSet
from repro_gate.core.logprobs.alignment import (
    MAX_COMPARISONS,
    Alignment,
    AlignmentFigures,
    ScoredTwice,
    judge_alignment,
)
from repro_gate.core.logprobs.baseline import Baseline, differs_beyond_noise
from repro_gate.core.logprobs.draw import Draw, DrawOutcome, Encoding, MissedDraw
from repro_gate.core.logprobs.policy import Endpoint
from repro_gate.core.logprobs.report import LogprobControl
from repro_gate.core.report import Note, NoteOrigin
from repro_gate.ports import DrawRequest, Purpose, Scorer

_ATTEMPTS = 3
"""Cells of a policy to try before its control is given up."""

Compared: TypeAlias = tuple[DrawSet, Baseline]
"""The draws of a cell, and the recorded ones that its control must differ from."""


def run_prompt_controls(
    controls: dict[str, LogprobControl], looks: Sequence[Compared], *, collector: DrawCollector
) -> None:
    """Score a response of each policy after another prompt; the result must differ.

    Policies that already have a control are skipped. Two answers may begin alike by chance, so for
    kinds that generate another cell is tried where there was no difference.
    """
    done = set(controls)
    tried: set[str] = set()
    for _ in range(_ATTEMPTS):
        chosen: dict[str, Compared] = {}
        for look, recorded in looks:
            policy, found = look.cell.policy, controls.get(look.cell.policy.name)
            is_open = found is None or (found.failed and policy.generates)
            if policy.name not in done and is_open and look.cell.id not in tried:
                chosen.setdefault(policy.name, (look, recorded))
        tried |= {look.cell.id for look, _ in chosen.values()}
        _draw(controls, chosen.values(), collector)


def _draw(
    controls: dict[str, LogprobControl], looks: Iterable[Compared], collector: DrawCollector
) -> None:
    recorded = {look.cell.id: baseline for look, baseline in looks}
    requests = [_request(look) for look, _ in looks]

    def take(request: DrawRequest, outcome: DrawOutcome) -> None:
        policy = request.cell.policy.name
        if not isinstance(outcome, Draw):
            collector.control_problems[policy] = outcome.reason
        else:
            controls[policy] = LogprobControl(
                policy=policy,
                cell=request.cell.id,
                differed=_differs(outcome, recorded[request.cell.id]),
            )

    collector.draw(requests, take)


def _request(look: DrawSet) -> DrawRequest:
    """Return the request of the same response, or of an answer, after another prompt."""
    cell, encoding = look.cell, look.encoding
    if cell.policy.generates or cell.policy.endpoint is Endpoint.CHAT:
        # The text is sent, and not its tokens.
        item = replace(cell.item, prompt=_another_text(cell.item.prompt))
        cell = replace(cell, item=item)
    else:
        encoding = _after_another_prompt(encoding)
    return DrawRequest(cell=cell, encoding=encoding, purpose=Purpose.CONTROL, number=1)


def _differs(draw: Draw, recorded: Baseline) -> bool:
    if draw.fork is None:
        return differs_beyond_noise(draw.logprobs, recorded.draws)
    forks = [place for place in recorded.forks if place is not None]
    # After a fork there is no information, only noise of the recorded draws.
    known = draw.fork + 1
    return draw.fork < min(forks, default=known) or differs_beyond_noise(
        draw.logprobs[:known], [values[:known] for values in recorded.draws]
    )


def _another_text(prompt: str) -> str:
    """Return a prompt with its words in another order, or the doubled one if that is equal."""
    words = prompt.split()
    backwards = " ".join(reversed(words))
    return backwards if backwards != prompt else f"{prompt} {prompt}"


def _after_another_prompt(encoding: Encoding) -> Encoding:
    """Return the same response after the reversed prompt, or the doubled one if that is equal.

    The last token stays, so that the boundary before the response does not move.
    """
    prompt = encoding.prompt
    backwards = (*reversed(prompt[:-1]), *prompt[-1:])
    other = backwards if backwards != prompt else prompt * 2
    # An empty prompt cannot be reversed.
    return replace(encoding, prompt=other or encoding.response)


REMEDY = (
    "use another server for this model: some that run models without a BOS token are off by one "
    "in their echo"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoAlignment:
    """The result of comparing generated tokens with their echo."""

    shifted: dict[str, str]
    """Why a cell must not be recorded, by its id."""
    notes: tuple[Note, ...]
    """About the models for which the comparison was inconclusive."""


def compare_echoes(looks: Iterable[DrawSet], *, scorer: Scorer) -> EchoAlignment:
    """Compare once per model of a provider, with two to six calls each.

    A baseline of an echo that is off by one would always agree with itself.
    """
    models: dict[tuple[str, str], list[DrawSet]] = defaultdict(list)
    for look in looks:
        if look.cell.policy.generates:
            continue
        models[look.cell.policy.provider.name, look.cell.policy.model].append(look)
    shifted: dict[str, str] = {}
    notes: list[Note] = []
    for (provider, model), own in models.items():
        found = _compared(own, scorer)
        if isinstance(found, str):
            message = f"could not verify that {provider} echoes each token's own log-probability"
            notes.append(Note(about=model, message=f"{message}: {found}", origin=NoteOrigin.SERVER))
        elif found is not None:
            reason = f"in the echo of {provider}, tokens have the log-probabilities of other tokens"
            reason = f"{reason}: {_figures(found)}"
            shifted |= {look.cell.id: reason for look in own}
    return EchoAlignment(shifted=shifted, notes=tuple(notes))


def _compared(looks: Sequence[DrawSet], scorer: Scorer) -> AlignmentFigures | str | None:
    """Return the figures of a shift, why the result is inconclusive, or None if aligned."""
    compared: list[ScoredTwice] = []
    shifts = 0
    for look in islice(cycle(looks), MAX_COMPARISONS):
        scored = scorer.score_twice(look.cell, look.encoding)
        if scored is None:
            return None
        if isinstance(scored, MissedDraw):
            return scored.reason
        compared.append(scored)
        alone = judge_alignment([scored]).alignment
        if Alignment.ALIGNED in (alone, judge_alignment(compared).alignment):
            return None
        # A single bad answer is not a shift.
        shifts += alone is Alignment.SHIFTED
        if shifts > 1:
            return judge_alignment(compared)
    return _figures(judge_alignment(compared))


def _figures(found: AlignmentFigures) -> str:
    return (
        f"{found.near} of {found.tokens} generated tokens have the same value in the echo, which "
        f"typically differs by {found.distance:.3g} nats"
    )
