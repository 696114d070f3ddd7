"""The providers and policies of the matrix file."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, assert_never
from urllib.parse import urlsplit

from repro_gate.adapters.documents import require_known
from repro_gate.adapters.engines.environment import may_hold_an_api_key
from repro_gate.core.models import ModelSpec
from repro_gate.core.policies import LOCAL, LogprobKind, Policy, ProviderKind, ProviderSpec
from repro_gate.errors import InputInvalid

_FIREWORKS: Final = {
    "base_url": "https://api.fireworks.ai/inference/v1",
    "api_key_env": "FIREWORKS_API_KEY",
}
_LOCAL_PROVIDER = ProviderSpec(name=LOCAL, kind=ProviderKind.LOCAL)
_LOOPBACK = re.compile(r"localhost|127(\.[0-9]{1,3}){3}|::1")


def read_policies(
    file: Path, document: Mapping[str, Any], models: Mapping[str, ModelSpec]
) -> Mapping[str, Policy]:
    """Return the policies of a document that its schema allows; raises `InputInvalid`."""
    providers = {LOCAL: _LOCAL_PROVIDER}
    for name, table in document.get("providers", {}).items():
        if name == LOCAL:
            expected = "another name: the engines of this file are the local provider"
            raise InputInvalid.at(file, "providers", expected=expected, found=repr(name))
        providers[name] = _provider(file, name, table)
    policies: dict[str, Policy] = {}
    for name, table in document.get("policies", {}).items():
        place = f"policies.{name}"
        provider = require_known(file, f"{place}.provider", table["provider"], providers)
        _require_template(file, place, table)
        if table["logprobs"] == LogprobKind.SAMPLING and table["temperature"] == 0:
            expected = "'raw', because at temperature 0 nothing is sampled"
            raise InputInvalid.at(file, f"{place}.logprobs", expected=expected, found="'sampling'")
        if provider == LOCAL:
            require_known(file, f"{place}.model", table["model"], models)
        policies[name] = _policy(name, table, providers[provider], models)
    return policies


def _provider(file: Path, name: str, table: Mapping[str, Any]) -> ProviderSpec:
    kind = ProviderKind(table["kind"])
    values = {**_defaults_of(kind), **table}
    _require_url(file, f"providers.{name}.base_url", values["base_url"])
    variable = values.get("api_key_env")
    if variable is not None and not may_hold_an_api_key(variable):
        raise InputInvalid.at(
            file,
            f"providers.{name}.api_key_env",
            expected="a variable that holds a key of this provider, and nothing else",
            found=f"{variable}, which belongs to the CI system or the machine",
        )
    usual = ProviderSpec(name=name, kind=kind)
    return ProviderSpec(
        name=name,
        kind=kind,
        base_url=values["base_url"].rstrip("/"),
        api_key_env=variable,
        concurrency=table.get("concurrency", usual.concurrency),
        attempts=table.get("attempts", usual.attempts),
        timeout_s=float(table.get("timeout_s", usual.timeout_s)),
        deadline_s=float(table.get("deadline_s", usual.deadline_s)),
        http2=table.get("http2", usual.http2),
        usd_per_million_tokens=float(
            table.get("usd_per_million_tokens", usual.usd_per_million_tokens)
        ),
    )


def _defaults_of(kind: ProviderKind) -> Mapping[str, str]:
    match kind:
        case ProviderKind.FIREWORKS:
            return _FIREWORKS
        case ProviderKind.OPENAI | ProviderKind.LOCAL:
            return {}
        case _:
            assert_never(kind)


def _require_url(file: Path, place: str, url: str) -> None:
    problem = _problem_of(url)
    if problem is not None:
        # The text itself may hold a password, and is not repeated.
        expected = "an https URL, or an http one on a loopback host"
        raise InputInvalid.at(file, place, expected=expected, found=problem)


def _problem_of(url: str) -> str | None:
    """Return why a key must not be sent to a URL, or nothing can be."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "a malformed one"
    is_open = parts.scheme == "http" and not _LOOPBACK.fullmatch(host or "")
    problems = {
        "one without a host": not host,
        "one with a user or a password; a key belongs in a variable": "@" in parts.netloc,
        "http on another host, where all on the way could read the key": is_open,
        "one with a query or a fragment": "?" in url or "#" in url,
        "one with /completions, which is added to it": "/completions" in parts.path,
    }
    return next((problem for problem, is_there in problems.items() if is_there), None)


def _require_template(file: Path, place: str, table: Mapping[str, Any]) -> None:
    template: str = table.get("template", "{prompt}")
    prompts, systems = template.count("{prompt}"), template.count("{system}")
    if prompts != 1:
        expected, found = "{prompt} in it exactly once", f"it {_times(prompts)}"
    elif systems > 1:
        expected, found = "{system} in it at most once", f"it {_times(systems)}"
    elif table.get("system") and not systems:
        expected, found = "{system} in it, because 'system' is not empty", repr(template)
    else:
        return
    raise InputInvalid.at(file, f"{place}.template", expected=expected, found=found)


def _times(count: int) -> str:
    return f"{count} times" if count else "nowhere"


def _policy(
    name: str, table: Mapping[str, Any], provider: ProviderSpec, models: Mapping[str, ModelSpec]
) -> Policy:
    return Policy(
        name=name,
        provider=provider,
        model=table["model"],
        system=table.get("system", ""),
        template=table.get("template", "{prompt}"),
        temperature=float(table["temperature"]),
        logprobs=LogprobKind(table["logprobs"]),
        local_model=models[table["model"]] if provider.is_local else None,
    )
