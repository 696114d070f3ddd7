"""The options and the commands: each parses its command line and calls the module that runs it."""

import time
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from repro_gate.cli.paths import remove_reports_quietly, report_folder
from repro_gate.cli.terminal.console import OnFailure, exit_with, ignore
from repro_gate.core.comments import DEFAULT_NAME, CommentMode
from repro_gate.core.outcome import ExitCode, FailOn
from repro_gate.errors import ReproGateError

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="Matrix file; default: the nearest repro-gate.toml in this or a parent folder.",
        envvar="REPRO_GATE_CONFIG",
    ),
]
Suites = Annotated[
    list[str] | None,
    typer.Option(
        "--suite",
        "-s",
        metavar="NAME",
        help="A suite of the matrix; repeatable.",
        envvar="REPRO_GATE_SUITE",
    ),
]
Only = Annotated[
    str | None,
    typer.Option(
        "--only",
        metavar="PATTERN",
        help="Only cells whose id matches, such as 'tiny-qwen2--*'.",
        envvar="REPRO_GATE_ONLY",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        help="cpu, cuda, cuda:N, rocm, vulkan, metal or another backend; overrides the matrix.",
        envvar="REPRO_GATE_DEVICE",
    ),
]
Devices = Annotated[
    str | None,
    typer.Option(
        "--devices",
        metavar="NAME,NAME",
        help="Devices that share the work in parallel, such as cuda:0,cuda:1.",
        envvar="REPRO_GATE_DEVICES",
    ),
]
ShardOption = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Measure one of N parts of the matrix; `merge` combines them.",
        envvar="REPRO_GATE_SHARD",
    ),
]
AllowedHosts = Annotated[
    str | None,
    typer.Option(
        "--allowed-hosts",
        metavar="HOST,HOST",
        help="Hosts that may receive requests and API keys; a matrix with any other is refused.",
        envvar="REPRO_GATE_ALLOWED_HOSTS",
    ),
]
Runs = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="Runs per cell; overrides the suite."),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="DIR",
        help="Folder for the reports; default: .repro-gate beside the matrix file.",
        envvar="REPRO_GATE_OUTPUT",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print only the JSON report.")]
PrintJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only one line.")]
FailOnOption = Annotated[
    FailOn,
    typer.Option(
        "--fail-on",
        metavar="|".join(FailOn),
        help="Which outcomes give a non-zero exit code; reports are unaffected.",
        envvar="REPRO_GATE_FAIL_ON",
    ),
]
ModelNames = Annotated[
    list[str] | None,
    # Typer would show the Python type.
    typer.Argument(metavar="MODEL", hidden=True),
]


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
    """Compare the matrix with its goldens and baselines.

    Runs every selected cell, and compares the output with the committed snapshots.

    Writes report.json, and reports for people and for test dashboards. Also keeps the observed
    tokens as goldens in observed/ and the log-probabilities in draws.jsonl. A shard also writes
    shard.json.
    """
    reports = report_folder(output, config)

    def command() -> ExitCode:
        from repro_gate.cli.session import (
            Selection,
            parse_devices,
            parse_hosts,
            parse_shard,
            start_session,
        )

        selection = Selection(
            config=config,
            suites=tuple(suite or ()),
            only=only,
            runs=runs,
            device=device,
            devices=parse_devices(devices),
            shard=parse_shard(shard, fail_fast=fail_fast),
            allowed_hosts=parse_hosts(allowed_hosts),
        )
        session = start_session(selection, output=reports)
        # From now on, an earlier report must not be taken for this check, however it ends.
        if not dry_run:
            remove_reports_quietly(reports)
        with closing(session.engines):
            from repro_gate.cli.check import run_check
            from repro_gate.cli.results import CheckOptions, ResultOptions

            result = ResultOptions(output=reports, json=json, quiet=quiet, fail_on=fail_on)
            options = CheckOptions(
                result=result, resume=resume, dry_run=dry_run, fail_fast=fail_fast
            )
            return run_check(session, options, started=_STARTED)

    exit_with(command, on_failure=ignore if dry_run else _failure_writer(reports))


def merge(  # noqa: PLR0913 -- one parameter for each option
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR",
            envvar="REPRO_GATE_MERGE",
            # Typer would show the Python type.
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
        remove_reports_quietly(reports, keeps_shard=True)
        from repro_gate.cli.merge import run_merge
        from repro_gate.cli.results import ResultOptions

        options = ResultOptions(output=reports, json=json, quiet=quiet, fail_on=fail_on)
        return run_merge(folders, config, options)

    exit_with(command, on_failure=_failure_writer(reports, keeps_shard=True))


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
    page_url: Annotated[
        str | None,
        typer.Option(
            "--page-url",
            metavar="URL",
            help="Link that opens report.html in a browser.",
            envvar="REPRO_GATE_PAGE_URL",
        ),
    ] = None,
    accept: Annotated[
        bool,
        typer.Option(
            "--accept",
            help="Show the replies that accept a change, for a repository with accept.yml.",
            envvar="REPRO_GATE_ACCEPT",
        ),
    ] = False,
    running: Annotated[
        bool,
        typer.Option(
            "--running",
            help="Mark an existing comment as outdated because a new check has started.",
        ),
    ] = False,
    from_workflow_run: Annotated[
        bool,
        typer.Option(
            "--from-workflow-run",
            help="Publish the result of the run that triggered this one (workflow_run).",
            envvar="REPRO_GATE_FROM_WORKFLOW_RUN",
        ),
    ] = False,
) -> None:
    """Publish the result of a check to GitHub or GitLab.

    Writes the job summary, annotations, outputs and one comment on the pull request; at GitLab one
    note on the merge request, and a code quality report.

    Reads the report folder and the environment of GitHub Actions or GitLab CI/CD, with the token in
    GITHUB_TOKEN or GITLAB_TOKEN. A failure to publish is a warning and never changes a verdict.
    """

    def command() -> ExitCode:
        from repro_gate.cli.publish import PublishOptions, run_publish

        options = PublishOptions(
            output=report_folder(output, config),
            config=config,
            # The merge job comments for all shards.
            comment=CommentMode.NEVER if shard else comment,
            name=name,
            artifact=artifact,
            artifact_url=artifact_url,
            page_url=page_url,
            accept=accept,
            running=running,
            from_workflow_run=from_workflow_run,
        )
        return run_publish(options)

    exit_with(command)


