"""Every kind of model generates as any other: cold, and equal to the bit in every run."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from repro_gate.protocol import Method
from tests.fakes.driven_engine import CELL, DrivenEngine
from tests.fakes.model_kinds import KINDS, WINDOW, make_kind

if TYPE_CHECKING:
    from tests.engines.llama_cpp.conftest import EngineStarter

_LONG = "The quick brown fox jumps over the lazy dog, and once more. " * 2
_RECURRENT = ("mamba", "mamba2", "rwkv7")


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a small model of each kind."""
    name: str = request.param
    return make_kind(name, tmp_path_factory.mktemp("kinds") / f"{name}.gguf").path


@pytest.fixture(scope="module")
def engine(kind: Path) -> Iterator[DrivenEngine]:
    """Yield an engine with the model in one context, which every run after another takes."""
    with closing(DrivenEngine({})) as driven:
        driven.load(kind, contexts=1)
        yield driven


def test_a_run_after_others_equals_a_cold_one(
    engine: DrivenEngine, kind: Path, start_engine: "EngineStarter"
) -> None:
    """No state is left of other prompts, which a recurrent model has outside of a cache."""
    fresh = start_engine()
    fresh.load(kind)
    cold = fresh.generate(prompt=_LONG, trace=True, logits=True)
    for prompt in ("Once upon a time", _LONG[:40], "x"):
        engine.generate(prompt=prompt)
        assert engine.generate(prompt=_LONG, trace=True, logits=True) == cold


def test_contexts_side_by_side_change_no_bit(kind: Path, start_engine: "EngineStarter") -> None:
    """Four runs at a time are those of one context."""
    fresh = start_engine()
    cells = [
        (Method.GENERATE, CELL | {"prompt": prompt, "seed": seed, "trace": True, "logits": True})
        for prompt in ("The quick brown fox", _LONG)
        for seed in (1, 2, 3)
    ]
    answers = []
    for contexts in (1, 4):
        fresh.load(kind, contexts=contexts)
        answers.append(fresh.ask_together(cells))
    assert answers[0] == answers[1]
    assert all("tokens" in answer for answer in answers[0])


def test_seed_and_prompt_change_the_tokens(engine: DrivenEngine) -> None:
    """Otherwise nothing of this kind could ever differ; the first and the last word count."""
    prompts = ("the quick brown fox", "one quick brown fox", "the quick brown dog")
    runs = [engine.generate(prompt=prompt, seed=seed) for prompt in prompts for seed in (1, 2)]
    assert len({str(run["tokens"]) for run in runs}) == len(runs)


def test_a_score_agrees_with_the_trace(engine: DrivenEngine) -> None:
    """All tokens at once agree with one at a time, but for the rounding of another numeric mode."""
    generated = engine.generate(trace=True)
    response = [token for token, _ in generated["tokens"]]
    scored = engine.ask(Method.SCORE, prompt=CELL["prompt"], response=response)
    assert scored["prompt"] == generated["prompt"]
    expected = [entry["logprob"] for entry in generated["trace"]]
    assert scored["logprobs"] == pytest.approx(expected, abs=1e-4)


def test_the_window_of_a_layer_hides_what_is_before_it(
    fresh_engine: DrivenEngine, tmp_path: Path
) -> None:
    """A wider window changes a longer text, and none that fits in the smaller one."""
    short, found = {"prompt": "a", "max_tokens": WINDOW // 2}, []
    for window in (WINDOW, 8 * WINDOW):
        change: dict[str, Any] = {"attention.sliding_window": window}
        fresh_engine.load(make_kind("gemma3", tmp_path / f"{window}.gguf", **change).path)
        found.append((fresh_engine.generate(**short), fresh_engine.generate(prompt=_LONG)))
    assert found[0][0] == found[1][0]
    assert found[0][1]["tokens"] != found[1][1]["tokens"]


def test_a_smaller_cache_of_a_window_changes_no_bit(
    fresh_engine: DrivenEngine, tmp_path: Path
) -> None:
    """It forgets only positions that the window hides, also while the prompt is computed."""
    path, runs = make_kind("gemma3", tmp_path / "model.gguf").path, []
    for is_full in (True, False):
        loaded = fresh_engine.load(path, n_ctx=1024, n_batch=1024, n_ubatch=64, swa_full=is_full)
        run = fresh_engine.generate(prompt=_LONG * 12, trace=True)
        runs.append((run["tokens"], run["trace"]))
        assert (loaded["facts"]["memory.kv"] == "CPU 0.25 MiB, CPU 0.25 MiB") is is_full
        assert len(run["prompt"]) > 2 * 256
    assert runs[0] == runs[1]


def test_as_many_experts_as_the_file_names_compute_a_token(
    fresh_engine: DrivenEngine, tmp_path: Path
) -> None:
    """One expert gives other tokens than two of the same."""
    found = []
    for count in (1, 2):
        change: dict[str, Any] = {"expert_used_count": count}
        fresh_engine.load(make_kind("qwen2moe", tmp_path / f"{count}.gguf", **change).path)
        found.append(fresh_engine.generate()["tokens"])
    assert found[0] != found[1]


@pytest.mark.parametrize("name", _RECURRENT)
def test_a_setting_of_attention_without_effect_is_noted(
    fresh_engine: DrivenEngine, tmp_path: Path, name: str
) -> None:
    """Recurrent models have no attention: with every setting of it the bits are the same."""
    path, runs = make_kind(name, tmp_path / "model.gguf").path, []
    for settings in ({}, {"kv_type": "f16"}, {"kv_type": "q8_0", "flash_attention": True}):
        notes = fresh_engine.load(path, **settings)["notes"]
        runs.append(fresh_engine.generate(trace=True))
        assert len(notes) == 1
        assert notes[0].endswith("have no effect: the model is recurrent, so it has no attention")
    assert runs[1:] == runs[:1] * 2
