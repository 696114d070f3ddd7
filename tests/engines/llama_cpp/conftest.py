"""Fixtures that drive the real engine as the gate does."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import cache
from typing import Any, TypeAlias

import pytest

from repro_gate.tiny_models.maker import MadeModel, make
from repro_gate.tiny_models.recipes import RECIPES
from tests.fakes.driven_engine import DrivenEngine, limited_engine, load_params

EngineStarter: TypeAlias = Callable[..., DrivenEngine]
ModelMaker: TypeAlias = Callable[[str], MadeModel]
LoadParams: TypeAlias = Callable[..., dict[str, Any]]


@pytest.fixture
def start_engine() -> Iterator[EngineStarter]:
    """Return a function that starts an engine, with environment variables as its arguments."""
    with ExitStack() as started:

        def start(**env: str) -> DrivenEngine:
            return started.enter_context(closing(DrivenEngine(env)))

        yield start


@pytest.fixture
def engine_without_memory() -> Iterator[DrivenEngine]:
    """Yield an engine that is limited to 12 GiB of address space."""
    with closing(limited_engine(12 * 2**30)) as driven:
        yield driven


@pytest.fixture
def fresh_engine(start_engine: EngineStarter) -> DrivenEngine:
    """Return an engine before its first request."""
    return start_engine()


@pytest.fixture(scope="module")
def idle_engine() -> Iterator[DrivenEngine]:
    """Yield an engine without a model, shared by the tests of a module."""
    with closing(DrivenEngine({})) as driven:
        yield driven


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> ModelMaker:
    """Return a function that makes a model by name, once per session."""
    folder = tmp_path_factory.mktemp("engine-models")

    @cache
    def model(name: str) -> MadeModel:
        return make(RECIPES[name], folder / f"{name}.gguf")

    return model


@pytest.fixture(scope="module", params=["tiny-qwen2", "tiny-phi3"])
def engine(request: pytest.FixtureRequest, tiny_model: ModelMaker) -> Iterator[DrivenEngine]:
    """Yield an engine with a tiny model in one context, for each of the models."""
    with closing(DrivenEngine({})) as driven:
        # With more, a run would not take the context of the one before it.
        driven.load(tiny_model(request.param).path, contexts=1)
        yield driven


@pytest.fixture
def engine_load_params() -> LoadParams:
    """Return the function that makes the parameters of a load request."""
    return load_params
