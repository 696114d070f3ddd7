"""The servers that the engine can ask, by the name of their dialect in the matrix."""

from collections.abc import Mapping
from typing import Final

from repro_gate.engines.served.dialects.dialect import Dialect
from repro_gate.engines.served.dialects.llama_server import LlamaServer
from repro_gate.engines.served.dialects.openai import OpenAi, Vllm
from repro_gate.engines.served.dialects.sglang import SgLang

DIALECTS: Final[Mapping[str, type[Dialect]]] = {
    "llama_server": LlamaServer,
    "vllm": Vllm,
    "sglang": SgLang,
    "openai": OpenAi,
}
