"""Which policies the abilities of a server make possible."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from repro_gate.core.logprobs.capabilities import Ability, Answer, Finding, ProbeReport, Use
from repro_gate.core.logprobs.policy import Endpoint, PolicyKind, ProviderKind

RESPONSE = (PolicyKind.RESPONSE, Endpoint.COMPLETIONS)
FIRST_CHAT = (PolicyKind.FIRST_TOKEN, Endpoint.CHAT)
FIRST = (PolicyKind.FIRST_TOKEN, Endpoint.COMPLETIONS)
GENERATED_CHAT = (PolicyKind.GENERATED, Endpoint.CHAT)
GENERATED = (PolicyKind.GENERATED, Endpoint.COMPLETIONS)
ALL: Mapping[Ability, Answer] = dict.fromkeys(Ability, Answer.YES)


def report_of(answers: Mapping[Ability, Answer], **limits: int | None) -> ProbeReport:
    """Return a report with these answers."""
    return ProbeReport(
        base_url="http://127.0.0.1:1/v1",
        model="m",
        api_key_env=None,
        kind=ProviderKind.OPENAI,
        calls=1,
        findings=tuple(
            Finding(ability=one, answer=answer, seen="seen", limit=limits.get(one.name, 20))
            for one, answer in answers.items()
        ),
    )


CASES: Mapping[str, tuple[ProbeReport, tuple[Use, ...]]] = {
    "everything": (report_of(ALL), (RESPONSE, FIRST_CHAT, FIRST, GENERATED_CHAT, GENERATED)),
    "nothing": (report_of({}), ()),
    "no echo": (
        report_of({**ALL, Ability.PROMPT: Answer.NO}),
        (FIRST_CHAT, FIRST, GENERATED_CHAT, GENERATED),
    ),
    "an echo that is off by one": (
        report_of({**ALL, Ability.ALIGNED: Answer.NO}),
        (FIRST_CHAT, FIRST, GENERATED_CHAT, GENERATED),
    ),
    "an echo that was not compared": (
        report_of({Ability.PROMPT: Answer.YES, Ability.ALIGNED: Answer.OPEN}),
        (RESPONSE,),
    ),
    "no alternatives in a chat": (report_of(ALL, CHAT=0), (RESPONSE, FIRST, GENERATED)),
    "alternatives of no known number": (
        report_of({Ability.CHAT: Answer.YES}, CHAT=None),
        (),
    ),
    "a penalty at temperature 0": (
        report_of({**ALL, Ability.GREEDY: Answer.NO}),
        (RESPONSE, FIRST_CHAT, FIRST),
    ),
    "values after the temperature": (
        report_of({**ALL, Ability.RAW: Answer.NO}),
        (RESPONSE, FIRST_CHAT, FIRST),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_abilities_decide_which_policies_are_possible(case: str) -> None:
    """A response needs an echo, and the other kinds alternatives at their endpoint."""
    report, uses = CASES[case]

    assert report.uses == uses


@pytest.mark.parametrize(
    ("kind", "url"),
    [
        (ProviderKind.OPENAI, "http://127.0.0.1:1/v1"),
        (ProviderKind.SGLANG, "http://127.0.0.1:1"),
        (ProviderKind.TGI, "http://127.0.0.1:1"),
    ],
)
def test_some_kinds_have_their_endpoints_at_the_root(kind: ProviderKind, url: str) -> None:
    """So their base URL has no /v1."""
    assert replace(report_of({}), kind=kind).provider_url == url
