"""More items than are held in memory at once; `benchmarks/logprob_memory.py` measures thousands."""

from tests.cli.hosted.many_items import PATIENT, ask_for_many
from tests.cli.hosted.workspaces import HostedWorkspace
from tests.fakes.fireworks.effects import Put, Rule
from tests.fakes.fireworks.server import serving


def test_the_last_of_many_items_is_found(unrecorded: HostedWorkspace) -> None:
    """One item of 260 has no number; it alone is a finding, and no draw is left out."""
    with serving(conduct=PATIENT, rules=[Rule(effect=Put(value=None), text=" 00259")]) as server:
        ask_for_many(unrecorded, server.base_url, items=260)
        ran = unrecorded.check()
        calls = len(server.requests)

    verdicts = unrecorded.logprob_verdicts()
    assert (ran.code, len(verdicts)) == (10, 260)
    assert [cell for cell, verdict in verdicts.items() if verdict != "agrees"] == ["base--item259"]
    assert calls == 2 * 260 + 1
    assert calls == unrecorded.suite()["spending"]["calls"] == len(unrecorded.draws())
