"""`generate` runs a cell cold: the same tokens after any other request, drawn as documented."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from repro_gate.protocol import Method

if TYPE_CHECKING:
    from tests.engines.llama_cpp.conftest import EngineStarter, ModelMaker
    from tests.fakes.driven_engine import DrivenEngine

CELL = {
    "prompt": "The quick brown fox",
    "seed": 42,
    "max_tokens": 20,
    "temperature": 0.8,
    "top_k": 40,
    "top_p": 0.95,
    "min_p": 0.05,
    "trace": False,
}


def test_a_repeated_cell_gives_the_same_tokens(engine: "DrivenEngine") -> None:
    """Ten runs agree in every token, in the prompt's tokens, and in why they stop."""
    first = engine.generate()
    assert [engine.generate() for _ in range(9)] == [first] * 9


def test_a_fresh_process_gives_the_same_tokens(
    start_engine: "EngineStarter", tiny_model: "ModelMaker"
) -> None:
    """Two processes agree, log-probabilities to the last bit included."""
    results = []
    for _ in range(2):
        engine = start_engine()
        engine.load(tiny_model("tiny-qwen2").path)
        results.append(engine.generate(trace=True))
    assert results[0] == results[1]


def test_earlier_cells_change_nothing(engine: "DrivenEngine") -> None:
    """A cell after others with the same prompt, or the start of it, is as cold as alone."""
    alone = engine.generate(trace=True)
    engine.generate(prompt="The quick brown dog", seed=7)
    engine.generate(max_tokens=1)
    engine.ask(Method.SCORE, prompt="The quick brown fox", response=[5, 6])
    assert engine.generate(trace=True) == alone


def test_a_refused_cell_changes_nothing(engine: "DrivenEngine") -> None:
    """A cell after one that was too long is as cold as alone."""
    alone = engine.generate()
    engine.refusal(Method.GENERATE, **(CELL | {"max_tokens": 1000}))
    assert engine.generate() == alone


def test_a_trace_changes_no_token(engine: "DrivenEngine") -> None:
    """A traced run equals an untraced one in all but the trace."""
    traced = engine.generate(trace=True)
    assert len(traced.pop("trace")) == len(traced["tokens"])
    assert engine.generate() == traced


def test_digests_of_logits_change_no_token(engine: "DrivenEngine") -> None:
    """A run with them equals one without; each step has its own, and the first is the prompt's."""
    run = engine.generate(logits=True)
    logits = run.pop("logits")
    assert engine.generate() == run
    assert len(set(logits)) == len(logits) == len(run["tokens"])
    assert engine.generate(seed=7, logits=True)["logits"][0] == logits[0]


def test_samplers_and_biases_change_no_digest(engine: "DrivenEngine") -> None:
    """Logits are those of the model."""
    first, *_ = engine.generate(logits=True)["logits"]
    sampling = {"logit_bias": [[5, 9.0]]}
    assert engine.generate(logits=True, sampling=sampling)["logits"][0] == first
    assert engine.generate(logits=True, temperature=0)["logits"][0] == first


def test_seeds_differ(engine: "DrivenEngine") -> None:
    """Eight seeds give more than one sequence; otherwise drift could not be seen."""
    sequences = {str(engine.generate(seed=seed)["tokens"]) for seed in range(1, 9)}
    assert len(sequences) > 1


def test_a_longer_run_starts_like_a_shorter_one(engine: "DrivenEngine") -> None:
    """The limit ends a run and changes nothing else."""
    longer = engine.generate(max_tokens=8)["tokens"]
    shorter = engine.generate(max_tokens=5)
    assert (shorter["tokens"], shorter["stop"]) == (longer[:5], "length")


def test_temperature_zero_takes_the_likeliest_token(engine: "DrivenEngine") -> None:
    """At temperature 0 every token is the best of its trace, at any seed."""
    runs = [engine.generate(temperature=0, seed=seed, trace=True) for seed in (1, 2)]
    best = [entry["best"][0][0] for entry in runs[0]["trace"]]
    assert [[token for token, _ in run["tokens"]] for run in runs] == [best, best]


