"""What is in force by a matrix file, and where each value comes from."""

import json
from pathlib import Path

import pytest

from repro_gate.adapters.matrix.in_force import read_settings
from repro_gate.core.origins import Origin, SettingInForce, SettingsInForce
from repro_gate.errors import InputInvalid
from repro_gate.samplers import BESIDE, SAMPLERS, SERVER_ORDER
from repro_gate.settings import ROPE

MATRIX = """
schema = "repro-gate/matrix/v1"
default_suites = ["quick"]
SAMPLER

[engines.own]
kind = "command"
command = ["./engine"]
settings = { threads = 2 }

[models.mine]
engine = "own"
source = "mine.gguf"

[prompts.haiku]
text = "Say haiku"
max_tokens = 4
PROMPT

[suites.quick]
runs = 1
seeds = [1]
prompts = { mine = ["haiku"] }
"""
LOGPROBS = """
[policies.p]
provider = "local"
model = "mine"
temperature = 1.0
logprobs = "raw"
[items.one]
prompt = "a"
response = "b"
[suites.quick]
kind = "logprobs"
policies = ["p"]
items = ["one"]
"""
PLAIN = "sampler = { top_k = 40, top_p = 0.95, min_p = 0.05 }"
SERVER = 'sampler = { like = "llama-server", top_k = 20, grammar = "root ::= [a-z]" }'
_OFF = dict.fromkeys(BESIDE, (None, Origin.DEFAULT))


def in_force(folder: Path, *, sampler: str = SERVER, prompt: str = "") -> SettingsInForce:
    """Return what is in force by a matrix with these two parts."""
    file = folder / "repro-gate.toml"
    file.write_text(MATRIX.replace("SAMPLER", sampler).replace("PROMPT", prompt), "utf-8")
    return read_settings(file)


def values(settings: tuple[SettingInForce, ...]) -> dict[str, tuple[object, Origin]]:
    """Return the value and the origin of each setting."""
    return {each.name: (json.loads(each.value), each.origin) for each in settings}


def test_a_command_has_the_settings_of_the_matrix(tmp_path: Path) -> None:
    """And the defaults of what every engine has."""
    (engine,) = in_force(tmp_path).engines

    assert (engine.name, engine.kind, engine.models) == ("own", "command", ("mine",))
    assert values(engine.settings) == {
        "device": ("cpu", Origin.DEFAULT),
        "timeout_s": (120.0, Origin.DEFAULT),
        "threads": (2, Origin.MATRIX),
    }


BUILT_IN = """kind = "llama_cpp"
DEVICE
settings = { n_ctx = 300, threads = 2, MORE }"""
LIKE = 'like = "llama-server"'
OWN = 'n_batch = 128, flash_attention = true, kv_type = "q8_0"'


def built_in(folder: Path, settings: str, device: str = "cpu") -> dict[str, tuple[object, Origin]]:
    """Return what is in force for a built-in engine."""
    table = BUILT_IN.replace("DEVICE", f'device = "{device}"').replace("MORE", settings)
    command = 'kind = "command"\ncommand = ["./engine"]\nsettings = { threads = 2 }'
    file = folder / "repro-gate.toml"
    text = MATRIX.replace("SAMPLER", SERVER).replace("PROMPT", "").replace(command, table)
    file.write_text(text, "utf-8")
    (engine,) = read_settings(file).engines
    return values(engine.settings)


def test_the_built_in_engine_has_every_setting(tmp_path: Path) -> None:
    """Of the matrix, by default, or as in the model file."""
    assert built_in(tmp_path, OWN) == {
        "device": ("cpu", Origin.MATRIX),
        "timeout_s": (120.0, Origin.DEFAULT),
        "n_ctx": (300, Origin.MATRIX),
        "n_batch": (128, Origin.MATRIX),
        "n_ubatch": (128, Origin.DEFAULT),
        "threads": (2, Origin.MATRIX),
        "threads_batch": (2, Origin.DEFAULT),
        "flash_attention": (True, Origin.MATRIX),
        "kv_type_k": ("q8_0", Origin.MATRIX),
        "kv_type_v": ("q8_0", Origin.MATRIX),
        "swa_full": (True, Origin.DEFAULT),
        **dict.fromkeys(ROPE, (None, Origin.MODEL_FILE)),
        "repack": (True, Origin.DEFAULT),
        "load_mode": (None, Origin.DEFAULT),
        "contexts": (None, Origin.DEFAULT),
    }


def test_settings_like_those_of_llama_server_say_so(tmp_path: Path) -> None:
    """Also where repro-gate has the same default; own values win."""
    found = built_in(tmp_path, f"{LIKE}, kv_type_k = 'bf16', rope_freq_base = 5000")

    assert {name: value for name, (value, origin) in found.items() if origin == "matrix"} == {
        "device": "cpu",
        "n_ctx": 300,
        "threads": 2,
        "kv_type_k": "bf16",
        "rope_freq_base": 5000,
    }
    like = {name: value for name, (value, origin) in found.items() if origin != "matrix"}
    assert {name: like[name] for name in like if found[name][1] is Origin.LIKE_SERVER} == {
        "n_batch": 300,
        "n_ubatch": 300,
        "flash_attention": True,
        "kv_type_v": "f16",
        "swa_full": False,
        "repack": True,
    }


