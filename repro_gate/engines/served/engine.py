"""What the engine does for each method of the protocol: it asks a server over HTTP."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import Any, Final, NoReturn

from repro_gate.engines.model_file import ModelFile, read_model
from repro_gate.engines.requests import DescribeRequest, GenerateRequest, LoadRequest
from repro_gate.engines.served.company import Company
from repro_gate.engines.served.dialects import DIALECTS
from repro_gate.engines.served.dialects.dialect import Answer, Dialect, digest
from repro_gate.engines.served.honoured import Honoured, probe
from repro_gate.engines.served.http import Http, ServerGone
from repro_gate.engines.served.log import ServerLog, secrets_in
from repro_gate.engines.served.machine import facts_of as machine_facts
from repro_gate.engines.served.machine import profile_of, visible_devices
from repro_gate.engines.served.pieces import Pieces
from repro_gate.engines.served.provenance import command_facts
from repro_gate.engines.served.server import Server, ready_server
from repro_gate.engines.serving import Engine
from repro_gate.protocol import MAX_CONCURRENCY, Json, Refusal, RequestRefused, bad_request
from repro_gate.server_settings import ServerSettings

_ENDING: Final = Lock()
_INCOMPLETE: Final = (
    "the server leaves out the log-probabilities of some tokens (llama-server: of parts of "
    "characters and of stop strings), so their answers have no margins, and bits are compared only "
    "at their other tokens"
)
_OTHER_FILE: Final = (
    "the server runs already, so nothing shows that it has loaded the file of the matrix"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    """A server with the model that is loaded."""

    dialect: Dialect
    pieces: Pieces
    company: Company
    honoured: Honoured


class ServedEngine(Engine):
    """A model at a server."""

    def __init__(self, log: Path | None = None) -> None:
        """Ask nothing yet.

        Args:
            log: the file for what a started server prints; None to keep none.
        """
        self._log = log
        self._printed: ServerLog | None = None
        self._server: Server | None = None
        self._session: _Session | None = None

    def describe(self, request: DescribeRequest) -> Json:
        """Return how the server is started, on what machine, and what it can be asked for."""
        settings = ServerSettings.parse(request.settings)
        machine = machine_facts(request.device) if settings.is_started else {}
        can = {
            "keep_cache": DIALECTS[settings.dialect].can_keep_cache,
            "restart": settings.is_started,
            "remote": not settings.is_started,
        }
        return {
            "engine": "served",
            "profile": profile_of(settings, request.device),
            "facts": {"server.dialect": settings.dialect, **command_facts(settings), **machine},
            "can": ["concurrent", "no_bytes", *(word for word, is_so in can.items() if is_so)],
        }

    def load(self, request: LoadRequest) -> Json:
        """Start the server, or find it, and see which parameters it honours."""
        self.close()
        if request.lora:
            raise bad_request("load.lora: a server loads its adapters by its own command line")
        try:
            return self._load(request)
        except ServerGone as error:
            raise RequestRefused(Refusal.SERVER_UNAVAILABLE, self._reason_of(error)) from error

    def _load(self, request: LoadRequest) -> Json:
        settings = ServerSettings.parse(request.settings)
        key = _key_of(settings)
        file = None if request.path is None else read_model(request, may_be_folder=True)

        def dialect_at(url: str) -> Dialect:
            return DIALECTS[settings.dialect](Http(url, key=key), request.name)

        printed = self._printed = ServerLog(
            self._log if settings.is_started else None, secrets=[key or "", *secrets_in(os.environ)]
        )
        server = self._server = ready_server(
            replace(settings, env={**visible_devices(request.device), **settings.env}),
            model=request.path,
            name=request.name,
            log=printed,
            connect=lambda url: dialect_at(url).is_ready,
        )
        dialect = dialect_at(server.base_url)
        if file is not None:
            file.require_unchanged()
            dialect.require_size(file.size)
        pieces = Pieces(dialect)
        honoured = probe(dialect)
        self._session = _Session(
            dialect=dialect, pieces=pieces, company=Company(dialect.running), honoured=honoured
        )
        shown = {"server.fingerprint": honoured.fingerprint} if honoured.fingerprint else {}
        return {
            "facts": {**dialect.facts(), **shown},
            "notes": [*honoured.notes(), *([_OTHER_FILE] if file and not server.instance else [])],
            "concurrency": min(request.concurrency or MAX_CONCURRENCY, MAX_CONCURRENCY),
            **({} if server.instance is None else {"instance": server.instance}),
            **({} if file is None else _file_of(file)),
        }

    def generate(self, request: GenerateRequest) -> Json:
        """Run one cell at the server; the process ends when the server is gone."""
        session = self._loaded()
        if request.keep_cache and not session.dialect.can_keep_cache:
            raise bad_request("generate.cache: this dialect cannot choose whether to use a cache")
        session.honoured.require(request)
        try:
            return _generate(session, request)
        except ServerGone as error:
            self._end(self._reason_of(error))

    def close(self) -> None:
        """Close the connections, and end a server that was started."""
        session, self._session = self._session, None
        if session is not None:
            session.company.close()
            session.dialect.http.close()
        server, self._server = self._server, None
        if server is not None:
            server.close()
        printed, self._printed = self._printed, None
        if printed is not None:
            printed.close()

    def _loaded(self) -> _Session:
        if self._session is None:
            raise bad_request("no model is loaded")
        return self._session

    def _reason_of(self, error: ServerGone) -> str:
        """Return how the server ended, or what was seen of it while it lives."""
        return (self._server and self._server.death()) or str(error)

    def _end(self, reason: str) -> NoReturn:
        # The gate then reports the reason, and starts another engine for the next cell.
        with _ENDING:
            # Of several threads, the first one.
            os.write(sys.stderr.fileno(), f"{reason}\n".encode(errors="replace"))
            os._exit(1)


def _file_of(file: ModelFile) -> Json:
    return {"sha256": file.sha256, "size": file.size, **file.state_to_wire()}


def _key_of(settings: ServerSettings) -> str | None:
    if settings.api_key_env is None:
        return None
    key = os.environ.get(settings.api_key_env)
    if not key:
        raise bad_request(f"settings.api_key_env: the variable {settings.api_key_env} is not set")
    return key


def _generate(session: _Session, request: GenerateRequest) -> Json:
    dialect = session.dialect
    prompt = dialect.prompt(request)
    with session.company.request() as seen:
        before = _hits(session, request)
        started = perf_counter()
        answer = dialect.generate(prompt, request, keep_cache=request.keep_cache)
        received = perf_counter()
        after = None if before is None else _hits(session, request)
    if before is not None and after is not None:
        answer = replace(answer, cached=after - before)
    _require_whole(answer, request)
    company = session.company
    together = 0 if answer.work is None else company.together(started, received, answer.work)
    running = max(together, seen.running or 0) or None
    known = {"cached_tokens": answer.cached, "running": running}
    rendered = prompt.rendered
    if request.chat is not None and rendered is None:
        rendered = dialect.detokenize(answer.prompt)
    return {
        "prompt": session.pieces.to_wire(answer.prompt),
        "tokens": session.pieces.to_wire(answer.tokens),
        **_end_of(answer),
        **_evidence(answer, request),
        **({} if rendered is None else {"rendered": rendered}),
        **{name: count for name, count in known.items() if count is not None},
        "timing": {"decode_s": received - started, "sample_s": 0.0},
    }


def _hits(session: _Session, request: GenerateRequest) -> int | None:
    """Return how many tokens the cache has given, where only the metrics show it."""
    is_shown = session.honoured.shows_cached or not request.keep_cache
    # With others in flight, the count would be of all of them.
    return None if is_shown or not session.company.is_alone else session.dialect.cache_hits()


def _require_whole(answer: Answer, request: GenerateRequest) -> None:
    """Refuse an answer that was not cold, ignored a schema, or was cut off by the context."""
    if answer.cached and not request.keep_cache:
        raise RequestRefused(
            Refusal.INTERNAL,
            f"the server used {answer.cached} cached tokens though the request was cold",
        )
    has_schema = request.sampling is not None and request.sampling.value("json_schema")
    if has_schema and answer.end == "end_of_generation" and not _is_json(answer.text):
        raise bad_request("generate.sampling.json_schema: the answer of the server is no JSON")
    count = len(answer.tokens)
    if answer.end == "length" and count < request.max_tokens:
        raise RequestRefused(
            Refusal.OUT_OF_CONTEXT,
            f"the server ended after {count} of {request.max_tokens} tokens for lack of context",
        )


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _end_of(answer: Answer) -> Mapping[str, Any]:
    if answer.stop_string is None:
        return {"stop": answer.end}
    content = answer.text.encode(errors="surrogatepass").hex()
    return {"stop": answer.end, "stop_string": answer.stop_string, "content": content}


def _evidence(answer: Answer, request: GenerateRequest) -> Mapping[str, Any]:
    """Return what the request wants of the log-probabilities, and a note where it is not there."""
    found: dict[str, Any] = {}
    steps = [step for step in answer.steps if step is not None]
    is_whole = len(steps) == len(answer.steps)
    if request.logits:
        if not steps:
            raise bad_request(
                "generate.logits: the server gave no log-probability of any token of this answer, "
                "so that it cannot be compared to the bit"
            )
        pairs = zip(answer.tokens, answer.steps, strict=True)
        found["logits"] = [digest(token, step) for token, step in pairs]
    if request.trace and is_whole:
        found["trace"] = [step.to_wire() for step in steps]
    if not is_whole and (request.trace or request.logits):
        found["notes"] = [_INCOMPLETE]
    return found
