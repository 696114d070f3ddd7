"""The settings of a served engine."""

from collections.abc import Mapping
from typing import Any

import pytest

from repro_gate.server_settings import Dialect, Placeholder, ServerSettings, variables_of
from repro_gate.strict_json import InvalidJson

_SERVE = {"dialect": "vllm", "serve": ["vllm", "serve", "{model}", "--port={port}"]}
_RUNNING = {"dialect": "openai", "base_url": "http://10.0.0.5:8000/team", "profile": "prod"}


def test_the_settings_of_a_started_server_are_read() -> None:
    """What is left out has a default."""
    env = variables_of({"A": "b=c", "D": ""})

    assert ServerSettings.parse({**_SERVE, "env": env, "ready_timeout_s": 9}) == ServerSettings(
        dialect=Dialect.VLLM,
        serve=("vllm", "serve", "{model}", "--port={port}"),
        ready_timeout_s=9.0,
        env={"A": "b=c", "D": ""},
    )
    assert ServerSettings.parse(_SERVE).ready_timeout_s == 600


def test_the_settings_of_a_running_server_are_read() -> None:
    """It need not be on this machine."""
    settings = ServerSettings.parse(_RUNNING)

    assert not settings.is_started
    assert settings.base_url == _RUNNING["base_url"]


def test_placeholders_are_replaced() -> None:
    """All of them, and no other braces, such as those of JSON."""
    words = ["s", "{model}", '{"a":{}}', "{host}:{port}", "{name}{name}"]
    values = {name: name.value.upper() for name in Placeholder}

    command = ServerSettings.parse({**_SERVE, "serve": words}).command(values)

    assert command == ("s", "MODEL", '{"a":{}}', "HOST:PORT", "NAMENAME")


@pytest.mark.parametrize(
    ("changes", "place", "expected", "found"),
    [
        ({"dialect": "tgi"}, "dialect", "one of llama_server, vllm, sglang, openai", "another"),
        ({"speed": 1}, "", "only the keys dialect, serve", "'speed'"),
        ({"serve": []}, "serve", "a program and its arguments", "[]"),
        ({"serve": ["s", ""]}, "serve", "a program and its arguments", "['s', '']"),
        ({"serve": ["s\0"]}, "serve", "a program and its arguments", "['s"),
        ({"serve": ["s", "{prt}"]}, "serve", "only the placeholders {model}, {name}", "{prt}"),
        ({"serve": ["s", "{model}"]}, "serve", "{port} in it", "none"),
        ({"serve": ["s", "{port}"]}, "serve", "{model} in it", "none"),
        ({"base_url": "http://a"}, "serve", "either serve, the command", "both"),
        ({"ready_timeout_s": 0}, "ready_timeout_s", "more than 0", "0"),
        ({"ready_timeout_s": 1e9}, "ready_timeout_s", "from 0 to 86400", "1000000000.0"),
        ({"env": ["A"]}, "env[0]", "NAME=VALUE", "another string"),
        ({"env": ["REPRO_GATE_X=1"]}, "env[0]", "another name", "REPRO_GATE_X"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(
    changes: Mapping[str, Any], place: str, expected: str, found: str
) -> None:
    """With its place, what was expected and what was found."""
    with pytest.raises(InvalidJson) as caught:
        ServerSettings.parse({**_SERVE, **changes})

    assert caught.value.place == place
    assert expected in caught.value.expected
    assert found in caught.value.found


@pytest.mark.parametrize(
    ("changes", "place", "found"),
    [
        ({"base_url": None}, "base_url", "nothing"),
        ({"profile": None}, "profile", "nothing"),
        ({"env": ["A=1"]}, "env", "some"),
        ({"base_url": "ftp://a"}, "base_url", "one without http://"),
        ({"base_url": "http://"}, "base_url", "one without a host"),
        ({"base_url": "http://[::1"}, "base_url", "a malformed one"),
        ({"base_url": "http://a:b@c"}, "base_url", "one with a user or a password"),
        ({"base_url": "http://a?b"}, "base_url", "one with a query"),
        ({"base_url": "http://a/v1/"}, "base_url", "one with a path of the API"),
        ({"base_url": "http://a/b", "api_key_env": "K"}, "base_url", "http on another host"),
    ],
)
def test_a_running_server_that_cannot_be_is_refused(
    changes: Mapping[str, Any], place: str, found: str
) -> None:
    """The URL itself is not shown, as it may hold a password."""
    with pytest.raises(InvalidJson) as caught:
        ServerSettings.parse({**_RUNNING, **changes})

    assert caught.value.place == place
    assert caught.value.found.startswith(found)


def test_a_running_server_needs_a_profile() -> None:
    """Nothing here knows its machine."""
    with pytest.raises(InvalidJson, match="profile"):
        ServerSettings.parse({"dialect": "vllm", "base_url": "http://a"})
    with pytest.raises(InvalidJson, match="neither"):
        ServerSettings.parse({"dialect": "vllm"})


@pytest.mark.parametrize(
    "url", ["http://localhost:1", "http://127.0.0.1", "https://a", "http://[::1]"]
)
def test_a_key_is_sent_where_only_the_server_can_read_it(url: str) -> None:
    """On this machine, or encrypted."""
    assert ServerSettings.parse({**_RUNNING, "base_url": url, "api_key_env": "K"}).api_key_env
