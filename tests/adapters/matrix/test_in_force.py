"""What is in force by a matrix file, and where each value comes from."""

import json
from pathlib import Path

import pytest

from repro_gate.adapters.matrix.in_force import read_settings
from repro_gate.core.origins import Origin, SettingInForce, SettingsInForce
from repro_gate.errors import InputInvalid
from repro_gate.samplers import BESIDE, SAMPLERS, SERVER_ORDER

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
