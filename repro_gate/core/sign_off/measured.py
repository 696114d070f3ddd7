"""What reports prove about a commit: its tests, their verdicts, and what is missing.

The signer refuses to sign with these functions, and the recipient refuses to accept with the same:
nothing in a statement is believed that can be computed again.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from itertools import chain, zip_longest

from repro_gate.core.engines import ModelSpec
from repro_gate.core.guards import require_sha256
from repro_gate.core.logprobs.baseline import Baseline
from repro_gate.core.logprobs.policy import LogprobCell, LogprobSuite
from repro_gate.core.logprobs.report import LogprobCellReport, LogprobReport
from repro_gate.core.logprobs.verdicts import Agrees, Equivalence, Shifted
from repro_gate.core.matrix import Matrix, Suite
from repro_gate.core.outcome import Outcome, decide, outcome_of_verdict
from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.sign_off.policy import listed
from repro_gate.core.sign_off.statement import (
    AnyCell,
    Entry,
    Kind,
    finding_of,
    format_time,
    is_comparable,
)
from repro_gate.core.text import escape_text
from repro_gate.core.tokens.cell import Cell, Factor
from repro_gate.core.tokens.controls import applies
from repro_gate.core.tokens.generation import first_divergence
from repro_gate.core.tokens.golden import MODEL_SHA256, Golden
from repro_gate.core.tokens.verdicts import Drift, Match


class Condition(StrEnum):
    """What evidence has to satisfy, in the order in which it is verified."""

    SIGNATURES = "signatures"
    STATEMENT = "statement"
    REPOSITORY = "repository"
    COMMIT = "commit"
    ARTIFACT = "artifact"
    CONFIGURATION = "configuration"
    REPORT = "report"
    MODEL = "model"
    CONTROL = "control"
    TEST = "test"
    DECISION = "decision"
    RESULT = "result"
    REQUIRED = "required"
    AGE = "age"
    WAIVER = "waiver"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A condition that is not satisfied."""

    condition: Condition
    about: str
    """What it is about, such as a file or a test; untrusted text, as is `found`."""
    expected: str
    found: str
    remedy: str
    """What to do, as one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """What a commit contains, read from its objects and never from a work tree."""

    commit: str
    matrix: Matrix
    entries: tuple[Entry, ...]
    """The matrix file, goldens, baselines and pins; a missing folder or file has no entry."""
    goldens: Mapping[tuple[str, str], Golden]
    """By profile and cell id."""
    baselines: Mapping[tuple[str, str], Baseline]
    """By source and cell id."""
    pins: Mapping[str, str]
    """The sha256 of models that the matrix does not pin."""

    def pin_of(self, model: ModelSpec) -> str | None:
        """Return the sha256 that a model has to have; None when nothing pins it."""
        return model.sha256 or self.pins.get(model.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFile:
    """A report.json of a finished check."""

    name: str
    """Of the file in the evidence folder."""
    sha256: str
    """Of its bytes."""
    report: GateReport

    def __post_init__(self) -> None:
        require_sha256(self.sha256)
        _ = self.measured_at

    @property
    def measured_at(self) -> datetime:
        """When the check started; raises ValueError for a text that is no time."""
        moment = datetime.fromisoformat(self.report.started_at)
        if moment.tzinfo is None or not is_comparable(moment):
            raise ValueError("started_at must be a time of this age, with its zone")
        return moment.astimezone(UTC)

    def entry(self, *, signed_at: datetime) -> Entry:
        """Return the configuration entry of this report."""
        report = self.report
        engines = [
            {
                "name": escape_text(engine.name),
                "profile": engine.profile,
                "facts": _facts(engine.facts),
            }
            for engine in report.engines
        ]
        models = [
            {"name": escape_text(name), "sha256": facts.get(MODEL_SHA256, "")}
            for name, facts in sorted(report.models.items())
        ]
        counts = Counter(report.counts)
        for part in report.logprobs:
            counts.update(part.counts)
        return Entry(
            kind=Kind.REPORT,
            name=self.name,
            digest={"sha256": self.sha256},
            annotations={
                "time": format_time(self.measured_at),
                "signedAt": format_time(signed_at),
                "toolVersion": escape_text(report.tool_version),
                "suites": list(map(escape_text, report.suites)),
                "profiles": sorted(map(escape_text, profiles_of(report))),
                "counts": dict(sorted(counts.items())),
                "engines": engines,
                "models": models,
            },
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedTest:
    """One test of a report, by its whole name."""

    name: str
    """`SUITE/CELL-ID/PROFILE`, for log-probabilities `SUITE/CELL-ID/SOURCE`."""
    cell: AnyCell

    @property
    def has_passed(self) -> bool:
        """Whether it agrees with what is committed."""
        return outcome_of_verdict(self.cell.verdict) is Outcome.PASSED

    @property
    def finding(self) -> str | None:
        """The sha256 of the drift, which a waiver is bound to; None where there is none."""
        return finding_of(self.name, self.cell)


def planned_tests(matrix: Matrix, suite: str, profiles: Collection[str]) -> tuple[str, ...]:
    """Return the names of the tests of a suite on some profiles; none for an unknown suite."""
    return tuple(
        chain(
            (
                f"{suite}/{cell.id}/{profile}"
                for cell in _token_cells(matrix, suite)
                for profile in profiles
            ),
            (
                f"{suite}/{cell.id}/{source}"
                for cell in _logprob_cells(matrix, suite)
                for source in _sources(cell, profiles)
            ),
        )
    )


def profiles_of(report: GateReport) -> frozenset[str]:
    """Return the profiles and sources that a report has results of."""
    tokens = {cell.profile for cell in report.cells if cell.profile is not None}
    drawn = {cell.source for part in report.logprobs for cell in part.cells if cell.source}
    return frozenset(tokens | drawn)


def named_tests(report: GateReport, matrix: Matrix) -> Iterator[NamedTest]:
    """Yield the tests of a report; a cell of several suites is a test of each.

    A report lists the suite with the most runs for such a cell, so a suite all of whose cells are
    there counts too.
    """
    by_id = {cell.id: cell for cell in report.cells}
    for suite in _suites_in(report, matrix):
        for cell in suite.cells:
            if cell.id in by_id:
                found = by_id[cell.id]
                yield NamedTest(name=f"{suite.name}/{cell.id}/{found.profile}", cell=found)
    for part in report.logprobs:
        for drawn in part.cells:
            yield NamedTest(name=f"{part.suite}/{drawn.id}/{drawn.source}", cell=drawn)


def problems_of(
    file: ReportFile, checkout: Checkout, *, waived: Collection[str] = ()
) -> Iterator[Refusal]:
    """Yield everything that a report lacks to prove that the commit is as it has to be.

    Args:
        file: the report.
        checkout: the commit.
        waived: names of tests whose drift is waived.
    """
    report, matrix = file.report, checkout.matrix
    if report.commit != checkout.commit:
        found = escape_text(report.commit or "none, or changed files")
        yield _incomplete(file, "the commit", checkout.commit, found)
    yield from _unplanned(file, matrix)
    tests = list(named_tests(report, matrix))
    yield from _verdicts(tests, waived)
    for suite in _suites_in(report, matrix):
        yield from _token_suite(file, suite, checkout)
    for part in report.logprobs:
        if part.suite in matrix.logprob_suites:
            yield from _logprob_suite(file, part, checkout)
    yield from _models(report, checkout)
    yield from _controls(report, matrix)
    yield from _decision(file, tests, waived)


def _unplanned(file: ReportFile, matrix: Matrix) -> Iterator[Refusal]:
    report = file.report
    known = {*matrix.suites, *matrix.logprob_suites}
    suites = {*report.suites, *(part.suite for part in report.logprobs)} - known
    ids = {cell.id for suite in _suites_in(report, matrix) for cell in suite.cells}
    cells = {cell.id for cell in report.cells} - ids
    if suites or cells:
        yield Refusal(
            condition=Condition.REPORT,
            about=file.name,
            expected="only suites and cells that the matrix of the commit plans",
            found=listed(suites | cells),
            remedy="check the commit with its own matrix",
        )
    if len(report.cells) != len({cell.id for cell in report.cells}):
        yield Refusal(
            condition=Condition.REPORT,
            about=file.name,
            expected="each cell once",
            found="a cell twice",
            remedy="measure again; a report of repro-gate never has that",
        )


def _verdicts(tests: Iterable[NamedTest], waived: Collection[str]) -> Iterator[Refusal]:
    for test in tests:
        is_waived = test.name in waived and test.finding is not None
        if not test.has_passed and not is_waived:
            yield Refusal(
                condition=Condition.TEST,
                about=test.name,
                expected="agreement with what is committed",
                found=test.cell.verdict.word,
                remedy=(
                    "see the report; drift can be waived with repro-gate waive"
                    if test.finding is not None
                    else "see the report; this cannot be waived"
                ),
            )


def _token_suite(file: ReportFile, suite: Suite, checkout: Checkout) -> Iterator[Refusal]:
    """Yield the cells of a suite that are missing, incomplete, or not compared with the golden."""
    by_id = {cell.id: cell for cell in file.report.cells}
    for cell in suite.cells:
        found = by_id.get(cell.id)
        name = f"{suite.name}/{cell.id}"
        if found is None:
            yield _incomplete(file, name, "it, as the matrix of the commit plans it", "none")
            continue
        if found.cell != cell:
            yield _incomplete(file, name, "the definition of the commit", "another one")
        if found.runs < suite.runs or found.unfinished is not None:
            yield _incomplete(file, name, f"{suite.runs} runs", str(found.runs))
        yield from _golden(name, found, cell, checkout)


def _incomplete(file: ReportFile, name: str, expected: str, found: str) -> Refusal:
    return Refusal(
        condition=Condition.REPORT,
        about=f"{file.name}: {name}",
        expected=expected,
        found=found,
        remedy="check the whole suite at this commit, without --only and --runs",
    )


def _golden(name: str, found: CellReport, cell: Cell, checkout: Checkout) -> Iterator[Refusal]:
    """Yield a verdict that does not follow from the committed golden."""
    verdict = found.verdict
    if isinstance(verdict, Match):
        compared = found.generation
    elif isinstance(verdict, Drift):
        compared = verdict.golden.generation
    else:
        return
    golden = checkout.goldens.get((str(found.profile), cell.id))
    wrong = None
    if golden is None:
        wrong = "none for this profile"
    elif golden.cell != cell:
        wrong = "one of another definition of the cell"
    elif compared is None or first_divergence(golden.generation, compared) is not None:
        wrong = "another one than the report was judged by"
    if wrong is not None:
        yield Refusal(
            condition=Condition.TEST,
            about=f"{name}/{found.profile}",
            expected="a golden in the commit from which the verdict follows",
            found=wrong,
            remedy="check again at this commit, with a clean work tree",
        )


def _logprob_suite(file: ReportFile, part: LogprobReport, checkout: Checkout) -> Iterator[Refusal]:
    suite = checkout.matrix.logprob_suites[part.suite]
    if part.tolerance != suite.tolerance:
        yield _incomplete(file, part.suite, "the tolerance of the commit", "another one")
    for planned, drawn in zip_longest(suite.cells, part.cells):
        if drawn is None:
            yield _incomplete(file, f"{part.suite}/{planned.id}", "its result", "none")
        elif planned is None or planned.definition != drawn.cell.definition:
            yield _incomplete(file, f"{part.suite}/{drawn.id}", "the plan of the commit", "more")
        elif not drawn.totals:
            yield _incomplete(file, f"{part.suite}/{drawn.id}", "draws", "none")
        elif outcome_of_verdict(drawn.verdict) is Outcome.PASSED:
            yield from _baseline(part.suite, drawn, checkout)


def _baseline(suite: str, drawn: LogprobCellReport, checkout: Checkout) -> Iterator[Refusal]:
    """Yield a verdict that was reached with other draws than those of the committed baseline."""
    baseline = checkout.baselines.get((str(drawn.source), drawn.id))
    if baseline is None or baseline.totals != drawn.calibration:
        yield Refusal(
            condition=Condition.TEST,
            about=f"{suite}/{drawn.id}/{drawn.source}",
            expected="a baseline in the commit by which it was judged",
            found="none for this source" if baseline is None else "another one",
            remedy="check again at this commit, with a clean work tree",
        )


def _models(report: GateReport, checkout: Checkout) -> Iterator[Refusal]:
    """Yield models that are not those that the commit pins."""
    used: dict[str, set[str | None]] = {}
    for cell in report.cells:
        index = cell.provenance
        digest = None if index is None else report.provenances[index].get(MODEL_SHA256)
        used.setdefault(cell.cell.model, set()).add(digest)
    for part in report.logprobs:
        for drawn in part.cells:
            if drawn.cell.policy.local_model is not None:
                used.setdefault(drawn.cell.policy.model, set())
    for name, digests in used.items():
        model = checkout.matrix.models.get(name)
        pin = None if model is None else checkout.pin_of(model)
        if pin is None or digests - {pin}:
            yield Refusal(
                condition=Condition.MODEL,
                about=escape_text(name),
                expected="a model that the commit pins by sha256" if pin is None else pin,
                found=listed({str(digest) for digest in digests}),
                remedy="pin the model in the matrix or in models.json, and check again",
            )


def _controls(report: GateReport, matrix: Matrix) -> Iterator[Refusal]:
    """Yield models of which no control shows that the check could have failed."""
    shown = {(control.model, control.contrast.factor) for control in report.controls}
    cells = [cell.cell for cell in report.cells]
    for model in sorted({cell.model for cell in cells} & matrix.models.keys()):
        mine = [cell for cell in cells if cell.model == model]
        for factor in Factor:
            if applies(factor, mine) and (model, factor) not in shown:
                yield Refusal(
                    condition=Condition.CONTROL,
                    about=model,
                    expected=f"a control that changes its {factor.value}",
                    found="none",
                    remedy="check the whole suite again",
                )


def outcome_of(report: GateReport, tests: Iterable[NamedTest], waived: Collection[str]) -> Outcome:
    """Return the outcome of a report in which some tests' drift is waived."""
    names: dict[int, list[str]] = {}
    for test in tests:
        names.setdefault(id(test.cell), []).append(test.name)
    forgiven = {cell for cell, mine in names.items() if set(mine) <= set(waived)}
    return decide(_forgiving(report, forgiven))