def test_a_trace_has_raw_log_probabilities(engine: "DrivenEngine") -> None:
    """The five best are sorted, and the chosen token has its own value."""
    result = engine.generate(trace=True)
    for (token, _), entry in zip(result["tokens"], result["trace"], strict=True):
        best = dict(entry["best"])
        logprobs = list(best.values())
        assert len(best) == 5
        assert logprobs == sorted(logprobs, reverse=True)
        assert entry["logprob"] == best.get(token, entry["logprob"])
        assert entry["logprob"] <= logprobs[0]
        assert np.exp(logprobs).sum() < 1


@pytest.mark.parametrize("seed", [1, 42, 123, 999, 2**32 - 2])
@pytest.mark.parametrize("temperature", [0.5, 0.9])
def test_an_independent_sampler_draws_the_same_tokens(
    engine: "DrivenEngine", seed: int, temperature: float
) -> None:
    """MT19937 and top_k, top_p, min_p, temperature in this order reproduce every draw."""
    sampler: dict[str, Any] = {"temperature": temperature, "top_k": 5, "top_p": 0.9, "min_p": 0.1}
    result = engine.generate(seed=seed, max_tokens=60, trace=True, **sampler)
    uniform = _mt19937(seed)
    expected = [_draw(entry["best"], next(uniform), **sampler) for entry in result["trace"]]
    assert [token for token, _ in result["tokens"]] == expected


def _draw(
    best: list[Any], uniform: float, *, temperature: float, top_k: int, top_p: float, min_p: float
) -> int:
    ids = [token for token, _ in best[:top_k]]
    # The distance to the best log-probability is the distance to the best logit.
    logits = np.array([logprob - best[0][1] for _, logprob in best[:top_k]], dtype=np.float32)
    probabilities = np.exp(logits) / np.exp(logits).sum()
    kept = int(np.searchsorted(np.cumsum(probabilities), np.float32(top_p))) + 1
    logits = logits[:kept]
    logits = logits[logits >= np.log(np.float32(min_p))]
    weights = np.exp(logits / np.float32(temperature))
    running = np.cumsum(weights.astype(np.float64))
    return int(ids[int(np.searchsorted(running, running[-1] * uniform))])


def _mt19937(seed: int) -> Any:
    """Yield the doubles of C++'s `uniform_real_distribution` over `mt19937(seed)`."""
    key = [seed]
    for place in range(1, 624):
        key.append((1812433253 * (key[-1] ^ (key[-1] >> 30)) + place) % 2**32)
    generator = np.random.MT19937()
    generator.state = {
        "bit_generator": "MT19937",
        "state": {"key": np.array(key, dtype=np.uint32), "pos": 624},
    }
    while True:
        low, high = (int(word) for word in generator.random_raw(2))
        yield (low + high * 2**32) / 2**64


def test_the_token_that_ends_a_generation_is_part_of_it(
    fresh_engine: "DrivenEngine", tiny_model: "ModelMaker"
) -> None:
    """The stop reason says so, and the last token shows its name."""
    fresh_engine.load(tiny_model("tiny-qwen2").path)
    runs = [fresh_engine.generate(seed=seed, max_tokens=100) for seed in range(1, 40)]
    ended = [run for run in runs if run["stop"] == "end_of_generation"]
    assert {run["tokens"][-1][1] for run in ended} <= {
        b"<|im_end|>".hex(),
        b"<|endoftext|>".hex(),
    }
    assert 0 < len(ended) < len(runs)


def test_special_tokens_of_a_prompt_are_parsed(
    fresh_engine: "DrivenEngine", tiny_model: "ModelMaker"
) -> None:
    """`<|im_start|>` is one token of a prompt, with its name as bytes."""
    fresh_engine.load(tiny_model("tiny-qwen2").path)
    prompt = fresh_engine.generate(prompt="<|im_start|>the", max_tokens=1)["prompt"]
    assert prompt[0] == [638, b"<|im_start|>".hex()]


def test_the_bytes_of_a_prompt_are_its_text(
    fresh_engine: "DrivenEngine", tiny_model: "ModelMaker"
) -> None:
    """The tokens of any text spell it, including a NUL and a part of an emoji's bytes."""
    fresh_engine.load(tiny_model("tiny-qwen2").path)
    text = "naïve \0 🍁 end\n"
    prompt = fresh_engine.generate(prompt=text, max_tokens=1)["prompt"]
    assert b"".join(bytes.fromhex(data) for _, data in prompt) == text.encode()


