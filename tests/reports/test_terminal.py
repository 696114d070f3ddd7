"""The report at a terminal and in a log."""

import re
from collections.abc import Callable
from io import StringIO

from rich.console import Console

from repro_gate.core.logprobs.policy import Tolerance
from repro_gate.core.logprobs.report import LogprobControl, SuiteVerdict
from repro_gate.core.logprobs.verdicts import Agrees, Equivalence, Shifted
from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.generation import Generation
from repro_gate.core.tokens.golden import FactChange
from repro_gate.core.tokens.verdicts import Inconclusive, Match
from repro_gate.reports.findings.logprob_sessions import format_false_alarms
from repro_gate.reports.findings.tokens import token_findings
from repro_gate.reports.terminal import format_finding, render_terminal
from tests.fakes.logprob_reports import (
    effect_of,
    logprob_cell_of,
    logprob_cell_report_of,
    logprob_report_of,
    policy_noise_of,
    suite_test_of,
    weight_report_of,
)
from tests.reports.served import dependent

Found = Callable[..., CellReport]
Build = Callable[..., GateReport]
Print = Callable[[GateReport], str]
DIFFERENT = "17/24 tokens, 16/24 bits, 0.0075 nats"
LOST = Inconclusive(reason="the device is busy", remedy="nvidia-smi")


def test_pass_is_three_lines(
    gate_report: Build, cell_report: Found, cell: Callable[..., Cell], on_terminal: Print
) -> None:
    """A pass has a line for each model, one for the controls, and the outcome."""
    cells = [cell_report(Match(), cell(seed=seed)) for seed in (1, 2)]

    assert on_terminal(gate_report(*cells)).splitlines() == [
        "tiny-qwen2  2 cells x 10 runs   all identical, all match",
        "controls    no control was run",
        "passed: 2 match; wall 12.500 s, engine 10.000 s",
    ]


def test_one_finding_is_the_block_of_the_report(
    rich_report: GateReport, on_terminal: Print
) -> None:
    """Other tools show a part of a report in the same words."""
    blocks = list(map(format_finding, token_findings(rich_report)))

    assert on_terminal(rich_report).split("\n\n")[: len(blocks)] == blocks


def test_cells_with_one_finding_are_one_block(
    gate_report: Build, cell_report: Found, cell: Callable[..., Cell], on_terminal: Print
) -> None:
    """Seven cells with the same finding are shown once, and not all are listed."""
    cells = [cell_report(LOST, cell(seed=seed), runs=0, generation=None) for seed in range(1, 8)]

    assert on_terminal(gate_report(*cells)).split("\n\n")[0].splitlines() == [
        "inconclusive  7 cells",
        "  not measured, so neither a pass nor drift",
        "  reason      the device is busy",
        "  cell        tiny-qwen2--autumn-leaves--seed1",
        "  cell        tiny-qwen2--autumn-leaves--seed2",
        "  cell        tiny-qwen2--autumn-leaves--seed3",
        "  cell        tiny-qwen2--autumn-leaves--seed4",
        "  cell        tiny-qwen2--autumn-leaves--seed5",
        "  cell        and 2 more",
        "  remedy      nvidia-smi",
        "  what to do  Apply the remedy and check again.",
    ]


def test_changed_facts_are_cut(
    gate_report: Build,
    drift: Found,
    cell: Callable[..., Cell],
    generation: Callable[..., Generation],
    on_terminal: Print,
) -> None:
    """The first few are enough at a terminal."""
    changes = [FactChange(name=f"fact.{number}", before="1", after="2") for number in range(6)]
    text = on_terminal(gate_report(drift(generation("a"), generation("b"), cell(), *changes)))

    lines = [line.split(maxsplit=1)[1] for line in text.splitlines() if "  changed" in line]
    assert lines == [*(f"fact.{number}: 1 -> 2" for number in range(5)), "and 1 more"]


def test_long_line_is_not_broken(
    gate_report: Build, cell_report: Found, on_terminal: Print
) -> None:
    """A log can be searched for a fact."""
    found = cell_report(Inconclusive(reason="word " * 50 + "end", remedy=None))

    assert f"  reason      {'word ' * 50}end\n" in on_terminal(gate_report(found))


