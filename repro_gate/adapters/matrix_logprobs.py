"""The suites of the matrix file whose log-probabilities are checked."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from repro_gate.adapters.documents import require_bounded, require_known
from repro_gate.adapters.matrix_policies import read_policies
from repro_gate.core.design import (
    CORRECTION,
    OUTLIERS_SHARE,
    SCREEN,
    can_alarm,
    cell_level,
    outlier_alarm_rate,
    smallest_p,
    sufficient_draws,
)
from repro_gate.core.models import ModelSpec
from repro_gate.core.policies import (
    Budget,
    Item,
    LogprobCell,
    LogprobSuite,
    Policy,
    Tolerance,
    WeightPlan,
)
from repro_gate.errors import InputInvalid


def is_logprob_suite(table: Mapping[str, Any]) -> bool:
    """Tell whether a table of [suites] is about log-probabilities; the others are of tokens."""
    return bool(table.get("kind") == "logprobs")


def read_logprob_suites(
    file: Path, document: Mapping[str, Any], models: Mapping[str, ModelSpec]
) -> Mapping[str, LogprobSuite]:
    """Return the suites of a document that its schema allows.

    Raises:
        InputInvalid: a suite or a policy names something that is not defined, or a suite could
            never find anything, or would find something too often.
    """
    policies = read_policies(file, document, models)
    items = {
        name: Item(name=name, prompt=table["prompt"], response=table["response"])
        for name, table in document.get("items", {}).items()
    }
    return {
        name: _suite(file, name, table, policies=policies, items=items)
        for name, table in document["suites"].items()
        if is_logprob_suite(table)
    }


def _suite(
    file: Path,
    name: str,
    table: Mapping[str, Any],
    *,
    policies: Mapping[str, Policy],
    items: Mapping[str, Item],
) -> LogprobSuite:
    place = f"suites.{name}"
    for policy in table["policies"]:
        require_known(file, f"{place}.policies", policy, policies)
    for item in table["items"]:
        require_known(file, f"{place}.items", item, items)
    require_bounded(file, place, len(table["policies"]) * len(table["items"]))
    cells = tuple(
        LogprobCell(policy=policies[policy], item=items[item])
        for policy in table["policies"]
        for item in table["items"]
    )
    tolerance = _tolerance(table)
    _require_power(file, place, tolerance, len(cells))
    _require_calm(file, place, tolerance, len(cells))
    mine = {policy: policies[policy] for policy in table["policies"]}
    return LogprobSuite(
        name=name,
        cells=cells,
        tolerance=tolerance,
        budget=Budget(**table.get("budget", {})),
        weights=_weights(file, f"{place}.weights", table.get("weights"), mine),
    )


def _tolerance(table: Mapping[str, Any]) -> Tolerance:
    usual = Tolerance()
    # What TOML writes as a whole number may be meant as a fraction.
    return Tolerance(
        **{
            field.name: type(getattr(usual, field.name))(table[field.name])
            for field in fields(Tolerance)
            if field.name in table
        }
    )


def _require_power(file: Path, place: str, tolerance: Tolerance, cells: int) -> None:
    """Raise `InputInvalid` for a suite that could never alarm."""
    if can_alarm(tolerance, cells):
        return
    enough = sufficient_draws(tolerance, cells)
    many = f"a cell of {cells}" if cells > 1 else "its only cell"
    expected = (
        "fewer cells, more calibration_draws or a larger false_alarm_rate, because with no "
        f"number of draws {many} could be found to drift"
        if enough is None
        else f"at least {enough} draws, so that {many} could be found to drift"
    )
    found = f"{tolerance.draws}, {_attainable(tolerance, cells)}"
    raise InputInvalid.at(file, f"{place}.draws", expected=expected, found=found)


def _attainable(tolerance: Tolerance, cells: int) -> str:
    calibration, draws = tolerance.calibration_draws, tolerance.draws
    one_look = smallest_p(calibration, draws)
    if one_look > SCREEN:
        return f"whose smallest p-value in one look is {one_look:.3g}, not at most {SCREEN}"
    both_looks, level = (
        CORRECTION * smallest_p(calibration, 2 * draws),
        cell_level(tolerance, cells),
    )
    return f"whose smallest p-value is {both_looks:.3g}, not at most {level:.3g}"


def _require_calm(file: Path, place: str, tolerance: Tolerance, cells: int) -> None:
    """Raise `InputInvalid` for a suite whose outlier rule alone alarms too often."""
    allowed = OUTLIERS_SHARE * tolerance.false_alarm_rate
    rate = outlier_alarm_rate(tolerance, cells)
    if rate > allowed:
        raise InputInvalid.at(
            file,
            f"{place}.outlier_factor",
            expected=(
                f"a larger one, or a larger max_outlier_rate, so that outliers are a finding in "
                f"at most {allowed:.3g} of the checks in which nothing has changed"
            ),
            found=f"{tolerance.outlier_factor:g}, with which they are in {rate:.3g} of them",
        )


def _weights(
    file: Path, place: str, table: Mapping[str, Any] | None, policies: Mapping[str, Policy]
) -> WeightPlan | None:
    if table is None:
        return None
    base = policies[require_known(file, f"{place}.base", table["base"], policies)]
    for policy in policies.values():
        if policy.logprobs is not base.logprobs:
            expected = f"policies of {base.logprobs.value} log-probabilities, as {base.name!r} is"
            found = f"{policy.name!r} of {policy.logprobs.value} ones"
            raise InputInvalid.at(file, place, expected=expected, found=found)
    targets = [name for name in policies if name != base.name]
    return WeightPlan(
        base=base.name,
        clones=_targets(file, f"{place}.clones", table.get("clones", ()), targets),
        must_be_usable=_targets(
            file, f"{place}.must_be_usable", table.get("must_be_usable", ()), targets
        ),
    )


def _targets(
    file: Path, place: str, names: Sequence[str], targets: Sequence[str]
) -> tuple[str, ...]:
    return tuple(require_known(file, place, name, targets) for name in names)
