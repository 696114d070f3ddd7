"""Several publishers at one GitHub, each with its own connections."""

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from repro_gate.checks.publish import publish_comment
from repro_gate.core.comments import CiRun, CommentMode, CommentState, Marker, RunId, marker_of
from tests.fakes.github.server import Github
from tests.fakes.github.world import STRANGER, Fault

if TYPE_CHECKING:
    from tests.adapters.github.conftest import PullsOf

RUNS = (100, 101, 102)


def _publish(pulls_of: "PullsOf", github: Github, number: int) -> None:
    run = CiRun(
        id=RunId(number, 1),
        repository="octo/gate",
        head_sha="c0ffee",
        head_owner="octo",
        head_branch="topic",
        server_url="https://github.test",
        pull_request=7,
    )
    ours = Marker(name="repro-gate", run=run.id, state=CommentState.FAILED, found=True)
    publish_comment(
        pulls_of(github.api_url),
        run=run,
        mode=CommentMode.AUTO,
        ours=ours,
        body_of=lambda marker: f"{marker}\nrun {number}",
    )


@pytest.mark.parametrize("delay_s", [0.0, 0.02, 0.1])
def test_publishers_at_once_leave_one_comment(
    github: Github, pulls_of: "PullsOf", delay_s: float
) -> None:
    """All look before any of them posts, and one comment remains."""
    github.world.comment(STRANGER, "hello")
    github.world.strike(Fault(method="GET", delay_s=delay_s, times=len(RUNS)))

    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda number: _publish(pulls_of, github, number), RUNS))

    markers = [marker_of(body) for body in github.world.bodies()]
    assert len([marker for marker in markers if marker is not None]) == 1


def test_publishers_one_after_another_write_to_one_comment(
    github: Github, pulls_of: "PullsOf"
) -> None:
    """The result of the latest run remains, in any order."""
    for number in (101, 102, 100):
        _publish(pulls_of, github, number)

    assert [body.partition("\n")[2] for body in github.world.bodies()] == ["run 102"]
