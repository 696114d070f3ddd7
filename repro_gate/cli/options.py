"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

from repro_gate.core.outcome import FailOn

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
        help="cpu, cuda or cuda:N; overrides the matrix.",
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
    # Typer shows the Python type of every argument that it lists.
    typer.Argument(metavar="MODEL", hidden=True),
]
