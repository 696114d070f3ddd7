"""Tokens into a context, logits out of it: one sequence, always from a cold start."""

import ctypes
from collections.abc import Iterator, Sequence
from time import perf_counter

import numpy as np

from repro_gate.engines.llama_cpp import native
from repro_gate.engines.llama_cpp.inference.logits import Logits, are_all_equal, are_finite
from repro_gate.engines.model_file import model_invalid
from repro_gate.protocol import Refusal, RequestRefused

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

    def __init__(self, context: native.Context, *, vocabulary: int) -> None:
        self._context = context
        self._vocabulary = vocabulary
        self._capacity = native.n_batch(context)
        self._batch = native.new_batch(self._capacity, _NO_EMBEDDINGS, _ONE_SEQUENCE)
        for index in range(self._capacity):
            self._batch.n_seq_id[index] = _ONE_SEQUENCE
            self._batch.seq_id[index][0] = 0
        self._views: dict[int, Logits] = {}
        self._position = 0
        self.seconds = 0.0
        """Spent decoding since the last start."""

    def close(self) -> None:
        """Free the batch."""
        native.free_batch(self._batch)

    def start(self, tokens: Sequence[int]) -> None:
        """Clear the memory, then decode all tokens, with logits after the last one only."""
        for _ in self._start(tokens, outputs=1):
            pass

    def score(self, tokens: Sequence[int], *, outputs: int) -> Iterator[Logits]:
        """Start with all tokens, and yield the logits after each of the last ones.

        Args:
            tokens: the first tokens of the sequence.
            outputs: how many of the last tokens predict their next one. More than one is another
                numeric mode: the last layers then compute for several tokens at a time.
        """
        for predicting in self._start(tokens, outputs=outputs):
            yield from map(self.logits, predicting)

    def _start(self, tokens: Sequence[int], *, outputs: int) -> Iterator[range]:
        """Clear the memory, decode batches of n_batch, and yield each one's places with logits."""
        memory = native.get_memory(self._context)
        if memory is not None:
            native.clear_memory(memory, _DATA_TOO)
        self.seconds = 0.0
        self._position = 0
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
        address = native.logits_address(self._context, index)
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

    def _decode(self, count: int) -> None:
        self._batch.n_tokens = count
        started = perf_counter()
        fault = native.decode(self._context, self._batch)
        # llama_decode returns before a GPU has finished.
        native.synchronize(self._context)
        self.seconds += perf_counter() - started
        if fault:
            why = _FAULTS.get(fault, "unknown")
            raise RequestRefused(Refusal.INTERNAL, f"llama_decode returned {fault}: {why}")
        self._position += count
