"""Matrix files that the documentation shows are read, and run."""

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from repro_gate.adapters.matrix.reader import read_matrix
from repro_gate.core.outcome import ExitCode
from repro_gate.tiny_models.maker import make
from repro_gate.tiny_models.recipes import RECIPES
from tests.docs.pages import ROOT, page, pages

if TYPE_CHECKING:
    from tests.docs.conftest import CommandLine

_TOML = [(each.name, block) for each in pages() for block in each.blocks("toml")]
_WHOLE = {name: block for name, block in _TOML if block.startswith('schema = "repro-gate/matrix/')}


def _write(folder: Path, name: str) -> None:
    # On a busy machine the threads of a tiny model spend their time on waiting for each other.
    matrix = _WHOLE[name].replace("threads = 2", "threads = 1")
    (folder / "repro-gate.toml").write_text(matrix, encoding="utf-8")


@pytest.mark.parametrize(("name", "block"), _TOML)
def test_every_block_is_toml(name: str, block: str) -> None:
    """A block that is called TOML is."""
    assert tomllib.loads(block), name


@pytest.mark.parametrize("name", _WHOLE)
def test_whole_files_are_read(tmp_path: Path, name: str) -> None:
    """A complete matrix file on a page breaks no rule."""
    _write(tmp_path, name)
    assert list(read_matrix(tmp_path / "repro-gate.toml").cells())


def test_five_pages_have_a_whole_file() -> None:
    """The pages that promise a complete matrix file have one."""
    assert set(_WHOLE) == {
        "README.md",
        "docs/how-to/gate-a-server.md",
        "docs/how-to/gate-what-you-serve.md",
        "docs/how-to/gate-your-own-model.md",
        "docs/reference/matrix-file.md",
    }


def test_the_readme_leads_to_a_pass(tmp_path: Path, repro_gate: "CommandLine") -> None:
    """Who follows the README records goldens and then matches them."""
    _write(tmp_path, "README.md")
    assert repro_gate("check", "-q").exit_code == ExitCode.FINDINGS
    assert repro_gate("update-snapshots", "--yes").exit_code == ExitCode.PASSED
    result = repro_gate("check", "-q")
    assert result.exit_code == ExitCode.PASSED, result.output
    assert "passed: 2 match" in result.output


def test_a_model_of_ones_own_is_gated(tmp_path: Path, repro_gate: "CommandLine") -> None:
    """Who follows the how-to records a GGUF file of their own, pins it, and matches."""
    _write(tmp_path, "docs/how-to/gate-your-own-model.md")
    (tmp_path / "models").mkdir()
    model = tmp_path / "models" / "my-model.gguf"
    make(RECIPES["tiny-phi3"], model)
    assert repro_gate("update-snapshots", "--yes").exit_code == ExitCode.PASSED
    assert repro_gate("check", "-q").exit_code == ExitCode.PASSED

    model.write_bytes(model.read_bytes() + b"x")
    result = repro_gate("check")
    assert result.exit_code == ExitCode.INCONCLUSIVE
    assert "digest_mismatch" in result.output


def test_the_complete_matrix_file_can_be_measured(
    tmp_path: Path, repro_gate: "CommandLine"
) -> None:
    """The example of the reference has a valid digest and valid settings."""
    _write(tmp_path, "docs/reference/matrix-file.md")
    result = repro_gate("check", "-q")
    assert "failed: 6 unrecorded" in result.output


def test_the_readme_and_the_howto_show_the_same_drift() -> None:
    """One drift is explained in two places."""
    drift = page("README.md").blocks("text")[0].partition("\n\n")[0]
    assert drift in "\n".join(page("docs/how-to/read-a-failure.md").blocks("text"))


def test_the_published_report_is_about_the_published_goldens() -> None:
    """Every cell of the matrix has a golden, and the report says that 10 runs matched it."""
    folder = ROOT / "docs" / "examples" / "lt-036"
    cells = read_matrix(folder / "repro-gate.toml").suites["lt-036"].cells
    goldens = {file.stem for file in folder.glob("snapshots/goldens/cpu-x86_64-avx2/*.json")}
    report = (folder / "report.md").read_text("utf-8")
    assert len(cells) == 15
    assert goldens == {cell.id for cell in cells}
    assert report.count("match: 10 identical runs match the golden") == 15
