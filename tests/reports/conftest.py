"""Reports to render: one with every verdict, and one with hostile text everywhere."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from repro_gate.core.logprobs.report import LogprobCellReport, LogprobReport
from repro_gate.core.report import (
    CellReport,
    EngineReport,
    GateReport,
    Note,
    NoteOrigin,
    Timing,
)
from repro_gate.core.tokens.cell import Cell, Factor, Sampler
from repro_gate.core.tokens.generation import (
    Choice,
    Divergence,
    Generation,
    Place,
    Stop,
    Token,
    first_divergence,
)
from repro_gate.core.tokens.golden import FactChange, Golden
from repro_gate.core.tokens.grade import (
    FailingDrift,
    Grade,
    GradeReason,
    GradeWord,
    VariantDistance,
)
from repro_gate.core.tokens.modes import Answer, Level, Mode, ModeKind, ModeResult, Proof
from repro_gate.core.tokens.verdicts import (
    Depends,
    Drift,
    Inconclusive,
    Match,
    Nondeterministic,
    Orphan,
    Unrecorded,
    Vacuous,
    Verdict,
)
from repro_gate.reports.terminal import render_terminal
from tests.fakes.logprob_reports import (
    LOGPROB_VERDICTS,
    hostile_logprobs_of,
    logprob_report_of,
    rich_logprobs_of,
)
from tests.fakes.values import control_of, verification_of

PROFILE = "cpu-x86-64"
NOTES = (
    Note(about="tiny-qwen2", message="no pre-tokenizer | <b>", origin=NoteOrigin.ENGINE),
    Note(about="tiny-qwen2--haiku", message="two `<bos>` tokens", origin=NoteOrigin.ENGINE),
    Note(about="tiny-qwen2--fox", message="two `<bos>` tokens", origin=NoteOrigin.ENGINE),
    Note(about="exact", message="threads exceed the cores", origin=NoteOrigin.GATE),
    Note(about="api", message="the template repeats the BOS", origin=NoteOrigin.SERVER),
)
"""Two of them are the same message about different prompts."""
_BEYOND = Grade(
    suite="embedded",
    model="smollm2",
    cells=15,
    tokens=375,
    distance=0.17,
    explained=0.442,
    kl_divergence=0.37,
    same_best=0.638,
    variants=(
        VariantDistance(name="other-build", distance=0.0126, p_value=3.1e-5, kl_divergence=0.0042),
        VariantDistance(name="no-flash-attention", distance=0.0103, p_value=3.1e-5),
    ),
    p_value=6.2e-5,
    tests=2,
    detectable_shift=0.012,
)
GRADES = (
    replace(_BEYOND, model="tiny-qwen2", distance=0.0103, p_value=0.62, left_out=("old-build",)),
    replace(_BEYOND, model="tiny-phi3", p_value=0.05, detectable_shift=0.11),
    _BEYOND,
)
"""One of each, the worst last."""
SAMPLER = Sampler(temperature=0.7, top_k=40, top_p=0.95, min_p=0.05)


def tokens_of(text: str) -> tuple[Token, ...]:
    """Return one token for each word; the same word is always the same token."""
    words = [f" {word}".encode("utf-8", errors="surrogatepass") for word in text.split(" ")]
    return tuple(Token(sum(word) % 1000, word) for word in words)


def generation_of(
    text: str, *, prompt: str = "Write a haiku", traced: bool = True, logits: str = ""
) -> Generation:
    """Return a generation of these words; the n-th choice is n hundredths from a tie."""
    tokens = tokens_of(text)
    choices = [
        Choice(logprob=-0.5, best=((token.id, -0.5), (7, -0.5 - number / 100)))
        for number, token in enumerate(tokens)
    ]
    return Generation(
        prompt=tokens_of(prompt),
        tokens=tokens,
        stop=Stop.LENGTH,
        trace=tuple(choices) if traced else (),
        logits=tuple(digit * 16 for digit in logits),
    )


def cell_of(
    prompt: str = "autumn-leaves",
    *,
    seed: int = 42,
    model: str = "tiny-qwen2",
    text: str = "Write a haiku",
) -> Cell:
    """Return a cell of the matrix."""
    return Cell(model=model, prompt=prompt, text=text, seed=seed, max_tokens=30, sampler=SAMPLER)


def cell_report_of(verdict: Verdict, cell: Cell | None = None, **changes: Any) -> CellReport:
    """Return a report on a cell that was measured ten times."""
    cell = cell or cell_of()
    usual: dict[str, Any] = {
        "suite": "embedded",
        "cell": cell,
        "runs": 10,
        "generation": generation_of("red leaves fall down and rest"),
        "profile": PROFILE,
    }
    return CellReport(verdict=verdict, **{**usual, **changes})


def orphan_of(golden_id: str) -> Orphan:
    """Return a golden that no cell uses."""
    return Orphan(id=golden_id, origin=PROFILE)


def gate_report_of(*found: CellReport | Orphan, **changes: Any) -> GateReport:
    """Return a report on a finished check, of some cells and orphans."""
    report = GateReport(
        tool_version="0.1.0",
        started_at="2026-01-02T03:04:05+00:00",
        suites=("embedded",),
        cells=tuple(each for each in found if isinstance(each, CellReport)),
        orphans=tuple(each for each in found if isinstance(each, Orphan)),
        controls=(),
        engines=(),
        models={},
        timing=Timing(wall_s=12.5, load_s=1.25, engine_s=10.0, generated_tokens=5300),
        interrupted=False,
    )
    return replace(report, **changes)


def drift_of(
    golden: Generation, observed: Generation, cell: Cell, *changes: FactChange
) -> CellReport:
    """Return the report on a cell whose observed generation is not its golden's."""
    divergence = first_divergence(golden, observed)
    assert divergence is not None
    recorded = Golden(cell=cell, profile=PROFILE, generation=golden, provenance={})
    verdict = Drift(divergence=divergence, golden=recorded, provenance=changes)
    return cell_report_of(verdict, cell, generation=observed)


