"""The repository of a user: a small engine with its matrix and goldens, and our action."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.action.act.repositories import PROJECT, commit
from tests.docs.pages import page

ACTION = "OWNER/repro-gate@COMMIT"
"""What our pages call the action, for their readers to replace."""
PROFILE = "markov-1"
CELL = "corpus--bread--seed42"
_EXAMPLE = PROJECT / "docs" / "examples" / "markov"
_LATER_STEPS = """\
      - id: later
        if: always()
        env:
          OUTPUTS: ${{ toJSON(steps.gate.outputs) }}
        run: printf '%s\\n' "$OUTPUTS"
      - id: files
        if: always()
        env:
          REPORT: ${{ steps.gate.outputs.report }}
        run: test ! -f "$REPORT" || head --lines=1 "$REPORT"
"""


@dataclass(frozen=True, slots=True)
class Caller:
    """A repository that is gated with our action."""

    folder: Path

    def follow_readme(self) -> None:
        """Take over the workflow of the README, for a runner without a GPU."""
        (workflow,) = (found for found in page("README.md").blocks("yaml") if ACTION in found)
        file = self._workflow("gate.yml")
        file.write_text(workflow + _LATER_STEPS, "utf-8")
        self.edit(file, "accelerator: cuda, device: cuda", "accelerator: none")
        self.edit(file, f"- uses: {ACTION}", f"- id: gate\n        uses: {ACTION}")

    def adopt(self, workflow: str, *edits: tuple[str, str]) -> None:
        """Copy a workflow of our project as its first lines describe, with edits."""
        file = self._workflow(workflow)
        shutil.copy2(PROJECT / file.relative_to(self.folder), file)
        for before, after in (("uses: ./\n", f"uses: {ACTION}\n"), *edits):
            self.edit(file, before, after)

    def _workflow(self, name: str) -> Path:
        folder = self.folder / ".github" / "workflows"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name

    def edit(self, name: str | Path, before: str, after: str) -> None:
        """Replace a text in a file."""
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
        """Record the current output of the engine, as its developer would."""
        clean = {name: value for name, value in os.environ.items() if name != "CI"}
        command = [sys.executable, "-m", "repro_gate", "update-snapshots", "--yes"]
        subprocess.run(command, cwd=self.folder, env=clean, check=True, capture_output=True)


def new_caller(folder: Path) -> Caller:
    """Return a repository with the engine of the documentation, and goldens of it."""
    shutil.copytree(_EXAMPLE, folder, dirs_exist_ok=True)
    caller = Caller(folder)
    caller.record()
    return caller
