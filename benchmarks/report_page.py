"""Size and time of the page of a check, and its pictures.

    python -m benchmarks.report_page [--cells N ...] [--model FILE] [--hosted] [--pictures FOLDER]

Prints one line for each page: its bytes, plain and compressed, seconds to write it, and that over
the time of the other reports. Where `make browser` has installed the driver of a browser, also
seconds until it is loaded, the slowest of five queries, and the slowest and the mean frame while
it is scrolled to its end, in milliseconds. The reports are simulated, with every verdict; with
`--model` also that of a real model whose cache of keys and values is q4_0 since its goldens, and
with `--hosted` that of the service of `docs/examples/watch` after its change, with its history.
Then the ratios of the last simulated report over the first, which depend less on the machine.
"""

import argparse
import gzip
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, chdir
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypeAlias

from typer.testing import CliRunner

from benchmarks import watch_example
from benchmarks.planted import CAUSES, matrix
from benchmarks.workplace import Workplace
from repro_gate.cli.app import app
from repro_gate.cli.wiring import REPORTS
from repro_gate.core.outcome import ExitCode
from repro_gate.core.report import GateReport
from repro_gate.reports.html.check.page import render_html
from tests.fakes.fireworks.effects import Rule, Shift
from tests.fakes.page_reports import large_page_report, small_page_report
from tests.fakes.reports import render_json

