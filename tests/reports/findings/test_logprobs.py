"""The findings of a suite of log-probabilities, their order and their commands."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from repro_gate.core.logprobs.report import LogprobCellReport, SuiteVerdict
from repro_gate.core.logprobs.verdicts import Agrees, Equivalence, Outlying, Shifted
from repro_gate.core.outcome import Outcome
from repro_gate.core.report import GateReport
from repro_gate.core.tokens.verdicts import Inconclusive, Unrecorded
from repro_gate.reports.findings.logprobs import logprob_findings
from repro_gate.reports.findings.notes import Note, logprob_notes, suite_test_notes
from repro_gate.reports.findings.tokens import Finding
from repro_gate.reports.findings.wording import Description
from repro_gate.reports.text.escape import one_line
from tests.fakes.logprob_reports import (
    OUTLYING,
    effect_of,
    logprob_cell_of,
    logprob_cell_report_of,
    logprob_report_of,
    orphaned_baseline_of,
    outlier_of,
    suite_test_of,
    unmeasured_of,
    weight_report_of,
)

Build = Callable[..., GateReport]
AGREES = Agrees(equivalence=Equivalence.IDENTICAL)
SHIFTED = Shifted(effect=effect_of(), provenance=())
UNRECORDED = Unrecorded(reason="there is none")


def found_in(report: GateReport) -> tuple[Finding, ...]:
    """Return the findings of the only suite of a report."""
    return logprob_findings(report.logprobs[0], report)


def commands_of(report: GateReport) -> list[str | None]:
    """Return the command of each finding."""
    return [finding.command for finding in found_in(report)]


def unrecorded_of(*items: str) -> list[LogprobCellReport]:
    """Return cells without a baseline."""
    return [unmeasured_of(UNRECORDED, logprob_cell_of(item)) for item in items]


def test_agreement_is_no_finding(logprob_suite_report: Build) -> None:
    """A suite that passed has no findings."""
    assert found_in(logprob_suite_report(logprob_cell_report_of(AGREES))) == ()


def test_order_of_the_findings(rich_logprob_report: GateReport) -> None:
    """The suite as a whole is first, then the worst verdicts, and inconclusive ones are last."""
    assert [(found.word, found.subject) for found in found_in(rich_logprob_report)] == [
        ("drift", "hosted as a whole"),
        ("drift", "base--plane"),
        ("drift", "base--river"),
        ("outlier", "base--train"),
        ("invalid", "base--haiku"),
        ("unrecorded", "2 cells"),
        ("orphaned", "base--gone"),
        ("control", "clone--capital"),
        ("weights", "clone / base"),
        ("inconclusive", "clone--capital"),
        ("weights", "twin / base"),
    ]


def test_findings_that_were_not_measured_are_inconclusive(rich_logprob_report: GateReport) -> None:
    """All others have failed."""
    assert [found.outcome for found in found_in(rich_logprob_report)] == [
        *[Outcome.FAILED] * 9,
        *[Outcome.INCONCLUSIVE] * 2,
    ]


def test_command_accepts_one_drift(logprob_suite_report: Build) -> None:
    """The command names the cell and its suite, and asks for new draws."""
    cells = [logprob_cell_report_of(SHIFTED), logprob_cell_report_of(AGREES, logprob_cell_of("b"))]

    assert commands_of(logprob_suite_report(*cells)) == [
        "repro-gate record-baseline --suite hosted --only base--capital --again"
    ]


def test_command_re_records_nothing_else(logprob_suite_report: Build) -> None:
    """No pattern is offered that would also re-record a cell that agrees."""
    cells = [
        logprob_cell_report_of(SHIFTED, logprob_cell_of("item-1")),
        logprob_cell_report_of(SHIFTED, logprob_cell_of("item-2")),
        logprob_cell_report_of(AGREES, logprob_cell_of("item-3")),
    ]

    assert commands_of(logprob_suite_report(*cells)) == [
        "repro-gate record-baseline --suite hosted --only ID --again  # for each of these ids"
    ]


def test_command_records_missing_baselines(logprob_suite_report: Build) -> None:
    """A pattern may match cells that agree, as recording keeps existing baselines."""
    cells = [*unrecorded_of("new-1", "new-2"), logprob_cell_report_of(AGREES, logprob_cell_of("n"))]

    assert commands_of(logprob_suite_report(*cells)) == [
        "repro-gate record-baseline --suite hosted --only 'base--new-*'"
    ]


def test_command_prunes_orphans(logprob_suite_report: Build) -> None:
    """The file name of an orphan never becomes part of a command."""
    orphans = [orphaned_baseline_of("x'; rm -rf ~; '"), orphaned_baseline_of("base--gone")]
    (found,) = found_in(logprob_suite_report(*orphans))

    assert (found.subject, found.command) == (
        "2 baselines",
        "repro-gate record-baseline --prune",
    )


def test_command_repeats_the_options_of_the_check(logprob_suite_report: Build) -> None:
    """The options for the matrix and the device are repeated, quoted."""
    report = logprob_suite_report(
        orphaned_baseline_of("base--gone"), suite_test=suite_test_of(SuiteVerdict.DRIFT)
    )

    assert commands_of(replace(report, repeat_with=("--matrix", "my matrix.toml"))) == [
        "repro-gate record-baseline --matrix 'my matrix.toml' --suite hosted --again",
        "repro-gate record-baseline --matrix 'my matrix.toml' --prune",
    ]


@pytest.mark.parametrize("verdict", [OUTLYING, Inconclusive(reason="no key", remedy=None)])
def test_what_cannot_be_accepted_has_no_command(
    verdict: Outlying | Inconclusive, logprob_suite_report: Build
) -> None:
    """Cells that were not measured cannot be accepted."""
    assert commands_of(logprob_suite_report(logprob_cell_report_of(verdict))) == [None]


def test_weights_for_information_are_no_finding(logprob_suite_report: Build) -> None:
    """Only weights that must be usable can fail."""
    found = weight_report_of("too few items", is_control=False)

    assert found_in(logprob_suite_report(weights=(found, weight_report_of()))) == ()


@pytest.mark.parametrize(
    ("is_control", "advice"),
    [
        (True, "Make the clone call exactly the same model; the weights mean nothing until then."),
        (
            False,
            "Do not estimate with these weights; compare policies that are closer to the base.",
        ),
    ],
)
def test_weights_that_must_be_usable_are_a_finding(
    is_control: bool,  # noqa: FBT001 -- a parameter of the test
    advice: str,
    logprob_suite_report: Build,
) -> None:
    """The finding has the reason and the figures."""
    weights = weight_report_of("a long\ntail", is_control=is_control, must_be_usable=True)
    (found,) = found_in(logprob_suite_report(weights=(weights,)))

    assert found.description == Description(
        claim="these weights cannot be used", advice=advice, reason=one_line(r"a long\ntail")
    )


def test_agreement_has_no_notes() -> None:
    """There is nothing to note."""
    part = logprob_report_of(logprob_cell_report_of(AGREES))

    assert [*suite_test_notes(part), *logprob_notes(part)] == []


def test_small_changes_are_one_note() -> None:
    """Changes within the tolerance are listed together, and the list is limited."""
    changed = Agrees(equivalence=Equivalence.EQUIVALENT, changed=effect_of(shift=0.0123))
    cells = [
        logprob_cell_report_of(changed, logprob_cell_of(f"item-{number}")) for number in range(7)
    ]
    (note,) = logprob_notes(logprob_report_of(*cells))

    assert (note.subject, note.claim) == (
        "7 cells",
        "the service changed numerically, but below the configured floor (0.1000 nats)",
    )
    assert note.lines[4:] == (
        ("cell", "base--item-4  +0.0123 nats, p = 0.00021 after Holm, by the sum"),
        ("cell", "and 2 more"),
    )


def test_change_beyond_the_floor_and_within_the_band_is_another_note() -> None:
    """A change above the floor is not described as below it."""
    small, larger = (
        logprob_cell_report_of(
            Agrees(equivalence=Equivalence.NOT_SHOWN, changed=effect_of(shift=shift, band=0.5)),
            logprob_cell_of(item),
        )
        for item, shift in (("small", -0.1), ("larger", -0.2))
    )

    notes = list(logprob_notes(logprob_report_of(small, larger)))

    changed = "the service changed numerically"
    assert [(note.claim, note.lines[0][1].split()[0]) for note in notes] == [
        (f"{changed}, but below the configured floor (0.1000 nats)", "base--small"),
        (f"{changed}, but within its own noise band", "base--larger"),
    ]


def test_few_outliers_are_a_note() -> None:
    """Allowed outliers are shown with the tokens that caused them."""
    cell = logprob_cell_report_of(AGREES, outliers=(outlier_of(),))
    (note,) = logprob_notes(logprob_report_of(cell))

    assert note.claim == "outliers were redrawn; above 5 % of all draws they are a finding"
    assert [label for label, _ in note.lines] == ["cell", "outlier", "token", "request"]


def test_many_outliers_are_counted() -> None:
    """A note is short."""
    cells = [
        logprob_cell_report_of(AGREES, logprob_cell_of(f"i{number}"), outliers=(outlier_of(),))
        for number in range(5)
    ]
    (note,) = logprob_notes(logprob_report_of(*cells))

    assert (note.subject, note.lines[-1]) == ("5 cells", ("cell", "and 2 more"))


@pytest.mark.parametrize("verdict", [SHIFTED, OUTLYING])
def test_outliers_of_a_finding_are_no_note(verdict: Shifted | Outlying) -> None:
    """Outliers of a finding are not repeated in a note."""
    cell = logprob_cell_report_of(verdict, outliers=(outlier_of(),))

    assert list(logprob_notes(logprob_report_of(cell))) == []


def test_a_small_change_of_the_suite_is_a_note() -> None:
    """The note has the figures of the test."""
    part = logprob_report_of(suite_test=suite_test_of(SuiteVerdict.CHANGED))
    (note,) = suite_test_notes(part)

    assert note == Note(
        claim="the service changed numerically, but below the configured floor",
        subject=one_line("hosted as a whole"),
        lines=note.lines,
    )
    assert note.lines[0][0] == "evidence"