def differing_run_of(cell: Cell, first: Generation, other: Generation) -> CellReport:
    """Return the report on a cell whose fourth run, in a fresh process, differs."""
    divergence = first_divergence(first, other)
    assert divergence is not None
    verdict = Nondeterministic(
        run=4, in_fresh_process=True, divergence=divergence, first_had_neighbours=True
    )
    return cell_report_of(verdict, cell, generation=first, runs=4)


def depending_of(cell: Cell, first: Generation, other: Generation) -> CellReport:
    """Return the report on a cell that one of eight answers at once differs from."""
    result = ModeResult(mode=Mode(ModeKind.CONCURRENT, 8), level=Level.TOKENS)
    for generation in (other, *[first] * 7):
        result = result.with_answer(first, Answer(generation=generation, shift=0.004, running=8))
    verdict = Depends(modes=(result.mode,))
    return cell_report_of(verdict, cell, generation=first, modes=(result.judged(Proof.SEEN),))


def _unproven_of(cell: Cell, *, reason: str, remedy: str) -> CellReport:
    """Return the report on a cell whose answers are not known to share a batch."""
    mode = Mode(ModeKind.MIXED, 8)
    result = ModeResult(mode=mode, level=Level.TOKENS, answers=1, reason=reason, remedy=remedy)
    return cell_report_of(Inconclusive(reason=reason, remedy=remedy), cell, modes=(result,))


def hostile_generation_of(text: str, *ids: int) -> Generation:
    """Return a generation in which every token is `text`."""
    data = text.encode("utf-8", errors="surrogatepass")
    tokens = tuple(Token(number, data) for number in ids)
    return Generation(prompt=tokens[:1], tokens=tokens, stop=Stop.LENGTH)


def _hostile_notes_of(text: str) -> Iterator[Note]:
    # A note is never empty.
    words = text or "x"
    for origin in NoteOrigin:
        yield Note(about=words, message=words, origin=origin)


def _hostile_grade_of(text: str) -> Grade:
    words = text or "x"
    return Grade(
        suite=words,
        model="tiny-qwen2",
        reason=GradeReason.SAMPLER,
        shown_by=words,
        left_out=(text,),
    )


