"""A server with vLLM's answers; `answers.json` has what vLLM 0.32 answered.

python -m tests.fakes.vllm serve MODEL --served-model-name NAME --port PORT [--dtype float32] ...

Shapes, messages and metrics are those of vLLM; tokens are those of `model.py`.
"""

import argparse
import json
import os
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, TypeAlias

from tests.fakes.vllm.answers import ANSWERS, Failed, chat, completion
from tests.fakes.vllm.model import text_of, tokens_of
from tests.fakes.vllm.scheduler import EFFECTS, Scheduler

Answers: TypeAlias = dict[str, Callable[[dict[str, Any]], Any]]

_LAST_WORDS_S: Final = 0.2
"""How long a server lives whose engine is dead."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until a signal, or the death of the engine, ends the process."""
    given = _parser().parse_args(arguments)
    scheduler = Scheduler(
        name=given.served_model_name,
        block=given.block_size,
        effect="bits" if given.dtype == "bfloat16" else given.effect,
        shows_cached=given.enable_prompt_tokens_details,
        dies_after=given.dies_after,
        hides_logprobs=given.hide_logprobs,
    )
    server = _Server((given.host, given.port), _handler(scheduler, given.ignore))
    print("serving on port", server.server_address[1], flush=True)  # noqa: T201 -- a server's log
    server.serve_forever()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vllm", allow_abbrev=False)
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("model")
    parser.add_argument("--served-model-name", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--block-size", type=int, default=16)
    parser.add_argument("--enable-prompt-tokens-details", action="store_true")
    # Without an effect here.
    parser.add_argument("--enforce-eager", action="store_true")
    parser.add_argument("--max-model-len", type=int)
    parser.add_argument("--max-num-batched-tokens", type=int)
    # What no vLLM has.
    parser.add_argument("--effect", choices=EFFECTS, default="none")
    parser.add_argument("--dies-after", type=int)
    parser.add_argument("--hide-logprobs", action="store_true")
    parser.add_argument("--ignore", help="a field of requests")
    return parser


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 2048


def _handler(scheduler: Scheduler, ignored: str | None) -> type[BaseHTTPRequestHandler]:
    answers = _answers(scheduler)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Otherwise Nagle's algorithm holds the body back until the header is acknowledged.
        wbufsize = -1
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._respond({})

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = json.loads(self.rfile.read(length))
            self._respond({name: value for name, value in body.items() if name != ignored})

        def log_message(self, *_: object) -> None:
            """Log nothing."""

        def _respond(self, body: dict[str, Any]) -> None:
            try:
                is_ill = self.path == "/health" and scheduler.is_dead
                status, answer = 503 if is_ill else 200, answers.get(self.path, _not_found)(body)
            except Failed as failed:
                status, answer = failed.status, failed.body
                if failed.is_fatal:
                    print("EngineDeadError:", failed.body["error"]["message"], flush=True)  # noqa: T201
                    threading.Timer(_LAST_WORDS_S, os._exit, [0]).start()
            data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return Handler


def _answers(scheduler: Scheduler) -> Answers:
    (model,) = ANSWERS["models"]["data"]
    models = {**ANSWERS["models"], "data": [{**model, "id": scheduler.name}]}
    return {
        "/version": lambda _: ANSWERS["version"],
        "/health": lambda _: "",
        "/v1/models": lambda _: models,
        "/metrics": lambda _: _metrics(scheduler),
        "/tokenize": lambda body: {"tokens": tokens_of(body["prompt"])},
        "/detokenize": lambda body: {"prompt": text_of(body["tokens"])},
        "/v1/completions": lambda body: completion(scheduler, body),
        "/v1/chat/completions": lambda body: chat(scheduler, body),
    }


def _not_found(_: dict[str, Any]) -> Any:
    raise Failed("not_found")


def _metrics(scheduler: Scheduler) -> str:
    values = {
        "vllm:num_requests_running": scheduler.running,
        "vllm:prefix_cache_hits_total": scheduler.hits,
    }
    lines = (line.rpartition(" ") for line in ANSWERS["metrics"])
    return "".join(
        f"{series} {float(values.get(series.partition('{')[0], float(value)))}\n"
        for series, _, value in lines
    )


if __name__ == "__main__":
    main()
