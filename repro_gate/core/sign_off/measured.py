"""What reports prove about a commit: its tests, their verdicts, and what is missing.

The signer refuses to sign with these functions, and the recipient refuses to accept with the same:
nothing in a statement is believed that can be computed again.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from itertools import zip_longest

from repro_gate.core.engines import LORA_FACTS, FileSpec, ModelSpec
from repro_gate.core.guards import require_sha256
from repro_gate.core.logprobs.baseline import Baseline
from repro_gate.core.logprobs.policy import LogprobCell
from repro_gate.core.logprobs.report import LogprobCellReport, LogprobReport
from repro_gate.core.matrix import Evidence, Matrix, Suite
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
from repro_gate.core.tokens.golden import MODEL_SHA256, Facts, Golden
from repro_gate.core.tokens.verdicts import Drift, Match


class Condition(StrEnum):
    """What evidence has to satisfy, in the order in which it is verified."""

    SIGNATURES = "signatures"
    STATEMENT = "statement"
    REPOSITORY = "repository"
    COMMIT = "commit"
    ARTIFACT = "artifact"
    CONFIGURATION = "configuration"
    WAIVER = "waiver"
    REPORT = "report"
    MODEL = "model"
    CONTROL = "control"
    TEST = "test"
    DECISION = "decision"
    RESULT = "result"
    REQUIRED = "required"
    AGE = "age"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A condition that is not satisfied."""

    about: str
    """What it is about, such as a file or a test; untrusted text, as is `found`."""
    expected: str
    found: str
    _: KW_ONLY
    condition: Condition
    remedy: str
    """What to do, as one sentence."""


def refusing(condition: Condition, remedy: str) -> partial[Refusal]:
    """Return what makes refusals of one kind, of `about`, `expected`, `found` or another remedy."""
    return partial(Refusal, condition=condition, remedy=remedy)


_incomplete = refusing(
    Condition.REPORT, "check the whole suite at this commit, without --only and --runs"
)
_unplanned = refusing(
    Condition.REPORT,
    "check the commit with its own matrix; a report of repro-gate has each cell once",
)
_test = partial(Refusal, condition=Condition.TEST)
_other_snapshot = partial(_test, remedy="check again at this commit, with a clean work tree")
_model = refusing(
    Condition.MODEL,
    "pin its sha256 in the matrix or in models.json of the snapshots, and check again",
)
_control = refusing(Condition.CONTROL, "check the whole suite again")
_decision = refusing(Condition.DECISION, "read the report, mend the cause and check again")


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

    def pin_of(self, file: FileSpec) -> str | None:
        """Return the sha256 that a file has to have; None when nothing pins it."""
        return file.sha256 or self.pins.get(file.key)


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
        counts = Counter(report.counts)
        for part in report.logprobs:
            counts.update(part.counts)
        annotations = {
            "time": format_time(self.measured_at),
            "signedAt": format_time(signed_at),
            "toolVersion": escape_text(report.tool_version),
            "suites": list(map(escape_text, report.suites)),
            "profiles": sorted(map(escape_text, profiles_of(report))),
            "counts": dict(sorted(counts.items())),
            "engines": [
                {"name": escape_text(one.name), "profile": one.profile, "facts": _facts(one.facts)}
                for one in report.engines
            ],
            "models": [
                {"name": escape_text(name), "sha256": facts.get(MODEL_SHA256, "")}
                for name, facts in sorted(report.models.items())
            ],
            **({"modes": modes} if (modes := _modes(report)) else {}),
        }
        digest = {"sha256": self.sha256}
        return Entry(kind=Kind.REPORT, name=self.name, digest=digest, annotations=annotations)


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

    def is_waived(self, waived: Collection[str]) -> bool:
        """Return whether it is drift, and among the names of waived tests."""
        return self.name in waived and self.finding is not None


def planned_cells(matrix: Matrix, *suites: str) -> tuple[list[Cell], list[LogprobCell]]:
    """Return the cells of suites, of tokens and of log-probabilities; none of an unknown suite."""
    tokens = (suite for name, suite in matrix.suites.items() if name in suites)
    drawn = (suite for name, suite in matrix.logprob_suites.items() if name in suites)
    return [cell for suite in tokens for cell in suite.cells], [
        cell for suite in drawn for cell in suite.cells
    ]


