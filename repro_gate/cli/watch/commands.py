"""The commands about a watch: each parses its command line and calls the module that runs it."""

from typing import Annotated

import typer

from repro_gate.cli.commands import AllowedHosts, Config, Output, PrintJson
from repro_gate.cli.history.commands import History
from repro_gate.cli.paths import history_folder, report_folder
from repro_gate.cli.terminal.console import EXIT_CODES, exit_with
from repro_gate.core.outcome import ExitCode

Suite = Annotated[
    str,
    typer.Option(
        "--suite",
        "-s",
        metavar="NAME",
        help="The suite of log-probabilities that is watched.",
        envvar="REPRO_GATE_SUITE",
    ),
]
Draws = Annotated[
    int | None,
    typer.Option(
        "--draws",
        metavar="N",
        min=1,
        help="Draws of each cell and night; default: 5, or as before.",
    ),
]
Rate = Annotated[
    float | None,
    typer.Option(
        "--rate",
        metavar="SHARE",
        help="How often an unchanged service may alarm in --nights; default: 0.01, or as before.",
    ),
]
Nights = Annotated[
    int | None,
    typer.Option(
        "--nights", metavar="N", min=1, help="The nights of --rate; default: 365, or as before."
    ),
]
Reason = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why; it is written into the file.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]

watch_app = typer.Typer(
    no_args_is_help=True,
    help="Watch a hosted model over many nights, with a stated rate of false alarms.",
    epilog=EXIT_CODES,
)


@watch_app.command("open", epilog=EXIT_CODES)
def open_watch(  # noqa: PLR0913 -- one parameter for each option
    *,
    suite: Suite,
    reason: Reason,
    config: Config = None,
    draws: Draws = None,
    rate: Rate = None,
    nights: Nights = None,
    yes: Yes = False,
) -> None:
    """Open the watch of a suite, from its baselines.

    Writes watch/SUITE.json beside the baselines: the cells, the references of their draws, the
    number of draws and the rate, which stay as they are until `accept`. Shows it and asks before
    writing. Refuses to run in CI.
    """

    def command() -> ExitCode:
        from repro_gate.cli.watch.epochs import EpochOptions, run_open
        from repro_gate.cli.watch.suites import watched_suite

        options = EpochOptions(reason=reason, draws=draws, rate=rate, nights=nights, yes=yes)
        return run_open(watched_suite(config, suite), options)

    exit_with(command)


@watch_app.command("night", epilog=EXIT_CODES)
def night(  # noqa: PLR0913 -- one parameter for each option
    *,
    suite: Suite,
    config: Config = None,
    history: History = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume an interrupted night from its draws.")
    ] = False,
    again: Annotated[
        bool,
        typer.Option(
            "--again", help="Draw although this day has a night; it is stored and not counted."
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the planned draws and their cost, and exit with 4."),
    ] = False,
    allowed_hosts: AllowedHosts = None,
    output: Output = None,
    json: PrintJson = False,
) -> None:
    """Draw the night of today, and print the state of the watch.

    Makes the same number of draws of every cell, keeps outliers, and asks again for what is invalid
    or missing. Once a day (UTC), at about the same hour. Without a change of the service, at most
    the rate of the watch has an alarm.
    """

    def command() -> ExitCode:
        from repro_gate.cli.session import parse_hosts
        from repro_gate.cli.watch.night import NightOptions, run_night
        from repro_gate.cli.watch.suites import watched_suite

        options = NightOptions(
            history=history_folder(history, config),
            output=report_folder(output, config),
            resume=resume,
            again=again,
            dry_run=dry_run,
            json=json,
        )
        reports = report_folder(output, config)
        hosts = parse_hosts(allowed_hosts)
        return run_night(watched_suite(config, suite, allowed_hosts=hosts, output=reports), options)

    exit_with(command)


