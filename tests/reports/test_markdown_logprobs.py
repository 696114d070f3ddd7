"""Log-probabilities in the Markdown report."""

import math
from collections.abc import Callable
from dataclasses import replace

from repro_gate.core.logprobs.verdicts import Agrees, Equivalence, Shifted
from repro_gate.core.report import CellReport, EngineReport, GateReport
from repro_gate.core.tokens.golden import FactChange
from repro_gate.core.tokens.verdicts import Inconclusive, Match
from repro_gate.reports.markdown import render_markdown
from tests.fakes.logprob_reports import (
    deciding_of,
    effect_of,
    logprob_cell_of,
    logprob_cell_report_of,
    logprob_report_of,
    policy_noise_of,
    token_of,
    unmeasured_of,
    weight_report_of,
)

Build = Callable[..., GateReport]
AGREES = Agrees(equivalence=Equivalence.IDENTICAL)


def titles_of(text: str) -> list[str]:
    """Return the headings of the second level."""
    return [line for line in text.splitlines() if line.startswith("## ")]


def part_of(text: str, title: str) -> str:
    """Return the text below a heading of the third level."""
    return text.partition(f"\n### {title}\n\n")[2].partition("\n\n#")[0]


def test_log_probabilities_alone_have_no_token_sections(logprob_suite_report: Build) -> None:
    """There are no headings for models, seeds or runs."""
    text = render_markdown(logprob_suite_report(logprob_cell_report_of(AGREES)))

    assert titles_of(text) == [
        "## Log-probabilities of `hosted`",
        "## Overall summary",
        "## Timing",
    ]
    assert not [
        word for word in ("nondeterministic", "Runs", "Engine", "No control") if word in text
    ]


def test_outcome_and_counts_come_first(logprob_suite_report: Build) -> None:
    """The first three lines have the result."""
    report = logprob_suite_report(
        logprob_cell_report_of(AGREES),
        logprob_cell_report_of(
            Shifted(effect=effect_of(), provenance=()), logprob_cell_of("plane")
        ),
    )

    assert render_markdown(report).split("\n\n")[1:4] == [
        "❌ **Failed**: `hosted`: 1 of 2 cells with a finding.",
        "Suites: `hosted`. Started `2026-01-02T03:04:05+00:00` with repro-gate `0.1.0`.",
        "- `hosted`: ❌ **Failed**: 2 cells: 1 agrees, 1 drift.",
    ]


def test_both_gates_have_their_sections(
    gate_report: Build, cell_report: Callable[..., CellReport]
) -> None:
    """Tokens come first."""
    part = logprob_report_of(logprob_cell_report_of(AGREES))
    text = render_markdown(gate_report(cell_report(Match()), logprobs=(part,)))

    assert titles_of(text) == [
        "## Model `tiny-qwen2`",
        "## Non-deterministic behaviour",
        "## Controls",
        "## Log-probabilities of `hosted`",
        "## Overall summary",
        "## Timing",
        "## Provenance",
    ]
    assert "- **Verdicts**: 1 match\n" in text
    assert "- **Log-probabilities** of `hosted`: 1 cell: 1 agrees\n" in text


def test_drift_names_its_suspects(logprob_suite_report: Build) -> None:
    """The changed facts are shown with the drift."""
    change = FactChange(name="answer.model", before="m-1", after=None)
    drifted = logprob_cell_report_of(Shifted(effect=effect_of(), provenance=(change,)))
    text = render_markdown(logprob_suite_report(drifted))

    assert "Changed since the baseline was recorded:" in text
    assert "| `answer.model` | `m-1` | (not reported) |" in text


def test_drift_without_changed_facts_is_explained(logprob_suite_report: Build) -> None:
    """It is useful to know that no recorded fact changed."""
    drifted = logprob_cell_report_of(Shifted(effect=effect_of(), provenance=()))

    assert "\nchanged   nothing recorded with the baseline\n" in render_markdown(
        logprob_suite_report(drifted)
    )


def test_missing_key_has_its_remedy(logprob_suite_report: Build) -> None:
    """The remedy is shown with the finding."""
    lost = Inconclusive(reason="API_KEY is not set", remedy="export API_KEY")
    text = render_markdown(logprob_suite_report(unmeasured_of(lost, logprob_cell_of())))

    assert "❔ **Inconclusive**: `hosted`: 1 of 1 cell not measured; nothing was measured." in text
    assert "Reason: `API_KEY is not set`" in text
    assert "Remedy: `export API_KEY`" in text


