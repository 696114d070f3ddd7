"""The sentences that every report shares."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from repro_gate.core.report import CellReport, FinishedCheck, GateReport
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.generation import Divergence, Generation, Place, Token
from repro_gate.core.tokens.golden import FactChange
from repro_gate.core.tokens.modes import Mode, ModeKind
from repro_gate.core.tokens.verdicts import (
    STOPPED,
    Depends,
    Drift,
    FormerGolden,
    Inconclusive,
    Match,
    Nondeterministic,
    Unrecorded,
)
from repro_gate.reports.findings.tokens import token_findings
from repro_gate.reports.findings.wording import (
    Description,
    describe,
    describe_finding,
    describe_former,
)
from repro_gate.reports.github.comment import render_comment
from repro_gate.reports.junit import render_junit
from repro_gate.reports.markdown import render_markdown
from repro_gate.reports.terminal import render_terminal
from repro_gate.reports.text.escape import format_change, message, one_line
from tests.fakes.reports import render_json
from tests.fakes.values import CHAT
from tests.reports.github.samples import ARTIFACT, MARKER, RUN


@pytest.mark.parametrize(
    ("runs", "claim"),
    [(1, "1 run matches the golden"), (10, "10 identical runs match the golden")],
)
def test_a_match_of_one_run_claims_no_repetition(
    runs: int, claim: str, cell_report: Callable[..., CellReport]
) -> None:
    """A single run is not described as identical to others."""
    assert describe(cell_report(Match(), runs=runs)) == Description(
        claim=claim, advice="No action needed."
    )


def test_other_logits_are_described_as_such(
    drift: Callable[..., CellReport],
    differing_run: Callable[..., CellReport],
    cell_report: Callable[..., CellReport],
    cell: Callable[..., Cell],
    generation: Callable[..., Generation],
) -> None:
    """The tokens alone would have matched."""
    sides = generation("a b c", logits="123"), generation("a b c", logits="145")

    assert describe(drift(*sides, cell())).claim == (
        "10 identical runs, but they diverge from the golden at logits[1]; all tokens are equal"
    )
    assert describe(differing_run(cell(), *sides)).claim == (
        "run 4, in a fresh process, differs from run 1 at logits[1]; all tokens are equal"
    )
    assert describe(cell_report(Match(), generation=sides[0])).claim == (
        "10 identical runs match the golden, to the bit of every logit"
    )


def test_drift_of_one_run_claims_no_repetition(
    drift: Callable[..., CellReport],
    cell: Callable[..., Cell],
    generation: Callable[..., Generation],
    cell_report: Callable[..., CellReport],
) -> None:
    """A single run is not described as identical to others."""
    found = drift(generation("a"), generation("b"), cell())
    once = replace(found, runs=1)

    assert describe(once).claim == "1 run diverges from the golden at output[0]"


def test_a_finding_is_described_by_the_run_that_shows_it(
    drift: Callable[..., CellReport],
    cell: Callable[..., Cell],
    generation: Callable[..., Generation],
) -> None:
    """While runs are missing, nothing is claimed about their agreement."""
    drifted = drift(generation("a"), generation("b"), cell()).verdict
    assert isinstance(drifted, Drift)
    unstable = Nondeterministic(run=3, in_fresh_process=True, divergence=drifted.divergence)

    assert describe_finding(drifted) == "run 1 differs from the golden at output[0]"
    assert describe_finding(unstable) == (
        "run 3, in a fresh process, differs from run 1 at output[0]"
    )
    client = replace(unstable, in_fresh_process=False, in_fresh_client=True)
    assert describe_finding(client) == (
        "run 3, in a fresh client of the same server, differs from run 1 at output[0]"
    )
    dependent = Depends(modes=(Mode(ModeKind.MIXED, 8),))
    assert describe_finding(dependent) == "answers in mixed-8 differ from run 1"


def test_a_missing_golden_names_why_runs_were_not_made(
    cell_report: Callable[..., CellReport],
) -> None:
    """The description has the reason why only one run was made."""
    found = cell_report(Unrecorded(reason="there is none"), unfinished=STOPPED)

    described = describe(found)
    assert (described.reason or "").endswith(
        "; the remaining runs were not made: --fail-fast stopped the check after the first finding"
    )
    assert described.remedy == "run the check without --fail-fast"


def test_reason_and_remedy_are_safe_lines(cell_report: Callable[..., CellReport]) -> None:
    """Messages of an engine cannot move the cursor."""
    found = cell_report(Inconclusive(reason="died\x1b[2J", remedy="try\nagain"))

    assert describe(found) == Description(
        claim="not measured, so neither a pass nor drift",
        advice="Apply the remedy and check again.",
        reason=one_line(r"died\x1b[2J"),
        remedy=one_line(r"try\nagain"),
    )


def test_advice_without_a_remedy_names_the_doctor(
    cell_report: Callable[..., CellReport],
) -> None:
    """Only a reason from another version or tool has no remedy."""
    found = cell_report(Inconclusive(reason="x", remedy=None))

    assert describe(found).advice == (
        "No known remedy for this reason; repro-gate doctor shows the installed versions "
        "and devices."
    )


def test_escaped_text_stays_the_same() -> None:
    """Adapters may have escaped it already."""
    assert one_line(one_line("a\\b\x1b")) == r"a\b\x1b"


def test_a_very_long_message_is_cut() -> None:
    """It would push the verdicts out of sight."""
    assert message("a" * 1003) == f"{'a' * 1000}... and 3 more characters"


def test_a_missing_fact_is_not_reported() -> None:
    """A fact that one side lacks is not shown as empty."""
    changed = FactChange(name="device.driver", before=None, after="560.10")

    assert format_change(changed) == "device.driver: (not reported) -> 560.10"


SAME = "identical to the golden up to the shorter length, despite the new definition"


def _changed(*positions: int | None, place: Place = Place.OUTPUT) -> list[Unrecorded]:
    parted = [
        None
        if each is None
        else Divergence(place=place, position=each, expected=None, observed=Token(1, b"a"))
        for each in positions
    ]
    return [Unrecorded(reason="changed", former=FormerGolden(divergence=each)) for each in parted]


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        ([Unrecorded(reason="there is no golden")], None),
        ([Match()], None),
        (_changed(None), SAME),
        (_changed(None, None), SAME),
        (_changed(3), "diverge from the golden at output[3]"),
        (_changed(1, place=Place.PROMPT), "diverge from the golden at prompt[1]"),
        (_changed(3, None, 2), "2 of 3 cells diverge from their golden, first at output[2]"),
        (
            [*_changed(0), *_changed(4, place=Place.PROMPT)],
            "2 of 2 cells diverge from their golden, first at prompt[4]",
        ),
    ],
)
def test_a_golden_of_another_definition_is_compared(
    verdicts: list[Any], words: str | None, cell_report: Callable[..., CellReport]
) -> None:
    """For several cells, the number that differs and the first divergence are shown."""
    assert describe_former([cell_report(each) for each in verdicts]) == words


def test_every_report_shows_how_a_changed_cell_compares(
    cell_report: Callable[..., CellReport],
    gate_report: Callable[..., GateReport],
    cell: Callable[..., Cell],
) -> None:
    """Cells with one changed definition are one finding, whatever their tokens are."""
    verdicts = _changed(3, None)
    report = gate_report(
        *(cell_report(each, cell(seed=seed)) for seed, each in enumerate(verdicts, start=1))
    )
    console = Console(width=200)
    with console.capture() as captured:
        render_terminal(report, console)

    assert len(token_findings(report)) == 1
    words = "1 of 2 cells diverge from their golden, first at output[3]"
    assert f"  tokens      {words}\n" in captured.get()
    assert f"Tokens: {words}.\n" in render_markdown(report)
    assert f"Tokens: {words}.\n" in render_comment(
        FinishedCheck(report=report), marker=MARKER, run=RUN, artifact_url=ARTIFACT
    )
    assert "tokens: diverge from the golden at output[3]" in render_junit(report)
    cells = json.loads(render_json(report))["result"]["report"]["cells"]
    parted = [cell["verdict"]["former"]["divergence"] for cell in cells]
    assert [(each or {}).get("position") for each in parted] == [3, None]


@pytest.mark.parametrize(
    ("neighbours", "reason"),
    [
        ((False, False), None),
        ((True, False), "run 4 had the engine to itself, run 1 shared it with other runs"),
        ((False, True), "run 1 had the engine to itself, run 4 shared it with other runs"),
        ((True, True), "run 4 and run 1 both shared the engine with other runs"),
    ],
)
def test_a_difference_between_runs_names_their_neighbours(
    neighbours: tuple[bool, bool],
    reason: str | None,
    drift: Callable[..., CellReport],
    cell: Callable[..., Cell],
    generation: Callable[..., Generation],
) -> None:
    """If a run shared the engine, the advice is a check in which none does."""
    found = drift(generation("a"), generation("b"), cell())
    assert isinstance(found.verdict, Drift)
    verdict = Nondeterministic(
        run=4,
        in_fresh_process=False,
        divergence=found.verdict.divergence,
        first_had_neighbours=neighbours[0],
        had_neighbours=neighbours[1],
    )
    described = describe(replace(found, verdict=verdict, generation=generation("a"), runs=4))

    assert described.reason == reason
    assert described.advice.startswith(
        "Find what differs" if reason is None else "Check with contexts = 1 in the engine's"
    )


def test_a_changed_rendering_is_named(
    drift: Callable[..., CellReport],
    cell: Callable[..., Cell],
    generation: Callable[..., Generation],
) -> None:
    """It is not the model that differs."""
    asked = cell().with_input(CHAT, prompt="chat")
    golden, observed = (replace(generation("a"), rendered=text) for text in ("a", "b"))

    assert describe(drift(golden, observed, asked)).claim == (
        "the chat is rendered as another prompt, which diverges from the golden at template[0]"
    )
