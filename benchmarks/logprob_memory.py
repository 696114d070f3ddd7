"""How much memory a check of many hosted items holds, as a ratio.

    python -m benchmarks.logprob_memory [--few N] [--many N]

The real program asks a server of our own over HTTP; the baselines are computed beforehand. Prints,
one line each:
* memory: peak memory of the gate's own process with many items over that with few;
* each: what every further item adds, most of it in the report.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.cli.hosted.many_items import PATIENT, ask_for_many
from tests.cli.hosted.workspaces import HostedWorkspace
from tests.fakes.fireworks.conduct import KEY
from tests.fakes.fireworks.server import serving

# A parent would see the peak of its own memory too, as long as its child has not begun.
_MEASURED = """
import pathlib, runpy, sys
try:
    runpy.run_module("repro_gate", run_name="__main__", alter_sys=True)
finally:
    sys.stderr.write(pathlib.Path("/proc/self/status").read_text())
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--few", type=int, default=400)
    parser.add_argument("--many", type=int, default=4000)
    options = parser.parse_args()
    few, many = _peak_kib(options.few), _peak_kib(options.many)
    print(f"memory  {many / few:.3f} ({options.many} items: {many / 1024:.1f} MiB)")
    print(f"each    {(many - few) / (options.many - options.few):.1f} KiB")


def _peak_kib(items: int) -> int:
    with tempfile.TemporaryDirectory() as folder, serving(conduct=PATIENT) as server:
        workspace = HostedWorkspace(folder=Path(folder), cache=Path(folder) / "cache", key=KEY)
        ask_for_many(workspace, server.base_url, items=items)
        ran = subprocess.run(
            [sys.executable, "-c", _MEASURED, "check", "--quiet"],
            cwd=folder,
            env=workspace.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=True,
        )
    peak = re.search(r"VmHWM:\s+([0-9]+) kB", ran.stderr)
    if peak is None:
        raise SystemExit("this system does not report the peak memory of a process")
    return int(peak[1])


if __name__ == "__main__":
    main()
