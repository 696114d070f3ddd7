"""Planted causes: what changes in an inference stack, and what a check is expected to find."""

import hashlib
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from benchmarks.altered_models import (
    merges_of,
    with_one_bit_changed,
    with_one_tensor_scaled,
    without_merge,
)
from benchmarks.changes import toml
from benchmarks.corpus import TEXT
from repro_gate.core.cause import Cause
from repro_gate.core.tokens.grade import GradeWord
from tests.fakes.fireworks.weights import Quantisation, quantised

_PATCHED: Final = Path(__file__).with_name("patched_engine.py")
_SETTINGS: Final[Mapping[str, Any]] = {
    "n_ctx": 512,
    "n_batch": 512,
    "threads": 1,
    "flash_attention": True,
    "kv_type": "f16",
}
TEXTS: Final[Mapping[str, str]] = {
    "autumn-leaves": "Write a haiku about autumn leaves",
    "quick-brown-fox": "The quick brown fox",
    "once-upon-a-time": "Once upon a time",
    "galaxy-far-away": "In a galaxy far, far away",
    "meaning-of-life": "The meaning of life is",
    "bread-recipe": "A recipe for bread begins with",
    "night-train": "The train leaves the station at",
    "dear-diary": "Dear diary, today I learned",
    "moon-visit": "Three reasons to visit the moon:",
    # Long enough for the threads to count: see `use_split_kv_path` of llama.cpp.
    "morning-train": TEXT[:1300],
}
TOKENS: Final = 25
SEED: Final = 42
VARIANTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "no-flash-attention": {"flash_attention": False},
    "f32-cache": {"flash_attention": False, "kv_type": "f32"},
}
"""The harmless changes that a user would name."""

_SPACE: Final = "\u0120"
"""In a tokenizer's merges."""
_UNUSED: Final = {"min_keep": 0, "dynatemp_range": 0, "dynatemp_exponent": 1}
"""What samplers in another order require; the values are those that do nothing."""
_Alter = Callable[[Path, Path], Path]
"""Writes a model file with a change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a check shows, on any model."""

    tokens: bool | None
    """Whether cells drift; None where it depends on the model."""
    logits: bool
    """Whether the logits of some step are not those of the golden."""
    file: bool = False
    """Whether the digest of the model is not the pinned one."""
    grades: Sequence[GradeWord | None] = (None,)
    """Those that it may have on SmolLM2; None without a drift."""
    causes: Sequence[Cause] = ()
    """Those that `explain` may name for some cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A cause of another output."""

    name: str
    expected: Expected
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Of the engine, in place of those of the goldens."""
    fault: Mapping[str, Any] | None = None
    """Of the engine; see `patched_engine`."""
    sampler: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """In the matrix, in place of the one of the goldens."""
    alter: _Alter | None = None
    is_quick: bool = False
    """Whether a tiny model shows it too."""


def matrix(
    cause: Planted | None = None, *, source: str = "model.gguf", sha256: str | None = None
) -> str:
    """Return a matrix file with a planted cause, or as the goldens are recorded."""
    engine: dict[str, Any] = {
        "kind": "llama_cpp",
        "timeout_s": 600,
        "settings": {**_SETTINGS, **(cause.settings if cause else {})},
    }
    if cause is not None and cause.fault is not None:
        command = [sys.executable, str(_PATCHED), json.dumps(dict(cause.fault))]
        engine |= {"kind": "command", "command": command}
    # With a min_p, the order of top_k and top_p rarely counts.
    sampler = {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0}
    prompts = {name: {"text": text, "max_tokens": TOKENS} for name, text in TEXTS.items()}
    suites = {
        "causes": {
            "runs": 1,
            "seeds": [SEED],
            "evidence": "logits",
            "prompts": {"model": list(prompts)},
        },
        # The prompts and seeds of the release suites.
        "release": {
            "runs": 10,
            "seeds": [42, 123, 999],
            "prompts": {"model": list(prompts)[:5]},
        },
    }
    return f"""
schema = "repro-gate/matrix/v1"
default_suites = ["causes"]
sampler = {toml({**sampler, **(cause.sampler if cause else {})})}
engines.cpu = {toml(engine)}
models.model = {toml({"engine": "cpu", "source": source, "sha256": sha256})}
prompts = {toml(prompts)}
suites = {toml(suites)}
variants = {toml({name: {"settings": settings} for name, settings in VARIANTS.items()})}
"""


def digest(file: Path) -> str:
    """Return the SHA-256 of a model file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def quantise(kind: Quantisation) -> _Alter:
    """Return what writes a model as llama.cpp stores it with a file type."""
    return lambda model, target: quantised(model, target, kind)


