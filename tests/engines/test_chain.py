"""The engine of the demo is sound unless a fault is asked for, and then it has that one."""

from pathlib import Path
from typing import Any

import pytest

from repro_gate.engines.chain import ChainEngine, Fault
from repro_gate.engines.requests import (
    DescribeRequest,
    GenerateRequest,
    LoadRequest,
    ScoreRequest,
)
from repro_gate.protocol import RequestRefused
from repro_gate.strict_json import InvalidJson

_TEXT = b"the clock and the list and the clock did not agree on the time of the bells. "
_SAMPLER = {"temperature": 0.7, "top_k": 40, "top_p": 0.95, "min_p": 0.05}


def _loaded(folder: Path, fault: str = "none", *, order: int = 3) -> ChainEngine:
    file = folder / "text.txt"
    file.write_bytes(_TEXT)
    engine = ChainEngine()
    settings = {"order": order, "fault": fault}
    loaded = {"model": "m", "path": str(file), "sha256": None, "device": "cpu"}
    engine.load(LoadRequest.parse({**loaded, "settings": settings}))
    return engine


def _generated(engine: ChainEngine, *, seed: int = 1, **more: Any) -> list[Any]:
    asked = {"prompt": "the ", "max_tokens": 12, "trace": True, "seed": seed, **_SAMPLER, **more}
    answer: list[Any] = engine.generate(GenerateRequest.parse(asked))["tokens"]
    return answer


def _scored(engine: ChainEngine) -> list[float]:
    asked = ScoreRequest.parse({"prompt": "the ", "response": "clock"})
    answer: list[float] = engine.score(asked)["logprobs"]
    return answer


def test_a_sound_engine_repeats_itself(tmp_path: Path) -> None:
    """Whatever it generated before, also with a kept cache, and another seed gives other tokens."""
    engine = _loaded(tmp_path)
    first = _generated(engine)
    assert _generated(engine) == first == _generated(engine, cache="keep")
    assert _generated(engine, seed=2) != first
    assert _scored(engine) == _scored(engine)


def test_the_likeliest_token_needs_no_seed(tmp_path: Path) -> None:
    """At temperature 0."""
    engine = _loaded(tmp_path)
    greedy = [_generated(engine, seed=seed, temperature=0) for seed in range(1, 5)]
    assert greedy == [greedy[0]] * 4


def test_a_fault_of_the_random_state(tmp_path: Path) -> None:
    """Two runs differ."""
    engine = _loaded(tmp_path, Fault.RANDOM)
    assert _generated(engine) != _generated(engine)


def test_a_fault_of_the_seed(tmp_path: Path) -> None:
    """Every seed gives the tokens of one."""
    broken, sound = _loaded(tmp_path, Fault.SEED), _loaded(tmp_path)
    assert _generated(broken, seed=7) == _generated(broken) == _generated(sound, seed=42)


def test_a_fault_of_the_cache(tmp_path: Path) -> None:
    """Only what follows a cached prompt differs."""
    engine = _loaded(tmp_path, Fault.CACHE)
    first = _generated(engine)
    assert _generated(engine) == first
    assert _generated(engine, cache="keep") != first


def test_a_fault_of_single_scores(tmp_path: Path) -> None:
    """Two of five are far off."""
    sound, engine = _scored(_loaded(tmp_path)), _loaded(tmp_path, Fault.OUTLIERS)
    scores = [sum(_scored(engine)) for _ in range(10)]
    assert sum(score < sum(sound) - 1 for score in scores) == 4


def test_a_fault_of_the_values(tmp_path: Path) -> None:
    """A probability is above 1."""
    assert max(_scored(_loaded(tmp_path, Fault.VALUES))) > 0


def test_another_order_gives_other_values(tmp_path: Path) -> None:
    """As another version of a model would."""
    assert _scored(_loaded(tmp_path, order=1)) != _scored(_loaded(tmp_path))


@pytest.mark.parametrize("more", [{"stop": ["x"]}, {"chat": {"messages": [{}]}}])
def test_what_it_cannot_do_is_refused(tmp_path: Path, more: dict[str, Any]) -> None:
    """Nothing is silently left out."""
    engine = _loaded(tmp_path)
    asked = {"max_tokens": 2, "trace": False, "seed": 1, **_SAMPLER, **more}
    asked |= {} if "chat" in more else {"prompt": "x"}
    with pytest.raises(RequestRefused, match="not supported"):
        engine.generate(GenerateRequest.parse(asked))
    with pytest.raises(RequestRefused, match="temperature is not supported"):
        engine.score(ScoreRequest(prompt="the", response="clock", temperature=0.5))
    with pytest.raises(RequestRefused, match="only the CPU"):
        engine.describe(DescribeRequest.parse({"device": "cuda"}))


@pytest.mark.parametrize(("fault", "order"), [("tired", 3), ("none", 0)])
def test_a_wrong_setting_is_refused(tmp_path: Path, fault: str, order: int) -> None:
    """With what is expected."""
    with pytest.raises(InvalidJson, match="settings"):
        _loaded(tmp_path, fault, order=order)


def test_without_a_model_nothing_is_generated() -> None:
    """The order of requests is wrong."""
    with pytest.raises(RequestRefused, match="no model is loaded"):
        ChainEngine().score(ScoreRequest(prompt="the", response="clock", temperature=None))


def test_an_empty_text_is_no_model(tmp_path: Path) -> None:
    """Nothing follows anything."""
    (tmp_path / "empty.txt").touch()
    asked = {"model": "m", "path": str(tmp_path / "empty.txt"), "sha256": None, "device": "cpu"}
    request = LoadRequest.parse({**asked, "settings": {"order": 3, "fault": "none"}})
    with pytest.raises(RequestRefused, match="empty"):
        ChainEngine().load(request)
