"""llama-server of the wheel xllamacpp, with the options and the defaults of the program.

python -m tests.fakes.llama_server -m MODEL --port PORT [-np SLOTS] [-kvu] [-fa off] ...

The wheel has the server but not its command line.
"""

import argparse
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import xllamacpp

_AUTO_SLOTS: Final = 4
"""What llama-server has when `-np` is not given, with a unified cache."""

_FLASH_ATTENTION: Final = {"auto": -1, "off": 0, "on": 1}
_TYPES: Final = {"f32": 0, "f16": 1, "q8_0": 8}


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until a signal ends the process."""
    server = xllamacpp.Server(_params(_parser().parse_args(arguments)))
    print("listening on", server.listening_address, flush=True)  # noqa: T201 -- a server's log
    signal.pause()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="llama-server", allow_abbrev=False)
    parser.add_argument("-m", "--model", required=True)
    parser.add_argument("-a", "--alias", default="")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("-c", "--ctx-size", type=int, default=0)
    parser.add_argument("-b", "--batch-size", type=int, default=2048)
    parser.add_argument("-ub", "--ubatch-size", type=int, default=512)
    parser.add_argument("-t", "--threads", type=int, default=-1)
    parser.add_argument("-np", "--parallel", type=int)
    parser.add_argument("-kvu", "--kv-unified", action=argparse.BooleanOptionalAction)
    parser.add_argument("-fa", "--flash-attn", choices=_FLASH_ATTENTION, default="auto")
    parser.add_argument("-ctk", "--cache-type-k", choices=_TYPES, default="f16")
    parser.add_argument("-ctv", "--cache-type-v", choices=_TYPES, default="f16")
    parser.add_argument("--cache-prompt", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--slots", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--metrics", action="store_true")
    parser.add_argument("-nr", "--no-repack", action="store_true")
    parser.add_argument("--chat-template-file")
    return parser


def _params(given: argparse.Namespace) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = given.model
    params.cpuparams.n_threads = given.threads
    for name, value in _values(given).items():
        setattr(params, name, value)
    return params


def _values(given: argparse.Namespace) -> Mapping[str, Any]:
    is_auto = given.parallel is None
    return {
        "model_alias": {given.alias} - {""},
        "hostnames": [given.host],
        "port": given.port,
        "n_ctx": given.ctx_size,
        "n_batch": given.batch_size,
        "n_ubatch": given.ubatch_size,
        "n_parallel": _AUTO_SLOTS if is_auto else given.parallel,
        "kv_unified": is_auto if given.kv_unified is None else given.kv_unified,
        "flash_attn_type": xllamacpp.llama_flash_attn_type(_FLASH_ATTENTION[given.flash_attn]),
        "cache_type_k": xllamacpp.ggml_type(_TYPES[given.cache_type_k]),
        "cache_type_v": xllamacpp.ggml_type(_TYPES[given.cache_type_v]),
        "cache_prompt": given.cache_prompt,
        "endpoint_slots": given.slots,
        "endpoint_metrics": given.metrics,
        "no_extra_bufts": given.no_repack,
        "chat_template": _text(given.chat_template_file),
    }


def _text(path: str | None) -> str:
    return "" if path is None else Path(path).read_text("utf-8")


if __name__ == "__main__":
    main()
