"""`repro-gate models fetch` from a local hub, with the hub's own library."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import repro_gate
from tests.fakes.hub import Hub, serving

NAME = "owner/repo/sub/tiny.gguf"
CONTENT = b"GGUF" + bytes(range(256)) * 400
OTHER = CONTENT[::-1]
DIGEST = hashlib.sha256(CONTENT).hexdigest()
MATRIX = """
schema = "repro-gate/matrix/v1"
default_suites = ["quick"]
engines.own = { kind = "command", command = ["engine"], settings = {} }
models.tiny = { engine = "own", source = "hf:SOURCE"PIN }
sampler = { top_k = 40, top_p = 0.95, min_p = 0.05 }
prompts.haiku = { text = "Say haiku", temperature = 0.7, max_tokens = 4 }
suites.quick = { runs = 2, seeds = [1], prompts = { tiny = ["haiku"] } }
"""
# The library waits for half a minute between its attempts, which are none of our business.
HURRY = "import time\ntime.sleep = lambda seconds: None\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How a command ended, and its output."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Machine:
    """A folder with a matrix and a cache."""

    folder: Path
    hub: Hub

    @property
    def file(self) -> Path:
        """The path of the downloaded model."""
        return self.folder / "cache" / "models" / "hf" / NAME

    def fetch(self, *, source: str = NAME, pin: str | None = DIGEST, **env: str) -> Ran:
        """Run `repro-gate models fetch`."""
        text = MATRIX.replace("PIN", f', sha256 = "{pin}"' if pin else "")
        (self.folder / "repro-gate.toml").write_text(text.replace("SOURCE", source), "utf-8")
        (self.folder / "lib").mkdir(exist_ok=True)
        (self.folder / "lib" / "sitecustomize.py").write_text(HURRY, "utf-8")
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.upper().startswith(("HF_", "HUGGING", "HTTP", "ALL_PROXY"))
        }
        ours = {
            "HF_ENDPOINT": self.hub.url,
            "HF_HOME": str(self.folder / "hf-home"),
            "REPRO_GATE_CACHE": str(self.folder / "cache"),
            "PYTHONPATH": f"{self.folder / 'lib'}:{Path(repro_gate.__file__).parents[1]}",
        }
        done = subprocess.run(
            [sys.executable, "-m", "repro_gate", "models", "fetch"],
            cwd=self.folder,
            env=inherited | ours | env,
            capture_output=True,
            text=True,
            check=False,
        )
        return Ran(code=done.returncode, out=done.stdout, err=done.stderr)

    def kept(self) -> list[bytes]:
        """Return the content of every file in the cache that may be part of a model."""
        files = [file for file in (self.folder / "cache").rglob("*") if file.is_file()]
        return [file.read_bytes() for file in files if file.stat().st_size > len(CONTENT) // 4]


@pytest.fixture(name="machine")
def _machine(tmp_path: Path) -> Iterator[Machine]:
    """Return a machine with an empty cache, and a hub that has the model."""
    with serving({NAME: CONTENT}) as hub:
        yield Machine(tmp_path, hub)


@pytest.mark.parametrize("pin", [DIGEST, None])
def test_a_model_is_downloaded(machine: Machine, pin: str | None) -> None:
    """Into the cache under its own name, pinned or not."""
    ran = machine.fetch(pin=pin)

    assert (ran.code, ran.out) == (0, f"tiny: {machine.file}\n")
    assert machine.kept() == [CONTENT]


def test_another_revision_is_another_file(machine: Machine) -> None:
    """A file of the main branch does not stand in for that of a tag."""
    tagged = "owner/repo@v1/sub/tiny.gguf"
    machine.hub.files[tagged] = OTHER
    machine.file.parent.mkdir(parents=True)
    machine.file.write_bytes(CONTENT)

    ran = machine.fetch(source=tagged, pin=None)

    fetched = machine.folder / "cache" / "models" / "hf" / tagged
    assert (ran.code, ran.out) == (0, f"tiny: {fetched}\n")
    assert (fetched.read_bytes(), machine.file.read_bytes()) == (OTHER, CONTENT)


def test_a_cached_model_is_not_downloaded_again(machine: Machine) -> None:
    """The hub is not contacted."""
    machine.file.parent.mkdir(parents=True)
    machine.file.write_bytes(CONTENT)

    assert machine.fetch().code == 0
    assert machine.hub.asked == []


def test_a_file_with_another_digest_is_deleted(machine: Machine) -> None:
    """The message has both digests."""
    machine.hub.files[NAME] = OTHER

    ran = machine.fetch()

    assert (ran.code, machine.kept()) == (4, [])
    assert (
        f"the file downloaded for tiny has the sha256 {hashlib.sha256(OTHER).hexdigest()}, "
        f"but {DIGEST} is pinned; the file was deleted"
    ) in ran.err


def test_a_download_after_a_wrong_file_succeeds(machine: Machine) -> None:
    """Nothing is left of the wrong file."""
    machine.hub.files[NAME] = OTHER
    machine.fetch()
    machine.hub.files[NAME] = CONTENT

    assert machine.fetch().code == 0
    assert machine.kept() == [CONTENT]


SPLIT = "owner/repo/sub/tiny-0000{}-of-00003.gguf"
PARTS = {SPLIT.format(number): CONTENT[:: number + 1] for number in range(1, 4)}
SPLIT_DIGEST = hashlib.sha256(b"".join(PARTS.values())).hexdigest()


def test_all_parts_of_a_split_model_are_downloaded(machine: Machine) -> None:
    """The first one is named; those that are there already are not downloaded again."""
    machine.hub.files |= PARTS
    first, *_ = PARTS

    ran = machine.fetch(source=first, pin=SPLIT_DIGEST)
    folder = machine.folder / "cache" / "models" / "hf"
    assert (ran.code, ran.out) == (0, f"tiny: {folder / first}\n")
    assert {name: (folder / name).read_bytes() for name in PARTS} == PARTS
    (folder / SPLIT.format(2)).unlink()
    machine.hub.asked.clear()
    assert machine.fetch(source=first, pin=SPLIT_DIGEST).code == 0
    assert {asked.partition(" ")[2] for asked in machine.hub.asked} == {SPLIT.format(2)}


def test_parts_with_another_digest_are_deleted(machine: Machine) -> None:
    """All of them, as any may be the wrong one; the next fetch downloads all of them."""
    first, second, _ = PARTS
    machine.hub.files |= PARTS | {second: OTHER}

    assert machine.fetch(source=first, pin=SPLIT_DIGEST).code == 4
    assert machine.kept() == []
    machine.hub.files |= PARTS
    assert machine.fetch(source=first, pin=SPLIT_DIGEST).code == 0


def test_a_missing_part_is_named(machine: Machine) -> None:
    """The hub has no such file."""
    first, second, third = PARTS
    machine.hub.files |= {first: PARTS[first], third: PARTS[third]}

    ran = machine.fetch(source=first, pin=None)

    assert ran.code == 4
    assert f"{second} could not be downloaded" in ran.err


def test_a_corrupt_file_is_downloaded_again(machine: Machine) -> None:
    """`fetch` checks a cached file too."""
    machine.file.parent.mkdir(parents=True)
    machine.file.write_bytes(OTHER)

    assert machine.fetch().code == 0
    assert machine.kept() == [CONTENT]


def test_a_file_that_the_hub_does_not_have_is_unavailable(machine: Machine) -> None:
    """The message has the file name and the status 404."""
    machine.hub.files.clear()

    ran = machine.fetch()

    assert (ran.code, machine.kept()) == (4, [])
    assert f"repro-gate: {NAME} could not be downloaded: " in ran.err
    assert "404" in ran.err


def test_an_incomplete_download_is_unavailable(machine: Machine) -> None:
    """A part never gets the name of the whole file, pinned or not."""
    machine.hub.cut = True

    ran = machine.fetch(pin=None)

    assert (ran.code, machine.file.exists()) == (4, False)
    assert f"repro-gate: {NAME} could not be downloaded: " in ran.err


def test_an_unreachable_hub_is_unavailable(machine: Machine) -> None:
    """A refused connection is one line, without a traceback."""
    ran = machine.fetch(HF_ENDPOINT="http://127.0.0.1:1")

    assert (ran.code, machine.kept()) == (4, [])
    assert f"repro-gate: {NAME} could not be downloaded: " in ran.err
    assert "Traceback" not in ran.err


def test_the_token_is_sent_to_the_hub_and_not_printed(machine: Machine) -> None:
    """A gated model needs `HF_TOKEN`."""
    ran = machine.fetch(HF_TOKEN="hf_secret")  # noqa: S106 -- opens nothing

    assert machine.hub.tokens == {"Bearer hf_secret"}
    assert "hf_secret" not in ran.out + ran.err


def test_without_the_library_the_remedy_installs_it(machine: Machine) -> None:
    """The message names the missing package."""
    (machine.folder / "lib").mkdir()
    (machine.folder / "lib" / "huggingface_hub.py").write_text("raise ImportError", "utf-8")

    ran = machine.fetch()

    assert (ran.code, ran.out) == (4, "")
    assert "downloading from a hub needs the package huggingface_hub" in ran.err
    assert "pip install huggingface_hub" in ran.err
