"""The matrix of the slots of a llama-server, and the tables that it made."""

import re
from pathlib import Path

from benchmarks.slots import ROWS, matrix
from repro_gate.adapters.matrix.reader import read_matrix

_TABLES = Path(__file__).resolve().parents[2] / "docs" / "examples" / "slots" / "h200"


def test_every_row_is_a_suite_with_a_server_of_its_own(tmp_path: Path) -> None:
    """The matrix is valid, and the slots are those of its command."""
    file = tmp_path / "repro-gate.toml"
    file.write_text(
        matrix("model.gguf", ("llama-server", "-ngl", "99"), device="cuda", profile="h200")
    )

    found = read_matrix(file)

    assert found.default_suites == tuple(row.name for row in ROWS)
    for row in ROWS:
        engine = found.models[f"smollm2-{row.name}"].engine
        command = str(engine.settings["serve"])
        assert f"'-np', '{row.slots}', '-c', '{1024 * row.slots}'" in command
        assert command.endswith(f"{[*row.options, '-ngl', '99']}"[1:])
        assert max(mode.sequences for mode in found.suites[row.name].modes) == max(row.slots, 4)


def test_the_published_tables_have_every_row() -> None:
    """What the gate printed last is about the present rows."""
    text = (_TABLES / "report.md").read_text("utf-8")
    assert sorted(re.findall(r"^\| `smollm2-([\w-]+)` \|", text, re.MULTILINE)) == sorted(
        row.name for row in ROWS
    )
