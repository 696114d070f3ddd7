"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path, typer.Option("--config", "-c", help="The matrix file.", envvar="REPRO_GATE_CONFIG")
]
Suites = Annotated[
    list[str] | None,
    typer.Option("--suite", "-s", help="A suite of the matrix; may be given several times."),
]
Only = Annotated[
    str | None,
    typer.Option("--only", help="Only the cells whose id matches, such as 'tiny-qwen2--*'."),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="cpu, cuda or cuda:N, instead of what the matrix says.",
        envvar="REPRO_GATE_DEVICE",
    ),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="The folder for the reports.")]
ModelNames = Annotated[
    list[str] | None, typer.Argument(help="Models of the matrix; all of them by default.")
]
