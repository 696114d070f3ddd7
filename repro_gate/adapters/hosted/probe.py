"""Finds out in a few calls what a server can do; each call is one that a check would make too."""

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final

from repro_gate.adapters.hosted.abilities import (
    Asked,
    Seen,
    findings_of,
    is_scored,
    kind_of_server,
)
from repro_gate.adapters.hosted.client import endpoint_url, read_key
from repro_gate.adapters.hosted.dialects import Dialect, Question, dialect_of
from repro_gate.adapters.hosted.failures import ReplyReader
from repro_gate.adapters.hosted.generations import Limits
from repro_gate.adapters.http.client import Client, Request, Server
from repro_gate.adapters.http.retry import HttpFailure, Runtime
from repro_gate.core.logprobs.alignment import CONTINUATION_TOKENS
from repro_gate.core.logprobs.capabilities import MAX_PROBE_CALLS, ProbeReport
from repro_gate.core.logprobs.policy import (
    MAX_TOP_LOGPROBS,
    ProviderKind,
    ProviderSpec,
    has_own_root,
    scores_prompts,
)
from repro_gate.errors import MeasurementUnavailable

_MAX_BYTES: Final = 1 << 22
_TIMEOUT_S: Final = 60.0
_PROMPT: Final = "The capital of France is"
_QUESTION: Final = (("user", "Name a city, and say why you like it."),)
_ANSWER_TOKENS: Final = 16
"""Some models of OpenAI refuse fewer."""
_WARM: Final = 1.5
_STOPS: Final = (" ", "\n", ".", ",")
_UNAUTHORIZED: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_NOTHING: Final = "check the address, the name of the model, and that the server runs there"


def probe_server(
    base_url: str, model: str, *, api_key_env: str | None, runtime: Runtime | None = None
) -> ProbeReport:
    """Return what a server was seen to be able to do.

    Raises:
        MeasurementUnavailable: there is no key, or no call was answered.
    """
    runtime = runtime or Runtime()
    provider = ProviderSpec(
        name="server", kind=ProviderKind.OPENAI, base_url=base_url, api_key_env=api_key_env
    )
    try:
        probe = _Probe(provider, model, runtime)
    except HttpFailure as error:
        raise MeasurementUnavailable(error.reason, remedy=error.remedy) from error
    return asyncio.run(probe.run())


