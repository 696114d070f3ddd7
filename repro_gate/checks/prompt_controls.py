"""The control that log-probabilities depend on the prompt: of every check and every recording."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

from repro_gate.checks.looks import Drawer, Look
from repro_gate.core.baselines import stands_apart
from repro_gate.core.draws import Draw, DrawOutcome, Encoding
from repro_gate.core.logprob_report import LogprobControl
from repro_gate.ports import DrawRequest, Purpose

_ATTEMPTS = 3
"""Cells of a policy whose response is scored after another prompt until that goes well."""

Compared: TypeAlias = tuple[Look, Sequence[Sequence[float]]]
"""A look at a cell, and the draws that a control has to stand apart from."""


def add_controls(
    controls: dict[str, LogprobControl], looks: Sequence[Compared], *, drawer: Drawer
) -> None:
    """Score a response of each policy after another prompt, which has to make a difference.

    Policies that have a control already get no other one.
    """
    tried: set[str] = set()
    for _ in range(_ATTEMPTS):
        chosen: dict[str, Compared] = {}
        for look, recorded in looks:
            if look.cell.policy.name not in controls and look.cell.id not in tried:
                chosen.setdefault(look.cell.policy.name, (look, recorded))
        tried |= {look.cell.id for look, _ in chosen.values()}
        _draw(controls, chosen.values(), drawer)


def _draw(controls: dict[str, LogprobControl], looks: Iterable[Compared], drawer: Drawer) -> None:
    recorded = {look.cell.id: draws for look, draws in looks}
    requests = [
        DrawRequest(
            cell=look.cell,
            encoding=_after_another_prompt(look.encoding),
            purpose=Purpose.CONTROL,
            number=1,
        )
        for look, _ in looks
    ]

    def take(request: DrawRequest, outcome: DrawOutcome) -> None:
        policy = request.cell.policy.name
        if not isinstance(outcome, Draw):
            drawer.control_problems[policy] = outcome.reason
        else:
            controls[policy] = LogprobControl(
                policy=policy,
                cell=request.cell.id,
                differed=stands_apart(outcome.logprobs, recorded[request.cell.id]),
            )

    drawer.draw(requests, take)


def _after_another_prompt(encoding: Encoding) -> Encoding:
    """Return the same response after the same prompt backwards, or twice if that is no other one.

    The last token stays, so that a text is cut where it was before the response.
    """
    prompt = encoding.prompt
    backwards = (*reversed(prompt[:-1]), *prompt[-1:])
    other = backwards if backwards != prompt else prompt * 2
    # Before the first token of all there is nothing to turn round.
    return replace(encoding, prompt=other or encoding.response)
