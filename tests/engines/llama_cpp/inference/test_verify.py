"""`verify` explains what the real samplers drew, and measures how nearly they drew otherwise."""

from typing import TYPE_CHECKING, Any

import pytest

from repro_gate.engines.llama_cpp.inference.verify import _uniforms
from repro_gate.protocol import Method
from repro_gate.samplers import EXTRAS, PARAMETERS, PLAIN, SAMPLERS, SERVER_ORDER
from tests.fakes.driven_engine import CELL

if TYPE_CHECKING:
    from tests.fakes.driven_engine import DrivenEngine

_CLAIM = {name: CELL[name] for name in CELL if name in {*PLAIN, "seed"}}


def _verify(engine: "DrivenEngine", generated: Any, **changes: Any) -> list[dict[str, Any]]:
    """Return what the engine says of the tokens of a generation."""
    ids = {name: [token for token, _ in generated[name]] for name in ("prompt", "tokens")}
    found: list[dict[str, Any]] = engine.ask(
        Method.VERIFY, **{**_CLAIM, **ids, "best": 5, **changes}
    )["tokens"]
    return found


def _sampling(*samplers: str, **values: Any) -> dict[str, Any]:
    needed = {name for sampler in samplers for name in SAMPLERS[sampler]}
    defaults: dict[str, Any] = {
        name: list(default) if isinstance(default, tuple) else default
        for name in EXTRAS
        if name in needed
        for default in [PARAMETERS[name].default]
    }
    return {"samplers": list(samplers), **defaults, **values}


_NONE = dict(PLAIN)
_WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "hot": {**_NONE, "temperature": 2.0},
    "of the server": {"sampling": _sampling(*SERVER_ORDER, repeat_penalty=1.3, dry_multiplier=0.8)},
    "xtc": {
        **_NONE,
        "sampling": _sampling("xtc", "temperature", xtc_probability=0.5, xtc_threshold=0.01),
    },
    "mirostat": {**_NONE, "temperature": 0.8, "sampling": _sampling("temperature", "mirostat")},
    "mirostat 2": {
        **_NONE,
        "temperature": 0.8,
        "sampling": _sampling("temperature", "mirostat_v2", mirostat_tau=1.0),
    },
    "adaptive": {**_NONE, "sampling": _sampling("adaptive_p", adaptive_target=0.3)},
    "grammar": {"sampling": {"grammar": "root ::= [a-zA-Z .]+"}},
    "bias": {"sampling": {"logit_bias": [[7, 5.0], [8, False]]}},
}


@pytest.mark.parametrize("way", _WAYS)
def test_every_token_that_was_drawn_is_explained(engine: "DrivenEngine", way: str) -> None:
    """The random number lies in the share of the drawn token, whichever samplers drew it."""
    asked = _WAYS[way]
    for seed in (1, 42):
        generated = engine.generate(**asked, seed=seed, max_tokens=32)
        for (token, _), found in zip(
            generated["tokens"], _verify(engine, generated, **asked, seed=seed), strict=True
        ):
            assert found["drawn"] == token
            assert found["share"] == found["drawn_share"]
            low, high = found["share"]
            assert low - 1e-6 <= found["uniform"] <= high + 1e-6


def test_the_evidence_is_that_of_the_trace(engine: "DrivenEngine") -> None:
    """The logits are those of the generation to the bit."""
    generated = engine.generate(trace=True)
    found = _verify(engine, generated)
    assert [{"logprob": each["logprob"], "best": each["best"]} for each in found] == generated[
        "trace"
    ]


def test_greedy_tokens_have_no_random_number(engine: "DrivenEngine") -> None:
    """The seed has no effect on them."""
    generated = engine.generate(temperature=0)
    found = _verify(engine, generated, temperature=0)
    assert {each["uniform"] for each in found} == {None}
    assert [each["drawn"] for each in found] == [token for token, _ in generated["tokens"]]


