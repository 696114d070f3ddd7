"""`repro-gate probe`: its output and exit codes, and that the key is only sent."""

import json
import tomllib
from collections.abc import Iterator

import pytest

from tests.cli.workspaces import Ran, Workspace
from tests.fakes.fireworks.conduct import Conduct, Dialect
from tests.fakes.fireworks.effects import Fail, Rule, Say
from tests.fakes.fireworks.hosting import MODEL
from tests.fakes.fireworks.server import Api, serving

KEY_ENV = "KEY_OF_THE_TESTS"


@pytest.fixture
def api() -> Iterator[Api]:
    """Give an API that is compatible with OpenAI's."""
    with serving(conduct=Conduct(dialect=Dialect.GENERIC)) as served:
        yield served


def probe(workspace: Workspace, url: str, *arguments: str, **env: str) -> Ran:
    """Run the command for the usual model."""
    return workspace.run("probe", url, "--model", MODEL, *arguments, **env)


def test_a_probe_prints_a_table_and_what_to_paste(workspace: Workspace, api: Api) -> None:
    """With at most ten calls; no matrix is needed."""
    ran = probe(workspace, api.base_url, "--api-key-env", KEY_ENV, **{KEY_ENV: api.key})

    assert ran.code == 0, ran.err
    assert "/chat/completions" in ran.out
    toml = tomllib.loads(ran.out[ran.out.index("[providers") :])
    assert toml["providers"]["probed"]["base_url"] == api.base_url
    assert set(toml["policies"]) == {"response", "first-token", "generated"}
    assert len(api.requests) <= 10
    assert ran.err == f"the value of {KEY_ENV} is sent to {api.host.removeprefix('http://')}\n"


def test_a_probe_prints_json(workspace: Workspace, api: Api) -> None:
    """And nothing else; a host alone has its API below /v1."""
    ran = probe(workspace, api.host, "--json", "--api-key-env", KEY_ENV, **{KEY_ENV: api.key})

    data = json.loads(ran.out)
    assert (ran.code, data["base_url"], data["model"]) == (0, api.base_url, MODEL)
    assert {one["what"] for one in data["findings"]} >= {"echo", "/completions", "token ids"}


def test_the_key_is_in_no_output(workspace: Workspace, api: Api) -> None:
    """Though the server returns it in each message."""
    api.follow(Rule(effect=Fail(status=400, message=f"not with {api.key}")))

    ran = probe(workspace, api.base_url, "--api-key-env", KEY_ENV, **{KEY_ENV: api.key})

    assert api.key not in ran.out + ran.err
    assert "not with ***" in ran.err


@pytest.mark.parametrize("body", [b"null", b"[]", b'{"choices": [{}]}', b"{", b"<html>"])
def test_any_answer_is_read(workspace: Workspace, api: Api, body: bytes) -> None:
    """It is no log-probability, or no answer."""
    api.follow(Rule(effect=Say(body=body)))

    ran = probe(workspace, api.base_url, "--api-key-env", KEY_ENV, **{KEY_ENV: api.key})

    assert ran.code in {0, 4}
    assert "Traceback" not in ran.err
    assert "[policies" not in ran.out


def test_a_server_that_rejects_the_key_is_inconclusive(workspace: Workspace, api: Api) -> None:
    """With the variable to set."""
    ran = probe(workspace, api.base_url, "--api-key-env", KEY_ENV, **{KEY_ENV: "wrong-key-here"})

    assert (ran.code, ran.out) == (4, "")
    assert f"try: set {KEY_ENV} to a key that the server accepts" in ran.err


def test_a_server_that_is_not_there_is_inconclusive(workspace: Workspace) -> None:
    """After one call."""
    ran = probe(workspace, "http://127.0.0.1:9/v1")

    assert (ran.code, ran.out) == (4, "")
    assert "no answer" in ran.err


def test_without_its_key_nothing_is_asked(workspace: Workspace, api: Api) -> None:
    """The message names the variable."""
    ran = probe(workspace, api.base_url, "--api-key-env", KEY_ENV)

    assert (ran.code, api.requests) == (4, [])
    assert f"{KEY_ENV} is not set" in ran.err


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://user:hunter2@127.0.0.1/v1", "one with a user or a password"),
        ("http://example.com/v1", "http on another host"),
        ("https://example.com/v1?api-version=1", "one with a query or a fragment"),
        ("https://example.com/v1/chat/completions", "one with /completions"),
        ("example.com", "one without a host"),
        ("http://[", "a malformed one"),
    ],
)
def test_a_url_that_must_not_have_a_key_is_refused(
    workspace: Workspace, url: str, problem: str
) -> None:
    """As in the matrix, without showing it."""
    ran = probe(workspace, url)

    assert (ran.code, ran.out) == (2, "")
    assert problem in ran.err
    assert "hunter2" not in ran.err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--api-key-env", "GITHUB_TOKEN"], "GITHUB_TOKEN belongs to the CI system"),
        (["--model", " "], "--model names no model"),
    ],
)
def test_a_wrong_option_is_refused(
    workspace: Workspace, arguments: list[str], problem: str
) -> None:
    """Before any call."""
    ran = probe(workspace, "http://127.0.0.1:9/v1", *arguments)

    assert ran.code == 2
    assert problem in ran.err
