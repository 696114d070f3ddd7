"""The runner of these tests leaves nothing behind, not even what does not want to end."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from repro_gate.core.comments import RunId
from tests.action.act.events import push
from tests.action.act.repositories import commit
from tests.action.act.runner import Runner, TookTooLong
from tests.fakes.github.server import Github
from tests.fakes.github.world import World
from tests.fakes.processes import wait_until_gone

pytestmark = pytest.mark.act

_WORKFLOW = """\
on: push
permissions: {}
jobs:
  endless:
    runs-on: self-hosted
    steps:
      - run: |
          trap '' HUP INT TERM
          setsid sleep 600 &
          echo "$$ $!" > "$ACT_REPOSITORY/pids"
          sleep 600
"""


def test_a_run_without_end_is_ended_with_all_that_it_started(
    runner_for: Callable[[Github], Runner], tmp_path: Path
) -> None:
    """A step is in a session of its own, and a process that it has left behind in another."""
    file = tmp_path / ".github" / "workflows" / "endless.yml"
    file.parent.mkdir(parents=True)
    file.write_text(_WORKFLOW, "utf-8")
    sha = commit(tmp_path)
    runner = replace(runner_for(Github(world=World(), port=9)), patience_s=3)

    with pytest.raises(TookTooLong):
        runner.run(tmp_path, "endless.yml", push(sha), id=RunId(1, 1))

    step, left_behind = map(int, (tmp_path / "pids").read_text("utf-8").split())
    wait_until_gone(step)
    wait_until_gone(left_behind)
