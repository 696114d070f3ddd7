"""Open a session: read the matrix, select cells and start the engines.

An engine needs a third of a second to load its libraries, while the gate imports the rest of its
own modules. So nothing slow may be imported here.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from repro_gate.adapters.engines.client import EngineProcesses
from repro_gate.adapters.matrix.engines import require_engines
from repro_gate.adapters.matrix.reader import read_matrix
from repro_gate.cli.paths import matrix_file
from repro_gate.core.engines import EngineSpec, ModelSpec
from repro_gate.core.logprobs.policy import LogprobPlan, LogprobSuite, Policy, plan_logprobs
from repro_gate.core.matrix import DEFAULT_MATRIX_FILE, Matrix, Plan, plan
from repro_gate.core.report import EngineReport
from repro_gate.core.shards.report import Shard, shard_of
from repro_gate.core.shards.split import WholePlan, lanes_of
from repro_gate.core.text import escape_text
from repro_gate.errors import InputInvalid, NothingSelected, UsageInvalid
from repro_gate.ports import EngineStarter
from repro_gate.protocol import DEVICE_FORM, requested_device

_PORT = re.compile(r":[0-9]*$")
_HOST = re.compile(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which cells of which matrix to use, and on which devices."""

    config: Path | None = None
    """The matrix file; None for the nearest one in this or a parent folder."""
    suites: tuple[str, ...] = ()
    only: str | None = None
    runs: int | None = None
    device: str | None = None
    devices: tuple[str, ...] = ()
    """Devices that work in parallel; empty for one device."""
    shard: Shard | None = None
    """The part to measure here; None for all cells."""
    allowed_hosts: tuple[str, ...] = ()
    """Hosts that may receive requests; empty for every host in the matrix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A matrix, what is selected of it, and its engines."""

    selection: Selection
    file: Path
    """The matrix file."""
    matrix: Matrix
    engines: EngineProcesses

    @property
    def repeat_options(self) -> tuple[str, ...]:
        """The options that select the same matrix and device in another command."""
        chosen = self.selection
        is_usual = chosen.config in {None, DEFAULT_MATRIX_FILE}
        config = () if is_usual else ("--config", str(chosen.config))
        devices = (chosen.device,) if chosen.device else chosen.devices
        return (*config, *(("--device", devices[0]) if devices else ()))

    def full_plan(self) -> WholePlan:
        """Return the selected cells of all shards; raises `NothingSelected` if there are none."""
        chosen = self.selection
        tokens = plan(self.matrix, suites=chosen.suites, only=chosen.only, runs=chosen.runs)
        whole = WholePlan(tokens=tokens, logprobs=self.logprob_plans())
        if not whole.units:
            raise NothingSelected(
                f"nothing was checked: no cell matches --only {chosen.only!r}",
                remedy=self._other_cells(),
            )
        return whole

    def plan(self) -> WholePlan:
        """Return what to measure here: all selected cells, or those of one shard."""
        shard = self.selection.shard
        return self.full_plan() if shard is None else self.full_plan().part(shard)

    def logprob_plans(self) -> tuple[LogprobPlan, ...]:
        """Return the selected suites of log-probabilities."""
        names = self.selection.suites or self.matrix.default_suites
        return plan_logprobs(self.matrix.logprob_suites, names=names, only=self.selection.only)

    def device_plans(self, tokens: Plan) -> tuple[Plan, ...]:
        """Return the part of each device; empty for one device."""
        devices = self.selection.devices
        return lanes_of(tokens, devices) if devices else ()

    def models(self, names: Sequence[str] = ()) -> list[ModelSpec]:
        """Return the models of these names, or all; raises `UsageInvalid` for an unknown name."""
        models = self.matrix.models
        for name in names:
            if name not in models:
                known = ", ".join(models)
                raise UsageInvalid(f"there is no model {name!r} in the matrix; it has: {known}")
        return [models[name] for name in names or models]

    def selects_tokens(self) -> bool:
        """Whether any cell of a token suite is selected."""
        chosen = self.selection
        return bool(plan(self.matrix, suites=chosen.suites, only=chosen.only).cells)

    def _other_cells(self) -> str:
        """Return options to use in place of a pattern without a match."""
        chosen = self.selection
        for name in (*self.matrix.suites, *self.matrix.logprob_suites):
            if _cell_ids(self.matrix, (name,), chosen.only):
                return f"--suite {name}, which has such cells"
        first = _cell_ids(self.matrix, chosen.suites or self.matrix.default_suites, None)[0]
        return f"--only {first!r}, or a pattern such as '{first.partition('--')[0]}--*'"


def parse_devices(text: str | None) -> tuple[str, ...]:
    """Parse a comma-separated list of devices."""
    return () if text is None else tuple(device.strip() for device in text.split(","))


def parse_hosts(text: str | None) -> tuple[str, ...]:
    """Parse a list of hosts, separated by commas or spaces; raises `UsageInvalid`."""
    hosts = tuple((text or "").lower().replace(",", " ").split())
    if text is not None and not hosts:
        raise UsageInvalid("--allowed-hosts names no host")
    for host in hosts:
        if not _HOST.fullmatch(host):
            raise UsageInvalid(f"--allowed-hosts: a host is a name, or NAME:PORT, not {host!r}")
    return hosts


