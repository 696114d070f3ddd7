"""What a night costs in tokens."""

from dataclasses import replace

from repro_gate.cli.watch.night import tokens_of_night
from repro_gate.core.logprobs.draw import Encoding, Piece
from repro_gate.core.logprobs.policy import PolicyKind
from tests.fakes.generating import generating_policy
from tests.fakes.nights import epoch_of, watched_cell_of
from tests.fakes.scoring import plan_of, policy_of, suite_of_logprobs

_LISTED = Encoding(prompt=(), response=tuple(Piece(number, b" x") for number in range(20)))
"""A server without ids of the prompt: the likely tokens are compared, and one is generated."""


def test_a_given_response_costs_its_tokens() -> None:
    """Of prompt and response, for each draw of each cell."""
    plan = plan_of(suite_of_logprobs(policies=[policy_of()], items=1))
    cells = {cell.id: watched_cell_of() for cell in plan.cells}

    assert tokens_of_night(replace(epoch_of(), cells=cells, draws=5), plan) == 5 * (3 + 3)


def test_a_first_token_costs_its_prompt_and_itself() -> None:
    """Not the tokens that are compared; the prompt has 10 characters."""
    policy = generating_policy(PolicyKind.FIRST_TOKEN)
    plan = plan_of(suite_of_logprobs(policies=[policy], items=1))
    cells = {cell.id: replace(watched_cell_of(), encoding=_LISTED) for cell in plan.cells}

    assert tokens_of_night(replace(epoch_of(), cells=cells, draws=5), plan) == 5 * (10 // 4 + 1)
