"""The findings of the token gate, their order and their commands."""

import shlex
from collections.abc import Callable
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.tokens.cell import Cell, Factor
from repro_gate.core.tokens.generation import Generation
from repro_gate.core.tokens.verdicts import Inconclusive, Match, Unrecorded, Vacuous
from repro_gate.reports.findings.tokens import (
    Finding,
    accept_all_command,
    explain_command,
    token_findings,
)
from repro_gate.reports.findings.wording import Description
from repro_gate.reports.text.escape import one_line
from repro_gate.reports.text.shell import only, pattern_of, quoted
from tests.fakes.values import control_of
from tests.reports.conftest import rich_report_of

Found = Callable[..., CellReport]
Build = Callable[..., GateReport]
UNRECORDED = Unrecorded(reason="there is no golden for this profile")


def test_match_is_no_finding(gate_report: Build, cell_report: Found) -> None:
    """A check that passed has no findings."""
    assert token_findings(gate_report(cell_report(Match()))) == ()


def test_cells_with_the_same_description_are_one_finding(
    gate_report: Build, cell_report: Found, cell: Callable[..., Cell]
) -> None:
    """Verdict and reason are the same."""
    same = [cell_report(UNRECORDED, cell(seed=seed)) for seed in (1, 2)]
    other = cell_report(Unrecorded(reason="another definition"), cell(seed=3))

    assert [found.cells for found in token_findings(gate_report(same[0], other, same[1]))] == [
        tuple(same),
        (other,),
    ]


def test_other_logits_at_the_same_step_are_one_finding(
    gate_report: Build,
    drift: Found,
    cell: Callable[..., Cell],
    generation: Callable[..., Generation],
) -> None:
    """The digests of all cells are different, and mean nothing to a reader."""
    same = [
        drift(
            generation(f"{word} a", logits=f"1{number}"),
            generation(f"{word} a", logits=f"1{number + 5}"),
            cell(seed=number),
        )
        for number, word in enumerate(("one", "two"), start=1)
    ]
    other = drift(generation("a", logits="1"), generation("a", logits="2"), cell(seed=3))

    assert [found.cells for found in token_findings(gate_report(*same, other))] == [
        tuple(same),
        (other,),
    ]


def test_drifts_to_the_same_tokens_are_one_finding(
    gate_report: Build,
    drift: Found,
    cell: Callable[..., Cell],
    generation: Callable[..., Generation],
) -> None:
    """One cause often changes many cells in the same way."""
    same = [
        drift(generation(f"{word} a b"), generation(f"{word} x y"), cell(seed=seed))
        for seed, word in enumerate(("one", "two"), start=1)
    ]

    (found,) = token_findings(gate_report(*same))
    assert found.cells == tuple(same)
    assert found.repeat == (
        "repro-gate check --suite embedded --only 'tiny-qwen2--autumn-leaves--seed*'"
    )


@pytest.mark.parametrize(
    "other", [("a b", "x z"), ("a c", "x y"), ("a a b", "a x y"), ("a b", "x")]
)
def test_drifts_to_other_tokens_are_separate_findings(
    gate_report: Build,
    drift: Found,
    cell: Callable[..., Cell],
    generation: Callable[..., Generation],
    other: tuple[str, str],
) -> None:
    """Another place or token may have another cause."""
    cells = [
        drift(generation("a b"), generation("x y"), cell(seed=1)),
        drift(*map(generation, other), cell(seed=2)),
    ]

    assert [len(found.cells) for found in token_findings(gate_report(*cells))] == [1, 1]


def test_an_orphan_cannot_be_measured_again(
    gate_report: Build, orphan: Callable[[str], CellReport]
) -> None:
    """There is no command to repeat the measurement."""
    (found,) = token_findings(gate_report(orphan("gone")))

    assert found.repeat is None


def test_command_repeats_on_the_same_matrix_and_device(
    gate_report: Build, cell_report: Found
) -> None:
    """The command repeats the options of the check."""
    report = gate_report(cell_report(UNRECORDED), repeat_with=("--device", "cuda"))
    (found,) = token_findings(report)

    only = "tiny-qwen2--autumn-leaves--seed42"
    assert found.repeat == (f"repro-gate check --device cuda --suite embedded --only {only}")


