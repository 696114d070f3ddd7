"""The first matrix of a source, as sections of a file; what may be untrusted is only in values."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final, assert_never

from repro_gate.core.guards import require_at_least
from repro_gate.core.logprobs.capabilities import policy_name, policy_table
from repro_gate.core.logprobs.policy import Endpoint
from repro_gate.core.start.machine import Found, GgufModel, Place
from repro_gate.core.start.prompts import ITEMS, ChatForm, prompts_of
from repro_gate.core.start.sources import (
    FETCHED,
    BuiltInModel,
    HostedModel,
    ServedModel,
    name_of,
)
from repro_gate.server_settings import Dialect
from repro_gate.settings import like_server

RUNS: Final = 3
SEEDS: Final = (42, 123)
CALIBRATION_DRAWS: Final = 10
_SUITE: Final = "pull-request"
_HOSTED: Final = "hosted"
_SCHEMA: Final = "repro-gate/matrix/v1"
_MIN_CONTEXT: Final = 256
_CONTEXT: Final = 1024
"""Enough for the prompts with their answers, and small for every model."""
_LARGE: Final = 4 << 30
"""Bytes of a model of which one core computes too few tokens in a second."""
_SLOW_S: Final = 1800
_GPU_THREADS: Final = 4
_PLAIN_SAMPLER: Final = {"temperature": 0.7, "top_k": 40, "top_p": 0.95, "min_p": 0.05}
_SERVER_SAMPLER: Final = {"like": "llama-server"}
_EXACT: Final = {
    "n_ctx": 256,
    "n_batch": 256,
    "threads": 1,
    "flash_attention": False,
    "kv_type": "f32",
}
_MARGIN: Final = 4
"""A check makes at most so many times the calls of its first look: a second one, and controls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A table of the file, with what stands above it."""

    name: tuple[str, ...]
    """The parts of its name; empty for the beginning of the file."""
    values: Mapping[str, Any]
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstMatrix:
    """The sections of a matrix file, and what its first commands take."""

    sections: tuple[Section, ...]
    suite: str
    cells: int
    model_bytes: int = 0
    """Of the file that is read for every token, for an estimate; 0 if it is not known."""
    is_hosted: bool = False
    device: str = "cpu"
    key: str | None = None
    """The variable with the key of a hosted model."""
    is_built_in: bool = False
    """Whether every machine can make the model."""
    remarks: tuple[str, ...] = field(default_factory=tuple)
    """What the user should know before the first recording."""

    def __post_init__(self) -> None:
        require_at_least(1, cells=self.cells)
        require_at_least(0, model_bytes=self.model_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """How the matrix names a file."""

    source: str
    sha256: str


def matrix_of_file(model: GgufModel, pin: Pin, found: Found, chat: ChatForm | None) -> FirstMatrix:
    """Return the matrix of a GGUF file on the built-in engine, set as llama-server is."""
    name = _model_name(model)
    settings = _settings(model, found)
    engine: dict[str, Any] = {"kind": "llama_cpp", "device": found.device}
    if model.size > _LARGE and found.device == "cpu":
        engine["timeout_s"] = _SLOW_S
    table = {"engine": "local", "source": pin.source, "sha256": pin.sha256}
    sections = (
        _top(_SUITE),
        Section(
            name=("engines", "local"),
            values={**engine, "settings": settings},
            comments=(
                "llama.cpp in a process of its own, with the defaults of llama-server.",
                'Write beside them what you start yours with, such as kv_type = "q8_0".',
                _in_force(settings),
            ),
        ),
        Section(name=("models", name), values=table, comments=_file_comments(model, pin)),
        Section(
            name=("sampler",),
            values=_SERVER_SAMPLER,
            comments=("What a request to llama-server has if it sets nothing.",),
        ),
        *_prompt_sections(chat),
        _token_suite(name, chat),
    )
    return FirstMatrix(
        sections=sections,
        suite=_SUITE,
        cells=_cells(chat),
        model_bytes=model.size,
        device=found.device,
        remarks=(*_runner_remarks(pin), *_chat_remarks(chat)),
    )


def matrix_of_built_in(model: BuiltInModel) -> FirstMatrix:
    """Return the matrix of a tiny model, whose outputs are the same on many CPUs."""
    name = model.source.partition(":")[2]
    sections = (
        _top(_SUITE),
        Section(
            name=("engines", "local"),
            values={"kind": "llama_cpp", "device": "cpu", "settings": _EXACT},
            comments=("llama.cpp in a process of its own, with every setting that counts.",),
        ),
        Section(
            name=("models", name),
            values={"engine": "local", "source": model.source},
            comments=(
                "Random weights, built on the spot, so it writes noise: good for trying the gate.",
                "The first recording pins it in snapshots/models.json.",
            ),
        ),
        Section(
            name=("sampler",),
            values=_PLAIN_SAMPLER,
        ),
        *_prompt_sections(None),
        _token_suite(name, None),
    )
    return FirstMatrix(sections=sections, suite=_SUITE, cells=_cells(None), is_built_in=True)


def matrix_of_server(source: ServedModel, found: Found, pin: Pin | None) -> FirstMatrix:
    """Return the matrix of a model of a server whose tokens can be had.

    Args:
        source: the server and the model.
        found: this machine.
        pin: the file of the model, if the gate is to start the server itself.
    """
    server, name = source.server, _served_name(source.model)
    dialect = server.dialect or Dialect.OPENAI
    engine = {"kind": "served", "dialect": dialect.value}
    chat = ChatForm() if _chats(dialect) and server.has_chat else None
    sections = (
        _top(_SUITE),
        _started(engine, source) if pin is not None else _running(engine, source, found),
        Section(
            name=("models", name),
            values={"engine": "server", **_named(source, name, pin)},
            comments=()
            if pin is not None
            else ("Only the server knows its files, so nothing here can pin them.",),
        ),
        Section(
            name=("sampler",),
            values=_SERVER_SAMPLER if dialect is Dialect.LLAMA_SERVER else _PLAIN_SAMPLER,
            comments=("Every value is sent, because servers have their own defaults.",),
        ),
        *_prompt_sections(chat),
        _token_suite(name, chat),
    )
    return FirstMatrix(
        sections=sections,
        suite=_SUITE,
        cells=_cells(chat),
        remarks=_server_remarks(pin),
    )


def matrix_of_hosted(source: HostedModel) -> FirstMatrix:
    """Return the matrix of a model behind an API: the log-probabilities of fixed texts."""
    policies = _policies(source)
    cells = len(policies) * len(ITEMS)
    provider = source.provider
    table: dict[str, Any] = {"kind": provider.kind.value, "base_url": provider.base_url}
    if source.api_key_env is not None:
        table["api_key_env"] = source.api_key_env
    suite = {
        "kind": "logprobs",
        "policies": list(policies),
        "items": list(ITEMS),
        "budget": {"max_calls": _MARGIN * CALIBRATION_DRAWS * cells},
    }
    sections = (
        _top(_HOSTED),
        Section(
            name=("providers", source.name),
            values=table,
            comments=("The name of the variable that holds the key, never the key.",)
            if source.api_key_env is not None
            else (),
        ),
        *(
            Section(name=("policies", name), values=values, comments=_policy_comments(values))
            for name, values in policies.items()
        ),
        *(
            Section(name=("items", name), values={"prompt": prompt, "response": response})
            for name, (prompt, response) in ITEMS.items()
        ),
        Section(
            name=("suites", _HOSTED),
            values=suite,
            comments=("Take what your users send, 20 items or more. What one check may spend:",),
        ),
    )
    return FirstMatrix(
        sections=sections,
        suite=_HOSTED,
        cells=cells,
        is_hosted=True,
        key=source.api_key_env,
        remarks=_hosted_remarks(source),
    )


def _top(suite: str) -> Section:
    return Section(
        name=(),
        values={"schema": _SCHEMA, "default_suites": [suite]},
        comments=(
            "Written by `repro-gate init`. Every key: docs/reference/matrix-file.md of repro-gate",
        ),
    )


def _model_name(model: GgufModel) -> str:
    return name_of(model.title if model.place is Place.OLLAMA else model.path.name)


def _settings(model: GgufModel, found: Found) -> Mapping[str, Any]:
    trained = (model.context or _CONTEXT) // _MIN_CONTEXT * _MIN_CONTEXT
    return {
        "like": "llama-server",
        "n_ctx": max(_MIN_CONTEXT, min(_CONTEXT, trained)),
        "threads": _threads(model, found),
    }


def _threads(model: GgufModel, found: Found) -> int:
    """Return how many threads compute one answer; several answers are computed side by side."""
    if found.device != "cpu":
        return max(1, min(_GPU_THREADS, found.cores - 1))
    return max(1, found.cores // 2) if model.size > _LARGE else 1


def _in_force(settings: Mapping[str, Any]) -> str:
    given = {name: value for name, value in settings.items() if name != "like"}
    rest = {name: value for name, value in like_server(given).items() if name not in given}
    shown = ", ".join(f"{name} = {json.dumps(value)}" for name, value in rest.items())
    return f"In force besides: {shown}"


def _file_comments(model: GgufModel, pin: Pin) -> tuple[str, ...]:
    comments = ["Another file than the one with this digest is refused before it is loaded."]
    if model.source is not None and pin.source != model.source:
        comments += [
            "For other machines, with `repro-gate models fetch`, the source is",
            model.source,
        ]
    return tuple(comments)


def _prompt_sections(chat: ChatForm | None) -> tuple[Section, ...]:
    tables = prompts_of(chat)
    why = _why(chat)
    return tuple(
        Section(name=("prompts", name), values=values, comments=why if number == 0 else ())
        for number, (name, values) in enumerate(tables.items())
    )


def _why(chat: ChatForm | None) -> tuple[str, ...]:
    """Return why the prompts are chats or plain texts."""
    if chat is None:
        return ("Plain texts, which the model continues.",)
    if chat.refused is None:
        return ("Chats, as in a request: the template of the model makes the text.",)
    return ("Plain texts, because the chat template of the model was refused:", chat.refused)


def _token_suite(name: str, chat: ChatForm | None) -> Section:
    return Section(
        name=("suites", _SUITE),
        values={"runs": RUNS, "seeds": list(SEEDS), "prompts": {name: list(prompts_of(chat))}},
        comments=("Each prompt with each seed is a cell, which every run must answer alike.",),
    )


def _cells(chat: ChatForm | None) -> int:
    return len(prompts_of(chat)) * len(SEEDS)


def _served_name(model: str) -> str:
    """Return the name of a served model, which llama-server calls by the path of its file."""
    return name_of(PurePosixPath(model).name if model.startswith("/") else model)


def _runner_remarks(pin: Pin) -> tuple[str, ...]:
    if pin.source.startswith(FETCHED):
        return ()
    needed = (
        "The runner of the workflow needs the model file at the same path: commit it with Git LFS, "
        "copy it there, or use a source that `repro-gate models fetch` downloads."
    )
    return (needed,)


def _server_remarks(pin: Pin | None) -> tuple[str, ...]:
    if pin is None:
        preferred = (
            "Prefer serve, the command that starts your server: then the file is pinned, and a "
            "drift has its cause in the report."
        )
        return (preferred,)
    options = (
        "The command that starts the server has its context and slots only: add your other options."
    )
    return (options, *_runner_remarks(pin))


def _chat_remarks(chat: ChatForm | None) -> tuple[str, ...]:
    if chat is None or not chat.variables:
        return ()
    names = ", ".join(chat.variables)
    return (f"The chat template reads {names}: set what you serve with in template_kwargs.",)


def _chats(dialect: Dialect) -> bool:
    match dialect:
        case Dialect.LLAMA_SERVER | Dialect.VLLM:
            return True
        case Dialect.SGLANG | Dialect.OPENAI:
            return False
        case _:
            assert_never(dialect)


def _started(engine: Mapping[str, Any], source: ServedModel) -> Section:
    """Return the engine that starts llama-server itself, as the running one seems to be."""
    server = source.server
    slots = server.slots or 1
    size = ["-c", str((server.context or _CONTEXT) * slots), "-np", str(slots)]
    command = ["llama-server", "-m", "{model}", "-a", "{name}"]
    address = ["--host", "{host}", "--port", "{port}"]
    return Section(
        name=("engines", "server"),
        values={**engine, "serve": [*command, *address, *size]},
        comments=(
            "The gate starts the server itself, so that it knows what was served and how.",
            "Context and slots are those of the running one: add your other options.",
        ),
    )


def _running(engine: Mapping[str, Any], source: ServedModel, found: Found) -> Section:
    machine = name_of(found.gpus[0]) if found.gpus else "cpu"
    profile = name_of(f"{source.server.software}-{machine}")
    return Section(
        name=("engines", "server"),
        values={**engine, "base_url": source.server.url, "profile": profile},
        comments=(
            "A server that runs already. `profile` names its class of machine:",
            "goldens of one class are not compared with those of another.",
        ),
    )


def _named(source: ServedModel, name: str, pin: Pin | None) -> Mapping[str, str]:
    served = {} if source.model == name else {"served_as": source.model}
    return served if pin is None else {"source": pin.source, "sha256": pin.sha256, **served}


def _policies(source: HostedModel) -> Mapping[str, Mapping[str, Any]]:
    if source.probe is not None:
        return source.probe.policies(source.name)
    use = source.provider.use
    table = policy_table(use, provider=source.name, model=source.model, temperature=1.0)
    return {policy_name(use[0]): table}


def _policy_comments(values: Mapping[str, Any]) -> tuple[str, ...]:
    if "kind" in values or values.get("endpoint") == Endpoint.CHAT:
        return ()
    return (
        "Scores the fixed responses below. The prompt is sent as it is;",
        "for a chat model write its chat template as `template`, with {prompt} in it.",
    )


def _hosted_remarks(source: HostedModel) -> tuple[str, ...]:
    if source.probe is not None:
        return ()
    promise = "The policy is what the API reference promises, and was not tried"
    return (f"{promise}: --probe finds out in at most ten calls what this model allows.",)
