"""The pytest plugin: the cells of a matrix as tests, and fixtures for tests of one's own.

It is loaded in every pytest of an environment where repro-gate is installed. So it collects nothing
unless `--repro-gate` or `repro_gate = true` asks for it, and imports nothing else until then.
"""

import pytest

from repro_gate.pytest_plugin.fixtures import golden, pytest_generate_tests, repro_gate
from repro_gate.pytest_plugin.options import MARKER, PLUGIN, Options, add_options

__all__ = ["golden", "pytest_generate_tests", "repro_gate"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and the setting of the configuration file."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register what collects the cells, if that is asked for."""
    config.addinivalue_line("markers", f"{MARKER}: a cell of a repro-gate matrix")
    options = Options.of(config)
    if options.is_on:
        from repro_gate.pytest_plugin.collecting import Collecting  # noqa: PLC0415 -- see above

        config.pluginmanager.register(Collecting(config, options), PLUGIN)
