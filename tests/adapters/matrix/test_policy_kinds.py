"""Policies of the matrix file that generate tokens instead of scoring a response."""

from pathlib import Path

import pytest

from repro_gate.adapters.matrix.reader import read_matrix
from repro_gate.core.logprobs.policy import Endpoint, Policy, PolicyKind
from repro_gate.errors import InputInvalid

MATRIX = """
schema = "repro-gate/matrix/v1"
default_suites = ["hosted"]

[providers.own]
kind = "openai"
base_url = "http://127.0.0.1:8000/v1"

[policies.own]
{policy}

[items.x]
prompt = "x"
{item}

[suites.hosted]
kind = "logprobs"
policies = ["own"]
items = ["x"]
{suite}
"""
USUAL = ('provider = "own"', 'model = "x"', "temperature = 0", 'logprobs = "raw"')
LOCAL = """
[engines.exact]
kind = "command"
command = ["x"]
settings = {}

[models.x]
engine = "exact"
source = "tiny.gguf"
"""


def policy_from(folder: Path, policy: str, *, item: str = "", suite: str = "") -> Policy:
    """Return the policy of a matrix file with these keys."""
    keys = {line.partition(" = ")[0]: line for line in USUAL}
    keys |= {line.partition(" = ")[0]: line for line in policy.splitlines()}
    text = MATRIX.replace("{policy}", "\n".join(keys.values()))
    text = text.replace("{item}", item).replace("{suite}", suite)
    (folder / "repro-gate.toml").write_text(text, "utf-8")
    return read_matrix(folder / "repro-gate.toml").logprob_suites["hosted"].cells[0].policy


@pytest.mark.parametrize(
    ("kind", "tokens"), [(PolicyKind.FIRST_TOKEN, 1), (PolicyKind.GENERATED, 32)]
)
def test_a_kind_has_its_usual_settings(tmp_path: Path, kind: PolicyKind, tokens: int) -> None:
    """Its items need no response."""
    policy = policy_from(tmp_path, f'kind = "{kind}"')

    assert (policy.kind, policy.top_logprobs, policy.max_tokens) == (kind, 20, tokens)
    assert (policy.endpoint, policy.template) == (Endpoint.COMPLETIONS, "{prompt}")


def test_settings_are_read(tmp_path: Path) -> None:
    """A chat has no template, and a system prompt needs no place in one."""
    keys = ('kind = "generated"', 'endpoint = "chat"', "top_logprobs = 5", "max_tokens = 16")
    policy = policy_from(tmp_path, "\n".join((*keys, 'system = "Be brief."')))

    assert (policy.endpoint, policy.template) == (Endpoint.CHAT, "")
    assert (policy.top_logprobs, policy.max_tokens) == (5, 16)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (
            "",
            (
                "items.x.response: expected a text, because policy 'own' scores it (kind "
                "'response'), found none"
            ),
        ),
        (
            'kind = "first_token"\ntop_logprobs = 21',
            "policies.own.top_logprobs: expected at most 20, found 21",
        ),
        (
            'kind = "first_token"\ntop_logprobs = 0',
            "policies.own.top_logprobs: expected at least 1, found 0",
        ),
        (
            "top_logprobs = 5",
            (
                "policies.own.top_logprobs: expected none, because kind 'response' "
                "generates no tokens, found 5"
            ),
        ),
        (
            "max_tokens = 5",
            (
                "policies.own.max_tokens: expected none, because kind 'response' "
                "generates no tokens, found 5"
            ),
        ),
        (
            'endpoint = "chat"',
            (
                "policies.own.endpoint: expected 'completions', because only vLLM "
                "scores a given response in a chat, found 'chat'"
            ),
        ),
        (
            'kind = "generated"\ntemperature = 1',
            (
                "policies.own.temperature: expected 0, because "
                "kind 'generated' compares greedy answers, found 1"
            ),
        ),
        (
            'kind = "first_token"\ntemperature = 1\nlogprobs = "sampling"',
            (
                "policies.own.logprobs: "
                "expected 'raw', because kind 'first_token' compares alternatives before the "
                "sampler, found 'sampling'"
            ),
        ),
        (
            'kind = "first_token"\nendpoint = "chat"\ntemplate = "{prompt}"',
            (
                "policies.own.template: "
                "expected none, because a chat server renders the prompt itself, found '{prompt}'"
            ),
        ),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, policy: str, message: str) -> None:
    """A key that would be ignored, or a kind that could not work, is an error."""
    with pytest.raises(InputInvalid) as caught:
        policy_from(tmp_path, policy)

    assert str(caught.value) == f"{tmp_path / 'repro-gate.toml'}: {message}"


def test_weights_need_a_response(tmp_path: Path) -> None:
    """Importance weights compare two policies on one response."""
    with pytest.raises(InputInvalid, match=r"hosted\.weights: expected none, .*kind 'first_token'"):
        policy_from(tmp_path, 'kind = "first_token"', suite='weights = { base = "own" }')


def test_a_local_engine_scores_responses(tmp_path: Path) -> None:
    """With one, a kind for servers without an echo would only see less."""
    with pytest.raises(InputInvalid, match=r"own\.kind: expected 'response', which an engine"):
        policy_from(tmp_path, 'kind = "first_token"\nprovider = "local"', suite=LOCAL)


@pytest.mark.parametrize(
    ("kind", "endpoint", "place"),
    [
        ("vllm", "chat", None),
        ("vllm", "completions", None),
        ("llama_server", "completions", "policies.own.kind: expected 'first_token' or 'generated'"),
        ("tgi", "chat", "policies.own.endpoint: expected 'completions'"),
    ],
)
def test_a_response_needs_a_server_that_scores_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, endpoint: str, place: str | None
) -> None:
    """In a chat only vLLM does; llama-server never does."""
    url = "http://127.0.0.1:8000" if kind == "tgi" else "http://127.0.0.1:8000/v1"
    provider = f'kind = "{kind}"\nbase_url = "{url}"'
    usual = 'kind = "openai"\nbase_url = "http://127.0.0.1:8000/v1"'
    monkeypatch.setitem(globals(), "MATRIX", MATRIX.replace(usual, provider))
    item = 'response = "y"'

    if place is None:
        policy = policy_from(tmp_path, f'endpoint = "{endpoint}"', item=item)
        assert policy.endpoint == endpoint
        return
    with pytest.raises(InputInvalid, match=place):
        policy_from(tmp_path, f'endpoint = "{endpoint}"', item=item)
