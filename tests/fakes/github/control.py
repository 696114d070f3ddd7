"""The world from another process: what it holds as JSON, and how to change it."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from tests.fakes.github.world import Account, Fault, Pull, Token, World


async def control(request: Request, world: World) -> JSONResponse:
    """Answer with what there is, after having taken over what a POST brings."""
    if request.method == "POST":
        change(world, await request.json())
    return JSONResponse(told(world))


def change(world: World, state: Mapping[str, Any]) -> None:
    """Take over what a JSON object brings.

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


def told(world: World) -> dict[str, Any]:
    """Return what there is; no token is in it."""
    with world.lock:
        return {
            "repository": world.repository,
            "pulls": [asdict(pull) for pull in world.pulls.values()],
            "comments": [asdict(comment) for comment in world.comments],
            "requests": [asdict(asked) for asked in world.asked],
        }
