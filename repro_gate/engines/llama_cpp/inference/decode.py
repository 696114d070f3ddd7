"""Tokens into a context, logits out of it: one sequence, always from a cold start.

Where a model has an encoder, it reads the prompt, and the decoder starts with a token of its own.
llama.cpp keeps what was encoded last, also when its memory is cleared, and ends the process when
nothing was: so every start encodes.
"""

import ctypes
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter

import numpy as np

from repro_gate.engines.llama_cpp import native
from repro_gate.engines.llama_cpp.inference.logits import Logits, are_all_equal, are_finite
from repro_gate.engines.model_file import model_invalid
from repro_gate.protocol import Refusal, RequestRefused, bad_request

_DATA_TOO = True
_NO_EMBEDDINGS = 0
_ONE_SEQUENCE = 1
_FAULTS = {
    1: "no space in the context",
    2: "aborted",
    -1: "the batch is invalid",
    -2: "out of memory",
    -3: "the computation failed",
}


class Decoder:
    """Decodes tokens in one context; owns a batch that is allocated once."""

    def __init__(
        self, context: native.Context, *, vocabulary: int, start_token: int | None = None
    ) -> None:
        self.context = context
        self._start_token = start_token
        self._vocabulary = vocabulary
        self._capacity = native.n_batch(context)
        self._batch = native.new_batch(self._capacity, _NO_EMBEDDINGS, _ONE_SEQUENCE)
        for index in range(self._capacity):
            self._batch.n_seq_id[index] = _ONE_SEQUENCE
            self._batch.seq_id[index][0] = 0
        self._views: dict[int, Logits] = {}
        self._position = 0
        self.seconds = 0.0
        """Spent encoding and decoding since the last start."""

    def close(self) -> None:
        """Free the batch."""
        native.free_batch(self._batch)

    @property
    def has_encoder(self) -> bool:
        """Whether an encoder reads the prompt."""
        return self._start_token is not None

    def first_tokens(self, prompt: list[int]) -> list[int]:
        """Return what is decoded first: the prompt, if no encoder reads it."""
        return prompt if self._start_token is None else [self._start_token]

    def start(self, prompt: list[int]) -> None:
        """Clear the memory, then take the prompt, with logits after the last token only."""
        for _ in self._start(prompt, ()):
            pass

    def score(self, prompt: list[int], response: Sequence[int]) -> Iterator[Logits]:
        """Start with a prompt and a response, and yield the logits of each token of the response.

        More than one is another numeric mode: the last layers then compute for several tokens at a
        time.
        """
        # What the last token predicts is not part of the response.
        for predicting in self._start(prompt, response[:-1]):
            yield from map(self.logits, predicting)

    def _start(self, prompt: list[int], response: Sequence[int]) -> Iterator[range]:
        """Clear the memory, decode batches of n_batch, and yield each one's places with logits."""
        memory = native.get_memory(self.context)
        if memory is not None:
            native.clear_memory(memory, _DATA_TOO)
        self.seconds = 0.0
        self._position = 0
        if self.has_encoder:
            self._encode(prompt)
        tokens = [*self.first_tokens(prompt), *response]
        outputs = 1 + len(response)
        for start in range(0, len(tokens), self._capacity):
            batch = tokens[start : start + self._capacity]
            first_output = max(0, len(tokens) - outputs - start)
            for index, token in enumerate(batch):
                self._put(index, token, is_output=index >= first_output)
            self._decode(len(batch))
            yield range(first_output, len(batch))

    def step(self, token: int) -> None:
        """Decode one more token."""
        self._put(0, token, is_output=True)
        self._decode(1)

    def logits(self, index: int = native.LAST_OUTPUT) -> Logits:
        """Return the logits after a token of the last batch, without a copy.

        They are overwritten by the next decode. Logits that are not finite, or all equal, are
        refused.
        """
        address = native.logits_address(self.context, index)
        if address is None:
            raise RequestRefused(Refusal.INTERNAL, "llama.cpp returned no logits")
        view = self._views.get(address)
        if view is None:
            row = (ctypes.c_float * self._vocabulary).from_address(address)
            view = self._views[address] = np.ctypeslib.as_array(row)
        count = self._batch.n_tokens
        last = self._position - count + (count - 1 if index == native.LAST_OUTPUT else index)
        if not are_finite(view):
            raise RequestRefused(
                Refusal.NOT_FINITE, f"the logits after position {last} hold a NaN or an infinity"
            )
        if are_all_equal(view):
            raise model_invalid(
                f"all logits after position {last} are equal: the model prefers no token, so its "
                "output measures nothing; use a model that generates text"
            )
        return view

    def _put(self, index: int, token: int, *, is_output: bool) -> None:
        batch = self._batch
        batch.token[index] = token
        batch.pos[index] = self._position + index
        batch.logits[index] = is_output

    def _encode(self, prompt: list[int]) -> None:
        size_limit = native.n_ubatch(self.context)
        if len(prompt) > size_limit:
            raise bad_request(
                f"settings.n_ubatch: expected at least {len(prompt)}, as an encoder computes all "
                f"tokens of a prompt at once, found {size_limit}"
            )
        for index, token in enumerate(prompt):
            self._put(index, token, is_output=True)
        self._compute("llama_encode", native.encode, len(prompt))

    def _decode(self, count: int) -> None:
        self._compute("llama_decode", native.decode, count)
        self._position += count

    def _compute(
        self, name: str, compute: Callable[[native.Context, native.Struct], int], count: int
    ) -> None:
        self._batch.n_tokens = count
        started = perf_counter()
        fault = compute(self.context, self._batch)
        # It returns before a GPU has finished.
        native.synchronize(self.context)
        self.seconds += perf_counter() - started
        if fault:
            why = _FAULTS.get(fault, "unknown")
            raise RequestRefused(Refusal.INTERNAL, f"{name} returned {fault}: {why}")
