"""Untrusted text has a type: one module escapes it, and mypy refuses it elsewhere."""

import ast
from pathlib import Path
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mypy import api

import repro_gate
from repro_gate.core.tokens.golden import FactChange
from repro_gate.reports.text import escape

_PACKAGE: Final = Path(repro_gate.__file__).parent
_PRELUDE: Final = """
from repro_gate.reports.findings.wording import Description
from repro_gate.reports.findings.tokens import Finding
from repro_gate.reports.text.escape import one_line
from repro_gate.reports.findings.notes import Note

untrusted: str = input()
described = Description(claim="not measured", advice="")
"""


def _is_call_of_escaped(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else None
    return (node.func.id if isinstance(node.func, ast.Name) else name) == "Escaped"


def test_escaped_text_is_made_in_one_module() -> None:
    """Other modules call its functions."""
    modules = {
        file
        for file in _PACKAGE.rglob("*.py")
        if any(map(_is_call_of_escaped, ast.walk(ast.parse(file.read_text("utf-8")))))
    }

    assert modules == {Path(escape.__file__)}


def test_mypy_refuses_text_that_was_not_escaped(tmp_path: Path) -> None:
    """A plain string in place of untrusted text is a type error."""
    refused = [
        'Description(claim="", advice="", reason=untrusted)',
        'Description(claim="", advice="", remedy=untrusted)',
        'Finding(word="", ids=(untrusted,), description=described)',
        'Finding(word="", ids=(), lines=(("", untrusted),), description=described)',
        'Note(claim="", subject=untrusted, lines=())',
        'Note(claim="", subject=one_line(""), lines=(("message", untrusted),))',
    ]
    taken = [line.replace("untrusted", "one_line(untrusted)") for line in refused]
    file = tmp_path / "snippet.py"
    file.write_text(_PRELUDE + "\n".join([*refused, *taken]), "utf-8")

    out, err, _ = api.run(["--strict", "--cache-dir", str(tmp_path / "cache"), str(file)])

    first = _PRELUDE.count("\n") + 1
    found = [line for line in out.splitlines() if "[arg-type]" in line]
    assert [int(line.split(":")[1]) for line in found] == list(range(first, first + len(refused)))
    assert err == ""


@pytest.mark.parametrize("text", ["\x1b[2J", "a\nb", "\u202e", "x\\y", "\udc80"])
def test_escaping_twice_changes_nothing(text: str) -> None:
    """Text may be escaped again anywhere."""
    once = escape.one_line(text)

    assert escape.one_line(once) == once
    assert once.isprintable()


@given(st.tuples(st.text(), st.text()).filter(lambda values: values[0] != values[1]))
@example(("a\x1b", "a\\x1b"))
@example(("\n", "\\n"))
def test_a_changed_fact_is_still_one_when_it_is_escaped(values: tuple[str, str]) -> None:
    """A control character and a text that looks like its escape: a report from elsewhere may."""
    before, after = values
    shown = escape.escape_change(FactChange(name="engine", before=before, after=after))

    assert shown.before != shown.after
    assert escape.format_change(shown).isprintable()


def test_digests_have_their_first_digits() -> None:
    """Unless those are equal, or only one side is a digest."""
    sides = [("ab" * 32, "cd" * 32), ("ab" * 32, "ab" * 31 + "cd"), ("ab" * 32, None), ("1", "2")]
    short = [escape.shortened(FactChange(name="x", before=a, after=b)) for a, b in sides]

    assert (short[0].before, short[0].after) == ("abababababab…", "cdcdcdcdcdcd…")
    assert [(each.before, each.after) for each in short[1:]] == sides[1:]
