"""The report of a probe: a table, JSON, and a part of a matrix file that the reader accepts."""

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from repro_gate.adapters.matrix.reader import read_matrix
from repro_gate.core.logprobs.capabilities import Ability, Answer, Finding, ProbeReport
from repro_gate.core.logprobs.policy import PolicyKind, ProviderKind
from repro_gate.reports.probe import probe_data, render_probe, render_toml
from tests.core.logprobs.test_capabilities import ALL, report_of

EVERYTHING = report_of(ALL)
_SUITE = """
schema = "repro-gate/matrix/v1"
default_suites = ["probed"]

[items.one]
prompt = "Name a city"
response = " Paris"

[suites.probed]
kind = "logprobs"
policies = {policies}
items = ["one"]

{toml}
"""


def test_the_table_shows_each_ability_and_how_it_was_seen() -> None:
    """One line each, in columns."""
    seen = Finding(ability=Ability.ECHO, answer=Answer.NO, seen="it ignored `echo`")

    shown = render_probe(replace(EVERYTHING, findings=(seen,), calls=2))

    assert shown == (
        "m at http://127.0.0.1:1/v1: 2 calls\n"
        "\n"
        "what  answer  how it was seen\n"
        "echo  no      it ignored `echo`\n"
        "\n"
        "No policy is possible: the server gives no log-probabilities that can be compared.\n"
    )


def test_the_possible_policies_are_listed_with_the_kind_of_provider() -> None:
    """Then the TOML follows."""
    report = report_of({Ability.CHAT: Answer.YES})

    shown = render_probe(report)

    assert shown.endswith(
        'Possible with kind = "openai":\n'
        "  first_token, chat: the likely first tokens of an answer\n"
        "  generated, chat: the tokens of a greedy answer\n"
        f"\n{render_toml(report)}"
    )
    assert '# Goes below schema = "repro-gate/matrix/v1" and default_suites' in shown


_KINDS = [(one, "SOME_API_KEY") for one in ProviderKind if one is not ProviderKind.LOCAL]


@pytest.mark.parametrize(("kind", "key"), [*_KINDS, (ProviderKind.OPENAI, None)])
def test_the_toml_is_read_back(tmp_path: Path, kind: ProviderKind, key: str | None) -> None:
    """With one policy of each possible kind, at the better endpoint."""
    answers = {**ALL, Ability.PROMPT: Answer.NO} if kind is ProviderKind.LLAMA_SERVER else ALL
    report = replace(report_of(answers), kind=kind, api_key_env=key, model='a "model"\\')
    toml = render_toml(report)
    names = list(tomllib.loads(toml)["policies"])
    file = tmp_path / "repro-gate.toml"
    file.write_text(_SUITE.format(policies=names, toml=toml), "utf-8")

    (suite,) = read_matrix(file).logprob_suites.values()

    policies = [cell.policy for cell in suite.cells]
    assert [policy.kind for policy in policies] == list(dict(report.uses))
    assert {policy.model for policy in policies} == {report.model}
    assert {policy.provider.kind for policy in policies} == {kind}
    assert {policy.provider.api_key_env for policy in policies} == {key}


def test_values_after_the_temperature_are_compared_at_temperature_1() -> None:
    """Where both are the same."""
    report = report_of({**ALL, Ability.RAW: Answer.NO})

    policies = tomllib.loads(render_toml(report))["policies"]

    assert {policy["temperature"] for policy in policies.values()} == {1.0}


def test_the_number_of_alternatives_is_that_of_the_server() -> None:
    """Some servers give 5."""
    policies = tomllib.loads(render_toml(report_of(ALL, CHAT=5)))["policies"]

    assert policies["first-token"]["top_logprobs"] == 5


_JSON: Mapping[str, tuple[ProbeReport, Any]] = {
    "possible": (EVERYTHING, render_toml(EVERYTHING)),
    "not possible": (report_of({}), None),
}


@pytest.mark.parametrize("case", _JSON)
def test_the_json_has_all_of_it(case: str) -> None:
    """Findings, policies, and the TOML if there is any."""
    report, toml = _JSON[case]

    data = probe_data(report)

    assert data["toml"] == toml
    assert len(data["findings"]) == len(report.findings)
    assert [(PolicyKind(one["kind"]), one["endpoint"]) for one in data["policies"]] == [
        (kind, endpoint.value) for kind, endpoint in report.uses
    ]
    assert {"base_url", "model", "calls", "kind"} <= data.keys()
