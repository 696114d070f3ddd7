"""What a runner of GitHub Actions tells its steps in variables and files."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from repro_gate.adapters.github.events import run_by_event, run_by_variables, run_that_ended
from repro_gate.adapters.github.fields import FieldMissing
from repro_gate.adapters.http.secret import Secret, is_sendable
from repro_gate.core.ci import CiRun
from repro_gate.core.comments import Writer, job_key

_API = "https://api.github.com"
_OF_A_JOB = ("GITHUB_JOB", "RUNNER_NAME", "RUNNER_TRACKING_ID")
"""Together they differ between the jobs of a run; legs of a matrix share the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GithubEnvironment:
    """Where we are, as far as it concerns those who are told of a result."""

    run: CiRun | None
    """None when this is no run of GitHub Actions, or one that does not say which."""
    api_url: str = _API
    summary_file: Path | None = None
    output_file: Path | None = None
    workspace: Path | None = None
    token: Secret = field(default_factory=Secret)
    """Shown nowhere; none when the step was given none."""
    problem: str | None = None
    """What could not be read, so that less is known of the run than usual."""


def read_environment(environ: Mapping[str, str], *, of_another: bool = False) -> GithubEnvironment:
    """Return what the environment tells; nothing that stands in it makes this raise.

    A run whose event cannot be read is told of without a pull request, and as another's run when
    it should have been one, so that nothing unread can pass for a success.

    Args:
        environ: the variables of the step.
        of_another: the result is that of the run whose end has started this one, and not its own.
    """
    run, problem = _run_of(environ, of_another=of_another)
    token, no_token = _token_of(environ)
    return GithubEnvironment(
        run=run,
        api_url=(environ.get("GITHUB_API_URL") or _API).rstrip("/"),
        summary_file=_path(environ, "GITHUB_STEP_SUMMARY"),
        output_file=_path(environ, "GITHUB_OUTPUT"),
        workspace=_path(environ, "GITHUB_WORKSPACE"),
        token=token,
        problem=problem or no_token,
    )


def writer_in(environ: Mapping[str, str], output: Path) -> Writer | None:
    """Return the job that publishes; None when the environment does not name its run.

    Args:
        environ: the variables of the step.
        output: the report folder, of which the action makes a new one for each use.
    """
    try:
        run = run_by_variables(environ).id
    except FieldMissing:
        return None
    facts = (environ.get(name, "") for name in _OF_A_JOB)
    return Writer(run=run, job=job_key(str(output.absolute()), *facts))


def _run_of(environ: Mapping[str, str], *, of_another: bool) -> tuple[CiRun | None, str | None]:
    if environ.get("GITHUB_ACTIONS") != "true":
        return None, None
    own = None
    try:
        own = replace(run_by_variables(environ), is_of_another=of_another)
        told = run_that_ended if of_another else run_by_event
        return told(own, environ), None
    except FieldMissing as error:
        return own, str(error)


def _token_of(environ: Mapping[str, str]) -> tuple[Secret, str | None]:
    secret = environ.get("GITHUB_TOKEN", "").strip()
    if not secret:
        return Secret(), None
    if not is_sendable(secret):
        return Secret(), "GITHUB_TOKEN holds a character that no token has"
    return Secret(secret), None


def _path(environ: Mapping[str, str], name: str) -> Path | None:
    text = environ.get(name, "")
    return Path(text) if text else None
