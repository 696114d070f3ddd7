"""The guide to grades can be followed."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from repro_gate.core.outcome import ExitCode
from tests.docs.pages import page

if TYPE_CHECKING:
    from tests.docs.conftest import CommandLine

_GUIDE = page("docs/how-to/grade-a-drift.md")
_BASE = page("docs/reference/matrix-file.md").blocks("toml")[0]
_USUAL = 'flash_attention = false, kv_type = "f32"'
_SERVED = 'flash_attention = true, kv_type = "f16"'


def test_the_variants_of_the_guide_are_recorded(tmp_path: Path, repro_gate: "CommandLine") -> None:
    """With an engine as most people serve with."""
    assert _USUAL in _BASE
    matrix = (
        _BASE.replace(_USUAL, _SERVED).replace("runs = 10", "runs = 2") + _GUIDE.blocks("toml")[0]
    )
    (tmp_path / "repro-gate.toml").write_text(matrix, "utf-8")
    assert repro_gate("update-snapshots", "--yes").exit_code == ExitCode.PASSED

    result = repro_gate("record-reference", "--yes")

    assert result.exit_code == ExitCode.PASSED, result.output
    (folder,) = (tmp_path / "snapshots" / "references").iterdir()
    found = {file.stem: json.loads(file.read_text("utf-8")) for file in folder.iterdir()}
    assert {name: len(each["cells"]) for name, each in found.items()} == {
        "no-flash-attention": 6,
        "small-batch": 6,
    }
    assert f"2 new; 0 unchanged, 0 refused\n{Path('snapshots')}" in result.output


def test_the_suite_of_the_guide_is_checked(tmp_path: Path, repro_gate: "CommandLine") -> None:
    """Against the goldens of a profile, here that of this machine."""
    quick = _BASE.replace("runs = 10", "runs = 2")
    (tmp_path / "repro-gate.toml").write_text(quick, "utf-8")
    assert repro_gate("update-snapshots", "--yes").exit_code == ExitCode.PASSED
    (goldens,) = (tmp_path / "snapshots" / "goldens").iterdir()
    suite = quick.partition("[suites.smoke]\n")[2]
    against = _GUIDE.blocks("toml")[1].replace("cpu-x86_64-avx2", goldens.name)
    (tmp_path / "repro-gate.toml").write_text(f"{quick}\n{against}{suite}", "utf-8")

    result = repro_gate("check", "--suite", "gpu", "-q")

    assert result.exit_code == ExitCode.PASSED, result.output