def test_a_prompt_without_tokens_is_a_bad_request(
    fresh_engine: "DrivenEngine", tiny_model: "ModelMaker"
) -> None:
    """A model that adds no token of its own has nothing to predict the first one from."""
    fresh_engine.load(tiny_model("tiny-qwen2").path)
    kind, message = fresh_engine.refusal(Method.GENERATE, **(CELL | {"prompt": ""}))
    assert kind == "bad_request"
    assert "no tokens" in message


def test_a_cell_that_fits_exactly_is_run(engine: "DrivenEngine") -> None:
    """The last position of the context can be used."""
    available = 256 - len(engine.generate()["prompt"])
    result = engine.generate(max_tokens=available, seed=5)
    assert len(result["tokens"]) == available or result["stop"] == "end_of_generation"


def test_a_cell_that_does_not_fit_is_out_of_context(engine: "DrivenEngine") -> None:
    """The message has the three numbers."""
    prompt = len(engine.generate()["prompt"])
    more = 257 - prompt
    assert engine.refusal(Method.GENERATE, **(CELL | {"max_tokens": more})) == (
        "out_of_context",
        f"{prompt} tokens of prompt and {more} more do not fit in n_ctx = 256",
    )


@pytest.mark.parametrize("sizes", [(4, 4), (4, 3), (3, 1)])
def test_a_prompt_may_be_longer_than_a_batch(
    fresh_engine: "DrivenEngine", tiny_model: "ModelMaker", sizes: tuple[int, int]
) -> None:
    """Its batches follow each other in one sequence: the tokens are those of a single batch."""
    prompt = "The quick brown fox jumps"
    fresh_engine.load(tiny_model("tiny-qwen2").path)
    at_once = fresh_engine.generate(prompt=prompt, trace=True)
    fresh_engine.load(tiny_model("tiny-qwen2").path, n_batch=sizes[0], n_ubatch=sizes[1])
    split = fresh_engine.generate(prompt=prompt, trace=True)

    assert len(at_once["prompt"]) > sizes[0]
    assert (split["prompt"], split["tokens"]) == (at_once["prompt"], at_once["tokens"])
    logprobs = [[entry["logprob"] for entry in run["trace"]] for run in (split, at_once)]
    assert logprobs[0] == pytest.approx(logprobs[1], abs=1e-4)
    assert fresh_engine.generate(prompt=prompt, trace=True) == split


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 0}, "generate.seed: expected "),
        ({"seed": 2**32 - 1}, "generate.seed: expected "),
        ({"seed": 1.0}, "generate.seed: expected "),
        ({"max_tokens": 0}, "generate.max_tokens: expected "),
        ({"temperature": -0.1}, "generate.temperature: expected "),
        ({"temperature": 1e-30}, "generate.temperature: expected "),
        ({"top_k": -1}, "generate.top_k: expected "),
        ({"top_p": 0}, "generate.top_p: expected "),
        ({"top_p": 1.1}, "generate.top_p: expected "),
        ({"min_p": 2}, "generate.min_p: expected "),
        ({"trace": 1}, "generate.trace: expected "),
        ({"logits": 1}, "generate.logits: expected "),
        ({"prompt": 1}, "generate.prompt: expected "),
        ({"prompt": "\ud800"}, "generate.prompt: expected "),
        ({"typical_p": 1}, "the unknown key 'typical_p'"),
        ({"sampling": {"typical_p": 1}}, "generate.sampling.typical_p: expected no such key "),
        ({"sampling": {"samplers": ["dist"]}}, "generate.sampling.samplers[0]: expected one of "),
        (
            {
                "sampling": {
                    "samplers": ["temperature"],
                    "dynatemp_range": 0,
                    "dynatemp_exponent": 1,
                }
            },
            "generate.top_k: expected 0, because top_k is not one of the samplers",
        ),
    ],
)
def test_an_invalid_value_is_named(
    engine: "DrivenEngine", change: dict[str, Any], named: str
) -> None:
    """A wrong value is a bad request, never a silent default."""
    kind, message = engine.refusal(Method.GENERATE, **(CELL | change))
    assert kind == "bad_request"
    assert named in message


def test_nothing_is_generated_without_a_model(fresh_engine: "DrivenEngine") -> None:
    """A cell before any load is a bad request."""
    assert fresh_engine.refusal(Method.GENERATE, **CELL) == ("bad_request", "no model is loaded")
