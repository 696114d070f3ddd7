"""The divergence of one cell at a terminal."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from syrupy.assertion import SnapshotAssertion

from repro_gate.core.cause import diagnose
from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.text import escape_text
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.generation import Generation, first_divergence
from repro_gate.core.tokens.golden import FactChange, Golden
from repro_gate.core.tokens.grade import FailingDrift, Grade, GradeWord
from repro_gate.core.tokens.verdicts import Drift, FormerGolden, Unrecorded
from repro_gate.core.tokens.verification import Share, Verification
from repro_gate.reports.explain import WIDTH, render_explanation
from tests.fakes.values import CHAT, GREEDY, golden_of, verification_of
from tests.reports.conftest import GRADES
from tests.reports.random_reports import foreign_texts
from tests.reports.served import dependent

Text = Callable[..., Generation]
Cells = Callable[..., CellReport]
CHANGES = (
    FactChange(name="memory.kv", before="1 MiB", after="2 MiB"),
    FactChange(name="setting.flash_attention", before="false", after="true"),
)


def page(report: GateReport, committed: Golden | None = None) -> str:
    """Return the page of the first cell of a report."""
    cell = report.cells[0]
    found = diagnose(cell, facts={}, committed=committed, grade=report.grade_of(cell))
    return render_explanation(report, cell, found, committed)


def golden_in(cell: CellReport) -> Golden:
    """Return the golden that a cell drifted from."""
    assert isinstance(cell.verdict, Drift)
    return cell.verdict.golden


def drawn_as(observed: Generation, golden: Generation) -> Verification:
    """Return a verification of a golden in which the observed tokens are drawn."""
    claims = verification_of(golden)
    return tuple(
        replace(token, drawn=other.id) for token, other in zip(claims, observed.tokens, strict=True)
    )


@pytest.fixture
def drifted(drift: Cells, cell: Callable[..., Cell], generation: Text) -> CellReport:
    """Return a cell that drifted at its second token, with a verification."""
    golden, observed = generation("a b c"), generation("a x y")
    return replace(
        drift(golden, observed, cell(), *CHANGES), verification=drawn_as(observed, golden)
    )


@pytest.fixture
def differing_sides(
    drift: Cells,
    cell: Callable[..., Cell],
    generation: Text,
    gate_report: Callable[..., GateReport],
) -> Callable[[str], GateReport]:
    """Return a report on a cell that drifted at its second token, by its observed logits."""
    golden = generation("a b", logits="12")
    return lambda logits: gate_report(drift(golden, generation("a x", logits=logits), cell()))


def test_everything_is_known_of_a_drift(
    drifted: CellReport, gate_report: Callable[..., GateReport], snapshot: SnapshotAssertion
) -> None:
    """Both sides at the fork, the draw, the shifts, and what changed."""
    assert page(gate_report(drifted, commit="ab" * 20), golden_in(drifted)) == snapshot


@pytest.mark.parametrize(
    ("grade", "cause"),
    list(zip(GRADES, ("rounding: ", "numeric: ", "behavioural: "), strict=True)),
    ids=lambda value: value if isinstance(value, str) else value.word,
)
def test_the_grade_of_the_suite_is_shown_with_its_numbers(
    drifted: CellReport, gate_report: Callable[..., GateReport], grade: Grade, cause: str
) -> None:
    """It names the cause where log-probabilities differ."""
    graded = replace(grade, model=drifted.cell.model, fail_on=FailingDrift.BEYOND_ROUNDING)
    text = page(gate_report(drifted, grades=(graded,)), golden_in(drifted))

    over_the_suite = re.sub(r"\s+", " ", text.partition("  grade ")[0])
    assert f"cause {cause}the log-probabilities up to the fork are not" in over_the_suite
    is_decided = grade.word is not GradeWord.UNDECIDED
    assert (f"over the cells of the suite this is {grade.word}" in over_the_suite) == is_decided
    assert f"\n\n{grade.word}: tiny-qwen2 in suite embedded\n  the " in text
    assert f"\n  distance       {grade.distance:.4f} here, the mean of 15 cells" in text
    assert ("lets pass" in text) == (grade.word is GradeWord.CONSISTENT)


def test_runs_that_differ_have_no_golden(
    differing_run: Cells,
    cell: Callable[..., Cell],
    generation: Text,
    gate_report: Callable[..., GateReport],
    snapshot: SnapshotAssertion,
) -> None:
    """Run 1 is repeated, and the token of the other run is the claimed one."""
    first, other = generation("a b c"), generation("a x y")
    found = differing_run(cell(), first, other)
    claimed = verification_of(replace(other, tokens=other.tokens[:2], trace=()))
    at_fork = replace(claimed[1], drawn=first.tokens[1].id)
    assert page(gate_report(replace(found, verification=(claimed[0], at_fork)))) == snapshot


def test_another_rendering_is_shown_as_a_diff(
    cell_report: Cells,
    cell: Callable[..., Cell],
    generation: Text,
    gate_report: Callable[..., GateReport],
) -> None:
    """No token is compared."""
    golden = replace(generation("a b"), rendered="<user>\nHi\n")
    observed = replace(generation("a b"), rendered="<human>\nHi\n")
    divergence = first_divergence(golden, observed)
    assert divergence is not None
    chat = replace(cell(text=""), chat=CHAT)
    verdict = Drift(divergence=divergence, golden=golden_of(chat, golden), provenance=())
    report = gate_report(cell_report(verdict, chat, generation=observed))
    text = page(report, golden_of(chat, golden))
    assert "golden" not in text.partition("cause")[0].replace("from the golden", "")
    assert "cause    template: the chat is rendered as another text, from template[0] on" in text
    assert '  - [0] "<user>\\n"\n  + [0] "<human>\\n"' in text
    assert "nothing that the provenance records" in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ((), "sampler: up to the fork the log-probabilities are those of the golden"),
        (("model.sha256",), "model: another file is loaded: model.sha256 differs"),
    ],
)
def test_the_cause_has_its_reason(
    drifted: CellReport,
    gate_report: Callable[..., GateReport],
    changes: tuple[str, ...],
    words: str,
) -> None:
    """Equal log-probabilities, or another file."""
    golden = golden_in(drifted)
    same = tuple(
        replace(token, logprob=choice.logprob, best=choice.best)
        for token, choice in zip(drifted.verification, golden.generation.trace, strict=True)
    )
    facts = tuple(FactChange(name=name, before="a", after="b") for name in changes)
    assert isinstance(drifted.verdict, Drift)
    found = replace(drifted, verification=same, verdict=replace(drifted.verdict, provenance=facts))
    assert f"cause    {words}" in page(gate_report(found), golden)


def test_other_logits_have_the_shift_of_all_tokens(
    drift: Cells,
    cell: Callable[..., Cell],
    generation: Text,
    gate_report: Callable[..., GateReport],
) -> None:
    """The digests are no tokens: the most likely ones keep their texts, and none is marked."""
    golden, observed = generation("a b c", logits="123"), generation("a b c", logits="145")
    text = page(gate_report(drift(golden, observed, cell())))

    assert "cause    numeric: all tokens are equal, but from step 1 on the logits are not" in text
    assert "log-probabilities of all tokens, golden and now\n  compared           3 pos" in text
    assert f"  golden    digest {'2' * 16}\n  observed  digest {'4' * 16}\n\n" in text
    assert "most likely tokens at output[1], before the samplers\n" in text
    assert "- golden, + observed" not in text
    assert '    130 " b"' in text


@pytest.mark.parametrize(
    ("logits", "words"),
    [
        ("12", "sampler: up to the fork the logits are those of the golden, to the bit, and the"),
        ("32", "numeric: from step 0 on the logits are not those of the golden"),
    ],
)
def test_logits_explain_a_fork(
    differing_sides: Callable[..., GateReport], logits: str, words: str
) -> None:
    """Whatever the four decimals of the log-probabilities are."""
    assert f"cause    {words}" in page(differing_sides(logits))


def test_another_tokenizer_has_its_tokens(
    drift: Cells,
    cell: Callable[..., Cell],
    generation: Text,
    gate_report: Callable[..., GateReport],
) -> None:
    """The prompt diverges, so no output is compared."""
    found = drift(generation("a", prompt="x y"), generation("a", prompt="x z"), cell())
    text = page(gate_report(found))
    assert "cause    tokenizer: the same text has other prompt tokens, from prompt[1] on" in text
    assert "the draw" not in text


def test_greedy_tokens_have_margins(
    drifted: CellReport, gate_report: Callable[..., GateReport]
) -> None:
    """Without random numbers there is no draw."""
    assert isinstance(drifted.verdict, Drift)
    greedy = replace(drifted.cell, sampler=GREEDY)
    verdict = replace(drifted.verdict, golden=replace(drifted.verdict.golden, cell=greedy))
    bare = tuple(
        replace(token, uniform=None, share=None, drawn_share=None) for token in drifted.verification
    )
    text = page(gate_report(replace(drifted, cell=greedy, verdict=verdict, verification=bare)))
    assert "  mean margin    0.3333 nats, each at most 0.5\n" in text
    assert "the draw" not in text


def test_unknown_numbers_are_left_out(
    drift: Cells,
    cell: Callable[..., Cell],
    generation: Text,
    gate_report: Callable[..., GateReport],
) -> None:
    """A golden without a trace, and a draw without a random number."""
    golden = generation("a b", traced=False)
    bare = tuple(replace(token, uniform=None) for token in verification_of(golden))
    found = drift(golden, generation("a x"), cell())
    text = page(gate_report(replace(found, verification=bare)))
    assert "  explained  0 of 2: they are drawn here too\n\n" in text
    assert "unknown: too few log-probabilities are known" in text


def test_a_token_that_is_excluded_has_no_share(
    drifted: CellReport, gate_report: Callable[..., GateReport]
) -> None:
    """Another token than the observed one is drawn where the engine does not repeat itself."""
    at_fork = replace(drifted.verification[1], share=None, drawn=5)
    verification = (drifted.verification[0], at_fork, drifted.verification[2])
    text = page(gate_report(replace(drifted, verification=verification)))
    assert "  - golden   not a candidate: the samplers exclude it\n" in text
    assert "  * token 5  0.100000 to 0.400000 (30.00%)\n" in text


def test_a_random_number_in_the_upper_half_is_left_of_its_mark(
    drifted: CellReport, gate_report: Callable[..., GateReport]
) -> None:
    """On the other side it would not be within the line."""
    at_fork = replace(drifted.verification[1], uniform=0.99)
    verification = (drifted.verification[0], at_fork, drifted.verification[2])

    text = page(gate_report(replace(drifted, verification=verification)))

    assert f"\n     {'0.990000 ':>87}^\n" in text


def test_a_claimed_token_that_is_drawn_has_one_share(
    differing_run: Cells,
    cell: Callable[..., Cell],
    generation: Text,
    gate_report: Callable[..., GateReport],
) -> None:
    """The engine generates the other token when it is asked again."""
    first, other = generation("b"), generation("x")
    (claim,) = verification_of(other)
    share = Share(low=0.1, high=0.9)
    again = replace(
        claim,
        drawn=other.tokens[0].id,
        share=share,
        drawn_share=share,
        logprob=-0.5,
        best=((first.tokens[0].id, -0.5), (7, -0.5)),
    )
    found = replace(differing_run(cell(), first, other), verification=(again,))
    text = page(gate_report(found))
    assert "  + the run that differs  0.100000 to 0.900000 (80.00%)\n" in text
    unknown = "unknown: of the run that differs no log-probabilities are kept, and run 1"
    assert f"{unknown} repeats its\n" in text
    bare = page(gate_report(replace(found, verification=())))
    assert f"{unknown} was not\n" in bare


def test_another_definition_is_compared_with_the_committed_golden(
    cell_report: Cells,
    cell: Callable[..., Cell],
    generation: Text,
    gate_report: Callable[..., GateReport],
) -> None:
    """The report has only the place of the divergence."""
    golden = golden_of(replace(cell(), max_tokens=9), generation("a b"))
    observed = generation("a x", traced=False)
    former = FormerGolden(divergence=first_divergence(golden.generation, observed))
    found = cell_report(Unrecorded(reason="another", former=former), cell(), generation=observed)
    text = page(gate_report(found), golden)
    assert (
        "definition: the golden is for another definition of the cell: max_tokens: 9 -> 30" in text
    )
    assert '  golden              130 " b"\n' in text
    gone = page(gate_report(found))
    assert "golden   is not the one that the check compared with: check again\n" in gone
    assert "cause    definition: tokens diverge from the golden at output[1]\n" in gone


def test_a_definition_without_a_divergence_is_a_cause(
    cell_report: Cells, gate_report: Callable[..., GateReport]
) -> None:
    """No token differs, and the golden is still for another one."""
    found = cell_report(Unrecorded(reason="another", former=FormerGolden(divergence=None)))
    text = page(gate_report(found))
    assert "cause    definition: tokens identical to the golden" in text


def test_a_golden_that_changed_since_is_named(
    drifted: CellReport, generation: Text, gate_report: Callable[..., GateReport]
) -> None:
    """The page is about the golden that the check compared with."""
    golden, report = golden_in(drifted), gate_report(drifted)
    accepted = replace(golden, generation=generation("a x y"))
    other = replace(golden, generation=generation("a z y"))
    assert "golden   is no longer committed for this profile\n" in page(report)
    assert "golden   has been updated since to what was observed\n" in page(report, accepted)
    assert "golden   has been updated since\n" in page(report, other)
    assert "\n  golden   " not in page(report, golden).partition("cause")[0]


def test_every_verdict_has_a_page(
    any_cell: CellReport, gate_report: Callable[..., GateReport]
) -> None:
    """Also one without a divergence."""
    text = page(gate_report(any_cell))
    assert text.startswith(f"{any_cell.verdict.word}  {any_cell.id}\n")
    assert ("there is no divergence to explain" in text) == (
        any_cell.verdict.word not in {"drift", "nondeterministic", "depends", "inconclusive"}
    )
    assert ("the cell was not measured" in text) == (any_cell.verdict.word == "inconclusive")


@given(text=foreign_texts)
@settings(deadline=None, max_examples=40)
def test_untrusted_text_stays_in_its_lines(
    text: str, hostile_report: Callable[[str], GateReport]
) -> None:
    """Nothing moves a cursor, and no line is wider than 100 columns."""
    report = hostile_report(text)
    for cell in report.cells:
        shown = page(replace(report, cells=(cell,), commit=None))
        assert {char for char in shown if escape_text(char) != char} <= {"\n", "\\"}
        assert max(map(len, shown.splitlines())) <= WIDTH
        assert "##[" not in shown


def test_a_candidate_is_no_command_of_a_log(
    drift: Cells,
    cell: Callable[..., Cell],
    generation: Text,
    gate_report: Callable[..., GateReport],
) -> None:
    """And a long name is cut."""
    found = drift(
        generation("##[error]x"), generation("##[error]y"), cell("a" * 60, model="m" * 60)
    )
    text = page(gate_report(found))
    assert "most likely tokens" in text
    assert "##[" not in text
    assert max(map(len, text.splitlines())) == WIDTH


def test_every_mode_has_its_first_difference(snapshot: SnapshotAssertion) -> None:
    """Also one that is not required to be equal; the margin is that of run 1."""
    report = dependent()

    assert render_explanation(report, report.cells[0], None, None) == snapshot


def test_a_mode_without_a_proof_has_its_reason() -> None:
    """Below the table."""
    report = dependent()
    page = render_explanation(report, report.cells[-1], None, None)

    assert "not proven  concurrent-8: the server worked on 1 sequence" in page
    assert "first difference" not in page
