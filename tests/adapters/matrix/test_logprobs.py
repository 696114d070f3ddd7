"""The part of the matrix file about log-probabilities."""

import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from repro_gate.adapters.matrix.reader import read_matrix
from repro_gate.core.engines import EngineKind, EngineSpec, ModelSpec
from repro_gate.core.logprobs.error_rates import (
    OUTLIERS_SHARE,
    SCREEN,
    cell_level,
    outlier_alarm_rate,
    sufficient_draws,
)
from repro_gate.core.logprobs.policy import (
    Budget,
    Item,
    LogprobCell,
    LogprobKind,
    LogprobSuite,
    Policy,
    ProviderKind,
    ProviderSpec,
    Tolerance,
    WeightPlan,
)
from repro_gate.core.matrix import Matrix
from repro_gate.errors import InputInvalid

SMALL = """
schema = "repro-gate/matrix/v1"
default_suites = ["hosted"]

[providers.fireworks]
kind = "fireworks"

[providers.own]
kind = "openai"
base_url = "http://127.0.0.1:8000/v1/"
api_key_env = "OWN_KEY"
concurrency = 2
attempts = 3
timeout_s = 5
deadline_s = 6
http2 = true
usd_per_million_tokens = 1

[policies.base]
provider = "fireworks"
model = "accounts/x"
temperature = 0.7
logprobs = "raw"

[policies.clone]
provider = "own"
model = "x"
system = "Be brief."
template = "<s>{system}</s>{prompt}"
temperature = 0
logprobs = "raw"

[policies.warm]
provider = "own"
model = "x"
temperature = 1
logprobs = "sampling"

[items.plane]
prompt = "How?"
response = "So."

[items.boat]
prompt = "Where?"
response = "There."

[suites.hosted]
kind = "logprobs"
policies = ["base", "clone"]
items = ["plane", "boat"]
calibration_draws = 12
draws = 4
false_alarm_rate = 0.02
floor_nats = 1
outlier_factor = 25
max_outlier_rate = 0.1
budget = { max_calls = 2000 }
weights = { base = "base", clones = ["clone"] }
"""
LOCAL_SUITE = """
[engines.exact]
kind = "command"
command = ["x"]
settings = {}

[models.tiny]
engine = "exact"
source = "tiny.gguf"

[policies.here]
provider = "local"
model = "tiny"
temperature = 1
logprobs = "sampling"

[suites.embedded]
kind = "logprobs"
policies = ["here"]
items = ["plane"]
"""
QUICK_SUITE = """
[suites.quick]
kind = "tokens"
runs = 1
seeds = [1]
prompts = { tiny = ["haiku"] }
"""
FIREWORKS = ProviderSpec(
    name="fireworks",
    kind=ProviderKind.FIREWORKS,
    base_url="https://api.fireworks.ai/inference/v1",
    api_key_env="FIREWORKS_API_KEY",
)
OWN = ProviderSpec(
    name="own",
    kind=ProviderKind.OPENAI,
    base_url="http://127.0.0.1:8000/v1",
    api_key_env="OWN_KEY",
    concurrency=2,
    attempts=3,
    timeout_s=5.0,
    deadline_s=6.0,
    http2=True,
    usd_per_million_tokens=1.0,
)
BASE = Policy(
    name="base",
    provider=FIREWORKS,
    model="accounts/x",
    system="",
    template="{prompt}",
    temperature=0.7,
    logprobs=LogprobKind.RAW,
)
CLONE = Policy(
    name="clone",
    provider=OWN,
    model="x",
    system="Be brief.",
    template="<s>{system}</s>{prompt}",
    temperature=0.0,
    logprobs=LogprobKind.RAW,
)
PLANE = Item(name="plane", prompt="How?", response="So.")
BOAT = Item(name="boat", prompt="Where?", response="There.")


