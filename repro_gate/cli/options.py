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
        help="The matrix file, instead of the nearest repro-gate.toml from here upwards.",
        envvar="REPRO_GATE_CONFIG",
    ),
]
Suites = Annotated[
    list[str] | None,
    typer.Option(
        "--suite",
        "-s",
        metavar="NAME",
        help="A suite of the matrix; may be given several times.",
        envvar="REPRO_GATE_SUITE",
    ),
]
Only = Annotated[
    str | None,
    typer.Option(
        "--only",
        metavar="PATTERN",
        help="Only the cells whose id matches, such as 'tiny-qwen2--*'.",
        envvar="REPRO_GATE_ONLY",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        help="cpu, cuda or cuda:N, instead of what the matrix says.",
        envvar="REPRO_GATE_DEVICE",
    ),
]
Devices = Annotated[
    str | None,
    typer.Option(
        "--devices",
        metavar="NAME,NAME",
        help="Devices that share the work, side by side, such as cuda:0,cuda:1.",
        envvar="REPRO_GATE_DEVICES",
    ),
]
ShardOption = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Measure one of N parts of the matrix; `merge` puts them together.",
        envvar="REPRO_GATE_SHARD",
    ),
]
AllowedHosts = Annotated[
    str | None,
    typer.Option(
        "--allowed-hosts",
        metavar="HOST,HOST",
        help="Where requests and keys may go; refuse a matrix that names another host.",
        envvar="REPRO_GATE_ALLOWED_HOSTS",
    ),
]
Runs = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="Runs per cell, instead of what the suite says."),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="DIR",
        help="The folder for the reports, instead of .repro-gate beside the matrix found.",
        envvar="REPRO_GATE_OUTPUT",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print report.json, and only it.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print one line.")]
FailOnOption = Annotated[
    FailOn,
    typer.Option(
        "--fail-on",
        metavar="|".join(FailOn),
        help="What makes the exit code other than 0; the reports say the same in any case.",
        envvar="REPRO_GATE_FAIL_ON",
    ),
]
ModelNames = Annotated[
    list[str] | None,
    # Typer shows the Python type of every argument that it lists.
    typer.Argument(metavar="MODEL", hidden=True),
]