_Browser: TypeAlias = Callable[..., Any]
"""Opens an empty page."""
_SMALL: Final = 30
_PLANTED: Final = "KV cache of q4_0"
_QUERIES: Final = ("v:drift", "m:smollm2 train", "seed43", "-match", "")
_FILTER_MS: Final = """
(query) => new Promise((done) => {
  const search = document.querySelector("form.filter input[type=search]");
  const start = performance.now();
  search.value = query;
  search.dispatchEvent(new Event("input", {bubbles: true}));
  requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - start)));
})
"""
_FRAMES_MS: Final = """
() => new Promise((done) => {
  const frames = [], end = document.body.scrollHeight;
  let before = performance.now();
  const step = (now) => {
    frames.push(now - before);
    before = now;
    scrollTo(0, end * frames.length / 60);
    if (frames.length < 60) requestAnimationFrame(step); else done(frames);
  };
  requestAnimationFrame(step);
})
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picture:
    """A part of a page, as a file shows it."""

    name: str
    context: dict[str, Any] = field(default_factory=dict[str, Any])
    part: str | None = None
    """The selector of the part; None for what is seen first."""
    query: str | None = None


_WIDE: Final = {"viewport": {"width": 1100, "height": 950}}
_PICTURES: Final = {
    "30": (
        _Picture(name="cells-30", context=_WIDE),
        _Picture(name="dark", context=_WIDE | {"color_scheme": "dark"}),
        _Picture(name="narrow", context={"viewport": {"width": 390, "height": 1200}}),
    ),
    "10000": (_Picture(name="cells-10000", context=_WIDE, query="v:drift m:gemma"),),
    "smollm2": (
        _Picture(name="smollm2", context=_WIDE),
        _Picture(name="grade", context=_WIDE, part="#grades"),
    ),
    "hosted": (
        _Picture(name="hosted", context=_WIDE),
        _Picture(name="draws", context=_WIDE, part="#hosted .group"),
        _Picture(name="history", context=_WIDE, part="#history"),
    ),
}


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cells", type=int, nargs="*", default=[_SMALL, 10_000])
    parser.add_argument("--model", type=Path, help="a model file, such as SmolLM2")
    parser.add_argument("--hosted", action="store_true")
    parser.add_argument("--pictures", type=Path, help="write pictures to this folder")
    chosen = parser.parse_args()
    with ExitStack() as stack, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # The first page of a process compiles the templates.
        _, first_s = _timed(render_html, small_page_report())
        print(f"the first page of a process: {first_s:.2f} s")
        pages = [_written(folder, str(cells), simulated(cells)) for cells in chosen.cells]
        if chosen.model is not None:
            pages.append(_written(folder, "smollm2", drifted(folder, chosen.model)))
        if chosen.hosted:
            pages.append(_Page(name="hosted", file=hosted(folder)))
        # Its event loop would be in the way of a check.
        browser = _browser(stack)
        found = [page.measure(browser) for page in pages]
        if len(chosen.cells) > 1:
            last = found[len(chosen.cells) - 1]
            ratios = (f"{name} {last[name] / found[0][name]:.1f}" for name in last)
            print(f"{pages[len(chosen.cells) - 1].name} / {pages[0].name}: {', '.join(ratios)}")
        if browser is not None and chosen.pictures is not None:
            for page in pages:
                page.draw(browser, chosen.pictures)


def simulated(cells: int) -> GateReport:
    """Return a simulated report."""
    return small_page_report() if cells == _SMALL else large_page_report(cells)


def drifted(folder: Path, model: Path) -> GateReport:
    """Return the report of a real model after a planted change."""
    work = folder / "model"
    work.mkdir()
    place = Workplace(work, model)
    place.record(matrix())
    planted = next(cause for cause in CAUSES if cause.name == _PLANTED)
    return place.check(matrix(planted))[0]


def hosted(folder: Path) -> Path:
    """Return the page of a check of the simulated service, in a folder with its history."""
    work = folder / "hosted"
    ignored = shutil.ignore_patterns("*.png", "rates", "sessions")
    shutil.copytree(watch_example.FOLDER, work, ignore=ignored)
    shutil.move(work / watch_example.HISTORY, work / ".repro-gate" / "history")
    with watch_example.simulated() as api, chdir(work):
        file = Path(watch_example.MATRIX)
        file.write_text(file.read_text("utf-8").replace(watch_example.HOST, api.host), "utf-8")
        api.follow(Rule(effect=Shift(nats=-0.3)))
        os.environ[watch_example.KEY] = api.key
        ran = CliRunner().invoke(app, ["check", "--suite", watch_example.SUITE])
    if ran.exit_code != ExitCode.FINDINGS:
        raise SystemExit(ran.output)
    return work / ".repro-gate" / "report.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    """A page to be measured."""

    name: str
    file: Path
    figures: tuple[str, ...] = ()
    """Of writing it."""

    def measure(self, browser: _Browser | None) -> Mapping[str, float]:
        """Print the figures of the page, and return those that grow with it."""
        data = self.file.read_bytes()
        grown = {"bytes": len(data), "compressed": len(gzip.compress(data))}
        size = f"{len(data) / 1e3:.0f} kB ({grown['compressed'] / 1e3:.0f} kB compressed)"
        seen = {} if browser is None else self._seen(browser)
        timed = (f"{name} {value:.0f} ms" for name, value in seen.items())
        print(", ".join([f"{self.name}: {size}", *self.figures, *timed]), flush=True)
        return grown | seen

    def _seen(self, browser: _Browser) -> dict[str, float]:
        """Return times in milliseconds."""
        page = browser(viewport={"width": 1280, "height": 900})
        _, loaded_s = _timed(page.goto, self.file.as_uri())
        filtered = [float(page.evaluate(_FILTER_MS, each)) for each in _QUERIES]
        frames: list[float] = page.evaluate(_FRAMES_MS)
        page.context.close()
        return {
            "load": 1000 * loaded_s,
            "slowest query": max(filtered),
            "slowest frame": max(frames),
            "mean frame": sum(frames) / len(frames),
        }

    def draw(self, browser: _Browser, folder: Path) -> None:
        """Write the pictures of the page."""
        folder.mkdir(parents=True, exist_ok=True)
        for picture in _PICTURES.get(self.name, ()):
            page = browser(reduced_motion="reduce", **picture.context)
            page.goto(self.file.as_uri())
            if picture.query is not None:
                page.locator("input[type=search]").fill(picture.query)
            target = folder / f"{picture.name}.png"
            if picture.part is None:
                page.screenshot(path=target)
            else:
                # It would cover what is below it.
                page.locator("form.filter").evaluate("each => each.style.position = 'static'")
                page.locator(picture.part).first.screenshot(path=target)
            page.context.close()


def _written(folder: Path, name: str, report: GateReport) -> _Page:
    page, page_s = _timed(render_html, report)
    others = [render for file, render in REPORTS.items() if file != "report.html"]
    others_s = sum(_timed(render, report)[1] for render in (*others, render_json))
    file = folder / f"{name}.html"
    file.write_text(page, "utf-8", newline="\n")
    figures = f"written in {page_s:.2f} s, {page_s / others_s:.1f} x the others"
    return _Page(name=name, file=file, figures=(figures,))


def _browser(stack: ExitStack) -> _Browser | None:
    """Return what opens a page in a browser; None without one."""
    chromium = shutil.which("chromium")
    try:
        driver = import_module("playwright.sync_api")
    except ImportError:
        return None
    if chromium is None:
        return None
    playwright = stack.enter_context(driver.sync_playwright())
    browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
    stack.callback(browser.close)
    return lambda **context: browser.new_context(offline=True, **context).new_page()


def _timed(work: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    started = time.perf_counter()
    result = work(*arguments)
    return result, time.perf_counter() - started


if __name__ == "__main__":
    main()
