"""The token gate gives each cell its verdict."""

from dataclasses import replace

from repro_gate.core.engines import Ability
from repro_gate.core.outcome import ExitCode, exit_code_for
from repro_gate.core.tokens.generation import Divergence, Generation, Place, Stop
from repro_gate.core.tokens.golden import MODEL_SHA256, FactChange
from repro_gate.core.tokens.verdicts import Drift, FormerGolden, Match, Nondeterministic, Unrecorded
from tests.fakes.checking import recorded_for, report_on, scene_of, verdicts_of
from tests.fakes.engines import ScriptedStarter
from tests.fakes.stores import MemoryGoldens
from tests.fakes.values import (
    GREEDY,
    cell_of,
    generation_of,
    golden_of,
    provenance_of,
    tokens_of,
    trace_of,
)

A, B = cell_of("haiku"), cell_of("fox")
SAID = generation_of(5, 6, 7)


def test_cells_that_equal_their_goldens_match() -> None:
    """Identical runs that equal the golden are a pass."""
    report = scene_of(A, B).check()

    assert verdicts_of(report) == {A.id: Match(), B.id: Match()}
    assert exit_code_for(report) == ExitCode.PASSED


def test_a_run_that_differs_is_nondeterministic() -> None:
    """The verdict names the run, the place and both tokens."""
    starter = ScriptedStarter(script={A: [SAID, SAID, generation_of(5, 9, 7), SAID]})
    report = scene_of(A, runs=5, starter=starter, goldens=MemoryGoldens([golden_of(A, SAID)]))

    assert verdicts_of(report.check()) == {
        A.id: Nondeterministic(
            run=3,
            in_fresh_process=False,
            divergence=Divergence(
                place=Place.OUTPUT,
                position=1,
                expected=tokens_of(6)[0],
                observed=tokens_of(9)[0],
            ),
        )
    }


def test_a_difference_in_a_fresh_process_is_marked() -> None:
    """It points to state that a process carries along."""
    starter = ScriptedStarter(script={A: [SAID, SAID, generation_of(5, 6)]})
    report = scene_of(A, starter=starter, goldens=MemoryGoldens([golden_of(A, SAID)]))

    assert verdicts_of(report.check()) == {
        A.id: Nondeterministic(
            run=3,
            in_fresh_process=True,
            divergence=Divergence(
                place=Place.OUTPUT, position=2, expected=tokens_of(7)[0], observed=None
            ),
        )
    }


def test_a_fresh_process_of_a_remote_engine_is_only_a_fresh_client() -> None:
    """Its server was not restarted, so that nothing points to the state of a process."""
    starter = ScriptedStarter(
        script={A: [SAID, SAID, generation_of(5, 9)]}, can=frozenset({Ability.REMOTE})
    )
    report = scene_of(A, starter=starter, goldens=MemoryGoldens([golden_of(A, SAID)])).check()

    (verdict,) = verdicts_of(report).values()
    assert isinstance(verdict, Nondeterministic)
    assert (verdict.in_fresh_process, verdict.in_fresh_client) == (False, True)
    assert report.engines[0].can == {Ability.REMOTE}


def test_a_model_of_unknown_digest_is_measured() -> None:
    """Its provenance lacks the digest, and nothing else."""
    starter = ScriptedStarter(digest=lambda _: None, can=frozenset({Ability.REMOTE}))
    report = scene_of(A, starter=starter).check()

    assert verdicts_of(report) == {A.id: Match()}
    assert MODEL_SHA256 not in report.models["tiny"]


def test_a_machine_that_contradicts_itself_is_never_measured_against_the_golden() -> None:
    """Runs that differ are nondeterministic even where the last ones equal the golden."""
    starter = ScriptedStarter(script={A: [generation_of(9), SAID]})
    report = scene_of(A, starter=starter, goldens=MemoryGoldens([golden_of(A, SAID)]))

    assert isinstance(verdicts_of(report.check())[A.id], Nondeterministic)


def _divergence_from(golden: Generation, observed: Generation) -> Divergence:
    recorded = golden_of(A, golden)
    starter = ScriptedStarter(script={A: [observed]})
    verdict = verdicts_of(scene_of(A, starter=starter, goldens=MemoryGoldens([recorded])).check())[
        A.id
    ]
    assert isinstance(verdict, Drift)
    assert verdict == Drift(divergence=verdict.divergence, golden=recorded, provenance=())
    return verdict.divergence


