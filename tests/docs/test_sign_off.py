"""The pages about signed releases name what is signed, and their policy is one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from repro_gate.adapters.sign_off.policy import read_policy
from repro_gate.core.sign_off.policy import MAX_WAIVER
from repro_gate.core.sign_off.statement import TEST_RESULT, WAIVER, Kind
from tests.docs.pages import page
from tests.fakes.releases import FOX, HAIKU, drifted, evidence_of, matched, report_of, waiver_of

_EVIDENCE = page("docs/reference/evidence-v1.md")
_POLICY = page("docs/reference/policy.md")
_WAIVER = waiver_of(report_of(matched(HAIKU), drifted(FOX)), issue="https://example.org/1")


def _keys(data: Any) -> Iterator[str]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield key
            # What is below is named by the report.
            if key not in {"engines", "models", "counts"}:
                yield from _keys(value)
    elif isinstance(data, list):
        for item in data:
            yield from _keys(item)


def test_the_policy_of_the_page_is_read(tmp_path: Path) -> None:
    """As a whole."""
    (example,) = _POLICY.blocks("toml")
    (tmp_path / "policy.toml").write_text(example, "utf-8")

    policy = read_policy(tmp_path / "policy.toml")

    assert [key.name for key in policy.signers.keys] == ["release", "qa"]
    assert policy.waivers is None


def test_every_field_that_is_signed_is_named() -> None:
    """Those of in-toto that need no explanation excepted."""
    known = {"_type", "predicateType", "predicate", "digest", "annotations", "failedTests"}
    statement = evidence_of().statement.to_data()
    named = _EVIDENCE.code()

    assert set(_keys(statement)) - named == known
    assert set(_keys(_WAIVER.to_data())) - named == known - {"annotations", "failedTests"}
    assert {TEST_RESULT, WAIVER, *Kind} <= named
    assert f"{MAX_WAIVER.days} days" in _EVIDENCE.text
