"""Servers with the API of OpenAI that show token ids, and vLLM, which has everything needed."""

import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from repro_gate.engines.requests import GenerateRequest
from repro_gate.engines.served.dialects.dialect import (
    BEST,
    Answer,
    Dialect,
    Prompt,
    Step,
    total,
)
from repro_gate.engines.served.dialects.samplers import (
    SamplerFields,
    ignore_eos,
    json_schema,
    logit_bias,
)
from repro_gate.engines.served.http import Http, HttpRefused
from repro_gate.protocol import Json, bad_request
from repro_gate.strict_json import (
    choice,
    integer,
    is_list,
    items_at,
    list_of,
    table,
    text,
    value_at,
)

_MAX_BIAS: Final = 100
_ID: Final = "token_id:"
_NOT_FOUND: Final = 404
_LABEL: Final = re.compile(r'(\w+)="([^"]*)"')
_CACHE_LABELS: Final = frozenset(
    {
        *("block_size", "cache_dtype", "enable_prefix_caching", "prefix_caching_hash_algo"),
        *("sliding_window", "kv_cache_dtype_skip_layers", "calculate_kv_scales"),
    }
)
"""Of vLLM's cache, what does not depend on the memory that was free."""


class OpenAi(Dialect):
    """A server with `/v1/completions` that gives token ids if it is asked to."""

    can_keep_cache: ClassVar[bool] = False
    samplers: ClassVar[SamplerFields] = SamplerFields(
        server="the dialect openai",
        order=("temperature", "top_p"),
        names={name: name for name in ("seed", "temperature", "top_p")},
        always={"frequency_penalty": 0, "presence_penalty": 0},
        beside={"logit_bias": logit_bias(max_bias=_MAX_BIAS), "json_schema": json_schema},
    )
    always: ClassVar[Mapping[str, Any]] = {"n": 1, "stream": False, "return_token_ids": True}

    def facts(self) -> Mapping[str, str]:
        """Return the length of the context; the address and root of the model stay unsaid."""
        length = value_at(self._entry(), "max_model_len")
        return {} if length is None else {"server.context": str(length)}

    def prompt(self, request: GenerateRequest) -> Prompt:
        """Return nothing yet: the answer shows the tokens of the prompt."""
        if request.chat is not None:
            raise bad_request(
                "generate.chat: the dialect openai has no chats; write the prompt as a text"
            )
        return Prompt()

    def generate(
        self, prompt: Prompt, request: GenerateRequest, *, keep_cache: bool = False
    ) -> Answer:
        """Have the server continue a prompt."""
        body = {
            "model": self.model,
            "prompt": request.prompt if prompt.ids is None else list(prompt.ids),
            "max_tokens": request.max_tokens,
            "stop": list(request.stop),
            "logprobs": BEST,
            **self.always,
            **self._cold(keep_cache=keep_cache),
            **self.samplers.of(request),
        }
        return self._answer_of(self.http.post("/v1/completions", body), request)

    def detokenize(self, ids: Sequence[int]) -> str | None:
        """Return nothing: the API has no such call."""
        del ids
        return None

    def running(self) -> int | None:
        """Return nothing: the API does not show it."""
        return None

    def _cold(self, *, keep_cache: bool) -> Mapping[str, Any]:
        del keep_cache
        return {}

    def _entry(self) -> object:
        models = items_at(self.http.get("/v1/models"), "data")
        return next((each for each in models if value_at(each, "id") == self.model), None)

    def _answer_of(self, answer: Json, request: GenerateRequest) -> Answer:
        found = table(next(iter(items_at(answer, "choices")), None), "choices[0]")
        tokens = found.get("token_ids")
        prompt = found.get("prompt_token_ids") or answer.get("prompt_token_ids")
        if not is_list(tokens) or not is_list(prompt):
            raise bad_request(
                "the server gives no token ids, and without them tokens cannot be compared; vLLM "
                "has them by return_token_ids (0.10.2 or newer)"
            )
        ids = tuple(list_of(integer, tokens, "token_ids"))
        end, stop_string = _end_of(found, request)
        fingerprint = answer.get("system_fingerprint")
        return Answer(
            prompt=tuple(list_of(integer, prompt, "prompt_token_ids")),
            tokens=ids,
            steps=_steps_of(found.get("logprobs"), count=len(ids)),
            end=end,
            text=_text_of(found),
            stop_string=stop_string,
            cached=_cached(value_at(answer, "usage", "prompt_tokens_details", "cached_tokens")),
            fingerprint=fingerprint if isinstance(fingerprint, str) else None,
        )


