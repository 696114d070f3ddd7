"""Log-probabilities of models on this machine: the embedded suite of this repository."""

import shutil
from pathlib import Path

from tests.cli.workspaces import Workspace

_ROOT = Path(__file__).parents[3]
_SUITE = ("--suite", "embedded-logprobs")


def test_the_embedded_suite_agrees(cache: Path, tmp_path: Path) -> None:
    """Without a key and a network, every cell repeats its baseline to the last digit."""
    shutil.copy(_ROOT / "repro-gate.toml", tmp_path)
    shutil.copytree(_ROOT / "snapshots", tmp_path / "snapshots")
    workspace = Workspace(folder=tmp_path, cache=cache)
    assert workspace.run("models", "fetch", "tiny-qwen2", "tiny-phi3").code == 0
    # On a class of machine that has no baselines yet there are some from here on.
    assert workspace.run("record-baseline", *_SUITE, "--yes").code == 0

    ran = workspace.run("check", *_SUITE)
    (suite,) = workspace.report()["logprobs"]

    assert (ran.code, workspace.document()["counts"]["logprobs"]["agrees"]) == (0, 20)
    assert {cell["verdict"]["equivalence"] for cell in suite["cells"]} == {"identical"}
    assert [weight["problems"] for weight in suite["weights"] if weight["is_control"]] == [[]]
    assert "    20 baselines of 20 cells, 0 orphaned\n" in workspace.run("doctor").out
