"""What the answers of served models depend on, in words."""

from dataclasses import replace

import pytest

from repro_gate.core.outcome import Outcome
from repro_gate.core.tokens.modes import Level, ModeResult, Proof
from repro_gate.core.tokens.verdicts import Depends, Match
from repro_gate.reports.findings.divergence import explain
from repro_gate.reports.findings.modes import (
    Entry,
    dependences,
    format_difference,
    format_doubts,
    format_entry,
    format_missed,
    format_tokens,
    invariances,
    mode_lines,
    mode_table,
    tightened,
    weakest,
)
from repro_gate.reports.findings.tokens import token_findings
from tests.reports.conftest import cell_of
from tests.reports.served import (
    FIRST,
    LEVELS,
    MOVED,
    OTHER,
    QUEUED,
    SLOTS,
    dependent,
    result_of,
    served_cell_of,
    served_report_of,
    steady,
)

FLIPPED = result_of("concurrent-8", *[OTHER] * 5, MOVED)


def entry_of(*results: ModeResult) -> Entry:
    """Return an entry with one result for each cell."""
    return Entry(mode=results[0].mode, level=results[0].level, results=results)


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ([result_of("repeat")], "8/8 bits"),
        (
            [result_of("repeat"), result_of("repeat", MOVED)],
            "16/16 tokens, 15/16 bits, 0.0015 nats",
        ),
        ([FLIPPED], "3/8 tokens, 2/8 bits, 0.0090 nats"),
        ([replace(FLIPPED, other_bits=None, shift=None)], "3/8 tokens"),
        ([replace(result_of("repeat"), other_bits=None)], "8/8 tokens"),
        ([replace(result_of("repeat"), other_bits=None), result_of("repeat")], "16/16 tokens"),
        ([result_of("repeat", answers=0, **QUEUED)], "no answer"),
    ],
)
def test_what_holds_is_counted(results: list[ModeResult], words: str) -> None:
    """Bits where all are equal; otherwise tokens, bits where they are known, and the shift."""
    assert format_entry(entry_of(*results)) == words


@pytest.mark.parametrize(
    ("result", "word", "outcome"),
    [
        (result_of("alone"), "holds", Outcome.PASSED),
        (result_of("repeat"), "better", Outcome.PASSED),
        (FLIPPED, "depends", Outcome.FAILED),
        (result_of("repeat", MOVED), "holds", Outcome.PASSED),
        (result_of("restart", MOVED), "depends", Outcome.FAILED),
        (result_of("concurrent-8", **QUEUED), "unproven", Outcome.FAILED),
        (
            result_of("concurrent-8", **{**QUEUED, "proof": Proof.UNKNOWN}),
            "unproven",
            Outcome.INCONCLUSIVE,
        ),
        (replace(FLIPPED, level=Level.ANY), "-", Outcome.PASSED),
        (result_of("repeat", level=Level.ANY), "better", Outcome.PASSED),
        (result_of("concurrent-8", level=Level.ANY, **QUEUED), "-", Outcome.PASSED),
    ],
)
def test_the_result_is_one_word(result: ModeResult, word: str, outcome: Outcome) -> None:
    """A mode without a required level never fails."""
    entry = entry_of(result)

    assert (entry.word, entry.outcome) == (word, outcome)


def test_the_worst_cell_decides() -> None:
    """One cell that depends on its company is enough, and so is one without a proof."""
    queued = result_of("concurrent-8", **QUEUED)

    assert entry_of(result_of("concurrent-8"), FLIPPED, queued).word == "depends"
    assert entry_of(result_of("concurrent-8"), queued).reached is Level.ANY


def test_the_chance_of_a_miss_is_that_of_all_tokens() -> None:
    """72 tokens without a difference: 0.995 to the power of 72; of a difference there is none."""
    assert format_missed(entry_of(result_of("repeat"))) == "69.7 %"
    assert format_missed(entry_of(*[result_of("repeat")] * 10)) == "2.71 %"
    assert format_missed(entry_of(FLIPPED)) == "-"
    assert format_missed(entry_of(result_of("concurrent-8", **QUEUED))) == "-"


def test_tokens_are_counted_with_their_company() -> None:
    """The fewest sequences of any cell; none where nothing is shared or nothing is known."""
    shared = [result_of("mixed-8"), result_of("mixed-8", running=9)]

    assert format_tokens(entry_of(*shared)) == "144 tokens at 8 sequences"
    assert format_tokens(entry_of(result_of("mixed-8", running=None))) == "72 tokens"
    assert format_tokens(entry_of(result_of("alone"))) == "72 tokens"