def test_policies_are_rows_of_one_table(logprob_suite_report: Build) -> None:
    """Temperatures and variances can be compared."""
    policies = (
        policy_noise_of(),
        policy_noise_of("cold", temperature=0.0, variance=1e-9, cells=0, draws=0),
    )
    text = render_markdown(logprob_suite_report(logprob_cell_report_of(AGREES), policies=policies))

    model = "`accounts/fireworks/models/m`"
    assert part_of(text, "Policies side by side").splitlines()[-2:] == [
        f"| `base` | {model} | 0.7 | raw | 1 | 5 | 0.05 | 0.0125 | 80 % | 0 | all agree |",
        f"| `cold` | {model} | 0 | raw | 0 | 0 | 0.05 | 1e-09 | 80 % | 0 | all agree |",
    ]


def test_weights_have_figures_and_a_statement(logprob_suite_report: Build) -> None:
    """Unusable weights do not look like a success."""
    weights = (
        weight_report_of(),
        weight_report_of("too long a tail", target="b", is_control=False, mean_weight=math.inf),
        weight_report_of("too few", target="c", is_control=False, must_be_usable=True),
        weight_report_of(target="d", must_be_usable=True, doubts=("9 items",)),
        weight_report_of(target="e", is_control=False, doubts=("9 items",)),
    )
    undetermined = "It cannot be determined whether these weights can be used"
    section = part_of(render_markdown(logprob_suite_report(weights=weights)), "Importance weights")

    assert "| 4.3 % | too large for a number (p = 1) | 0.49 (limit 0.6667) |" in section
    assert section.splitlines()[-5:] == [
        "- ✅ `clone / base`: These weights can be used.",
        "- ⚠ `b / base`: These weights cannot be used: `too long a tail`",
        "- ❌ `c / base`: These weights cannot be used: `too few`",
        f"- ❔ `d / base`: {undetermined}: `9 items`",
        f"- ⚠ `e / base`: {undetermined}: `9 items`",
    ]


def test_the_deciding_token_is_listed_with_its_band(logprob_suite_report: Build) -> None:
    """A sum within its band does not explain a drift."""
    token = token_of()
    effect = effect_of(token, shift=0.0, deciding=deciding_of(token))
    cell = logprob_cell_report_of(Shifted(effect=effect, provenance=()))

    assert (
        "| `base--capital` | ❌ drift | 5 | -42.0000 | -1.2500 of token 3 | 0.1000 |"
    ) in render_markdown(logprob_suite_report(cell))


def test_every_cell_is_listed_in_a_collapsed_table(logprob_suite_report: Build) -> None:
    """The table shows how far each cell shifted."""
    shifted = logprob_cell_report_of(AGREES, totals=(-42.0, -42.125, -42.125))
    lost = unmeasured_of(Inconclusive(reason="no", remedy=None), logprob_cell_of("lost"))
    text = render_markdown(logprob_suite_report(shifted, lost))

    assert text.partition("<details>\n")[2].partition("\n\n</details>")[0].splitlines() == [
        "<summary>2 cells, one by one, in nats</summary>",
        "",
        "| cell | verdict | draws | center | shift | band |",
        "| --- | --- | --- | --- | --- | --- |",
        "| `base--capital` | ✅ agrees | 3 | -42.0000 | -0.1250 | 0.5000 |",
        "| `base--lost` | ❔ inconclusive | 0 |  |  |  |",
    ]


def test_a_missing_control_is_reported(logprob_suite_report: Build) -> None:
    """A report without controls does not look as if it had some."""
    text = render_markdown(logprob_suite_report(controls=(), policies=()))

    assert part_of(text, "Controls").split("\n")[0] == (
        "No control was run, so nothing here shows that this check can fail."
    )
    assert "### Policies" not in text
    assert "### Importance weights" not in text


def test_local_draws_have_the_provenance_of_their_engine(logprob_suite_report: Build) -> None:
    """The engine and its time are shown."""
    report = logprob_suite_report(logprob_cell_report_of(AGREES))
    engine = EngineReport(name="exact", profile="cpu", facts={"device.name": "EPYC"})
    timing = replace(report.timing, engine_s=2.0)
    text = render_markdown(replace(report, engines=(engine,), timing=timing))

    assert titles_of(text)[-2:] == ["## Timing", "## Provenance"]
    assert "- **Engine time**: 2.000 s" in text
