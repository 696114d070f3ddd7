"""The samplers and their parameters, as the matrix, goldens and the wire have them."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.samplers import (
    DRAWING,
    EXTRAS,
    PARAMETERS,
    PLAIN,
    PLAIN_ORDER,
    SAMPLERS,
    SERVER_ORDER,
    Parameter,
    Sampling,
)
from repro_gate.strict_json import InvalidJson
from tests.fakes.strategies import samplings

SERVER: dict[str, Any] = {
    "samplers": list(SERVER_ORDER),
    **{
        name: PARAMETERS[name].default
        for sampler in SERVER_ORDER
        for name in SAMPLERS[sampler]
        if name in EXTRAS
    },
    "dry_sequence_breakers": list(PARAMETERS["dry_sequence_breakers"].default),  # type: ignore[arg-type]  # the one list
}
TEMPERATURE: dict[str, Any] = {
    "samplers": ["temperature"],
    "dynatemp_range": 0,
    "dynatemp_exponent": 1,
}


@given(samplings)
def test_sampling_is_read_as_it_was_written(sampling: Sampling | None) -> None:
    """Through JSON, to the last bit."""
    data = {} if sampling is None else sampling.to_data()

    assert Sampling.parse(json.loads(json.dumps(data))) == sampling


def test_the_defaults_of_llama_server_are_valid() -> None:
    """In its order, with all of its samplers that do not draw."""
    sampling = Sampling.parse(SERVER)

    assert sampling is not None
    assert sampling.order == SERVER_ORDER
    assert sampling.to_data() == SERVER
    assert not sampling.draws_when_cold


def test_what_has_no_effect_is_no_sampling() -> None:
    """So that it makes no other definition of a cell."""
    nothing: dict[str, Any] = {"logit_bias": [], "ignore_eos": False, "grammar": ""}

    assert Sampling.parse(nothing) is None


def test_the_plain_samplers_apply_without_a_list() -> None:
    """With the parameters that have no effect in them."""
    sampling = Sampling.parse({"logit_bias": [[2, False], [5, -1]]})

    assert sampling is not None
    assert sampling.order == PLAIN_ORDER
    assert sampling.value("logit_bias") == [[2, False], [5, -1.0]]
    assert (sampling.value("min_keep"), sampling.value("grammar")) == (0, None)


def test_a_forbidden_token_is_not_one_without_a_bias() -> None:
    """False and 0 are equal in Python, and not here."""
    forbidden, unbiased = (Sampling.parse({"logit_bias": [[2, bias]]}) for bias in (False, 0))

    assert forbidden != unbiased


@pytest.mark.parametrize(
    "schema", [{"type": "object"}, '{"type":"object"}', ' {"type" : "object"}']
)
def test_a_json_schema_is_the_same_however_it_is_spelled(schema: object) -> None:
    """As an object or as text; only the order of its keys counts."""
    sampling = Sampling.parse({"json_schema": schema})

    assert sampling is not None
    assert sampling.value("json_schema") == '{"type": "object"}'


@pytest.mark.parametrize(
    ("change", "draws"),
    [
        ({}, False),
        ({"xtc_probability": 0.5}, True),
        ({"dynatemp_range": 0.5}, True),
    ],
)
def test_some_samplers_draw_at_temperature_0(change: dict[str, Any], *, draws: bool) -> None:
    """XTC removes likely tokens at random, and a dynamic temperature is not 0 everywhere."""
    sampling = Sampling.parse({**SERVER, **change})

    assert sampling is not None
    assert sampling.draws_when_cold is draws


_NESTED = "[" * 100_000


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "sampling: expected an object, found an empty list"),
        ({"top_q": 1}, "sampling: expected only the keys samplers, repeat_last_n, .*'top_q'"),
        ({"temperature": 1}, "sampling: expected only the keys .*'temperature'"),
        ({"samplers": []}, "sampling.samplers: expected at least one sampler, found an empty list"),
        ({"samplers": ["top_q"]}, r"sampling.samplers\[0\]: expected one of penalties, dry, "),
        ({"samplers": ["dist"]}, r"sampling.samplers\[0\]: expected one of penalties, dry, "),
        ({"samplers": [1]}, r"sampling.samplers\[0\]: expected one of .*, found 1"),
        (
            {"samplers": ["top_k", "top_k"]},
            r"sampling.samplers\[1\]: expected no repeated sampler, found top_k",
        ),
        (
            {"samplers": ["mirostat", "top_k"]},
            r"sampling.samplers\[0\]: expected mirostat in the last place, because it draws",
        ),
        (
            {"samplers": ["penalties"]},
            r"expected the key 'repeat_last_n' \(llama-server's default: 64\), found none",
        ),
        (
            {"samplers": ["dry"], "dry_multiplier": 1, "dry_base": 1, "dry_allowed_length": 2,
             "dry_penalty_last_n": 3},
            r"key 'dry_sequence_breakers' \(.*: \[\"\\n\", \":\", \"\\\"\", \"\*\"\]",
        ),
        (
            {"repeat_penalty": 1.5},
            "repeat_penalty: expected no such key without penalties in samplers, as .*, found 1.5",
        ),
        ({**TEMPERATURE, "min_keep": 1}, "without typ_p or top_p or min_p or xtc in samplers"),
        ({**SERVER, "repeat_penalty": 0}, "repeat_penalty: .* from 0.001 to 1000, found 0"),
        ({**SERVER, "repeat_last_n": -1}, "repeat_last_n: .* from 0 to 1048576, found -1"),
        ({**SERVER, "repeat_last_n": 64.0}, "repeat_last_n: expected an integer .*, found 64.0"),
        ({**SERVER, "dry_penalty_last_n": 2**31 - 1}, "dry_penalty_last_n: .*found 2147483647"),
        ({**SERVER, "dry_sequence_breakers": []}, "breakers: expected 1 to 64 entries, found 0"),
        ({**SERVER, "dry_sequence_breakers": [""]}, r"breakers\[0\]: expected 1 to 40 bytes"),
        ({**SERVER, "dry_sequence_breakers": ["x" * 41]}, "expected 1 to 40 bytes, found 41 bytes"),
        ({**SERVER, "dry_sequence_breakers": ["a\0"]}, "found a zero byte in it"),
        ({"logit_bias": [[1]]}, r"logit_bias\[0\]: expected a token id, and a number or false"),
        ({"logit_bias": [[-1, 1]]}, r"logit_bias\[0\]\[0\]: expected an integer from 0 to"),
        ({"logit_bias": [[1, True]]}, r"logit_bias\[0\]\[1\]: expected a finite number or false"),
        ({"logit_bias": [[1, math.nan]]}, r"logit_bias\[0\]\[1\]: expected a finite number"),
        ({"logit_bias": [[1, math.inf]]}, r"logit_bias\[0\]\[1\]: expected a finite number"),
        ({"logit_bias": [[1, 2], [1, 3]]}, r"logit_bias\[1\]: .* each token, found a second of 1"),
        ({"logit_bias": [[n, 1] for n in range(1025)]}, "expected 0 to 1024 entries, found 1025"),
        ({"ignore_eos": 1}, "ignore_eos: expected true or false, found 1"),
        ({"grammar": 1}, "grammar: expected a string, found 1"),
        ({"grammar": "x\0"}, "grammar: expected a string, found a zero byte in it"),
        ({"grammar": "x" * 65537}, "grammar: expected at most 65536 bytes, found more of them"),
        ({"json_schema": "{"}, "json_schema: expected a JSON Schema .* a string that is none"),
        ({"json_schema": _NESTED}, "json_schema: expected a JSON Schema as an object"),
        ({"json_schema": '{"a": 1, "a": 2}'}, "json_schema: expected a JSON Schema as an object"),
        ({"json_schema": '{"a": NaN}'}, "json_schema: expected a JSON Schema as an object"),
        ({"json_schema": {"a": {1, 2}}}, "json_schema: .* found values that JSON lacks"),
        ({"json_schema": "[]"}, "json_schema: expected an object, found an empty list"),
        (
            {"grammar": "root ::= [a]", "json_schema": {}},
            "grammar: expected no grammar beside json_schema, which becomes one",
        ),
    ],
)  # fmt: skip
def test_impossible_sampling_is_refused(data: object, message: str) -> None:
    """llama.cpp itself takes nearly all of it without a word."""
    with pytest.raises(InvalidJson, match=message):
        Sampling.parse(data, "sampling")


@pytest.mark.parametrize("name", [name for name in PARAMETERS if not PARAMETERS[name].is_texts])
def test_every_number_is_finite_and_in_its_range(name: str) -> None:
    """The ends of a range belong to it."""
    parameter = PARAMETERS[name]
    for value in (parameter.low, parameter.high, parameter.default):
        kind = int if parameter.is_integer else float
        assert parameter.read(kind(value), name) == value  # type: ignore[arg-type]  # a number
    outside = (math.nan, math.inf, -math.inf, parameter.low - 1, parameter.high + 1, True, "1")
    for invalid in outside:
        with pytest.raises(InvalidJson):
            parameter.read(invalid, name)


def test_a_form_that_is_not_the_written_one_is_refused() -> None:
    """Two spellings of one sampling would be two definitions of a cell."""
    with pytest.raises(ValueError, match="in the form in which it is written"):
        Sampling(values=(("logit_bias", "[[2, 1]]"),))


@pytest.mark.parametrize("name", DRAWING)
def test_nothing_is_drawn_at_temperature_0(name: str) -> None:
    """A sampler that draws would have nothing to choose from."""
    values = {parameter: PARAMETERS[parameter].default for parameter in SAMPLERS[name]}
    sampling = Sampling.parse({**TEMPERATURE, "samplers": ["temperature", name], **values})

    assert sampling is not None
    sampling.require_effect(PLAIN)
    with pytest.raises(InvalidJson, match=f"x.temperature: .* because {name} draws, found 0"):
        sampling.require_effect({**PLAIN, "temperature": 0}, "x")


def test_a_value_of_an_absent_sampler_is_refused() -> None:
    """It would have no effect."""
    sampling = Sampling.parse(TEMPERATURE)

    assert sampling is not None
    with pytest.raises(InvalidJson, match=r"^top_k: expected 0, because top_k is not one of"):
        sampling.require_effect({**PLAIN, "top_k": 40})


@given(st.sampled_from(list(PARAMETERS.values())))
def test_every_default_is_in_its_range(parameter: Parameter) -> None:
    """Also after it was written as JSON."""
    default = json.loads(json.dumps(parameter.default))

    assert json.loads(json.dumps(parameter.read(default, ""))) == default


@pytest.mark.parametrize("name", ["mirostat", "mirostat_v2"])
@pytest.mark.parametrize(
    ("before", "dynatemp", "message"),
    [
        (["top_k", "temperature"], 0, r"samplers\[0\]: expected only temperature before"),
        (["temperature"], 0.5, "dynatemp_range: expected 0 with .*, where llama-server ignores it"),
    ],
)
def test_nothing_that_llama_server_ignores_precedes_mirostat(
    name: str, before: list[str], dynatemp: float, message: str
) -> None:
    """With mirostat it applies the plain temperature alone; llama.cpp's chain applies all."""
    data = {"samplers": [*before, name], "dynatemp_range": dynatemp, "dynatemp_exponent": 1}
    with pytest.raises(InvalidJson, match=message):
        Sampling.parse({**data, "mirostat_tau": 5, "mirostat_eta": 0.1})


@pytest.mark.parametrize(
    ("probability", "threshold", "draws"),
    [(0.5, 0.1, True), (0.5, 0.5, True), (1, 0.1, False), (0.5, 0.51, False), (0, 0.1, False)],
)
def test_a_cut_that_is_certain_or_off_needs_no_seed(
    probability: float, threshold: float, *, draws: bool
) -> None:
    """At temperature 0 the seed counts only where xtc may or may not cut."""
    xtc = {"xtc_probability": probability, "xtc_threshold": threshold, "min_keep": 0}
    heat = {"dynatemp_range": 0, "dynatemp_exponent": 1}
    sampling = Sampling.parse({"samplers": ["xtc", "temperature"], **xtc, **heat})

    assert sampling is not None
    assert sampling.draws_when_cold is draws
