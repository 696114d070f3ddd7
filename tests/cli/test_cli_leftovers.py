"""What speaks for a finished check is taken away when the next one begins."""

from pathlib import Path

from repro_gate.cli.paths import WITNESSES, clear, clear_early
from repro_gate.cli.wiring import REPORTS


def _filled(folder: Path) -> Path:
    for name in (*WITNESSES, "draws.jsonl"):
        (folder / name).touch()
    return folder


def test_every_report_is_a_witness() -> None:
    """Whoever adds a report gets it taken away as well."""
    assert set(WITNESSES) == {"report.json", "evidence.json", "shard.json", *REPORTS}


def test_nothing_that_speaks_for_a_check_stays(tmp_path: Path) -> None:
    """Draws may stay: they are what an interrupted check goes on with."""
    clear(_filled(tmp_path))

    assert [file.name for file in tmp_path.iterdir()] == ["draws.jsonl"]


def test_a_shard_that_is_to_be_read_stays(tmp_path: Path) -> None:
    """A merge may write where it reads."""
    clear_early(_filled(tmp_path), keeps_shard=True)

    assert {file.name for file in tmp_path.iterdir()} == {"draws.jsonl", "shard.json"}


def test_what_cannot_be_cleared_is_told_later(tmp_path: Path) -> None:
    """A file in place of the folder is an error of those who write there."""
    (tmp_path / "file").touch()

    clear_early(tmp_path / "file")

    assert (tmp_path / "file").exists()
