"""The page about a signed release."""

import html
import re
from dataclasses import replace
from typing import Any

import pytest

from repro_gate.core.report import EngineReport
from repro_gate.core.sign_off.measured import Condition, Refusal
from repro_gate.core.sign_off.verification import Evidence
from repro_gate.reports.sign_off import (
    SignedRelease,
    refusal_lines,
    render_html,
    render_markdown,
)
from repro_gate.strict_json import InvalidJson
from tests.fakes.releases import (
    COMMIT,
    FOX,
    HAIKU,
    REPOSITORY,
    SHA,
    checkout_of,
    drifted,
    evidence_of,
    file_of,
    matched,
    report_of,
    waiver_file_of,
    waiver_of,
)
from tests.fakes.values import PROFILE, digest_of, golden_of, suite_of
from tests.reports.served import result_of

PAYLOAD = "e1" * 32
HOSTILE = "`|x</td><script>alert(1)</script>\n# y <!-- @all"
MARKUP = re.compile(
    r"</?(?:html|head|meta|title|style|body|h1|h2|p|strong|table|tr|th|td|code)\b[^<>]*>"
)


def release_of(evidence: Evidence | None = None, **changes: Any) -> SignedRelease:
    """Return a release that alice and a stranger signed."""
    release = SignedRelease(
        evidence=evidence or evidence_of(),
        checkout=checkout_of(),
        payload=PAYLOAD,
        keys={"a1" * 32: "alice", "b1" * 32: ""},
    )
    return replace(release, **changes)


def waived() -> Evidence:
    """Return evidence with a waiver."""
    report = report_of(matched(HAIKU), drifted(FOX))
    waiver = waiver_of(report, issue="https://example.org/1")
    return evidence_of(file_of(report), waivers=[waiver_file_of(waiver)])


def test_a_page_has_everything_that_was_signed() -> None:
    """What, on what, by whom, for each model, and what is missing."""
    assert render_markdown(release_of()).splitlines() == [
        "# Release sign-off",
        "",
        "**PASSED: 3 tests of this commit passed; nothing was waived**",
        "",
        "## Released",
        "",
        "| what | identity |",
        "| --- | --- |",
        f"| repository | `{REPOSITORY}` |",
        f"| commit | `{COMMIT}` |",
        f"| `model.gguf` | sha256 {SHA} |",
        f"| evidence | sha256 {PAYLOAD} |",
        "",
        "## Measured on",
        "",
        "| profile | device | engine | measured | repro-gate | report |",
        "| --- | --- | --- | --- | --- | --- |",
        (
            f"| `{PROFILE}` | `not reported` | `scripted` | 2026-11-28T02:00:00Z | `0.1.0` | "
            "`report.json` |"
        ),
        "",
        "## Signed by",
        "",
        "| key | key id |",
        "| --- | --- |",
        f"| `alice` | `{'a1' * 32}` |",
        f"| `claimed, not verified here` | `{'b1' * 32}` |",
        "",
        "## Models",
        "",
        "| model | suite | profile | match | runs | sha256 |",
        "| --- | --- | --- | --- | --- | --- |",
        f"| `tiny` | `quick` | `{PROFILE}` | 2 of 2 cells | 6 | `{digest_of('tiny')}` |",
        "",
        "## Log-probabilities",
        "",
        "| suite | policy | source | agree | draws |",
        "| --- | --- | --- | --- | --- |",
        "| `hosted` | `base` | `fireworks` | 1 of 1 item | 5 |",
        "",
        "## Not covered",
        "",
        "| what | name | why |",
        "| --- | --- | --- |",
        "| file | `model.gguf` | signed, but not one of the checked models |",
        "| input | other prompts, seeds, settings and machines | only those of the suites ran |",
        "| quality | of the output | compared with what was recorded, not judged |",
        "",
        "## Waivers",
        "",
        "None.",
        "",
        (
            "This page is not signed. Only repro-gate verify shows, with your own policy and keys, "
            "whether to accept this release."
        ),
    ]


def test_what_is_not_covered_is_listed() -> None:
    """Suites that were not signed off, and profiles that were not measured."""
    usual = checkout_of()
    checkout = replace(
        usual,
        matrix=replace(usual.matrix, suites={**usual.matrix.suites, "big": suite_of(name="big")}),
        goldens={**usual.goldens, ("gpu", FOX.id): golden_of(FOX)},
    )

    text = render_markdown(release_of(checkout=checkout))

    assert "| suite | `big` | not signed off |" in text
    assert "| profile | `gpu` | has snapshots, but was not measured |" in text


def test_a_file_that_was_checked_is_covered() -> None:
    """It has the digest of a model; a signature alone says nothing about its output."""
    evidence = evidence_of(artifacts={"tiny.gguf": digest_of("tiny"), "tool.whl": SHA})

    text = render_markdown(release_of(evidence))

    assert "| file | `tiny.gguf` |" not in text
    assert "| file | `tool.whl` | signed, but not one of the checked models |" in text


