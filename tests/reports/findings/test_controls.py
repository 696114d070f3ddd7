"""Controls in reports, and findings with fewer runs than planned."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.tokens.cell import Factor
from repro_gate.core.tokens.controls import HOT, ControlReport
from repro_gate.core.tokens.generation import Divergence, Place, Token
from repro_gate.core.tokens.verdicts import Inconclusive, Match, Nondeterministic, Vacuous
from repro_gate.reports.findings import summary
from repro_gate.reports.findings.wording import describe, describe_control
from repro_gate.reports.junit import render_junit
from repro_gate.reports.markdown import render_markdown
from tests.fakes.values import cell_of, control_of

Build = Callable[..., GateReport]
Found = Callable[..., CellReport]

_DIFFERS = Divergence(place=Place.OUTPUT, position=2, expected=Token(1, b"a"), observed=None)
_ENDS_LATER = Divergence(place=Place.OUTPUT, position=6, expected=None, observed=Token(1, b"a"))
_LOST = Inconclusive(reason="the engine died\x1b[31m", remedy="free some memory")
_HOT_CELL = replace(cell_of(), sampler=HOT)
_SEEDLESS = "no other seed changes the output of this model, not even at a high temperature"


@pytest.mark.parametrize(
    ("control", "words"),
    [
        (control_of(divergence=_DIFFERS), "seed 43 changes the output at output[2]"),
        (
            control_of(_HOT_CELL, divergence=_DIFFERS),
            "seed 43 at temperature 10 changes the output at output[2]",
        ),
        (
            control_of(factor=Factor.PROMPT, divergence=_DIFFERS),
            "another prompt changes the output at output[2]",
        ),
        (control_of(), _SEEDLESS),
        (control_of(factor=Factor.PROMPT), "no other prompt changes the output of this model"),
        (control_of(problem=_LOST), "no other seed could be tried"),
    ],
)
def test_a_control_in_words(control: ControlReport, words: str) -> None:
    """The description names what was varied, and where the output differs."""
    assert describe_control(control).claim == words


def test_the_reason_and_advice_of_a_vacuous_cell_depend_on_the_factor(cell_report: Found) -> None:
    """A seed and a prompt need different fixes."""
    seed, prompt = (describe(cell_report(Vacuous(factor=factor))) for factor in Factor)

    assert (seed.reason, prompt.reason) == (
        _SEEDLESS,
        "no other prompt changes the output of this model",
    )
    assert seed.advice != prompt.advice


@pytest.mark.parametrize(
    ("verdict", "known"),
    [
        (Nondeterministic(run=2, in_fresh_process=False, divergence=_ENDS_LATER), ""),
        (Vacuous(factor=Factor.SEED), f"{_SEEDLESS}; "),
    ],
)
def test_a_finding_names_why_runs_are_missing(
    cell_report: Found, verdict: Nondeterministic | Vacuous, known: str
) -> None:
    """The reason and the remedy are untrusted text, and one line."""
    description = describe(replace(cell_report(verdict), unfinished=_LOST))

    assert (
        description.reason == f"{known}the remaining runs were not made: the engine died\\x1b[31m"
    )
    assert description.remedy == "free some memory"
    lost = replace(_LOST, remedy=None)
    assert describe(replace(cell_report(verdict), unfinished=lost)).remedy is None


def test_controls_that_could_not_be_run_are_counted(gate_report: Build) -> None:
    """They are neither passes nor failures."""
    shown, lost = control_of(divergence=_DIFFERS), control_of(problem=_LOST)

    assert summary.format_controls(gate_report(controls=(shown, lost))) == (
        "1 of 2 controls could not be run"
    )
    assert summary.format_controls(gate_report(controls=(lost, control_of()))) == (
        "1 of 2 controls showed no difference"
    )


def test_each_control_has_a_mark(gate_report: Build, cell_report: Found) -> None:
    """Passed, failed and not run have different symbols."""
    controls = (control_of(divergence=_DIFFERS), control_of(), control_of(problem=_LOST))
    report = gate_report(cell_report(Match()), controls=controls)

    text = render_markdown(report)
    rows = [line.split("|")[2].split()[0] for line in text.splitlines() if "seed42` | " in line]
    assert rows == ["✅", "❌", "❔"]
    junit = render_junit(report)
    controls_suite = junit.split('name="repro-gate.controls"')[1].split(">")[0]
    assert 'tests="3" failures="1" errors="1" skipped="0"' in controls_suite
