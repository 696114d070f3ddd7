"""What is uploaded to a package index can be installed, is whole, and reads well there."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from email.message import Message
from email.parser import BytesParser
from html.parser import HTMLParser
from importlib.metadata import PathDistribution
from pathlib import Path

import cmarkgfm  # type: ignore[import-untyped]
import pytest

import repro_gate

_ROOT = Path(__file__).parents[2]
_REPOSITORY = "https://github.com/octo-org/repro-gate"
_FILES = f"{_REPOSITORY}/blob/v{repro_gate.__version__}/"
_EXAMPLE = _ROOT / "docs" / "examples" / "markov"
_CLEAN = ("CI", "GITHUB_", "PYTHON", "REPRO_GATE_")
_SHOWN = r"""
from importlib.resources import files
package = files("repro_gate")
print(package.joinpath("py.typed").is_file())
print(*sorted(file.name for file in package.joinpath("schemas").iterdir()))
"""


def _environment(**more: str) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith(_CLEAN)}
    return ours | more


def _built(folder: Path, source: Path, **variables: str) -> list[Path]:
    """Build both distributions of a source folder, without a network."""
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    environment = _environment(**variables)
    subprocess.run(command, cwd=source, env=environment, check=True, capture_output=True)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the wheel and the sdist of this project, by their kind."""
    wheel, sdist = _built(tmp_path_factory.mktemp("dist"), _ROOT, REPRO_GATE_REPOSITORY=_REPOSITORY)
    return {"wheel": wheel, "sdist": sdist}


@pytest.fixture(scope="module", params=["wheel", "sdist"])
def installed(
    request: pytest.FixtureRequest,
    distributions: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Return a fresh environment with a distribution, which sees our libraries but not us."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    (packages / "libraries.pth").write_text(f"{sysconfig.get_path('purelib')}\n", "utf-8")
    options = ("--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--force-reinstall")
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", *options]
    subprocess.run([*command, str(distributions[request.param])], env=_environment(), check=True)
    return folder


def _ran(environment: Path, program: str, *arguments: str, folder: Path) -> str:
    command = [str(environment / "bin" / program), *arguments]
    done = subprocess.run(
        command, cwd=folder, env=_environment(), check=True, capture_output=True, text=True
    )
    return done.stdout


def _metadata(environment: Path) -> Message:
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(environment)}))
    (found,) = packages.glob("repro_gate-*.dist-info")
    text = PathDistribution(found).read_text("METADATA")
    assert text is not None
    return BytesParser().parsebytes(text.encode())


def test_the_version_is_that_of_the_package(installed: Path, tmp_path: Path) -> None:
    """It is written in one place; the program and the metadata have it from there."""
    shown = _ran(installed, "repro-gate", "--version", folder=tmp_path)

    assert shown == f"repro-gate {repro_gate.__version__}\n"
    assert _metadata(installed)["Version"] == repro_gate.__version__


def test_a_distribution_is_whole(installed: Path, tmp_path: Path) -> None:
    """Schemas and the mark of types are inside, and it is the installed package that has them."""
    shown = _ran(installed, "python", "-c", _SHOWN, folder=tmp_path).splitlines()
    place = _ran(
        installed, "python", "-c", "print(__import__('repro_gate').__file__)", folder=tmp_path
    )
    schemas = sorted(file.name for file in (_ROOT / "repro_gate" / "schemas").iterdir())

    assert Path(place.strip()).is_relative_to(installed)
    assert shown[0] == "True"
    assert {"matrix-v1.json", "report-v1.json"} <= set(schemas)
    assert [name for name in shown[1].split() if name != "__pycache__"] == [
        name for name in schemas if name != "__pycache__"
    ]


def test_a_check_runs_from_a_distribution(installed: Path, tmp_path: Path) -> None:
    """The example engine of the documentation is recorded and checked."""
    folder = shutil.copytree(_EXAMPLE, tmp_path / "example")
    _ran(installed, "repro-gate", "update-snapshots", "--yes", folder=folder)

    assert "passed: 4 match" in _ran(installed, "repro-gate", "check", folder=folder)
    # Pytest finds the plugin by its entry point.
    ran = _ran(
        installed, "python", "-m", "pytest", "--repro-gate", "repro-gate.toml", folder=folder
    )
    assert "passed: 4 match" in ran


def test_a_source_distribution_builds_the_same_wheel(
    distributions: dict[str, Path], tmp_path: Path
) -> None:
    """Whoever rebuilds a release from its sources gets the signed file, without any variable."""
    shutil.unpack_archive(distributions["sdist"], tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    wheel, _ = _built(tmp_path / "again", source)

    assert wheel.read_bytes() == distributions["wheel"].read_bytes()


class _Links(HTMLParser):
    """Collects where a page leads to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, _tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take the addresses of a tag."""
        self.found += [value or "" for name, value in attrs if name in {"href", "src"}]


def test_the_page_of_the_index_leads_to_files_of_the_release(installed: Path) -> None:
    """Rendered as the index does, it has no relative link, and each of ours names a file."""
    metadata = _metadata(installed)
    page = _Links()
    page.feed(cmarkgfm.github_flavored_markdown_to_html(metadata.get_payload()))
    ours = [link.removeprefix(_FILES) for link in page.found if link.startswith(_FILES)]

    assert metadata["Description-Content-Type"] == "text/markdown"
    assert [link for link in page.found if not link.startswith("https://")] == []
    assert len(ours) > 10
    assert [link for link in ours if not (_ROOT / link.partition("#")[0]).is_file()] == []


def test_the_page_of_the_index_names_the_repository(installed: Path) -> None:
    """The links beside the text lead to the version that it describes."""
    assert _metadata(installed).get_all("Project-URL") == [
        f"Repository, {_REPOSITORY}",
        f"Documentation, {_FILES}docs/README.md",
        f"Changelog, {_FILES}CHANGELOG.md",
    ]


def test_no_classifier_is_given_twice() -> None:
    """An index refuses such an upload."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pythons = [one for one in project["classifiers"] if re.search(r":: 3\.\d+$", one)]

    assert len(set(project["classifiers"])) == len(project["classifiers"])
    assert [one.rpartition(".")[2] for one in pythons] == ["11", "12", "13", "14"]
