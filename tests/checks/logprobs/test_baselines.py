"""Which cells are compared with which baselines, decided before the first paid draw."""

from dataclasses import replace
from typing import Any

import pytest

from repro_gate.checks.logprobs.preflight import run_preflight
from repro_gate.core.logprobs.policy import LogprobCell, LogprobKind, LogprobSuite, Tolerance
from repro_gate.core.logprobs.verdicts import Agrees, Equivalence
from repro_gate.core.tokens.verdicts import Orphan, Unrecorded
from repro_gate.errors import InputInvalid
from tests.fakes.gating import LogprobScene, logprob_verdicts_of, recorded_scene
from tests.fakes.scoring import NOW, SOURCE, NoisyScorer, policy_of, suite_of_logprobs

CELL = "base--item-0"
IDENTICAL = Agrees(equivalence=Equivalence.IDENTICAL)


def _scene(items: int = 2) -> LogprobScene:
    return recorded_scene(NoisyScorer(), suite_of_logprobs(items=items))


def _with_policy(suite: LogprobSuite, **changes: Any) -> LogprobSuite:
    """Return the suite with another policy of the same name."""
    cells = tuple(
        LogprobCell(policy=replace(cell.policy, **changes), item=cell.item) for cell in suite.cells
    )
    return replace(suite, cells=cells)


def _with_item(suite: LogprobSuite, **changes: str) -> LogprobSuite:
    """Return the suite with other items of the same names."""
    cells = tuple(
        LogprobCell(policy=cell.policy, item=replace(cell.item, **changes)) for cell in suite.cells
    )
    return replace(suite, cells=cells)


def test_a_cell_without_a_baseline_is_unrecorded() -> None:
    """It is not drawn; the others are."""
    scene = _scene()
    scene.baselines.remove(SOURCE, CELL)

    assert logprob_verdicts_of(scene.check()) == {
        CELL: Unrecorded(reason="there is no baseline"),
        "base--item-1": IDENTICAL,
    }
    assert scene.scorer.asked_of(CELL) == 0


@pytest.mark.parametrize(
    ("changes", "was"),
    [
        ({"model": "other"}, "model was accounts/test/models/tiny"),
        ({"system": "Be kind."}, "system was "),
        ({"template": "Q: {prompt}"}, "template was {prompt}"),
        ({"temperature": 0.0}, "temperature was 0.7"),
        ({"logprobs": LogprobKind.SAMPLING}, "logprobs was raw"),
    ],
)
def test_another_policy_of_the_same_name_is_unrecorded(changes: dict[str, Any], was: str) -> None:
    """A baseline is never silently compared with a different policy."""
    scene = _scene(items=1)
    scene.suite = _with_policy(scene.suite, **changes)

    reason = f"the baseline is for another definition of the cell: {was}"
    assert logprob_verdicts_of(scene.check()) == {CELL: Unrecorded(reason=reason)}
    assert scene.scorer.asked == []


@pytest.mark.parametrize(
    ("changes", "was"),
    [({"prompt": "other"}, "prompt was Say item-0"), ({"response": "x"}, "response was  item-0")],
)
def test_another_item_of_the_same_name_is_unrecorded(changes: dict[str, str], was: str) -> None:
    """The numbers belong to a prompt and a response."""
    scene = _scene(items=1)
    scene.suite = _with_item(scene.suite, **changes)

    reason = f"the baseline is for another definition of the cell: {was}"
    assert logprob_verdicts_of(scene.check()) == {CELL: Unrecorded(reason=reason)}


def test_every_change_is_named() -> None:
    """In one line, and in a fixed order."""
    scene = _scene(items=1)
    scene.suite = _with_policy(scene.suite, temperature=0.0, system="Be kind.")
    (verdict,) = logprob_verdicts_of(scene.check()).values()

    assert isinstance(verdict, Unrecorded)
    assert verdict.reason.endswith("cell: system was ; temperature was 0.7")