def test_the_weakest_entry_is_one_that_agrees() -> None:
    """Few tokens with a difference show more than many without."""
    few, many = (entry_of(*[result_of("mixed-8")] * count) for count in (1, 3))
    differs = entry_of(result_of("mixed-8", OTHER, answers=1))

    assert weakest([many, differs, few]) is few


def test_each_mode_is_a_line_below_a_header() -> None:
    """With the required level, the result and the evidence."""
    (row,) = invariances([served_cell_of(cell_of(), FLIPPED)])
    lines = [" | ".join(words) for words in mode_table(row)]

    assert lines[0] == "mode | required | result | equal answers | tokens | at once | missed"
    assert lines[2] == (
        "concurrent-8 | tokens | depends | 3/8 tokens, 2/8 bits, 0.0090 nats | 72 | 8 | -"
    )
    assert len(lines) == 7


def test_a_model_has_a_row_for_each_suite() -> None:
    """In the order of the cells; a cell without modes has none."""
    one, other = served_cell_of(cell_of()), served_cell_of(cell_of(), FLIPPED)
    rows = invariances([one, replace(other, suite="other"), replace(one, modes=())])

    assert [(row.suite, row.outcome) for row in rows] == [
        ("served", Outcome.PASSED),
        ("other", Outcome.FAILED),
    ]


@pytest.mark.parametrize(
    ("dialect", "remedy"),
    [
        ("llama_server", "--flash-attn off --cache"),
        ("vllm", "--dtype float32 (no bit"),
        ("sglang", None),
    ],
)
def test_what_helped_is_named_for_the_server(dialect: str, remedy: str | None) -> None:
    """Only for servers at which it was measured; the finding has it too."""
    report = served_report_of(served_cell_of(cell_of(), FLIPPED), dialect=dialect)
    (found,), (finding,) = dependences(report), token_findings(report)

    assert found.claim == "the tokens depend on the other requests in the batch"
    assert found.where == "concurrent-8 of tiny-qwen2"
    assert (found.remedy or "").startswith(remedy or "")
    assert found.remedy == finding.description.remedy


def test_a_dependence_is_shown_once_for_each_cause() -> None:
    """Several modes and models of one cause are together."""
    moved = result_of("repeat", OTHER, answers=1)
    cells = [
        served_cell_of(cell_of(model=model), FLIPPED, result_of("mixed-8", OTHER), moved)
        for model in ("qwen", "gemma")
    ]
    first, second = dependences(served_report_of(*cells))

    assert (
        first.where
        == "concurrent-8 of qwen, mixed-8 of qwen, concurrent-8 of gemma, mixed-8 of gemma"
    )
    assert second.claim == "the tokens depend on what the cache holds"


def test_an_unknown_server_has_no_remedy() -> None:
    """Nor has one whose provenance was not kept."""
    cell = replace(served_cell_of(cell_of(), FLIPPED), provenance=None)
    (finding,) = token_findings(served_report_of(cell))

    assert finding.description.remedy is None


def test_all_that_a_cell_depends_on_is_claimed() -> None:
    """Each cause once, and whether tokens or only their log-probabilities move."""
    tokens = served_cell_of(
        cell_of(), FLIPPED, result_of("mixed-8", OTHER), result_of("restart", MOVED)
    )
    bits = served_cell_of(cell_of(), result_of("restart", MOVED))
    claims = [
        token_findings(served_report_of(cell))[0].description.claim for cell in (tokens, bits)
    ]

    assert claims == [
        "the tokens depend on the other requests in the batch and the start of the server",
        "all tokens are equal, but the log-probabilities depend on the start of the server",
    ]


def test_a_difference_has_its_place_its_size_and_its_company() -> None:
    """For a cache, how much of the prompt came from it."""
    cached = result_of("repeat", MOVED, answers=1, shift=None)

    assert format_difference(FLIPPED) == (
        "5 of 8 answers have other tokens, first at output[5], up to 0.0090 nats before it, "
        "8 sequences at once"
    )
    assert format_difference(cached) == (
        "1 of 1 answer has other log-probabilities, first at logits[8], "
        "24 prompt tokens from the cache"
    )
    moved = result_of("restart", MOVED, answers=1)
    assert format_difference(moved).endswith("first at logits[8], up to 0.0015 nats")


def test_answers_without_a_difference_have_no_place() -> None:
    """Nor a size."""
    assert format_difference(result_of("restart")) == "0 of 8 answers have other log-probabilities"


