"""A value that a server cannot be asked for is refused by its name, never dropped."""

from typing import Any

import pytest

from repro_gate.engines.served.dialects.openai import Vllm
from repro_gate.engines.served.dialects.sglang import SgLang
from repro_gate.protocol import Refusal, RequestRefused
from repro_gate.samplers import PARAMETERS, PLAIN, SAMPLERS, Sampling
from tests.fakes.served import cell


def _sampling(*samplers: str, **values: Any) -> Any:
    """Return a request with these samplers, and defaults for all other parameters of theirs."""
    needed = {name for sampler in samplers for name in SAMPLERS[sampler]} - PLAIN.keys()
    data: dict[str, Any] = {name: PARAMETERS[name].default for name in needed}
    if "dry_sequence_breakers" in needed:
        data["dry_sequence_breakers"] = ["x"]
    plain = {name: PLAIN[name] for name in PLAIN if name != "temperature"}
    return cell(**plain, sampling=Sampling.parse({"samplers": list(samplers), **data, **values}))


@pytest.mark.parametrize("dialect", [Vllm, SgLang])
@pytest.mark.parametrize(
    "sampler",
    ["penalties", "dry", "top_n_sigma", "typ_p", "xtc", "mirostat", "mirostat_v2", "adaptive_p"],
)
def test_a_sampler_of_llama_server_alone_is_refused(
    dialect: type[Vllm | SgLang], sampler: str
) -> None:
    """Also the penalties, which other servers count over other tokens."""
    samplers = ("temperature", sampler)
    with pytest.raises(RequestRefused, match=f"{sampler}: .* cannot be asked for it") as caught:
        dialect.samplers.of(_sampling(*samplers))
    assert caught.value.kind is Refusal.BAD_REQUEST


@pytest.mark.parametrize(
    ("values", "named"),
    [({"min_keep": 2}, "min_keep"), ({"dynatemp_range": 0.5}, "dynatemp_range")],
)
def test_a_parameter_of_llama_server_alone_is_refused(values: dict[str, Any], named: str) -> None:
    """Unless it has no effect."""
    samplers = ("temperature", "top_p")
    with pytest.raises(RequestRefused, match=named):
        Vllm.samplers.of(_sampling(*samplers, **values))
    assert Vllm.samplers.of(_sampling(*samplers))["top_p"] == 1


def test_another_order_is_refused() -> None:
    """VLLM applies the temperature first, whatever the request."""
    with pytest.raises(RequestRefused, match="in the order temperature, min_p, top_k, top_p"):
        Vllm.samplers.of(_sampling("top_k", "temperature"))


@pytest.mark.parametrize(("name", "value"), [("grammar", 'root ::= "a"')])
def test_a_grammar_of_llama_cpp_is_refused(name: str, value: str) -> None:
    """Other servers have other languages for grammars."""
    with pytest.raises(RequestRefused, match=name):
        Vllm.samplers.of(cell(sampling=Sampling.parse({name: value})))


@pytest.mark.parametrize("bias", [False, 100.5])
def test_a_bias_that_would_be_limited_is_refused(bias: object) -> None:
    """VLLM clamps it to 100 without a word."""
    with pytest.raises(RequestRefused, match="logit_bias: expected -100 to 100 for token 5"):
        Vllm.samplers.of(cell(sampling=Sampling.parse({"logit_bias": [[5, bias]]})))


def test_a_temperature_that_would_be_raised_is_refused() -> None:
    """VLLM makes 0.01 of it."""
    with pytest.raises(RequestRefused, match=r"expected 0 or at least 0\.01"):
        Vllm.samplers.of(cell(temperature=0.005))
    assert Vllm.samplers.of(cell(temperature=0))["temperature"] == 0