def planned_tests(matrix: Matrix, suite: str, profiles: Collection[str]) -> tuple[str, ...]:
    """Return the names of the tests of a suite on some profiles; none for an unknown suite.

    Log-probabilities hold on each machine, or at their provider.
    """
    tokens, drawn = planned_cells(matrix, suite)
    places = [(cell.id, profiles) for cell in tokens]
    for cell in drawn:
        provider = cell.policy.provider
        places.append((cell.id, profiles if provider.is_local else (provider.name,)))
    return tuple(f"{suite}/{cell}/{place}" for cell, found in places for place in found)


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
        yield _incomplete(f"{file.name}: the commit", checkout.commit, found)
    yield from _beyond_the_plan(file, matrix)
    tests = list(named_tests(report, matrix))
    for test in tests:
        if not test.has_passed and not test.is_waived(waived):
            is_drift = test.finding is not None
            how = "drift can be waived with repro-gate waive" if is_drift else "it cannot be waived"
            expected, found = "agreement with what is committed", test.cell.verdict.word
            yield _test(test.name, expected, found, remedy=f"see the report; {how}")
    for suite in _suites_in(report, matrix):
        yield from _token_suite(file, suite, checkout)
    for part in report.logprobs:
        if part.suite in matrix.logprob_suites:
            yield from _logprob_suite(file, part, checkout)
    yield from _models(report, checkout)
    yield from _controls(report, matrix)
    outcome = outcome_of(report, tests, waived)
    if outcome is not Outcome.PASSED:
        found = f"{outcome.value}: {listed(list(_reasons(report)), limit=6)}"
        yield _decision(file.name, "a check that passes as a whole", found)


def _beyond_the_plan(file: ReportFile, matrix: Matrix) -> Iterator[Refusal]:
    report = file.report
    cells = Counter(cell.id for cell in report.cells)
    planned = {cell.id for suite in _suites_in(report, matrix) for cell in suite.cells}
    suites = {*report.suites, *(part.suite for part in report.logprobs)}
    unknown = (suites - {*matrix.suites, *matrix.logprob_suites}) | (cells.keys() - planned)
    if unknown:
        expected = "only suites and cells that the matrix of the commit plans"
        yield _unplanned(file.name, expected, listed(unknown))
    if cells.total() > len(cells):
        yield _unplanned(file.name, "each cell once", "a cell twice")


def _token_suite(file: ReportFile, suite: Suite, checkout: Checkout) -> Iterator[Refusal]:
    """Yield the cells of a suite that are missing, incomplete, or not compared with the golden."""
    by_id = {cell.id: cell for cell in file.report.cells}
    for cell in suite.cells:
        found = by_id.get(cell.id)
        name = f"{suite.name}/{cell.id}"
        about = f"{file.name}: {name}"
        if found is None:
            yield _incomplete(about, "it, as the matrix of the commit plans it", "none")
            continue
        if found.cell != cell:
            yield _incomplete(about, "the definition of the commit", "another one")
        if found.runs < suite.repeated or found.unfinished is not None:
            yield _incomplete(about, f"{suite.repeated} runs", str(found.runs))
        yield from _milder_modes(about, found, suite)
        if suite.evidence is Evidence.LOGITS and found.generation and not found.generation.logits:
            yield _incomplete(about, "the logits, which the commit compares", "none")
        other = _other_golden(found, cell, checkout)
        if other is not None:
            expected = "a golden in the commit from which the verdict follows"
            yield _other_snapshot(f"{name}/{found.profile}", expected, other)


def _milder_modes(about: str, found: CellReport, suite: Suite) -> Iterator[Refusal]:
    """Yield the modes in which less was required than the commit requires."""
    required = {result.mode: result.level for result in found.modes}
    for mode, level in suite.modes.items():
        if mode not in required or required[mode].rank < level.rank:
            shown = required.get(mode, "none")
            yield _incomplete(f"{about}: {mode}", f"the level {level}", shown)


def _other_golden(found: CellReport, cell: Cell, checkout: Checkout) -> str | None:
    """Return why a verdict does not follow from the committed golden, or None if it does."""
    match found.verdict:
        case Match():
            compared = found.generation
        case Drift(golden=earlier):
            compared = earlier.generation
        case _:
            return None
    golden = checkout.goldens.get((str(found.profile), cell.id))
    if golden is None:
        return "none for this profile"
    if golden.cell != cell:
        return "one of another definition of the cell"
    if compared is None or first_divergence(golden.generation, compared) is not None:
        return "another one than the report was judged by"
    if golden.generation.lacks_logits_of(compared):
        return "one without the logits that were compared"
    return None


