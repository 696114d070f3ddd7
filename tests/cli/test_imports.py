"""What a command does not import."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.cli.hosted.workspaces import HostedWorkspace, hosted_matrix_of
from tests.cli.publish.jobs import Job
from tests.cli.workspaces import Workspace, matrix_of, toml

_LOCKS = Path(__file__).parents[2].glob("requirements*.lock")
_ENGINE = {"gguf", "huggingface_hub", "llama_cpp"}
_SLOW = {
    *("httpx", "importlib.metadata", "jsonschema", "numpy", "pytest", "scipy", "syrupy"),
    *_ENGINE,
}
"""Syrupy imports pytest, and is needed only to write goldens; jsonschema only explains errors."""
_ENGINES = "repro_gate.adapters.engines.client"
"""Starts engines."""


def _imported(
    workspace: Workspace, *arguments: str, code: int = 0, env: Mapping[str, str] | None = None
) -> set[str]:
    """Return the packages that a command imports."""
    ran = workspace.run(*arguments, PYTHONPROFILEIMPORTTIME="1", **(env or {}))
    assert ran.code == code
    lines = (line for line in ran.err.splitlines() if line.startswith("import time:"))
    modules = {line.rpartition("|")[2].strip() for line in lines}
    return {module.partition(".")[0] for module in modules} | modules & {*_SLOW, _ENGINES}


def test_help_imports_nothing_slow(workspace: Workspace) -> None:
    """Neither an inference library, nor pytest, nor schemas."""
    imported = _imported(workspace, "check", "--help")

    assert ("typer" in imported, imported & _SLOW) == (True, set())


def test_tokens_need_no_statistics_no_http_no_validator_and_no_pytest(recorded: Workspace) -> None:
    """Also when the matrix has hosted suites."""
    matrix = hosted_matrix_of("http://127.0.0.1:9/v1", **matrix_of(recorded.engine()))
    (recorded.folder / "repro-gate.toml").write_text(toml(matrix), "utf-8")

    imported = _imported(recorded, "check", "--suite", "quick")

    assert ("typer" in imported, imported & _SLOW) == (True, set())


def test_only_a_drift_with_references_needs_numpy(recorded: Workspace) -> None:
    """It is graded by a test; without references or without drift none is made."""
    variants = {"other": {"settings": {"missed": 2}}}
    drifting = recorded.engine() | {"settings": {"voice": "!", "moved": 0.5, "missed": 4}}
    recorded.write_script(verifies=True)
    recorded.write_matrix(engines={"scripted": drifting}, variants=variants)
    assert _imported(recorded, "check", code=10) & _SLOW == set()

    recorded.write_matrix(variants=variants)
    assert recorded.run("record-reference", "--yes").code == 0
    assert _imported(recorded, "check") & _SLOW == set()

    recorded.write_matrix(engines={"scripted": drifting}, variants=variants)
    assert _imported(recorded, "check", code=10) & _SLOW == {"numpy"}


def test_findings_need_no_pytest(recorded: Workspace) -> None:
    """What was observed is written without syrupy."""
    shutil.rmtree(recorded.snapshots)

    imported = _imported(recorded, "check", code=10)

    assert ((recorded.output / "observed").is_dir(), imported & _SLOW) == (True, set())


def test_log_probabilities_need_no_pytest_and_no_validator(hosted: HostedWorkspace) -> None:
    """They have no goldens, and valid files."""
    needed = {"httpx", "importlib.metadata", "numpy", "scipy"}
    assert _imported(hosted, "check") & _SLOW == needed


def test_settings_need_nothing_slow(workspace: Workspace) -> None:
    """A matrix is read, and nothing is measured."""
    imported = _imported(workspace, "settings")

    assert ("typer" in imported, imported & _SLOW) == (True, set())


def test_lint_needs_nothing_slow(hosted: HostedWorkspace) -> None:
    """All committed files are read once, and neither an engine nor a server is asked."""
    imported = _imported(hosted, "lint")

    assert ("typer" in imported, imported & {*_SLOW, _ENGINES}) == (True, set())
    assert _ENGINES in _imported(hosted, "doctor")


def test_an_explanation_needs_nothing_slow(green: Workspace) -> None:
    """A report, a matrix and a golden are read."""
    imported = _imported(green, "explain", "tiny--fox--seed1")

    assert ("typer" in imported, imported & _SLOW) == (True, set())


def test_a_dry_run_needs_no_scipy(hosted: HostedWorkspace) -> None:
    """It computes a cost, and no statistics."""
    assert _imported(hosted, "check", "--dry-run", code=4) & _SLOW == {"httpx", "numpy"}


def test_publishing_a_pass_needs_no_schemas_and_no_statistics(green_job: Job) -> None:
    """A green result is published twice a job; only HTTP is needed."""
    imported = _imported(green_job.workspace, "publish", env=green_job.variables)

    assert imported & _SLOW == {"httpx"}


def test_publishing_without_a_comment_needs_no_http(green_job: Job) -> None:
    """A shard leaves the comment to the merge."""
    variables = {**green_job.variables, "REPRO_GATE_SHARD": "1/2"}

    assert _imported(green_job.workspace, "publish", env=variables) & _SLOW == set()


def test_an_installation_has_no_pydantic() -> None:
    """Typer would import it for every option."""
    texts = {file.name: file.read_text("utf-8") for file in _LOCKS}

    with_pydantic = {name for name, text in texts.items() if "\npydantic==" in text}
    assert (len(texts), with_pydantic) == (3, {"requirements-dev.lock"})
