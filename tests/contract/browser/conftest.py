"""A real browser, which `make browser` installs the driver of."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

_REQUIRED = "browser" in os.environ.get("REPRO_GATE_REQUIRE", "").split(",")
_CHROMIUM = os.environ.get("REPRO_GATE_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "google-chrome"))), None
)
_EVENTS = ("console", "dialog", "framenavigated", "pageerror", "request")


@dataclass(slots=True)
class Opened:
    """A page in the browser, and what happened in it."""

    page: Any
    happened: list[tuple[str, str]] = field(default_factory=list)

    def events(self, *names: str) -> list[str]:
        """Return what happened of some kinds."""
        return [text for name, text in self.happened if name in names]


@dataclass(frozen=True, slots=True)
class Browser:
    """A browser that opens files."""

    driven: Any

    @contextmanager
    def open(self, file: Path, **context: Any) -> Iterator[Opened]:
        """Open a file without a network and record every event."""
        opened_in = self.driven.new_context(offline=True, **context)
        opened = Opened(opened_in.new_page())
        for name in _EVENTS:
            opened.page.on(name, _recorder(opened, name))
        opened.page.goto(file.as_uri())
        try:
            yield opened
        finally:
            opened_in.close()


def _recorder(opened: Opened, name: str) -> Any:
    def record(event: Any) -> None:
        opened.happened.append((name, getattr(event, "url", None) or str(event)))

    return record


def _missing(what: str) -> None:
    if _REQUIRED:
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Give a browser that all tests share."""
    try:
        driver = import_module("playwright.sync_api")
    except ImportError:
        _missing("playwright is not installed: run `make browser`")
        raise
    if _CHROMIUM is None:
        _missing("there is no chromium on the PATH, and REPRO_GATE_CHROMIUM names none")
    with driver.sync_playwright() as playwright:
        # Chromium's own sandbox does not start for root.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        driven = playwright.chromium.launch(executable_path=_CHROMIUM, args=arguments)
        try:
            yield Browser(driven)
        finally:
            driven.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """Return the rules of accessibility as a script."""
    file = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
    if not file.exists():
        _missing("axe-core is not installed: run `make browser`")
    return file.read_text("utf-8")