def _logprob_suite(file: ReportFile, part: LogprobReport, checkout: Checkout) -> Iterator[Refusal]:
    suite = checkout.matrix.logprob_suites[part.suite]
    about = f"{file.name}: {part.suite}"
    if part.tolerance != suite.tolerance:
        yield _incomplete(about, "the tolerance of the commit", "another one")
    for planned, drawn in zip_longest(suite.cells, part.cells):
        if drawn is None:
            yield _incomplete(f"{about}/{planned.id}", "its result", "none")
        elif planned is None or planned.definition != drawn.cell.definition:
            yield _incomplete(f"{about}/{drawn.id}", "the plan of the commit", "more")
        elif not drawn.totals:
            yield _incomplete(f"{about}/{drawn.id}", "draws", "none")
        elif outcome_of_verdict(drawn.verdict) is Outcome.PASSED:
            yield from _other_baseline(part.suite, drawn, checkout)


def _other_baseline(suite: str, drawn: LogprobCellReport, checkout: Checkout) -> Iterator[Refusal]:
    """Yield a verdict that was reached with other draws than those of the committed baseline."""
    baseline = checkout.baselines.get((str(drawn.source), drawn.id))
    if baseline is None or baseline.totals != drawn.calibration:
        name = f"{suite}/{drawn.id}/{drawn.source}"
        found = "none for this source" if baseline is None else "another one"
        yield _other_snapshot(name, "a baseline in the commit by which it was judged", found)


def _models(report: GateReport, checkout: Checkout) -> Iterator[Refusal]:
    """Yield models that are not those that the commit pins."""
    used: dict[str, set[str]] = {}
    for cell in report.cells:
        index = cell.provenance
        digest = None if index is None else report.provenances[index].get(MODEL_SHA256)
        used.setdefault(cell.cell.model, set()).add(digest or "unknown")
    for policy in (drawn.cell.policy for part in report.logprobs for drawn in part.cells):
        if policy.local_model is not None:
            used.setdefault(policy.model, set())
    for name, digests in used.items():
        model = checkout.matrix.models.get(name)
        pin = None if model is None else checkout.pin_of(model)
        if pin is None or digests - {pin}:
            expected = pin or "a model that the commit pins by sha256"
            yield _model(escape_text(name), expected, listed(digests))
    for name, index in sorted({(c.cell.model, c.provenance or 0) for c in report.cells if c.runs}):
        model = checkout.matrix.models.get(name)
        if model is not None:
            yield from _adapters(model, report.provenances[index], checkout)


def _adapters(model: ModelSpec, facts: Facts, checkout: Checkout) -> Iterator[Refusal]:
    """Yield adapters that are not those of the matrix, as the commit pins them."""
    wanted = {spec.scale_fact: str(spec.scale) for spec in model.lora}
    for spec in model.lora:
        wanted[spec.sha256_fact] = checkout.pin_of(spec) or "one that the commit pins by sha256"
    found = {name: value for name, value in facts.items() if name.startswith(LORA_FACTS)}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            expected, shown = wanted.get(name, "none"), escape_text(found.get(name, "none"))
            yield _model(f"{model.name}: {escape_text(name)}", expected, shown)


def _controls(report: GateReport, matrix: Matrix) -> Iterator[Refusal]:
    """Yield models of which no control shows that the check could have failed."""
    shown = {(control.model, control.contrast.factor) for control in report.controls}
    cells = [cell.cell for cell in report.cells]
    for model in sorted({cell.model for cell in cells} & matrix.models.keys()):
        mine = [cell for cell in cells if cell.model == model]
        for factor in Factor:
            if applies(factor, mine) and (model, factor) not in shown:
                yield _control(model, f"a control that changes its {factor.value}", "none")


def outcome_of(report: GateReport, tests: Iterable[NamedTest], waived: Collection[str]) -> Outcome:
    """Return the outcome of a report without the cells that are waived in each of their suites.

    Any drift that is not waived is a finding, whatever its grade and its suite.
    """
    cells: dict[int, list[NamedTest]] = {}
    for test in tests:
        cells.setdefault(id(test.cell), []).append(test)
    forgiven = {
        cell for cell, named in cells.items() if all(test.is_waived(waived) for test in named)
    }
    return decide(replace(report, grades=()), waived=forgiven)


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


def _suites_in(report: GateReport, matrix: Matrix) -> list[Suite]:
    ids = {cell.id for cell in report.cells}
    return [
        suite
        for name, suite in matrix.suites.items()
        if name in report.suites or ids.issuperset(cell.id for cell in suite.cells)
    ]


def _modes(report: GateReport) -> list[str]:
    """Return the modes of each suite, with what was required and how many answers were compared."""
    answers = Counter[str]()
    for cell in report.cells:
        for result in cell.modes:
            name = f"{cell.suite}: {result.mode} = {result.level}"
            answers[escape_text(name)] += result.answers
    return [f"{name}, {count} answers" for name, count in answers.items()]


def _facts(facts: Mapping[str, str]) -> list[str]:
    return sorted(escape_text(f"{name}={value}") for name, value in facts.items())
