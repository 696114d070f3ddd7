"""One page about a signed release, for its manager: as Markdown and as HTML."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import islice
from typing import TypeVar

from repro_gate.core.logprobs.report import LogprobCellReport
from repro_gate.core.outcome import Outcome, outcome_of_verdict
from repro_gate.core.report import CellReport, EngineReport
from repro_gate.core.sign_off.measured import Checkout, NamedTest, Refusal
from repro_gate.core.sign_off.statement import Result, Statement, Waiver, format_time
from repro_gate.core.sign_off.verification import Evidence, tests_of
from repro_gate.core.tokens.golden import MODEL_SHA256
from repro_gate.reports.findings.modes import invariances, mode_table
from repro_gate.reports.text.escape import Escaped, message, one_line
from repro_gate.reports.text.format import plural
from repro_gate.reports.text.markdown import code, document, table

_DEVICE_FACTS = ("device.description", "host.cpu")
"""Of an engine; the first one that it reports describes its device."""
_MODE_COLUMNS = ("mode", "required", "result", "equal answers")
_STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:85em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse}th,td{border:1px solid #bbb;padding:.2em .6em;text-align:left}"
    "code{overflow-wrap:break-word}"
)


class _Data(str):
    """Untrusted text, such as a name or a reason."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class _Section:
    """A table with its heading."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    otherwise: str = "None."
    """The text in place of an empty table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRelease:
    """What the page is about."""

    evidence: Evidence
    checkout: Checkout
    payload: str
    """The sha256 of what is signed."""
    keys: Mapping[str, str]
    """The name of each key by its id, or nothing where its signature was not verified here."""


def render_markdown(release: SignedRelease) -> str:
    """Return the page as Markdown."""
    blocks: list[Sequence[str]] = [["# Release sign-off"], [f"**{_headline(release)}**"]]
    for section in _sections(release):
        rows = [[_markdown(cell) for cell in row] for row in section.rows]
        blocks.append([f"## {section.title}"])
        blocks.append(table(section.header, rows) if rows else [section.otherwise])
    return document([*blocks, [_FOOTER]])


def render_html(release: SignedRelease) -> str:
    """Return the page as HTML that loads nothing."""
    parts = [f"<h1>Release sign-off</h1>\n<p><strong>{_headline(release)}</strong></p>"]
    for section in _sections(release):
        parts.append(f"<h2>{section.title}</h2>")
        parts.append(_html_table(section) if section.rows else f"<p>{section.otherwise}</p>")
    body = "\n".join([*parts, f"<p>{_FOOTER}</p>"])
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>Release sign-off</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def refusal_lines(refused: Iterable[Refusal]) -> Iterator[Escaped]:
    """Yield each unsatisfied condition: what was expected, what was found, and what to do."""
    for found in refused:
        yield one_line(f"  {found.condition.value}: {message(found.about)}")
        yield one_line(f"    expected {message(found.expected)}")
        yield one_line(f"    found {message(found.found)}")
        yield one_line(f"    {message(found.remedy)}")


_FOOTER = (
    "This page is not signed. Only repro-gate verify shows, with your own policy and keys, whether "
    "to accept this release."
)


def _headline(release: SignedRelease) -> str:
    statement = release.evidence.statement
    matching = f"{plural(len(statement.passed), 'test')} of this commit passed"
    if statement.result is Result.PASSED:
        return f"PASSED: {matching}; nothing was waived"
    return f"WARNED: {matching}; {plural(len(statement.warned), 'test')} with waived drift"


def _sections(release: SignedRelease) -> Iterator[_Section]:
    evidence = release.evidence
    statement = evidence.statement
    tests = tests_of(evidence.reports, release.checkout)
    digests = {
        name: facts.get(MODEL_SHA256, "unknown")
        for file in evidence.reports
        for name, facts in file.report.models.items()
    }
    yield _Section(
        "Released",
        ("what", "identity"),
        (
            ("repository", _Data(statement.repository)),
            ("commit", _Data(statement.commit)),
            *((_Data(name), f"sha256 {digest}") for name, digest in statement.artifacts.items()),
            ("evidence", f"sha256 {release.payload}"),
        ),
    )
    yield _Section(
        "Measured on",
        ("profile", "device", "engine", "measured", "repro-gate", "report"),
        tuple(dict.fromkeys(_machines(evidence))),
        "No machine of ours: hosted models only.",
    )
    signers = [
        (_Data(name or "claimed, not verified here"), _Data(key))
        for key, name in release.keys.items()
    ]
    yield _Section("Signed by", ("key", "key id"), signers)
    yield _Section(
        "Models",
        ("model", "suite", "profile", "match", "runs", "sha256"),
        [
            (
                *map(_Data, (model, suite, profile)),
                f"{_agreeing(cells)} of {plural(len(cells), 'cell')}",
                str(sum(cell.runs for cell in cells)),
                _Data(digests.get(model, "unknown")),
            )
            for (model, suite, profile), cells in _groups(
                tests, CellReport, lambda found: found.cell.model
            )
        ],
        "No tokens were checked.",
    )
    modes = list(_modes(tests))
    if modes:
        yield _Section("Modes", ("model", "suite", "profile", *_MODE_COLUMNS), modes)
    yield _Section(
        "Log-probabilities",
        ("suite", "policy", "source", "agree", "draws"),
        [
            (
                *map(_Data, (suite, policy, source)),
                f"{_agreeing(cells)} of {plural(len(cells), 'item')}",
                str(sum(len(cell.totals) for cell in cells)),
            )
            for (policy, suite, source), cells in _groups(
                tests, LogprobCellReport, lambda found: found.cell.policy.name
            )
        ],
        "None were checked.",
    )
    yield _Section(
        "Not covered",
        ("what", "name", "why"),
        (*_uncovered(release.checkout, tests), *_not_judged(statement, digests.values())),
    )
    waivers = [file.waiver for file in evidence.waivers if isinstance(file.waiver, Waiver)]
    yield _Section(
        "Waivers",
        ("waiver", "test", "reason", "until", "issue"),
        [
            (
                *map(_Data, (waiver.id, waiver.test, waiver.reason)),
                format_time(waiver.not_after),
                _Data(waiver.issue or "none"),
            )
            for waiver in waivers
        ],
    )


