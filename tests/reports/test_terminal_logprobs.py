"""Log-probabilities at a terminal and in a log."""

from collections.abc import Callable

from repro_gate.core.logprobs.policy import Tolerance
from repro_gate.core.logprobs.report import LogprobControl, SuiteVerdict
from repro_gate.core.logprobs.verdicts import Agrees, Sameness, Shifted
from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.tokens.golden import FactChange
from repro_gate.core.tokens.verdicts import Match
from repro_gate.reports.findings.logprob_wording import format_false_alarms
from tests.fakes.logprob_reports import (
    effect_of,
    logprob_cell_of,
    logprob_cell_report_of,
    logprob_report_of,
    policy_noise_of,
    suite_test_of,
    weight_report_of,
)

Build = Callable[..., GateReport]
Print = Callable[[GateReport], str]
AGREES = Agrees(sameness=Sameness.IDENTICAL)


def _control_of(policy: str) -> LogprobControl:
    return LogprobControl(policy=policy, cell=f"{policy}--capital", differed=True)


def test_pass_is_a_few_lines(logprob_suite_report: Build, on_terminal: Print) -> None:
    """A pass has a line for each policy, and those that say what the pass is worth."""
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
    """Its cells agree, and nothing shows that they could have done otherwise."""
    lines = on_terminal(logprob_suite_report(controls=())).splitlines()
    hot = logprob_suite_report(policies=(policy_noise_of(), policy_noise_of("hot")))

    words = "  controls      no control was run, so nothing here shows that this check can fail"
    assert words in lines
    assert lines[-1].startswith("inconclusive: hosted: ")
    named = "  controls      1 control, all differ; no control could be measured for hot"
    assert named in on_terminal(hot).splitlines()


def test_drift_is_a_block(logprob_suite_report: Build, on_terminal: Print) -> None:
    """What was seen, where, what changed, what to do, and how to accept it."""
    change = FactChange(name="answer.model", before="m-1", after="m-2")
    drifted = logprob_cell_report_of(
        Shifted(effect=effect_of(), provenance=(change,)),
        totals=(-43.25, -43.25, -43.5, -43.25, -43.25),
    )

    assert on_terminal(logprob_suite_report(drifted)).split("\n\n")[0].splitlines() == [
        "drift  base--capital",
        "  the log-probability of the response shifted significantly and beyond the tolerance",
        "  evidence    p = 0.00021 after Holm, by the sum, in two looks",
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
    """A certain change below the floor is told, and told apart from drift."""
    changed = Agrees(sameness=Sameness.EQUIVALENT, changed=effect_of(shift=0.0123))
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
    """Whether weights can be used is one line, with the reason."""
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
    """A check that drew nothing has no policy to tell of."""
    lines = on_terminal(logprob_suite_report(policies=())).splitlines()

    assert [line.split()[0] for line in lines[1:-1]] == ["suite", "controls", "cost", "false"]


def test_tokens_stand_before_log_probabilities(
    gate_report: Build, cell_report: Callable[..., CellReport], on_terminal: Print
) -> None:
    """Each gate has its lines, and the last one counts both."""
    part = logprob_report_of(logprob_cell_report_of(AGREES))
    lines = on_terminal(gate_report(cell_report(Match()), logprobs=(part,))).splitlines()

    assert [line.split()[0] for line in lines if line[0] != " "] == [
        "tiny-qwen2",
        "controls",
        "suite",
        "passed:",
    ]


def test_log_probabilities_alone_say_nothing_of_tokens(
    logprob_suite_report: Build, on_terminal: Print
) -> None:
    """That no seed was changed is no gap where no token was asked for."""
    text = on_terminal(logprob_suite_report(logprob_cell_report_of(AGREES)))

    assert "no control was run" not in text
    assert "engine" not in text