def test_markup_is_only_text(gate_report: Build, cell_report: Found, on_terminal: Print) -> None:
    """Square brackets in a message are neither styles nor emoji."""
    found = cell_report(Inconclusive(reason="[red]:warning:[/red] [/]", remedy=None))

    assert "[red]:warning:[/red] [/]" in on_terminal(gate_report(found))


def test_runner_commands_are_inert(
    gate_report: Build, cell_report: Found, on_terminal: Print
) -> None:
    """A GitHub runner finds no command in a message of an engine."""
    found = cell_report(Inconclusive(reason="##[add-mask]a", remedy="::error::b"))
    text = on_terminal(gate_report(found))

    assert r"#\x23[add-mask]a" in text
    assert not any(line.lstrip().startswith("::") for line in text.splitlines())


def test_colours_show_the_outcome(rich_report: GateReport) -> None:
    """Findings are red, and inconclusive ones yellow."""
    console = Console(file=StringIO(), force_terminal=True, color_system="standard", width=40)
    with console.capture() as capture:
        render_terminal(rich_report, console)

    text = capture.get()
    assert "\x1b[1;31mdrift\x1b[0m" in text
    assert "\x1b[1;33minconclusive\x1b[0m" in text
    assert text.splitlines()[-1].startswith("\x1b[1;31mfailed: ")


AGREES = Agrees(equivalence=Equivalence.IDENTICAL)


def _control_of(policy: str) -> LogprobControl:
    return LogprobControl(policy=policy, cell=f"{policy}--capital", differed=True)


def test_pass_is_a_few_lines(logprob_suite_report: Build, on_terminal: Print) -> None:
    """A pass has a line for each policy, and lines on the suite."""
    cells = [
        logprob_cell_report_of(AGREES, logprob_cell_of(policy=policy)) for policy in ("base", "hot")
    ]
    policies = (policy_noise_of(), policy_noise_of("hot", draws=10))

    controls = (_control_of("base"), _control_of("hot"))
    report = logprob_suite_report(*cells, policies=policies, controls=controls)

    assert on_terminal(report).splitlines() == [
        "suite  hosted  2 cells: 2 agree",
        "  base          1 cell, 5 draws, 4 identical   all agree",
        "  hot           1 cell, 10 draws, 8 identical  all agree",
        "  suite test    agrees, p = 0.41 over 12 cells, typical shift 0.0000 nats",
        "  agreement     2 identical",
        "  controls      2 controls, all differ",
        "  cost          24 calls (36 saved by stopping early, 4 reused), 1200 tokens, 0.0011 USD",
        f"  false alarms  {format_false_alarms(Tolerance())}",
        "passed: hosted: 2 agree; wall 12.500 s",
    ]


def test_a_policy_without_a_control_is_named(
    logprob_suite_report: Build, on_terminal: Print
) -> None:
    """Its cells agree, but nothing shows that they could have drifted."""
    lines = on_terminal(logprob_suite_report(controls=())).splitlines()
    hot = logprob_suite_report(policies=(policy_noise_of(), policy_noise_of("hot")))

    words = "  controls      no control was run, so nothing here shows that this check can fail"
    assert words in lines
    assert lines[-1].startswith("inconclusive: hosted: ")
    named = "  controls      1 control, all differ; no control could be measured for hot"
    assert named in on_terminal(hot).splitlines()


def test_drift_is_a_block(logprob_suite_report: Build, on_terminal: Print) -> None:
    """The block has evidence, changed facts, advice and a command."""
    change = FactChange(name="answer.model", before="m-1", after="m-2")
    drifted = logprob_cell_report_of(
        Shifted(effect=effect_of(), provenance=(change,)),
        totals=(-43.25, -43.25, -43.5, -43.25, -43.25),
    )

    assert on_terminal(logprob_suite_report(drifted)).split("\n\n")[0].splitlines() == [
        "drift  base--capital",
        "  the log-probability of the response shifted significantly and beyond the tolerance",
        "  evidence    p = 0.00021 after Holm, by the sum, in both looks",
        "  shift       -1.2500 nats of the sum; the band is 0.5000",
        "  draws       baseline                        o           8          o",
        "  draws       here      o     4",
        "  draws       allowed                         [-----------|----------]",
        "  draws       nats      -43.5000 ............................ -41.5000",
        '  token       [3] 43 " Paris"  -0.5000 -> -1.7500 nats (-1.2500)',
        "  changed     answer.model: m-1 -> m-2",
        "  what to do  If the change is intended, accept it. Otherwise start with what changed.",
        "  command     repro-gate record-baseline --suite hosted --only base--capital --again",
    ]


