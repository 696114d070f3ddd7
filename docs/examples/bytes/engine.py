#!/usr/bin/env python3
"""An engine in Python: a token is one byte of the model, drawn by how often it occurs."""

import random
import sys
from collections import Counter
from itertools import accumulate
from pathlib import Path
from time import perf_counter

from repro_gate.engines.model_file import read_model
from repro_gate.engines.requests import DescribeRequest, GenerateRequest, LoadRequest
from repro_gate.engines.serving import Engine, run
from repro_gate.protocol import Json, Refusal, RequestRefused, WireToken, bad_request


class ByteEngine(Engine):
    """Draws bytes by their frequency in a file, the parts of one, or a folder."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()

    def describe(self, request: DescribeRequest) -> Json:
        """Return what the results depend on, besides model and settings."""
        if request.device.name != "cpu":
            raise RequestRefused(Refusal.DEVICE_UNAVAILABLE, "only the CPU is supported")
        return {"engine": "bytes", "profile": "bytes-1", "facts": {"engine.version": "1"}}

    def load(self, request: LoadRequest) -> Json:
        """Count the bytes of all files of the model."""
        self.counts = Counter()
        if request.settings:
            raise bad_request("settings: expected none")
        model = read_model(request, may_be_folder=True)
        self.counts = Counter(b"".join(map(Path.read_bytes, model.files)))
        model.require_unchanged()
        return {
            "sha256": model.sha256,
            "size": model.size,
            "layers": 1,
            "layers_on_device": 1,
            "facts": {},
        }

    def generate(self, request: GenerateRequest) -> Json:
        """Draw bytes with the sampler of the request."""
        if not self.counts:
            raise bad_request("no model is loaded")
        if request.sampling is not None:
            raise bad_request("sampling: expected none")
        started = perf_counter()
        ranked = self.counts.most_common(request.top_k or None)
        best, total = ranked[0][1], self.counts.total()
        masses = accumulate((count for _, count in ranked), initial=0)
        kept = {
            byte: (count / best) ** (1 / (request.temperature or 0.001))
            for (byte, count), mass in zip(ranked, masses, strict=False)
            if mass < request.top_p * total and count >= request.min_p * best
        }
        # A new generator for each request: nothing of an earlier one may change a token.
        source = random.Random(f"{request.seed} {request.prompt}")  # noqa: S311 -- not for secrets
        drawn = source.choices(list(kept), list(kept.values()), k=request.max_tokens)
        return {
            "prompt": [
                WireToken(byte, bytes([byte])).to_wire() for byte in request.prompt.encode()
            ],
            "tokens": [WireToken(byte, bytes([byte])).to_wire() for byte in drawn],
            "stop": "length",
            "timing": {"decode_s": perf_counter() - started, "sample_s": 0.0},
        }


if __name__ == "__main__":
    sys.exit(run(ByteEngine))
