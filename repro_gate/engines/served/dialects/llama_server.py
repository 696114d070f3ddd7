"""llama-server of llama.cpp, by its own endpoints: those of OpenAI have no token ids."""

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Final

from repro_gate.engines.requests import GenerateRequest
from repro_gate.engines.served.dialects.dialect import (
    BEST,
    LOADING,
    Answer,
    Dialect,
    Prompt,
    Step,
    Work,
    total,
    unusable,
    wrong_server,
)
from repro_gate.engines.served.http import HttpRefused
from repro_gate.protocol import Refusal, RequestRefused, bad_request
from repro_gate.samplers import BESIDE, EXTRAS, PARAMETERS, PLAIN, Sampling
from repro_gate.strict_json import (
    array,
    choice,
    integer,
    is_number,
    items_at,
    kind_of,
    list_of,
    table,
    text,
    value_at,
)

_ENDS: Final = {"eos": "end_of_generation", "limit": "length", "word": "stop_string"}
_MIROSTAT: Final = {"mirostat": 1, "mirostat_v2": 2}
_MAX_METADATA: Final = 2**26
"""Of a GGUF file: its vocabulary, templates and padding."""
_MAX_PROMPTS: Final = 256
_MS: Final = 1000
_PLAIN: Final = Sampling()
_ALWAYS: Final[Mapping[str, Any]] = {
    "stream": False,
    "return_tokens": True,
    "n_probs": BEST,
    "post_sampling_probs": False,
    "backend_sampling": False,
    "n_keep": 0,
    "n_discard": 0,
    "n_indent": 0,
    "n_cache_reuse": 0,
    "t_max_predict_ms": -1,
}
"""What the command line of the server could set otherwise."""
_UNCHECKED: Final = frozenset({"logit_bias", "json_schema", "return_tokens"})
"""The answer repeats them in another form."""


class LlamaServer(Dialect):
    """llama-server."""

    can_keep_cache: ClassVar[bool] = True

    def is_ready(self) -> bool:
        """Return whether the model is loaded; llama-server answers to any name of a model."""
        try:
            return "total_slots" in table(self.http.get("/props"))
        except HttpRefused as error:
            return _is_not_loading(error)

    def facts(self) -> Mapping[str, str]:
        """Return the build, the model as the server describes it, and its defaults."""
        props = self.http.get("/props")
        defaults = value_at(props, "default_generation_settings", "params")
        known = {
            "server.build": value_at(props, "build_info"),
            "server.slots": value_at(props, "total_slots"),
            "server.context": value_at(props, "default_generation_settings", "n_ctx"),
            "server.speculative": value_at(defaults, "speculative.types"),
            "model.ftype": value_at(props, "model_ftype"),
            **{f"model.{name}": value_at(self._meta(), name) for name in ("n_params", "n_vocab")},
            "server.defaults": _defaults(defaults),
        }
        template = value_at(props, "chat_template")
        if isinstance(template, str):
            known["chat.template_sha256"] = hashlib.sha256(template.encode()).hexdigest()
        return {name: str(value) for name, value in known.items() if value not in (None, "")}

    def require_size(self, size: int) -> None:
        """Refuse a server whose tensors are not nearly all of a file of that many bytes."""
        tensors = value_at(self._meta(), "size")
        if isinstance(tensors, int) and not tensors <= size <= tensors + _MAX_METADATA:
            raise RequestRefused(
                Refusal.SERVER_UNAVAILABLE,
                f"the server has another model: its tensors have {tensors} bytes, the file {size}",
            )

    def prompt(self, request: GenerateRequest) -> Prompt:
        """Return the prompt as the server tokenizes it, after its template for a chat."""
        if request.chat is None:
            return Prompt(ids=self._tokenize(request.prompt))
        if "template" in request.chat:
            raise bad_request("generate.chat.template: llama-server has a template of its own")
        body = {"add_generation_prompt": True, **request.chat}
        body["chat_template_kwargs"] = body.pop("template_kwargs", {})
        rendered = text(self.http.post("/apply-template", body).get("prompt"), "prompt")
        return Prompt(ids=self._tokenize(rendered), rendered=rendered)

    def generate(
        self, prompt: Prompt, request: GenerateRequest, *, keep_cache: bool = False
    ) -> Answer:
        """Have the server continue a prompt."""
        if prompt.ids is None:
            raise ValueError("a prompt of llama-server has ids")
        settings = {**_ALWAYS, **_settings(request)}
        body = {"prompt": list(prompt.ids), "cache_prompt": keep_cache, **settings}
        answer = self.http.post("/completion", body)
        _require_used(settings, value_at(answer, "generation_settings"))
        return _answer_of(answer, prompt.ids)

    def detokenize(self, ids: Sequence[int]) -> str | None:
        """Return the text of some tokens, with a mark for bytes that are no text."""
        return text(self.http.post("/detokenize", {"tokens": list(ids)}).get("content"), "content")

    def tokenize_plain(self, prompt: str) -> tuple[int, ...] | None:
        """Return the tokens of a text without special ones."""
        body = {"content": prompt, "add_special": False, "parse_special": False}
        return tuple(list_of(integer, self.http.post("/tokenize", body).get("tokens"), "tokens"))

    def running(self) -> int | None:
        """Return how many slots are at work, or None where the server hides them."""
        try:
            slots = array(self.http.get("/slots"))
        except HttpRefused:
            return self._processing()
        return sum(value_at(slot, "is_processing") is True for slot in slots)

    @lru_cache(maxsize=_MAX_PROMPTS)  # noqa: B019 -- as many dialects as loads
    def _tokenize(self, prompt: str) -> tuple[int, ...]:
        body = {"content": prompt, "add_special": True, "parse_special": True}
        return tuple(list_of(integer, self.http.post("/tokenize", body).get("tokens"), "tokens"))

    def _processing(self) -> int | None:
        try:
            return total(self.http.get_text("/metrics"), "llamacpp:requests_processing")
        except HttpRefused:
            return None

    def _meta(self) -> object:
        models = items_at(self.http.get("/v1/models"), "data")
        return value_at(models[0], "meta") if models else None