def test_small_change_is_a_note(logprob_suite_report: Build, on_terminal: Print) -> None:
    """A significant change below the floor is not drift."""
    changed = Agrees(equivalence=Equivalence.EQUIVALENT, changed=effect_of(shift=0.0123))
    suite_test = suite_test_of(SuiteVerdict.CHANGED, p_value=0.0001)
    text = on_terminal(logprob_suite_report(logprob_cell_report_of(changed), suite_test=suite_test))

    claim = "  the service changed numerically, but below the configured floor"
    assert [line for line in text.splitlines() if "note" in line or "configured floor" in line] == [
        "note  hosted as a whole",
        claim,
        "note  1 cell",
        f"{claim} (0.1000 nats)",
    ]
    assert "drift" not in text
    assert text.splitlines()[-1].startswith("passed: ")


def test_weights_have_their_statement(logprob_suite_report: Build, on_terminal: Print) -> None:
    """Usability is one line, with the reason."""
    weights = (
        weight_report_of(),
        weight_report_of("a long tail", target="other", is_control=False),
    )
    lines = on_terminal(logprob_suite_report(weights=weights)).splitlines()

    figures = "ESS 215 (21.5 %), k-hat 0.49 (limit 0.6667)"
    assert [line.split(maxsplit=1)[1] for line in lines if line.startswith("  weights")] == [
        f"clone / base, A/A control: {figures}. These weights can be used.",
        f"other / base: {figures}. These weights cannot be used: a long tail",
    ]


def test_suite_without_policies(logprob_suite_report: Build, on_terminal: Print) -> None:
    """A check without draws has no line for a policy."""
    lines = on_terminal(logprob_suite_report(policies=())).splitlines()

    assert [line.split()[0] for line in lines[1:-1]] == ["suite", "controls", "cost", "false"]


def test_tokens_come_before_log_probabilities(
    gate_report: Build, cell_report: Callable[..., CellReport], on_terminal: Print
) -> None:
    """Each gate has its lines, and the last line counts both."""
    part = logprob_report_of(logprob_cell_report_of(AGREES))
    lines = on_terminal(gate_report(cell_report(Match()), logprobs=(part,))).splitlines()

    assert [line.split()[0] for line in lines if line[0] != " "] == [
        "tiny-qwen2",
        "controls",
        "suite",
        "passed:",
    ]


def test_log_probabilities_alone_have_no_token_lines(
    logprob_suite_report: Build, on_terminal: Print
) -> None:
    """Missing token controls are no gap if no tokens were checked."""
    text = on_terminal(logprob_suite_report(logprob_cell_report_of(AGREES)))

    assert "no control was run" not in text
    assert "engine" not in text


def test_modes_are_a_table_before_the_overview(on_terminal: Print) -> None:
    """A line for each mode, what was not proven, and what could be required."""
    lines = on_terminal(dependent()).split("\n\n")[-2].splitlines()

    assert lines[0] == "modes  smollm2 in suite served"
    assert [re.split(r"  +", line.strip()) for line in lines[1:4]] == [
        ["mode", "required", "result", "equal answers", "tokens", "at once", "missed"],
        ["alone", "bits", "holds", "24/24 bits", "216", "1", "33.9 %"],
        ["concurrent-8", "tokens", "depends", DIFFERENT, "216", "8", "-"],
    ]
    assert lines[-4].startswith("  not proven  concurrent-8: the server worked on 1 sequence")
    assert lines[-3] == "better than required  served"
    assert lines[-2].startswith('  modes = { alone = "bits", concurrent-8 = "tokens"')
    assert lines[-1].startswith("missed: the chance that none")
