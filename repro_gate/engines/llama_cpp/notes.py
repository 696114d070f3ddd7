"""Notes for the reader of a report about a model and its prompts, one sentence each."""

import os
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from repro_gate.engines import host
from repro_gate.engines.llama_cpp import native
from repro_gate.engines.llama_cpp.lora import lora_notes
from repro_gate.engines.llama_cpp.native_log import Level, LogLine
from repro_gate.engines.llama_cpp.session import Session
from repro_gate.engines.llama_cpp.tokenizer import Tokenizer
from repro_gate.settings import KvType, Settings

MAX_NOTES = 20
"""In one answer, according to the protocol."""
_LEAST = 9
"""Tokens at once from which matrices are multiplied as for many, with CUDA and mostly on a CPU."""
_FLASH_TILE = 64
"""The same for flash attention on a CPU: `GGML_FA_TILE_Q`."""
_VOCABULARY = re.compile(r"load: (.*\w.*)")
"""Warnings about the vocabulary, but not the ornaments of a banner."""
_BANNER = re.compile(r"GENERATION QUALITY|CONSIDER REGENERATING")
_HARMLESS = re.compile(r"control-looking token")
"""llama.cpp corrects these itself, and logs them for nearly every model."""
_EXPLANATIONS = (
    (
        re.compile(r"missing pre-tokenizer type"),
        (
            "the file names no pre-tokenizer, so llama.cpp splits text by a default that is "
            "probably wrong; convert the model again with a current convert_hf_to_gguf.py"
        ),
    ),
    (
        re.compile(r"special token:? '(.*?)' = (\d+)"),
        "{0} is {1}, which is not in the vocabulary, so it is ignored",
    ),
    (
        re.compile(r"special_eos_id is not in special_eog_ids"),
        (
            "the end-of-sequence token is not among those that end a generation, so the tokenizer "
            "settings of the file may be wrong"
        ),
    ),
)


def load_notes(session: Session) -> list[str]:
    """Return the notes on a model that was just loaded."""
    notes = [
        *_of_vocabulary(session.load_log),
        *_of_context(session),
        *_of_settings(session),
        *lora_notes(session.lora),
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


def _of_vocabulary(lines: Sequence[LogLine]) -> Iterator[str]:
    for line in lines:
        found = _VOCABULARY.fullmatch(line.text) if line.level is Level.WARN else None
        if found and not _BANNER.search(found[1]) and not _HARMLESS.search(found[1]):
            yield _explain(found[1].strip())


def _explain(warning: str) -> str:
    for pattern, explanation in _EXPLANATIONS:
        if match := pattern.search(warning):
            return explanation.format(*match.groups())
    return f"llama.cpp warns about the vocabulary: {warning}"


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