def _failure_writer(output: Path, *, keeps_shard: bool = False) -> OnFailure:
    def write(error: ReproGateError, code: ExitCode) -> None:
        try:
            from repro_gate.cli.results import write_failure
        except BaseException:
            # A signal interrupted the import; the reports of an earlier check must not stay.
            remove_reports_quietly(output, keeps_shard=keeps_shard)
            raise

        write_failure(output, error, code, keeps_shard=keeps_shard)

    return write


def update_snapshots(  # noqa: PLR0913 -- one parameter for each option
    *,
    config: Config = None,
    suite: Suites = None,
    only: Only = None,
    device: Device = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="DIR",
            help="Accept the output that another check observed: its report folder.",
        ),
    ] = None,
    cause: Annotated[
        str | None,
        typer.Option(
            "--cause",
            metavar="ID",
            help="With --from: only the changes with this cause, as reports and `review` name it.",
        ),
    ] = None,
    prune: Annotated[bool, typer.Option("--prune", help="Also remove orphaned goldens.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume an interrupted update from its run log.")
    ] = False,
    repin: Annotated[
        list[str] | None,
        typer.Option(
            "--repin",
            metavar="MODEL",
            help="Accept the new file of a model: pin it and re-record its cells in every suite.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Accept the current output as the new goldens.

    Shows what would change and asks before writing. Records nothing for a cell whose runs
    differ, and refuses to run in CI.
    """

    def command() -> ExitCode:
        from repro_gate.cli.session import Selection, open_session
        from repro_gate.cli.update import UpdateOptions, run_update

        suites = tuple(suite or ())
        reports = report_folder(None, config)
        selection = Selection(config=config, suites=suites, only=only, device=device)
        session = open_session(selection, output=reports)
        options = UpdateOptions(
            source=source,
            cause=cause,
            prune=prune,
            yes=yes,
            repin=tuple(repin or ()),
            resume=resume,
            output=reports,
        )
        return run_update(session, options, started=_STARTED)

    exit_with(command)


def record_baseline(  # noqa: PLR0913 -- one parameter for each option
    *,
    config: Config = None,
    suite: Suites = None,
    only: Only = None,
    device: Device = None,
    again: Annotated[
        bool, typer.Option("--again", help="Re-record cells that already have a baseline.")
    ] = False,
    add: Annotated[
        bool,
        typer.Option("--add", help="Add draws of another session to the baselines that exist."),
    ] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Also remove orphaned baselines.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume an interrupted recording from its draw log.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the planned draws and their cost, and exit with 4."),
    ] = False,
    allowed_hosts: AllowedHosts = None,
    output: Output = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Record current log-probabilities as baselines.

    Makes the calibration draws of every cell without a baseline, shows the result and asks
    before writing. Records nothing where draws are outliers, and refuses to run in CI.
    """

    def command() -> ExitCode:
        from repro_gate.cli.record import RecordOptions, run_record
        from repro_gate.cli.session import Selection, open_session, parse_hosts

        suites = tuple(suite or ())
        hosts = parse_hosts(allowed_hosts)
        reports = report_folder(output, config)
        session = open_session(
            Selection(config=config, suites=suites, only=only, device=device, allowed_hosts=hosts),
            output=reports,
        )
        options = RecordOptions(
            again=again,
            add=add,
            prune=prune,
            resume=resume,
            output=reports,
            yes=yes,
            dry_run=dry_run,
        )
        return run_record(session, options)

    exit_with(command)


def settings(*, config: Config = None, json: PrintJson = False) -> None:
    """Show each setting in force, and where its value comes from.

    For engines, models, samplers and prompts: the matrix, the defaults of llama-server or of
    repro-gate, or the model file. Starts no engine.
    """

    def command() -> ExitCode:
        import json as json_format

        from repro_gate.adapters.matrix.in_force import read_settings
        from repro_gate.cli.paths import matrix_file
        from repro_gate.reports.settings import render_settings, settings_data

        found = read_settings(matrix_file(config))
        if json:
            print(json_format.dumps(settings_data(found), indent=2))
        else:
            print(render_settings(found), end="")
        return ExitCode.PASSED

    exit_with(command)
