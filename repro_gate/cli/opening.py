"""The part of the wiring that comes first: the matrix is read and its engines are started.

An engine needs a third of a second to load its libraries. It does so while the gate imports the
rest of itself, so nothing slow may be imported here.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from repro_gate.adapters.engines import EngineProcesses
from repro_gate.adapters.matrix_file import read_matrix
from repro_gate.core.matrix import DEFAULT_MATRIX_FILE, Matrix, Plan, plan
from repro_gate.core.models import EngineSpec, ModelSpec
from repro_gate.core.policies import LogprobPlan, LogprobSuite, Policy, plan_logprobs
from repro_gate.core.report import EngineReport
from repro_gate.errors import MeasurementUnavailable, UsageInvalid
from repro_gate.ports import EngineStarter

_DEVICE = re.compile(r"cpu|cuda(:[0-9]{1,2})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What part of which matrix is meant, and where it runs."""

    config: Path
    suites: tuple[str, ...] = ()
    only: str | None = None
    runs: int | None = None
    device: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A matrix that has been read, and the engines that are starting for it."""

    selection: Selection
    matrix: Matrix
    engines: EngineProcesses

    @property
    def options(self) -> tuple[str, ...]:
        """What another command needs to mean the same matrix on the same device."""
        chosen = self.selection
        config = () if chosen.config == DEFAULT_MATRIX_FILE else ("--config", str(chosen.config))
        device = () if chosen.device is None else ("--device", chosen.device)
        return (*config, *device)

    def plan(self) -> Plan:
        """Return what the selection means of tokens; raises when it means nothing at all."""
        chosen = self.selection
        planned = plan(self.matrix, suites=chosen.suites, only=chosen.only, runs=chosen.runs)
        if not planned.cells and not self.logprob_plans():
            raise MeasurementUnavailable(
                f"nothing was checked: no cell matches --only {chosen.only!r}",
                remedy=self._other_cells(),
            )
        return planned

    def logprob_plans(self) -> tuple[LogprobPlan, ...]:
        """Return what the selection means of log-probabilities, suite by suite."""
        names = self.selection.suites or self.matrix.default_suites
        return plan_logprobs(self.matrix.logprob_suites, names=names, only=self.selection.only)

    def selects_any(self) -> bool:
        """Tell whether any cell of tokens is selected."""
        chosen = self.selection
        return bool(plan(self.matrix, suites=chosen.suites, only=chosen.only).cells)

    def _other_cells(self) -> str:
        """Return what to ask for instead of a pattern that no selected cell matches."""
        chosen = self.selection
        for name in (*self.matrix.suites, *self.matrix.logprob_suites):
            if _cell_ids(self.matrix, (name,), chosen.only):
                return f"--suite {name}, which has such cells"
        first = _cell_ids(self.matrix, chosen.suites or self.matrix.default_suites, None)[0]
        return f"--only {first!r}, or a pattern such as '{first.partition('--')[0]}--*'"


def open_matrix(selection: Selection) -> Opening:
    """Read the matrix of a selection, with every engine on its device when it names one.

    Raises:
        InputInvalid: the matrix is broken.
        UsageInvalid: there is no such device.
    """
    matrix = read_matrix(selection.config)
    if selection.device is not None:
        if not _DEVICE.fullmatch(selection.device):
            raise UsageInvalid(f"a device is cpu, cuda or cuda:N, not {selection.device!r}")
        matrix = _on_device(matrix, selection.device)
    folder = selection.config.parent
    return Opening(selection=selection, matrix=matrix, engines=EngineProcesses(folder))


def open_and_start(selection: Selection) -> Opening:
    """Do the same, and start the engines that the selection will ask first."""
    opening = open_matrix(selection)
    models = [*opening.plan().models.values()]
    for planned in opening.logprob_plans():
        models += [policy.local_model for policy in planned.policies if policy.local_model]
    for model in models:
        opening.engines.start_early(model.engine)
    return opening


def describe_engine(engines: EngineStarter, spec: EngineSpec) -> EngineReport:
    """Return what an engine says of itself; raises `MeasurementUnavailable`."""
    engine = engines.start(spec)
    try:
        return engine.describe()
    finally:
        engine.close()


def _cell_ids(matrix: Matrix, suites: Sequence[str], only: str | None) -> list[str]:
    logprob_plans = plan_logprobs(matrix.logprob_suites, names=suites, only=only)
    return [
        *(cell.id for cell in plan(matrix, suites=suites, only=only).cells),
        *(cell.id for planned in logprob_plans for cell in planned.cells),
    ]


def _on_device(matrix: Matrix, device: str) -> Matrix:
    models = {
        name: replace(model, engine=replace(model.engine, device=device))
        for name, model in matrix.models.items()
    }
    suites = {name: _suite_on(suite, models) for name, suite in matrix.logprob_suites.items()}
    return replace(matrix, models=models, logprob_suites=suites)


def _suite_on(suite: LogprobSuite, models: Mapping[str, ModelSpec]) -> LogprobSuite:
    policies = {cell.policy.name: cell.policy for cell in suite.cells}
    moved = {name: _policy_on(policy, models) for name, policy in policies.items()}
    cells = (replace(cell, policy=moved[cell.policy.name]) for cell in suite.cells)
    return replace(suite, cells=tuple(cells))


def _policy_on(policy: Policy, models: Mapping[str, ModelSpec]) -> Policy:
    if policy.local_model is None:
        return policy
    return replace(policy, local_model=models[policy.local_model.name])