def test_settings_of_gpus_are_in_force_on_gpus(tmp_path: Path) -> None:
    """Those for several with several; shares are equal by default."""
    of_one = built_in(tmp_path, LIKE, "cuda")
    of_two = built_in(tmp_path, f"{LIKE}, gpus = 2", "cuda")

    assert of_one["offload_kqv"] == (True, Origin.LIKE_SERVER)
    assert of_one["gpu_layers"] == (None, Origin.DEFAULT)
    assert of_two["gpus"] == (2, Origin.MATRIX)
    assert {name: of_two[name] for name in of_two.keys() - of_one.keys()} == {
        "split_mode": ("layer", Origin.LIKE_SERVER),
        "tensor_split": ([1.0, 1.0], Origin.DEFAULT),
    }


def test_a_model_has_its_file_and_its_adapters(tmp_path: Path) -> None:
    """No adapter by default."""
    (model,) = in_force(tmp_path).models

    assert (model.names, values(model.settings)) == (
        ("mine",),
        {"source": ("mine.gguf", Origin.MATRIX), "lora": ([], Origin.DEFAULT)},
    )


def test_the_plain_samplers_are_in_force_by_default(tmp_path: Path) -> None:
    """Their order is repro-gate's, their values are the file's."""
    (found,) = in_force(tmp_path, sampler=PLAIN, prompt="temperature = 0.8").samplers

    assert values(found.settings) == {
        "samplers": (["top_k", "top_p", "min_p", "temperature"], Origin.DEFAULT),
        "top_k": (40, Origin.SHARED),
        "top_p": (0.95, Origin.SHARED),
        "min_p": (0.05, Origin.SHARED),
        "temperature": (0.8, Origin.MATRIX),
    }


def test_parameters_stand_in_the_order_in_which_samplers_apply(tmp_path: Path) -> None:
    """Each with its sampler; one that several samplers share stands with each."""
    (found,) = in_force(tmp_path).samplers

    order, *parameters = found.settings
    assert json.loads(order.value) == list(SERVER_ORDER)
    assert [(each.sampler, each.name) for each in parameters] == [
        (sampler, name) for sampler in SERVER_ORDER for name in SAMPLERS[sampler]
    ]


@pytest.mark.parametrize(
    ("prompt", "name", "expected"),
    [
        ("", "samplers", (list(SERVER_ORDER), Origin.LIKE_SERVER)),
        ("", "temperature", (0.8, Origin.LIKE_SERVER)),
        ("", "dry_sequence_breakers", (["\n", ":", '"', "*"], Origin.LIKE_SERVER)),
        ("", "top_k", (20, Origin.SHARED)),
        ("top_k = 5", "top_k", (5, Origin.MATRIX)),
        ('samplers = ["top_k"]', "samplers", (["top_k"], Origin.MATRIX)),
        ('samplers = ["top_k"]', "top_k", (20, Origin.SHARED)),
        ('samplers = ["typ_p"]', "typical_p", (1.0, Origin.LIKE_SERVER)),
    ],
)
def test_a_parameter_comes_from_the_nearest_table(
    tmp_path: Path, prompt: str, name: str, expected: tuple[object, Origin]
) -> None:
    """The prompt, then `[sampler]`, then llama-server."""
    (found,) = in_force(tmp_path, prompt=prompt).samplers

    assert values(found.settings)[name] == expected


def test_what_applies_beside_the_samplers_is_with_the_prompt(tmp_path: Path) -> None:
    """A grammar that prompts share is in force for each."""
    (found,) = in_force(tmp_path, prompt='stop = ["x"]').prompts

    assert values(found.settings) == {
        "max_tokens": (4, Origin.MATRIX),
        "stop": (["x"], Origin.MATRIX),
        **_OFF,
        "grammar": ("root ::= [a-z]", Origin.SHARED),
    }


def test_a_replaced_grammar_is_not_in_force(tmp_path: Path) -> None:
    """A schema of the prompt takes the place of a grammar that prompts share."""
    (found,) = in_force(tmp_path, prompt="json_schema = {}").prompts

    assert values(found.settings)["grammar"] == (None, Origin.DEFAULT)
    assert values(found.settings)["json_schema"] == ("{}", Origin.MATRIX)


@pytest.mark.parametrize(
    ("more", "template"),
    [
        ("", (None, Origin.MODEL_FILE)),
        ('template_file = "t.jinja"', ("t.jinja", Origin.MATRIX)),
    ],
)
def test_the_template_of_a_chat_is_of_the_model_file_or_another(
    tmp_path: Path, more: str, template: tuple[object, Origin]
) -> None:
    """A text needs no template, a chat does."""
    (tmp_path / "t.jinja").write_text("{{ messages }}", "utf-8")
    chat = (
        f'[prompts.chat]\nmessages = [{{ role = "user", content = "x" }}]\nmax_tokens = 4\n{more}'
    )

    text, found = in_force(tmp_path, prompt=chat).prompts

    assert "template_file" not in values(text.settings)
    assert values(found.settings) == {
        **values(text.settings),
        "template_file": template,
        "template_kwargs": ({}, Origin.DEFAULT),
        "add_generation_prompt": (True, Origin.DEFAULT),
    }


def test_an_invalid_file_is_refused(tmp_path: Path) -> None:
    """In the same words as by a check."""
    with pytest.raises(InputInvalid, match=r"prompts\.haiku\.mirostat_tau: expected no such key"):
        in_force(tmp_path, prompt="mirostat_tau = 1")


def test_prompts_without_a_suite_of_tokens_have_no_samplers(tmp_path: Path) -> None:
    """No check reads them, and there may be no `[sampler]`; the engines may score."""
    file = tmp_path / "repro-gate.toml"
    head, _, _ = MATRIX.partition("[suites.quick]")
    file.write_text(head.replace("SAMPLER", "").replace("PROMPT", "") + LOGPROBS, "utf-8")

    found = read_settings(file)

    assert (len(found.engines), found.samplers, found.prompts) == (1, (), ())
