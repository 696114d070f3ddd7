"""Links lead to the run and its artifact, or nowhere."""

from dataclasses import replace

import pytest

from repro_gate.core.comments import CiRun, RunId
from repro_gate.reports.github.links import (
    artifact_link,
    commit_link,
    download_command,
    run_label,
    run_link,
)
from repro_gate.reports.text.markdown import code
from tests.reports.github.samples import ARTIFACT, RUN, SHA


def test_the_commit_is_linked() -> None:
    """The link leads to the commit's changes."""
    assert commit_link(RUN) == f"[`8f3c2a9`](https://github.com/octo-org/serving/commit/{SHA})"


@pytest.mark.parametrize("sha", ["", "HEAD", f"{SHA})](x", f"{SHA}\n", SHA[:39], SHA.upper()])
def test_an_unusual_commit_is_shown_as_text(sha: str) -> None:
    """It is untrusted text, neither shortened nor linked."""
    assert commit_link(replace(RUN, head_sha=sha)) == code(sha)


@pytest.mark.parametrize(
    "run",
    [
        replace(RUN, server_url="javascript:alert(1)//"),
        replace(RUN, server_url="https://github.com@evil.example"),
        replace(RUN, server_url="https://github.com/)](x"),
        replace(RUN, server_url=""),
        replace(RUN, repository="octo-org"),
        replace(RUN, repository="octo-org/serving/../x"),
        replace(RUN, repository="octo-org/se)rving"),
    ],
)
def test_an_unusual_address_is_no_link(run: CiRun) -> None:
    """The text names the repository instead."""
    assert run_link(run, "log") == "log"
    assert commit_link(run) == "`8f3c2a9`"
    assert run_label(run) == f"Run 17204881234, attempt 2 of `{run.repository}`"


@pytest.mark.parametrize("server", ["http://ghe.local:8080", "https://ghe.example.com/github"])
def test_a_ghe_server_is_linked(server: str) -> None:
    """GitHub may be self-hosted."""
    run = replace(RUN, server_url=server, id=RunId(7, 1))

    assert run_label(run) == f"[Run 7]({server}/octo-org/serving/actions/runs/7/attempts/1)"


def test_an_artifact_of_the_server_is_linked() -> None:
    """The artifact is on the server of the run."""
    assert artifact_link(ARTIFACT, RUN, "full report") == f"[full report]({ARTIFACT})"


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/octo-org",
        "https://github.com.evil.example/octo-org",
        "https://github.com",
        "http://github.com/octo-org",
        "https://github.com/a(b)",
        "https://github.com/a b",
        "javascript:alert(1)",
        f"https://github.com/{'a' * 301}",
    ],
)
def test_another_address_is_text(url: str) -> None:
    """No link leads to another server."""
    shown = url if len(url) <= 60 else f"{url[:59]}…"

    assert artifact_link(url, RUN, "full report") == f"full report (`{shown}`)"


@pytest.mark.parametrize(
    ("server", "repository", "name", "command"),
    [
        ("https://github.com", "octo-org/serving", "gate", "octo-org/serving --name gate"),
        ("", "octo-org/serving", "gate", "octo-org/serving --name gate"),
        (
            "https://ghe.local:8080",
            *("octo-org/serving", "gate"),
            "ghe.local:8080/octo-org/serving --name gate",
        ),
        ("https://github.com", "$(id)/x", "a `b` 'c", "'$(id)/x' --name 'a `b` '\\''c'"),
    ],
)
def test_the_command_that_downloads_names_run_repository_and_artifact(
    server: str, repository: str, name: str, command: str
) -> None:
    """Each of them is one word of the command."""
    run = replace(RUN, server_url=server, repository=repository)

    expected = f"gh run download 17204881234 --repo {command} --dir folder"
    assert download_command(run, name, "folder") == expected


def test_an_artifact_needs_a_server() -> None:
    """Without a usual server no address is linked."""
    run = replace(RUN, server_url="javascript:x")

    assert artifact_link("javascript:x/y", run, "full report") == "full report (`javascript:x/y`)"


def test_a_project_of_gitlab_may_be_in_groups_of_groups() -> None:
    """What runs there is a job; an unusual path is no link there either."""
    job = replace(RUN, is_gitlab=True, repository="a/b/c", server_url="https://gitlab.com")

    assert (
        run_label(job)
        == f"[Job {RUN.id.run}, attempt 2](https://gitlab.com/a/b/c/-/jobs/{RUN.id.run})"
    )
    assert commit_link(job) == f"[`8f3c2a9`](https://gitlab.com/a/b/c/-/commit/{SHA})"
    for path in ("a", "a/../b", "a/b/", "a/b)](x"):
        assert commit_link(replace(job, repository=path)) == "`8f3c2a9`"
    assert run_label(replace(RUN, repository="a/b/c")).endswith(" of `a/b/c`")
