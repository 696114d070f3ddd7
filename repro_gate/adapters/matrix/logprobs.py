"""The part of the matrix file about log-probabilities: providers, policies and suites."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, assert_never
from urllib.parse import urlsplit

from repro_gate.adapters.engines.environment import may_hold_an_api_key
from repro_gate.adapters.files.documents import require_bounded, require_known
from repro_gate.core.engines import ModelSpec
from repro_gate.core.logprobs.error_rates import (
    CORRECTION,
    OUTLIERS_SHARE,
    SCREEN,
    cell_level,
    has_power,
    outlier_alarm_rate,
    smallest_p,
    sufficient_draws,
)
from repro_gate.core.logprobs.policy import (
    DEFAULT_TOKENS,
    LOCAL,
    MAX_TOP_LOGPROBS,
    Budget,
    Endpoint,
    Item,
    LogprobCell,
    LogprobKind,
    LogprobSuite,
    Policy,
    PolicyKind,
    ProviderKind,
    ProviderSpec,
    Tolerance,
    WeightPlan,
    has_own_root,
    scores_chats,
    scores_prompts,
)
from repro_gate.core.start.providers import KNOWN_PROVIDERS
from repro_gate.errors import InputInvalid

_LOCAL_PROVIDER = ProviderSpec(name=LOCAL, kind=ProviderKind.LOCAL)
_LOOPBACK = re.compile(r"localhost|127(\.[0-9]{1,3}){3}|::1")


def read_policies(
    file: Path, document: Mapping[str, Any], models: Mapping[str, ModelSpec]
) -> Mapping[str, Policy]:
    """Return the policies of a valid document; raises `InputInvalid`."""
    providers = {LOCAL: _LOCAL_PROVIDER}
    for name, table in document.get("providers", {}).items():
        if name == LOCAL:
            expected = "another name; this one is the engines of this file"
            raise InputInvalid.at(file, "providers", expected=expected, found=repr(name))
        providers[name] = _provider(file, name, table)
    policies: dict[str, Policy] = {}
    for name, table in document.get("policies", {}).items():
        place = f"policies.{name}"
        provider = require_known(file, f"{place}.provider", table["provider"], providers)
        _require_kind(file, place, table, providers[provider].kind)
        _require_echo(file, place, table, providers[provider].kind)
        _require_template(file, place, table)
        _require_logprobs(file, f"{place}.logprobs", table, providers[provider].kind)
        if provider == LOCAL:
            require_known(file, f"{place}.model", table["model"], models)
        policies[name] = _policy(name, table, providers[provider], models)
    return policies


def _provider(file: Path, name: str, table: Mapping[str, Any]) -> ProviderSpec:
    kind = ProviderKind(table["kind"])
    values = {**_defaults_of(kind), **table}
    _require_url(file, f"providers.{name}.base_url", values["base_url"], kind)
    variable = values.get("api_key_env")
    if variable is not None and not may_hold_an_api_key(variable):
        raise InputInvalid.at(
            file,
            f"providers.{name}.api_key_env",
            expected="a variable that holds only an API key of this provider",
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
            return _usual("fireworks")
        case ProviderKind.TOGETHER:
            return _usual("together")
        case (
            ProviderKind.OPENAI
            | ProviderKind.VLLM
            | ProviderKind.SGLANG
            | ProviderKind.TGI
            | ProviderKind.LLAMA_SERVER
            | ProviderKind.LOCAL
        ):
            return {}
        case _:
            assert_never(kind)


def _usual(name: str) -> Mapping[str, str]:
    known = KNOWN_PROVIDERS[name]
    return {"base_url": known.base_url, "api_key_env": known.api_key_env}


def _require_url(file: Path, place: str, url: str, kind: ProviderKind) -> None:
    problem = url_problem(url, kind)
    if problem is not None:
        # The URL may contain a password, so it is not shown.
        expected = "an https URL, or an http one on a loopback host"
        raise InputInvalid.at(file, place, expected=expected, found=problem)


def url_problem(url: str, kind: ProviderKind) -> str | None:
    """Return why no key may be sent to a URL, or None."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "a malformed one"
    is_open = parts.scheme == "http" and not _LOOPBACK.fullmatch(host or "")
    problems = {
        "one without a host": not host,
        "one with a user or a password; put the key in a variable": "@" in parts.netloc,
        "http on another host, where anyone on the network could read the key": is_open,
        "one with a query or a fragment": "?" in url or "#" in url,
        "one with /completions, which repro-gate appends": "/completions" in parts.path,
        "one with /v1 or /generate; repro-gate appends /generate, which is not below /v1": (
            has_own_root(kind) and parts.path.rstrip("/").endswith(("/v1", "/generate"))
        ),
    }
    return next((problem for problem, is_there in problems.items() if is_there), None)


