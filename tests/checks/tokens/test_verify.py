"""After a difference the gate asks how nearly the engine generates the other tokens."""

from repro_gate.core.outcome import ExitCode, exit_code_for
from repro_gate.core.tokens.verification import Verification
from repro_gate.ports import VerifyRequest
from tests.fakes.checking import scene_of
from tests.fakes.engines import Fault, ScriptedStarter
from tests.fakes.stores import MemoryGoldens
from tests.fakes.values import cell_of, generation_of, golden_of, verification_of

A, B = cell_of("haiku"), cell_of("fox")
GOLDEN, OBSERVED = generation_of(5, 6, 7), generation_of(5, 8, 9)


def _verified(asked: VerifyRequest) -> Verification:
    return verification_of(generation_of(*asked.tokens))


def test_the_tokens_of_a_golden_are_verified_after_a_drift() -> None:
    """All of them, and only of the cell that drifted."""
    starter = ScriptedStarter(
        script={A: [OBSERVED], B: [GOLDEN]}, verifier=_verified, concurrency=2
    )
    goldens = MemoryGoldens([golden_of(A, GOLDEN), golden_of(B, GOLDEN)])
    drifted, matching = scene_of(A, B, starter=starter, goldens=goldens).check().cells
    assert [token.id for token in drifted.verification] == [5, 6, 7]
    assert matching.verification == ()


def test_the_other_token_is_verified_after_runs_that_differ() -> None:
    """Of the other run only its first other token is known."""
    starter = ScriptedStarter(script={A: [GOLDEN, OBSERVED]}, verifier=_verified)
    goldens = MemoryGoldens([golden_of(A, GOLDEN)])
    (cell,) = scene_of(A, runs=5, starter=starter, goldens=goldens).check().cells
    assert [token.id for token in cell.verification] == [5, 8]


def test_a_difference_in_a_fresh_process_is_verified_there() -> None:
    """It was not known before."""
    starter = ScriptedStarter(script={A: [GOLDEN, GOLDEN, OBSERVED]}, verifier=_verified)
    goldens = MemoryGoldens([golden_of(A, GOLDEN)])
    (cell,) = scene_of(A, starter=starter, goldens=goldens).check().cells
    assert [token.id for token in cell.verification] == [5, 8]
    assert [asked.process for asked in starter.log if asked.what == "verify"] == [2]


def test_of_a_drift_whose_runs_differ_later_the_other_run_is_verified() -> None:
    """The tokens of the golden are another claim."""
    starter = ScriptedStarter(script={A: [OBSERVED, OBSERVED, GOLDEN]}, verifier=_verified)
    goldens = MemoryGoldens([golden_of(A, generation_of(1, 2, 3))])
    (cell,) = scene_of(A, starter=starter, goldens=goldens).check().cells
    assert [token.id for token in cell.verification] == [5, 6]


def test_a_drift_whose_prompts_differ_later_has_no_verification() -> None:
    """After another prompt the tokens are no claim."""
    other = generation_of(5, 8, 9, prompt=(4,))
    starter = ScriptedStarter(script={A: [OBSERVED, OBSERVED, other]}, verifier=_verified)
    goldens = MemoryGoldens([golden_of(A, GOLDEN)])
    (cell,) = scene_of(A, starter=starter, goldens=goldens).check().cells
    assert cell.verification == ()


def test_an_engine_that_cannot_verify_changes_nothing() -> None:
    """The drift is found all the same."""
    goldens = MemoryGoldens([golden_of(A, GOLDEN)])
    for faults in ((), (Fault(what="verify", about=A.id),)):
        verifier = _verified if faults else None
        starter = ScriptedStarter(script={A: [OBSERVED]}, verifier=verifier, faults=faults)
        report = scene_of(A, starter=starter, goldens=goldens).check()
        assert (report.cells[0].verification, exit_code_for(report)) == ((), ExitCode.FINDINGS)


def test_nothing_is_verified_without_a_difference() -> None:
    """A check that passes costs no more."""
    starter = ScriptedStarter(verifier=_verified)
    scene_of(A, B, starter=starter).check()
    assert not [asked for asked in starter.log if asked.what == "verify"]
