"""SGLang, by its native endpoints: its API of OpenAI gives no token ids."""

import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import ClassVar, Final

from repro_gate.engines.requests import GenerateRequest
from repro_gate.engines.served.dialects.dialect import (
    BEST,
    LOADING,
    Answer,
    Dialect,
    Prompt,
    Step,
    total,
    unusable,
)
from repro_gate.engines.served.dialects.samplers import SamplerFields, ignore_eos, logit_bias
from repro_gate.engines.served.http import Http, HttpRefused
from repro_gate.protocol import Json, bad_request
from repro_gate.strict_json import choice, integer, is_list, items_at, list_of, text, value_at

_MAX_BIAS: Final = 100
_SETTINGS: Final = (
    *("version", "dtype", "quantization", "kv_cache_dtype", "attention_backend"),
    *("sampling_backend", "tp_size", "dp_size", "enable_deterministic_inference"),
    *("disable_radix_cache", "chunked_prefill_size", "max_running_requests", "context_length"),
    *("disable_cuda_graph", "speculative_algorithm", "random_seed"),
)
"""What a server shows of its settings that can change an answer."""


class SgLang(Dialect):
    """SGLang."""

    can_keep_cache: ClassVar[bool] = True
    samplers: ClassVar[SamplerFields] = SamplerFields(
        server="SGLang",
        order=("temperature", "top_k", "top_p", "min_p"),
        # The API of OpenAI ignores `seed`, the native one has another name for it.
        names={
            **{name: name for name in ("temperature", "top_k", "top_p", "min_p")},
            "seed": "sampling_seed",
        },
        always={
            "repetition_penalty": 1,
            "frequency_penalty": 0,
            "presence_penalty": 0,
            "min_new_tokens": 0,
            "ignore_eos": False,
            "n": 1,
        },
        off={"top_k": -1},
        beside={
            "logit_bias": logit_bias(max_bias=_MAX_BIAS),
            "ignore_eos": ignore_eos,
            "json_schema": lambda schema: {"json_schema": schema},
        },
    )

    def __init__(self, http: Http, model: str) -> None:
        super().__init__(http, model)
        self._run = uuid.uuid4().hex

    def is_ready(self) -> bool:
        """Return whether the server names the model, and is warm."""
        try:
            self.http.get_text("/health")
        except HttpRefused as error:
            if error.status == LOADING:
                return False
            raise
        return super().is_ready()

    def facts(self) -> Mapping[str, str]:
        """Return the version and the settings that can change tokens."""
        info = self._info()
        known = {name: value_at(info, name) for name in _SETTINGS}
        order = {"server.sampler_order": ", ".join(self.samplers.order)}
        return {
            **order,
            **{f"server.{name}": str(value) for name, value in known.items() if value is not None},
        }

    def _info(self) -> object:
        for path in ("/server_info", "/get_server_info"):
            with suppress(HttpRefused):
                return self.http.get(path)
        return None

    def prompt(self, request: GenerateRequest) -> Prompt:
        """Return the tokens of a text; the answer shows none."""
        if request.chat is not None:
            raise bad_request(
                "generate.chat: SGLang renders chats only where it gives no token ids; write the "
                "prompt as a text"
            )
        return Prompt(ids=self._tokenize(request.prompt, special=True))

    def generate(
        self, prompt: Prompt, request: GenerateRequest, *, keep_cache: bool = False
    ) -> Answer:
        """Have the server continue a prompt."""
        ids = list(prompt.ids or ())
        body = {
            "input_ids": ids,
            "sampling_params": {
                "max_new_tokens": request.max_tokens,
                "stop": list(request.stop),
                **self.samplers.of(request),
            },
            "return_logprob": True,
            "top_logprobs_num": BEST,
            # Those of the prompt would rule out its cache.
            "logprob_start_len": -1,
            "stream": False,
            "extra_key": self._run if keep_cache else uuid.uuid4().hex,
        }
        return _answer_of(self.http.post("/generate", body), tuple(ids))

    def detokenize(self, ids: Sequence[int]) -> str | None:
        """Return the text of some tokens, with a mark for bytes that are no text."""
        body = {"model": self.model, "tokens": list(ids), "skip_special_tokens": False}
        try:
            return text(self.http.post("/detokenize", body).get("text"), "text")
        except HttpRefused:
            return None

    def tokenize_plain(self, prompt: str) -> tuple[int, ...] | None:
        """Return the tokens of a text without special ones."""
        return self._tokenize(prompt, special=False)

    def running(self) -> int | None:
        """Return how many requests are at work, or None without --enable-metrics."""
        try:
            return total(self.http.get_text("/metrics"), "sglang:num_running_reqs")
        except HttpRefused:
            return None

    def _tokenize(self, prompt: str, *, special: bool) -> tuple[int, ...]:
        body = {"model": self.model, "prompt": prompt, "add_special_tokens": special}
        try:
            answer = self.http.post("/tokenize", body)
        except HttpRefused as error:
            raise bad_request(f"this SGLang does not tokenize a prompt: {error.message}") from error
        return tuple(list_of(integer, answer.get("tokens"), "tokens"))


def _answer_of(answer: Json, prompt: tuple[int, ...]) -> Answer:
    meta = answer.get("meta_info")
    if value_at(meta, "prompt_tokens") not in {None, len(prompt)}:
        raise unusable("it is for a prompt of another length than the one sent")
    entries = items_at(meta, "output_token_logprobs")
    sent = answer.get("output_ids")
    tokens = sent if is_list(sent) else [_at(entry, 1) for entry in entries]
    ids = tuple(list_of(integer, tokens, "output_ids"))
    end, stop_string = _end_of(value_at(meta, "finish_reason"))
    cached = value_at(meta, "cached_tokens")
    return Answer(
        prompt=prompt,
        tokens=ids,
        steps=_steps_of(ids, entries, items_at(meta, "output_top_logprobs")),
        end=end,
        text=text(answer.get("text"), "text"),
        stop_string=stop_string,
        cached=None if cached is None else integer(cached, "cached_tokens", low=0),
    )


def _end_of(reason: object) -> tuple[str, str | None]:
    kind = choice(value_at(reason, "type"), "finish_reason", ("stop", "length"))
    matched = value_at(reason, "matched")
    if kind == "length":
        return "length", None
    return ("stop_string", matched) if isinstance(matched, str) else ("end_of_generation", None)


def _steps_of(
    tokens: Sequence[int], entries: Sequence[object], best: Sequence[object]
) -> tuple[Step | None, ...]:
    if [_at(entry, 1) for entry in entries] != list(tokens) or len(best) != len(tokens):
        return (None,) * len(tokens)
    return tuple(
        Step.of(_at(entry, 0), [(_at(each, 1), _at(each, 0)) for each in several])
        for entry, several in zip(entries, map(_list, best), strict=True)
    )


def _list(value: object) -> list[object]:
    return value if is_list(value) else []


def _at(entry: object, index: int) -> object:
    """Return an item of `[log-probability, id, text]`."""
    found = _list(entry)
    return found[index] if index < len(found) else None
