"""Recorded answers with the tokens of a request."""

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.fakes.vllm.model import END, Sampling, Step, generate, text_of, tokens_of
from tests.fakes.vllm.scheduler import EngineDead, Scheduler

ANSWERS: Final[dict[str, Any]] = json.loads(
    Path(__file__).with_name("answers.json").read_text("utf-8")
)
_MAX_LENGTH: Final = 1024
_MAX_LOGPROBS: Final = 20
_DEFAULT_TOKENS: Final = 16


class Failed(Exception):
    """An error with its recorded answer."""

    def __init__(self, name: str, *, is_fatal: bool = False) -> None:
        super().__init__(name)
        self.status: int = ANSWERS["errors"][name]["status"]
        self.body: Any = ANSWERS["errors"][name]["body"]
        self.is_fatal = is_fatal
        """Whether the server ends with it."""


def completion(scheduler: Scheduler, body: Mapping[str, Any]) -> Any:
    """Return the answer to a prompt, which is a text or tokens."""
    prompt = body.get("prompt") or ()
    tokens = tokens_of(prompt) if isinstance(prompt, str) else list(prompt)
    _check(scheduler, tokens, body, body.get("logprobs") or 0)
    steps, end, usage = _generated(scheduler, tokens, body)
    answer = copy.deepcopy(ANSWERS["completion"])
    answer["choices"][0] |= {
        **end,
        **_ids(steps, body),
        "text": text_of([step.token for step in steps]),
        "logprobs": None if scheduler.hides_logprobs else _logprobs(steps, body),
        "prompt_token_ids": tokens if body.get("return_token_ids") else None,
    }
    return answer | {"model": scheduler.name, "usage": _usage(scheduler, answer, usage)}


def chat(scheduler: Scheduler, body: Mapping[str, Any]) -> Any:
    """Return the answer to messages, which a template of ChatML renders."""
    turns = (f"<|{each['role']}|>{each['content']}\n" for each in body.get("messages", ()))
    tokens = tokens_of("".join(turns) + "<|assistant|>")
    _check(scheduler, tokens, body, body.get("top_logprobs") or 0)
    steps, end, usage = _generated(scheduler, tokens, body)
    answer = copy.deepcopy(ANSWERS["chat"])
    (choice,) = answer["choices"]
    choice["message"]["content"] = text_of([step.token for step in steps])
    choice |= {**end, **_ids(steps, body), "logprobs": _chat_logprobs(steps, body)}
    prompt = {"prompt_token_ids": tokens if body.get("return_token_ids") else None}
    return answer | prompt | {"model": scheduler.name, "usage": _usage(scheduler, answer, usage)}


def _check(
    scheduler: Scheduler, prompt: Sequence[int], body: Mapping[str, Any], logprobs: int
) -> None:
    if body.get("model") != scheduler.name:
        raise Failed("wrong_model")
    if not prompt:
        raise Failed("no_prompt")
    if any(token > END for token in prompt):
        raise Failed("out_of_vocabulary")
    if len(prompt) + _limit(body) > _MAX_LENGTH:
        raise Failed("too_long")
    if logprobs > _MAX_LOGPROBS:
        raise Failed("many_logprobs")


def _limit(body: Mapping[str, Any]) -> int:
    limit: int = body.get("max_tokens") or _DEFAULT_TOKENS
    return limit


def _generated(
    scheduler: Scheduler, prompt: Sequence[int], body: Mapping[str, Any]
) -> tuple[list[Step], dict[str, Any], dict[str, int]]:
    """Return the steps, why they end, and how many tokens there were of what kind."""
    try:
        with scheduler.work():
            cached = scheduler.cached_tokens(prompt, body.get("cache_salt") or "")
            steps, reason, stop = _steps(scheduler, prompt, body, cached)
    except EngineDead as dead:
        raise Failed("dead", is_fatal=True) from dead
    usage = {"prompt_tokens": len(prompt), "completion_tokens": len(steps), "cached_tokens": cached}
    return steps, {"finish_reason": reason, "stop_reason": stop}, usage


def _steps(
    scheduler: Scheduler, prompt: Sequence[int], body: Mapping[str, Any], cached: int
) -> tuple[list[Step], str, str | None]:
    steps: list[Step] = []
    stops = [body["stop"]] if isinstance(body.get("stop"), str) else body.get("stop") or []
    for step in generate(prompt, Sampling.of(body), lambda: scheduler.shift(len(steps), cached)):
        if step.token == END and not body.get("ignore_eos"):
            return [*steps, step], "stop", None
        text = text_of([each.token for each in (*steps, step)])
        if found := next((stop for stop in stops if stop in text), None):
            return steps, "stop", found
        steps.append(step)
        if len(steps) >= _limit(body):
            break
    return steps, "length", None


def _ids(steps: Sequence[Step], body: Mapping[str, Any]) -> dict[str, Any]:
    tokens = [step.token for step in steps]
    return {"token_ids": tokens if body.get("return_token_ids") else None}


def _usage(
    scheduler: Scheduler, answer: Mapping[str, Any], usage: Mapping[str, int]
) -> dict[str, Any]:
    recorded = answer["usage"]
    details = {**recorded["prompt_tokens_details"], "cached_tokens": usage["cached_tokens"]}
    numbers = {name: usage[name] for name in ("prompt_tokens", "completion_tokens")}
    return {
        **recorded,
        **numbers,
        "total_tokens": sum(numbers.values()),
        "prompt_tokens_details": details if scheduler.shows_cached else None,
    }


def _logprobs(steps: Sequence[Step], body: Mapping[str, Any]) -> dict[str, Any] | None:
    if body.get("logprobs") is None:
        return None
    return {
        "text_offset": [0] * len(steps),
        "token_logprobs": [step.distribution[step.token] for step in steps],
        "tokens": [_name(step.token, body) for step in steps],
        "top_logprobs": [
            {_name(token, body): logprob for token, logprob in _best(step, body["logprobs"])}
            for step in steps
        ],
    }


def _chat_logprobs(steps: Sequence[Step], body: Mapping[str, Any]) -> dict[str, Any] | None:
    if not body.get("logprobs"):
        return None
    number = body.get("top_logprobs") or 0
    return {
        "content": [
            {
                **_entry(step.token, step.distribution[step.token], body),
                "bytes": list(text_of([step.token]).encode().replace(b"\xef\xbf\xbd", b"")),
                "top_logprobs": [_entry(*each, body) for each in _best(step, number)[:number]],
            }
            for step in steps
        ]
    }


def _entry(token: int, logprob: float, body: Mapping[str, Any]) -> dict[str, Any]:
    name = _name(token, body)
    # The bytes of the name, which is no text of the token.
    return {"token": name, "logprob": logprob, "bytes": list(name.encode())}


def _name(token: int, body: Mapping[str, Any]) -> str:
    return f"token_id:{token}" if body.get("return_tokens_as_token_ids") else text_of([token])


def _best(step: Step, number: int) -> list[tuple[int, float]]:
    """Return the token that was drawn, and the likeliest ones."""
    best = dict(list(step.distribution.items())[:number])
    return [*({step.token: step.distribution[step.token]} | best).items()]