@watch_app.command("state", epilog=EXIT_CODES)
def state(
    *,
    suite: Suite,
    config: Config = None,
    history: History = None,
    json: PrintJson = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown, such as for a job summary.")
    ] = False,
) -> None:
    """Print the state of a watch, from the nights in its history.

    learning, quiet, warning, changed (below the floor), drift or unknown; since when, which cells,
    and what to do. Makes no draw.
    """

    def command() -> ExitCode:
        from repro_gate.cli.watch.state import run_state
        from repro_gate.cli.watch.suites import watched_suite

        folder = history_folder(history, config)
        suite_of_watch = watched_suite(config, suite)
        return run_state(suite_of_watch, folder, json=json, markdown=markdown)

    exit_with(command)


@watch_app.command("notify", epilog=EXIT_CODES)
def notify(
    *,
    suite: Suite,
    config: Config = None,
    history: History = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the issue, and ask GitHub nothing.")
    ] = False,
) -> None:
    """Write the state of a watch to its issue on GitHub, and to the job summary.

    Opens one issue for changed, drift or unknown, comments when the state changes, and closes it
    when nothing has to be done. Needs GITHUB_TOKEN with issues: write; that the issue cannot be
    written is a warning.
    """

    def command() -> ExitCode:
        from repro_gate.cli.watch.notify import run_notify
        from repro_gate.cli.watch.suites import watched_suite

        folder = history_folder(history, config)
        return run_notify(watched_suite(config, suite), folder, dry_run=dry_run)

    exit_with(command)


@watch_app.command("verify", epilog=EXIT_CODES)
def verify_watch(*, suite: Suite, config: Config = None, history: History = None) -> None:
    """Verify the stored nights of a watch.

    Reads every session file again, compares it with its digest and the index with its draws, and
    computes the state from the files alone.
    """

    def command() -> ExitCode:
        from repro_gate.cli.watch.state import run_verify
        from repro_gate.cli.watch.suites import watched_suite

        return run_verify(watched_suite(config, suite), history_folder(history, config))

    exit_with(command)


@watch_app.command("accept", epilog=EXIT_CODES)
def accept(  # noqa: PLR0913 -- one parameter for each option
    *,
    suite: Suite,
    reason: Reason,
    config: Config = None,
    draws: Draws = None,
    rate: Rate = None,
    nights: Nights = None,
    yes: Yes = False,
) -> None:
    """Accept the service as it is now: begin a new epoch from the baselines of today.

    The learning begins again. Record the baselines again before, with record-baseline --again.
    Shows what changes and asks before writing. Refuses to run in CI.
    """

    def command() -> ExitCode:
        from repro_gate.cli.watch.epochs import EpochOptions, run_accept
        from repro_gate.cli.watch.suites import watched_suite

        options = EpochOptions(reason=reason, draws=draws, rate=rate, nights=nights, yes=yes)
        return run_accept(watched_suite(config, suite), options)

    exit_with(command)


@watch_app.command("dismiss", epilog=EXIT_CODES)
def dismiss(  # noqa: PLR0913 -- one parameter for each option
    *,
    suite: Suite,
    reason: Reason,
    config: Config = None,
    history: History = None,
    night: Annotated[
        list[str] | None,
        typer.Option(
            "--night",
            metavar="KEY",
            help="A night to leave out; repeatable; default: those of the standing alarm.",
        ),
    ] = None,
    yes: Yes = False,
) -> None:
    """Dismiss an alarm: leave its nights out, and keep the epoch.

    For a change that is over, or that was none. Shows the nights and asks before writing. Refuses
    to run in CI.
    """

    def command() -> ExitCode:
        from repro_gate.cli.watch.epochs import DismissOptions, run_dismiss
        from repro_gate.cli.watch.suites import watched_suite

        options = DismissOptions(
            reason=reason,
            nights=tuple(night or ()),
            history=history_folder(history, config),
            yes=yes,
        )
        return run_dismiss(watched_suite(config, suite), options)

    exit_with(command)