def test_another_seed_draws_other_tokens(engine: "DrivenEngine") -> None:
    """What is drawn follows the claimed tokens, by the random numbers of the seed."""
    generated = engine.generate(max_tokens=32)
    found = _verify(engine, generated, seed=43)
    tokens = [token for token, _ in generated["tokens"]]
    assert [each["drawn"] for each in found] != tokens
    assert [each["logprob"] for each in found] == [
        each["logprob"] for each in _verify(engine, generated)
    ]


def test_a_token_that_cannot_be_drawn_has_no_share(engine: "DrivenEngine") -> None:
    """Top-k leaves one candidate, which is drawn whatever is claimed."""
    generated = engine.generate(max_tokens=2)
    likeliest = _verify(engine, generated)[0]["best"][0][0]
    claim = [[(likeliest + 1) % 256, ""]]
    (found,) = _verify(engine, {**generated, "tokens": claim}, top_k=1)
    assert (found["share"], found["drawn"], found["drawn_share"]) == (None, likeliest, [0.0, 1.0])


def test_a_claim_against_the_grammar_is_refused(engine: "DrivenEngine") -> None:
    """llama.cpp would end the process."""
    params = {**_CLAIM, "prompt": [1], "tokens": [1, 2], "best": 1}
    kind, message = engine.refusal(Method.VERIFY, **params, sampling={"grammar": 'root ::= "zzz"'})
    assert kind == "bad_request"
    assert message.startswith("verify.sampling.grammar: it does not allow the token ")
    engine.generate()


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"tokens": []}, "verify.tokens"),
        ({"prompt": []}, "verify.prompt"),
        ({"tokens": [True]}, "verify.tokens[0]"),
        ({"prompt": "text"}, "verify.prompt"),
        ({"best": 0}, "verify.best"),
        ({"best": 65}, "verify.best"),
        ({"seed": 0}, "verify.seed"),
        ({"top_p": 0}, "verify.top_p"),
        ({"temperature": 1e-9}, "verify.temperature"),
        ({"stop": ["a"]}, "verify"),
        ({"sampling": {"samplers": ["no"]}}, "verify.sampling.samplers[0]"),
        ({"sampling": {"grammar": "a"}}, "verify.sampling.grammar"),
        ({"sampling": {"logit_bias": [[2**30, 1.0]]}}, "verify.sampling.logit_bias"),
    ],
)
def test_an_invalid_claim_is_a_bad_request(
    engine: "DrivenEngine", change: dict[str, Any], place: str
) -> None:
    """The message names the place."""
    params = {**_CLAIM, "prompt": [1], "tokens": [2], "best": 1, **change}
    kind, message = engine.refusal(Method.VERIFY, **params)
    assert kind == "bad_request"
    assert message.startswith(place)


@pytest.mark.parametrize("name", ["prompt", "tokens"])
def test_unknown_tokens_are_a_bad_request(engine: "DrivenEngine", name: str) -> None:
    """llama.cpp would abort the process."""
    params = {**_CLAIM, "prompt": [1], "tokens": [2], "best": 1, name: [1, 2**31 - 1]}
    kind, message = engine.refusal(Method.VERIFY, **params)
    assert (kind, str(2**31 - 1) in message) == ("bad_request", True)


def test_a_claim_has_to_fit_in_the_context(engine: "DrivenEngine") -> None:
    """As a generation has to."""
    params = {**_CLAIM, "prompt": [1], "tokens": [2] * 5000, "best": 1}
    assert engine.refusal(Method.VERIFY, **params)[0] == "out_of_context"


def test_the_random_numbers_are_those_of_mt19937() -> None:
    """C++ gives the 10,000th word for the default seed: 4123659995 (rand.predef)."""
    last = float(_uniforms(5489, 5000)[-1])
    # It is the higher of the two words of the 5,000th double.
    assert int(last * 2.0**32) == 4_123_659_995
