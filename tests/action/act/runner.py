"""Runs the workflows of a repository for real: act, on this machine, without containers."""

import contextlib
import json
import os
import signal
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from repro_gate.core.comments import RunId
from tests.action.act.events import Event
from tests.action.act.log import Log, log_of
from tests.action.act.pins import stand_in_options
from tests.action.act.repositories import PROJECT
from tests.fakes.github.world import OF_FORK, OF_JOB, REPOSITORY

_LABELS = ("self-hosted", "gpu", "ubuntu-latest")
_FOREIGN = (
    *("ACTIONS_", "CI", "GITHUB_", "INPUT_", "RUNNER_"),
    *("PYTEST_", "PYTHON", "REPRO_GATE_", "VIRTUAL_"),
)
_MARK = "ACT_RUN"


class TookTooLong(AssertionError):
    """A run that did not end in time, and was ended with everything that it had started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """A self-hosted runner of its own, with artifacts that outlive its runs."""

    act: Path
    project: Path
    """A clean copy of the project, whose action is what workflows use."""
    folder: Path
    """For artifacts, and for the workspaces of the jobs."""
    api_url: str
    cache: Path
    """Where the gate keeps models."""
    patience_s: float = 120
    actions: Mapping[str, Path] = field(default_factory=dict)
    """More actions and where they are, by `owner/name@ref`."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Of the repository, besides the token."""
    remote: Path | None = None
    """The repository that jobs without a checkout fetch from and push to."""

    @property
    def artifacts(self) -> Path:
        """Holds a folder for each run, with a folder for each of its artifacts."""
        return self.folder / "artifacts"

    def artifact(self, run: int, name: str) -> Path:
        """Return the folder of one artifact."""
        return self.artifacts / str(run) / name

    def artifact_id(self, run: int, name: str) -> int:
        """Return the id of one artifact."""
        folder = self.artifacts.with_name("artifacts.ids")
        ids = [file.name for file in folder.iterdir() if file.read_text() == f"{run}/{name}\n"]
        return int(ids[-1])

    def run(
        self,
        repository: Path,
        workflow: str,
        event: Event,
        *,
        id: RunId,
        variables: Mapping[str, str] | None = None,
    ) -> Log:
        """Run a workflow file of a repository to its end.

        Args:
            repository: a git repository, checked out.
            workflow: the name of a file in `.github/workflows/`.
            event: what started the run.
            id: which run it is.
            variables: of the repository, as its owner has set them.

        Raises:
            TookTooLong: it did not end in time.
        """
        self.artifacts.mkdir(parents=True, exist_ok=True)
        event_file = self.folder / f"event-{uuid.uuid4().hex}.json"
        event_file.write_text(json.dumps(event.payload), "utf-8")
        file = repository / ".github" / "workflows" / workflow
        token = self._token(event, file)
        command = [str(self.act), event.name, f"--eventpath={event_file}", f"--workflows={file}"]
        command += [f"--secret=GITHUB_TOKEN={token}", *self._options(id)]
        command += [f"--secret={name}={value}" for name, value in self.secrets.items()]
        command += [f"--var={name}={value}" for name, value in (variables or {}).items()]
        return log_of(self._output_of(command, repository))

    @staticmethod
    def _token(event: Event, workflow: Path) -> str:
        """Return a token that can do what GitHub's could: a fork's run never writes."""
        jobs = yaml.safe_load(workflow.read_text("utf-8"))["jobs"].values()
        rights = [job.get("permissions") or {} for job in jobs]
        asked = {each.get(name) for each in rights for name in ("pull-requests", "issues")}
        return OF_JOB if event.is_trusted and "write" in asked else OF_FORK

    def _options(self, id: RunId) -> Iterator[str]:
        yield from ("--json", "--rm", "--concurrent-jobs=1")
        yield from ("--no-cache-server", "--no-skip-checkout")
        yield f"--action-cache-path={self.folder / 'workspaces'}"
        yield from (f"--platform={label}=-self-hosted" for label in _LABELS)
        yield from stand_in_options(self.project)
        yield from (f"--local-repository={uses}={at}" for uses, at in self.actions.items())
        facts = {"API_URL": self.api_url, "REPOSITORY": REPOSITORY}
        facts |= {"RUN_ID": str(id.run), "RUN_ATTEMPT": str(id.attempt)}
        yield from (f"--env=GITHUB_{name}={value}" for name, value in facts.items())

    def _output_of(self, command: list[str], repository: Path) -> str:
        environment = self._environment(repository)
        with subprocess.Popen(
            command,
            cwd=repository,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as act:
            try:
                output, complaint = act.communicate(timeout=self.patience_s)
            except subprocess.TimeoutExpired:
                _end_all_of(environment[_MARK])
                output, complaint = act.communicate()
                text = (output + complaint).decode(errors="replace")
                raise TookTooLong(f"no end within {self.patience_s} s:\n{text}") from None
            finally:
                _end_all_of(environment[_MARK])
        return (output + complaint).decode(errors="replace")

    def _environment(self, repository: Path) -> dict[str, str]:
        """Return what jobs inherit, as if the runner had been started from a clean shell."""
        # Whose address on github.com git replaces by that of a folder.
        inside = f"url.{self.remote}.insteadOf=https://github.com/{REPOSITORY}"
        ours = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        return ours | {
            "ACT_ARTIFACTS": str(self.artifacts),
            "ACT_REPOSITORY": str(repository),
            "ACT_UV_CACHE": _uv_cache(),
            "GIT_CONFIG_PARAMETERS": f"'{inside}'" if self.remote else "",
            "REPRO_GATE_CACHE": str(self.cache),
            "PATH": f"{PROJECT / '.uv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
            # Steps of act have a terminal, those of GitHub have none.
            "NO_COLOR": "1",
            "TERM": "dumb",
            _MARK: uuid.uuid4().hex,
        }


def _uv_cache() -> str:
    """Return where uv keeps what it has built, such as the inference library."""
    usual = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "uv"
    return os.environ.get("UV_CACHE_DIR", str(usual))


def _end_all_of(mark: str) -> None:
    """End every process that has a mark in its environment: each step has a session of its own."""
    wanted = f"{_MARK}={mark}".encode()
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        # It may end while we look, or belong to somebody else.
        with contextlib.suppress(OSError):
            if wanted in (process / "environ").read_bytes().split(b"\0"):
                os.kill(int(process.name), signal.SIGKILL)
