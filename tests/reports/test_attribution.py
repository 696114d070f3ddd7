"""What experiments show of a cause, for a terminal."""

from dataclasses import replace

import pytest
from syrupy.assertion import SnapshotAssertion

from repro_gate.core.attribution import AS_RECORDED, TOGETHER, Attribution, Likeness
from repro_gate.core.axes import Effect, Experiment, Finding, NotTried, cell_effect
from repro_gate.core.tokens.generation import Choice, Generation
from repro_gate.core.tokens.golden import FactChange
from repro_gate.core.tokens.verdicts import Match
from repro_gate.reports.attribution import render_attribution, render_no_attribution
from tests.fakes.reports import DIFFERENCE, ran
from tests.fakes.setting_engines import model_of
from tests.fakes.values import cell_of, generation_of

CELL = cell_of()
GOLDEN = generation_of(7, 8, 9, is_traced=True)
OTHER = generation_of(7, 5, 9, is_traced=True)
_MOVED = Choice(logprob=-0.6, best=GOLDEN.trace[0].best)
MOVED = replace(GOLDEN, trace=(_MOVED, *GOLDEN.trace[1:]))


def effect_of(axis: str, value: str, now: Generation) -> Effect:
    """Return the effect of a change."""
    return Effect(
        experiment=Experiment(axis=axis, value=value, model=model_of()),
        cells=(cell_effect(CELL, OTHER, now, ()),),
    )


FOUND = Attribution(
    cell=CELL,
    golden=GOLDEN,
    reproduces=True,
    unchanged=Likeness.OTHER,
    is_gone=False,
    machine=(),
    is_repeated=True,
    candidates=(
        effect_of("kv_type", "f32", GOLDEN),
        effect_of("flash_attention", "\x1b[31mfalse", OTHER),
        effect_of(TOGETHER, AS_RECORDED, MOVED),
        NotTried(axis="library", value="libllama.so", reason="not \x1b here"),
    ),
    axes=(effect_of("threads", "2", replace(GOLDEN, trace=())),),
)


def _with_definition(finding: Finding) -> Effect:
    assert isinstance(finding, Effect)
    return replace(finding, experiment=replace(finding.experiment, cell=CELL))


def test_the_cause_and_what_it_is_not(snapshot: SnapshotAssertion) -> None:
    """In lines of at most 100 columns, with untrusted texts escaped."""
    text = render_attribution(FOUND)

    assert max(map(len, text.splitlines())) <= 100
    assert text == snapshot


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (replace(FOUND, candidates=FOUND.candidates[1:2], axes=()), "not found: no change that"),
        (
            replace(FOUND, candidates=FOUND.candidates[2:], axes=()),
            "perhaps all changed settings as recorded: together they give the golden's tokens,",
        ),
        (
            replace(FOUND, candidates=(_with_definition(FOUND.candidates[0]),), axes=()),
            "kv_type f32 (as recorded) with the recorded definition: together they give the",
        ),
        (replace(FOUND, candidates=()), "perhaps threads 2: alone it gives the golden's tokens;"),
        (
            replace(FOUND, unchanged=Likeness.TOKENS, is_gone=True, candidates=(), axes=()),
            "not here: with the matrix as it is, this machine gives the golden's tokens",
        ),
        (replace(FOUND, is_repeated=False), "not known: runs with the same settings differ"),
        (
            replace(FOUND, unchanged=Likeness.TOKENS, candidates=(), axes=()),
            "not found: no change that was tried gives the golden's logits",
        ),
        (replace(FOUND, interrupted=True), "Interrupted: the rest was not tried."),
    ],
)
def test_the_conclusion(found: Attribution, expected: str) -> None:
    """It is no stronger than what was seen."""
    assert expected in " ".join(render_attribution(found).split())


def test_another_machine_is_shown_with_its_differences() -> None:
    """As the cause of the check may be another one."""
    changes = tuple(FactChange(name=f"host.{n}", before="a", after="\x1b") for n in range(9))
    text = render_attribution(replace(FOUND, reproduces=False, machine=changes))

    assert "gives neither the tokens of the report nor the golden's" in text
    assert text.count("  differs    host.") == 5
    assert "\x1b" not in text


def test_without_a_golden_there_is_no_experiment() -> None:
    """The reason depends on the verdict."""
    unstable = render_no_attribution(ran(CELL, DIFFERENCE))

    assert render_no_attribution(ran(CELL, Match())).endswith("no divergence from a golden\n")
    assert unstable.endswith("runs with the same settings differ, so no setting is the cause\n")
