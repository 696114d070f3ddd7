"""What was found on a machine, and what can be begun with, as text."""

from collections.abc import Iterator, Sequence
from typing import Final, assert_never

from repro_gate.core.start.machine import Found, GgufModel, RunningServer
from repro_gate.core.start.providers import KNOWN_PROVIDERS
from repro_gate.core.start.sources import BuiltInModel, HostedModel, Offer, ServedModel, Source
from repro_gate.reports.text.escape import clipped, message, one_line
from repro_gate.reports.text.format import columns, plural

_GPU_PAGE: Final = "how to build it: docs/how-to/run-on-a-gpu.md of repro-gate"
_MAX_SHOWN: Final = 10
_MAX_NAME: Final = 80
_MAX_PATH: Final = 160
_MIB: Final = 1 << 20
_GIB: Final = 1 << 30


def render_found(found: Found) -> str:
    """Return a line for each thing that was found, and for each kind of which there is none."""
    rows = [*_gpus(found), *_models(found), *_servers(found), *_keys(found)]
    lines = ["found:", *(f"  {line}" for line in columns(rows))]
    return "\n".join([*lines, *(f"  left out: {message(each)}" for each in found.skipped), ""])


def render_offers(offers: Sequence[Offer]) -> str:
    """Return the numbered list to choose from."""
    return "".join(
        f"  {number}  {format_source(offer.source)}: {offer.reason}\n"
        for number, offer in enumerate(offers, start=1)
    )


def format_source(source: Source) -> str:
    """Return what a source is, in one line."""
    match source:
        case GgufModel():
            return clipped(source.shown, _MAX_PATH)
        case BuiltInModel():
            return source.source
        case ServedModel():
            return f"{clipped(source.model, _MAX_NAME)} at {one_line(source.server.url)}"
        case HostedModel():
            return f"{clipped(source.model, _MAX_NAME)} at {source.name}"
        case _:
            assert_never(source)


def format_size(size: int) -> str:
    """Return a number of bytes."""
    return f"{size / _GIB:.1f} GiB" if size >= _GIB else f"{size / _MIB:.3g} MiB"


def _gpus(found: Found) -> Iterator[tuple[str, str]]:
    for name in found.gpus:
        yield "GPU", clipped(name, _MAX_NAME)
    if found.gpu_problem is not None:
        yield "GPU", f"not used: {message(found.gpu_problem)} ({_GPU_PAGE})"
    if not found.gpus:
        yield "GPU", "none"


def _models(found: Found) -> Iterator[tuple[str, str]]:
    for model in found.models[:_MAX_SHOWN]:
        yield "model", _model(model)
    more = len(found.models) - _MAX_SHOWN
    if more > 0:
        yield "model", f"and {more} more"
    if not found.models:
        yield "model", "no GGUF file that generates text"


def _model(model: GgufModel) -> str:
    context = "" if model.context is None else f", context {model.context}"
    chat = "chat template" if model.template else "no chat template"
    architecture = clipped(model.architecture, _MAX_NAME) or "unknown architecture"
    what = f"{architecture}, {format_size(model.size)}{context}, {chat}"
    return f"{clipped(model.shown, _MAX_PATH)} ({what}; {model.place.value})"


def _servers(found: Found) -> Iterator[tuple[str, str]]:
    for server in found.servers:
        yield "server", f"{one_line(server.url)} ({_server(server)})"
    if not found.servers:
        yield "server", "none on the usual ports of this machine"


def _server(server: RunningServer) -> str:
    if server.wants_key:
        return f"{server.software}, which wants a key; none was sent"
    names = ", ".join(clipped(name, _MAX_NAME) for name in server.models[:_MAX_SHOWN])
    return f"{server.software}, {plural(len(server.models), 'model')}: {names}"


def _keys(found: Found) -> Iterator[tuple[str, str]]:
    for name, known in KNOWN_PROVIDERS.items():
        if known.api_key_env in found.keys:
            yield "key", f"{known.api_key_env} is set: repro-gate init {name} --model NAME"
    if not found.keys:
        yield "key", "none of a known provider"
