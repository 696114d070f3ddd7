"""Small changes of a cell change the output of the tiny models, so a gate on them can fail."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

from repro_gate.tiny_models.maker import make
from repro_gate.tiny_models.recipes import RECIPES, Encoding

if TYPE_CHECKING:
    from tests.tiny_models.conftest import LoadedModel, ModelLoader

Generations: TypeAlias = dict[tuple[str, int], tuple[int, ...]]

TINY = ("tiny-qwen2", "tiny-phi3")
SEEDS = (42, 123, 999)
PROMPTS = {
    "tiny-qwen2": {
        "Write a haiku about autumn leaves": (0.7, 30),
        "The quick brown fox": (0.8, 20),
        "Once upon a time": (0.5, 25),
        "In a galaxy far, far away": (0.9, 30),
        "The meaning of life is": (0.6, 20),
    },
    "tiny-phi3": {
        "Write a haiku about ocean waves": (0.7, 30),
        "A recipe for bread begins with": (0.5, 25),
        "The train leaves the station at": (0.6, 20),
        "Dear diary, today I learned": (0.8, 30),
        "Three reasons to visit the moon:": (0.9, 20),
    },
}


def _generations(model: "LoadedModel", name: str) -> Generations:
    return {
        (prompt, seed): model.generate(
            prompt, temperature=temperature, max_tokens=max_tokens, seed=seed
        )
        for prompt, (temperature, max_tokens) in PROMPTS[name].items()
        for seed in SEEDS
    }


@pytest.mark.parametrize("name", TINY)
def test_a_cold_run_repeats_exactly(loaded_model: "ModelLoader", name: str) -> None:
    """The same cells give the same tokens again."""
    model = loaded_model(name)
    assert _generations(model, name) == _generations(model, name)


@pytest.mark.parametrize("name", TINY)
def test_no_two_cells_agree(loaded_model: "ModelLoader", name: str) -> None:
    """Every prompt and seed has a sequence of its own, and seeds diverge within three tokens."""
    generations = _generations(loaded_model(name), name)
    assert len(set(generations.values())) == len(generations)
    for prompt in PROMPTS[name]:
        for one, other in combinations(SEEDS, 2):
            assert generations[prompt, one][:3] != generations[prompt, other][:3]


@pytest.mark.parametrize("name", TINY)
def test_no_cell_is_stuck_on_a_token(loaded_model: "ModelLoader", name: str) -> None:
    """At least two thirds of the tokens of every generation are distinct."""
    for tokens in _generations(loaded_model(name), name).values():
        assert len(set(tokens)) >= len(tokens) * 2 / 3


@pytest.mark.parametrize("name", TINY)
def test_most_cells_run_to_their_limit(loaded_model: "ModelLoader", name: str) -> None:
    """End tokens are rare: in one to three of the fifteen cells."""
    model = loaded_model(name)
    generations = _generations(model, name).values()
    assert 1 <= sum(model.is_end(tokens[-1]) for tokens in generations) <= 3


@pytest.mark.parametrize("name", TINY)
def test_the_start_of_a_prompt_matters(loaded_model: "ModelLoader", name: str) -> None:
    """Attention works: two prompts with the same end are continued differently."""
    model = loaded_model(name)
    one, other = (
        model.generate(f"{start} and the moon", temperature=0.5, max_tokens=20, seed=42)
        for start in ("The sun", "A fox")
    )
    assert one != other


@pytest.mark.parametrize("name", TINY)
def test_another_quantisation_is_detected(
    loaded_model: "ModelLoader", name: str, tmp_path: Path
) -> None:
    """The same weights rounded to eight bits change most cells."""
    path = tmp_path / "quantised.gguf"
    make(replace(RECIPES[name], encoding=Encoding.Q8_0), path)
    quantised = type(loaded_model(name))(path)
    before, after = (_generations(model, name) for model in (loaded_model(name), quantised))
    quantised.close()
    assert sum(before[cell] != after[cell] for cell in before) >= 10
