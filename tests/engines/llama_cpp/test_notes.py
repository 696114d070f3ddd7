"""Notes of the engine on models and prompts; a note changes no token."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from repro_gate.engines.llama_cpp.notes import split_notes, thread_note
from repro_gate.protocol import Method
from repro_gate.settings import Settings
from tests.fakes.driven_engine import load_params
from tests.fakes.odd_models import tiny_with

if TYPE_CHECKING:
    from tests.engines.llama_cpp.conftest import ModelMaker
    from tests.fakes.driven_engine import DrivenEngine

BOS = "<|endoftext|>"
CORES = len(os.sched_getaffinity(0))


@pytest.fixture(name="noted")
def _noted(idle_engine: "DrivenEngine", tmp_path: Path) -> Any:
    """Return a function that loads a changed model and returns the notes on it."""

    def load(changes: Mapping[str, Any], **settings: Any) -> list[str]:
        path = tiny_with(tmp_path / "model.gguf", changes)
        notes: list[str] = idle_engine.load(path, **settings)["notes"]
        return notes

    return load


def test_a_sound_model_has_no_notes(idle_engine: "DrivenEngine", tiny_model: "ModelMaker") -> None:
    """Neither does its prompt."""
    for name in ("tiny-qwen2", "tiny-phi3"):
        assert idle_engine.load(tiny_model(name).path)["notes"] == []
        assert idle_engine.generate()["notes"] == []


@pytest.mark.parametrize(
    ("changes", "settings", "beginning"),
    [
        ({"tokenizer.ggml.pre": None}, {}, "the file names no pre-tokenizer"),
        (
            {"tokenizer.ggml.unknown_token_id": 9999},
            {},
            "tokenizer.ggml.unknown_token_id is 9999, which is not in the vocabulary",
        ),
        (
            {"tokenizer.ggml.eot_token_id": 7},
            {},
            "the eot token of the file is not a usual one, so its tokenizer settings may be wrong",
        ),
        (
            {"tokenizer.ggml.bos_token_id": None, "tokenizer.ggml.add_bos_token": True},
            {},
            "the file names no BOS token, so llama.cpp takes 11, ','",
        ),
        ({"tokenizer.ggml.add_eos_token": True}, {}, "the model asks for an EOS token after a te"),
        ({"qwen2.context_length": 128}, {}, "n_ctx = 256 is more than the 128 tokens"),
        ({}, {"flash_attention": True}, "kv_type = f32 only costs memory here"),
        ({}, {"threads": CORES + 1}, f"threads = {CORES + 1}, but only {CORES} cores are usable"),
    ],
    ids=["pre-tokenizer", "token-id", "unusual", "bos", "eos", "context", "kv-type", "threads"],
)
def test_a_problem_of_a_model_is_one_note(
    noted: Any, changes: Mapping[str, Any], settings: Mapping[str, Any], beginning: str
) -> None:
    """A warning of llama.cpp, or something that it does not warn about, in one sentence."""
    (note,) = noted(changes, **settings)

    assert note.startswith(beginning)


def test_a_model_without_an_eos_token_ends_at_another_one(noted: Any) -> None:
    """llama.cpp takes one by its number, and warns about its text."""
    unusual, missing = noted({"tokenizer.ggml.eos_token_id": None})

    assert unusual.startswith("the eos token of the file is not a usual one")
    assert missing == "the file names no EOS token, so llama.cpp takes 11, ','"


def test_a_window_that_llama_cpp_ignores_is_noted_where_a_text_can_exceed_it(
    idle_engine: "DrivenEngine", tmp_path: Path
) -> None:
    """The models of Phi-3 have one."""
    found: list[str] = []
    for window in (255, 256):
        change = {"phi3.attention.sliding_window": window}
        path = tiny_with(tmp_path / "model.gguf", change, name="tiny-phi3")
        found += idle_engine.load(path)["notes"]

    (note,) = found
    assert note.startswith("llama.cpp ignores the sliding window of 255 tokens")


def test_the_defaults_of_a_model_file_are_noted(idle_engine: "DrivenEngine", noted: Any) -> None:
    """All of them once, and on the first run of a cell those that it does not have."""
    keys = {"temp": 0.8, "top_k": 20, "xtc_probability": 0.5, "mirostat": 0}
    order = {"general.sampling.sequence": "top_k;top_p;min_p;temperature"}
    (note,) = noted({f"general.sampling.{key}": value for key, value in keys.items()} | order)
    traced, plain = (idle_engine.generate(trace=trace)["notes"] for trace in (True, False))

    assert note == (
        "llama-server takes defaults from the model file: temperature = 0.800000, samplers = "
        "top_k;top_p;min_p;temperature, top_k = 20, xtc_probability = 0.500000, mirostat = 0; "
        "here the values of the matrix count"
    )
    assert plain == []
    differing = "top_k = 20 (here 40), xtc_probability = 0.500000 (here not used)"
    assert traced == [f"llama-server with the defaults of the model file has {differing}"]


def test_the_defaults_of_a_model_file_are_compared_with_all_samplers(
    idle_engine: "DrivenEngine", noted: Any
) -> None:
    """Those that a request has besides the usual ones too."""
    keys = {"mirostat": 2, "mirostat_tau": 5.0, "mirostat_eta": 0.1, "temp": 0.8, "top_k": 40}
    noted({f"general.sampling.{key}": value for key, value in keys.items()})
    samplers = ["temperature", "mirostat_v2"]
    sampling = {"dynatemp_range": 0, "dynatemp_exponent": 1, "mirostat_tau": 5, "mirostat_eta": 0.2}
    neutral = {"top_k": 0, "top_p": 1, "min_p": 0, "trace": True}

    (note,) = idle_engine.generate(sampling={"samplers": samplers, **sampling}, **neutral)["notes"]
    assert note.endswith("has top_k = 40 (here not used), mirostat_eta = 0.100000 (here 0.2)")


def test_f32_without_flash_attention_and_f16_with_it_have_no_note(noted: Any) -> None:
    """Only the combination has no effect."""
    assert noted({}, flash_attention=True, kv_type="f16") == []
    assert noted({}, flash_attention=False, kv_type="f32") == []


def test_f32_with_flash_attention_generates_what_f16_does(
    idle_engine: "DrivenEngine", tiny_model: "ModelMaker"
) -> None:
    """The note is true."""
    answers: list[Any] = []
    for kv_type in ("f32", "f16"):
        idle_engine.load(tiny_model("tiny-phi3").path, flash_attention=True, kv_type=kv_type)
        answers.append(idle_engine.generate(trace=True))

    assert answers[0] == answers[1]


def test_a_prompt_that_repeats_the_bos_token_is_noted(
    idle_engine: "DrivenEngine", noted: Any
) -> None:
    """Both in a generation and in a score by text; not where the ids were sent."""
    noted({"tokenizer.ggml.add_bos_token": True})
    (note,) = idle_engine.generate(prompt=f"{BOS}The")["notes"]
    scored = idle_engine.ask(Method.SCORE, prompt=f"{BOS}The", response=" quick")
    by_ids = idle_engine.ask(Method.SCORE, prompt=[0, 0, 1], response=[2])

    assert note.startswith("the prompt starts with two BOS tokens")
    assert scored["notes"] == [note]
    assert by_ids["notes"] == []
    assert idle_engine.generate(prompt="The")["notes"] == []


def test_a_model_that_adds_no_bos_token_has_none_twice(
    idle_engine: "DrivenEngine", tiny_model: "ModelMaker"
) -> None:
    """How its prompt starts is up to the user."""
    idle_engine.load(tiny_model("tiny-qwen2").path)

    assert idle_engine.generate(prompt=f"{BOS}{BOS}The")["notes"] == []


def test_no_eos_token_is_added_to_a_prompt(
    idle_engine: "DrivenEngine", tiny_model: "ModelMaker", noted: Any
) -> None:
    """Generations and scores are those of the same weights without that setting."""
    idle_engine.load(tiny_model("tiny-qwen2").path)
    without = idle_engine.generate(), _score_of(idle_engine)
    noted({"tokenizer.ggml.add_eos_token": True})

    assert (idle_engine.generate(), _score_of(idle_engine)) == without


def _score_of(engine: "DrivenEngine") -> tuple[Any, Any]:
    scored = engine.ask(Method.SCORE, prompt="The quick", response=" brown fox")
    return scored["prompt"], scored["logprobs"]


@pytest.mark.parametrize(
    ("tokens", "n_batch", "n_ubatch", "smallest"),
    [
        (512, 512, 512, None),
        (5, 512, 512, None),
        (1500, 2048, 512, None),
        (1032, 2048, 512, 8),
        (1033, 2048, 512, None),
        (513, 512, 512, 1),
        (1024, 512, 100, None),
        (512, 512, 101, 7),
        (1024, 512, 510, 2),
        (1030, 512, 256, 6),
        (4, 4, 2, 2),
    ],
)
def test_a_small_part_of_a_split_prompt_is_noted(
    tokens: int, n_batch: int, n_ubatch: int, smallest: int | None
) -> None:
    """Wherever it is; a small prompt in one part is as usual."""
    notes = split_notes(tokens, _settings(n_batch=n_batch, n_ubatch=n_ubatch))
    ends = [note.partition(" parts, one of only ")[2].partition(":")[0] for note in notes]

    assert ends == ([] if smallest is None else [str(smallest)])


def test_flash_attention_has_other_small_parts() -> None:
    """It computes 64 tokens at once."""
    sizes = {"n_batch": 512, "n_ubatch": 128, "flash_attention": True}
    assert split_notes(192, _settings(**sizes)) == []
    (note,) = split_notes(191, _settings(**sizes))
    assert note == (
        "n_batch = 512 and n_ubatch = 128 split 191 tokens into 2 parts, one of only 63: llama.cpp "
        "may compute fewer than 64 in another way, so another split may give other tokens"
    )


def _settings(**changes: Any) -> Settings:
    return Settings.parse(
        load_params(Path("m.gguf"), n_ctx=2048, **changes)["settings"], is_cpu=True
    )


def test_a_small_part_is_noted_with_every_answer(
    idle_engine: "DrivenEngine", tiny_model: "ModelMaker"
) -> None:
    """A generation counts its prompt, a score the response too."""
    idle_engine.load(tiny_model("tiny-qwen2").path, n_batch=4)
    (note,) = idle_engine.generate(prompt="!?!?!?")["notes"]
    (other,) = idle_engine.ask(Method.SCORE, prompt=[1, 2, 3], response=[4, 5, 6])["notes"]

    assert note.startswith("n_batch = 4 and n_ubatch = 4 split 6 tokens into 2 parts, one of")
    assert other.startswith("n_batch = 4 and n_ubatch = 4 split 5 tokens into 2 parts, one of")


@pytest.mark.parametrize(
    ("threads", "cores", "elsewhere", "load", "is_noted"),
    [
        (1, 1, 0, 9.0, False),
        (2, 4, 0, 9.0, False),
        (4, 4, 0, 0.9, False),
        (4, 4, 0, 1.0, True),
        (4, 4, 8, 8.0, False),
        (4, 4, 8, 9.0, True),
        (5, 4, 8, 0.0, True),
        (2, 1, 0, 0.0, True),
    ],
)
def test_threads_that_share_cores_are_noted(
    *, threads: int, cores: int, elsewhere: int, load: float, is_noted: bool
) -> None:
    """More threads than cores, or as many on a machine whose other cores are busy."""
    note = thread_note(threads, cores=cores, elsewhere=elsewhere, load=load)

    assert (note is not None) == is_noted


@pytest.mark.parametrize(
    ("threads", "contexts", "load", "note"),
    [
        (1, 64, 9.0, None),
        (2, 3, 9.0, None),
        (2, 4, 0.9, None),
        (2, 4, 1.0, "threads = 2 in 4 contexts takes every usable core"),
        (2, 5, 0.0, "threads = 2 in 5 contexts, but only 8 cores are usable"),
    ],
)
def test_the_threads_of_all_contexts_count(
    threads: int, contexts: int, load: float, note: str | None
) -> None:
    """Each context has threads of its own, which wait for each other."""
    found = thread_note(threads, contexts, cores=8, elsewhere=0, load=load)
    assert (found or "").startswith(note or "")
    assert (found is None) == (note is None)
    assert found is None or found.endswith("use fewer threads or contexts")
