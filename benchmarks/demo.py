"""Seconds of `repro-gate demo`, command by command, and over one check of the demo.

    python -m benchmarks.demo [--model FILE.gguf] [--page]

The commands about tokens and those about log-probabilities run at the same time. With `--page` it
writes the session of the demo to `docs/examples/demo/report.md` instead.
"""

import argparse
import io
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Final

from repro_gate.cli.start.demo import DemoOptions, choose_model, run_demo
from repro_gate.cli.start.running import EndedCommand, run_gates
from repro_gate.core.outcome import ExitCode

PAGE: Final = Path(__file__).parents[1] / "docs" / "examples" / "demo" / "report.md"
_INTRODUCTION: Final = """# A session of `repro-gate demo`

What `repro-gate demo` prints where SmolLM2 is in the model cache; folder and seconds vary. Made by
`python -m benchmarks.demo --page`.

"""


def main() -> None:
    """Measure and print, or write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, metavar="FILE.gguf")
    parser.add_argument("--page", action="store_true", help="write the session instead")
    arguments = parser.parse_args()
    options = DemoOptions(model=arguments.model)
    if arguments.page:
        PAGE.write_text(page_of(session_of(options)), "utf-8")
        return
    with tempfile.TemporaryDirectory() as name:
        folder, started = Path(name), time.monotonic()
        steps = list(run_gates(folder, choose_model(folder, options)))
        seconds = time.monotonic() - started
    one_check = next(step.seconds for step in steps if step.stage is not None)
    for name, value in [*((_name_of(step), step.seconds) for step in steps), ("all", seconds)]:
        print(f"{name:<34} {value:5.1f} s ({value / one_check:.1f} times the first check)")


def session_of(options: DemoOptions) -> str:
    """Return what the demo prints."""
    with redirect_stdout(io.StringIO()) as printed:
        code = run_demo(options)
    if code is not ExitCode.PASSED:
        raise SystemExit(printed.getvalue())
    return printed.getvalue()


def page_of(session: str) -> str:
    """Return the page of a session."""
    return f"{_INTRODUCTION}```text\n$ repro-gate demo\n{session}```\n"


def _name_of(step: EndedCommand) -> str:
    done = step.gate.record if step.stage is None else f"check, {step.stage.name}"
    return f"{step.gate.name}: {done}"


if __name__ == "__main__":
    main()
