"""A runner, a GitHub on the loopback, and repositories: what is slow to make is made once."""

import os
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.action.act.callers import ACTION, Caller, new_caller
from tests.action.act.repositories import PROJECT, copy_of_project
from tests.action.act.runner import Runner
from tests.action.act.scenes import Stage
from tests.fakes.github.server import Github, serving

_ACT = "REPRO_GATE_ACT"
_REQUIRED = "act" in os.environ.get("REPRO_GATE_REQUIRE", "").split(",")

RunnerMaker: TypeAlias = Callable[[Github], Runner]


@pytest.fixture(scope="session")
def act() -> Path:
    """Return the program; without it these tests are skipped, or fail where it is required."""
    program = Path(os.environ.get(_ACT, _ours()))
    if not _REQUIRED and _ACT not in os.environ:
        pytest.skip(f"`make action` runs these tests, or {_ACT} with the path of act")
    assert program.is_file(), f"{program}: expected act, which `make action` builds"
    return program


def _ours() -> Path:
    """Return where the Makefile puts the version that it names."""
    makefile = (PROJECT / "Makefile").read_text("utf-8")
    version = re.search(r"^ACT_VERSION := (\S+)$", makefile, re.MULTILINE)
    assert version is not None
    return PROJECT / ".tools" / "bin" / f"act-{version[1]}"


@pytest.fixture(scope="session")
def project(act: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clean copy of this project, as a repository of its own."""
    return copy_of_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def runner_for(
    act: Path, project: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Github], Runner]:
    """Return a maker of runners; they share the models, as those of one machine do."""
    cache = tmp_path_factory.mktemp("models")

    def make(github: Github) -> Runner:
        return Runner(
            act=act,
            project=project,
            folder=tmp_path_factory.mktemp("runner"),
            api_url=github.api_url,
            cache=cache,
            actions={ACTION: project},
        )

    return make


@pytest.fixture(scope="session")
def recorded(act: Path, tmp_path_factory: pytest.TempPathFactory) -> Caller:
    """Return a repository with our action and good goldens, to be copied and not to be changed."""
    caller = new_caller(tmp_path_factory.mktemp("caller"))
    caller.follow_readme()
    caller.commit()
    return caller


@pytest.fixture(scope="session")
def staged(
    runner_for: RunnerMaker, recorded: Caller, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Any]:
    """Return a maker of stages, each with a GitHub and a pull request of its own."""

    @contextmanager
    def make(**changes: Any) -> Generator[Stage]:
        caller = changes.pop("caller", None) or recorded.copied_to(tmp_path_factory.mktemp("pull"))
        with serving() as github:
            yield Stage(runner=runner_for(github), github=github, caller=caller, **changes)

    return make


@pytest.fixture
def stage(staged: Callable[..., Any]) -> Generator[Stage]:
    """Return a pull request on which nothing has run yet."""
    with staged() as made:
        yield made
