"""How `[sampler]` and the prompts of a matrix say how tokens are drawn."""

import json
from pathlib import Path
from typing import Any

import pytest

from repro_gate.adapters.matrix.reader import read_matrix
from repro_gate.core.tokens.cell import Sampler
from repro_gate.errors import InputInvalid
from repro_gate.samplers import EXTRAS, PARAMETERS, SAMPLERS, SERVER_ORDER, Sampling
from repro_gate.schemas.matching import schema_of

MATRIX = """
schema = "repro-gate/matrix/v1"
default_suites = ["quick"]

[engines.own]
kind = "command"
command = ["./engine"]
settings = {}

[models.mine]
engine = "own"
source = "mine.gguf"

[sampler]
SAMPLER

[prompts.haiku]
text = "Say haiku"
max_tokens = 4
PROMPT

[suites.quick]
runs = 1
seeds = [1]
prompts = { mine = ["haiku"] }
"""
PLAIN = "top_k = 40\ntop_p = 0.95\nmin_p = 0.05"
SERVER = 'like = "llama-server"'
PENALTIES = (
    'samplers = ["penalties"]\nrepeat_last_n = 64\nrepeat_penalty = 1.1\n'
    "frequency_penalty = 0\npresence_penalty = 0"
)
TEMPERATURE = 'samplers = ["temperature"]\ndynatemp_range = 0\ndynatemp_exponent = 1'


def sampler_of(folder: Path, sampler: str, prompt: str) -> Sampler:
    """Return the sampler of the one cell of a matrix with these two tables."""
    file = folder / "repro-gate.toml"
    file.write_text(MATRIX.replace("SAMPLER", sampler).replace("PROMPT", prompt), "utf-8")
    (cell,) = read_matrix(file).cells()
    return cell.sampler


def further(sampler: Sampler) -> dict[str, Any]:
    """Return what a sampler has besides its four parameters."""
    return {} if sampler.sampling is None else sampler.sampling.to_data()


def test_a_sampler_like_that_of_llama_server_has_its_order_and_its_values(tmp_path: Path) -> None:
    """They are then explicit, so that a new default of llama.cpp changes no definition."""
    found = sampler_of(tmp_path, SERVER, "")

    assert (found.temperature, found.top_k, found.top_p, found.min_p) == (0.8, 40, 0.95, 0.05)
    assert further(found) == {
        "samplers": list(SERVER_ORDER),
        **{
            name: json.loads(json.dumps(PARAMETERS[name].default))
            for name in EXTRAS
            if any(name in SAMPLERS[sampler] for sampler in SERVER_ORDER)
        },
    }


def test_own_values_win_over_those_of_llama_server(tmp_path: Path) -> None:
    """Those of a prompt over those that prompts share, too."""
    found = sampler_of(
        tmp_path,
        f"{SERVER}\nrepeat_penalty = 1.1\ndry_multiplier = 0.5",
        "temperature = 0\nrepeat_penalty = 1.2",
    )

    sampling = found.sampling
    assert sampling is not None
    values = {name: sampling.value(name) for name in ("repeat_penalty", "dry_multiplier")}
    assert (found.temperature, values) == (0, {"repeat_penalty": 1.2, "dry_multiplier": 0.5})


def test_an_order_of_ones_own_has_the_defaults_of_llama_server(tmp_path: Path) -> None:
    """Of the samplers that it names, and of no others."""
    found = sampler_of(tmp_path, f'{SERVER}\nsamplers = ["temperature", "mirostat_v2"]', "")

    assert further(found) == {
        "samplers": ["temperature", "mirostat_v2"],
        "dynatemp_range": 0.0,
        "dynatemp_exponent": 1.0,
        "mirostat_tau": 5.0,
        "mirostat_eta": 0.1,
    }
    assert (found.top_k, found.top_p, found.min_p) == (0, 1.0, 0.0)


def test_a_sampler_that_is_left_out_has_no_effect(tmp_path: Path) -> None:
    """Its parameters are neither required nor kept, and the temperature is 1 without one."""
    found = sampler_of(tmp_path, PENALTIES, "")

    assert (found.temperature, found.top_k, found.top_p, found.min_p) == (1.0, 0, 1.0, 0.0)
    assert further(found) == {
        "samplers": ["penalties"],
        "repeat_last_n": 64,
        "repeat_penalty": 1.1,
        "frequency_penalty": 0.0,
        "presence_penalty": 0.0,
    }