def test_a_baseline_of_too_few_draws_is_unrecorded() -> None:
    """No shift could be significant against it, so its cell could never fail."""
    scene = _scene(items=1)
    scene.suite = replace(scene.suite, tolerance=Tolerance(calibration_draws=20))

    reason = "the baseline is for another definition of the cell: calibration_draws was 10"
    assert logprob_verdicts_of(scene.check()) == {CELL: Unrecorded(reason=reason)}


def test_a_baseline_with_more_draws_is_accepted() -> None:
    """It is more precise."""
    scene = _scene(items=1)
    scene.suite = replace(scene.suite, tolerance=Tolerance(calibration_draws=8))

    assert logprob_verdicts_of(scene.check()) == {CELL: IDENTICAL}


def test_a_baseline_that_no_cell_claims_is_orphaned() -> None:
    """It is reported with its source."""
    scene = _scene(items=3)
    scene.suite = replace(scene.suite, cells=scene.suite.cells[1:])

    assert scene.check().orphans == (Orphan(id=CELL, origin=SOURCE),)


def test_a_selection_orphans_nothing() -> None:
    """Cells that were not selected are still cells of the matrix."""
    scene = _scene(items=3)
    scene.only = "*item-1"

    assert logprob_verdicts_of(scene.check()) == {"base--item-1": IDENTICAL}


def test_broken_baselines_are_named_together_before_any_draw() -> None:
    """All of them, so that they can be repaired at once."""
    scene = _scene(items=3)
    scene.baselines.broken = {(SOURCE, CELL), (SOURCE, "base--item-2")}

    with pytest.raises(InputInvalid) as raised:
        scene.check()

    assert str(raised.value) == (
        "test-provider/base--item-0.json: expected JSON, found a tear\n"
        "test-provider/base--item-2.json: expected JSON, found a tear"
    )
    assert scene.scorer.asked == []


def test_the_preflight_counts_the_tokens_of_one_draw_of_each_cell() -> None:
    """Prompt and response tokens of the cells that can be compared."""
    scene = _scene(items=3)
    scene.baselines.remove(SOURCE, CELL)
    found = run_preflight(scene.plan, scorer=scene.scorer, baselines=scene.baselines)

    assert found.tokens == 2 * (3 + 40)
    assert [cell.id for cell in found.comparable] == ["base--item-1", "base--item-2"]


def _fingerprint(scene: LogprobScene) -> str:
    return run_preflight(scene.plan, scorer=scene.scorer, baselines=scene.baselines).fingerprint


def test_the_same_plan_has_the_same_fingerprint() -> None:
    """So an interrupted check can be resumed."""
    assert _fingerprint(_scene()) == _fingerprint(_scene())


def test_a_change_of_the_comparison_changes_the_fingerprint() -> None:
    """Draws of another plan, tolerance or baseline must not be reused."""
    plain, fewer, stricter, later, other = (_scene() for _ in range(5))
    fewer.only = "*item-0"
    stricter.suite = replace(stricter.suite, tolerance=Tolerance(floor_nats=0.2))
    kept = later.baselines.kept
    kept[SOURCE, CELL] = replace(kept[SOURCE, CELL], recorded_at=f"{NOW} or later")
    kept = other.baselines.kept
    kept[SOURCE, CELL] = replace(kept[SOURCE, CELL], draws=((-1.0,) * 40,) * 10)

    assert len({_fingerprint(one) for one in (plain, fewer, stricter, later, other)}) == 5


def test_two_policies_of_one_provider_share_its_source() -> None:
    """Orphans are counted once."""
    suite = suite_of_logprobs(policies=[policy_of("one"), policy_of("two")], items=1)
    scene = recorded_scene(NoisyScorer(), suite)
    scene.suite = replace(suite, cells=suite.cells[:2])
    scene.baselines.broken = {(SOURCE, "three--item-0")}

    report = scene.check()
    assert [cell.id for cell in report.cells] == ["one--item-0", "two--item-0"]
    assert report.orphans == (Orphan(id="three--item-0", origin=SOURCE),)