@pytest.mark.parametrize("word", ["--x; rm -rf ~", "--X", "--", "--a=b", "--a\n"])
def test_text_that_looks_like_an_option_is_quoted(
    gate_report: Build, cell_report: Found, word: str
) -> None:
    """Any word of a report is one word of a command."""
    report = gate_report(cell_report(UNRECORDED), repeat_with=(word,))
    (found,) = token_findings(report)

    assert found.command is not None
    assert found.command.startswith(f"repro-gate update-snapshots {quoted(word)} --suite ")


def test_inconclusive_findings_are_last(rich_report: GateReport) -> None:
    """Failures come first."""
    assert [found.word for found in token_findings(rich_report)] == [
        "nondeterministic",
        "drift",
        "drift",
        "depends",
        "unrecorded",
        "vacuous",
        "orphaned",
        "inconclusive",
    ]


def test_a_failed_control_is_a_finding_unless_a_vacuous_cell_shows_it(
    gate_report: Build, cell_report: Found, cell: Callable[..., Cell]
) -> None:
    """If no golden matched, no cell is vacuous."""
    controls = tuple(control_of(cell(), factor=factor) for factor in Factor)
    vacuous = cell_report(Vacuous(factor=Factor.SEED), cell(seed=2))
    report = gate_report(vacuous, controls=controls, repeat_with=("--device", "cuda"))

    _, control = token_findings(report)
    assert control == Finding(
        word="control",
        ids=(one_line("tiny-qwen2--autumn-leaves--seed42 with another prompt"),),
        description=Description(
            claim="no other prompt changes the output of this model",
            advice="Check the model file and the engine: the output must depend on the prompt.",
        ),
        repeat="repro-gate check --device cuda",
    )


def test_command_accepts_one_cell(gate_report: Build, cell_report: Found) -> None:
    """The command selects the cell and its suite."""
    (found,) = token_findings(gate_report(cell_report(UNRECORDED)))

    only = "tiny-qwen2--autumn-leaves--seed42"
    assert found.command == f"repro-gate update-snapshots --suite embedded --only {only}"


def test_command_accepts_cells_by_a_pattern(
    gate_report: Build, cell_report: Found, cell: Callable[..., Cell]
) -> None:
    """The pattern may match other cells that need no update."""
    cells = [cell_report(UNRECORDED, cell(seed=seed)) for seed in (11, 12)]
    (found,) = token_findings(gate_report(*cells, cell_report(Match(), cell(seed=13))))

    assert found.command == (
        "repro-gate update-snapshots --suite embedded --only 'tiny-qwen2--autumn-leaves--seed1*'"
    )


def test_command_accepts_nothing_else(
    gate_report: Build, cell_report: Found, cell: Callable[..., Cell]
) -> None:
    """No pattern is offered that would also accept another finding."""
    cells = [cell_report(UNRECORDED, cell(seed=seed)) for seed in (11, 12)]
    vacuous = cell_report(Vacuous(factor=Factor.SEED), cell(seed=13))
    found = token_findings(gate_report(*cells, vacuous))

    assert [each.command for each in found] == [
        "repro-gate update-snapshots --suite embedded --only ID  # for each of these ids",
        None,
    ]


def test_command_prunes_orphans(gate_report: Build, orphan: Callable[[str], CellReport]) -> None:
    """The file name of an orphan never becomes part of a command."""
    (found,) = token_findings(gate_report(orphan("x'; rm -rf ~; '")))

    assert found.command == "repro-gate update-snapshots --prune"


def test_what_cannot_be_accepted_has_no_command(gate_report: Build, cell_report: Found) -> None:
    """Cells that were not measured cannot be accepted."""
    (found,) = token_findings(
        gate_report(cell_report(Inconclusive(reason="no device", remedy=None)))
    )

    assert found.command is None


