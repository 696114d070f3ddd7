"""The shape of the package: small modules with names that mean something, in their layers."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_PACKAGE = _ROOT / "repro_gate"
_MAX_LINES = 500
_MEANINGLESS = {
    *("utils", "util", "helpers", "common"),
    *("misc", "base", "manager", "constants"),
}
_UNMEASURED = {"MeasurementUnavailable", "EngineFailed", "Inconclusive", "MissedDraw"}
"""The exceptions for what was not measured."""
MODULES = sorted(_PACKAGE.rglob("*.py"))


def _name_of(module: Path) -> str:
    return str(module.relative_to(_ROOT))


def test_there_are_modules_to_look_at() -> None:
    """The tests of this file would agree with an empty list too."""
    assert _PACKAGE / "core" / "tokens" / "cell.py" in MODULES


@pytest.mark.parametrize("module", MODULES, ids=_name_of)
def test_a_module_can_be_read_in_one_go(module: Path) -> None:
    """No module has more than 500 lines."""
    assert len(module.read_text("utf-8").splitlines()) <= _MAX_LINES


@pytest.mark.parametrize("module", MODULES, ids=_name_of)
def test_a_module_is_named_for_what_it_holds(module: Path) -> None:
    """No module or package has a name under which everything could be put."""
    names = module.relative_to(_ROOT).with_suffix("").parts

    assert _MEANINGLESS.isdisjoint(names)


def test_the_layers_hold() -> None:
    """Every contract of import-linter is kept, and there are contracts."""
    linter = Path(sys.executable).with_name("lint-imports")

    ran = subprocess.run(
        [linter, "--no-cache"], cwd=_ROOT, capture_output=True, text=True, check=False
    )

    assert ran.returncode == 0, ran.stdout
    assert "Contracts: 4 kept, 0 broken." in ran.stdout


@pytest.mark.parametrize("module", MODULES, ids=_name_of)
def test_what_was_not_measured_has_a_remedy(module: Path) -> None:
    """Each reason names what would make its measurement possible; none is left to a fallback."""
    tree = ast.parse(module.read_text("utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    without = [
        f"{call.func.id} in line {call.lineno}"
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id in _UNMEASURED
        if not any(_is_remedy(keyword) for keyword in call.keywords)
    ]

    assert without == []


def _is_remedy(keyword: ast.keyword) -> bool:
    value = keyword.value
    is_none = isinstance(value, ast.Constant) and value.value is None
    return keyword.arg == "remedy" and not is_none