def test_a_waiver_is_in_the_headline_and_in_a_table() -> None:
    """With its reason and its end."""
    text = render_markdown(release_of(waived()))

    assert "**WARNED: 2 tests of this commit passed; 1 test with waived drift**" in text
    assert "1 of 2 cells" in text
    assert (
        f"| `w-1` | `quick/{FOX.id}/{PROFILE}` | `a tokenizer fix` | 2026-12-13T02:00:00Z | "
        "`https://example.org/1` |"
    ) in text


def test_a_waiver_that_is_none_is_left_out() -> None:
    """Nothing of it can be shown; it is refused elsewhere."""
    broken = waiver_file_of(InvalidJson("", expected="x", found="y"))

    assert "None." in render_markdown(release_of(replace(evidence_of(), waivers=(broken,))))


@pytest.mark.parametrize("fact", ["device.description", "host.cpu"])
def test_a_device_is_shown_as_its_engine_describes_it(fact: str) -> None:
    """A GPU by its name, a CPU otherwise."""
    engine = EngineReport(name="e", profile=PROFILE, facts={fact: "Fast One"})

    text = render_markdown(release_of(evidence_of(file_of(report_of(engines=(engine,))))))

    assert f"| `{PROFILE}` | `Fast One` | `e` |" in text


def test_models_without_facts_and_empty_reports_are_shown() -> None:
    """Nothing of a report is taken for granted."""
    bare = report_of(models={}, engines=(), logprobs=())
    text = render_markdown(release_of(evidence_of(file_of(bare))))
    assert f"| `tiny` | `quick` | `{PROFILE}` | 2 of 2 cells | 6 | `unknown` |" in text
    assert "No machine of ours: hosted models only." in text

    hosted = replace(report_of(), cells=(), suites=("hosted",))
    assert "No tokens were checked." in render_markdown(release_of(evidence_of(file_of(hosted))))


def test_the_html_has_the_same_content() -> None:
    """Cell by cell, without anything that a browser would load or run."""
    release = release_of(waived())

    page = render_html(release)

    cells = [html.unescape(MARKUP.sub("", cell)) for cell in re.findall(r"<td>(.*?)</td>", page)]
    rows = [
        line.strip("| ").split(" | ")
        for line in render_markdown(release).splitlines()
        if line.startswith("| ") and not line.startswith("| ---")
    ]
    heads = re.findall(r"<th>(.*?)</th>", page)
    flat = [cell.strip("`") for row in rows for cell in row]
    assert [cell for cell in flat if cell not in heads] == [
        cell for cell in cells if cell not in heads
    ]
    assert not re.search(r"<(?:script|img|link|iframe)|https?:[^<]*\"", page)


def named(place: str, text: str) -> SignedRelease:
    """Return a release in which one text that others chose is this one."""
    if place == "key":
        return release_of(keys={text: text})
    if place == "reason":
        report = report_of(matched(HAIKU), drifted(FOX))
        waiver = waiver_of(report, reason=text, issue=text)
        return release_of(evidence_of(file_of(report), waivers=[waiver_file_of(waiver)]))
    if place == "version":
        return release_of(evidence_of(file_of(report_of(tool_version=text))))
    engine = EngineReport(name=text, profile=PROFILE, facts={"host.cpu": text})
    return release_of(evidence_of(file_of(report_of(engines=(engine,)))))


@pytest.mark.parametrize("place", ["key", "engine", "version", "reason"])
def test_untrusted_text_cannot_leave_its_cell(place: str) -> None:
    """Neither in Markdown nor in HTML."""
    release = named(place, HOSTILE)

    text, page = render_markdown(release), render_html(release)

    assert len(text.splitlines()) == len(render_markdown(named(place, "x")).splitlines())
    assert "<!--" not in text
    assert MARKUP.sub("", page).count("<") == 1  # that of the document type
    assert r"&lt;script&gt;alert(1)&lt;/script&gt;\n# y" in page


def test_a_refusal_is_four_lines_of_bounded_text() -> None:
    """The condition, what was expected and found, and what to do."""
    refusal = Refusal(
        condition=Condition.TEST,
        about="a\nb",
        expected="e",
        found="f" * 2000,
        remedy="mend it",
    )

    assert list(refusal_lines([refusal])) == [
        r"  test: a\nb",
        "    expected e",
        f"    found {'f' * 1000}... and 1000 more characters",
        "    mend it",
    ]


def test_modes_are_signed_with_their_levels() -> None:
    """A release of models that were checked alone only has no such table."""
    cell = replace(matched(HAIKU), modes=(result_of("alone"), result_of("concurrent-8")))
    page = render_markdown(release_of(evidence_of(file_of(report_of(cell)))))

    assert "## Modes" not in render_markdown(release_of())
    rows = page.split("## Modes")[1].splitlines()[2:6]
    assert rows[0] == "| model | suite | profile | mode | required | result | equal answers |"
    assert rows[3].endswith(" | concurrent-8 | tokens | better | 8/8 bits |")