def matrix_from(folder: Path, *changes: tuple[str, str], more: str = "") -> Matrix:
    """Return the small matrix with some of its text replaced and some added."""
    text = SMALL + more
    for old, new in changes:
        assert text.count(old) == 1, f"{old!r} does not say which place is meant"
        text = text.replace(old, new)
    file = folder / "repro-gate.toml"
    file.write_text(text, "utf-8")
    return read_matrix(file)


def refusal_of(folder: Path, *changes: tuple[str, str], more: str = "") -> str:
    """Return the message for the small matrix with text replaced and added."""
    with pytest.raises(InputInvalid) as caught:
        matrix_from(folder, *changes, more=more)
    return str(caught.value).removeprefix(f"{folder / 'repro-gate.toml'}: ")


def test_a_logprob_suite_is_read(tmp_path: Path) -> None:
    """Keys for token suites are not needed."""
    cells = [LogprobCell(policy=policy, item=i) for policy in (BASE, CLONE) for i in (PLANE, BOAT)]

    assert matrix_from(tmp_path) == Matrix(
        models={},
        suites={},
        default_suites=("hosted",),
        snapshots="snapshots",
        logprob_suites={
            "hosted": LogprobSuite(
                name="hosted",
                cells=tuple(cells),
                tolerance=Tolerance(
                    calibration_draws=12,
                    draws=4,
                    false_alarm_rate=0.02,
                    floor_nats=1.0,
                    outlier_factor=25.0,
                    max_outlier_rate=0.1,
                ),
                budget=Budget(max_calls=2000),
                weights=WeightPlan(base="base", clones=("clone",)),
            )
        },
    )


def test_integers_are_read_as_fractions(tmp_path: Path) -> None:
    """A temperature or floor of 0 is the same as 0.0."""
    suite = matrix_from(tmp_path).logprob_suites["hosted"]

    assert (suite.tolerance.floor_nats.hex(), type(suite.tolerance.draws)) == ((1.0).hex(), int)
    assert suite.cells[-1].definition["temperature"] == "0.0"


def test_a_suite_has_defaults(tmp_path: Path) -> None:
    """Two lists are enough, and the local provider needs no table."""
    engine = EngineSpec(
        name="exact",
        kind=EngineKind.COMMAND,
        command=("x",),
        device="cpu",
        settings={},
        timeout_s=120.0,
        pass_env=(),
    )
    here = Policy(
        name="here",
        provider=ProviderSpec(name="local", kind=ProviderKind.LOCAL),
        model="tiny",
        system="",
        template="{prompt}",
        temperature=1.0,
        logprobs=LogprobKind.SAMPLING,
        local_model=ModelSpec(name="tiny", engine=engine, source="tiny.gguf", sha256=None),
    )

    assert matrix_from(tmp_path, more=LOCAL_SUITE).logprob_suites["embedded"] == LogprobSuite(
        name="embedded", cells=(LogprobCell(policy=here, item=PLANE),)
    )


def test_the_schema_has_the_same_defaults() -> None:
    """Editors show them."""
    schema = json.loads(files("repro_gate.schemas").joinpath("matrix-v1.json").read_text("utf-8"))
    values = {"logprob_suite": Tolerance(), "provider": ProviderSpec(name="x", kind=OWN.kind)}
    for name, value in values.items():
        shown = {
            key: message["default"]
            for key, message in schema["$defs"][name]["properties"].items()
            if "default" in message
        }
        assert len(shown) >= 6
        assert {key: getattr(value, key) for key in shown} == shown


def test_a_matrix_may_have_suites_of_both_kinds(tmp_path: Path) -> None:
    """Both are checked by default."""
    more = f"""{LOCAL_SUITE}{QUICK_SUITE}
[sampler]
top_k = 40
top_p = 0.95
min_p = 0.05
[prompts]
haiku = {{ text = "Say haiku", temperature = 0.7, max_tokens = 4 }}
"""
    matrix = matrix_from(
        tmp_path, ('suites = ["hosted"]', 'suites = ["hosted", "quick"]'), more=more
    )

    assert (list(matrix.suites), list(matrix.logprob_suites)) == (["quick"], ["hosted", "embedded"])
    assert matrix.default_suites == ("hosted", "quick")


