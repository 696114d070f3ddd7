"""`repro-gate models`."""

import json
from collections.abc import Sequence

from repro_gate.adapters.model_files import absence_remedy, sha256_of
from repro_gate.adapters.plain_files import absence_of
from repro_gate.cli import wiring
from repro_gate.cli.opening import Opening
from repro_gate.core.models import ModelSpec, another_file
from repro_gate.core.outcome import ExitCode
from repro_gate.errors import MeasurementUnavailable


def run_list(opening: Opening, *, as_json: bool) -> ExitCode:
    """Print every model of the matrix: where it is, what it must be, whether it is there."""
    workspace = wiring.workspace_of(opening)
    rows = [
        {
            "name": model.name,
            "source": model.source,
            "path": str(workspace.models.path_of(model)),
            "sha256": workspace.models.expected_sha256(model),
            "present": absence_of(workspace.models.path_of(model)) is None,
        }
        for model in workspace.matrix.models.values()
    ]
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        for row in rows:
            print(f"{row['name']}: {'present' if row['present'] else 'absent'}, {row['source']}")
            print(f"  {row['path']}")
            print(f"  sha256 {row['sha256'] or 'not pinned'}")
    return ExitCode.PASSED


def run_fetch(opening: Opening, names: Sequence[str]) -> ExitCode:
    """Make or download models, all of them when none is named."""
    workspace = wiring.workspace_of(opening)
    for model in opening.models(names):
        print(f"{model.name}: {workspace.models.fetch(model).path}")
    return ExitCode.PASSED


def run_verify(opening: Opening, names: Sequence[str]) -> ExitCode:
    """Compare the digest of each model that is there with the pinned one."""
    workspace = wiring.workspace_of(opening)
    good = True
    for model in opening.models(names):
        verdict = _verify(workspace, model)
        good = good and verdict is None
        print(f"{model.name}: {verdict or 'is the pinned file'}")
    return ExitCode.PASSED if good else ExitCode.INCONCLUSIVE


def _verify(workspace: wiring.Workspace, model: ModelSpec) -> str | None:
    path = workspace.models.path_of(model)
    expected = workspace.models.expected_sha256(model)
    absence = absence_of(path)
    if absence is not None:
        return f"absent: {absence}; {absence_remedy(model)}"
    try:
        digest = sha256_of(path)
    except MeasurementUnavailable as error:
        return str(error)
    if expected is None:
        return f"not pinned yet; its sha256 is {digest}"
    if digest == expected:
        return None
    remedy = another_file(model, expected=expected, found=digest).remedy
    return f"has the sha256 {digest}, expected {expected}; {remedy}"
