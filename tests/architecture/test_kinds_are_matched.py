"""Where kinds of engines and providers are distinguished, a new kind does not type-check."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import repro_gate

_KINDS = {"EngineKind", "ProviderKind"}
_PACKAGE = Path(repro_gate.__file__).parent


def _told_apart_in(tree: ast.AST) -> Iterator[int]:
    """Yield the lines that tell kinds apart in a way in which one can be forgotten."""
    for node in ast.walk(tree):
        match node:
            case ast.Compare():
                sides: list[ast.expr | None] = [node.left, *node.comparators]
            case ast.Dict():
                sides = list(node.keys)
            case _:
                continue
        if any(map(_is_kind, sides)):
            yield node.lineno


def _is_kind(node: ast.expr | None) -> bool:
    match node:
        case ast.Attribute(value=ast.Name(id=name)):
            return name in _KINDS
        case _:
            return False


def test_kinds_are_told_apart_by_match_alone() -> None:
    """A comparison or a table takes a kind that it does not know for another, or fails late."""
    found = [
        f"{file.relative_to(_PACKAGE)}:{line}"
        for file in sorted(_PACKAGE.rglob("*.py"))
        for line in _told_apart_in(ast.parse(file.read_text("utf-8")))
    ]

    assert found == []


def test_every_match_of_kinds_ends_in_assert_never() -> None:
    """Without it, a kind that no case names would fall through."""
    for file in sorted(_PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Match) and _names_kind(node):
                assert "assert_never" in ast.unparse(node.cases[-1]), f"{file}:{node.lineno}"


def _names_kind(node: ast.Match) -> bool:
    return any(
        _is_kind(pattern.value)
        for case in node.cases
        for pattern in ast.walk(case.pattern)
        if isinstance(pattern, ast.MatchValue)
    )


@pytest.mark.parametrize(
    "source", ["a if kind is EngineKind.X else b", "{ProviderKind.X: 1}[kind]", "EngineKind.X == k"]
)
def test_a_comparison_and_a_table_are_seen(source: str) -> None:
    """The rule itself can fail."""
    assert list(_told_apart_in(ast.parse(source))) == [1]
