"""Links to a commit, a run and its artifact.

Addresses come from the environment of a job. One that does not look as it should is shown as text.
"""

import re
from typing import Final

from repro_gate.core.comments import CiRun
from repro_gate.reports.text.escape import clipped
from repro_gate.reports.text.markdown import Block, code
from repro_gate.reports.text.shell import command

_SERVER = re.compile(r"https?://[A-Za-z0-9.-]{1,100}(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~-]{1,50})?")
_REPOSITORY = re.compile(r"[A-Za-z0-9._-]{1,60}/[A-Za-z0-9._-]{1,100}")
_PROJECT = re.compile(
    r"(?:(?!\.{1,2}/)[A-Za-z0-9._-]{1,60}/){1,9}(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}"
)
"""At GitLab, where groups nest."""
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_PATH = re.compile(r"[A-Za-z0-9._~/-]{1,300}")
_PUBLIC_HOST: Final = "github.com"
_SHORT: Final = 7
_MAX_LENGTH: Final = 60
"""Of text that is shown instead of a link."""


def commit_link(run: CiRun) -> str:
    """Return a link to the commit that was checked."""
    sha = run.head_sha
    if not _SHA.fullmatch(sha):
        return code(clipped(sha, _MAX_LENGTH))
    is_known = _url(run) is not None
    return _link(code(sha[:_SHORT]), run.commit_url if is_known else None)


def run_link(run: CiRun, words: str) -> str:
    """Return a link to the run."""
    return _link(words, _url(run))


def run_label(run: CiRun) -> str:
    """Return the number and the attempt of a run, linked to it."""
    attempt = "" if run.id.attempt == 1 else f", attempt {run.id.attempt}"
    label = f"{'Job' if run.is_gitlab else 'Run'} {run.id.run}{attempt}"
    if _url(run) is not None:
        return run_link(run, label)
    return f"{label} of {code(clipped(run.repository, _MAX_LENGTH))}"


def artifact_link(url: str, run: CiRun, words: str) -> str:
    """Return a link to an artifact, if it is on the server of the run."""
    server = f"{run.server_url}/"
    is_on_server = _SERVER.fullmatch(run.server_url) and url.startswith(server)
    if is_on_server and _PATH.fullmatch(url.removeprefix(server)):
        return _link(words, url)
    return f"{words} ({code(clipped(url, _MAX_LENGTH))})"


def page_blocks(run: CiRun) -> list[Block]:
    """Return the link that opens the page of the report, if it was uploaded."""
    return [] if run.page_url is None else [[artifact_link(run.page_url, run, "Open the report")]]


def download_command(run: CiRun, artifact: str, folder: str) -> str:
    """Return the command that downloads an artifact of a run into a folder."""
    host = run.server_url.partition("://")[2]
    repository = run.repository if host in {"", _PUBLIC_HOST} else f"{host}/{run.repository}"
    options = ("--repo", repository, "--name", artifact, "--dir", folder)
    return command(f"gh run download {run.id.run}", options)


def _url(run: CiRun) -> str | None:
    name = _PROJECT if run.is_gitlab else _REPOSITORY
    if _SERVER.fullmatch(run.server_url) and name.fullmatch(run.repository):
        return run.url
    return None


def _link(words: str, url: str | None) -> str:
    return words if url is None else f"[{words}]({url})"