def _modes(tests: Iterable[NamedTest]) -> Iterator[tuple[str, ...]]:
    groups = _groups(tests, CellReport, lambda found: found.cell.model)
    for (model, suite, profile), cells in groups:
        for row in invariances(cells):
            for words in islice(mode_table(row), 1, None):
                yield *map(_Data, (model, suite, profile)), *words[: len(_MODE_COLUMNS)]


def _machines(evidence: Evidence) -> Iterator[tuple[str, ...]]:
    for file in evidence.reports:
        for engine in file.report.engines:
            yield (
                *map(_Data, (engine.profile, _device(engine), engine.name)),
                format_time(file.measured_at),
                *map(_Data, (file.report.tool_version, file.name)),
            )


def _device(engine: EngineReport) -> str:
    found = (engine.facts[name] for name in _DEVICE_FACTS if name in engine.facts)
    return next(found, "not reported")


_Cell = TypeVar("_Cell", bound=CellReport | LogprobCellReport)


def _groups(
    tests: Iterable[NamedTest], kind: type[_Cell], subject: Callable[[_Cell], str]
) -> Iterable[tuple[tuple[str, str, str], list[_Cell]]]:
    """Return the cells of one kind by their subject, their suite, and their profile or source."""
    groups: dict[tuple[str, str, str], list[_Cell]] = {}
    for test in tests:
        if isinstance(test.cell, kind):
            key = (subject(test.cell), *_parts(test.name))
            groups.setdefault(key, []).append(test.cell)
    return groups.items()


def _agreeing(cells: Iterable[CellReport | LogprobCellReport]) -> int:
    return sum(outcome_of_verdict(cell.verdict) is Outcome.PASSED for cell in cells)


def _uncovered(checkout: Checkout, tests: Iterable[NamedTest]) -> Iterator[tuple[str, ...]]:
    """Yield the suites that were not signed off, and the places that have snapshots only."""
    parts = [_parts(test.name) for test in tests]
    suites, places = {suite for suite, _ in parts}, {place for _, place in parts}
    matrix = checkout.matrix
    for suite in (*matrix.suites, *matrix.logprob_suites):
        if suite not in suites:
            yield "suite", _Data(suite), "not signed off"
    recorded = {place for place, _ in (*checkout.goldens, *checkout.baselines)}
    for place in sorted(recorded - places):
        yield "profile", _Data(place), "has snapshots, but was not measured"


def _not_judged(statement: Statement, models: Collection[str]) -> Iterator[tuple[str, ...]]:
    """Yield the files that are no checked model, and what no release covers."""
    for name, digest in statement.artifacts.items():
        if digest not in models:
            yield "file", _Data(name), "signed, but not one of the checked models"
    yield "input", "other prompts, seeds, settings and machines", "only those of the suites ran"
    yield "quality", "of the output", "compared with what was recorded, not judged"


def _parts(test: str) -> tuple[str, str]:
    """Return the suite of a test, and its profile or source."""
    return test.partition("/")[0], test.rpartition("/")[2]


def _markdown(cell: str) -> str:
    return code(cell) if isinstance(cell, _Data) else cell


def _html_table(section: _Section) -> str:
    head = "".join(f"<th>{name}</th>" for name in section.header)
    rows = ("".join(f"<td>{_html(cell)}</td>" for cell in row) for row in section.rows)
    body = "\n".join(f"<tr>{row}</tr>" for row in (head, *rows))
    return f"<table>\n{body}\n</table>"


def _html(cell: str) -> str:
    text = escape(one_line(cell))
    return f"<code>{text}</code>" if isinstance(cell, _Data) else text
