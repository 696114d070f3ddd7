"""The workflow of a first matrix is what the documentation shows."""

from typing import Any

import pytest
import yaml

from repro_gate.core.start.workflow import Workflow
from repro_gate.reports.start.workflow import render_workflow
from tests.docs.pages import page

_GPU = Workflow(
    labels=("self-hosted", "gpu"),
    inputs={"accelerator": "cuda", "device": "cuda"},
    comments=("A.",),
)
_KEY = "A_KEY"
_HOSTED = Workflow(labels=(), inputs={"accelerator": "none", "config": "a/b.toml"}, secret=_KEY)


def _job(workflow: Workflow) -> Any:
    return yaml.safe_load(render_workflow(workflow))["jobs"]["gate"]


def test_a_gpu_runner_gets_the_documented_workflow() -> None:
    """But for forks, which are never run."""
    (documented,) = [
        yaml.safe_load(block)
        for block in page("docs/how-to/gate-a-pull-request.md").blocks("yaml")
        if block.startswith("name: gate\n")
    ]
    condition = documented["jobs"]["gate"].pop("if")

    written = yaml.safe_load(render_workflow(_GPU))

    assert condition.startswith(written["jobs"]["gate"].pop("if").removesuffix(" }}"))
    assert written == documented


def test_a_hosted_model_has_its_key_at_the_step_only() -> None:
    """From the secret of the same name, on a runner of GitHub."""
    job = _job(_HOSTED)

    *_, step = job["steps"]
    assert (job["runs-on"], "env" in job) == ("ubuntu-latest", False)
    assert step["env"] == {_KEY: "${{ secrets.A_KEY }}"}
    assert step["with"] == {"accelerator": "none", "config": "a/b.toml"}


@pytest.mark.parametrize("workflow", [_GPU, _HOSTED], ids=["gpu", "hosted"])
def test_forks_are_skipped_and_a_merge_queue_is_not(workflow: Workflow) -> None:
    """The job `verdict` is red for what was skipped."""
    document = yaml.safe_load(render_workflow(workflow))

    # YAML 1.1 reads `on` as true.
    assert set(document[True]) == {"pull_request", "merge_group"}
    assert "head.repo.full_name == github.repository" in document["jobs"]["gate"]["if"]
    assert document["jobs"]["verdict"]["if"] == "${{ always() }}"
