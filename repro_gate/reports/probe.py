"""What a server can do: a table, the policies that are possible, and the TOML to paste."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from repro_gate.core.logprobs.capabilities import ProbeReport
from repro_gate.core.logprobs.policy import PolicyKind
from repro_gate.reports.text.escape import one_line
from repro_gate.reports.text.format import columns, plural
from repro_gate.reports.text.toml import toml_value

_PROVIDER: Final = "probed"
_PLACE: Final = (
    '# Goes below schema = "repro-gate/matrix/v1" and default_suites = ["SUITE"]; '
    "items and [suites.SUITE] are still to be written.\n"
)
_MEASURES: Final = {
    PolicyKind.RESPONSE: "log-probabilities of a fixed response",
    PolicyKind.FIRST_TOKEN: "the likely first tokens of an answer",
    PolicyKind.GENERATED: "the tokens of a greedy answer",
}


def render_probe(report: ProbeReport) -> str:
    """Return the report as text for a terminal."""
    rows = [
        (one.ability.value, one.answer.value, str(one_line(one.seen))) for one in report.findings
    ]
    heading = ("what", "answer", "how it was seen")
    lines = [
        str(one_line(f"{report.model} at {report.base_url}: {plural(report.calls, 'call')}")),
        "",
        *columns([heading, *rows]),
        "",
        *_possible(report),
    ]
    return "\n".join([*lines, *(["", render_toml(report).rstrip()] if report.uses else []), ""])


def _possible(report: ProbeReport) -> Iterator[str]:
    if not report.uses:
        yield "No policy is possible: the server gives no log-probabilities that can be compared."
        return
    yield f'Possible with kind = "{report.kind}":'
    for kind, endpoint in report.uses:
        yield f"  {kind.value}, {endpoint.value}: {_MEASURES[kind]}"


def render_toml(report: ProbeReport) -> str:
    """Return the provider and its policies as a part of a matrix file."""
    provider = {
        "kind": report.kind.value,
        "base_url": report.provider_url,
        **({} if report.api_key_env is None else {"api_key_env": report.api_key_env}),
    }
    named = report.policies(_PROVIDER).items()
    tables = [_table(f"providers.{_PROVIDER}", provider)]
    tables += [_table(f"policies.{name}", values) for name, values in named]
    return _PLACE + "\n".join(tables)


def _table(name: str, values: Mapping[str, Any]) -> str:
    lines = (f"{key} = {toml_value(value)}" for key, value in values.items())
    return "\n".join([f"[{name}]", *lines, ""])


def probe_data(report: ProbeReport) -> dict[str, Any]:
    """Return the report as JSON values."""
    return {
        "base_url": report.base_url,
        "model": report.model,
        "calls": report.calls,
        "kind": report.kind.value,
        "findings": [
            {
                "what": one.ability.value,
                "answer": one.answer.value,
                "limit": one.limit,
                "seen": one.seen,
            }
            for one in report.findings
        ],
        "policies": [
            {"kind": kind.value, "endpoint": endpoint.value} for kind, endpoint in report.uses
        ],
        "toml": render_toml(report) if report.uses else None,
    }