def test_no_command_is_offered_that_would_be_refused(
    gate_report: Build,
    drift: Found,
    cell: Callable[..., Cell],
    generation: Callable[..., Generation],
) -> None:
    """Nothing is recorded of a model that ignores its seed, not even a drift."""
    cells = [drift(generation("a b"), generation(f"a {n}"), cell(seed=n)) for n in (1, 2)]
    sound, doubted = gate_report(*cells), gate_report(*cells, controls=(control_of(cell()),))

    assert [found.command is None for found in token_findings(sound)] == [False, False]
    assert [found.command for found in token_findings(doubted)] == [None, None, None]
    assert accept_all_command(doubted) == "repro-gate update-snapshots"


def test_the_option_of_one_cell_is_no_pattern() -> None:
    """Special characters in an id match themselves only."""
    ids = ("a*", "a?", "a[bc]", "ab", "abc")
    patterns = [shlex.split(only([each], sorted(ids)))[-1] for each in ids]

    assert [[each for each in ids if fnmatchcase(each, pattern)] for pattern in patterns] == [
        [each] for each in ids
    ]


@pytest.mark.parametrize(
    ("others", "pattern"),
    [
        (("a[x", "b"), "'a[[]*'"),
        (("a[x", "a[3"), None),
        (("a[x", "a[0"), None),
        (("a[0", "a[x", "a[9"), None),
    ],
)
def test_the_pattern_of_several_cells_selects_no_other(
    others: tuple[str, ...], pattern: str | None
) -> None:
    """Other ids may sort before, between or after them."""
    selected = only(["a[1", "a[5", "a[x"], sorted({"a[1", "a[5", *others}))

    assert selected == f"--only {pattern or 'ID  # for each of these ids'}"


@pytest.mark.parametrize(
    ("ids", "pattern"),
    [
        (("m--a--seed1", "m--b--seed1"), "'m--*--seed1'"),
        (("base--moon", "clone--moon"), "'*e--moon'"),
        (("m--a--seed4", "m--a--seed44"), "'m--a--seed4*'"),
        (("m--a--seed1", "m--a--seed23"), "'m--a--seed*'"),
    ],
)
def test_the_pattern_of_several_cells_has_their_common_end(
    ids: tuple[str, ...], pattern: str
) -> None:
    """After `check --only '*--seed1'` the command accepts no cell of another seed."""
    assert only(ids, ids) == f"--only {pattern}"


def test_the_end_of_a_pattern_excludes_neighbours() -> None:
    """Cells with the same start and another end stay as they are."""
    ids = ("m--a--seed1", "m--b--seed1")

    assert only(ids, sorted({*ids, "m--a--seed2"})) == "--only 'm--*--seed1'"
    assert only(ids, sorted({*ids, "m--c--seed1"})) == "--only ID  # for each of these ids"


def test_a_pattern_with_too_many_neighbours_is_not_tried() -> None:
    """The time for a finding is bounded, however many cells the suite has."""
    ids = ("m--a--seed1", "m--b--seed1")
    others = sorted({*ids, *(f"m--a--seed{number}0" for number in range(1100))})

    assert only(ids, others) == "--only ID  # for each of these ids"


@given(st.sets(st.text("ab-1", min_size=1, max_size=6), min_size=2, max_size=6), st.data())
def test_a_pattern_selects_its_cells_and_no_others(ids: set[str], data: st.DataObject) -> None:
    """Whatever the ids are."""
    mine = sorted(data.draw(st.sets(st.sampled_from(sorted(ids)), min_size=2)))

    pattern = pattern_of(mine, sorted(ids))

    if pattern is not None:
        assert sorted(each for each in ids if fnmatchcase(each, pattern)) == mine


def test_an_option_quotes_its_id() -> None:
    """Any id is one word of the command."""
    assert only(["a'; b"], ()) == r"--only 'a'\''; b'"


def test_a_divergence_has_a_command(gate_report: Build, cell_report: Found) -> None:
    """It needs the matrix, and no device; without a divergence there is nothing to explain."""
    options = ("--device", "cuda", "--config", "a b")
    missing = cell_report(Unrecorded(reason="none"))
    report = gate_report(missing, *rich_report_of().cells, repeat_with=options)

    assert explain_command(report) == (
        "repro-gate explain --config 'a b' tiny-qwen2--autumn-leaves--seed123"
    )
    assert explain_command(gate_report(missing)) is None
