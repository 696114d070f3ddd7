"""What is found in snapshots without measuring anything."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from repro_gate.checks.lint import Problem, ProblemKind, Snapshots, lint_code, problems_of
from repro_gate.core.logprobs.baseline import Baseline
from repro_gate.core.logprobs.policy import LogprobSuite, ProviderKind
from repro_gate.core.matrix import Evidence, Matrix
from repro_gate.core.outcome import ExitCode
from repro_gate.core.tokens.golden import Golden
from repro_gate.core.tokens.grade import FailingDrift
from repro_gate.core.watch.changes import definition_of
from repro_gate.core.watch.epoch import Watch
from tests.fakes.nights import watch_of, watched_cell_of
from tests.fakes.scoring import PROVIDER, SOURCE, baseline_of, policy_of, suite_of_logprobs
from tests.fakes.values import (
    PROFILE,
    cell_of,
    digest_of,
    golden_of,
    lora_of,
    matrix_of,
    reference_of,
    suite_of,
)

CELLS = tuple(cell_of(seed=seed) for seed in (1, 2))
PINS = {"tiny": digest_of("tiny")}


def _matrix(**changes: Any) -> Matrix:
    return replace(matrix_of(suite_of(*CELLS)), **changes)


def _golden_file(golden: Golden) -> Path:
    return Path(golden.profile, f"{golden.cell.id}.json")


def _snapshots(*goldens: Golden, **changes: Any) -> Snapshots:
    by_file = {_golden_file(golden): golden for golden in goldens or map(golden_of, CELLS)}
    return replace(Snapshots(goldens=by_file, pins=PINS), **changes)


def _problems(snapshots: Snapshots, matrix: Matrix | None = None) -> list[Problem]:
    files = {"file": Path("repro-gate.toml"), "pins": Path("models.json")}
    return list(problems_of(matrix or _matrix(), snapshots, **files))


def _found(snapshots: Snapshots, matrix: Matrix | None = None) -> list[tuple[str, str]]:
    return [(one.kind.value, one.message) for one in _problems(snapshots, matrix)]


def test_nothing_is_wrong_with_what_was_recorded() -> None:
    """Every cell has the golden of its definition, of the pinned file."""
    assert (_snapshots().size, _problems(_snapshots())) == (len(CELLS), [])


def test_a_golden_without_a_cell_is_orphaned() -> None:
    """Its cell was renamed or removed."""
    other = golden_of(cell_of("fox"))

    assert _found(_snapshots(*map(golden_of, CELLS), other)) == [
        (
            "orphaned",
            f"{_golden_file(other)}: expected a cell tiny--fox--seed42 in the matrix, found none",
        )
    ]


def test_a_golden_of_another_definition_is_stale() -> None:
    """The message has both definitions, and no more of a long one than needed."""
    other = replace(
        CELLS[0], text="x" * 99, max_tokens=5, sampler=replace(CELLS[0].sampler, top_k=1, min_p=0.0)
    )
    (problem,) = _problems(_snapshots(golden_of(other), golden_of(CELLS[1])))

    expected = "max_tokens 4, min_p 0.05, text Say haiku, 1 more"
    found = f"max_tokens 5, min_p 0.0, text {'x' * 60}..., 1 more"
    assert (
        problem.message
        == f"{_golden_file(golden_of(other))}: cell: expected {expected}, found {found}"
    )
    assert problem.remedy == f"repro-gate update-snapshots --only tiny--haiku--seed1, on {PROFILE}"


def test_a_fact_that_a_definition_lacks_is_not_set() -> None:
    """A stop string is new."""
    stopping = replace(CELLS[0], stop=("end",))
    (problem,) = _problems(_snapshots(golden_of(stopping), golden_of(CELLS[1])))

    assert problem.message.endswith('expected stop not set, found stop ["end"]')


def test_a_suite_that_compares_logits_needs_them_in_goldens() -> None:
    """Goldens of before that setting have tokens only."""
    exact = replace(suite_of(*CELLS), evidence=Evidence.LOGITS)
    found = _found(_snapshots(), replace(_matrix(), suites={"quick": exact}))

    assert [kind for kind, _ in found] == ["unrecorded", "unrecorded"]
    assert found[0][1].endswith(
        "logits: expected logits, which a suite compares, found tokens only"
    )


def test_a_cell_without_a_golden_is_unrecorded_where_others_have_one() -> None:
    """A machine that has no golden of the model is not asked for any."""
    fast = golden_of(CELLS[0], profile="gpu-test")
    other = golden_of(cell_of(model="big"), profile="server")
    matrix = matrix_of(suite_of(*CELLS), suite_of(other.cell, name="more"))
    pins = PINS | {"big": digest_of("big")}
    snapshots = _snapshots(*map(golden_of, CELLS), fast, other, pins=pins)

    expected = "expected a golden of each cell for gpu-test, found none of tiny--haiku--seed2"
    assert _found(snapshots, matrix) == [
        ("unrecorded", f"repro-gate.toml: suites.quick: {expected}")
    ]


def test_a_suite_that_was_never_recorded_is_a_finding_only_by_default() -> None:
    """Of any other suite it is a note."""
    matrix = matrix_of(suite_of(*CELLS), suite_of(cell_of("fox"), name="later"))
    problems = _problems(Snapshots(pins={}), matrix)

    assert [(each.kind, each.remedy) for each in problems] == [
        (ProblemKind.UNRECORDED, "repro-gate update-snapshots --suite quick"),
        (ProblemKind.NOTE, "repro-gate update-snapshots --suite later"),
    ]


def test_a_suite_against_a_profile_needs_its_goldens() -> None:
    """Those of other machines do not count."""
    against = replace(suite_of(*CELLS), against="gpu-test", fail_on=FailingDrift.BEYOND_ROUNDING)
    (found,) = _found(_snapshots(), replace(_matrix(), suites={"quick": against}))

    assert found[0] == "unrecorded"


def test_an_invalid_golden_is_not_missing() -> None:
    """It has a problem of its own already."""
    files = [_golden_file(golden_of(cell)) for cell in CELLS]

    assert _problems(_snapshots(goldens=dict.fromkeys(files))) == []


def test_default_suites_that_judge_a_cell_differently_are_invalid() -> None:
    """A check would refuse to run them together."""
    other = replace(suite_of(*CELLS, name="mild"), fail_on=FailingDrift.BEYOND_ROUNDING)
    matrix = replace(matrix_of(suite_of(*CELLS), other), default_suites=("quick", "mild"))

    ((kind, message),) = _found(_snapshots(), matrix)
    assert (kind, "judge tiny--haiku--seed1 differently" in message) == ("invalid", True)


def _hosted(**changes: Any) -> tuple[Matrix, LogprobSuite]:
    suite = replace(suite_of_logprobs(items=2), **changes)
    return _matrix(logprob_suites={"hosted": suite}, default_suites=("hosted",)), suite


def _baselines(suite: LogprobSuite, source: str = SOURCE) -> dict[Path, Baseline | None]:
    draws = [[-1.0, -2.0]] * suite.tolerance.calibration_draws
    return {
        Path(source, f"{cell.id}.json"): baseline_of(cell, draws, source=source)
        for cell in suite.cells
    }


def test_baselines_are_compared_with_the_matrix_too() -> None:
    """Every cell needs one of its definition, with enough draws."""
    matrix, suite = _hosted()
    (first, sound), (second, _) = _baselines(suite).items()
    assert sound is not None
    few = replace(sound, draws=sound.draws[:2], facts=sound.facts[:2])
    assert _problems(_snapshots(baselines=_baselines(suite)), matrix) == []

    found = _found(_snapshots(baselines={first: few, Path(SOURCE, "gone--x.json"): None}), matrix)

    draws = f"calibration_draws {suite.tolerance.calibration_draws}"
    lacking = f"expected a baseline of each cell for {SOURCE}, found none of {second.stem}"
    assert found == [
        ("stale", f"{first}: definition: expected {draws}, found calibration_draws 2"),
        ("orphaned", f"{SOURCE}/gone--x.json: expected a cell gone--x in the matrix, found none"),
        ("unrecorded", f"repro-gate.toml: suites.hosted: {lacking}"),
    ]


def test_a_baseline_of_another_provider_is_orphaned() -> None:
    """The policy was moved; a broken one of its own place has its own problem."""
    matrix, suite = _hosted()
    moved, broken = _baselines(suite, "elsewhere"), dict.fromkeys(_baselines(suite))

    found = _found(_snapshots(baselines={**broken, **moved}), matrix)

    assert [kind for kind, _ in found] == ["orphaned", "orphaned"]
    assert "expected a policy of elsewhere; base--item-0 is of" in found[0][1]


def test_local_policies_have_baselines_of_machines() -> None:
    """Any profile may have them."""
    local = replace(PROVIDER, kind=ProviderKind.LOCAL, base_url="", api_key_env=None)
    suite = suite_of_logprobs(policies=[policy_of(provider=local)], items=2)
    matrix = _matrix(logprob_suites={"hosted": suite})

    assert _problems(_snapshots(baselines=_baselines(suite, "cpu-any")), matrix) == []


def test_a_reference_that_grades_nothing_is_a_note() -> None:
    """Of another change, or of earlier goldens; an invalid one has its own problem."""
    goldens = [golden_of(cell) for cell in CELLS]
    sound = reference_of(*goldens)
    unknown = replace(sound, change={"setting.x": "1"})
    stale = reference_of(goldens[0])
    known = {Path("a.json"): unknown, Path("b.json"): stale, Path("c.json"): sound}
    snapshots = _snapshots(references={**known, Path("d.json"): None})

    found = _found(snapshots)

    assert [kind for kind, _ in found] == ["note", "note"]
    assert found[0][1].startswith("a.json: cells: expected the change variants.no-flash-attention")
    assert found[1][1].startswith("b.json: cells: expected the goldens as they are of tiny--haiku")


def test_a_watch_of_another_suite_is_found() -> None:
    """Orphaned without its suite, stale with a changed one; an invalid one has its own problem."""
    matrix, suite = _hosted()
    watched = {
        cell.id: watched_cell_of(cell.item.name, definition=definition_of(cell))
        for cell in suite.cells
    }
    sound = Watch(epoch=replace(watch_of().epoch, cells=watched))
    hosted, gone = Path("hosted.json"), Path("gone.json")

    def found(watches: dict[Path, Watch | None]) -> list[str]:
        snapshots = _snapshots(baselines=_baselines(suite), watches=watches)
        return [kind for kind, _ in _found(snapshots, matrix)]

    assert found({hosted: sound}) == []
    assert found({hosted: None}) == []
    assert found({gone: None, hosted: watch_of()}) == ["orphaned", "stale"]


def test_a_pin_of_no_model_or_another_digest_is_orphaned() -> None:
    """The digest of the matrix counts."""
    tiny = replace(_matrix().models["tiny"], sha256=digest_of("tiny"))
    pins = {"gone": "1" * 64, "tiny": "2" * 64}

    assert _found(_snapshots(pins=pins), _matrix(models={"tiny": tiny})) == [
        (
            "orphaned",
            "models.json: sha256.gone: expected the name of a model file of the matrix, found "
            + "1" * 64,
        ),
        ("orphaned", f"models.json: sha256.tiny: expected {digest_of('tiny')}, found {'2' * 64}"),
    ]


def test_goldens_of_another_file_than_the_pinned_one_are_found() -> None:
    """A pin that was changed by hand is stale, and one that was lost is missing."""
    (changed,) = _problems(_snapshots(pins={"tiny": "2" * 64}))
    (lost,) = _problems(_snapshots(pins={}))

    assert (changed.kind, lost.kind) == (ProblemKind.STALE, ProblemKind.UNRECORDED)
    assert changed.remedy == "restore the pin, or repro-gate update-snapshots --repin tiny"
    assert lost.remedy == f'add "tiny": "{digest_of("tiny")}"'


def test_an_adapter_has_a_pin_of_its_own() -> None:
    """A golden that does not know it claims nothing about it."""
    model = replace(_matrix().models["tiny"], lora=(lora_of(),))

    assert _problems(_snapshots(), _matrix(models={"tiny": model})) == []


def test_invalid_pins_are_not_compared() -> None:
    """They have their own problem."""
    assert _problems(_snapshots(pins=None)) == []


@pytest.mark.parametrize(
    ("kinds", "code"),
    [
        ([], ExitCode.PASSED),
        ([ProblemKind.NOTE], ExitCode.PASSED),
        ([ProblemKind.NOTE, ProblemKind.UNEXPECTED], ExitCode.FINDINGS),
        ([ProblemKind.STALE, ProblemKind.INVALID], ExitCode.INPUT_INVALID),
    ],
)
def test_an_invalid_file_is_worse_than_a_finding(kinds: list[ProblemKind], code: ExitCode) -> None:
    """And a note is no finding."""
    problems = [Problem(kind=kind, file=Path("x"), message="x") for kind in kinds]

    assert lint_code(problems) is code