def test_a_prompt_with_samplers_of_its_own_needs_no_shared_values(tmp_path: Path) -> None:
    """Those are for the samplers of other prompts."""
    found = sampler_of(tmp_path, PLAIN, f"temperature = 0.5\n{TEMPERATURE}")

    assert (found.temperature, found.top_k) == (0.5, 0)
    assert further(found) == {
        "samplers": ["temperature"],
        "dynatemp_range": 0.0,
        "dynatemp_exponent": 1.0,
    }


@pytest.mark.parametrize(
    ("shared", "own", "found"),
    [
        ("logit_bias = [[2, false]]", "", {"logit_bias": [[2, False]]}),
        ("logit_bias = [[2, false]]", "logit_bias = []", {}),
        ("ignore_eos = true", "", {"ignore_eos": True}),
        ("ignore_eos = true", "ignore_eos = false", {}),
        ('grammar = "root ::= [a]"', "", {"grammar": "root ::= [a]"}),
        ('grammar = "root ::= [a]"', 'json_schema = "{}"', {"json_schema": "{}"}),
        ('json_schema = "{}"', 'grammar = ""', {}),
        ("", "json_schema = { type = 'object' }", {"json_schema": '{"type": "object"}'}),
    ],
)
def test_biases_and_grammars_need_no_other_samplers(
    tmp_path: Path, shared: str, own: str, found: dict[str, Any]
) -> None:
    """What a prompt sets replaces what the prompts share."""
    sampler = sampler_of(tmp_path, f"{PLAIN}\n{shared}", f"temperature = 1\n{own}")

    assert sampler == Sampler(
        temperature=1.0, top_k=40, top_p=0.95, min_p=0.05, sampling=Sampling.parse(found)
    )