@pytest.mark.parametrize("part", ["engines", "models", "sampler", "prompts"])
def test_a_token_suite_needs_its_keys(tmp_path: Path, part: str) -> None:
    """Even those that log-probability suites do not need."""
    parts = {
        "engines": '[engines.own]\nkind = "command"\ncommand = ["x"]\nsettings = {}\n',
        "models": '[models.tiny]\nengine = "own"\nsource = "x"\n',
        "sampler": "[sampler]\ntop_k = 40\ntop_p = 0.95\nmin_p = 0.05\n",
        "prompts": '[prompts]\nhaiku = { text = "x", temperature = 0, max_tokens = 1 }\n',
    }
    del parts[part]

    message = refusal_of(tmp_path, more=QUICK_SUITE + "".join(parts.values()))

    assert message == f"expected the key '{part}', found none"


@pytest.mark.parametrize("part", ["policies", "items"])
def test_a_logprob_suite_needs_its_keys(tmp_path: Path, part: str) -> None:
    """A matrix without policies or items is reported as such."""
    head, *tables = SMALL.split("\n[")
    kept = [table for table in tables if not table.startswith(part)]
    (tmp_path / "repro-gate.toml").write_text("\n[".join([head, *kept]))

    with pytest.raises(InputInvalid, match=f"toml: expected the key '{part}', found none"):
        read_matrix(tmp_path / "repro-gate.toml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ('provider = "fireworks"', 'provider = "firework"'),
            (
                "policies.base.provider: expected one of local, fireworks, own, "
                "found 'firework'; did you mean 'fireworks'?"
            ),
        ),
        (
            ('["base", "clone"]', '["base", "klone"]'),
            (
                "suites.hosted.policies: expected one of base, clone, warm, "
                "found 'klone'; did you mean 'clone'?"
            ),
        ),
        (
            ('["plane", "boat"]', '["plain", "boat"]'),
            (
                "suites.hosted.items: expected one of plane, boat, "
                "found 'plain'; did you mean 'plane'?"
            ),
        ),
        (
            ('{ base = "base"', '{ base = "bass"'),
            (
                "suites.hosted.weights.base: expected one of base, clone, "
                "found 'bass'; did you mean 'base'?"
            ),
        ),
        (
            ('{ base = "base"', '{ base = "warm"'),
            "suites.hosted.weights.base: expected one of base, clone, found 'warm'",
        ),
        (
            ('clones = ["clone"]', 'clones = ["base"]'),
            "suites.hosted.weights.clones: expected one of clone, found 'base'",
        ),
        (
            ('clones = ["clone"]', 'must_be_usable = ["warm"]'),
            "suites.hosted.weights.must_be_usable: expected one of clone, found 'warm'",
        ),
        (
            ('default_suites = ["hosted"]', 'default_suites = ["hosed"]'),
            "default_suites: expected one of hosted, found 'hosed'; did you mean 'hosted'?",
        ),
        (
            ('kind = "logprobs"', 'kind = "logprob"'),
            "suites.hosted.kind: expected one of tokens, reference, logprobs, found 'logprob'",
        ),
        (
            ("floor_nats = 1", "floor = 1"),
            (
                "suites.hosted: expected only the keys budget, calibration_draws, draws, "
                "false_alarm_rate, floor_nats, items, kind, max_outlier_rate, outlier_factor, "
                "policies, second_look_after_s, weights, found the unknown key 'floor'; did you "
                "mean 'floor_nats'?"
            ),
        ),
    ],
)
def test_an_unknown_name_suggests_a_similar_one(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    """A typo is answered with the name that was meant."""
    assert refusal_of(tmp_path, change) == message


def test_a_local_policy_names_a_model_of_the_file(tmp_path: Path) -> None:
    """The local provider has the models of the matrix."""
    change = (
        'provider = "own"\nmodel = "x"\ntemperature',
        'provider = "local"\nmodel = "x"\ntemperature',
    )

    assert refusal_of(tmp_path, change) == (
        "policies.warm.model: expected a name that the file defines, found 'x'"
    )


def test_the_local_provider_cannot_be_replaced(tmp_path: Path) -> None:
    """A table of that name must not send local measurements elsewhere."""
    assert refusal_of(tmp_path, ("[providers.own]", "[providers.local]")) == (
        "providers: expected another name; this one is the engines of this file, found 'local'"
    )


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{system}", "expected {prompt} in it exactly once, found it nowhere"),
        ("{system}{prompt}{prompt}", "expected {prompt} in it exactly once, found it 2 times"),
        ("{system}{system}{prompt}", "expected {system} in it at most once, found it 2 times"),
        ("{prompt}", "expected {system} in it, because 'system' is not empty, found '{prompt}'"),
    ],
)
def test_a_template_without_a_prompt_is_refused(
    tmp_path: Path, template: str, message: str
) -> None:
    """Prompt and system prompt both reach the model, once."""
    change = ('"<s>{system}</s>{prompt}"', f'"{template}"')

    assert refusal_of(tmp_path, change) == f"policies.clone.template: {message}"


