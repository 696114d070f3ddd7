"""What CONTRIBUTING lists under "To add something" is what it takes, tried in a copy."""

import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, page

_PAGE = page("CONTRIBUTING.md")
_ROW = re.compile(r"^\| (?:an? )(.+?) \| (.+) \|$", re.MULTILINE)
_ROWS = dict(_ROW.findall(_PAGE.sections()["To add something"]))
_NAMED = re.compile(r"; mypy names ([^;]+);")
_CODE = re.compile(r"`([^`]+)`")
_ERROR = re.compile(r"^repro_gate/(\S+\.py):\d+: error: (.+)$", re.MULTILINE)
_CHECKED = [f"repro_gate/{layer}" for layer in ("adapters", "checks", "cli", "core", "reports")]
_ADDITIONS = {
    "engine inside": (
        "EngineKind.NEW",
        r"^class EngineKind\(.+\n    .+\n\n",
        "{0}    NEW = 'new'\n",
    ),
    "provider": (
        "ProviderKind.NEW",
        r"^class ProviderKind\(.+\n    .+\n\n",
        "{0}    NEW = 'new'\n",
    ),
    "verdict on tokens": (
        "NewTokens",
        r"^Verdict: TypeAlias = \(?\s*",
        "class NewTokens:\n    word: ClassVar[str] = 'new'\n\n\n{0}NewTokens | ",
    ),
    "verdict on log-probabilities": (
        "NewLogprobs",
        r"^LogprobVerdict: TypeAlias = \(?\s*",
        "class NewLogprobs:\n    word: ClassVar[str] = 'new'\n\n\n{0}NewLogprobs | ",
    ),
}
"""By the row of the table: what the type checker calls the addition, and how it is made."""


_HELD = (
    "tests/architecture/test_modules.py",
    "tests/cli/check/test_check.py::test_the_reports_are_written_where_they_are_wanted",
    "tests/cli/test_paths.py::test_every_report_is_one_that_must_not_stay",
    "tests/cli/test_paths.py::test_no_report_of_an_earlier_check_stays",
    "tests/reports/test_all.py",
)
"""Tests of every report, which need no change for a new one."""


def _ran(copy: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=copy, capture_output=True, check=False, text=True
    )


def _copied(folder: Path, *names: str) -> Path:
    for name in names:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(ROOT / name, folder)
    return folder


def _replace(file: Path, old: str, new: str) -> None:
    text = file.read_text("utf-8")
    assert text.count(old) == 1, f"{old!r} is not once in {file.name}"
    file.write_text(text.replace(old, new), "utf-8")


@pytest.mark.parametrize("row", _ROWS)
def test_every_path_of_the_table_exists(row: str) -> None:
    """Paths are relative to the repository or to its package."""
    paths = [name for name in _CODE.findall(_ROWS[row]) if "/" in name and "<" not in name]

    places = [(ROOT / name, ROOT / "repro_gate" / name) for name in paths if " " not in name]
    assert [place.name for place, other in places if not place.exists() | other.exists()] == []


def test_the_type_checker_names_the_modules_of_the_table(tmp_path: Path) -> None:
    """Besides the module that defines an addition, which comes first in its row."""
    copy = _copied(tmp_path, "pyproject.toml", "repro_gate")
    listed: dict[str, set[str]] = {}
    for row, (_, pattern, replacement) in _ADDITIONS.items():
        definition, *_ = _CODE.findall(_ROWS[row])
        (named,) = _NAMED.findall(_ROWS[row])
        listed[row] = {definition, *_CODE.findall(named)}
        file = copy / "repro_gate" / definition
        (old,) = re.findall(pattern, file.read_text("utf-8"), re.MULTILINE)
        _replace(file, old, replacement.format(old))

    found: dict[str, set[str]] = defaultdict(set)
    # Without libraries, whose types take most of the time, there are errors that name no addition.
    checked = _ran(copy, "mypy", "--follow-imports", "skip", *_CHECKED)
    for module, message in _ERROR.findall(checked.stdout):
        for row, (name, *_) in _ADDITIONS.items():
            if name in message:
                found[row].add(module)

    definitions = {row: {_CODE.findall(_ROWS[row])[0]} for row in _ADDITIONS}
    assert {row: found[row] | definitions[row] for row in _ADDITIONS} == listed


def test_a_report_takes_what_the_example_shows(tmp_path: Path) -> None:
    """A module, its import, two lines in tables, a test, and an entry of the documentation."""
    module, imported, line, test = _PAGE.blocks("python")
    (name,) = _PAGE.blocks("text")
    (entry,) = _PAGE.blocks("markdown")
    copy = _copied(tmp_path, "pyproject.toml", "repro_gate", "tests", "docs", "Makefile")
    for file in ("CONTRIBUTING.md", "README.md", "action.yml"):
        shutil.copy(ROOT / file, copy)
    (copy / "repro_gate/reports/tap.py").write_text(module, "utf-8")
    (copy / "tests/reports/test_tap.py").write_text(test, "utf-8")
    wiring = copy / "repro_gate/cli/wiring.py"
    markdown = "from repro_gate.reports.markdown import render_markdown\n"
    _replace(wiring, markdown, f"{markdown}{imported}")
    _replace(wiring, '    "junit.xml": render_junit,\n', f'    "junit.xml": render_junit,\n{line}')
    held = "tests/cli/test_paths.py", "-k", "every_report_is_one_that_must_not_stay"
    assert "report.tap" in _ran(copy, "pytest", "-q", *held).stdout
    _replace(copy / "repro_gate/cli/paths.py", '    "junit.xml",\n', f'    "junit.xml",\n{name}')

    listing = "tests/docs/test_cli.py"
    assert "report.tap" in _ran(copy, "pytest", "-q", listing, "-k", "report_folder").stdout
    cli = copy / "docs/reference/cli.md"
    (junit,) = re.findall(r"^- `junit\.xml`.*\n", cli.read_text("utf-8"), re.MULTILINE)
    _replace(cli, junit, f"{junit}{entry}")

    ran = _ran(copy, "pytest", "-q", "tests/reports/test_tap.py", *_HELD, listing)
    assert ran.returncode == 0, ran.stdout
    linted = _ran(copy, "ruff", "check", "--no-cache", "repro_gate", "tests/reports")
    assert linted.returncode == 0, linted.stdout
