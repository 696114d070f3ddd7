"""Where the matrix may take a model from, and what to write instead of anything else."""

import re
from typing import Final

from repro_gate.adapters.models.hub import HUB_FORM, hub_file_of
from repro_gate.adapters.models.packages import PACKAGE_FORM, package_file_of
from repro_gate.core.engines import BUILT_IN_MODELS
from repro_gate.model_files import MAX_PARTS, part_names

_PREFIX: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):(?P<rest>.*)", re.DOTALL)
"""At least two characters: one alone is a Windows drive."""
_HUB_URL: Final = re.compile(
    r"https://(?:huggingface\.co|hf\.co)/([^/?#]+)/([^/?#]+)/(?:resolve|blob)/([^/?#]+)/([^?#]+).*"
)
_PATH_FORM: Final = "a path relative to this file, or an absolute one"


def required_form(source: str) -> str | None:
    """Return what to write instead of an invalid source, or None if it is valid."""
    if not source.isprintable():
        return "a string without control characters"
    prefix = _PREFIX.match(source)
    scheme, rest = (prefix["scheme"], prefix["rest"]) if prefix else (None, source)
    match scheme:
        case None:
            return _required_path(source)
        case "hf":
            return _required_file(source) if hub_file_of(source) else HUB_FORM
        case "package":
            return _required_file(source) or (None if package_file_of(source) else PACKAGE_FORM)
        case "builtin":
            known = ", ".join(f"builtin:{name}" for name in BUILT_IN_MODELS)
            return None if rest in BUILT_IN_MODELS else f"one of {known}"
        case _:
            return _instead_of_scheme(source, scheme, rest)


def _required_path(source: str) -> str | None:
    if source.startswith(("~", "$")):
        return f"{_PATH_FORM}: ~ and variables are not expanded, as they differ between machines"
    return _required_file(source)


def _required_file(source: str) -> str | None:
    first, *others = part_names(source)
    if len(others) >= MAX_PARTS:
        return f"a model of at most {MAX_PARTS} parts"
    return None if first == source else f"{first}: the first part stands for all of them"


def _instead_of_scheme(source: str, scheme: str, rest: str) -> str:
    if scheme.lower() in {"hf", "builtin", "package"}:
        return f"{scheme.lower()}: in lower case"
    page = _HUB_URL.fullmatch(source)
    if page is not None:
        return f"hf:{page[1]}/{page[2]}@{page[3]}/{page[4]}"
    if rest.startswith("//"):
        return f"a file that is downloaded before the check: {HUB_FORM}, or {_PATH_FORM}"
    return (
        f"builtin:NAME, {HUB_FORM}, package:NAME==VERSION/PATH, or {_PATH_FORM}; a file whose "
        f"name has a colon is ./{source}"
    )