def test_a_template_may_ignore_an_empty_system_prompt(tmp_path: Path) -> None:
    """Without a system prompt the placeholder is optional."""
    for template in ("{system}|{prompt}", "{prompt}"):
        change = ('template = "<s>{system}</s>{prompt}"', f'template = "{template}"')
        matrix = matrix_from(tmp_path, ('system = "Be brief."\n', ""), change)

        policy = matrix.logprob_suites["hosted"].cells[-1].policy
        assert policy == replace(CLONE, system="", template=template)


def test_sampling_logprobs_need_a_temperature(tmp_path: Path) -> None:
    """At temperature 0 they would all be 0."""
    assert refusal_of(tmp_path, ("temperature = 1", "temperature = 0")) == (
        "policies.warm.logprobs: expected 'raw', because at temperature 0 nothing is sampled, "
        "found 'sampling'"
    )


def test_weights_need_one_kind_of_logprobs(tmp_path: Path) -> None:
    """The ratio of a raw and a sampling probability has no meaning."""
    message = refusal_of(tmp_path, ('["base", "clone"]', '["base", "clone", "warm"]'))

    assert message == (
        "suites.hosted.weights: expected policies of raw log-probabilities, as 'base' is, "
        "found 'warm' of sampling ones"
    )


@pytest.mark.parametrize(
    ("url", "found"),
    [
        (
            "http://example.com/v1",
            "http on another host, where anyone on the network could read the key",
        ),
        ("http://127.0.0.1.example.com", "http on another host, where anyone on the network"),
        ("https://me:hunter2@example.com/v1", "one with a user or a password; put the key in"),
        ("https://hunter2@example.com/v1", "one with a user or a password; put the key in"),
        ("https://example.com/v1?key=hunter2", "one with a query or a fragment"),
        ("https://example.com/v1?", "one with a query or a fragment"),
        ("https://example.com/v1#hunter2", "one with a query or a fragment"),
        ("https://example.com/v1/completions", "one with /completions, which repro-gate appends"),
        ("https:///v1", "one without a host"),
        ("https://[hunter2", "a malformed one"),
        ("https://example.com:hunter2/v1", "a malformed one"),
        ("https://example.com:65536/v1", "a malformed one"),
        ("hunter2", "a string that is not shown, in case it is secret"),
        ("ftp://hunter2", "a string that is not shown, in case it is secret"),
        ("https://exa mple.com/hunter2", "a string that is not shown, in case it is secret"),
        (r"https://example.com/hunter2\n", "a string that is not shown, in case it is secret"),
    ],
)
def test_an_unsafe_url_is_refused(tmp_path: Path, url: str, found: str) -> None:
    """The message gives the reason, and does not repeat a possible secret."""
    message = refusal_of(tmp_path, ('"http://127.0.0.1:8000/v1/"', f'"{url}"'))

    assert message.startswith("providers.own.base_url: expected a")
    assert f", found {found}" in message
    assert "hunter2" not in message


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
def test_a_self_hosted_server_has_its_kind_and_address(tmp_path: Path, kind: str) -> None:
    """Both kinds need a `base_url`, and no key."""
    own = ('kind = "openai"', f'kind = "{kind}"')

    matrix = matrix_from(
        tmp_path, own, ("127.0.0.1:8000/v1/", "127.0.0.1:8000"), ('"sampling"', '"raw"')
    )
    refused = refusal_of(tmp_path, own, ('base_url = "http://127.0.0.1:8000/v1/"\n', ""))

    provider = matrix.logprob_suites["hosted"].cells[-1].policy.provider
    assert (provider.kind, provider.host) == (kind, "127.0.0.1:8000")
    assert refused == "providers.own: expected the key 'base_url', found none"


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
def test_a_self_hosted_server_has_no_sampling_log_probabilities(tmp_path: Path, kind: str) -> None:
    """A prompt is scored before the sampler, so no draw would have them."""
    message = refusal_of(
        tmp_path,
        ('kind = "openai"', f'kind = "{kind}"'),
        ("127.0.0.1:8000/v1/", "127.0.0.1:8000"),
    )

    assert message == (
        f"policies.warm.logprobs: expected 'raw', because {kind} scores a prompt before the "
        "sampler, found 'sampling'"
    )


