"""A folder with a matrix of its own, and the real program at work in it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GATE = (sys.executable, "-m", "repro_gate")
PATIENCE_S = 60
PROFILE = "test-cpu"
_ENGINE = Path(__file__).with_name("scripted_engine.py")
_FOREIGN = ("CI", "GITHUB_ACTIONS", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "HF_TOKEN")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A folder with a matrix file, model files, snapshots and a script for its engine."""

    folder: Path
    cache: Path

    def environment(self, **changes: str) -> dict[str, str]:
        """Return the environment of a developer's shell, whatever ours is."""
        ours = {
            name: value
            for name, value in os.environ.items()
            if name not in _FOREIGN and not name.startswith("REPRO_GATE_")
        }
        return ours | {"REPRO_GATE_CACHE": str(self.cache), "TERM": "xterm"} | changes

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start the program in the folder, with pipes that are not a terminal."""
        usual = {
            "cwd": self.folder,
            "env": self.environment(),
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        }
        return subprocess.Popen([*GATE, *arguments], **(usual | options))

    def run(self, *arguments: str, **env: str) -> Ran:
        """Run the program to its end."""
        with self.start(*arguments, env=self.environment(**env)) as gate:
            try:
                out, err = gate.communicate(timeout=PATIENCE_S)
            finally:
                gate.kill()
        return Ran(code=gate.returncode, out=out.decode(), err=err.decode())

    def record(self, *arguments: str) -> Ran:
        """Make goldens of what the engine says now."""
        return self.run("update-snapshots", "--yes", *arguments)

    @property
    def snapshots(self) -> Path:
        """The folder of everything committed."""
        return self.folder / "snapshots"

    @property
    def goldens(self) -> Path:
        """The folder of the goldens of all profiles."""
        return self.snapshots / "goldens"

    def golden(self, cell_id: str, *, profile: str = PROFILE) -> Path:
        """Return the file of one golden."""
        return self.goldens / profile / f"{cell_id}.json"

    @property
    def output(self) -> Path:
        """The usual folder of the reports."""
        return self.folder / ".repro-gate"

    def report(self) -> Any:
        """Return the report that the last check wrote."""
        return json.loads((self.output / "report.json").read_text("utf-8"))

    def verdicts(self) -> dict[str, str]:
        """Return the verdicts of the last check by cell."""
        return {cell["id"]: cell["verdict"] for cell in self.report()["cells"]}

    def cell(self, cell_id: str) -> Any:
        """Return what the last check reported of one cell."""
        return next(cell for cell in self.report()["cells"] if cell["id"] == cell_id)

    def write_matrix(self, document: Mapping[str, Any]) -> None:
        """Write the matrix file."""
        (self.folder / "repro-gate.toml").write_text(toml(document), "utf-8")

    def write_script(self, *rules: Mapping[str, Any], **changes: Any) -> None:
        """Tell the scripted engine what to say."""
        script = {
            "profile": PROFILE,
            "facts": {},
            "log": str(self.folder / "asked.jsonl"),
            "rules": rules,
        }
        (self.folder / "script.json").write_text(json.dumps(script | changes), "utf-8")

    def asked(self) -> list[dict[str, Any]]:
        """Return what scripted engines were asked so far."""
        log = self.folder / "asked.jsonl"
        lines = log.read_text("utf-8").splitlines() if log.exists() else []
        return [json.loads(line) for line in lines]

    def engines_alive(self) -> list[int]:
        """Return the scripted engines that were asked something and still run."""
        return [pid for pid in {asked["pid"] for asked in self.asked()} if _runs(pid)]

    def copy_to(self, folder: Path) -> "Workspace":
        """Return the same workspace in another folder, with nothing asked so far."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        copied = Workspace(folder=folder, cache=self.cache)
        (folder / "asked.jsonl").unlink(missing_ok=True)
        copied.write_matrix(matrix_of(folder))
        copied.write_script()
        return copied


def matrix_of(
    folder: Path,
    *,
    prompts: Sequence[str] = ("haiku", "fox"),
    seeds: Sequence[int] = (1, 2),
    runs: int = 2,
    **changes: Any,
) -> dict[str, Any]:
    """Return the matrix of one model on a scripted engine: four cells, unless told otherwise."""
    command = [sys.executable, "-S", "-E", str(_ENGINE), str(folder / "script.json")]
    return {
        "schema": "repro-gate/matrix/v1",
        "default_suites": ["quick"],
        "engines": {
            "scripted": {"kind": "command", "command": command, "timeout_s": 20, "settings": {}}
        },
        "models": {"tiny": {"engine": "scripted", "source": "tiny.gguf"}},
        "sampler": {"top_k": 40, "top_p": 0.95, "min_p": 0.05},
        "prompts": {
            name: {"text": f"Say {name}", "temperature": 0.7, "max_tokens": 4} for name in prompts
        },
        "suites": {
            "quick": {"runs": runs, "seeds": list(seeds), "prompts": {"tiny": list(prompts)}}
        },
    } | changes


def toml(table: Mapping[str, Any], path: str = "") -> str:
    """Return a document of tables and plain values as TOML."""
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    lines = [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in plain.items()]
    for key in table.keys() - plain.keys():
        inner = f"{path}.{json.dumps(key)}".lstrip(".")
        lines += [f"[{inner}]", toml(table[key], inner)]
    return "\n".join(lines)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(") ")[2][:1]
    except OSError:
        return False
    return state not in {"Z", "X"}
