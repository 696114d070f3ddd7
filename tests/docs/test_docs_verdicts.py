"""What a reader can meet, a verdict, a code, an error, is explained."""

import re
from typing import get_args

import pytest

from repro_gate.core.divergence import Divergence, Place
from repro_gate.core.outcome import ExitCode
from repro_gate.core.verdicts import (
    Drift,
    Inconclusive,
    Match,
    Nondeterministic,
    Orphaned,
    Unrecorded,
    Vacuous,
    Verdict,
)
from repro_gate.protocol import Method, Refusal
from repro_gate.reports.describe import advise
from tests.docs.pages import first_column, page
from tests.fakes.values import cell_of, golden_of

_DIVERGENCE = Divergence(place=Place.OUTPUT, position=0, expected=None, observed=None)
_EXAMPLES: tuple[Verdict, ...] = (
    Match(),
    Nondeterministic(run=2, in_fresh_process=False, divergence=_DIVERGENCE),
    Drift(divergence=_DIVERGENCE, golden=golden_of(cell_of()), provenance=()),
    Unrecorded(reason=""),
    Vacuous(reason=""),
    Inconclusive(reason="", remedy=None),
    Orphaned(),
)


def test_there_is_an_example_of_every_verdict() -> None:
    """The tests of this file know every verdict."""
    assert {type(verdict) for verdict in _EXAMPLES} == set(get_args(Verdict))


@pytest.mark.parametrize("verdict", _EXAMPLES, ids=lambda verdict: verdict.word)
def test_every_verdict_has_a_section_with_its_advice(verdict: Verdict) -> None:
    """The how-to says of each verdict what the reports say, in a section with an output."""
    assert advise(verdict) in page("docs/how-to/read-a-failure.md").sections()[
        verdict.word
    ].replace("\n", " ")
    outputs = page("docs/how-to/read-a-failure.md").blocks("text")
    assert any(re.search(rf"\b{verdict.word}\b", output) for output in outputs)


@pytest.mark.parametrize(
    ("name", "heading"),
    [("README.md", "Verdicts"), ("docs/reference/exit-codes.md", "Exit codes")],
)
def test_every_verdict_has_a_code(name: str, heading: str) -> None:
    """The tables of verdicts have every verdict."""
    words = {verdict.word for verdict in _EXAMPLES}
    assert words <= first_column(page(name).sections()[heading])


@pytest.mark.parametrize(
    "name", ["README.md", "docs/reference/exit-codes.md", "docs/adr/0001-exit-codes.md"]
)
def test_every_exit_code_is_in_the_table(name: str) -> None:
    """The tables of exit codes have every code, and no other."""
    rows = re.findall(r"^\| (\d+) \|", page(name).text, re.MULTILINE)
    assert [int(code) for code in rows] == sorted({1, *ExitCode})


def test_every_error_of_an_engine_is_explained() -> None:
    """The protocol's reference and the how-to know each kind of refusal, and each method."""
    reference = page("docs/reference/engine-protocol.md")
    assert first_column(reference.sections()["Errors"]) == {"kind", *Refusal}
    assert {f"`{method}`" for method in Method} <= reference.sections().keys()
    told = first_column(page("docs/how-to/read-a-failure.md").sections()["inconclusive"])
    assert set(Refusal) - {Refusal.INTERNAL} <= told
