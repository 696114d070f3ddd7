"""A folder with its own matrix, and the real program run in it."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fakes.warm_gate import warm_gate

GATE = (sys.executable, "-m", "repro_gate")
PATIENCE_S = 110
PROFILE = "test-cpu"
ENGINE = Path(__file__).with_name("scripted_engine.py")
_FOREIGN = (
    "CI",
    "GITHUB_ACTIONS",
    "NO_COLOR",
    "FORCE_COLOR",
    "COLUMNS",
    "HF_TOKEN",
    "PYTHONUNBUFFERED",
)
_BYTECODE = "PYTHONDONTWRITEBYTECODE"
_SET_AT_START = {
    *("PYTHONIOENCODING", "PYTHONPATH", "PYTHONPROFILEIMPORTTIME", "PYTHONUTF8"),
    *("LANG", "LC_ALL"),
}
"""What Python reads only when it starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A folder with a matrix file, model files, snapshots and a script for its engine."""

    folder: Path
    cache: Path

    def environment(self, **changes: str) -> dict[str, str]:
        """Return the environment of a developer's shell, independent of ours."""
        ours = {
            name: value
            for name, value in os.environ.items()
            if name not in {*_FOREIGN, _BYTECODE} and not name.startswith("REPRO_GATE_")
        }
        # Compiling every module again would take longer than most of these commands.
        bytecode = {"PYTHONPYCACHEPREFIX": str(self.cache / "bytecode")}
        return ours | bytecode | {"REPRO_GATE_CACHE": str(self.cache), "TERM": "xterm"} | changes

    def start(
        self, *arguments: str, after: str | None = None, **options: Any
    ) -> subprocess.Popen[bytes]:
        """Start the program in the folder, with pipes that are no terminal.

        Args:
            arguments: the command line.
            after: Python code that its process runs first.
            options: of `Popen`, instead of the usual ones.
        """
        first = (
            f"import os, sys; {after}; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
        )
        prefix = [sys.executable, "-c", first, *GATE[1:]] if after else GATE
        usual: dict[str, Any] = {
            "cwd": self.folder,
            "env": self.environment(),
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        }
        return subprocess.Popen([*prefix, *arguments], **(usual | options))

    def run(self, *arguments: str, **env: str) -> Ran:
        """Run the program to its end, without a fresh import."""
        if not _SET_AT_START.isdisjoint(env):
            return ended(self.start(*arguments, env=self.environment(**env)))
        code, out, err = warm_gate().run(
            arguments, folder=self.folder, env=self.environment(**env), within_s=PATIENCE_S
        )
        return Ran(code=code, out=out, err=err)

    def record(self, *arguments: str) -> Ran:
        """Record the current output of the engine as goldens."""
        return self.run("update-snapshots", "--yes", *arguments)

    @property
    def snapshots(self) -> Path:
        """The folder of everything committed."""
        return self.folder / "snapshots"

    @property
    def output(self) -> Path:
        """The usual folder of the reports."""
        return self.folder / ".repro-gate"

    def golden(self, cell_id: str, *, profile: str = PROFILE) -> Path:
        """Return the file of one golden."""
        return self.snapshots / "goldens" / profile / f"{cell_id}.json"

    def document(self) -> Any:
        """Return the report.json of the last check."""
        return json.loads((self.output / "report.json").read_text("utf-8"))

    def report(self) -> Any:
        """Return the report in the report.json of the last check."""
        return self.document()["result"]["report"]

    def verdicts(self) -> dict[str, str]:
        """Return the verdicts of the last check by the id of the cell or the orphaned golden."""
        cells = [each for each in self.document()["cells"] if each["gate"] == "tokens"]
        orphans = {orphan["id"]: "orphaned" for orphan in self.report()["orphans"]}
        return {each["id"]: each["verdict"] for each in cells} | orphans

    def runs(self) -> dict[str, int]:
        """Return how often the last check ran each cell."""
        ids = [each["id"] for each in self.document()["cells"] if each["gate"] == "tokens"]
        return {
            cell_id: cell["runs"] for cell_id, cell in zip(ids, self.report()["cells"], strict=True)
        }

    def cell(self, cell_id: str) -> Any:
        """Return the result of one cell in the last check."""
        ids = [each["id"] for each in self.document()["cells"] if each["gate"] == "tokens"]
        return self.report()["cells"][ids.index(cell_id)]

    def engine(self) -> dict[str, Any]:
        """Return how the usual matrix starts the scripted engine."""
        command = [sys.executable, "-S", "-E", str(ENGINE), str(self.folder / "script.json")]
        return {"kind": "command", "command": command, "timeout_s": 20, "settings": {}}

    def write_matrix(self, **changes: Any) -> None:
        """Write the usual matrix file with changes."""
        text = toml(matrix_of(self.engine(), **changes))
        (self.folder / "repro-gate.toml").write_text(text, "utf-8")

    def write_script(self, *rules: Mapping[str, Any], **changes: Any) -> None:
        """Set the answers of the scripted engine."""
        log = str(self.folder / "asked.jsonl")
        script = {"profile": PROFILE, "facts": {}, "log": log, "rules": rules} | changes
        (self.folder / "script.json").write_text(json.dumps(script), "utf-8")

    def asked(self, method: str = "generate") -> list[dict[str, Any]]:
        """Return the requests that scripted engines have received."""
        log = self.folder / "asked.jsonl"
        # An engine may be at work on the last line.
        lines = log.read_text("utf-8").split("\n")[:-1] if log.exists() else []
        return [asked for asked in map(json.loads, lines) if asked["method"] == method]

    def wait_until_asked(self, prompt: str, *, model: str = "tiny") -> None:
        """Wait until a scripted engine has a request for a prompt of a model."""
        deadline = time.monotonic() + PATIENCE_S
        wanted = (prompt, model)
        while not any((asked["prompt"], asked["model"]) == wanted for asked in self.asked()):
            assert time.monotonic() < deadline, "the engine was never asked"
            time.sleep(0.01)

    def engines_alive(self) -> list[int]:
        """Return the scripted engines that were started, and still run."""
        return [started["pid"] for started in self.asked("start") if _runs(started["pid"])]

    def engines_alive_after(self, seconds: float) -> list[int]:
        """Return the scripted engines that do not end within a time."""
        deadline = time.monotonic() + seconds
        while self.engines_alive() and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.engines_alive()

    def copied_to(self, folder: Path) -> "Workspace":
        """Return the usual matrix in another folder, with the same models and snapshots."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        (folder / "asked.jsonl").unlink(missing_ok=True)
        copy = Workspace(folder=folder, cache=self.cache)
        copy.write_matrix()
        copy.write_script()
        return copy


def ended(gate: subprocess.Popen[bytes], *, within_s: float = PATIENCE_S) -> Ran:
    """Wait for a program to end, and kill it if it does not."""
    with gate:
        try:
            out, err = gate.communicate(timeout=within_s)
        finally:
            gate.kill()
    return Ran(code=gate.returncode, out=(out or b"").decode(), err=(err or b"").decode())


def contents_of(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, to see whether anything changes."""
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def matrix_of(
    engine: Mapping[str, Any],
    *,
    prompts: Sequence[str] = ("haiku", "fox"),
    seeds: Sequence[int] = (1, 2),
    runs: int = 2,
    prompts_table: Mapping[str, Any] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Return the matrix of one model on a scripted engine: four cells, by default."""
    return {
        "schema": "repro-gate/matrix/v1",
        "default_suites": ["quick"],
        "engines": {"scripted": engine},
        "models": {"tiny": {"engine": "scripted", "source": "tiny.gguf"}},
        "sampler": {"top_k": 40, "top_p": 0.95, "min_p": 0.05},
        "prompts": prompts_table
        or {name: {"text": f"Say {name}", "temperature": 0.7, "max_tokens": 4} for name in prompts},
        "suites": {
            "quick": {"runs": runs, "seeds": list(seeds), "prompts": {"tiny": list(prompts)}}
        },
    } | changes


def toml(table: Mapping[str, Any], path: str = "") -> str:
    """Return a document of tables and plain values as TOML."""
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    lines = [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in plain.items()]
    for key, inner in table.items():
        if isinstance(inner, Mapping):
            place = f"{path}.{json.dumps(key)}".lstrip(".")
            lines += [f"[{place}]", toml(inner, place)]
    return "\n".join(lines)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(") ")[2][:1]
    except OSError:
        return False
    return state not in {"Z", "X"}
