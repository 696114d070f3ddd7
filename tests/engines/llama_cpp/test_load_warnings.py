"""Warnings of llama.cpp that count, and those that do not."""

import pytest

from repro_gate.engines.llama_cpp.load_warnings import warning_notes
from repro_gate.engines.llama_cpp.native_log import Level, LogLine


def notes_on(*texts: str, level: Level = Level.WARN) -> list[str]:
    """Return the notes on these lines."""
    return list(warning_notes([LogLine(level, text) for text in texts]))


def test_an_unknown_warning_is_quoted() -> None:
    """Whichever function it is from, and once if it is repeated."""
    text = "MSA requires flash attention -> running DENSE attention (output may be degraded)"

    assert notes_on(f"load_arch: {text}", f"build: {text}") == [f"llama.cpp warns: {text}"]
    assert notes_on(text, level=Level.INFO) == []


def test_warnings_that_come_in_numbers_are_one_note() -> None:
    """With the first of them."""
    unused = [
        f"model has unused tensor blk.{n}.nextn.eh_proj.weight (size = 9 bytes) -- ignoring"
        for n in (46, 47)
    ]
    empty = [f"load: empty token at index {index}" for index in (5, 9, 11)]

    assert notes_on(*unused, *empty) == [
        "llama.cpp leaves out 2 tensors of the file, such as blk.46.nextn.eh_proj.weight",
        "3 tokens of the vocabulary have no text, such as 5",
    ]


def test_different_warnings_of_a_kind_are_notes_of_their_own() -> None:
    """Such as those on several special tokens."""
    lines = [
        f"load: bad special token: 'tokenizer.ggml.{name}_token_id' = 999, using default id -1"
        for name in ("unknown", "eot", "eot")
    ]

    assert notes_on(*lines) == [
        f"tokenizer.ggml.{name}_token_id is 999, which is not in the vocabulary, so it is ignored"
        for name in ("unknown", "eot")
    ]


@pytest.mark.parametrize(
    "text",
    [
        "load: ************************************        ",
        "load:                                             ",
        "load: GENERATION QUALITY WILL BE DEGRADED!        ",
        "load: control-looking token:    212 '</s>' was not control-type; this is probably a bug",
        "load: setting token '<|x|>' (7) attribute to USER_DEFINED (16), old attributes: 8",
        "load: '</s>' is a normal token here, removing it from EOG list",
        "llama_kv_cache_iswa: using full-size SWA cache (ref: https://example.com)",
        "llama_context: n_ctx_seq (512) > n_ctx_train (256) -- possible training context overflow",
        "llama_adapter_lora_init_impl: lora for 'blk.0' cannot use buft 'CPU_REPACK', fallback",
        "ggml_backend_x: anything",
    ],
)
def test_a_warning_that_does_not_count_is_left_out(text: str) -> None:
    """Of what llama.cpp corrects, what costs time only, and what has a note of its own."""
    assert notes_on(text) == []