class Vllm(OpenAi):
    """vLLM."""

    can_keep_cache: ClassVar[bool] = True
    samplers: ClassVar[SamplerFields] = SamplerFields(
        server="vLLM",
        order=("temperature", "min_p", "top_k", "top_p"),
        names={name: name for name in ("seed", "temperature", "top_k", "top_p", "min_p")},
        always={
            "repetition_penalty": 1,
            "frequency_penalty": 0,
            "presence_penalty": 0,
            "min_tokens": 0,
            "ignore_eos": False,
        },
        off={"top_k": -1},
        beside={
            "logit_bias": logit_bias(max_bias=_MAX_BIAS),
            "ignore_eos": ignore_eos,
            "json_schema": json_schema,
        },
        min_temperature=0.01,
    )
    always: ClassVar[Mapping[str, Any]] = {**OpenAi.always, "return_tokens_as_token_ids": True}

    def __init__(self, http: Http, model: str) -> None:
        super().__init__(http, model)
        self._run = uuid.uuid4().hex

    def facts(self) -> Mapping[str, str]:
        """Return the version and what the metrics show of the cache, too."""
        version = value_at(self.http.get("/version"), "version")
        labels = re.search(r"^vllm:cache_config_info\{(.*)\}", self._metrics(), re.MULTILINE)
        cache = dict(_LABEL.findall(labels[1])) if labels else {}
        return {
            **super().facts(),
            "server.version": str(version),
            "server.sampler_order": ", ".join(self.samplers.order),
            **{f"server.{name}": cache[name] for name in sorted(_CACHE_LABELS & cache.keys())},
        }

    def prompt(self, request: GenerateRequest) -> Prompt:
        """Return nothing yet: the answer shows the tokens of the prompt."""
        del request
        return Prompt()

    def generate(
        self, prompt: Prompt, request: GenerateRequest, *, keep_cache: bool = False
    ) -> Answer:
        """Have the server continue a prompt, or answer a chat."""
        if request.chat is None:
            return super().generate(prompt, request, keep_cache=keep_cache)
        chat = dict(request.chat)
        renamed = {"template": "chat_template", "template_kwargs": "chat_template_kwargs"}
        body = {
            "model": self.model,
            "max_tokens": request.max_tokens,
            "stop": list(request.stop),
            "logprobs": True,
            "top_logprobs": BEST,
            **{renamed.get(name, name): value for name, value in chat.items()},
            **self.always,
            **self._cold(keep_cache=keep_cache),
            **self.samplers.of(request),
        }
        return self._answer_of(self.http.post("/v1/chat/completions", body), request)

    def detokenize(self, ids: Sequence[int]) -> str | None:
        """Return the text of some tokens, with a mark for bytes that are no text."""
        try:
            body = {"model": self.model, "tokens": list(ids)}
            return text(self.http.post("/detokenize", body).get("prompt"), "prompt")
        except HttpRefused as error:
            if error.status == _NOT_FOUND:
                return None
            raise

    def tokenize_plain(self, prompt: str) -> tuple[int, ...] | None:
        """Return the tokens of a text without special ones."""
        body = {"model": self.model, "prompt": prompt, "add_special_tokens": False}
        try:
            return tuple(list_of(integer, self.http.post("/tokenize", body).get("tokens")))
        except HttpRefused as error:
            if error.status == _NOT_FOUND:
                return None
            raise

    def running(self) -> int | None:
        """Return how many requests are at work, of all engines of the server."""
        return total(self._metrics(), "vllm:num_requests_running")

    def cache_hits(self) -> int | None:
        """Return how many tokens the prefix cache has given so far."""
        return total(self._metrics(), "vllm:prefix_cache_hits(?:_total)?")

    def _cold(self, *, keep_cache: bool) -> Mapping[str, Any]:
        # Blocks of the cache are shared between equal salts; two runs of the gate have no equal.
        return {"cache_salt": self._run if keep_cache else uuid.uuid4().hex}

    def _metrics(self) -> str:
        try:
            return self.http.get_text("/metrics")
        except HttpRefused:
            return ""


def _end_of(found: Json, request: GenerateRequest) -> tuple[str, str | None]:
    if choice(found.get("finish_reason"), "finish_reason", ("stop", "length")) == "length":
        return "length", None
    reason = found.get("stop_reason")
    if isinstance(reason, str) and reason in request.stop:
        return "stop_string", reason
    if request.stop and "stop_reason" not in found:
        raise bad_request("the server does not show which stop string ended the answer")
    return "end_of_generation", None


def _text_of(found: Json) -> str:
    shown = value_at(found, "message", "content") if "message" in found else found.get("text")
    return shown if isinstance(shown, str) else ""


def _cached(count: object) -> int | None:
    return None if count is None else integer(count, "cached_tokens", low=0)


def _steps_of(logprobs: object, *, count: int) -> tuple[Step | None, ...]:
    """Return the log-probabilities of each token; none where there is not one for each."""
    found = _of_chat(logprobs) if value_at(logprobs, "content") else _of_completion(logprobs)
    if len(found) != count:
        return (None,) * count
    return tuple(_step(logprob, best) for logprob, best in found)


def _of_completion(logprobs: object) -> list[tuple[object, object]]:
    values = items_at(logprobs, "token_logprobs")
    return list(zip(values, items_at(logprobs, "top_logprobs"), strict=False))


def _of_chat(logprobs: object) -> list[tuple[object, object]]:
    return [
        (
            value_at(each, "logprob"),
            {str(value_at(one, "token")): value_at(one, "logprob") for one in _best_of(each)},
        )
        for each in items_at(logprobs, "content")
    ]


def _best_of(entry: object) -> list[object]:
    # Unlike for a completion, the sampled token may not be among the likeliest.
    return [entry, *items_at(entry, "top_logprobs")]


def _step(logprob: object, best: object) -> Step | None:
    # Keys are texts unless the server knows return_tokens_as_token_ids; texts of tokens collide.
    found = table(best)
    if not all(key.startswith(_ID) for key in found):
        return None
    ids = [(int(key.removeprefix(_ID)), value) for key, value in found.items()]
    return Step.of(logprob, ids)