def _require_logprobs(file: Path, place: str, table: Mapping[str, Any], kind: ProviderKind) -> None:
    """Require that a policy can have its kind of log-probabilities."""
    if table["logprobs"] != LogprobKind.SAMPLING:
        return
    reason = None
    if table["temperature"] == 0:
        reason = "at temperature 0 nothing is sampled"
    elif _is_raw_only(kind):
        reason = f"{kind.value} scores a prompt before the sampler"
    if reason is not None:
        expected = f"'raw', because {reason}"
        raise InputInvalid.at(file, place, expected=expected, found="'sampling'")


def _is_raw_only(kind: ProviderKind) -> bool:
    """Return whether a kind has no log-probabilities after the temperature."""
    match kind:
        case ProviderKind.FIREWORKS | ProviderKind.OPENAI | ProviderKind.LOCAL:
            return False
        case (
            ProviderKind.VLLM
            | ProviderKind.SGLANG
            | ProviderKind.TOGETHER
            | ProviderKind.TGI
            | ProviderKind.LLAMA_SERVER
        ):
            return True
        case _:
            assert_never(kind)


def _require_kind(file: Path, place: str, table: Mapping[str, Any], kind: ProviderKind) -> None:
    """Require that a policy has only what its kind and its endpoint can have."""
    measures = _kind_of(table)
    for key, is_refused, expected in (
        *_refused_of_response(table, measures, has_chat=scores_chats(kind)),
        *_refused_of_generated(table, measures),
    ):
        if is_refused:
            found = repr(table.get(key))
            raise InputInvalid.at(file, f"{place}.{key}", expected=expected, found=found)


def _refused_of_response(
    table: Mapping[str, Any], measures: PolicyKind, *, has_chat: bool
) -> Iterator[tuple[str, bool, str]]:
    """Yield each key, whether it is refused for a given response, and what is expected."""
    scores = measures is PolicyKind.RESPONSE
    only = "none, because kind 'response' generates no tokens"
    yield "top_logprobs", scores and "top_logprobs" in table, only
    yield "max_tokens", scores and "max_tokens" in table, only
    expected = "'completions', because only vLLM scores a given response in a chat"
    is_chat = _endpoint_of(table) is Endpoint.CHAT
    yield "endpoint", scores and is_chat and not has_chat, expected


def _refused_of_generated(
    table: Mapping[str, Any], measures: PolicyKind
) -> Iterator[tuple[str, bool, str]]:
    """Yield each key, whether it is refused for kinds that generate, and what is expected."""
    generates = measures is not PolicyKind.RESPONSE
    better = "'response', which an engine on this machine can always measure and which sees more"
    yield "kind", generates and table["provider"] == LOCAL, better
    greedy = "0, because kind 'generated' compares greedy answers"
    is_generated = measures is PolicyKind.GENERATED
    yield "temperature", is_generated and table["temperature"] != 0, greedy
    raw = f"'raw', because kind {measures.value!r} compares alternatives before the sampler"
    yield "logprobs", generates and table["logprobs"] != LogprobKind.RAW, raw
    chat = "none, because a chat server renders the prompt itself"
    yield "template", _endpoint_of(table) is Endpoint.CHAT and "template" in table, chat


