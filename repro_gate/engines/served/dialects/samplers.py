"""The samplers of servers that apply them in an order of their own."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from repro_gate.engines.requests import GenerateRequest
from repro_gate.protocol import RequestRefused, bad_request
from repro_gate.samplers import BESIDE, PLAIN, Sampling

_ABSENT: Final[Mapping[str, float]] = {"dynatemp_range": 0, "min_keep": 0}
"""Parameters of samplers that every server has, which only llama-server has; with no effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerFields:
    """The fields of a request that decide how a token is drawn."""

    server: str
    """For messages."""
    order: tuple[str, ...]
    """In which the server applies its samplers."""
    names: Mapping[str, str]
    """The field of each parameter that it knows."""
    always: Mapping[str, Any]
    """Fields for what else it could apply, with the values that have no effect."""
    off: Mapping[str, int] = field(default_factory=dict[str, int])
    """What it reads as no limit, where the matrix has 0."""
    beside: Mapping[str, Callable[[Any], Mapping[str, Any]]]
    """What applies beside the samplers: returns the fields of a value."""
    min_temperature: float = 0
    """It raises a lower one, other than 0, to this."""

    def of(self, request: GenerateRequest) -> dict[str, Any]:
        """Return every field, or refuse what the server cannot be asked for."""
        if request.sampling is not None:
            self._require_known(request.sampling)
        if 0 < request.temperature < self.min_temperature:
            raise bad_request(
                f"generate.temperature: expected 0 or at least {self.min_temperature:g}, to which "
                f"{self.server} raises it, found {request.temperature:g}"
            )
        found = dict(self.always)
        for name, neutral in PLAIN.items():
            value = getattr(request, name)
            if name in self.names:
                found[self.names[name]] = value or self.off.get(name, value)
            elif value != neutral:
                raise self._unknown(name, expected=f"{neutral:g}")
        found[self.names["seed"]] = request.seed
        for name, value in _beside(request.sampling).items():
            found |= self.beside[name](value)
        return found

    def _require_known(self, sampling: Sampling) -> None:
        for name in sampling.samplers:
            if name not in self.order:
                raise self._unknown(f"sampling.samplers: {name}", expected="none")
        ranks = [self.order.index(name) for name in sampling.samplers]
        if ranks != sorted(ranks):
            raise bad_request(
                f"generate.sampling.samplers: {self.server} applies its samplers in the order "
                f"{', '.join(self.order)}, whatever the request"
            )
        for name, neutral in _ABSENT.items():
            if sampling.value(name) != neutral:
                raise self._unknown(f"sampling.{name}", expected=f"{neutral:g}")
        for name in _beside(sampling):
            if name not in self.beside:
                raise self._unknown(f"sampling.{name}", expected="none")

    def _unknown(self, name: str, *, expected: str) -> RequestRefused:
        return bad_request(
            f"generate.{name}: {self.server} cannot be asked for it; expected {expected}"
        )


def logit_bias(*, max_bias: float) -> Callable[[Any], Mapping[str, Any]]:
    """Return how biases are sent to a server that limits them silently."""

    def fields(biases: Any) -> Mapping[str, Any]:
        for token, bias in biases:
            if bias is False or abs(bias) > max_bias:
                shown = "false" if bias is False else f"{bias:g}"
                raise bad_request(
                    f"generate.sampling.logit_bias: expected -{max_bias:g} to {max_bias:g} for "
                    f"token {token}, as the server has no other, found {shown}"
                )
        return {"logit_bias": {str(token): bias for token, bias in biases}}

    return fields


def json_schema(text: Any) -> Mapping[str, Any]:
    """Return how a JSON Schema is sent to a server with the API of OpenAI."""
    schema = {"name": "schema", "schema": json.loads(text), "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def ignore_eos(value: Any) -> Mapping[str, Any]:
    """Return how the end of generation is forbidden."""
    return {"ignore_eos": value}


def _beside(sampling: Sampling | None) -> Mapping[str, Any]:
    values = {} if sampling is None else sampling.to_data()
    return {name: values[name] for name in BESIDE if name in values}
