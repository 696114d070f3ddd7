"""What a command line of pytest asks of the gate; see the package for why imports are few."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

MARKER: Final = "repro_gate"
PLUGIN: Final = "repro-gate-cells"
"""The name of the plugin that collects the cells."""
PARAMETER: Final = "repro_gate_cell"
"""The parameter of a test for each cell."""
MATRIX_FILE: Final = "repro-gate.toml"
_ON: Final = "repro_gate"


def add_options(parser: pytest.Parser) -> None:
    """Add the options and the setting of the configuration file."""
    what = "Collect the cells of each repro-gate.toml as tests"
    parser.addini(_ON, f"{what}.", type="bool", default=False)
    group = parser.getgroup("repro-gate", "tokens of language models, compared with their goldens")
    group.addoption("--repro-gate", action="store_true", dest=_ON, help=f"{what}.")
    group.addoption(
        "--repro-gate-config",
        metavar="FILE",
        help="The only matrix file to collect, and that of the fixtures.",
    )
    group.addoption(
        "--repro-gate-suite",
        metavar="SUITE",
        action="append",
        default=[],
        help="Collect this suite instead of the default ones; can be repeated.",
    )
    group.addoption("--repro-gate-device", metavar="DEVICE", help="Put every engine on a device.")
    group.addoption(
        "--repro-gate-devices",
        metavar="DEVICE,DEVICE",
        help="Devices that work in parallel; with pytest-xdist one for each worker.",
    )
    group.addoption(
        "--repro-gate-report",
        metavar="DIR",
        help="Folder for the reports of repro-gate check.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of one run of pytest."""

    is_on: bool
    is_asked: bool
    """On the command line, not only in the configuration file."""
    config: Path | None
    suites: tuple[str, ...]
    device: str | None
    devices: tuple[str, ...]
    report: Path | None

    @classmethod
    def of(cls, config: pytest.Config) -> "Options":
        """Return the options of this run; raises `pytest.UsageError`."""
        given = config.option
        folder = config.invocation_params.dir
        file, report = given.repro_gate_config, given.repro_gate_report
        options = cls(
            is_on=given.repro_gate or config.getini(_ON),
            is_asked=given.repro_gate,
            # As pytest names a collected file: links are not followed.
            config=None if file is None else Path(os.path.normpath(folder / file)),
            suites=tuple(given.repro_gate_suite),
            device=given.repro_gate_device,
            devices=tuple(
                each.strip() for each in (given.repro_gate_devices or "").split(",") if each
            ),
            report=None if report is None else folder / report,
        )
        _require_valid(options)
        if options.is_on:
            _require_no_update_in_ci(config)
        return options


def _require_valid(options: Options) -> None:
    if options.config is not None and not options.config.is_file():
        raise pytest.UsageError(f"--repro-gate-config: there is no file {options.config}")
    if options.device is not None and options.devices:
        raise pytest.UsageError("--repro-gate-device and --repro-gate-devices exclude each other")
    for name, value in (
        ("suite", options.suites),
        ("devices", options.devices),
        ("report", options.report),
    ):
        if value and not options.is_on:
            raise pytest.UsageError(f"--repro-gate-{name} collects nothing without --repro-gate")


def _require_no_update_in_ci(config: pytest.Config) -> None:
    """Raise `UsageError` for an update of snapshots in CI, whose check would always pass."""
    if config.getoption("update_snapshots", default=False):
        from repro_gate.cli.terminal.console import refuse_under_ci  # noqa: PLC0415 -- see above
        from repro_gate.errors import UsageInvalid  # noqa: PLC0415

        try:
            refuse_under_ci(os.environ)
        except UsageInvalid as error:
            raise pytest.UsageError(
                f"--snapshot-update: {error}, with repro-gate update-snapshots or review"
            ) from error
