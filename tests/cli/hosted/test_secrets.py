"""The key of a provider is in no file and no output, whatever a server does with it."""

import base64
import html
import json
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote, urlsplit

import pytest

from repro_gate.core.tokens.generation import Token
from tests.cli.hosted.workspaces import ITEMS, KEY_ENV, HostedWorkspace
from tests.cli.workspaces import Ran, Workspace, contents_of
from tests.fakes.fireworks.conduct import Conduct
from tests.fakes.fireworks.effects import (
    AnswerAs,
    Edit,
    Effect,
    Fail,
    Head,
    Misread,
    Put,
    Rule,
    Say,
)
from tests.fakes.fireworks.server import Api, serving

_KEY = 'fw_Zq7/tPx+93&vLm2~"secret'
"""With characters that are written otherwise in URLs, JSON and HTML."""
_LONG_KEY = "fw_Zq7/tPx+93.vLm2~secretTYUIOPASD0123456"
_SPELLINGS = {
    _KEY,
    _KEY[:14],
    _KEY[-12:],
    quote(_KEY, safe=""),
    html.escape(_KEY),
    json.dumps(_KEY)[1:-1],
    base64.b64encode(_KEY.encode()).decode(),
}
_HEADERS = {"x-request-id": _KEY, "fireworks-backend-host": _KEY, "cf-ray": _KEY}
_DENIALS: dict[str, Effect] = {
    "refused": Fail(status=401, message=f"the key {_KEY} is unknown"),
    "forbidden": Fail(status=403, message=quote(_KEY, safe="")),
}
_ECHOES: dict[str, Effect] = {
    "page": Say(body=html.escape(_KEY).encode(), headers={"content-type": f"text/{_KEY}"}),
    "storm": Fail(status=503, message=json.dumps({"key": _KEY})),
    "redirect": Fail(status=307, headers={"location": f"https://elsewhere.test/{_KEY}"}),
    "model": AnswerAs(model=_KEY),
    "token": Misread(token=2, becomes=Token(1, _KEY.encode())),
    "number": Put(value=_KEY),
    "shape": Edit(change=lambda body: body.update(choices=[{"logprobs": {_KEY: _KEY}}])),
    "headers": Head(headers=_HEADERS),
}


@pytest.fixture(scope="module")
def echoed(
    hosted_once: HostedWorkspace, tmp_path_factory: pytest.TempPathFactory
) -> tuple[HostedWorkspace, list[Ran]]:
    """Return the output of a recording and a check at a server that repeats the key."""
    folder = tmp_path_factory.mktemp("echoed")
    workspace = HostedWorkspace(folder=folder, cache=hosted_once.cache, key=_KEY)
    items = {name: {**ITEMS["plane"], "prompt": f"<{name}>"} for name in _ECHOES}
    rules = [Rule(effect=effect, text=f"<{name}>") for name, effect in _ECHOES.items()]
    headers = Rule(effect=Head(headers=_HEADERS))
    denied: list[Ran] = []
    with serving(conduct=Conduct(key=_KEY), rules=[headers]) as server:
        workspace.ask(server.base_url, items=items, provider={"attempts": 2})
        recorded = workspace.calibrate()
        server.follow(headers, *rules)
        checked = workspace.check()
        again = workspace.calibrate("--again", "-o", "again")
        # After a refused key there are no more requests, so this comes last.
        for name, denial in _DENIALS.items():
            server.follow(Rule(effect=denial))
            denied.append(workspace.check("-o", name))
    return workspace, [recorded, checked, again, *denied]


def test_a_server_that_repeats_the_key_is_measured(
    echoed: tuple[HostedWorkspace, list[Ran]],
) -> None:
    """The faults are reported as usual, so the searches below cover real reports."""
    workspace, commands = echoed
    verdicts = workspace.logprob_verdicts()

    assert [ran.code for ran in commands] == [0, 10, 4, 4, 4]
    assert {name: verdicts[f"base--{name}"] for name in _ECHOES} == {
        **dict.fromkeys(("page", "storm", "redirect", "shape", "number"), "inconclusive"),
        **dict.fromkeys(("model", "token"), "invalid"),
        "headers": "agrees",
    }
    assert "the key *** is unknown" in commands[3].out


def test_the_key_is_in_no_file(echoed: tuple[HostedWorkspace, list[Ran]]) -> None:
    """Reports, baselines and logs of draws were searched for the key and for halves of it."""
    workspace, _ = echoed
    found = contents_of(workspace.folder)

    assert {
        ".repro-gate/draws.jsonl",
        ".repro-gate/report.md",
        "again/calibration.jsonl",
        "refused/report.json",
    } <= {*found}
    leaks = [
        (name, spelling)
        for name, content in found.items()
        for spelling in _SPELLINGS
        if spelling.encode() in content
    ]
    assert leaks == []


def test_the_key_is_in_no_output(echoed: tuple[HostedWorkspace, list[Ran]]) -> None:
    """Neither stdout nor stderr of any command has it."""
    text = "".join(ran.out + ran.err for ran in echoed[1])

    assert [spelling for spelling in _SPELLINGS if spelling in text] == []


