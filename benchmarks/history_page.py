"""Size and time of the page of a history, for few and for many nights.

    python -m benchmarks.history_page [--items N] [--nights N ...] [--keep FOLDER]

Prints one line for each number of nights, of a simulated suite of two policies: seconds to read and
to write the page, its bytes, plain and compressed, and bytes of a chart. Where `make browser`
has installed the driver of a browser, also seconds until the page is loaded, and milliseconds to
filter its sessions; then one ratio: the chart of the most nights over that of the fewest.
"""

import argparse
import gzip
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from repro_gate.checks.history.timeline import read_timeline
from repro_gate.reports.history.page import render_history_page
from tests.fakes.simulated_history import (
    baselines_of,
    simulated_history,
    watch_status_of,
    weighted_suite,
)

_FILTER_MS = """
() => new Promise((done) => {
  const search = document.querySelector("form.filter input[type=search]");
  const start = performance.now();
  search.value = "2026-01-05";
  search.dispatchEvent(new Event("input", {bubbles: true}));
  requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - start)));
})
"""


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--items", type=int, default=10)
    parser.add_argument("--nights", type=int, nargs="+", default=[30, 365, 10_000])
    parser.add_argument("--keep", type=Path, help="keep the pages in this folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        charts = [
            _measure(nights, arguments.items, arguments.keep or Path(folder))
            for nights in arguments.nights
        ]
    print(f"largest/smallest chart {charts[-1] / charts[0]:.1f}")


def _measure(nights: int, items: int, folder: Path) -> float:
    """Print the figures of one page, and return the bytes of a chart."""
    suite = weighted_suite(items)
    history = simulated_history(suite, nights=nights)
    status = watch_status_of(suite, history)
    started = time.perf_counter()
    timeline = read_timeline(suite, history=history, baselines=baselines_of(suite), watch=status)
    read_s = time.perf_counter() - started
    page = render_history_page(timeline)
    write_s = time.perf_counter() - started - read_s
    charts = re.findall(r'<svg class="chart tall".*?</svg>', page, re.DOTALL)
    chart = sum(map(len, charts)) / len(charts)
    file = folder / f"history-{nights}.html"
    file.write_text(page, "utf-8", newline="\n")
    size, compressed = len(page.encode()), len(gzip.compress(page.encode()))
    print(
        f"{nights} nights x {len(suite.cells)} cells: read {read_s:.1f} s, write {write_s:.1f} s, "
        f"{size / 1e6:.2f} MB ({compressed / 1e3:.0f} kB compressed), chart {chart / 1e3:.1f} kB"
        f"{''.join(_in_browser(file))}",
        flush=True,
    )
    return chart


def _in_browser(file: Path) -> Iterator[str]:
    chromium = shutil.which("chromium")
    try:
        driver = import_module("playwright.sync_api")
    except ImportError:
        return
    if chromium is None:
        return
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_context(offline=True).new_page()
        started = time.perf_counter()
        page.goto(file.as_uri())
        yield f", loaded in {time.perf_counter() - started:.1f} s"
        yield f", filtered in {page.evaluate(_FILTER_MS):.0f} ms"
        browser.close()


if __name__ == "__main__":
    main()
