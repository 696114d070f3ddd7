"""A folder whose matrix uses a hosted model, and the results of the program there."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cli.workspaces import Ran, Workspace, toml
from tests.fakes.fireworks.hosting import MODEL

KEY_ENV = "KEY_OF_THE_TESTS"
SOURCE = "fake"
"""The name of the provider, and of the folder of its baselines."""
POLICY: Mapping[str, Any] = {
    "provider": SOURCE,
    "model": MODEL,
    "system": "Be brief.",
    "template": "{system} {prompt}",
    "temperature": 0.7,
    "logprobs": "raw",
}
ITEMS: Mapping[str, Any] = {
    "plane": {"prompt": "How do I make a paper airplane?", "response": " Fold it in half."},
    "train": {"prompt": "The train leaves at", "response": " nine, and the town is quiet"},
}
PLANE, TRAIN = "base--plane", "base--train"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedWorkspace(Workspace):
    """A workspace with a suite of log-probabilities, and a key in its environment."""

    key: str

    def environment(self, **changes: str) -> dict[str, str]:
        """Return the environment of a developer who has a key."""
        return Workspace.environment(self, **{KEY_ENV: self.key, **changes})

    def ask(self, base_url: str, **changes: Any) -> None:
        """Write the usual matrix, which asks the server at a URL, with changes."""
        text = toml(hosted_matrix_of(base_url, **changes))
        (self.folder / "repro-gate.toml").write_text(text, "utf-8")

    def check(self, *arguments: str, **env: str) -> Ran:
        """Check the suite of log-probabilities."""
        return self.run("check", "--suite", "hosted", *arguments, **env)

    def calibrate(self, *arguments: str, **env: str) -> Ran:
        """Record baselines without being asked."""
        return self.run("record-baseline", "--suite", "hosted", "--yes", *arguments, **env)

    @property
    def baselines(self) -> Path:
        """The folder of the baselines."""
        return self.snapshots / "baselines" / SOURCE

    def baseline(self, cell_id: str) -> Path:
        """Return the file of one baseline."""
        return self.baselines / f"{cell_id}.json"

    def suite(self) -> Any:
        """Return what the last check reported of the suite."""
        (suite,) = self.report()["logprobs"]
        return suite

    def logprob_verdicts(self) -> dict[str, str]:
        """Return the verdicts of the last check on log-probabilities by cell."""
        suites = self.report()["logprobs"]
        cells = [each for each in self.document()["cells"] if each["gate"] == "logprobs"]
        orphans = {orphan["id"]: "orphaned" for suite in suites for orphan in suite["orphans"]}
        return {each["id"]: each["verdict"] for each in cells} | orphans

    def logprob_cell(self, cell_id: str) -> Any:
        """Return the result of one cell in the last check."""
        ids = [each["id"] for each in self.document()["cells"] if each["gate"] == "logprobs"]
        return self.suite()["cells"][ids.index(cell_id)]

    def draws(self, file: str = "draws.jsonl") -> list[dict[str, Any]]:
        """Return the draws that a command has noted so far."""
        lines = (self.output / file).read_text("utf-8").split("\n")[1:-1]
        return [json.loads(line) for line in lines]

    def hosted_copy(self, folder: Path) -> "HostedWorkspace":
        """Return the same snapshots in another folder; its matrix is still to be written."""
        shutil.copytree(self.snapshots, folder / "snapshots")
        return HostedWorkspace(folder=folder, cache=self.cache, key=self.key)


def hosted_matrix_of(
    base_url: str,
    *,
    items: Mapping[str, Any] = ITEMS,
    policies: Mapping[str, Any] | None = None,
    provider: Mapping[str, Any] | None = None,
    suite: Mapping[str, Any] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Return the matrix of one policy with two items, by default.

    A setting of the provider that is None is left out.
    """
    policies = policies or {"base": POLICY}
    usual = {"kind": "logprobs", "policies": list(policies), "items": list(items)}
    hosted = {"kind": "fireworks", "base_url": base_url, "api_key_env": KEY_ENV}
    named = {name: value for name, value in (hosted | dict(provider or {})).items() if value}
    suites = changes.pop("suites", {}) | {"hosted": usual | dict(suite or {})}
    return {
        "schema": "repro-gate/matrix/v1",
        "default_suites": ["hosted"],
        "providers": {SOURCE: named},
        "policies": policies,
        "items": items,
        "suites": suites,
    } | changes
