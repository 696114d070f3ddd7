"""Notes for the reader of a report about a model and its prompts, one sentence each."""

import math
import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from repro_gate.engines import host
from repro_gate.engines.llama_cpp import native
from repro_gate.engines.llama_cpp.load_warnings import IGNORED_WINDOW, warning_notes
from repro_gate.engines.llama_cpp.lora import lora_notes
from repro_gate.engines.llama_cpp.session import Session
from repro_gate.engines.llama_cpp.tokenizer import Tokenizer
from repro_gate.engines.requests import GenerateRequest
from repro_gate.samplers import PLAIN, PLAIN_ORDER
from repro_gate.settings import KvType, Settings

MAX_NOTES = 20
"""In one answer, according to the protocol."""
_LEAST = 9
"""Tokens at once from which matrices are multiplied as for many, with CUDA and mostly on a CPU."""
_FLASH_TILE = 64
"""The same for flash attention on a CPU: `GGML_FA_TILE_Q`."""
_DEFAULTS = "general.sampling."
_PARAMETERS = {
    "temp": "temperature",
    "penalty_last_n": "repeat_last_n",
    "penalty_repeat": "repeat_penalty",
    "sequence": "samplers",
    **{
        name: name
        for name in (
            *("top_k", "top_p", "min_p", "xtc_probability", "xtc_threshold"),
            *("mirostat", "mirostat_tau", "mirostat_eta"),
        )
    },
}
"""The parameters that llama-server takes from a model file, by the end of their keys there."""


def load_notes(session: Session) -> list[str]:
    """Return the notes on a model that was just loaded."""
    notes = [
        *warning_notes([*session.load_log, *session.context_log]),
        *_of_tokenizer(session),
        *_of_context(session),
        *_of_settings(session),
        *lora_notes(session.lora),
        *_of_defaults(session),
    ]
    return list(dict.fromkeys(notes))[:MAX_NOTES]


def prompt_notes(tokenizer: Tokenizer, prompt: Sequence[int]) -> list[str]:
    """Return the notes on a tokenized prompt."""
    if tokenizer.adds_bos and list(prompt[:2]) == [tokenizer.bos] * 2:
        name = tokenizer.piece(tokenizer.bos).decode("utf-8", errors="replace")
        message = (
            f"the prompt starts with two BOS tokens: the model adds one, and the text starts with "
            f"{name} too; remove it from the prompt"
        )
        return [message]
    return []


def split_notes(tokens: int, settings: Settings) -> list[str]:
    """Return the notes on the parts in which so many tokens are computed."""
    batches = [*range(0, tokens, settings.n_batch), tokens]
    parts = [
        min(settings.n_ubatch, end - start)
        for first, end in pairwise(batches)
        for start in range(first, end, settings.n_ubatch)
    ]
    least = _FLASH_TILE if settings.flash_attention else _LEAST
    if len(parts) == 1 or min(parts) >= least:
        return []
    message = (
        f"n_batch = {settings.n_batch} and n_ubatch = {settings.n_ubatch} split {tokens} tokens "
        f"into {len(parts)} parts, one of only {min(parts)}: llama.cpp may compute fewer than "
        f"{least} in another way, so another split may give other tokens"
    )
    return [message]


def _of_tokenizer(session: Session) -> Iterator[str]:
    tokenizer = session.tokenizer
    used = {"eos": tokenizer.eos, **({"bos": tokenizer.bos} if tokenizer.adds_bos else {})}
    for name, token in used.items():
        if token >= 0 and native.metadata(session.model, f"tokenizer.ggml.{name}_token_id") is None:
            shown = tokenizer.special_text(token)
            yield f"the file names no {name.upper()} token, so llama.cpp takes {token}, {shown!r}"
    if not tokenizer.end_of_generation:
        yield "no token ends a generation, so each has max_tokens"


def _of_defaults(session: Session) -> Iterator[str]:
    found = sampling_defaults(session.model)
    if found:
        listed = ", ".join(f"{name} = {value}" for name, value in found.items())
        yield (
            f"llama-server takes defaults from the model file: {listed}; here the values of the "
            "matrix count"
        )


def sampling_defaults(model: native.Model) -> dict[str, str]:
    """Return the parameters that llama-server takes from the model file."""
    values = {
        name: native.metadata(model, f"{_DEFAULTS}{key}") for key, name in _PARAMETERS.items()
    }
    return {name: value for name, value in values.items() if value is not None}