@pytest.mark.parametrize("end", ["/v1", "/v1/", "/generate", "/prefix/v1"])
def test_generate_of_sglang_is_not_below_v1(tmp_path: Path, end: str) -> None:
    """The address of its other API would lead to 404."""
    message = refusal_of(
        tmp_path,
        ('kind = "openai"', 'kind = "sglang"'),
        ("127.0.0.1:8000/v1/", f"127.0.0.1:8000{end}"),
    )

    assert message.endswith(
        "found one with /v1 or /generate; repro-gate appends /generate, which is not below /v1"
    )


@pytest.mark.parametrize("url", ["http://localhost:1/v1", "http://[::1]/v1", "https://a.b/x"])
def test_a_url_on_this_machine_or_with_tls_is_allowed(tmp_path: Path, url: str) -> None:
    """Without TLS the key stays on this machine."""
    matrix = matrix_from(tmp_path, ('"http://127.0.0.1:8000/v1/"', f'"{url}"'))

    assert matrix.logprob_suites["hosted"].cells[-1].policy.provider.base_url == url


def test_a_key_in_place_of_its_variable_is_refused_and_not_repeated(tmp_path: Path) -> None:
    """A pasted key must not reach the CI log."""
    message = refusal_of(tmp_path, ('"OWN_KEY"', '"fw_3ZkQhunter2"'))

    assert message == (
        "providers.own.api_key_env: expected the name of an environment variable, in capitals, "
        "found a string that is not shown, in case it is secret"
    )


@pytest.mark.parametrize(
    "variable",
    [
        *("GITHUB_TOKEN", "GH_TOKEN", "ACTIONS_RUNTIME_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"),
        *("RUNNER_TEMP", "INPUT_TOKEN", "CI", "CI_JOB_TOKEN", "PATH", "HOME", "LD_PRELOAD"),
        *("SSH_AUTH_SOCK", "GIT_CONFIG_VALUE_0", "PYTHONPATH", "REPRO_GATE_ALLOWED_HOSTS"),
        *("HTTPS_PROXY", "PIP_INDEX_URL", "NODE_AUTH_TOKEN", "AWS_SECRET_ACCESS_KEY"),
        *("SYSTEM_ACCESSTOKEN", "DRONE_NETRC_PASSWORD", "CUDA_HOME", "DOCKER_AUTH_CONFIG"),
    ],
)
def test_variables_of_the_ci_system_are_refused_as_keys(tmp_path: Path, variable: str) -> None:
    """A matrix could send them to any host."""
    assert refusal_of(tmp_path, ('"OWN_KEY"', f'"{variable}"')) == (
        "providers.own.api_key_env: expected a variable that holds only an API key of this "
        f"provider, found {variable}, which belongs to the CI system or the machine"
    )


