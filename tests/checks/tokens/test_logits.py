"""Suites with `evidence = "logits"` compare what each token was drawn from, to the bit."""

from dataclasses import replace

import pytest

from repro_gate.checks.tokens.record import ChangeKind, propose
from repro_gate.core.matrix import Evidence
from repro_gate.core.outcome import ExitCode, exit_code_for
from repro_gate.core.report import GateReport
from repro_gate.core.tokens.generation import Divergence, Generation, Place, Token
from repro_gate.core.tokens.golden import Golden
from repro_gate.core.tokens.verdicts import Drift, Match, Nondeterministic, Unrecorded
from tests.fakes.checking import Scene, scene_of, verdicts_of
from tests.fakes.engines import ScriptedStarter
from tests.fakes.stores import MemoryGoldens
from tests.fakes.values import (
    answer_to,
    cell_of,
    generation_of,
    golden_of,
    matrix_of,
    suite_of,
    verification_of,
    with_logits,
)

HAIKU, FOX = cell_of("haiku"), cell_of("fox")
RIGHT = generation_of(5, 6, 7, 8, logits="abcd")


def _scene(*golden: Golden, concurrency: int = 1, script: tuple[Generation, ...] = ()) -> Scene:
    suite = replace(suite_of(HAIKU, FOX), evidence=Evidence.LOGITS)
    starter = ScriptedStarter(
        concurrency=concurrency,
        script={HAIKU: script} if script else {},
        verifier=lambda asked: verification_of(generation_of(*asked.tokens)),
    )
    goldens = MemoryGoldens([*golden, golden_of(FOX, with_logits(answer_to(FOX)))])
    return scene_of(matrix=matrix_of(suite), starter=starter, goldens=goldens)


def _moved(report: GateReport) -> Divergence | None:
    verdict = verdicts_of(report)[HAIKU.id]
    return verdict.divergence if isinstance(verdict, Drift | Nondeterministic) else None


@pytest.mark.parametrize("concurrency", [1, 3])
def test_equal_logits_match(concurrency: int) -> None:
    """In every run, also beside others and in a fresh process."""
    scene = _scene(golden_of(HAIKU, with_logits(answer_to(HAIKU))), concurrency=concurrency)
    report = scene.check()

    assert set(verdicts_of(report).values()) == {Match()}
    assert [cell.generation and cell.generation.logits for cell in report.cells] == [
        with_logits(answer_to(cell)).logits for cell in (HAIKU, FOX)
    ]


def test_one_bit_of_one_logit_fails_the_check() -> None:
    """All tokens agree, in every run."""
    changed = generation_of(5, 6, 7, 8, logits="abed")
    report = _scene(golden_of(HAIKU, RIGHT), script=(changed,)).check()

    assert exit_code_for(report) is ExitCode.FINDINGS
    assert _moved(report) == Divergence(
        place=Place.LOGITS,
        position=2,
        expected=Token(2, b"c" * 16),
        observed=Token(2, b"e" * 16),
        logits_from=2,
    )


@pytest.mark.parametrize("run", [2, 3])
def test_a_bit_that_changes_from_run_to_run_is_nondeterminism(run: int) -> None:
    """Before any token flips; the last run is the one in a fresh process."""
    changed = generation_of(5, 6, 7, 8, logits="abce")
    script = tuple(changed if number == run else RIGHT for number in (1, 2, 3))
    report = _scene(golden_of(HAIKU, RIGHT), script=script).check()
    found = verdicts_of(report)[HAIKU.id]

    assert isinstance(found, Nondeterministic)
    assert (found.run, found.in_fresh_process) == (run, run == 3)
    assert (found.divergence.place, found.divergence.position) == (Place.LOGITS, 3)


def test_tokens_of_a_golden_without_logits_are_recorded_with_them() -> None:
    """They are no match, and an update adds the logits to the same tokens."""
    before = golden_of(HAIKU, answer_to(HAIKU))
    report = _scene(before).check()
    after = golden_of(HAIKU, with_logits(answer_to(HAIKU)))
    (change,) = propose([after], goldens=MemoryGoldens([before]), digests={}).changes

    assert isinstance(verdicts_of(report)[HAIKU.id], Unrecorded)
    assert change.kind is ChangeKind.UPDATED
    assert propose([before], goldens=MemoryGoldens([after]), digests={}).is_empty


def test_the_tokens_of_the_golden_are_verified_though_they_agree() -> None:
    """It shows how far the log-probabilities moved; of two runs no other token is known."""
    changed = generation_of(5, 6, 7, 8, logits="abed")
    drifted = _scene(golden_of(HAIKU, RIGHT), script=(changed,)).check().cells[0]
    unstable = _scene(golden_of(HAIKU, RIGHT), script=(RIGHT, changed)).check().cells[0]

    assert [token.id for token in drifted.verification] == [5, 6, 7, 8]
    assert unstable.verification == ()


def test_without_the_evidence_no_logits_are_asked_for() -> None:
    """A golden with them is compared by its tokens."""
    golden = golden_of(HAIKU, replace(with_logits(answer_to(HAIKU)), logits=("0" * 16,) * 4))
    (cell,) = scene_of(HAIKU, goldens=MemoryGoldens([golden])).check().cells

    assert cell.verdict == Match()
    assert cell.generation is not None
    assert cell.generation.logits == ()