def defaults_notes(model: native.Model, request: GenerateRequest) -> list[str]:
    """Return a note if llama-server would sample a request without values otherwise."""
    order = PLAIN_ORDER if request.sampling is None else request.sampling.order
    own: dict[str, Any] = {name: getattr(request, name) for name in PLAIN if name in order}
    if request.sampling is not None:
        own |= dict(request.sampling.values)
    own["samplers"] = ";".join(order)
    own["mirostat"] = {"mirostat": 1, "mirostat_v2": 2}.get(order[-1], 0)
    differing = [
        f"{name} = {value} (here {own.get(name, 'not used')})"
        for name, value in sampling_defaults(model).items()
        if not _are_equal(value, str(own.get(name)))
    ]
    if not differing:
        return []
    return [f"llama-server with the defaults of the model file has {', '.join(differing)}"]


def _are_equal(one: str, other: str) -> bool:
    try:
        return math.isclose(float(one), float(other), rel_tol=1e-6)
    except ValueError:
        return one == other


def _of_context(session: Session) -> Iterator[str]:
    if session.tokenizer.adds_eos and not native.has_encoder(session.model):
        yield (
            "the model asks for an EOS token after a text; it is omitted after a prompt, where it "
            "would end the generation before the answer"
        )
    trained = native.n_ctx_train(session.model)
    if session.settings.n_ctx > trained:
        yield (
            f"n_ctx = {session.settings.n_ctx} is more than the {trained} tokens that the model "
            "was trained on; output beyond them is unreliable"
        )
    yield from _of_ignored_window(session)


def _of_ignored_window(session: Session) -> Iterator[str]:
    architecture = native.metadata(session.model, "general.architecture")
    window = native.metadata(session.model, f"{architecture}.attention.sliding_window")
    is_ignored = any(IGNORED_WINDOW in line.text for line in session.load_log)
    if is_ignored and session.settings.n_ctx > int(window or 0):
        yield (
            f"llama.cpp ignores the sliding window of {window} tokens that the model was trained "
            "with, so it reads longer texts otherwise"
        )


def _of_settings(session: Session) -> Iterator[str]:
    settings = session.settings
    if native.is_recurrent(session.model):
        yield (
            "flash_attention and the type of the key-value cache have no effect: the model is "
            "recurrent, so it has no attention"
        )
    elif not native.has_encoder(session.model):
        # With an encoder, attention to the cache is not computed as flash attention.
        yield from _of_kv_types(settings)
    if session.device.is_gpu and not session.device.offload.offload_kqv:
        yield (
            f"the KV cache is on the CPU, not on {session.device.name}; where llama.cpp computes "
            "attention there too, results depend on both"
        )
    if session.device.offload.gpu_layers is not None:
        on_gpu, layers = session.placement.layers_on_device, session.placement.layers
        yield (
            f"{on_gpu} of {layers} layers are on {session.device.name} and the others on the CPU, "
            "so results depend on both"
        )
    if not session.device.is_gpu:
        cores = host.cores()
        elsewhere = (os.cpu_count() or cores) - cores
        load = host.load_average()
        # A default number of contexts takes no more cores than there are.
        contexts = len(session.slots) if settings.contexts else 1
        threads = settings.threads
        note = thread_note(threads, contexts, cores=cores, elsewhere=elsewhere, load=load)
        if note is not None:
            yield note


def _of_kv_types(settings: Settings) -> Iterator[str]:
    kinds = {"kv_type_k": settings.kv_type_k, "kv_type_v": settings.kv_type_v}
    wide = [name for name, kind in kinds.items() if kind is KvType.F32]
    if settings.flash_attention and wide:
        name = "kv_type" if len(wide) > 1 else wide[0]
        yield (
            f"{name} = f32 only costs memory here: with flash attention llama.cpp computes with "
            f"f16; set {name} = f16, or flash_attention = false"
        )


def thread_note(
    threads: int, contexts: int = 1, *, cores: int, elsewhere: int, load: float
) -> str | None:
    """Return a warning if this many threads may be slow on a CPU, or None.

    Args:
        threads: of each context.
        contexts: how many compute side by side.
        cores: how many the engine may use.
        elsewhere: how many more cores the machine has.
        load: the load average of the machine before the model runs.
    """
    # A single thread never waits for another one.
    if threads == 1 or threads * contexts < cores:
        return None
    setting = f"threads = {threads}" + (f" in {contexts} contexts" if contexts > 1 else "")
    advice = "fewer threads or contexts" if contexts > 1 else "fewer threads than cores"
    cost = f"generation can be many times slower; use {advice}"
    if threads * contexts > cores:
        return f"{setting}, but only {cores} cores are usable: {cost}"
    if load < elsewhere + 1:
        return None
    busy = f"the machine was busy (load average {load:.1f})"
    return f"{setting} takes every usable core, and {busy}: {cost}"