@pytest.mark.parametrize("variable", ["HF_TOKEN", "CIRCUS_KEY", "PATHS_KEY", "OPENAI_API_KEY"])
def test_similar_variable_names_are_allowed(tmp_path: Path, variable: str) -> None:
    """Only those of the CI system are refused."""
    matrix = matrix_from(tmp_path, ('"OWN_KEY"', f'"{variable}"'))

    providers = [
        cell.policy.provider for suite in matrix.logprob_suites.values() for cell in suite.cells
    ]
    assert variable in {provider.api_key_env for provider in providers}


def test_an_openai_provider_needs_a_url_and_no_key(tmp_path: Path) -> None:
    """It has no default URL, and a private server may need no key."""
    message = refusal_of(tmp_path, ('base_url = "http://127.0.0.1:8000/v1/"\n', ""))
    keyless = matrix_from(tmp_path, ('api_key_env = "OWN_KEY"\n', ""))

    assert message == "providers.own: expected the key 'base_url', found none"
    provider = keyless.logprob_suites["hosted"].cells[-1].policy.provider
    assert provider == replace(OWN, api_key_env=None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("calibration_draws = 12", "calibration_draws = 1"), "at least 2, found 1"),
        (("calibration_draws = 12", "calibration_draws = 1001"), "at most 1000, found 1001"),
        (("draws = 4", "draws = 0"), "at least 1, found 0"),
        (("draws = 4", "draws = 101"), "at most 100, found 101"),
        (("draws = 4", "draws = 4.0"), "an integer, found 4.0"),
        (("false_alarm_rate = 0.02", "false_alarm_rate = 0"), "at least 0.001, found 0"),
        (("false_alarm_rate = 0.02", "false_alarm_rate = 0.6"), "at most 0.5, found 0.6"),
        (("false_alarm_rate = 0.02", "false_alarm_rate = nan"), "a finite number, found nan"),
        (("floor_nats = 1", "floor_nats = -0.1"), "at least 0, found -0.1"),
        (("floor_nats = 1", "second_look_after_s = -1"), "at least 0, found -1"),
        (("floor_nats = 1", "second_look_after_s = 86401"), "at most 86400, found 86401"),
        (("outlier_factor = 25", "outlier_factor = 0"), "more than 0, found 0"),
        (("max_outlier_rate = 0.1", "max_outlier_rate = 1.1"), "at most 1, found 1.1"),
        (("max_calls = 2000", "max_calls = 0"), "at least 1, found 0"),
        (("concurrency = 2", "concurrency = 0"), "at least 1, found 0"),
        (("timeout_s = 5", "timeout_s = 0"), "more than 0, found 0"),
        (("timeout_s = 5", "timeout_s = nan"), "a finite number, found nan"),
        (("temperature = 0.7", "temperature = 11"), "at most 10, found 11"),
        (("temperature = 0.7", "temperature = -1"), "at least 0, found -1"),
        (('response = "So."', 'response = ""'), "at least 1 character, found 0"),
        (('prompt = "How?"', 'prompt = ""'), "at least 1 character, found 0"),
        (('["plane", "boat"]', "[]"), "at least 1 entry, found 0"),
        (
            ('["plane", "boat"]', '["boat", "boat"]'),
            "no repeated entry, found 'boat'",
        ),
    ],
)
def test_an_invalid_value_is_refused(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    """Impossible measurements and duplicates are mistakes."""
    start = "\n" if change[0].startswith("draws") else ""

    refused = refusal_of(tmp_path, (start + change[0], start + change[1]))

    assert refused.partition(": expected ")[2] == message


def test_a_suite_that_could_never_alarm_is_refused(tmp_path: Path) -> None:
    """The message has the number of draws that would be enough."""
    few = ("\ndraws = 4", "\ndraws = 2")
    level = cell_level(Tolerance(false_alarm_rate=0.005), 4)

    assert refusal_of(tmp_path, few, ("rate = 0.02", "rate = 0.005")) == (
        "suites.hosted.draws: expected at least 3 draws, so that drift in a cell of 4 can be "
        f"detected, found 2, whose smallest p-value is 0.0011, not at most {level:.3g}"
    )


def test_a_single_cell_that_could_never_alarm_is_refused(tmp_path: Path) -> None:
    """Each look needs enough draws by itself."""
    lone = (
        ('["base", "clone"]', '["base"]'),
        ('["plane", "boat"]', '["boat"]'),
        ('weights = { base = "base", clones = ["clone"] }', ""),
        ("calibration_draws = 12", "calibration_draws = 2"),
    )
    enough = sufficient_draws(Tolerance(calibration_draws=2, false_alarm_rate=0.02), 1)

    assert refusal_of(tmp_path, *lone) == (
        f"suites.hosted.draws: expected at least {enough} draws, so that drift in its only cell "
        "can be detected, found 4, whose smallest p-value in one look is 0.0667, "
        f"not at most {SCREEN}"
    )


def test_a_suite_that_no_number_of_draws_could_save_is_refused(tmp_path: Path) -> None:
    """The message names what else to change."""
    names = [f"item-{number}" for number in range(300)]
    more = "".join(f'[items.{name}]\nprompt = "How?"\nresponse = "So."\n' for name in names)
    items = ('items = ["plane", "boat"]', f"items = {json.dumps(names)}")
    level = cell_level(Tolerance(false_alarm_rate=0.001), 600)

    assert refusal_of(tmp_path, items, ("rate = 0.02", "rate = 0.001"), more=more) == (
        "suites.hosted.draws: expected fewer cells, more calibration_draws or a larger "
        "false_alarm_rate, because no number of draws could show drift in a cell of 600, "
        f"found 4, whose smallest p-value is 1.59e-05, not at most {level:.3g}"
    )


def test_a_suite_whose_outliers_alarm_by_chance_is_refused(tmp_path: Path) -> None:
    """Mean +- 1 sd would alarm in most checks of an unchanged service."""
    tolerance = Tolerance(calibration_draws=12, draws=4, outlier_factor=1, max_outlier_rate=0.1)

    assert refusal_of(tmp_path, ("outlier_factor = 25", "outlier_factor = 1")) == (
        "suites.hosted.outlier_factor: expected a larger one, or a larger max_outlier_rate, so "
        f"that outliers cause a false alarm in at most {OUTLIERS_SHARE * 0.02:.3g} of the checks, "
        "found 1, which causes one in "
        f"{outlier_alarm_rate(tolerance, 4):.3g} of them"
    )


def test_a_tiny_outlier_factor_is_refused(tmp_path: Path) -> None:
    """Every draw would be an outlier."""
    message = refusal_of(tmp_path, ("outlier_factor = 25", "outlier_factor = 1e-300"))

    assert message.endswith("found 1e-300, which causes one in 1 of them")


def test_ten_thousand_items_are_read(tmp_path: Path) -> None:
    """If the false-alarm rate leaves each cell some power."""
    names = [f"i{number}" for number in range(10_000)]
    items = "".join(f'[items.{name}]\nprompt = "p"\nresponse = "r"\n' for name in names)
    suite = f'[suites.large]\nkind = "logprobs"\npolicies = ["base"]\nitems = {names}\n'

    matrix = matrix_from(tmp_path, more=f"{suite}false_alarm_rate = 0.05\ndraws = 10\n{items}")

    assert len({cell.id for cell in matrix.logprob_suites["large"].cells}) == 10_000
