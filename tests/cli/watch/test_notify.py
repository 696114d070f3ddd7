"""`watch notify`: one issue over many nights, and nothing that can change a verdict."""

from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import TypeAlias

import pytest

from repro_gate.cli.watch.notify import run_notify
from repro_gate.errors import UsageInvalid
from tests.cli.watch.many_nights import ManyNights
from tests.fakes.fireworks.effects import Fail, Rule, Shift
from tests.fakes.fireworks.server import Api
from tests.fakes.github.server import Github, serving
from tests.fakes.github.world import ACTIONS, OF_FORK, OF_JOB, REPOSITORY, STRANGER, Comment

Notify: TypeAlias = Callable[..., str]
_ISSUE = f"/{REPOSITORY}/issues/101"


@pytest.fixture
def github() -> Generator[Github]:
    """Give a GitHub without issues."""
    with serving() as server:
        yield server


@pytest.fixture
def variables(github: Github, tmp_path: Path) -> Mapping[str, str]:
    """Return what the runner sets in the environment of a step."""
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_API_URL": github.api_url,
        "GITHUB_EVENT_NAME": "schedule",
        "GITHUB_REPOSITORY": REPOSITORY,
        "GITHUB_RUN_ATTEMPT": "1",
        "GITHUB_RUN_ID": "1",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        "GITHUB_TOKEN": OF_JOB,
        "GITHUB_WORKFLOW_REF": f"{REPOSITORY}/.github/workflows/nightly.yml@refs/heads/main",
    }


@pytest.fixture
def notify(github: Github, variables: Mapping[str, str]) -> Notify:
    """Return a function that notifies in a run of its own, and returns what is printed."""
    runs = iter(range(1, 1000))

    def run(watch: ManyNights, *, dry_run: bool = False, **changes: str) -> str:
        watch.printed()
        environ = {**variables, "GITHUB_RUN_ID": str(next(runs)), **changes}
        code = run_notify(
            watch.suite(), watch.history, dry_run=dry_run, environ=environ, now=watch.now
        )
        assert code == 0
        return watch.printed().replace(github.server_url, "")

    return run


def _states(comments: list[Comment]) -> list[str]:
    return [comment.body.split(" state=")[1].split()[0] for comment in comments]


def test_forty_nights_make_one_issue(
    quiet: ManyNights, api: Api, github: Github, notify: Notify
) -> None:
    """It is opened for a night without answers, and again for the change, until it is accepted."""
    github.world.issue(STRANGER, "Is it quiet?", "<!-- repro-gate/watch/v1")
    url = _ISSUE.replace("101", "102")
    said = [notify(quiet)]
    for rules in ([Rule(effect=Fail(status=400))], []):
        api.follow(*rules)
        quiet.nights(1)
        said.append(notify(quiet))
    api.follow(Rule(effect=Shift(nats=-0.3)))
    quiet.nights(8)
    said += [notify(quiet), notify(quiet)]
    assert quiet.workspace.calibrate("--again").code == 0
    quiet.accept(reason="new kernels")
    quiet.nights(1)
    said += [notify(quiet), notify(quiet)]

    assert [line.removeprefix("repro-gate: ").strip() for line in said] == [
        "no issue was written: quiet needs no issue",
        f"opened the issue {url}",
        f"closed the issue {url}",
        f"updated the issue {url}",
        f"brought the issue up to date: {url}",
        f"closed the issue {url}",
        "no issue was written: the state is that of the issue",
    ]
    assert _states(github.world.comments) == ["quiet", "drift", "learning"]
    assert [each.author for each in github.world.issues.values()] == [STRANGER, ACTIONS]


def test_the_issue_has_the_words_of_the_state(
    quiet: ManyNights, api: Api, github: Github, notify: Notify, tmp_path: Path
) -> None:
    """As has the job summary."""
    api.follow(Rule(effect=Shift(nats=-0.3)))
    quiet.nights(8)

    printed = notify(quiet)

    (issue,) = github.world.issues.values()
    assert printed == f"repro-gate: opened the issue {_ISSUE}\n"
    assert issue.title == "repro-gate watch hosted: drift since 2026-02-07"
    assert "repro-gate watch accept --suite hosted" in issue.body
    summary = (tmp_path / "summary.md").read_text("utf-8")
    assert summary.startswith("### ❌ watch hosted: drift since 2026-02-07")
    assert summary in issue.body


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"GITHUB_TOKEN": ""}, "there is no GITHUB_TOKEN"),
        ({"GITHUB_TOKEN": OF_FORK}, "Resource not accessible by integration"),
        ({"GITHUB_API_URL": "http://example.com"}, "the address of the API"),
        ({"GITHUB_RUN_ID": "x"}, "GITHUB_RUN_ID is not a number"),
    ],
)
def test_what_cannot_be_written_is_a_warning(
    quiet: ManyNights, github: Github, notify: Notify, changes: dict[str, str], reason: str
) -> None:
    """The exit code stays 0, and no issue is made."""
    quiet.clock = quiet.clock.replace(month=3)

    printed = notify(quiet, **changes)

    assert printed.startswith("::warning title=repro-gate::")
    assert reason in printed
    assert github.world.issues == {}


def test_a_dry_run_shows_the_issue_and_asks_nobody(
    quiet: ManyNights, github: Github, notify: Notify
) -> None:
    """Also outside of GitHub Actions."""
    quiet.clock = quiet.clock.replace(month=3)

    for changes in ({}, {"GITHUB_ACTIONS": ""}):
        printed = notify(quiet, dry_run=True, **changes)
        assert printed.startswith("repro-gate watch hosted: unknown")
        assert "<!-- repro-gate/watch/v1 " in printed
    assert github.world.asked == []


def test_it_runs_inside_github_actions_only(quiet: ManyNights, notify: Notify) -> None:
    """There is no run that an issue could name."""
    with pytest.raises(UsageInvalid, match="must run inside GitHub Actions"):
        notify(quiet, GITHUB_ACTIONS="")


def test_a_token_in_a_history_is_masked(quiet: ManyNights, github: Github, notify: Notify) -> None:
    """Whoever put it there, it is not published."""
    watch = quiet.suite().watch()
    assert watch is not None
    secret = watch.epoch.digest[:16]
    github.world.tokens[secret] = github.world.tokens[OF_JOB]
    quiet.clock = quiet.clock.replace(month=3)
    assert secret in notify(quiet, dry_run=True)

    notify(quiet, GITHUB_TOKEN=secret)

    (issue,) = github.world.issues.values()
    assert secret not in issue.body
