"""What the files of the repository contain, and what they must not."""

import re
import shutil
import subprocess
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

import repro_gate

_ROOT = Path(__file__).parents[2]
_LOCKS = ("requirements.lock", "requirements-report.lock", "requirements-dev.lock")
_PACKAGE_HOST = re.compile(r"index-url|find-links|pypi\.|pythonhosted|/simple\b", re.IGNORECASE)
_MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:root|work|home|Users|mnt|scratch)/\w")
_REQUIREMENT = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==\S+(?P<rest>(?:.*\\\n)*.*)", re.MULTILINE)


@cache
def _texts() -> dict[str, str]:
    """Return the text of every file that is committed or would be."""
    git = shutil.which("git")
    assert git is not None
    command = [git, "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=_ROOT, capture_output=True, check=True).stdout.decode()
    texts: dict[str, str] = {}
    for name in filter(None, listed.split("\0")):
        data = (_ROOT / name).read_bytes() if (_ROOT / name).is_file() else b""
        if b"\0" not in data:
            texts[name] = data.decode("utf-8")
    return texts


def test_there_are_texts_to_look_at() -> None:
    """The tests of this file would agree with an empty list too."""
    assert {"pyproject.toml", "Makefile", *_LOCKS} <= _texts().keys()


def test_no_file_names_a_path_of_one_machine() -> None:
    """What only exists where it was written is in no file."""
    found = {
        f"{name}: {path}" for name, text in _texts().items() for path in _MACHINE_PATH.findall(text)
    }

    assert found == set()


@pytest.mark.parametrize("name", ["pyproject.toml", *_LOCKS])
def test_packages_come_from_where_the_user_says(name: str) -> None:
    """No file of requirements names a package host."""
    text = _texts()[name].replace("--no-emit-index-url", "")

    assert _PACKAGE_HOST.findall(text) == []


@pytest.mark.parametrize("name", _LOCKS)
def test_every_locked_package_has_hashes(name: str) -> None:
    """A requirement without a hash would be installed on trust."""
    requirements = list(_REQUIREMENT.finditer(_texts()[name]))

    assert len(requirements) > 20
    assert [one["name"] for one in requirements if "--hash=sha256:" not in one["rest"]] == []


@pytest.mark.parametrize("name", _LOCKS)
def test_a_lock_holds_nothing_but_pinned_packages(name: str) -> None:
    """Every line is a comment, a pinned requirement or one of its hashes."""
    line = re.compile(
        r"#.*|[A-Za-z0-9._-]+(\[[a-z,-]+\])?==\S+.*\\|--hash=sha256:[0-9a-f]{64}( \\)?"
    )
    lines = map(str.strip, _texts()[name].splitlines())

    assert [text for text in lines if text and not line.fullmatch(text)] == []


def test_the_changelog_knows_this_version() -> None:
    """The version of the package has an entry, or is still to be released."""
    headings = re.findall(r"^## \[?([^\]\s]+)", _texts()["CHANGELOG.md"], re.MULTILINE)

    assert {"Unreleased", repro_gate.__version__} & set(headings)


def test_what_users_write_names_this_version() -> None:
    """Every workflow that uses the action has its tag, and the pages on it the moving one too."""
    version = repro_gate.__version__
    lines = [line for text in _texts().values() for line in text.splitlines()]
    used = [line for line in lines if re.match(r" +- uses: OWNER/repro-gate@", line)]
    moving = re.compile(rf"\bv{version.partition('.')[0]}\b(?!\.\d)")

    assert len(used) > 3
    assert {line.partition("@")[2] for line in used} == {f"COMMIT # v{version}"}
    for name in ("README.md", "action.yml", "docs/reference/action.md"):
        assert f"v{version}" in _texts()[name], name
        assert moving.search(_texts()[name]), name


def test_scripts_import_names_that_exist() -> None:
    """No tool follows a name into the Python inside of a shell script."""
    scripts = "\n".join(text for name, text in _texts().items() if name.endswith(".sh"))
    imported = re.findall(r"^from (repro_gate\S*) import (\w+)$", scripts, re.MULTILINE)

    assert imported
    assert [name for module, name in imported if not hasattr(import_module(module), name)] == []
