"""`generate`: one cold run of one cell.

The recipe, from which nothing may stray: memory cleared, the whole prompt in one batch with
logits for its last token only, then one token at a time, drawn on the host by a fresh sampler.
The last token is drawn and not decoded. Neighbours, earlier cells and a trace change nothing.
"""

from time import perf_counter
from typing import Any

from repro_gate.engines.llama_cpp import native
from repro_gate.engines.llama_cpp.logits import trace_entry
from repro_gate.engines.llama_cpp.messages import GenerateRequest
from repro_gate.engines.llama_cpp.notes import prompt_notes
from repro_gate.engines.llama_cpp.sampling import sampler_chain
from repro_gate.engines.llama_cpp.session import Session
from repro_gate.protocol import Json


def generate(session: Session, request: GenerateRequest) -> Json:
    """Return the prompt's tokens, the generated ones, why they end, and how long it took.

    The token that ends a generation is one of the tokens.
    """
    tokenizer, decoder = session.tokenizer, session.decoder
    prompt = tokenizer.encode(request.prompt)
    session.require_room(len(prompt), request.max_tokens)

    with sampler_chain(request.sampler) as chain:
        run = _Run(session, chain, limit=request.max_tokens, is_traced=request.trace)
        run.generate(prompt)

    answer: dict[str, Any] = {
        "prompt": tokenizer.to_wire(prompt),
        "tokens": tokenizer.to_wire(run.tokens),
        "stop": "end_of_generation" if run.has_ended else "length",
        "timing": {"decode_s": decoder.seconds, "sample_s": run.sample_s},
        "notes": prompt_notes(tokenizer, prompt),
    }
    if request.trace:
        answer["trace"] = run.trace
    return answer


class _Run:
    """One run, as far as it has come."""

    def __init__(
        self, session: Session, chain: native.Sampler, *, limit: int, is_traced: bool
    ) -> None:
        self._session = session
        self._chain = chain
        self._limit = limit
        self._is_traced = is_traced
        self.tokens: list[int] = []
        self.trace: list[dict[str, Any]] = []
        self.has_ended = False
        self.sample_s = 0.0

    def generate(self, prompt: list[int]) -> None:
        """Draw tokens until the limit, or until the model ends."""
        decoder = self._session.decoder
        decoder.start(prompt)
        while True:
            token = self._draw()
            if self.has_ended or len(self.tokens) == self._limit:
                return
            decoder.step(token)

    def _draw(self) -> int:
        session = self._session
        started = perf_counter()
        logits = session.decoder.logits()
        token = native.sample(self._chain, session.context, native.LAST_OUTPUT)
        self.sample_s += perf_counter() - started
        self.tokens.append(token)
        self.has_ended = session.tokenizer.is_end_of_generation(token)
        if self._is_traced:
            self.trace.append(trace_entry(logits, token))
        return token
