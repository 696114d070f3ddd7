"""The log of act, line by line as JSON, by job and step."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

_LEVELS = ("error", "warning", "notice")

Entry: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """A message of a step that GitHub shows beside a line of a file, or above the run."""

    level: str
    message: str
    file: str | None = None
    line: int | None = None
    title: str | None = None


@dataclass(slots=True, kw_only=True)
class Step:
    """One step, or one inner step of a composite action."""

    job: str
    id: tuple[str, ...]
    """From the outermost step to this one; a step without an id has its number."""
    outcome: str = "skipped"
    lines: list[str] = field(default_factory=list)
    """What it printed, without the workflow commands in it.

    act closes the terminal of a step that fails at once, so that the last lines may be missing.
    """
    outputs: dict[str, str] = field(default_factory=dict)
    summary: str = ""
    annotations: list[Annotation] = field(default_factory=list)
    commands: list[tuple[str, str]] = field(default_factory=list)
    """Every workflow command that the runner obeyed, with what it was given."""

    @property
    def text(self) -> str:
        """Everything printed."""
        return "\n".join(self.lines)


@dataclass(slots=True, kw_only=True)
class Log:
    """The log of one run of act."""

    results: dict[str, str] = field(default_factory=dict)
    """How each job ended, by its name; those of a matrix are numbered."""
    steps: list[Step] = field(default_factory=list)
    text: str = ""
    """All of it as act wrote it: what was not masked can be read here."""

    def step(self, *id: str, job: str | None = None) -> Step:
        """Return the one step of an id, and of a job where several jobs have it."""
        found = [step for step in self.steps if step.id == id and job in {None, step.job}]
        assert len(found) == 1, f"{len(found)} steps have the id {id}:\n{self.text}"
        return found[0]

    def summaries(self, job: str) -> str:
        """Return what the innermost steps of a job wrote; act repeats it for outer ones."""
        return "".join(step.summary for step in self._innermost() if step.job == job)

    @property
    def annotations(self) -> list[Annotation]:
        """What all steps annotated."""
        return [annotation for step in self.steps for annotation in step.annotations]

    @property
    def commands(self) -> list[tuple[str, str]]:
        """The workflow commands that the runner obeyed."""
        return [command for step in self.steps for command in step.commands]

    def _innermost(self) -> Iterator[Step]:
        outer = {(step.job, step.id[:-1]) for step in self.steps}
        return (step for step in self.steps if (step.job, step.id) not in outer)


def log_of(text: str) -> Log:
    """Parse the lines of `act --json`."""
    log = Log(text=text)
    steps: dict[tuple[str, tuple[str, ...]], Step] = {}
    for entry in _entries(text):
        if "jobResult" in entry:
            log.results[_job(entry)] = entry["jobResult"]
        if entry.get("stage") != "Main":
            continue
        key = (_job(entry), tuple(entry["stepID"]))
        if key not in steps:
            steps[key] = Step(job=key[0], id=key[1])
        _take(entry, steps[key])
    log.steps = list(steps.values())
    return log


def _entries(text: str) -> Iterator[Entry]:
    # A panic and the last line, which names the failed jobs, are no JSON.
    return (json.loads(line) for line in text.splitlines() if line.startswith("{"))


def _job(entry: Entry) -> str:
    return str(entry["job"]).rpartition("/")[2].strip()


def _take(entry: Entry, step: Step) -> None:
    if "stepResult" in entry:
        step.outcome = entry["stepResult"]
    if entry.get("raw_output"):
        step.lines.append(entry["msg"].rstrip("\r\n"))
    command = entry.get("command")
    if command is not None:
        _TAKERS.get(command, _take_command)(entry, step)


def _take_output(entry: Entry, step: Step) -> None:
    step.outputs[entry.get("name") or entry["kvPairs"]["name"]] = entry["arg"]


def _take_summary(entry: Entry, step: Step) -> None:
    step.summary = entry["content"]


def _take_command(entry: Entry, step: Step) -> None:
    step.commands.append((entry["command"], entry.get("arg", "")))


def _take_annotation(entry: Entry, step: Step) -> None:
    _take_command(entry, step)
    pairs = entry.get("kvPairs") or {}
    step.annotations.append(
        Annotation(
            level=entry["command"],
            message=entry["arg"],
            file=pairs.get("file"),
            line=int(pairs["line"]) if "line" in pairs else None,
            title=pairs.get("title"),
        )
    )


_TAKERS: Mapping[str, Callable[[Entry, Step], None]] = {
    "set-output": _take_output,
    "summary": _take_summary,
    **dict.fromkeys(_LEVELS, _take_annotation),
}
