"""The world from another process: its state as JSON, and how to change it."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from tests.fakes.github.world import Account, Fault, Pull, Token, World


async def control(request: Request, world: World) -> JSONResponse:
    """Answer with the state, after applying the changes of a POST."""
    if request.method == "POST":
        change(world, await request.json())
    return JSONResponse(state_of(world))


def change(world: World, state: Mapping[str, Any]) -> None:
    """Apply the changes in a JSON object.

    Args:
        world: what is changed.
        state: any of `pulls`, which take the place of those of the same number; `tokens`, by
            what they are; `comments`, which are added; `faults`, which strike from now on; and
            `forget`, which, if true, forgets the requests so far.
    """
    with world.lock:
        for pull in state.get("pulls", ()):
            world.pulls[pull["number"]] = Pull(**pull)
        for secret, token in state.get("tokens", {}).items():
            world.tokens[secret] = Token(**{**token, "account": Account(**token["account"])})
        for comment in state.get("comments", ()):
            world.comment(Account(**comment["author"]), comment["body"], pull=comment["pull"])
        world.strike(*(Fault(**fault) for fault in state.get("faults", ())))
        if state.get("forget"):
            world.asked.clear()


def state_of(world: World) -> dict[str, Any]:
    """Return the state, without tokens."""
    with world.lock:
        return {
            "repository": world.repository,
            "pulls": [asdict(pull) for pull in world.pulls.values()],
            "comments": [asdict(comment) for comment in world.comments],
            "issues": [asdict(issue) for issue in world.issues.values()],
            "requests": [asdict(asked) for asked in world.asked],
        }
