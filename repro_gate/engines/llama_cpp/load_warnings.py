"""Warnings of llama.cpp while it loads a model: those that count for its output, in plain words."""

import re
from collections.abc import Iterable, Iterator, Sequence

from repro_gate.engines.llama_cpp.native_log import Level, LogLine

_FUNCTION = re.compile(r"\w+:\s*")
IGNORED_WINDOW = "SWA is currently disabled"
_HARMLESS = re.compile(
    r"GENERATION QUALITY|CONSIDER REGENERATING"
    # What llama.cpp itself corrects, for nearly every model or as its program needs it.
    r"|control-looking token|setting token '.*' \(\d+\) attribute|removing '.*' token from EOG list"
    r"|is a normal token here, removing it"
    # What costs memory or time only.
    r"|using full-size SWA cache|padding V cache|sharing with layer|mmap|madvise|fadvise|munlock"
    r"|cannot use buft|compute buffer|pipeline parallelism|Falling back to buffered|with error: "
    # What has a note or a fact of its own.
    r"|possible training context overflow|LLAMA_ATTN_ROT_DISABLE|graph reuse disabled"
    rf"|{IGNORED_WINDOW}|yarn_attn_factor|unknown type "
)
_EXPLANATIONS = (
    (
        re.compile(r"missing pre-tokenizer type"),
        (
            "the file names no pre-tokenizer, so llama.cpp splits text by a default that is "
            "probably wrong; convert the model again with a current convert_hf_to_gguf.py"
        ),
    ),
    (
        re.compile(r"special token:? '(.*?)' = (\d+)"),
        "{0} is {1}, which is not in the vocabulary, so it is ignored",
    ),
    (
        re.compile(r"special_(eo[stm])_id is not in special_eog_ids"),
        "the {0} token of the file is not a usual one, so its tokenizer settings may be wrong",
    ),
    (
        re.compile(r"empty token at index (\d+)"),
        "{count} tokens of the vocabulary have no text, such as {0}",
    ),
    (
        re.compile(r"model has unused tensor (\S+)"),
        "llama.cpp leaves out {count} tensors of the file, such as {0}",
    ),
    (re.compile(r"(.*)"), "llama.cpp warns: {0}"),
)
"""With a `{count}`, the warnings of a kind are one note."""


def warning_notes(lines: Iterable[LogLine]) -> Sequence[str]:
    """Return a note for each warning, or for each kind of those that come in numbers."""
    kinds: dict[str, list[tuple[str, ...]]] = {}
    for warning in _warnings(lines):
        for pattern, explanation in _EXPLANATIONS:
            if match := pattern.search(warning):
                kinds.setdefault(explanation, []).append(match.groups())
                break
    return [
        explanation.format(*groups, count=len(found))
        for explanation, found in kinds.items()
        for groups in (found[:1] if "{count}" in explanation else dict.fromkeys(found))
    ]


def _warnings(lines: Iterable[LogLine]) -> Iterator[str]:
    for line in lines:
        text = _FUNCTION.sub("", line.text, count=1).strip()
        is_ornament = not any(map(str.isalnum, text))
        is_ours = line.level is Level.WARN and not line.text.startswith("ggml_")
        if is_ours and not is_ornament and not _HARMLESS.search(text):
            yield text
