"""How a token is drawn: llama.cpp's own samplers on the host, in a fixed order."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from repro_gate.engines.llama_cpp import native

_KEEP_AT_LEAST = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """Every value that a draw depends on, besides the logits."""

    seed: int
    temperature: float
    top_k: int
    """0 keeps every token."""
    top_p: float
    min_p: float

    def links(self) -> list[native.Sampler]:
        """Return the samplers in their order; temperature comes after what cuts candidates."""
        if self.temperature == 0:
            return [native.greedy()]
        return [
            native.top_k(self.top_k),
            native.top_p(self.top_p, _KEEP_AT_LEAST),
            native.min_p(self.min_p, _KEEP_AT_LEAST),
            native.temperature(self.temperature),
            native.dist(self.seed),
        ]


@contextmanager
def sampler_chain(sampler: Sampler) -> Generator[native.Sampler]:
    """Give a fresh chain, its random numbers at their start, and free it afterwards."""
    chain = native.new_chain(native.chain_params())
    try:
        for link in sampler.links():
            native.add_to_chain(chain, link)
        yield chain
    finally:
        # Frees the links too.
        native.free_sampler(chain)