def parse_shard(text: str | None, *, fail_fast: bool = False) -> Shard | None:
    """Parse a shard `I/N`; raises `UsageInvalid`."""
    if text is None:
        return None
    if fail_fast:
        raise UsageInvalid(
            "--fail-fast and --shard exclude each other: merge needs every cell of a shard"
        )
    try:
        return shard_of(text)
    except ValueError as error:
        raise UsageInvalid(f"--shard: {error}") from error


def open_session(selection: Selection, *, output: Path | None = None) -> Session:
    """Read the matrix of a selection, and put every engine on the selected device.

    Args:
        selection: what is chosen.
        output: the report folder, where the logs of servers are kept; None to keep none.

    Raises:
        InputInvalid: the matrix is invalid, or uses a host that is not allowed.
        UsageInvalid: the device is invalid.
    """
    if selection.device is not None and selection.devices:
        raise UsageInvalid("--device and --devices exclude each other")
    file = matrix_file(selection.config)
    matrix = read_matrix(file)
    # Log-probabilities are scored on the first of several devices.
    devices = selection.devices or ((selection.device,) if selection.device else ())
    for device in devices:
        if requested_device(device) is None:
            raise UsageInvalid(f"a device is {DEVICE_FORM}, not {device!r}")
    for device in reversed(devices):
        matrix = _on_device(matrix, device)
        require_engines(file, matrix.models.values())
    engines = EngineProcesses(file.parent, output)
    session = Session(selection=selection, file=file, matrix=matrix, engines=engines)
    _require_allowed_hosts(session)
    return session


def _require_allowed_hosts(session: Session) -> None:
    """Raise `InputInvalid` if a selected suite uses a host that is not allowed."""
    allowed = session.selection.allowed_hosts
    if not allowed:
        return
    for engine in [*_token_engines(session), *_scoring_engines(session.logprob_plans())]:
        host = engine.host
        if host is not None and {host, _PORT.sub("", host)}.isdisjoint(allowed):
            raise _not_allowed(session, f"engines.{engine.name}.base_url", host)
    policies = [policy for planned in session.logprob_plans() for policy in planned.policies]
    for provider in dict.fromkeys(policy.provider for policy in policies):
        names = {provider.host, _PORT.sub("", provider.host)}
        if not provider.is_local and names.isdisjoint(allowed):
            raise _not_allowed(session, f"providers.{provider.name}.base_url", provider.host)


def _token_engines(session: Session) -> Sequence[EngineSpec]:
    """Return the engines of the selected suites of tokens; a wrong selection is found later."""
    matrix, selection = session.matrix, session.selection
    suites = (matrix.suites.get(name) for name in selection.suites or matrix.default_suites)
    cells = (cell for suite in suites if suite is not None for cell in suite.cells)
    chosen = (cell.model for cell in cells if fnmatchcase(cell.id, selection.only or "*"))
    return engine_specs(matrix.models[name] for name in dict.fromkeys(chosen))


def _not_allowed(session: Session, place: str, host: str) -> InputInvalid:
    expected = f"one of the allowed hosts, {', '.join(session.selection.allowed_hosts)}"
    return InputInvalid.at(session.file, place, expected=expected, found=escape_text(host))


def start_session(selection: Selection, *, output: Path | None = None) -> Session:
    """Open a session, and start the engines that it will use first; see `open_session`."""
    session = open_session(selection, output=output)
    planned = session.plan()
    parts = session.device_plans(planned.tokens) or (planned.tokens,)
    for part in parts:
        for spec in engine_specs(part.models.values()):
            session.engines.start_early(spec)
    known = engine_specs(parts[0].models.values())
    for spec in _scoring_engines(planned.logprobs):
        if spec not in known:
            session.engines.start_early(spec)
    return session


def start_scoring(session: Session, plans: Sequence[LogprobPlan]) -> None:
    """Start the engines that score, unless they wait already."""
    for spec in _scoring_engines(plans):
        session.engines.start_early(spec)


def _scoring_engines(plans: Sequence[LogprobPlan]) -> list[EngineSpec]:
    models = (policy.local_model for suite in plans for policy in suite.policies)
    return engine_specs(model for model in models if model is not None)


def describe_engine(engines: EngineStarter, spec: EngineSpec) -> EngineReport:
    """Start an engine, describe and stop it; raises `MeasurementUnavailable`."""
    engine = engines.start(spec)
    try:
        return engine.describe()
    finally:
        engine.close()


def engine_specs(models: Iterable[ModelSpec]) -> list[EngineSpec]:
    """Return the engines of these models, each once."""
    return list({model.engine.name: model.engine for model in models}.values())


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
    variants = {
        name: variant
        if variant.engine is None
        else replace(variant, engine=replace(variant.engine, device=device))
        for name, variant in matrix.variants.items()
    }
    return replace(matrix, models=models, logprob_suites=suites, variants=variants)


def _suite_on(suite: LogprobSuite, models: Mapping[str, ModelSpec]) -> LogprobSuite:
    policies = {cell.policy.name: cell.policy for cell in suite.cells}
    moved = {name: _policy_on(policy, models) for name, policy in policies.items()}
    cells = (replace(cell, policy=moved[cell.policy.name]) for cell in suite.cells)
    return replace(suite, cells=tuple(cells))


def _policy_on(policy: Policy, models: Mapping[str, ModelSpec]) -> Policy:
    if policy.local_model is None:
        return policy
    return replace(policy, local_model=models[policy.local_model.name])