def _decision(
    file: ReportFile, tests: Iterable[NamedTest], waived: Collection[str]
) -> Iterator[Refusal]:
    """Yield the decision, made again from the verdicts, unless it is a pass."""
    outcome = outcome_of(file.report, tests, waived)
    if outcome is not Outcome.PASSED:
        yield Refusal(
            condition=Condition.DECISION,
            about=file.name,
            expected="a check that passes as a whole",
            found=f"{outcome.value}: {listed(list(_reasons(file.report)), limit=6)}",
            remedy="read the report, mend the cause and check again",
        )


def _reasons(report: GateReport) -> Iterator[str]:
    yield from (f"orphaned golden {orphan.id}" for orphan in report.orphans)
    for control in report.controls:
        if control.failed or control.problem is not None:
            yield f"control of {control.contrast.factor.value} of {control.model}"
    for part in report.logprobs:
        yield f"suite {part.suite}: {part.suite_test.verdict.value}"
    if report.interrupted:
        yield "interrupted"
    yield from (f"{count} {word}" for word, count in report.counts.items())


def _forgiving(report: GateReport, forgiven: Collection[int]) -> GateReport:
    """Return the report with agreement in place of waived drift."""

    def tokens(cell: CellReport) -> CellReport:
        is_waived = id(cell) in forgiven and isinstance(cell.verdict, Drift)
        return replace(cell, verdict=Match()) if is_waived else cell

    def drawn(cell: LogprobCellReport) -> LogprobCellReport:
        if id(cell) not in forgiven or not isinstance(cell.verdict, Shifted):
            return cell
        return replace(cell, verdict=Agrees(equivalence=Equivalence.NOT_SHOWN))

    return replace(
        report,
        cells=tuple(map(tokens, report.cells)),
        logprobs=tuple(
            replace(part, cells=tuple(map(drawn, part.cells))) for part in report.logprobs
        ),
    )


def _suites_in(report: GateReport, matrix: Matrix) -> list[Suite]:
    ids = {cell.id for cell in report.cells}
    return [
        suite
        for name, suite in matrix.suites.items()
        if name in report.suites or ids.issuperset(cell.id for cell in suite.cells)
    ]


def _token_cells(matrix: Matrix, suite: str) -> tuple[Cell, ...]:
    return matrix.suites[suite].cells if suite in matrix.suites else ()


def _logprob_cells(matrix: Matrix, suite: str) -> tuple[LogprobCell, ...]:
    found: LogprobSuite | None = matrix.logprob_suites.get(suite)
    return () if found is None else found.cells


def _sources(cell: LogprobCell, profiles: Collection[str]) -> Collection[str]:
    """Return where the baseline of a cell holds: on each machine, or at its provider."""
    provider = cell.policy.provider
    return profiles if provider.is_local else (provider.name,)


def _facts(facts: Mapping[str, str]) -> list[str]:
    return sorted(escape_text(f"{name}={value}") for name, value in facts.items())