def remove_merge(*, is_used: bool) -> _Alter:
    """Return what removes the last merge that makes a word of a prompt, or a part of none."""

    def alter(model: Path, target: Path) -> Path:
        text = "\n".join(TEXTS.values())
        made_of = {merge: merge.replace(" ", "") for merge in reversed(merges_of(model))}
        words = {f"{_SPACE}{word}" for word in re.findall(r"\b[a-z]+\b", text)}
        found = (
            merge
            for merge, made in made_of.items()
            if (made in words if is_used else made.strip(_SPACE) not in text)
        )
        return without_merge(model, target, next(found))

    return alter


_CONSISTENT, _BEYOND, _ = GradeWord
_FILE: Final = Expected(
    tokens=None, logits=True, file=True, grades=(_CONSISTENT,), causes=(Cause.MODEL,)
)
_OTHER_DRAW: Final = Expected(tokens=True, logits=False, grades=(_BEYOND,), causes=(Cause.SAMPLER,))
_NOTHING: Final = Expected(tokens=False, logits=False)
_ROUNDING: Final = Expected(
    tokens=None, logits=True, grades=(_CONSISTENT,), causes=(Cause.ROUNDING,)
)
_HARMFUL: Final = replace(_ROUNDING, grades=(_BEYOND,), causes=(Cause.BEHAVIOURAL,))

CAUSES: Final = (
    Planted(name="nothing", expected=_NOTHING, is_quick=True),
    Planted(name="another engine program", fault={}, expected=_NOTHING),
    Planted(
        name="another seed",
        fault={"seed": 43},
        expected=_OTHER_DRAW,
        is_quick=True,
    ),
    Planted(name="temperature + 0.01", fault={"hotter": 0.01}, expected=_OTHER_DRAW),
    Planted(name="temperature + 0.05", fault={"hotter": 0.05}, expected=_OTHER_DRAW),
    Planted(name="top_p 0.90 for 0.95", fault={"top_p": 0.9}, expected=_OTHER_DRAW),
    Planted(
        name="top_p before top_k",
        fault={"sampling": {"samplers": ["top_p", "top_k", "min_p", "temperature"], **_UNUSED}},
        expected=_OTHER_DRAW,
    ),
    Planted(
        name="one random number skipped",
        fault={"skip_a_random_number": True},
        expected=_OTHER_DRAW,
        is_quick=True,
    ),
    Planted(
        name="temperature + 0.05, in the matrix",
        sampler={"temperature": 0.85},
        expected=Expected(tokens=True, logits=False, causes=(Cause.DEFINITION,)),
        is_quick=True,
    ),
    Planted(
        name="a merge of the tokenizer removed, one of a prompt",
        alter=remove_merge(is_used=True),
        expected=Expected(
            tokens=True, logits=False, file=True, grades=(_BEYOND,), causes=(Cause.TOKENIZER,)
        ),
        is_quick=True,
    ),
    Planted(
        name="a merge of the tokenizer removed, one of no prompt",
        alter=remove_merge(is_used=False),
        expected=Expected(tokens=False, logits=False, file=True),
    ),
    Planted(name="one bit of one weight", alter=with_one_bit_changed, expected=_FILE),
    Planted(name="one tensor scaled by 1.001", alter=with_one_tensor_scaled, expected=_FILE),
    Planted(name="weights as F16", alter=quantise(Quantisation.F16), expected=_FILE),
    Planted(
        name="weights as Q8_0",
        alter=quantise(Quantisation.Q8_0),
        # The float32 weights of a tiny model lose digits, those of SmolLM2 gain some.
        expected=replace(_FILE, grades=(_CONSISTENT, _BEYOND)),
        is_quick=True,
    ),
    Planted(
        name="weights as Q4_0",
        alter=quantise(Quantisation.Q4_0),
        expected=replace(_FILE, grades=(_BEYOND,)),
    ),
    Planted(name="KV cache of q8_0", settings={"kv_type": "q8_0"}, expected=_ROUNDING),
    Planted(name="KV cache of q4_0", settings={"kv_type": "q4_0"}, expected=_HARMFUL),
    Planted(name="KV cache of f32", settings={"kv_type": "f32"}, expected=_NOTHING),
    Planted(
        name="no flash attention",
        settings={"flash_attention": False},
        expected=_ROUNDING,
        is_quick=True,
    ),
    Planted(
        name="a batch of two sequences", fault={"decode_two_sequences": True}, expected=_NOTHING
    ),
    Planted(name="two contexts side by side", settings={"contexts": 2}, expected=_NOTHING),
    Planted(name="two threads", settings={"threads": 2}, expected=_ROUNDING),
)
