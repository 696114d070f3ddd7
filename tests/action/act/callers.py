"""The repository of a user: a small engine with its matrix and goldens, and our action."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.action.act.pins import pin_of
from tests.action.act.repositories import PROJECT, commit

ACTION = "acme-tools/repro-gate@v1"
"""What the workflows of users call our action here."""
PROFILE = "markov-1"
CELL = "corpus--bread--seed42"
_EXAMPLE = PROJECT / "docs" / "examples" / "markov"
_WORKFLOW = """\
name: gate
on: pull_request
permissions: {{}}
jobs:
  gate:
    runs-on: [self-hosted, gpu]
    permissions:
      contents: read
      pull-requests: write
    steps:
      - uses: {checkout}
        with:
          persist-credentials: false
      - id: gate
        uses: {action}
        with: {inputs}
      - id: later
        if: always()
        env:
          OUTPUTS: ${{{{ toJSON(steps.gate.outputs) }}}}
        run: printf '%s\\n' "$OUTPUTS"
      - id: files
        if: always()
        env:
          REPORT: ${{{{ steps.gate.outputs.report }}}}
        run: test ! -f "$REPORT" || head --lines=1 "$REPORT"
"""


@dataclass(frozen=True, slots=True)
class Caller:
    """A repository that is gated with our action."""

    folder: Path

    def use_action(self, project: Path, **inputs: str) -> None:
        """Write the workflow, with inputs of the action."""
        given = {"accelerator": "none"} | inputs
        named = {name.replace("_", "-"): value for name, value in given.items()}
        text = _WORKFLOW.format(
            checkout=pin_of("actions/checkout", project), action=ACTION, inputs=json.dumps(named)
        )
        file = self.folder / ".github" / "workflows" / "gate.yml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")

    def adopt(self, project: Path, workflow: str, *edits: tuple[str, str]) -> None:
        """Copy a workflow of our project as its first lines tell, for a runner without a GPU."""
        file = self.folder / ".github" / "workflows" / workflow
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(project / ".github" / "workflows" / workflow, file)
        self.edit(f".github/workflows/{workflow}", "uses: ./\n", f"uses: {ACTION}\n")
        for before, after in edits:
            self.edit(f".github/workflows/{workflow}", before, after)

    def edit(self, name: str, before: str, after: str) -> None:
        """Put one text in place of another wherever it stands in a file."""
        text = (self.folder / name).read_text("utf-8")
        assert before in text, f"{name}: expected {before!r} in it"
        (self.folder / name).write_text(text.replace(before, after), "utf-8")

    def commit(self) -> str:
        """Commit everything, and return the commit."""
        return commit(self.folder)

    def copied_to(self, folder: Path) -> "Caller":
        """Return a copy, with all its commits."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return Caller(folder)

    def golden(self, cell: str = CELL) -> Path:
        """Return the file of a golden."""
        return self.folder / "snapshots" / "goldens" / PROFILE / f"{cell}.json"

    def tamper(self, cell: str = CELL) -> int:
        """Put another token into a golden, and return the line where it stands."""
        lines = self.golden(cell).read_text("utf-8").split("\n")
        line = lines.index('  "tokens": [') + 1
        assert lines[line] == '    "121 y",', "the example engine has changed"
        lines[line] = '    "122 z",'
        text = lines.index('  "stop": "length",') + 1
        lines[text] = lines[text].replace('"text": "y', '"text": "z')
        self.golden(cell).write_text("\n".join(lines), "utf-8")
        return line + 1

    def record(self) -> None:
        """Make goldens of what the engine says now, as its developer would."""
        clean = {name: value for name, value in os.environ.items() if name != "CI"}
        command = [sys.executable, "-m", "repro_gate", "update-snapshots", "--yes"]
        subprocess.run(command, cwd=self.folder, env=clean, check=True, capture_output=True)


def new_caller(folder: Path) -> Caller:
    """Return a repository with the engine of the documentation, and goldens of it."""
    shutil.copytree(_EXAMPLE, folder, dirs_exist_ok=True)
    caller = Caller(folder)
    caller.record()
    return caller
