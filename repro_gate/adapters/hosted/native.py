"""The own formats of servers, converted to and from that of `/v1/completions`.

No document makes a conversion raise: what has another shape is left for the reader of answers.
"""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from repro_gate.strict_json import is_list, is_table, items_at, value_at

_Json = dict[str, Any]
_TRIPLE = ("logprob", "token_id", "token")
_OF_PROMPT = ("prompt_logprobs", "prompt_token_ids")
_SAMPLER = ("temperature", "top_p", "top_k", "min_p", "n")


def unchanged(document: Any) -> Any:
    """Return a request or an answer as it is."""
    return document


def vllm_completion(document: Any) -> Any:
    """Return an answer of vLLM with its `prompt_logprobs` as the echo of the prompt."""
    choices = items_at(document, "choices")
    # In a chat, the prompt's values are beside the choices.
    beside = {name: value_at(document, name) for name in _OF_PROMPT}
    choices = [
        {**beside, **one} if is_table(one) and beside["prompt_logprobs"] else one for one in choices
    ]
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
        # From there on nothing is taken from the cache.
        "logprob_start_len": 0 if body.keys() & {"echo", "top_logprobs"} else -1,
        **({"top_logprobs_num": body["top_logprobs"]} if "top_logprobs" in body else {}),
        "return_text_in_logprobs": True,
        "stream": body["stream"],
    }


def sglang_completion(document: Any) -> Any:
    """Return an answer of SGLang's `/generate` as one of `/v1/completions`."""
    meta = value_at(document, "meta_info")
    if meta is None:
        return document
    echoed = [_sglang_row(row) for row in items_at(meta, "input_token_logprobs")]
    likely = [
        list(map(_sglang_row, items_at(one))) for one in items_at(meta, "output_top_logprobs")
    ]
    made = [_sglang_row(row) for row in items_at(meta, "output_token_logprobs")]
    if likely:
        # Generated tokens were requested, and the prompt only so that it is computed again.
        echoed = []
    choice = {
        "text": value_at(document, "text"),
        "finish_reason": value_at(meta, "finish_reason", "type"),
        "logprobs": {"content": [*echoed, *_with_likely(made, likely)]},
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


def _with_likely(rows: Sequence[Any], likely: Sequence[Any]) -> list[Any]:
    """Return the rows of tokens with the likely tokens in the place of each."""
    pairs = zip_longest(rows, likely[: len(rows)], fillvalue=None)
    return [{**row, "top_logprobs": best} if is_table(row) else row for row, best in pairs]


def together_completion(document: Any) -> Any:
    """Return an answer of Together with the echo of the prompt before what was generated."""
    prompts = items_at(document, "prompt")
    choices = items_at(document, "choices")
    echoed = _rows_of_lists(value_at(prompts[0], "logprobs")) if len(prompts) == 1 else []
    if not echoed or len(choices) != 1 or not is_table(choices[0]):
        return document
    rows = [*echoed, *_rows_of_lists(value_at(choices[0], "logprobs"))]
    return {**document, "choices": [{**choices[0], "logprobs": {"content": rows}}]}


def _rows_of_lists(logprobs: Any) -> list[Any]:
    """Return one object for each token of parallel lists."""
    values = items_at(logprobs, "token_logprobs")
    lists = (items_at(logprobs, name)[: len(values)] for name in ("token_ids", "tokens"))
    columns = zip_longest(values, *lists)
    return [dict(zip(_TRIPLE, column, strict=True)) for column in columns]


def tgi_request(body: Mapping[str, Any]) -> _Json:
    """Return the request to `/generate` of Text Generation Inference."""
    temperature = body["temperature"]
    parameters = {
        "max_new_tokens": body["max_tokens"],
        "details": True,
        "decoder_input_details": "echo" in body,
        "do_sample": temperature > 0,
        "top_n_tokens": body.get("top_logprobs"),
        # It rejects 0, a top_p of 1 and a top_k of 0.
        "temperature": temperature or None,
    }
    sent = {name: value for name, value in parameters.items() if value is not None}
    return {"inputs": body["prompt"], "parameters": sent}


def tgi_completion(document: Any) -> Any:
    """Return an answer of `/generate` of Text Generation Inference as one of `/v1/completions`."""
    details = value_at(document, "details")
    if details is None:
        return document
    likely = [list(map(_tgi_row, items_at(one))) for one in items_at(details, "top_tokens")]
    echoed = [_tgi_row(row) for row in items_at(details, "prefill")]
    made = [_tgi_row(row) for row in items_at(details, "tokens")]
    choice = {
        "text": value_at(document, "generated_text"),
        "finish_reason": value_at(details, "finish_reason"),
        "logprobs": {"content": [*echoed, *_with_likely(made, likely)]},
    }
    usage = {
        "prompt_tokens": len(echoed) or None,
        "completion_tokens": value_at(details, "generated_tokens"),
    }
    return {"choices": [choice], "usage": usage}


def _tgi_row(row: Any) -> Any:
    names = {"token_id": "id", "token": "text", "logprob": "logprob"}
    return {to: value_at(row, name) for to, name in names.items()} if is_table(row) else row