def hostile_report_of(text: str) -> GateReport:
    """Return a report in which all untrusted text is `text`."""
    cell = cell_of(text=text)
    observed, other = hostile_generation_of(text, 1, 2, 3), hostile_generation_of(text, 1, 9, 3)
    drifted = drift_of(other, observed, cell, FactChange(name=text, before=text, after=f"{text}!"))
    # A reason is never empty.
    reason = text or "x"
    not_measured = Inconclusive(reason=reason, remedy=text)
    cells = (
        drifted,
        cell_report_of(Match(), cell_of(seed=43, text=text), generation=observed),
        differing_run_of(cell_of(seed=44, text=text), observed, other),
        cell_report_of(Unrecorded(reason=reason), cell_of(seed=45, text=text)),
        cell_report_of(Vacuous(factor=Factor.SEED), cell_of(seed=46, text=text)),
        depending_of(cell_of(seed=48, text=text), observed, other),
        cell_report_of(not_measured, cell_of(seed=47, text=text), runs=0, generation=None),
        _unproven_of(cell_of(seed=49, text=text), reason=reason, remedy=text),
    )
    return gate_report_of(
        *(replace(found, suite=text) for found in cells),
        orphan_of(text),
        suites=(text,),
        controls=(control_of(cell),),
        engines=(EngineReport(name=reason, profile=PROFILE, facts={text: text}),),
        models={text: {text: text}},
        logprobs=(hostile_logprobs_of(text),),
        notes=tuple(_hostile_notes_of(text)),
        grades=(_hostile_grade_of(text),),
    )


def graded_report_of(fail_on: FailingDrift, *words: GradeWord) -> GateReport:
    """Return a report on drifts of all grades, or of some."""
    golden = generation_of("Crimson leaves descend whispering of warmer days")
    observed = generation_of("Crimson leaves descend drifting on the cold")
    change = FactChange(name="device.driver", before="550.54.15", after="560.35.03")
    grades = {grade.word: replace(grade, fail_on=fail_on) for grade in GRADES}
    shown = [grades[word] for word in words or grades]
    cells = (
        drift_of(golden, observed, cell_of(prompt, model=grade.model), change)
        for grade in shown
        for prompt in ("p0", "p1")
    )
    return gate_report_of(*cells, cell_report_of(Match()), grades=tuple(shown))


def rich_report_of() -> GateReport:
    """Return a report with every verdict, several of them twice."""
    golden = generation_of("red leaves fall down and rest `here` <b>now</b>")
    observed = generation_of("red leaves fall upon the cold | wet ground")
    moved = generation_of("one two", prompt="In a galaxy far")
    moon, train = (
        cell_of("moon-visit", model="tiny-phi3"),
        cell_of("night-train", model="tiny-phi3"),
    )
    lost = Inconclusive(reason="the engine died: signal 9 \x1b[31m", remedy="free some memory")
    cells = (
        cell_report_of(Match()),
        replace(
            drift_of(
                golden,
                observed,
                cell_of(seed=123),
                FactChange(name="device.driver", before="550.54", after="560.10"),
                FactChange(name="library.cublas", before=None, after="12.6 | @team"),
            ),
            verification=verification_of(golden),
        ),
        differing_run_of(cell_of(seed=999), golden, observed),
        depending_of(cell_of(seed=1000), golden, observed),
        cell_report_of(Unrecorded(reason="there is no golden for this profile"), moon),
        cell_report_of(
            Unrecorded(reason="there is no golden for this profile"), replace(moon, seed=123)
        ),
        drift_of(moved, generation_of("one two", prompt="In a galaxy"), train),
        cell_report_of(Vacuous(factor=Factor.PROMPT), replace(train, seed=123)),
        cell_report_of(lost, replace(train, seed=999), runs=0, generation=None),
        cell_report_of(lost, replace(moon, seed=999), runs=0, generation=None),
        orphan_of("tiny-qwen2--gone--seed1"),
        orphan_of("tiny-qwen2--gone--seed2"),
    )
    differs = Divergence(place=Place.OUTPUT, position=2, expected=Token(1, b"a"), observed=None)
    return gate_report_of(
        *cells,
        controls=(
            control_of(cell_of(), divergence=differs),
            control_of(moon, factor=Factor.PROMPT),
        ),
        engines=(
            EngineReport(name="exact", profile=PROFILE, facts={"device.name": "EPYC <!-- x -->"}),
        ),
        models={"tiny-qwen2": {"model.sha256": "ab" * 32, "n_ctx": "256"}},
        notes=NOTES,
    )


