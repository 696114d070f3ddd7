"""A matrix of ten thousand cells."""

from tests.cli.workspaces import Workspace


def test_one_cell_of_ten_thousand_is_checked_alone(workspace: Workspace) -> None:
    """A large matrix does not slow down the check of one cell."""
    prompts = [f"p{number}" for number in range(100)]
    workspace.write_matrix(prompts=prompts, seeds=range(1, 101))
    one = "tiny--p57--seed93"

    ran = workspace.run("check", "--only", one)

    assert (ran.code, workspace.verdicts()) == (10, {one: "unrecorded"})