def _kind_of(table: Mapping[str, Any]) -> PolicyKind:
    return PolicyKind(table.get("kind", PolicyKind.RESPONSE))


def _endpoint_of(table: Mapping[str, Any]) -> Endpoint:
    return Endpoint(table.get("endpoint", Endpoint.COMPLETIONS))


def _require_echo(file: Path, place: str, table: Mapping[str, Any], kind: ProviderKind) -> None:
    """Require that a server can score a given response, if a policy has one."""
    if _kind_of(table) is PolicyKind.RESPONSE and not scores_prompts(kind):
        expected = f"'first_token' or 'generated', because {kind.value} does not score a prompt"
        raise InputInvalid.at(file, f"{place}.kind", expected=expected, found="'response'")


def _require_template(file: Path, place: str, table: Mapping[str, Any]) -> None:
    if _endpoint_of(table) is Endpoint.CHAT:
        return
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
    kind, endpoint = _kind_of(table), _endpoint_of(table)
    return Policy(
        name=name,
        provider=provider,
        model=table["model"],
        system=table.get("system", ""),
        template="" if endpoint is Endpoint.CHAT else table.get("template", "{prompt}"),
        temperature=float(table["temperature"]),
        logprobs=LogprobKind(table["logprobs"]),
        local_model=models[table["model"]] if provider.is_local else None,
        kind=kind,
        endpoint=endpoint,
        top_logprobs=table.get("top_logprobs", MAX_TOP_LOGPROBS),
        max_tokens=table.get("max_tokens", DEFAULT_TOKENS[kind]),
    )


def is_logprob_suite(table: Mapping[str, Any]) -> bool:
    """Return whether a table of [suites] is about log-probabilities rather than tokens."""
    return bool(table.get("kind") == "logprobs")


def read_logprob_suites(
    file: Path, document: Mapping[str, Any], models: Mapping[str, ModelSpec]
) -> Mapping[str, LogprobSuite]:
    """Return the log-probability suites of a valid document.

    Raises:
        InputInvalid: a suite or a policy uses an undefined name, or a suite could never alarm,
            or would give false alarms too often.
    """
    policies = read_policies(file, document, models)
    items = {
        name: Item(name=name, prompt=table["prompt"], response=table.get("response", ""))
        for name, table in document.get("items", {}).items()
    }
    return {
        name: _logprob_suite(file, name, table, policies=policies, items=items)
        for name, table in document["suites"].items()
        if is_logprob_suite(table)
    }


def _logprob_suite(
    file: Path,
    name: str,
    table: Mapping[str, Any],
    *,
    policies: Mapping[str, Policy],
    items: Mapping[str, Item],
) -> LogprobSuite:
    place = f"suites.{name}"
    for policy in table["policies"]:
        require_known(file, f"{place}.policies", policy, policies)
    for item in table["items"]:
        require_known(file, f"{place}.items", item, items)
    _require_responses(file, table, policies=policies, items=items)
    require_bounded(file, place, len(table["policies"]) * len(table["items"]))
    cells = tuple(
        LogprobCell(policy=policies[policy], item=items[item])
        for policy in table["policies"]
        for item in table["items"]
    )
    tolerance = _tolerance(table)
    _require_power(file, place, tolerance, len(cells))
    _require_false_alarm_rate(file, place, tolerance, len(cells))
    mine = {policy: policies[policy] for policy in table["policies"]}
    return LogprobSuite(
        name=name,
        cells=cells,
        tolerance=tolerance,
        budget=Budget(**table.get("budget", {})),
        weights=_weights(file, f"{place}.weights", table.get("weights"), mine),
    )


