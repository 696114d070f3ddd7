"""Where a pull request of a first matrix is checked."""

from pathlib import PurePosixPath

import pytest

from repro_gate.core.start.machine import Found
from repro_gate.core.start.matrix import FirstMatrix
from repro_gate.core.start.workflow import Workflow, workflow_of

_ROOT = PurePosixPath()
_KEY = "A_KEY"
_CPU, _GPU = Found(), Found(gpus=("NVIDIA H200",))


def _matrix(**changes: object) -> FirstMatrix:
    return FirstMatrix(**({"sections": (), "suite": "s", "cells": 1} | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("matrix", "found", "labels"),
    [
        (_matrix(is_built_in=True), _GPU, ()),
        (_matrix(is_hosted=True), _GPU, ()),
        (_matrix(), _CPU, ("self-hosted",)),
        (_matrix(), _GPU, ("self-hosted", "gpu")),
    ],
    ids=["built in", "hosted", "on a CPU", "on a GPU"],
)
def test_a_runner_has_what_the_matrix_needs(
    matrix: FirstMatrix, found: Found, labels: tuple[str, ...]
) -> None:
    """One of GitHub can make a tiny model and call an API; a file is on this machine."""
    workflow = workflow_of(matrix, found, _ROOT)

    assert workflow is not None
    assert (workflow.labels, bool(workflow.comments)) == (labels, bool(labels))


@pytest.mark.parametrize(
    ("matrix", "inputs"),
    [
        (_matrix(), {"accelerator": "cpu"}),
        (_matrix(device="cuda"), {"accelerator": "cuda", "device": "cuda"}),
        (_matrix(is_hosted=True), {"accelerator": "none"}),
    ],
    ids=["cpu", "cuda", "hosted"],
)
def test_the_action_installs_what_the_matrix_needs(
    matrix: FirstMatrix, inputs: dict[str, str]
) -> None:
    """A GPU that the built-in engine cannot use is not asked for."""
    workflow = workflow_of(matrix, _GPU, _ROOT)

    assert workflow is not None
    assert workflow.inputs == inputs


def test_a_matrix_in_a_folder_is_named() -> None:
    """The action searches from the root of the repository."""
    workflow = workflow_of(_matrix(is_hosted=True, key=_KEY), _CPU, PurePosixPath("a/b"))

    inputs = {"accelerator": "none", "config": "a/b/repro-gate.toml"}
    assert workflow == Workflow(labels=(), inputs=inputs, secret=_KEY)


@pytest.mark.parametrize("folder", ["a b", "${{ github.token }}", "a: b", "\n- run: x"])
def test_a_folder_that_yaml_could_misread_gets_no_workflow(folder: str) -> None:
    """Nothing untrusted gets into a workflow."""
    assert workflow_of(_matrix(), _CPU, PurePosixPath(folder)) is None


@pytest.mark.parametrize("key", ["a", "A }}", "A\nB"])
def test_a_key_that_is_no_secret_gets_no_workflow(key: str) -> None:
    """A variable may have any name; a secret of GitHub may not."""
    assert workflow_of(_matrix(is_hosted=True, key=key), _CPU, _ROOT) is None
