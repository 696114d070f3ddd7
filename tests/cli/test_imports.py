"""What a check does not import."""

from tests.cli.hosted.workspaces import HostedWorkspace, hosted_matrix_of
from tests.cli.workspaces import Workspace, matrix_of, toml

_SLOW = {"numpy", "scipy", "httpx", "jsonschema"}


def _imported(workspace: Workspace, *arguments: str) -> set[str]:
    """Return the packages that a command imports."""
    ran = workspace.run(*arguments, PYTHONPROFILEIMPORTTIME="1")
    assert ran.code == 0
    lines = (line for line in ran.err.splitlines() if line.startswith("import time:"))
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


def test_tokens_need_no_statistics_no_http_and_no_validator(recorded: Workspace) -> None:
    """Also when the matrix has hosted suites; a validator explains what is invalid."""
    matrix = hosted_matrix_of("http://127.0.0.1:9/v1", **matrix_of(recorded.engine()))
    (recorded.folder / "repro-gate.toml").write_text(toml(matrix), "utf-8")

    imported = _imported(recorded, "check", "--suite", "quick")

    assert ("typer" in imported, imported & _SLOW) == (True, set())


def test_log_probabilities_do_not_import_syrupy(hosted: HostedWorkspace) -> None:
    """Syrupy imports pytest, and is needed only to write goldens."""
    imported = _imported(hosted, "check")

    assert ("httpx" in imported, imported & {"pytest", "syrupy"}) == (True, set())
