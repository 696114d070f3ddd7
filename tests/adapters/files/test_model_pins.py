"""`snapshots/models.json`: pinned by the first recording, and set anew on demand alone."""

from pathlib import Path

import pytest

from repro_gate.adapters.files.snapshots import ModelPinsFile
from repro_gate.errors import InputInvalid

TEXT = """{
  "schema": "repro-gate/models/v1",
  "sha256": {
    "phi": "0B",
    "qwen": "0A"
  }
}
""".replace("0A", "0a" * 32).replace("0B", "0b" * 32)


def test_nothing_is_pinned_at_first(tmp_path: Path) -> None:
    """A repository that recorded nothing yet needs no file."""
    assert ModelPinsFile(tmp_path / "models.json").pinned() == {}


def test_the_first_recording_pins(tmp_path: Path) -> None:
    """The file, and the folder for it, come with the first pin; its lines are in order."""
    file = tmp_path / "snapshots" / "models.json"

    ModelPinsFile(file).pin({"qwen": "0a" * 32, "phi": "0b" * 32})

    assert file.read_text("utf-8") == TEXT
    assert ModelPinsFile(file).pinned() == {"phi": "0b" * 32, "qwen": "0a" * 32}


def test_a_pin_is_set_and_the_others_stay(tmp_path: Path) -> None:
    """Whoever pins has decided which; what is not named is kept."""
    pins = ModelPinsFile(tmp_path / "models.json")
    pins.pin({"qwen": "0a" * 32, "gemma": "0d" * 32})

    pins.pin({"qwen": "0c" * 32, "phi": "0b" * 32})

    expected = {"gemma": "0d" * 32, "phi": "0b" * 32, "qwen": "0c" * 32}
    assert pins.pinned() == expected


@pytest.mark.parametrize("digest", ["", "x", "0A" * 32, "0a" * 31, "0a" * 32 + "\n"])
def test_what_is_no_digest_is_not_pinned(tmp_path: Path, digest: str) -> None:
    """It may come from another machine's report, and would break every later command."""
    pins = ModelPinsFile(tmp_path / "models.json")
    pins.pin({"qwen": "0a" * 32})

    with pytest.raises(InputInvalid, match=r"models\.json: sha256\.phi: expected a SHA-256"):
        pins.pin({"phi": digest})

    assert pins.pinned() == {"qwen": "0a" * 32}


def test_a_broken_file_is_refused_and_not_overwritten(tmp_path: Path) -> None:
    """Neither reading nor pinning makes light of a merge conflict."""
    file = tmp_path / "models.json"
    file.write_text("<<<<<<< HEAD\n", "utf-8")

    for use in (ModelPinsFile(file).pinned, lambda: ModelPinsFile(file).pin({"a": "0a" * 32})):
        with pytest.raises(
            InputInvalid,
            match="line 1: expected a file without conflict markers, found a conflict marker",
        ):
            use()

    assert file.read_text("utf-8") == "<<<<<<< HEAD\n"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("models/v1", "models/v2", "schema: expected 'repro-gate/models/v1'"),
        ("0a" * 32, "0a", r"sha256\.qwen: expected a SHA-256"),
        ('"phi"', '"qwen"', "the key 'qwen' twice in one object"),
    ],
)
def test_pins_that_are_not_right_are_refused(tmp_path: Path, old: str, new: str, told: str) -> None:
    """A pin that cannot be one would let any file through."""
    file = tmp_path / "models.json"
    file.write_text(TEXT.replace(old, new), "utf-8")

    with pytest.raises(InputInvalid, match=told):
        ModelPinsFile(file).pinned()