def test_cells_that_depend_on_the_same_are_one_finding() -> None:
    """The cell with the most differing answers is shown; each has its line."""
    few, many = (
        served_cell_of(cell_of(seed=seed), result_of("concurrent-8", *[OTHER] * seed))
        for seed in (1, 2)
    )
    (finding,) = token_findings(served_report_of(few, many))

    assert finding.cells == (many, few)
    assert [label for label, _ in finding.modes] == ["concurrent-8", "concurrent-8", "shown"]
    assert finding.modes[0][1].startswith("tiny-qwen2--autumn-leaves--seed2: 2 of 8 answers have")
    assert finding.modes[2][1] == many.id


def test_only_a_cell_that_depends_has_such_lines() -> None:
    """Of a drifted cell the table shows its modes."""
    cell = served_cell_of(cell_of(), FLIPPED)
    assert isinstance(cell.verdict, Depends)

    assert [*mode_lines([cell])]
    assert [*mode_lines([served_cell_of(cell_of())])] == []


def test_the_earliest_tokens_are_explained() -> None:
    """Tokens before log-probabilities, with the mode as the other side."""
    cell = served_cell_of(cell_of(), result_of("restart", MOVED), result_of("mixed-8", OTHER))
    found = explain(cell)

    assert found is not None
    assert (found.expected_by, found.observed_by) == ("run 1", "mixed-8")
    assert found.before == FIRST.tokens[:5]


def test_what_is_not_proven_has_its_reason_once() -> None:
    """With a remedy, if there is one."""
    queued = result_of("concurrent-8", **QUEUED)
    unknown = result_of("mixed-8", **{**QUEUED, "proof": Proof.UNKNOWN, "remedy": None})
    cells = [served_cell_of(cell_of(seed=seed), queued, unknown) for seed in (1, 2)]

    assert [*format_doubts(invariances(cells))] == [
        ("not proven", f"concurrent-8: {QUEUED['reason']}; remedy: {QUEUED['remedy']}"),
        ("not proven", f"mixed-8: {QUEUED['reason']}"),
    ]


def test_modes_with_one_reason_are_a_line() -> None:
    """As of a server that died; the cells have their own findings."""
    results = [result_of(name, **QUEUED) for name in ("concurrent-8", "mixed-8")]
    ((_, text),) = format_doubts(invariances([served_cell_of(cell_of(), *results)]))

    assert text.startswith("concurrent-8, mixed-8: the server worked on 1 sequence")


def test_a_model_without_an_answer_has_no_row() -> None:
    """Its server did not start; nothing is tightened for it either."""
    lost = {**QUEUED, "proof": Proof.UNKNOWN, "answers": 0}
    cell = served_cell_of(cell_of(), *(result_of(name, **lost) for name in LEVELS))
    report = steady()

    assert invariances([cell]) == []
    assert [*tightened(replace(report, cells=(*report.cells, cell)))] == []


def test_more_than_is_required_can_be_pasted() -> None:
    """All modes of the suite, each at the level that holds for all models."""
    moved = served_cell_of(cell_of(model="qwen"), result_of("mixed-8", MOVED))
    report = served_report_of(served_cell_of(cell_of()), moved)

    ((suite, line),) = tightened(report)
    assert suite == "served"
    assert line == (
        'modes = { alone = "bits", concurrent-8 = "bits", mixed-8 = "tokens", '
        'after-prefix = "bits", repeat = "bits", restart = "bits" }'
    )


def test_nothing_is_tightened_that_is_not_shown_for_all() -> None:
    """Not with a cell that was not measured, after an interruption, or where nothing is better."""
    report = steady()
    missing = replace(report.cells[0], modes=())
    (short,) = tightened(served_report_of(served_cell_of(cell_of(), FLIPPED)))

    assert [*tightened(replace(report, interrupted=True))] == []
    assert [*tightened(replace(report, cells=(*report.cells, missing)))] == []
    assert 'concurrent-8 = "tokens"' in short[1]
    assert isinstance(missing.verdict, Match)


def test_what_changed_since_the_golden_is_named() -> None:
    """It may be the cause: the golden was recorded without the company."""
    (finding,) = token_findings(served_report_of(served_cell_of(cell_of(), FLIPPED)))

    assert finding.description.suspects == (SLOTS,)


def test_the_sample_fails_for_both_reasons() -> None:
    """It has a model that depends on its batch, and one that was not shown not to."""
    rows = invariances(dependent().cells)

    assert [row.outcome for row in rows] == [Outcome.FAILED, Outcome.PASSED, Outcome.FAILED]