def _require_responses(
    file: Path,
    table: Mapping[str, Any],
    *,
    policies: Mapping[str, Policy],
    items: Mapping[str, Item],
) -> None:
    """Require a response of each item that a policy of the suite scores."""
    scoring = [name for name in table["policies"] if not policies[name].generates]
    lacking = [name for name in table["items"] if not items[name].response]
    if scoring and lacking:
        expected = f"a text, because policy {scoring[0]!r} scores it (kind 'response')"
        raise InputInvalid.at(file, f"items.{lacking[0]}.response", expected=expected, found="none")


def _tolerance(table: Mapping[str, Any]) -> Tolerance:
    usual = Tolerance()
    # TOML distinguishes 1 and 1.0, its users do not.
    return Tolerance(
        **{
            field.name: type(getattr(usual, field.name))(table[field.name])
            for field in fields(Tolerance)
            if field.name in table
        }
    )


def _require_power(file: Path, place: str, tolerance: Tolerance, cells: int) -> None:
    """Raise `InputInvalid` for a suite that could never alarm."""
    if has_power(tolerance, cells):
        return
    enough = sufficient_draws(tolerance, cells)
    many = f"a cell of {cells}" if cells > 1 else "its only cell"
    expected = (
        "fewer cells, more calibration_draws or a larger false_alarm_rate, because no number of "
        f"draws could show drift in {many}"
        if enough is None
        else f"at least {enough} draws, so that drift in {many} can be detected"
    )
    found = f"{tolerance.draws}, {_attainable(tolerance, cells)}"
    raise InputInvalid.at(file, f"{place}.draws", expected=expected, found=found)


def _attainable(tolerance: Tolerance, cells: int) -> str:
    calibration, draws = tolerance.calibration_draws, tolerance.draws
    one_look = smallest_p(calibration, draws)
    if one_look > SCREEN:
        return f"whose smallest p-value in one look is {one_look:.3g}, not at most {SCREEN}"
    both_looks, level = (
        CORRECTION * smallest_p(calibration, 2 * draws),
        cell_level(tolerance, cells),
    )
    return f"whose smallest p-value is {both_looks:.3g}, not at most {level:.3g}"


def _require_false_alarm_rate(file: Path, place: str, tolerance: Tolerance, cells: int) -> None:
    """Raise `InputInvalid` for a suite whose outlier rule alone gives too many false alarms."""
    allowed = OUTLIERS_SHARE * tolerance.false_alarm_rate
    rate = outlier_alarm_rate(tolerance, cells)
    if rate > allowed:
        raise InputInvalid.at(
            file,
            f"{place}.outlier_factor",
            expected=(
                f"a larger one, or a larger max_outlier_rate, so that outliers cause a false alarm "
                f"in at most {allowed:.3g} of the checks"
            ),
            found=f"{tolerance.outlier_factor:g}, which causes one in {rate:.3g} of them",
        )


def _weights(
    file: Path, place: str, table: Mapping[str, Any] | None, policies: Mapping[str, Policy]
) -> WeightPlan | None:
    if table is None:
        return None
    base = policies[require_known(file, f"{place}.base", table["base"], policies)]
    for policy in policies.values():
        if policy.generates:
            expected = "none, because importance weights compare a given response (kind 'response')"
            found = f"a table, and {policy.name!r} of kind {policy.kind.value!r}"
            raise InputInvalid.at(file, place, expected=expected, found=found)
        if policy.logprobs is not base.logprobs:
            expected = f"policies of {base.logprobs.value} log-probabilities, as {base.name!r} is"
            found = f"{policy.name!r} of {policy.logprobs.value} ones"
            raise InputInvalid.at(file, place, expected=expected, found=found)
    targets = [name for name in policies if name != base.name]
    return WeightPlan(
        base=base.name,
        clones=_targets(file, f"{place}.clones", table.get("clones", ()), targets),
        must_be_usable=_targets(
            file, f"{place}.must_be_usable", table.get("must_be_usable", ()), targets
        ),
    )


def _targets(
    file: Path, place: str, names: Sequence[str], targets: Sequence[str]
) -> tuple[str, ...]:
    return tuple(require_known(file, place, name, targets) for name in names)