def _is_not_loading(error: HttpRefused) -> bool:
    # 503 while it loads; anything else is no llama-server.
    if error.status == LOADING:
        return False
    raise wrong_server("this is no llama-server", error) from error


def _defaults(params: object) -> str:
    """Return the samplers of a request that names none, as one line."""
    order = " ".join(map(str, items_at(params, "samplers")))
    values = ((name, value_at(params, name)) for name in PARAMETERS)
    return f"{order}; " + " ".join(
        f"{name}={value:g}" for name, value in values if is_number(value)
    )


def _settings(request: GenerateRequest) -> dict[str, Any]:
    """Return every value of a request, also those without an effect: a server has defaults."""
    sampling = request.sampling or _PLAIN
    order = [name for name in sampling.order if name not in _MIROSTAT]
    drawing = _MIROSTAT.get(sampling.order[-1], 0)
    beside = {name: sampling.value(name) for name in BESIDE if sampling.value(name) is not None}
    if "json_schema" in beside:
        beside["json_schema"] = json.loads(beside["json_schema"])
    else:
        beside.setdefault("grammar", "")
    return {
        "n_predict": request.max_tokens,
        "seed": request.seed,
        "stop": list(request.stop),
        "samplers": order,
        "mirostat": drawing,
        **{name: getattr(request, name) for name in PLAIN},
        **{name: sampling.value(name) for name in EXTRAS},
        "dry_sequence_breakers": list(sampling.value("dry_sequence_breakers")),
        "logit_bias": [],
        "ignore_eos": False,
        **beside,
    }


def _require_used(sent: Mapping[str, Any], used: object) -> None:
    """Refuse an answer that was made with other settings than those that were sent.

    llama-server repeats them. It leaves out samplers that it does not know, for example.
    """
    found = table(used, "generation_settings")
    for name, value in sent.items():
        if name in found and name not in _UNCHECKED and not _is_same(value, found[name]):
            raise bad_request(
                f"generate: llama-server was sent {name} = {json.dumps(value)}, and used "
                f"{kind_of(found[name])}"
            )


def _is_same(sent: object, used: object) -> bool:
    if isinstance(sent, float) and is_number(used):
        # The server computes with numbers of 32 bits.
        return struct.pack("f", sent) == struct.pack("f", used)
    return sent == used


def _answer_of(answer: Mapping[str, Any], prompt: tuple[int, ...]) -> Answer:
    evaluated = value_at(answer, "tokens_evaluated")
    if evaluated != len(prompt):
        raise unusable(f"it is for a prompt of {evaluated} tokens, not of the {len(prompt)} sent")
    if value_at(answer, "truncated") is True:
        raise RequestRefused(
            Refusal.OUT_OF_CONTEXT, "the context of a slot of llama-server is full"
        )
    end = _ENDS[choice(answer.get("stop_type"), "stop_type", tuple(_ENDS))]
    tokens = tuple(list_of(integer, answer.get("tokens"), "tokens"))
    return Answer(
        prompt=prompt,
        tokens=tokens,
        steps=_aligned(tokens, items_at(answer, "completion_probabilities")),
        end=end,
        text=text(answer.get("content"), "content"),
        stop_string=text(answer.get("stopping_word")) if end == "stop_string" else None,
        cached=_cached(value_at(answer, "timings", "cache_n")),
        work=_work_of(answer),
    )


def _work_of(answer: Mapping[str, Any]) -> Work | None:
    slot = answer.get("id_slot")
    parts = [value_at(answer, "timings", name) for name in ("prompt_ms", "predicted_ms")]
    if not isinstance(slot, int) or not all(is_number(part) for part in parts):
        return None
    return Work(slot=slot, seconds=sum(parts) / _MS)


def _cached(count: object) -> int | None:
    return None if count is None else integer(count, "timings.cache_n", low=0)


def _aligned(tokens: Sequence[int], entries: Sequence[object]) -> tuple[Step | None, ...]:
    """Return the entry of each token.

    llama-server has none for a token that is only a part of a character, and for those of a stop
    string. The entries are in order, but where they could belong to several tokens, none counts.
    """
    ids = [integer(value_at(entry, "id"), "completion_probabilities.id") for entry in entries]
    first = _places(tokens, ids)
    last = [len(tokens) - 1 - place for place in reversed(_places(tokens[::-1], ids[::-1]))]
    steps: list[Step | None] = [None] * len(tokens)
    for entry, one, other in zip(entries, first, last, strict=False):
        if one == other:
            steps[one] = _step(entry)
    return tuple(steps)


def _places(tokens: Sequence[int], ids: Sequence[int]) -> list[int]:
    """Return the first places at which the ids are, in order; refuse those that are nowhere."""
    places: list[int] = []
    for token in ids:
        start = places[-1] + 1 if places else 0
        try:
            places.append(tokens.index(token, start))
        except ValueError as error:
            raise unusable("its log-probabilities are for other tokens") from error
    return places


def _step(entry: object) -> Step:
    best = items_at(entry, "top_logprobs")
    pairs = [(value_at(each, "id"), value_at(each, "logprob")) for each in best]
    return Step.of(value_at(entry, "logprob"), pairs)
