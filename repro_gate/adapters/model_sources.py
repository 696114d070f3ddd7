"""What `source` of a model may be: everything that cannot be one is refused before a check."""

import re
from typing import Final, assert_never

from repro_gate.adapters.hub import HubFile
from repro_gate.core.models import BUILT_IN_MODELS, EngineKind

_PREFIX: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):(?P<rest>.*)", re.DOTALL)
"""With two characters or more: one alone is a drive."""
_HUB_URL: Final = re.compile(
    r"https://(?:huggingface\.co|hf\.co)/([^/?#]+)/([^/?#]+)/(?:resolve|blob)/([^/?#]+)/([^?#]+).*"
)
_PART: Final = re.compile(r".*-\d{5}-of-(\d{5})\.gguf", re.IGNORECASE | re.DOTALL)
_HUB_FORM: Final = "hf:OWNER/REPO[@REVISION]/FILE"
_PATH_FORM: Final = "a path relative to this file, or an absolute one"


def hub_file_of(source: str) -> HubFile | None:
    """Return the file that an `hf:` source names; None when it has another form."""
    owner, _, rest = source.removeprefix("hf:").partition("/")
    repository, _, file = rest.partition("/")
    repository, at, revision = repository.partition("@")
    parts = [owner, repository, *file.split("/"), *([revision] if at else [])]
    if not all(parts) or any(part in {".", ".."} or "\\" in part for part in parts):
        return None
    return HubFile(repository=f"{owner}/{repository}", file=file, revision=revision or None)


def required_form(source: str, engine: EngineKind) -> str | None:
    """Return what to write in place of a source that can name no model; None if it can."""
    if not source.isprintable():
        return "a text without control characters"
    prefix = _PREFIX.match(source)
    scheme, rest = (prefix["scheme"], prefix["rest"]) if prefix else (None, source)
    match scheme:
        case None:
            return _required_path(source, engine)
        case "hf":
            return _required_path(source, engine) if hub_file_of(source) else _HUB_FORM
        case "builtin":
            known = ", ".join(f"builtin:{name}" for name in BUILT_IN_MODELS)
            return None if rest in BUILT_IN_MODELS else f"one of {known}"
        case _:
            return _instead_of_scheme(source, scheme, rest)


def _required_path(source: str, engine: EngineKind) -> str | None:
    if source.startswith(("~", "$")):
        return f"{_PATH_FORM}: ~ and variables are not expanded, as they differ between machines"
    part = _PART.fullmatch(source)
    match engine:
        case EngineKind.LLAMA_CPP if part is not None and int(part[1]) > 1:
            return "one file; merge the parts of a split model with llama-gguf-split --merge"
        case EngineKind.LLAMA_CPP | EngineKind.COMMAND:
            return None
        case _:
            assert_never(engine)


def _instead_of_scheme(source: str, scheme: str, rest: str) -> str:
    if scheme.lower() in {"hf", "builtin"}:
        return f"{scheme.lower()}: in lower case"
    page = _HUB_URL.fullmatch(source)
    if page is not None:
        return f"hf:{page[1]}/{page[2]}@{page[3]}/{page[4]}"
    if rest.startswith("//"):
        return f"a file that is downloaded before the check: {_HUB_FORM}, or {_PATH_FORM}"
    return (
        f"builtin:NAME, {_HUB_FORM}, or {_PATH_FORM}; a file whose name has a colon is ./{source}"
    )