def test_a_key_that_cannot_be_sent_is_not_shown(hosted: HostedWorkspace) -> None:
    """A key with a line break is refused by the name of its variable."""
    ran = hosted.check(**{KEY_ENV: "fw_half\nfw_other"})
    files = b"".join(contents_of(hosted.output).values())

    assert (ran.code, KEY_ENV in ran.out) == (4, True)
    assert [half for half in ("fw_half", "fw_other") if half in ran.out + ran.err] == []
    assert b"fw_half" not in files


def _beginnings(spell: Callable[[str], str]) -> list[str]:
    return [spell(_LONG_KEY[:end]) for end in range(1, len(_LONG_KEY) + 1)]


@pytest.mark.parametrize(
    "text",
    [
        " ".join(_beginnings(str)),
        " ".join(reversed(_beginnings(lambda part: quote(part, safe="")))),
        json.dumps(_beginnings(lambda part: base64.b64encode(f"Bearer {part}".encode()).decode())),
        "x" * 65_500 + _LONG_KEY[:33],
    ],
    ids=["plain", "percent", "base64", "at the limit"],
)
def test_a_server_that_quotes_parts_of_a_key_is_answered_in_time(
    hosted: HostedWorkspace, text: str
) -> None:
    """A refusal with every beginning of a key ends the check, and shows none of them."""
    workspace = replace(hosted, key=_LONG_KEY)
    with serving(
        conduct=Conduct(key=_LONG_KEY), rules=[Rule(effect=Fail(status=401, message=text))]
    ) as server:
        workspace.ask(server.base_url, provider={"timeout_s": 5, "deadline_s": 10})
        ran = workspace.check()
    shown = (ran.out + ran.err).encode() + b"".join(contents_of(workspace.output).values())

    assert (ran.code, "status 401" in ran.out) == (4, True)
    assert [part for part in _parts_of(_LONG_KEY) if part.encode() in shown] == []


def _parts_of(key: str) -> set[str]:
    encoded = [base64.b64encode(b" " * before + key.encode()).decode()[4:] for before in range(3)]
    words = (key, *encoded)
    return {word[start : start + 8] for word in words for start in range(len(word) - 7)}


_ALLOWED = "REPRO_GATE_ALLOWED_HOSTS"


@pytest.mark.parametrize("command", ["check", "record-baseline"])
@pytest.mark.parametrize("allowed", ["api.fireworks.ai", "10.0.0.1,127.0.0.1:1", "127.0.0.1.test"])
def test_a_host_that_is_not_allowed_gets_no_request(
    hosted: HostedWorkspace, api: Api, command: str, allowed: str
) -> None:
    """With a list of allowed hosts, a matrix cannot choose where a key goes."""
    host = urlsplit(api.base_url).netloc

    ran = hosted.run(command, "--suite", "hosted", **{_ALLOWED: allowed})

    assert (ran.code, api.requests) == (3, [])
    assert ran.err.splitlines()[-1] == (
        "repro-gate: repro-gate.toml: providers.fake.base_url: expected one of the allowed hosts, "
        f"{allowed.replace(',', ', ')}, found {host}"
    )


@pytest.mark.parametrize("with_port", [True, False])
def test_an_allowed_host_gets_requests(
    hosted: HostedWorkspace, api: Api, *, with_port: bool
) -> None:
    """By name or by name and port, in any list syntax and letter case."""
    parts = urlsplit(api.base_url)
    host = parts.netloc if with_port else str(parts.hostname)

    ran = hosted.check("--allowed-hosts", f"API.Fireworks.ai, {host}")

    assert (ran.code, bool(api.requests)) == (0, True)


def test_a_suite_that_calls_no_host_is_not_limited(recorded: Workspace) -> None:
    """The list is about what is called, and tokens are generated here."""
    assert recorded.run("check", **{_ALLOWED: "api.fireworks.ai"}).code == 0


def test_an_empty_variable_is_no_limit(hosted: HostedWorkspace) -> None:
    """An action input that is not set is an empty variable."""
    assert hosted.check(**{_ALLOWED: ""}).code == 0


@pytest.mark.parametrize("hosts", ["", " , ", "https://api.fireworks.ai", "*.fireworks.ai", "a/b"])
def test_an_invalid_list_of_hosts_is_2(hosted: HostedWorkspace, api: Api, hosts: str) -> None:
    """A mistake in the list must not mean no limit."""
    assert (hosted.check("--allowed-hosts", hosts).code, api.requests) == (2, [])


@pytest.mark.parametrize("command", ["check", "record-baseline"])
def test_hosts_and_keys_are_shown_before_the_first_call(
    hosted: HostedWorkspace, api: Api, command: str
) -> None:
    """The host and the name of the variable, not its value."""
    again = ["--again"] if command == "record-baseline" else []
    ran = hosted.run(command, "--suite", "hosted", *again, "--yes" if again else "--quiet")

    host = urlsplit(api.base_url).netloc
    assert ran.err.splitlines()[0] == (
        f"repro-gate: provider fake: the value of {KEY_ENV} is sent to {host}"
    )