class _Probe:
    def __init__(self, provider: ProviderSpec, model: str, runtime: Runtime) -> None:
        self._provider = provider
        self._model = model
        self._now = runtime.now
        self._key = read_key(provider, runtime.environ)
        self._reader = ReplyReader(provider, self._key)
        self._calls = 0
        self._limits = Limits()
        self._rejected: frozenset[str] = frozenset()
        server = Server(
            name=provider.name,
            secret=self._key,
            max_bytes=_MAX_BYTES,
            if_slow="repeat the probe when the server is less busy",
            if_unreachable=_NOTHING,
            if_unreadable=_NOTHING,
            if_moved="probe the address to which it moved",
        )
        self._http = Client(server, endpoint_url(provider, "models"), runtime)

    async def run(self) -> ProbeReport:
        """Make the calls, one after the other."""
        try:
            seen = await self._seen()
        finally:
            await self._http.aclose()
        failure = seen.only_failure
        if failure is not None:
            raise MeasurementUnavailable(failure.reason, remedy=self._remedy_for(failure))
        return ProbeReport(
            base_url=self._provider.base_url,
            model=self._model,
            api_key_env=self._provider.api_key_env,
            kind=kind_of_server(seen),
            calls=self._calls,
            findings=findings_of(seen, self._key),
        )

    def _remedy_for(self, failure: HttpFailure) -> str:
        if failure.status not in _UNAUTHORIZED:
            return _NOTHING
        variable = self._provider.api_key_env
        if variable is None:
            return "name the variable that holds a key with --api-key-env"
        return f"set {variable} to a key that the server accepts"

    async def _seen(self) -> Seen:
        """Return the answers; the later questions depend on the earlier ones."""
        seen = Seen(model=self._model, prompt=_PROMPT, host=self._provider.host)
        seen.models = await self._sent(ProviderKind.OPENAI, "models", None)
        if seen.models.failure is not None and seen.models.failure.is_unreachable:
            # Nine more calls would fail in the same way.
            return seen
        seen.generated = await self._generated()
        failure = seen.generated.failure
        if failure is not None and failure.status in _UNAUTHORIZED:
            return seen
        cold = await self._answer(seen)
        seen.echoed = await self._echoed(seen)
        if not is_scored(seen):
            await self._score(seen)
        if cold is not None:
            await self._warm_up(seen, *cold)
        seen.unlimited = await self._unlimited(seen)
        return seen

    async def _generated(self) -> Asked:
        """Let the model continue a text, at the temperature at which an echo has equal values."""
        return await self._ask(
            ProviderKind.OPENAI,
            Question(
                model=self._model,
                temperature=1.0,
                prompt=_PROMPT,
                generate=CONTINUATION_TOKENS,
                top=MAX_TOP_LOGPROBS,
            ),
            seed=1,
        )

    async def _answer(self, seen: Seen) -> tuple[ProviderKind, Question] | None:
        """Ask for an answer at temperature 0; return the question if there was an answer."""
        kind = ProviderKind.OPENAI
        question = Question(
            model=self._model,
            temperature=0.0,
            prompt=_PROMPT,
            messages=_QUESTION,
            generate=_ANSWER_TOKENS,
            top=MAX_TOP_LOGPROBS,
        )
        chat = await self._ask(kind, question, seed=1)
        if chat.failure is not None and _wants_number(chat.failure.message):
            kind = ProviderKind.TOGETHER
            chat = await self._ask(kind, question, seed=1)
        seen.chats = (chat,)
        if chat.document is None and seen.generated.document is not None:
            seen.chat_failure = chat
            question = replace(question, messages=())
            seen.chats = (await self._ask(kind, question, seed=1),)
        return None if seen.chats[0].document is None else (kind, question)

    async def _warm_up(self, seen: Seen, kind: ProviderKind, cold: Question) -> None:
        """Ask the same at a higher temperature, twice with one seed and once with another."""
        for seed in (1, 1, 2):
            warm = replace(cold, temperature=_WARM)
            seen.chats += (await self._ask(kind, warm, seed=seed),)

    async def _echoed(self, seen: Seen) -> Asked:
        """Have the text and its continuation scored, by ids if the server returns all of them."""
        if seen.generated.document is None:
            return Asked()
        question = Question(model=self._model, temperature=1.0, prompt=seen.continued)
        return await self._ask(ProviderKind.OPENAI, question, max_tokens=1)

    async def _unlimited(self, seen: Seen) -> Asked:
        """Ask for no token, which some servers take for no limit; the stops end that soon."""
        if seen.generated.document is None:
            return Asked()
        question = Question(model=self._model, temperature=1.0, prompt=_PROMPT)
        return await self._ask(ProviderKind.OPENAI, question, stop=_STOPS, seed=1)

    async def _score(self, seen: Seen) -> None:
        """Request the log-probabilities of a prompt in the own formats of servers."""
        if seen.owner is not None and not scores_prompts(seen.owner):
            return
        kinds = (ProviderKind.VLLM, ProviderKind.TGI) if seen.owner is None else (seen.owner,)
        for kind in kinds:
            question = Question(
                model=self._model, temperature=1.0, prompt=_PROMPT + seen.continuation
            )
            seen.scored += ((kind, await self._ask(kind, question)),)

    async def _ask(self, kind: ProviderKind, question: Question, **more: Any) -> Asked:
        """Ask a question as often as fields of it are rejected by name."""
        dialect = dialect_of(kind)
        while True:
            asked = self._limits.applied_to(question)
            body = {**dialect.body(asked, rejected=self._rejected), **more}
            sent = dialect.sent(body, salt=str(uuid.uuid4()))
            found = await self._sent(kind, dialect.path_of(body), sent)
            if found.failure is None:
                return found
            refused = {name for name in more if name in found.failure.message}
            if not refused and not self._is_adapted(found.failure, dialect, body, asked):
                return found
            more = {name: value for name, value in more.items() if name not in refused}

    def _is_adapted(
        self, failure: HttpFailure, dialect: Dialect, body: Mapping[str, Any], asked: Question
    ) -> bool:
        """Return whether the question has to be phrased differently, and then remember how."""
        limits = self._limits.named_in(failure.message, asked)
        if limits != self._limits:
            self._limits = limits
            return True
        named = dialect.rejected_in(failure.message) & body.keys() - self._rejected
        self._rejected |= named
        return bool(named)

    async def _sent(self, kind: ProviderKind, path: str, body: Any) -> Asked:
        """Make one call, if one is left."""
        if self._calls >= MAX_PROBE_CALLS:
            return Asked()
        self._calls += 1
        base = self._provider.base_url
        base = base.removesuffix("/v1") if has_own_root(kind) else base
        url = endpoint_url(replace(self._provider, base_url=base), path)
        request = Request(method="GET" if body is None else "POST", url=url, body=body)
        try:
            reply = await self._http.send(request, timeout_s=_TIMEOUT_S)
            now = self._now()
            if body is None:
                return Asked(document=self._reader.json_of(reply, now=now))
            read = dialect_of(kind).completion
            reader = ReplyReader(self._provider, self._key, completion=read)
            return Asked(document=reader.document_of(reply, now=now), headers=reply.headers)
        except HttpFailure as error:
            return Asked(failure=error)


def _wants_number(message: str) -> bool:
    """Return whether a rejection shows that `logprobs` is a number also in a chat."""
    return "logprobs" in message and "integer" in message and "top_logprobs" not in message
