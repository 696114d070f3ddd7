"""The commands of a gate: check, merge the shards, and publish the result."""

import time
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from repro_gate.cli.exiting import Failed, exit_with, nobody
from repro_gate.cli.leftovers import clear_early
from repro_gate.cli.options import (
    AllowedHosts,
    Config,
    Device,
    Devices,
    FailOnOption,
    Json,
    Only,
    Output,
    Quiet,
    Runs,
    ShardOption,
    Suites,
)
from repro_gate.cli.places import report_folder
from repro_gate.core.comments import DEFAULT_NAME, CommentMode
from repro_gate.core.outcome import ExitCode, FailOn
from repro_gate.errors import ReproGateError

_STARTED = time.monotonic()


def check(  # noqa: PLR0913 -- one parameter for each option
    *,
    config: Config = None,
    suite: Suites = None,
    only: Only = None,
    runs: Runs = None,
    device: Device = None,
    devices: Devices = None,
    shard: ShardOption = None,
    allowed_hosts: AllowedHosts = None,
    output: Output = None,
    json: Json = False,
    quiet: Quiet = False,
    fail_on: FailOnOption = FailOn.INCONCLUSIVE,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume an interrupted check from its draw log.")
    ] = False,
    fail_fast: Annotated[
        bool,
        typer.Option(
            "--fail-fast",
            help="Stop after the first finding; report the rest as not measured.",
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the planned runs and their cost, and exit with 4."),
    ] = False,
) -> None:
    """Run the matrix and compare it with the committed goldens and baselines.

    Writes report.json, report.md, junit.xml and evidence.json. Also keeps the observed tokens as
    goldens in observed/ and the log-probabilities in draws.jsonl. A shard also writes shard.json.
    """
    reports = report_folder(output, config)

    def command() -> ExitCode:
        from repro_gate.cli.opening import (
            Selection,
            open_and_start,
            parsed_devices,
            parsed_hosts,
            parsed_shard,
        )

        selection = Selection(
            config=config,
            suites=tuple(suite or ()),
            only=only,
            runs=runs,
            device=device,
            devices=parsed_devices(devices),
            shard=parsed_shard(shard, fail_fast=fail_fast),
            allowed_hosts=parsed_hosts(allowed_hosts),
        )
        opening = open_and_start(selection)
        # From here on an earlier report must not stand for this check, however it ends.
        if not dry_run:
            clear_early(reports)
        with closing(opening.engines):
            from repro_gate.cli.check import CheckOptions, run_check
            from repro_gate.cli.reporting import ResultOptions

            result = ResultOptions(output=reports, json=json, quiet=quiet, fail_on=fail_on)
            options = CheckOptions(
                result=result, resume=resume, dry_run=dry_run, fail_fast=fail_fast
            )
            return run_check(opening, options, started=_STARTED)

    exit_with(command, failed=nobody if dry_run else _leaving(reports))


def merge(  # noqa: PLR0913 -- one parameter for each option
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR",
            envvar="REPRO_GATE_MERGE",
            # Typer shows the Python type of every argument that it lists.
            hidden=True,
        ),
    ],
    *,
    config: Config = None,
    output: Output = None,
    json: Json = False,
    quiet: Quiet = False,
    fail_on: FailOnOption = FailOn.INCONCLUSIVE,
) -> None:
    """Merge the shards of one check and give one verdict.

    DIR is the report folder of a shard, or a folder of them; also set by REPRO_GATE_MERGE.

    Verifies that every planned cell was measured exactly once, from one commit and on one machine
    profile, and compares with the goldens of this checkout. Writes the same files as check.
    """
    reports = report_folder(output, config)

    def command() -> ExitCode:
        clear_early(reports, keeps_shard=True)
        from repro_gate.cli.reporting import ResultOptions
        from repro_gate.cli.shards import run_merge

        options = ResultOptions(output=reports, json=json, quiet=quiet, fail_on=fail_on)
        return run_merge(folders, config, options)

    exit_with(command, failed=_leaving(reports, keeps_shard=True))


def publish(  # noqa: PLR0913 -- one parameter for each option
    *,
    output: Output = None,
    config: Config = None,
    comment: Annotated[
        CommentMode,
        typer.Option(
            "--comment",
            metavar="|".join(CommentMode),
            help="When to comment on the pull request; auto: only if there is something to report.",
            envvar="REPRO_GATE_COMMENT",
        ),
    ] = CommentMode.AUTO,
    name: Annotated[
        str,
        typer.Option(
            "--name",
            metavar="NAME",
            help="Name of this gate; give each gate in a workflow its own.",
            envvar="REPRO_GATE_NAME",
        ),
    ] = DEFAULT_NAME,
    shard: ShardOption = None,
    artifact: Annotated[
        str | None,
        typer.Option(
            "--artifact",
            metavar="NAME",
            help="Artifact with the report folder; the comment shows how to download it.",
            envvar="REPRO_GATE_ARTIFACT",
        ),
    ] = None,
    artifact_url: Annotated[
        str | None,
        typer.Option(
            "--artifact-url",
            metavar="URL",
            help="Download link of the report folder.",
            envvar="REPRO_GATE_ARTIFACT_URL",
        ),
    ] = None,
    running: Annotated[
        bool,
        typer.Option(
            "--running",
            help="Mark an existing comment as outdated because a new check has started.",
        ),
    ] = False,
    of_another_run: Annotated[
        bool,
        typer.Option(
            "--of-another-run",
            help="Publish the result of the run that triggered this one (workflow_run).",
            envvar="REPRO_GATE_OF_ANOTHER_RUN",
        ),
    ] = False,
) -> None:
    """Publish the result to GitHub: job summary, annotations, outputs and one PR comment.

    Reads the report folder and the environment of GitHub Actions, with the token in GITHUB_TOKEN. A
    failure to publish is a warning and never changes a verdict.
    """

    def command() -> ExitCode:
        from repro_gate.cli.publish import PublishOptions, run_publish

        options = PublishOptions(
            output=report_folder(output, config),
            config=config,
            # The job that merges the shards comments for all of them.
            comment=CommentMode.NEVER if shard else comment,
            name=name,
            artifact=artifact,
            artifact_url=artifact_url,
            running=running,
            of_another_run=of_another_run,
        )
        return run_publish(options)

    exit_with(command)


def _leaving(output: Path, *, keeps_shard: bool = False) -> Failed:
    def leave(error: ReproGateError, code: ExitCode) -> None:
        try:
            from repro_gate.cli.reporting import leave_failure
        except BaseException:
            # An import that a signal tore apart must not let the report of another check stay.
            clear_early(output, keeps_shard=keeps_shard)
            raise

        leave_failure(output, error, code, keeps_shard=keeps_shard)

    return leave
