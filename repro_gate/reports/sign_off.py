"""One page about a signed release, for its manager: as Markdown and as HTML."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from repro_gate.core.report import EngineReport
from repro_gate.core.sign_off.measured import Checkout, NamedTest, Refusal
from repro_gate.core.sign_off.statement import Result, Waiver, format_time
from repro_gate.core.sign_off.verification import Evidence, tests_of
from repro_gate.core.tokens.golden import MODEL_SHA256
from repro_gate.reports.text.escape import Escaped, message, one_line
from repro_gate.reports.text.format import plural
from repro_gate.reports.text.markdown import code, document, table

_DEVICE_FACTS = ("device.description", "host.cpu")
"""Of an engine; the first one that it reports describes its device."""
_STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:70em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse}th,td{border:1px solid #bbb;padding:.2em .6em;text-align:left}"
    "code{overflow-wrap:anywhere}"
)


class _Data(str):
    """Untrusted text, such as a name or a reason."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Section:
    """A table with its heading."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
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
    """The name of each signer's key by its id, or nothing where it is not known here."""


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
    yield _Section(
        title="Released",
        header=("what", "identity"),
        rows=(
            ("repository", _Data(statement.repository)),
            ("commit", _Data(statement.commit)),
            *((_Data(name), f"sha256 {digest}") for name, digest in statement.artifacts.items()),
            ("evidence", f"sha256 {release.payload}"),
        ),
    )
    yield _Section(
        title="Measured on",
        header=("profile", "device", "engine", "measured", "repro-gate", "report"),
        rows=tuple(dict.fromkeys(_machines(evidence))),
        otherwise="No machine of ours: hosted models only.",
    )
    yield _Section(
        title="Signed by",
        header=("key", "key id"),
        rows=tuple(
            (_Data(name or "unknown here"), _Data(key)) for key, name in release.keys.items()
        ),
    )
    yield _Section(
        title="Models",
        header=("model", "suite", "profile", "match", "runs", "sha256"),
        rows=tuple(_models(evidence, tests)),
        otherwise="No tokens were checked.",
    )
    yield _Section(
        title="Log-probabilities",
        header=("suite", "policy", "source", "agree", "draws"),
        rows=tuple(_logprobs(evidence)),
        otherwise="None were checked.",
    )
    yield _Section(
        title="Not covered",
        header=("what", "name", "why"),
        rows=tuple(_uncovered(release.checkout, tests)),
        otherwise="Nothing: every suite of the matrix, on every profile with snapshots.",
    )
    yield _Section(
        title="Waivers",
        header=("waiver", "test", "reason", "until", "issue"),
        rows=tuple(_waivers(evidence)),
    )


def _machines(evidence: Evidence) -> Iterator[tuple[str, ...]]:
    for file in evidence.reports:
        for engine in file.report.engines:
            yield (
                _Data(engine.profile),
                _Data(_device(engine)),
                _Data(engine.name),
                format_time(file.measured_at),
                _Data(file.report.tool_version),
                _Data(file.name),
            )


def _device(engine: EngineReport) -> str:
    found = (engine.facts[name] for name in _DEVICE_FACTS if name in engine.facts)
    return next(found, "not reported")


def _models(evidence: Evidence, tests: Sequence[NamedTest]) -> Iterator[tuple[str, ...]]:
    digests = {
        name: facts.get(MODEL_SHA256, "unknown")
        for file in evidence.reports
        for name, facts in file.report.models.items()
    }
    cells = {id(cell): cell for file in evidence.reports for cell in file.report.cells}
    groups: dict[tuple[str, str, str], list[NamedTest]] = {}
    for test in tests:
        if id(test.cell) in cells:
            suite, profile = _parts(test.name)
            model = cells[id(test.cell)].cell.model
            groups.setdefault((model, suite, profile), []).append(test)
    for (model, suite, profile), mine in groups.items():
        matching = sum(test.has_passed for test in mine)
        yield (
            _Data(model),
            _Data(suite),
            _Data(profile),
            f"{matching} of {plural(len(mine), 'cell')}",
            str(sum(cells[id(test.cell)].runs for test in mine)),
            _Data(digests.get(model, "unknown")),
        )


def _logprobs(evidence: Evidence) -> Iterator[tuple[str, ...]]:
    for part in (part for file in evidence.reports for part in file.report.logprobs):
        groups: dict[tuple[str, str], list[NamedTest]] = {}
        draws: dict[tuple[str, str], int] = {}
        for cell in part.cells:
            key = (cell.cell.policy.name, cell.source or "unknown")
            groups.setdefault(key, []).append(NamedTest(name=cell.id, cell=cell))
            draws[key] = draws.get(key, 0) + len(cell.totals)
        for (policy, source), mine in groups.items():
            agreeing = sum(test.has_passed for test in mine)
            yield (
                _Data(part.suite),
                _Data(policy),
                _Data(source),
                f"{agreeing} of {plural(len(mine), 'item')}",
                str(draws[policy, source]),
            )


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


def _waivers(evidence: Evidence) -> Iterator[tuple[str, ...]]:
    for file in evidence.waivers:
        if isinstance(file.waiver, Waiver):
            waiver = file.waiver
            yield (
                _Data(waiver.id),
                _Data(waiver.test),
                _Data(waiver.reason),
                format_time(waiver.not_after),
                _Data(waiver.issue or "none"),
            )


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
