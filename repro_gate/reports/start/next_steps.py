"""What to do after `init`: the exact commands, and what each takes."""

from collections.abc import Iterator, Sequence
from typing import Final

from repro_gate.core.logprobs.policy import Tolerance
from repro_gate.core.start.matrix import RUNS, FirstMatrix
from repro_gate.core.start.prompts import MAX_TOKENS
from repro_gate.reports.text.escape import message
from repro_gate.reports.text.format import plural

_BYTES_PER_SECOND: Final = 10e9
"""Of weights that a few cores read; each token needs all of them."""
_LOADING_S: Final = 3.0
_DOCS: Final = "docs/how-to/start.md of repro-gate; every command has --help"


def render_next(matrix: FirstMatrix, written: Sequence[str], *, has_key: bool) -> str:
    """Return the remarks and the commands.

    Args:
        matrix: what was written.
        written: the paths to commit.
        has_key: whether the key that it needs is set.
    """
    steps = list(_hosted(matrix, has_key=has_key) if matrix.is_hosted else _tokens(matrix))
    steps.insert(-1, (f"git add {' '.join(written)} snapshots", "after a look at it"))
    lines = [f"note: {message(remark)}" for remark in matrix.remarks] + ["next:"]
    for command, comment in steps:
        lines += [f"  # {comment}", f"  {command}"]
    return "\n".join([*lines, f"  # more: {_DOCS}", ""])


def _tokens(matrix: FirstMatrix) -> Iterator[tuple[str, str]]:
    cells = f"{plural(matrix.cells, 'cell')} x {RUNS} runs of {MAX_TOKENS} tokens{_time(matrix)}"
    yield "repro-gate update-snapshots", f"{cells}: shows the answers, asks, records them"
    yield "repro-gate check", "the same again, with controls; 0 as long as nothing changes"


def _hosted(matrix: FirstMatrix, *, has_key: bool) -> Iterator[tuple[str, str]]:
    usual = Tolerance()
    if matrix.key is not None and not has_key:
        yield f"export {matrix.key}=...", "your key, which is in no file"
    yield "repro-gate check --dry-run", "what a check costs; makes no call"
    draws = matrix.cells * usual.calibration_draws
    yield (
        "repro-gate record-baseline",
        f"{draws} calls or more: shows draws, asks, records them",
    )
    yield "repro-gate check", f"{matrix.cells * usual.draws} calls or more"


def _time(matrix: FirstMatrix) -> str:
    if matrix.is_built_in:
        return ", a few seconds"
    if not matrix.model_bytes or matrix.device != "cpu":
        return ""
    tokens = matrix.cells * RUNS * MAX_TOKENS
    seconds = _LOADING_S + tokens * matrix.model_bytes / _BYTES_PER_SECOND
    return f", roughly {_rounded(seconds)} if nothing else runs"


def _rounded(seconds: float) -> str:
    minute = 60
    if seconds < minute:
        return f"{seconds:.0f} s"
    return f"{seconds / minute:.0f} min"
