"""The servers that the engine can ask, by the name of their dialect in the matrix."""

from collections.abc import Mapping
from typing import Final

from repro_gate.engines.served.dialects.dialect import Dialect
from repro_gate.engines.served.dialects.llama_server import LlamaServer
from repro_gate.engines.served.dialects.openai import OpenAi, Vllm
from repro_gate.engines.served.dialects.sglang import SgLang
from repro_gate.server_settings import Dialect as DialectName

DIALECTS: Final[Mapping[DialectName, type[Dialect]]] = {
    DialectName.LLAMA_SERVER: LlamaServer,
    DialectName.VLLM: Vllm,
    DialectName.SGLANG: SgLang,
    DialectName.OPENAI: OpenAi,
}
