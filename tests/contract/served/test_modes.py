"""What a real llama-server answers in company and from its cache, and what the gate makes of it."""

import pytest

from tests.contract.served.workspaces import Mode, ServedWorkspace, llama_server, matrix_of

_TOKENS = 160
"""A tiny model answers so fast that shorter requests may miss each other."""
_ALL = ("alone", "concurrent-8", "mixed-6", "after-prefix", "repeat", "restart")


def _check(workspace: ServedWorkspace, modes: dict[str, str], *options: str) -> int:
    """Record with these options, check, and return the exit code."""
    matrix = matrix_of(llama_server(*options), modes, max_tokens=_TOKENS)
    (workspace.folder / "repro-gate.toml").write_text(matrix, "utf-8")
    recorded = workspace.record()
    assert recorded.code == 0, recorded
    return workspace.run("check").code


def test_a_server_with_one_slot_holds(workspace: ServedWorkspace) -> None:
    """To the bit alone and after a restart, and in its tokens from the cache."""
    modes = {"alone": "bits", "after-prefix": "tokens", "repeat": "tokens", "restart": "bits"}

    assert _check(workspace, modes, "-np", "1") == 0
    found = workspace.modes()
    assert {name: mode.proof for name, mode in found.items()} == dict.fromkeys(modes, "seen")
    assert found["restart"] == Mode(answers=6, other_tokens=0, other_bits=0, proof="seen")


def test_requests_that_queue_prove_nothing(workspace: ServedWorkspace) -> None:
    """With one slot no request has company, whatever the answers are."""
    assert _check(workspace, {"concurrent-8": "tokens"}, "-np", "1") == 10
    assert set(workspace.verdicts().values()) == {"vacuous"}
    assert workspace.modes()["concurrent-8"].proof == "absent"


def test_answers_depend_on_company_in_eight_slots(workspace: ServedWorkspace) -> None:
    """Equal requests at once get other tokens than one alone."""
    assert _check(workspace, {"alone": "bits", "concurrent-8": "tokens"}, "-np", "8") == 10
    assert "depends" in workspace.verdicts().values()
    concurrent = workspace.modes()["concurrent-8"]
    assert concurrent.answers >= 48
    assert concurrent.other_bits >= concurrent.other_tokens > 0


def test_answers_depend_on_company_in_a_cache_that_slots_share(workspace: ServedWorkspace) -> None:
    """More than in caches of their own."""
    assert _check(workspace, {"concurrent-8": "tokens"}, "-np", "8", "-kvu") == 10
    assert workspace.modes()["concurrent-8"].other_tokens > 0


def test_a_prompt_from_the_cache_moves_bits(workspace: ServedWorkspace) -> None:
    """The second of two equal requests has other log-probabilities, even in one slot."""
    assert _check(workspace, {"repeat": "bits"}, "-np", "1") == 10
    repeated = workspace.modes()["repeat"]
    assert (repeated.answers, repeated.proof) == (6, "seen")
    assert repeated.other_bits > 0


def test_what_is_measured_without_a_level_is_no_finding(workspace: ServedWorkspace) -> None:
    """All modes of a server that depends on all of them."""
    assert _check(workspace, {**dict.fromkeys(_ALL, "any"), "alone": "bits"}) == 0
    found = workspace.modes()
    assert tuple(found) == _ALL
    assert found["concurrent-8"].other_bits > 0


@pytest.mark.parametrize("mode", ["concurrent-8", "after-prefix"])
def test_the_golden_is_that_of_the_answer_alone(workspace: ServedWorkspace, mode: str) -> None:
    """A mode changes no golden: what one matrix recorded, another one checks."""
    assert _check(workspace, {}, "-np", "8") == 0
    matrix = matrix_of(llama_server("-np", "8"), {mode: "any"}, max_tokens=_TOKENS)
    (workspace.folder / "repro-gate.toml").write_text(matrix, "utf-8")
    assert workspace.run("check").code == 0