@pytest.mark.parametrize(
    ("shared", "own", "message"),
    [
        (
            PLAIN,
            "",
            ("prompts.haiku: expected the key 'temperature', here or in [sampler] "
            "(llama-server's default: 0.8), found none"),
        ),
        (
            "top_k = 1\nmin_p = 0",
            "temperature = 1",
            ("prompts.haiku: expected the key 'top_p', here or in [sampler] "
            "(llama-server's default: 0.95), found none"),
        ),
        (
            ('samplers = ["dry"]\ndry_multiplier = 1\ndry_base = 2\ndry_allowed_length = 2\n'
            "dry_penalty_last_n = 64"),
            "",
            ("prompts.haiku: expected the key 'dry_sequence_breakers', here or in [sampler] "
            "(llama-server's default: [\"\\n\", \":\", \"\\\"\", \"*\"]), found none"),
        ),
        (
            f"{PLAIN}\nrepeat_penalty = 1.1",
            "temperature = 1",
            ("sampler.repeat_penalty: expected no such key without penalties in samplers, as it "
            "would have no effect, found 1.1"),
        ),
        (
            PLAIN,
            "temperature = 1\nxtc_threshold = 0.1",
            ("prompts.haiku.xtc_threshold: expected no such key without xtc in samplers, as it "
            "would have no effect, found 0.1"),
        ),
        (
            PLAIN,
            f"temperature = 1\n{TEMPERATURE}\ntop_k = 1",
            ("prompts.haiku.top_k: expected no such key without top_k in samplers, as it "
            "would have no effect, found 1"),
        ),
        (
            SERVER,
            "mirostat_tau = 5",
            ("prompts.haiku.mirostat_tau: expected no such key without mirostat or mirostat_v2 in "
            "samplers, as it would have no effect, found 5"),
        ),
        (
            PENALTIES,
            "temperature = 0",
            ("prompts.haiku.temperature: expected no such key without temperature in samplers, as "
            "it would have no effect, found 0"),
        ),
        (
            f'{SERVER}\nsamplers = ["temperature", "mirostat"]',
            "temperature = 0",
            "prompts.haiku.temperature: expected more than 0, because mirostat draws, found 0",
        ),
        (
            f'{SERVER}\nsamplers = ["adaptive_p", "top_k"]',
            "",
            ("sampler.samplers[0]: expected adaptive_p in the last place, because it draws the "
            "token, found it before others"),
        ),
        (
            f'{SERVER}\nsamplers = ["top_k", "top_k"]',
            "",
            "sampler.samplers[1]: expected no repeated entry, found 'top_k'",
        ),
        (f"{SERVER}\nsamplers = []", "", "sampler.samplers: expected at least 1 entry, found 0"),
        (
            SERVER,
            'samplers = ["top_q"]',
            "prompts.haiku.samplers[0]: expected one of " + ", ".join(SAMPLERS) + ", found 'top_q'",
        ),
        ('like = "ollama"', "", "sampler.like: expected 'llama-server', found 'ollama'"),
        (SERVER, "dry_base = 0.5", "prompts.haiku.dry_base: expected at least 1, found 0.5"),
        (SERVER, "repeat_penalty = nan", "prompts.haiku.repeat_penalty: expected a finite number"),
        (f"{SERVER}\nxtc_threshold = inf", "", "sampler.xtc_threshold: expected a finite number"),
        (SERVER, "logit_bias = [[1, nan]]", "prompts.haiku.logit_bias[0][1]: expected "),
        (SERVER, "logit_bias = [[1, 2e6]]", "prompts.haiku.logit_bias[0][1]: expected "),
        (
            SERVER,
            'logit_bias = [["a", 1]]',
            "prompts.haiku.logit_bias[0][0]: expected a token id, and a number or false, found 'a'",
        ),
        (f"{SERVER}\nlogit_bias = [[1]]", "", "sampler.logit_bias[0]: expected at least 2 entries"),
        (SERVER, "logit_bias = [[1, 2], [1, 3]]", "prompts.haiku.logit_bias[1]: expected one "),
        (SERVER, "ignore_eos = 1", "prompts.haiku.ignore_eos: expected true or false, found 1"),
        (SERVER, 'dry_sequence_breakers = [""]', "prompts.haiku.dry_sequence_breakers[0]: "),
        (SERVER, 'json_schema = "{"', "prompts.haiku.json_schema: expected a JSON Schema as an "),
        (SERVER, "json_schema = { a = 1979-05-27 }", "prompts.haiku.json_schema: expected a JSON "),
        (SERVER, "json_schema = { a = nan }", "prompts.haiku.json_schema: expected a JSON "),
        (
            SERVER,
            'grammar = "root ::= [a]"\njson_schema = "{}"',
            "prompts.haiku.grammar: expected no grammar beside json_schema, which becomes one",
        ),
        (SERVER, 'like = "llama-server"', "prompts.haiku: expected only the keys "),
        (SERVER, "repeat_penalti = 1", "prompts.haiku: expected only the keys "),
    ],
)  # fmt: skip
def test_impossible_samplers_are_refused(
    tmp_path: Path, shared: str, own: str, message: str
) -> None:
    """By the place of the value, whichever table has it."""
    with pytest.raises(InputInvalid) as caught:
        sampler_of(tmp_path, shared, own)

    place = f"{tmp_path / 'repro-gate.toml'}: "
    assert str(caught.value).removeprefix(place).startswith(message)


@pytest.mark.parametrize(
    ("schema", "steps"),
    [
        ("matrix-v1", "$defs sampling properties"),
        ("golden-v1", "properties cell properties sampler properties"),
        ("engine-v1", "$defs sampling properties"),
    ],
)
def test_the_schemas_have_the_ranges_of_the_samplers(schema: str, steps: str) -> None:
    """Of every further parameter."""
    rules = schema_of(schema)
    for step in steps.split():
        rules = rules[step]

    assert rules["samplers"]["items"]["enum"] == list(SAMPLERS)
    for name in EXTRAS:
        parameter, rule = PARAMETERS[name], rules[name]
        if not parameter.is_texts:
            kind = "integer" if parameter.is_integer else "number"
            assert rule == {"type": kind, "minimum": parameter.low, "maximum": parameter.high}


def test_a_schema_is_refused_for_an_engine_without_a_converter(tmp_path: Path) -> None:
    """Its cells could never be measured."""
    file = tmp_path / "repro-gate.toml"
    settings = '{ n_ctx = 64, n_batch = 64, threads = 1, flash_attention = false, kv_type = "f32" }'
    own, built_in = 'kind = "command"\ncommand = ["./engine"]\nsettings = {}', 'kind = "llama_cpp"'
    matrix = MATRIX.replace(own, f"{built_in}\nsettings = {settings}")
    prompt = "temperature = 1\njson_schema = {}"
    file.write_text(matrix.replace("SAMPLER", PLAIN).replace("PROMPT", prompt), "utf-8")

    with pytest.raises(InputInvalid, match=r"json_schema: expected a grammar"):
        read_matrix(file)
