"""Each sampler draws as in llama-server, from a fresh state in every run."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from repro_gate.engines.llama_cpp.inference.chain import _LINKS
from repro_gate.protocol import Method
from repro_gate.samplers import EXTRAS, PARAMETERS, PLAIN, SAMPLERS, SERVER_ORDER
from tests.fakes.driven_engine import CELL

if TYPE_CHECKING:
    from tests.fakes.driven_engine import DrivenEngine

_STRONG: dict[str, dict[str, Any]] = {
    "penalties": {"repeat_penalty": 1.5, "frequency_penalty": 0.5, "presence_penalty": 0.5},
    "dry": {"dry_multiplier": 100.0, "dry_allowed_length": 1},
    "top_n_sigma": {"top_n_sigma": 0.7},
    "typ_p": {"typical_p": 0.2},
    "xtc": {"xtc_probability": 0.8, "xtc_threshold": 0.001},
    "temperature": {"dynatemp_range": 0.7, "dynatemp_exponent": 2.0},
    "mirostat": {"mirostat_tau": 2.0},
    "mirostat_v2": {"mirostat_tau": 2.0},
    "adaptive_p": {"adaptive_target": 0.5},
}
"""Values with which each sampler changes what is drawn."""
_FREE = dict(PLAIN)
"""The parameters of samplers that are not listed."""


def _sampling(*samplers: str, **values: Any) -> dict[str, Any]:
    """Return samplers with the defaults of llama-server and some other values."""
    needed = {name for sampler in samplers for name in SAMPLERS[sampler]}
    defaults = {
        name: list(default) if isinstance(default, tuple) else default
        for name in EXTRAS
        if name in needed
        for default in [PARAMETERS[name].default]
    }
    return {"samplers": list(samplers), **defaults, **values}


def _cell(sampler: str) -> dict[str, Any]:
    """Return a cell in which one sampler has an effect."""
    return {**_FREE, "sampling": _sampling(sampler, **_STRONG[sampler])}


def _ids(answer: Any) -> list[int]:
    return [token for token, _ in answer["tokens"]]


def test_every_sampler_has_a_link() -> None:
    """The table of the engine and the one of the gate name the same samplers."""
    assert set(_LINKS) == set(SAMPLERS)


@pytest.mark.parametrize("sampler", _STRONG)
def test_a_run_leaves_nothing_in_a_sampler(engine: "DrivenEngine", sampler: str) -> None:
    """A cell again, and after another one, is as the first time; and its sampler has an effect."""
    first = engine.generate(**_cell(sampler))
    assert engine.generate(**_cell(sampler)) == first
    for other in _STRONG:
        engine.generate(**_cell(other), prompt="Once upon a time", max_tokens=5)
    assert engine.generate(**_cell(sampler)) == first
    # DRY needs a repetition.
    assert sampler == "dry" or _ids(first) != _ids(engine.generate(**_FREE))


def test_xtc_starts_its_random_numbers_at_the_seed(engine: "DrivenEngine") -> None:
    """As in llama-server: it strikes where the first one is up to its probability."""
    likeliest = _ids(engine.generate(temperature=0, max_tokens=1))
    sampling = _sampling("xtc", "temperature", xtc_probability=0.5, xtc_threshold=0.001)
    cell = {**_FREE, "temperature": 0.0, "max_tokens": 1, "sampling": sampling}
    seeds = range(1, 21)
    strikes = [_ids(engine.generate(**cell, seed=seed)) != likeliest for seed in seeds]
    assert strikes == [_random_words(seed)[0] / 2**32 <= 0.5 for seed in seeds]


def test_the_draw_starts_its_random_numbers_at_the_same_seed(engine: "DrivenEngine") -> None:
    """Of two likely tokens the first one is drawn up to its probability."""
    sampling = _sampling("temperature", logit_bias=[[7, 1000.0], [8, 1000.0]])
    cell = {**_FREE, "temperature": 10.0, "max_tokens": 1, "sampling": sampling}
    shares = {seed: np.dot(_random_words(seed), [2.0**-64, 2.0**-32]) for seed in range(1, 41)}
    sure = {seed: share for seed, share in shares.items() if abs(share - 0.5) > 0.2}
    drawn = {seed: _ids(engine.generate(**cell, seed=seed)) for seed in sure}
    assert len(sure) > 10
    assert drawn == {seed: [7] if share < 0.5 else [8] for seed, share in sure.items()}


def _random_words(seed: int) -> Any:
    """Return the first two words of the generator that llama.cpp starts with a seed."""
    return np.frombuffer(np.random.RandomState(seed).bytes(8), np.uint32)


def test_repeated_sequences_become_unlikely(engine: "DrivenEngine") -> None:
    """DRY breaks a loop that a bias makes."""
    bias = {"logit_bias": [[7, 30.0]]}
    cell = {**_FREE, "temperature": 0}
    assert {*_ids(engine.generate(**cell, sampling=bias))} == {7}
    sampling = _sampling("dry", "temperature", **_STRONG["dry"], **bias)
    first = engine.generate(**cell, sampling=sampling)
    assert {*_ids(first)} > {7}
    assert engine.generate(**cell, sampling=sampling) == first


def test_the_plain_order_as_a_list_draws_like_the_plain_chain(engine: "DrivenEngine") -> None:
    """The samplers of every request, given by name, are the same samplers."""
    sampling = _sampling("top_k", "top_p", "min_p", "temperature")
    for seed in range(1, 6):
        assert engine.generate(sampling=sampling, seed=seed) == engine.generate(seed=seed)


def test_samplers_without_an_effect_change_nothing(engine: "DrivenEngine") -> None:
    """The chain and the defaults of llama-server draw like the plain one."""
    for seed in range(1, 6):
        sampled = engine.generate(sampling=_sampling(*SERVER_ORDER), seed=seed)
        assert sampled == engine.generate(seed=seed)


def test_the_order_counts(engine: "DrivenEngine") -> None:
    """Temperature before a cut by probability keeps other candidates."""
    hot = {**_FREE, "temperature": 5.0, "top_p": 0.3}
    runs = [
        engine.generate(**hot, sampling=_sampling(*order))
        for order in (("temperature", "top_p"), ("top_p", "temperature"))
    ]
    assert _ids(runs[0]) != _ids(runs[1])


def test_temperature_zero_draws_the_likeliest(engine: "DrivenEngine") -> None:
    """With a list of samplers it is as greedy as without one."""
    sampling = _sampling(*SERVER_ORDER)
    assert engine.generate(temperature=0, sampling=sampling) == engine.generate(temperature=0)


def test_the_prompt_counts_for_penalties(engine: "DrivenEngine") -> None:
    """A token of the prompt is as unlikely as a generated one."""
    prompt = [token for token, _ in engine.generate()["prompt"]]
    favoured = [[token, 50.0] for token in prompt]
    values: dict[str, Any] = {"temperature": 0, "max_tokens": 1, "sampling": {}}
    values["sampling"] = {"logit_bias": favoured}
    assert _ids(engine.generate(**values))[0] in prompt
    values["sampling"] = _sampling("penalties", "temperature", presence_penalty=100.0)
    values |= {"top_k": 0, "top_p": 1.0, "min_p": 0.0}
    values["sampling"]["logit_bias"] = favoured
    assert _ids(engine.generate(**values))[0] not in prompt


def test_a_bias_prefers_and_forbids_tokens(engine: "DrivenEngine") -> None:
    """A high bias makes a token certain, and false makes it impossible."""
    certain = engine.generate(sampling={"logit_bias": [[7, 1000.0]]}, max_tokens=4)
    assert _ids(certain) == [7, 7, 7, 7]
    best = _ids(engine.generate(temperature=0))
    forbidden = engine.generate(temperature=0, sampling={"logit_bias": [[best[0], False]]})
    assert best[0] not in _ids(forbidden)


def test_ends_of_generation_can_be_forbidden(engine: "DrivenEngine") -> None:
    """With ignore_eos no token ends a run, even one that a bias makes certain."""
    ended = engine.generate(**_FREE, sampling={"grammar": 'root ::= "a"'})
    end = _ids(ended)[-1]
    bias = {"logit_bias": [[end, 1000.0]]}
    assert _ids(engine.generate(sampling=bias)) == [end]
    free = engine.generate(sampling={**bias, "ignore_eos": True})
    assert free["stop"] == "length"
    assert end not in _ids(free)


def test_a_grammar_is_obeyed(engine: "DrivenEngine") -> None:
    """Every text is one of the grammar, at any temperature, and the run ends with it."""
    sampling = {"grammar": 'root ::= ("a" | "b") [0-9]{3}'}
    for seed, temperature in ((1, 0.0), (2, 0.8), (3, 2.0)):
        cell = {**_FREE, "seed": seed, "temperature": temperature, "sampling": sampling}
        answer = engine.generate(**cell)
        assert engine.generate(**cell) == answer
        assert answer["stop"] == "end_of_generation"
        text = b"".join(bytes.fromhex(data) for _, data in answer["tokens"][:-1]).decode()
        assert text[0] in "ab"
        assert text[1:].isdecimal()
        assert len(text) == 4


def test_a_grammar_that_allows_what_is_drawn_changes_nothing(engine: "DrivenEngine") -> None:
    """The token is drawn first and checked then, so no random number is lost."""
    checked = 0
    for seed in range(1, 11):
        tokens = engine.generate(seed=seed)["tokens"]
        free = engine.generate(seed=seed, sampling={"grammar": r"root ::= [\x00-\x7F]*"})["tokens"]
        for expected, found in zip(tokens, free, strict=True):
            if not bytes.fromhex(expected[1]).isascii():
                break
            assert found == expected
            checked += 1
    assert checked > 20


@pytest.mark.parametrize(
    ("sampling", "why"),
    [
        ({"grammar": "root ::= ("}, "cannot read"),
        ({"grammar": 'other ::= "a"'}, "cannot read"),
        ({"grammar": "root ::= root"}, "cannot read"),
        ({"grammar": "%llguidance {}\nstart: /a/"}, "cannot read"),
        ({"grammar": 'root ::= "a"{2001}'}, "cannot read"),
        ({"grammar": 'root ::= ("a"{1,100}){1,100}'}, "cannot read"),
        ({"grammar": 'root ::= "a"{1,2001}'}, "repetitions up to 2000"),
        ({"grammar": f'root ::= "a"{{1,{"9" * 5000}}}'}, "repetitions up to 2000"),
        ({"grammar": f"root ::= {'[' * 60_000}"}, "cannot read"),
        ({"grammar": f"root ::= {'<' * 60_000}"}, "cannot read"),
        ({"grammar": f'root ::= "a"{{{" " * 60_000}'}, "cannot read"),
        ({"logit_bias": [[2**31 - 1, 1.0]]}, "vocabulary"),
        ({"logit_bias": [[1, 1.0], [1, 2.0]]}, "one entry for each token"),
        ({"json_schema": {"type": "object"}}, "json_schema"),
    ],
)
def test_what_cannot_apply_is_refused(
    engine: "DrivenEngine", sampling: dict[str, Any], why: str
) -> None:
    """Neither a grammar nor a bias is ignored; the engine keeps running."""
    before = engine.generate()
    kind, message = engine.refusal(Method.GENERATE, **(CELL | {"sampling": sampling}))
    assert kind == "bad_request"
    assert why in message
    assert engine.generate() == before


@pytest.mark.parametrize(
    "grammar",
    [
        'root ::= ("a"{0,2001})?',
        'root ::= (("a" | "b"{1,3}){0,2001} "c")+',
        'root ::= ("a" # up to\n {1, # very\n 5000})*',
        'root ::= [^"]{1,5000} "\\""',
        'root ::= other\n# a comment\rother ::= other2{0,99999}\nother2 ::= "a"',
        "root ::= <#meta#>{0,2001}",
    ],
)
def test_no_repetition_is_taken_as_endless(engine: "DrivenEngine", grammar: str) -> None:
    """Wherever it is, and whatever stands before it."""
    sampling = {"grammar": grammar}
    kind, message = engine.refusal(Method.GENERATE, **(CELL | {"sampling": sampling}))
    assert kind == "bad_request"
    assert "repetitions up to 2000" in message


def test_a_long_repetition_in_a_text_is_none(engine: "DrivenEngine") -> None:
    """Quotes, brackets and comments of a grammar hold no bounds."""
    grammar = 'root ::= "{1,5000}" [{1,5000}]? # {1,5000}'
    assert engine.generate(sampling={"grammar": grammar}, max_tokens=1)["tokens"]


def test_no_possible_token_is_a_refusal(engine: "DrivenEngine") -> None:
    """llama.cpp would draw the last token of the vocabulary, or end the process."""
    everything = [[token, False] for token in range(1024)]
    sampling = {"grammar": 'root ::= "a"', "logit_bias": everything}
    kind, _ = engine.refusal(Method.GENERATE, **(CELL | {"sampling": sampling}))
    assert kind == "bad_request"
    assert engine.generate()["tokens"]
