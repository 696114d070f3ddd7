"""Each reference of a file names every key that the schema of the file has."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import ROOT, listed, page
from tests.fakes.reports import render_json, report_of

_REFERENCES = {
    "matrix-v1": "docs/reference/matrix-file.md",
    "golden-v1": "docs/reference/golden-v1.md",
    "reference-v1": "docs/reference/reference-v1.md",
    "models-v1": "docs/reference/golden-v1.md",
    "baseline-v1": "docs/reference/baseline-v1.md",
    "draws-v1": "docs/reference/draws-v1.md",
    "engine-v1": "docs/reference/engine-protocol.md",
    "policy-v1": "docs/reference/policy.md",
    "watch-v1": "docs/reference/watch-v1.md",
    "state-v1": "docs/reference/watch-v1.md",
}


def _schema(name: str) -> Any:
    return json.loads((ROOT / "repro_gate" / "schemas" / f"{name}.json").read_text())


def _keys(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        for inner in schema.values():
            yield from _keys(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _keys(inner)


def _choices(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        yield from (choice for choice in schema.get("enum", ()) if isinstance(choice, str))
        for inner in schema.values():
            yield from _choices(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _choices(inner)


@pytest.mark.parametrize(("schema", "reference"), _REFERENCES.items())
def test_every_key_is_named(schema: str, reference: str) -> None:
    """A key of the schema stands somewhere on the page, as a whole word."""
    text = page(reference).text
    unnamed = [key for key in set(_keys(_schema(schema))) if not _names(text, key)]
    assert not unnamed


@pytest.mark.parametrize(("schema", "reference"), _REFERENCES.items())
def test_every_choice_is_named(schema: str, reference: str) -> None:
    """A value out of a fixed list stands somewhere on the page, as a whole word."""
    text = page(reference).text
    unnamed = [choice for choice in set(_choices(_schema(schema))) if not _names(text, choice)]
    assert not unnamed


def test_the_matrix_reference_invents_no_key() -> None:
    """The lists of the matrix file have no key that the schema would refuse."""
    keys = set(_keys(_schema("matrix-v1")))
    for section in page("docs/reference/matrix-file.md").sections().values():
        assert set(listed(section)) <= keys


def test_the_matrix_reference_says_what_is_needed() -> None:
    """A list has every key of its table, and "required" at those that the schema demands."""
    definitions = _schema("matrix-v1")
    sections = page("docs/reference/matrix-file.md").sections()
    suite = definitions["$defs"]["logprob_suite"]
    tables = {
        "Top level": definitions,
        "`[engines.NAME]`": definitions["$defs"]["engine"],
        "`[models.NAME]`": definitions["$defs"]["model"],
        "`[suites.NAME]`": definitions["$defs"]["suite"],
        "`[variants.NAME]`": definitions["$defs"]["variant"],
        "`[providers.NAME]`": definitions["$defs"]["provider"],
        "`[policies.NAME]`": definitions["$defs"]["policy"],
        "`[items.NAME]`": definitions["$defs"]["item"],
        "`[suites.NAME]` of log-probabilities": suite,
        "`budget`": suite["properties"]["budget"],
        "`weights`": suite["properties"]["weights"],
    }
    prompt = definitions["$defs"]["prompt"]
    shared = definitions["$defs"]["sampler"]["properties"].keys() - {"temperature"}
    own = {key: rule for key, rule in prompt["properties"].items() if key not in shared}
    tables["`[prompts.NAME]`"] = {**prompt, "properties": own}
    for heading, table in tables.items():
        keys = listed(sections[heading])
        required = {key for key, note in keys.items() if note == "required"}
        assert required == set(table.get("required", ())), heading
        assert set(keys) == set(table["properties"]), heading


def _names(text: str, word: str) -> bool:
    return f"`{word}`" in text or f'"{word}"' in text


def test_the_reference_of_a_report_has_what_people_read() -> None:
    """The top level, the findings, and a result without a report; the schema has all the rest."""
    schema, text = _schema("report-v1"), page("docs/reference/report-v1.md").text
    shown = [schema, *(schema["$defs"][name] for name in _SHOWN)]
    keys = {key for each in shown for key in each["properties"]} - {"kind"}

    assert not [key for key in keys if not _names(text, key)]


_SHOWN = (
    "counts",
    "cell_summary",
    "mode_summary",
    "finding_summary",
    "changed_fact",
    "tagged_finished_check",
    "tagged_unfinished_check",
    "tool",
)


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_the_examples_with_jq_work(tmp_path: Path) -> None:
    """Each prints something of a report with every verdict."""
    file = tmp_path / ".repro-gate" / "report.json"
    file.parent.mkdir()
    file.write_text(render_json(report_of()), "ascii")
    (examples,) = page("docs/reference/report-v1.md").blocks("sh")

    outputs = [
        subprocess.run(
            ["/bin/sh", "-c", command], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout
        for command in examples.splitlines()
    ]

    assert "tiny--fox--seed42" in outputs[0].splitlines()
    assert all(outputs)