def test_drift_is_where_the_golden_is_first_left() -> None:
    """Runs that agree with each other, but not with the golden, drift."""
    assert _divergence_from(SAID, generation_of(5, 8, 9)) == Divergence(
        place=Place.OUTPUT, position=1, expected=tokens_of(6)[0], observed=tokens_of(8)[0]
    )


def test_a_golden_that_continues_is_drift_at_the_end_of_the_output() -> None:
    """A generation that stops early drifts where its tokens end."""
    assert _divergence_from(SAID, generation_of(5, 6)) == Divergence(
        place=Place.OUTPUT, position=2, expected=tokens_of(7)[0], observed=None
    )


def test_an_output_that_continues_is_drift_at_the_end_of_the_golden() -> None:
    """A generation that does not stop drifts where the tokens of the golden end."""
    assert _divergence_from(SAID, generation_of(5, 6, 7, 8)) == Divergence(
        place=Place.OUTPUT, position=3, expected=None, observed=tokens_of(8)[0]
    )


def test_silence_is_drift_from_its_first_token() -> None:
    """A generation without tokens is shorter than its golden."""
    silence = generation_of(stop=Stop.END_OF_GENERATION)

    assert _divergence_from(SAID, silence) == Divergence(
        place=Place.OUTPUT, position=0, expected=tokens_of(5)[0], observed=None
    )


def test_other_prompt_tokens_are_drift_of_the_prompt() -> None:
    """A tokenizer that moved is drift, even when the output is still the same."""
    assert _divergence_from(SAID, generation_of(5, 6, 7, prompt=(1, 2, 3))) == Divergence(
        place=Place.PROMPT, position=2, expected=None, observed=tokens_of(3)[0]
    )


def test_drift_names_what_changed_since_the_recording() -> None:
    """The provenance of engine and model is compared with the golden's."""
    old = {**provenance_of("tiny"), "device.name": "OLD", "model.sha256": "0" * 64}
    golden = golden_of(A, SAID, provenance=old)
    verdict = verdicts_of(scene_of(A, goldens=MemoryGoldens([golden])).check())[A.id]

    now = provenance_of("tiny")
    assert isinstance(verdict, Drift)
    assert verdict.provenance == (
        FactChange(name="model.sha256", before="0" * 64, after=now["model.sha256"]),
        FactChange(name="device.name", before="OLD", after="TEST"),
    )


def test_a_greedy_prompt_matches_at_every_seed() -> None:
    """At temperature 0 equal answers to different seeds are as it must be."""
    cells = [cell_of(prompt, seed=s, sampler=GREEDY) for prompt in ("haiku", "fox") for s in (1, 2)]

    assert set(verdicts_of(scene_of(*cells).check()).values()) == {Match()}


def test_a_cell_without_a_golden_is_unrecorded() -> None:
    """A new cell is a finding until its golden is committed, and others are not touched by it."""
    report = scene_of(A, B, goldens=MemoryGoldens(recorded_for(B))).check()

    assert verdicts_of(report) == {
        A.id: Unrecorded(reason="there is no golden for this profile"),
        B.id: Match(),
    }
    assert exit_code_for(report) == ExitCode.FINDINGS


def test_a_changed_definition_is_unrecorded_with_a_reason() -> None:
    """Other tokens are expected, so it is not drift."""
    golden = golden_of(replace(A, max_tokens=9), golden_of(A).generation)
    report = scene_of(A, goldens=MemoryGoldens([golden])).check()

    changed = FactChange(name="max_tokens", before="9", after=str(A.max_tokens))
    assert verdicts_of(report) == {
        A.id: Unrecorded(
            reason="the golden is for another definition of the cell: max_tokens was 9",
            former=FormerGolden(divergence=None, changes=(changed,)),
        )
    }


def test_a_report_carries_the_first_run_and_its_evidence() -> None:
    """The output of a cell can be shown and recorded without running it again."""
    report = scene_of(A, B, runs=4).check()
    found = report_on(report, B)

    expected = golden_of(B).generation
    assert found.generation == replace(expected, trace=trace_of(expected.tokens))
    assert (found.suite, found.runs, found.profile, found.provenance) == (
        "quick",
        4,
        "cpu-test",
        0,
    )
    assert report.provenances == (provenance_of("tiny"),)
