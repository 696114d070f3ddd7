"""The modes of a suite."""

from pathlib import Path

import pytest

from repro_gate.core.matrix import Evidence, Suite
from repro_gate.core.tokens.modes import ALONE, RESTART, Level, Mode, ModeKind
from tests.adapters.matrix.test_reader import matrix_from, refusal_of

_NAMES = "a mode: alone, concurrent-N or mixed-N with N from 2 to 1024, after-prefix, repeat or"


def _with(keys: str) -> tuple[str, str]:
    return "[suites.quick]\n", f"[suites.quick]\n{keys}\n"


def _suite(folder: Path, keys: str, runs: int = 5) -> Suite:
    return matrix_from(folder, _with(keys), ("runs = 3", f"runs = {runs}")).suites["quick"]


def test_modes_are_read_in_the_order_in_which_they_are_measured(tmp_path: Path) -> None:
    """With their levels; `alone` is always one of them, at the level of the evidence."""
    suite = _suite(
        tmp_path,
        "modes = { restart = 'tokens', repeat = 'any', concurrent-8 = 'tokens', mixed-2 = 'any' }",
    )

    assert list(suite.modes.items()) == [
        (ALONE, Level.TOKENS),
        (Mode(ModeKind.CONCURRENT, 8), Level.TOKENS),
        (Mode(ModeKind.MIXED, 2), Level.ANY),
        (Mode(ModeKind.REPEAT), Level.ANY),
        (RESTART, Level.TOKENS),
    ]
    assert suite.evidence is Evidence.TOKENS


@pytest.mark.parametrize(
    "keys",
    [
        "modes = { alone = 'bits' }",
        "modes = { restart = 'bits' }",
        "modes = { repeat = 'any' }\nevidence = 'logits'",
    ],
)
def test_bits_are_evidence(tmp_path: Path, keys: str) -> None:
    """A mode to the bit makes the logits evidence, and the other way round."""
    suite = _suite(tmp_path, keys)

    assert (suite.evidence, suite.modes[ALONE]) == (Evidence.LOGITS, Level.BITS)


def test_a_restart_takes_the_fresh_runs(tmp_path: Path) -> None:
    """The runs in a fresh process are answers of the mode, and no longer runs of the suite."""
    modes = _suite(tmp_path, "modes = { restart = 'any' }\nfresh_runs = 2")
    none = _suite(tmp_path, "fresh_runs = 2")

    assert (modes.restarts, modes.repeated) == (2, 3)
    assert (none.restarts, none.repeated) == (0, 5)
    assert (modes.alone.runs, modes.alone.fresh_runs, modes.alone.modes) == (3, 0, {})
    assert none.alone == none


def test_two_runs_are_alone_by_default(tmp_path: Path) -> None:
    """With two runs none is in a fresh process, unless a mode asks for it."""
    suite = _suite(tmp_path, "modes = { repeat = 'any' }", runs=2)

    assert (suite.runs, suite.fresh_runs) == (2, 0)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("modes = {}", "modes: expected at least 1 entry, found 0"),
        ("modes = { crowd-8 = 'any' }", f"modes: expected {_NAMES}"),
        ("modes = { concurrent = 'any' }", f"modes: expected {_NAMES}"),
        ("modes = { concurrent-1 = 'any' }", f"modes: expected {_NAMES}"),
        ("modes = { concurrent-08 = 'any' }", f"modes: expected {_NAMES}"),
        ("modes = { mixed-1025 = 'any' }", f"modes: expected {_NAMES}"),
        ("modes = { repeat-2 = 'any' }", f"modes: expected {_NAMES}"),
        ("modes = { repeat = 'all' }", "modes.repeat: expected one of bits, tokens, any, found"),
        ("modes = { repeat = true }", "modes.repeat: expected one of bits, tokens, any, found"),
        ("modes = ['repeat']", "modes: expected an object, found "),
        ("modes = { alone = 'any' }", "modes.alone: expected 'tokens', as the evidence and the "),
        (
            "modes = { alone = 'tokens', restart = 'bits' }",
            "modes.alone: expected 'bits', as the evidence and the other modes of the suite need",
        ),
        (
            "modes = { repeat = 'bits' }\nevidence = 'tokens'",
            "evidence: expected 'logits', as a mode has the level 'bits', found 'tokens'",
        ),
        (
            "modes = { alone = 'tokens' }\nevidence = 'logits'",
            "modes.alone: expected 'bits', as the evidence and the other modes of the suite need",
        ),
        (
            "kind = 'reference'\nagainst = 'cpu-a'\nmodes = { repeat = 'any' }",
            "modes: expected no such key",
        ),
        (
            "modes = { restart = 'any' }\nfresh_runs = 0",
            "fresh_runs: expected at least 1, for the mode restart, found 0",
        ),
        (
            "modes = { repeat = 'any' }\nfresh_runs = 4",
            "fresh_runs: expected at most 3 of the 5 runs, found 4",
        ),
    ],
)
def test_modes_that_cannot_be_are_refused(tmp_path: Path, keys: str, message: str) -> None:
    """With their place, what was expected and what was found."""
    found = refusal_of(tmp_path, _with(keys), ("runs = 3", "runs = 5"))

    assert found.startswith(f"suites.quick.{message}")


@pytest.mark.parametrize(("mode", "least"), [("repeat", 2), ("restart", 3)])
def test_too_few_runs_for_modes_are_refused(tmp_path: Path, mode: str, least: int) -> None:
    """Whether answers depend on a mode shows only where two runs alone agree."""
    few = ("runs = 3", f"runs = {least - 1}")
    found = refusal_of(tmp_path, _with(f"modes = {{ {mode} = 'any' }}"), few)

    expected = f"at least {least} runs, as the suite has modes"
    assert found == f"suites.quick.runs: expected {expected}, found {least - 1}"
