"""The workflow that others call, from the lines of the how-to, on a real runner."""

import json
import re

import pytest

from tests.action.act.callers import ACTION, Caller
from tests.action.act.repositories import PROJECT
from tests.action.act.scenes import Stage
from tests.docs.pages import page

pytestmark = pytest.mark.act

_FILE = ".github/workflows/reusable-gate.yml"
_LATER = """\
  later:
    needs: gate
    if: always()
    permissions: {}
    runs-on: ubuntu-latest
    steps:
      - id: outputs
        env: { OUTPUTS: "${{ toJSON(needs.gate.outputs) }}" }
        run: printf '%s\\n' "$OUTPUTS"
"""


def _call(caller: Caller) -> None:
    """Take over the lines of the how-to, for a runner without a GPU."""
    blocks = page("docs/how-to/gate-a-pull-request.md").blocks("yaml")
    (lines,) = (block for block in blocks if "reusable-gate.yml" in block)
    used, count = re.subn(r"OWNER/repro-gate/(\S+)@COMMIT", r"./\1", lines)
    assert count == 1
    gate = caller.folder / ".github" / "workflows" / "gate.yml"
    gate.write_text(used.replace("cuda, device: cuda", "none") + _LATER, "utf-8")
    called = (PROJECT / _FILE).read_text("utf-8")
    # The runner does not know `job.workflow_sha`.
    (caller.folder / _FILE).write_text(
        called.replace("uses: ./.repro-gate-action", f"uses: {ACTION}"), "utf-8"
    )


def test_a_drift_fails_the_verdict_and_is_commented(stage: Stage) -> None:
    """As with the workflow that is copied."""

    def change(caller: Caller) -> None:
        _call(caller)
        caller.tamper()

    scene = stage.play(1, change)

    assert scene.log.results == {"gate": "failure", "verdict": "failure"}
    assert "```diff" in scene.comment


def test_a_good_entry_of_a_merge_queue_passes(stage: Stage) -> None:
    """With the verdict that is required; the caller has the outputs of the gate."""
    _call(stage.caller)
    scene = stage.queue(1)

    outputs = json.loads("\n".join(scene.log.step("outputs").lines))
    assert scene.log.results == {"gate": "success", "verdict": "success", "later": "success"}
    assert (outputs["outcome"], outputs["exit-code"]) == ("passed", "0")
    assert json.loads(outputs["counts"]) == {"match": 4}
