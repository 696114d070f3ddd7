"""The own formats of vLLM and SGLang, converted to and from that of `/v1/completions`.

No document makes a conversion raise: what has another shape is left for the reader of answers.
"""

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from repro_gate.strict_json import is_list, is_table, items_at, value_at

_Json = dict[str, Any]
_TRIPLE = ("logprob", "token_id", "token")
_SAMPLER = ("temperature", "top_p", "top_k", "min_p", "n")


def unchanged(document: Any) -> Any:
    """Return a request or an answer as it is."""
    return document


def vllm_completion(document: Any) -> Any:
    """Return an answer of vLLM with its `prompt_logprobs` as the echo of the prompt."""
    choices = items_at(document, "choices")
    if not any(items_at(choice, "prompt_logprobs") for choice in choices):
        return document
    return {**document, "choices": [_with_prompt(choice) for choice in choices]}


def _with_prompt(choice: Any) -> Any:
    entries = items_at(choice, "prompt_logprobs")
    ids = items_at(choice, "prompt_token_ids") or [_only_id(entry) for entry in entries]
    rows = [_vllm_row(id, entry) for id, entry in zip_longest(ids, entries)]
    texts = {str(row["token_id"]): row["token"] for row in rows if row["token"]}
    for row in rows:
        # The first token has no entry, but may occur again.
        row["token"] = row["token"] or texts.get(str(row["token_id"]), "")
    return {**choice, "logprobs": {"content": rows}} if rows else choice


def _only_id(entry: Any) -> int | None:
    """Return the id of the only token of an entry."""
    keys = list(entry) if is_table(entry) else []
    return int(keys[0]) if len(keys) == 1 and keys[0].isdecimal() else None


def _vllm_row(id: Any, entry: Any) -> _Json:
    """Return the row of one token; the keys of an entry are ids, and other tokens are beside it."""
    own = value_at(entry, str(id))
    return {
        "token_id": id,
        "token": value_at(own, "decoded_token"),
        "logprob": value_at(own, "logprob"),
    }


def sglang_request(body: Mapping[str, Any]) -> _Json:
    """Return the request to SGLang's `/generate` for one to `/v1/completions`."""
    prompt = body["prompt"]
    return {
        "text" if isinstance(prompt, str) else "input_ids": prompt,
        "sampling_params": {
            "max_new_tokens": body["max_tokens"],
            **{name: body[name] for name in _SAMPLER},
        },
        "return_logprob": True,
        # From there on nothing is taken from the cache; without an echo, only what is generated.
        "logprob_start_len": 0 if "echo" in body else -1,
        "return_text_in_logprobs": True,
        "stream": body["stream"],
    }


def sglang_completion(document: Any) -> Any:
    """Return an answer of SGLang's `/generate` as one of `/v1/completions`."""
    meta = value_at(document, "meta_info")
    if meta is None:
        return document
    rows = [*items_at(meta, "input_token_logprobs"), *items_at(meta, "output_token_logprobs")]
    choice = {
        "text": value_at(document, "text"),
        "finish_reason": value_at(meta, "finish_reason", "type"),
        "logprobs": {"content": [_sglang_row(row) for row in rows]},
    }
    return {
        "id": value_at(meta, "id"),
        "choices": [choice],
        "usage": {
            "prompt_tokens": value_at(meta, "prompt_tokens"),
            "completion_tokens": value_at(meta, "completion_tokens"),
            "prompt_tokens_details": {"cached_tokens": value_at(meta, "cached_tokens")},
        },
    }


def _sglang_row(row: Any) -> Any:
    """Return the row of a triple: a log-probability, an id, and a text if it is known."""
    return (
        dict(zip(_TRIPLE, row, strict=True)) if is_list(row) and len(row) == len(_TRIPLE) else row
    )
