"""`generate`: one cold run of one cell.

The recipe is fixed: memory cleared, the whole prompt in batches of n_batch with logits for its last
token only, then one token at a time, drawn on the host by a fresh chain of llama.cpp's own
samplers. The last token is drawn and not decoded. Neighbours, earlier cells and a trace change
nothing. Where a model has an encoder, that reads the prompt, and the samplers count only tokens of
the decoder, as in llama-completion.
"""

from collections.abc import Generator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from repro_gate.engines.llama_cpp import native
from repro_gate.engines.llama_cpp.inference.chain import Chain, open_chain
from repro_gate.engines.llama_cpp.inference.logits import Softmax, digest
from repro_gate.engines.llama_cpp.inference.sampler import Sampler, open_sampler
from repro_gate.engines.llama_cpp.inference.stopping import Stopping
from repro_gate.engines.llama_cpp.notes import prompt_notes, split_notes
from repro_gate.engines.llama_cpp.session import Slot
from repro_gate.engines.llama_cpp.tokenizer import Tokenizer
from repro_gate.engines.requests import GenerateRequest
from repro_gate.protocol import Json


def generate(slot: Slot, request: GenerateRequest, *, contexts: int = 1) -> Json:
    """Return the prompt's tokens, the generated ones, why they end, and how long it took.

    The token that ends a generation is one of the tokens.

    Args:
        slot: where to run it.
        request: the cell.
        contexts: how many of the model may work at the same time; only the speed depends on it.
    """
    tokenizer, decoder = slot.tokenizer, slot.decoder
    prompt = slot.tokenize(request.prompt)
    first = decoder.first_tokens(prompt)
    slot.require_context(len(first), request.max_tokens)

    with _samplers(request, tokenizer, first, contexts=contexts) as sampler:
        run = _Run(slot, sampler, request)
        run.generate(prompt)

    answer: dict[str, Any] = {
        "prompt": tokenizer.to_wire(prompt),
        "tokens": tokenizer.to_wire(run.tokens),
        **run.end(),
        "timing": {"decode_s": decoder.seconds, "sample_s": run.sample_s},
        "notes": prompt_notes(tokenizer, prompt) + split_notes(len(first), slot.settings),
    }
    if request.trace:
        answer["trace"] = run.trace
    if request.logits:
        answer["logits"] = run.logits
    return answer


@contextmanager
def _samplers(
    request: GenerateRequest, tokenizer: Tokenizer, first: list[int], *, contexts: int
) -> Generator[Sampler | Chain]:
    if request.sampling is None:
        with open_sampler(request, tokenizer.size, contexts=contexts) as sampler:
            yield sampler
    else:
        with open_chain(request, tokenizer, "generate.sampling") as chain:
            chain.start(first)
            yield chain


class _Run:
    """One run, as far as it has come."""

    def __init__(self, slot: Slot, sampler: Sampler | Chain, request: GenerateRequest) -> None:
        self._slot = slot
        self._sampler = sampler
        self._limit = request.max_tokens
        self._softmax = Softmax(slot.tokenizer.size) if request.trace else None
        self._stopping = Stopping(request.stop) if request.stop else None
        self.tokens: list[int] = []
        self.trace: list[dict[str, Any]] = []
        self.logits: list[str] | None = [] if request.logits else None
        self.has_ended = False
        self.sample_s = 0.0

    def generate(self, prompt: list[int]) -> None:
        """Draw tokens until the limit, or until the model ends."""
        decoder = self._slot.decoder
        decoder.start(prompt)
        while True:
            token = self._draw()
            if self.has_ended or len(self.tokens) == self._limit:
                return
            if self._stopping is not None and self._stopping.found is not None:
                return
            decoder.step(token)

    def end(self) -> dict[str, str]:
        """Return why it ended, as the answer has it."""
        stopping = self._stopping
        # Like in llama-server, the end of a model comes before its text.
        if self.has_ended:
            return {"stop": "end_of_generation"}
        if stopping is None or stopping.found is None:
            return {"stop": "length"}
        content = stopping.content.hex()
        return {"stop": "stop_string", "stop_string": stopping.found, "content": content}

    def _draw(self) -> int:
        slot = self._slot
        started = perf_counter()
        logits = slot.decoder.logits()
        if self.logits is not None:
            # Of the model itself: before any sampler.
            self.logits.append(digest(logits))
        token = self._sampler.draw(
            logits, lambda sampler: native.sample(sampler, slot.context, native.LAST_OUTPUT)
        )
        self.sample_s += perf_counter() - started
        self.tokens.append(token)
        self.has_ended = slot.tokenizer.is_end_of_generation(token)
        if self._stopping is not None:
            self._stopping.add(slot.tokenizer.text(token), is_last=self.has_ended)
        if self._softmax is not None:
            self.trace.append(self._softmax.trace_entry(logits, token))
        return token
