"""`repro-gate merge`, and the report of a shard that it reads."""

from collections.abc import Sequence
from pathlib import Path

from repro_gate.adapters.files.checkout import commit_of
from repro_gate.adapters.files.results import read_shards, write_shard
from repro_gate.checks.shards.merge import merge_shards
from repro_gate.checks.shards.verify import FoundShard, require_same_check
from repro_gate.cli import results, wiring
from repro_gate.cli.paths import matrix_file
from repro_gate.cli.results import ResultOptions
from repro_gate.cli.session import Selection, Session, open_session
from repro_gate.core.outcome import ExitCode
from repro_gate.core.report import GateReport
from repro_gate.core.shards.report import PlanIdentity, Shard, ShardReport, measured_cells
from repro_gate.core.shards.split import WholePlan
from repro_gate.core.tokens.measurement import Measurement
from repro_gate.errors import InputInvalid, MeasurementUnavailable, UsageInvalid


def write_shard_report(
    session: Session, measured: Measurement, report: GateReport, output: Path, shard: Shard
) -> None:
    """Write the measurements of a shard, for `merge`."""
    chosen = session.selection
    identity = PlanIdentity(
        digest=session.full_plan().digest,
        commit=commit_of(session.file.parent),
        suites=chosen.suites,
        only=chosen.only,
        runs=chosen.runs,
        options=session.repeat_options,
    )
    cells = session.plan().tokens.cells
    shard_report = ShardReport(
        tool_version=report.tool_version,
        started_at=report.started_at,
        shard=shard,
        identity=identity,
        cells=measured_cells(cells, measured),
        provenances=measured.provenances(cells),
        engines=tuple(measured.engines),
        models=measured.models,
        controls=tuple(measured.controls),
        logprobs=report.logprobs,
        timing=report.timing,
        interrupted=report.interrupted,
        notes=report.notes,
        commit=report.commit,
    )
    write_shard(output, shard_report)


def run_merge(folders: Sequence[Path], config: Path | None, options: ResultOptions) -> ExitCode:
    """Merge shards, write the reports, print the result, and return the exit code."""
    shards = [FoundShard(place=str(place), report=report) for place, report in read_shards(folders)]
    identity = require_same_check(shards, commit=commit_of(matrix_file(config).parent))
    selection = Selection(
        config=config, suites=identity.suites, only=identity.only, runs=identity.runs
    )
    session = open_session(selection)
    workspace = wiring.workspace_for(session)
    whole = _planned_for(shards[0], session)
    report = merge_shards(
        whole, shards, goldens=workspace.goldens, references=workspace.current_references
    )
    results.prepare_folder(options.output, keeps_shard=True)
    history = wiring.history_for(workspace, whole.logprobs, report)
    return results.finish(report, options, history=history)


def _planned_for(shard: FoundShard, session: Session) -> WholePlan:
    """Return the plan of this matrix for the options of the shards.

    Raises:
        InputInvalid: the matrix has no such suite or cell. The options are not those of this
            command line, so it is not a usage error.
    """
    try:
        return session.full_plan()
    except (UsageInvalid, MeasurementUnavailable) as error:
        raise InputInvalid(
            f"{shard.place}: this check was made with another matrix file: {error}"
        ) from error
