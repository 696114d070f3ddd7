"""The commands about a release: each parses its command line and calls the module that runs it."""

import time
from contextlib import closing
from pathlib import Path
from typing import Annotated, Final

import typer

from repro_gate.cli.commands import AllowedHosts, Config, Device, Devices, Suites
from repro_gate.cli.paths import matrix_file, report_folder
from repro_gate.cli.terminal.console import exit_with
from repro_gate.core.outcome import ExitCode

Evidence = Annotated[Path, typer.Argument(metavar="EVIDENCE", hidden=True)]
Repository = Annotated[
    str | None,
    typer.Option(
        "--repository",
        metavar="URL",
        help="Address of the repository; default: that of the remote origin.",
    ),
]
Key = Annotated[
    Path, typer.Option("--key", metavar="FILE", help="Your private key, as for sign-off.")
]
_EVIDENCE: Final = Path("report", "sign-off")
_STARTED = time.monotonic()


def sign_off(  # noqa: PLR0913 -- one parameter for each option
    *,
    key: Annotated[
        list[Path],
        typer.Option(
            "--key",
            metavar="FILE",
            help="Your private Ed25519 key (PKCS#8 PEM); repeatable. Its password: "
            "REPRO_GATE_KEY_PASSWORD.",
        ),
    ],
    config: Config = None,
    suite: Suites = None,
    device: Device = None,
    devices: Devices = None,
    allowed_hosts: AllowedHosts = None,
    artifact: Annotated[
        list[Path] | None,
        typer.Option("--artifact", metavar="FILE", help="A file of the release; repeatable."),
    ] = None,
    source: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            metavar="REPORT",
            help="Check nothing, and take this report.json (or its folder); repeatable, one for "
            "each profile.",
        ),
    ] = None,
    profile: Annotated[
        list[str] | None,
        typer.Option(
            "--profile",
            metavar="NAME",
            help="A machine profile to cover; repeatable. Default: all with goldens of the suites.",
        ),
    ] = None,
    waiver: Annotated[
        list[Path] | None,
        typer.Option("--waiver", metavar="FILE", help="A signed waiver of a drift; repeatable."),
    ] = None,
    repository: Repository = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Folder for the evidence; default: report/sign-off beside the matrix file.",
        ),
    ] = None,
) -> None:
    """Check a release, and sign evidence that others can verify.

    Refuses with a list of everything that is missing: changed files, cells, runs, profiles, pins.

    Needs a clean clone. Checks whole suites here, or takes the reports of other jobs; merge shards
    before. Writes the signed statement, the reports, and a page for people.
    """

    def command() -> ExitCode:
        from repro_gate.cli.session import (
            Selection,
            open_session,
            parse_devices,
            parse_hosts,
            start_session,
        )

        selection = Selection(
            config=config,
            suites=tuple(suite or ()),
            device=device,
            devices=parse_devices(devices),
            allowed_hosts=parse_hosts(allowed_hosts),
        )
        reports = report_folder(None, config)
        session = open_session(selection) if source else start_session(selection, output=reports)
        with closing(session.engines):
            from repro_gate.cli.release.sign_off import SignOffOptions, run_sign_off
            from repro_gate.cli.results import ResultOptions

            options = SignOffOptions(
                keys=tuple(key),
                artifacts=tuple(artifact or ()),
                reports=tuple(source or ()),
                waivers=tuple(waiver or ()),
                profiles=tuple(profile or ()),
                repository=repository,
                output=output or session.file.parent / _EVIDENCE,
                check=ResultOptions(output=reports),
            )
            return run_sign_off(session, options, started=_STARTED)

    exit_with(command)


def countersign(
    evidence: Evidence,
    *,
    key: Key,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Add your signature to a sign-off.

    EVIDENCE is the folder that sign-off wrote, or the envelope in it.

    Shows what is signed, verifies in a clone that it follows from the commit and the reports, and
    asks.
    """

    def command() -> ExitCode:
        from repro_gate.cli.release.sign_off import run_countersign

        return run_countersign(evidence, key, yes=yes)

    exit_with(command)


def waive(  # noqa: PLR0913 -- one parameter for each option
    report: Annotated[Path, typer.Argument(metavar="REPORT", hidden=True)],
    *,
    test: Annotated[
        str, typer.Option("--test", metavar="NAME", help="The test: SUITE/CELL-ID/PROFILE.")
    ],
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why it may be released.")
    ],
    until: Annotated[
        str, typer.Option("--until", metavar="DATE", help="The last day; at most 90 days away.")
    ],
    key: Key,
    issue: Annotated[
        str | None, typer.Option("--issue", metavar="URL", help="Where it is discussed.")
    ] = None,
    config: Config = None,
    repository: Repository = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="The waiver; default: ID.dsse.json here."
        ),
    ] = None,
) -> None:
    """Sign a waiver of one drift, for one commit.

    REPORT is the report.json with the drift, or its folder.

    Only drift can be waived. The waiver covers this finding and no other, and the recipient's
    policy decides whether your key may waive.
    """

    def command() -> ExitCode:
        from repro_gate.checks.sign_off import WaiverRequest
        from repro_gate.cli.release.sign_off import run_waive

        request = WaiverRequest(test=test, reason=reason, until=until, issue=issue)
        return run_waive(
            request,
            report,
            key=key,
            matrix=matrix_file(config),
            repository=repository,
            output=output,
        )

    exit_with(command)


def verify(
    evidence: Evidence,
    *,
    policy: Annotated[
        Path,
        typer.Option(
            "--policy",
            metavar="FILE",
            help="Your policy: which keys you trust, and what they have to have signed.",
            envvar="REPRO_GATE_POLICY",
        ),
    ],
    artifact: Annotated[
        list[Path] | None,
        typer.Option(
            "--artifact", metavar="FILE", help="A file that you are going to use; repeatable."
        ),
    ] = None,
    commit: Annotated[
        str,
        typer.Option("--commit", metavar="COMMIT", help="The commit that you are going to use."),
    ] = "HEAD",
) -> None:
    """Verify that a release was signed off, by your own policy.

    EVIDENCE is the folder that sign-off wrote, or the envelope in it.

    Runs in a clone of the repository, needs no network, and believes nothing that it can compute
    from the commit, the reports and your files. Ends with 10 and every unsatisfied condition, or
    with 0.
    """

    def command() -> ExitCode:
        from repro_gate.cli.release.verify import run_verify

        return run_verify(evidence, policy, artifacts=artifact or (), commit=commit)

    exit_with(command)