VERDICTS: Mapping[str, CellReport] = {
    found.verdict.word: found for found in reversed(rich_report_of().cells)
}


@pytest.fixture(scope="session", params=sorted(VERDICTS))
def any_cell(request: pytest.FixtureRequest) -> CellReport:
    """Return a cell of each verdict in turn."""
    return VERDICTS[request.param]


@pytest.fixture(scope="session", params=sorted(LOGPROB_VERDICTS))
def any_logprob_cell(request: pytest.FixtureRequest) -> LogprobCellReport:
    """Return a cell of each verdict on log-probabilities in turn."""
    return LOGPROB_VERDICTS[request.param]


@pytest.fixture(scope="session")
def logprob_gate_report() -> Callable[..., GateReport]:
    """Return a builder of reports on log-probabilities alone."""

    def build(*parts: LogprobReport, **changes: Any) -> GateReport:
        timing = Timing(wall_s=12.5, load_s=0.0, engine_s=0.0, generated_tokens=0)
        suites = tuple(part.suite for part in parts)
        return gate_report_of(**{"suites": suites, "timing": timing, "logprobs": parts, **changes})

    return build


@pytest.fixture(scope="session")
def logprob_suite_report(
    logprob_gate_report: Callable[..., GateReport],
) -> Callable[..., GateReport]:
    """Return a builder of reports on one suite of log-probabilities."""
    return lambda *cells, **changes: logprob_gate_report(logprob_report_of(*cells, **changes))


@pytest.fixture(scope="session")
def rich_logprob_report(logprob_gate_report: Callable[..., GateReport]) -> GateReport:
    """Return a report with every verdict on log-probabilities."""
    return logprob_gate_report(rich_logprobs_of())


@pytest.fixture(scope="session")
def rich_report() -> GateReport:
    """Return a report with every verdict."""
    return rich_report_of()


@pytest.fixture(scope="session")
def hostile_report() -> Callable[[str], GateReport]:
    """Return a builder of reports in which all untrusted text is the same."""
    return hostile_report_of


@pytest.fixture(scope="session")
def gate_report() -> Callable[..., GateReport]:
    """Return a builder of reports."""
    return gate_report_of


@pytest.fixture(scope="session")
def cell_report() -> Callable[..., CellReport]:
    """Return a builder of reports on one cell."""
    return cell_report_of


@pytest.fixture(scope="session")
def orphan() -> Callable[[str], Orphan]:
    """Return a builder of orphans."""
    return orphan_of


@pytest.fixture(scope="session")
def drift() -> Callable[..., CellReport]:
    """Return a builder of reports on a drifted cell."""
    return drift_of


@pytest.fixture(scope="session")
def differing_run() -> Callable[..., CellReport]:
    """Return a builder of reports on a cell whose fourth run differs."""
    return differing_run_of


@pytest.fixture(scope="session")
def cell() -> Callable[..., Cell]:
    """Return a builder of cells."""
    return cell_of


@pytest.fixture(scope="session")
def generation() -> Callable[..., Generation]:
    """Return a builder of generations."""
    return generation_of


@pytest.fixture(scope="session")
def on_terminal() -> Callable[[GateReport], str]:
    """Return a function that prints a report without a terminal and returns the text."""

    def printed(report: GateReport) -> str:
        console = Console(file=StringIO(), width=40, force_terminal=False)
        with console.capture() as capture:
            render_terminal(report, console)
        return capture.get()

    return printed
