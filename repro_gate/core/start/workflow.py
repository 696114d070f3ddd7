"""Where a pull request is checked: the runner and the inputs of the action."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from repro_gate.core.start.machine import Found
from repro_gate.core.start.matrix import FirstMatrix

_PLAIN: Final = re.compile(r"[A-Za-z0-9._/-]+")
_MATRIX: Final = "repro-gate.toml"
_SECRET: Final = re.compile(r"[A-Z][A-Z0-9_]*")
_GPU: Final = ("self-hosted", "gpu")
_OWN: Final = ("self-hosted",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """What differs from workflow to workflow."""

    labels: tuple[str, ...]
    """Of the runner; empty for one of GitHub."""
    inputs: Mapping[str, str]
    """Of the action."""
    comments: tuple[str, ...] = ()
    secret: str | None = None
    """The variable with the key, which a secret of the same name holds."""


def workflow_of(matrix: FirstMatrix, found: Found, folder: PurePosixPath) -> Workflow | None:
    """Return the workflow of a matrix; None if the name of its folder cannot be part of one.

    Args:
        matrix: what is checked.
        found: this machine, which the runner should be like.
        folder: of the matrix, below the root of its repository.
    """
    file = str(folder / _MATRIX)
    secret = matrix.key
    if not _PLAIN.fullmatch(file) or (secret is not None and not _SECRET.fullmatch(secret)):
        return None
    place = {} if file == _MATRIX else {"config": file}
    if matrix.is_hosted:
        return Workflow(labels=(), inputs={"accelerator": "none", **place}, secret=secret)
    inputs = {"accelerator": "cpu", **place}
    if matrix.device != "cpu":
        inputs = {"accelerator": "cuda", "device": matrix.device, **place}
    labels = _labels(matrix, found)
    comments = ("A machine like this one, with the model or the server on it.",) if labels else ()
    return Workflow(labels=labels, inputs=inputs, comments=comments)


def _labels(matrix: FirstMatrix, found: Found) -> tuple[str, ...]:
    if matrix.is_built_in:
        return ()
    return _GPU if found.gpus else _OWN
