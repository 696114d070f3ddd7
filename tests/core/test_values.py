"""Values of the core and the ports with invalid fields cannot be constructed."""

import dataclasses
import inspect
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from itertools import chain
from pathlib import Path
from pkgutil import walk_packages
from typing import Any, get_args, get_type_hints

import pytest

from repro_gate import core, ports
from repro_gate.core.axes import AxesReport, Bounds, CellEffect, Experiment
from repro_gate.core.changes.groups import Suspect, change_groups
from repro_gate.core.changes.review import ReviewState
from repro_gate.core.comments import CiRun, CommentState, Keep, Marker, PostedComment, RunId, Writer
from repro_gate.core.consistency import Inconsistency
from repro_gate.core.engines import EngineKind
from repro_gate.core.history import KeptDraw, Session, SessionKind, Tally, summarise
from repro_gate.core.logprobs.alignment import ScoredTwice, judge_alignment
from repro_gate.core.logprobs.draw import Answered, Draw, InvalidDraw, MissedDraw, Piece
from repro_gate.core.logprobs.policy import Budget, PolicyKind, Tolerance, WeightPlan
from repro_gate.core.logprobs.sessions import SessionNoise
from repro_gate.core.logprobs.verdicts import Deciding, Fork, Outlying
from repro_gate.core.matrix import PromptSpec, Variant, plan
from repro_gate.core.report import (
    CellReport,
    EngineReport,
    FinishedCheck,
    Note,
    NoteOrigin,
    UnfinishedCheck,
)
from repro_gate.core.shards.split import WholePlan
from repro_gate.core.start.machine import Found, RunningServer
from repro_gate.core.start.matrix import FirstMatrix
from repro_gate.core.timeline import KeptHistory
from repro_gate.core.tokens.cell import Factor
from repro_gate.core.tokens.comparison import ForcedTokens, Position, Shifts
from repro_gate.core.tokens.controls import ControlReport
from repro_gate.core.tokens.generation import Divergence, Place, Stop, Token
from repro_gate.core.tokens.golden import Conditions, FactChange
from repro_gate.core.tokens.grade import FailingDrift, GradeReason
from repro_gate.core.tokens.judge import Repetition
from repro_gate.core.tokens.measurement import Measurement
from repro_gate.core.tokens.modes import ALONE, RESTART, Answer, Level
from repro_gate.core.tokens.verdicts import (
    Depends,
    Drift,
    FormerGolden,
    Inconclusive,
    Match,
    Unrecorded,
    Vacuous,
)
from repro_gate.core.watch.issues import IssueMarker, PostedIssue
from repro_gate.core.watch.state import WatchState
from repro_gate.ports import (
    DrawRequest,
    LoadedModel,
    ModelFile,
    Purpose,
    ScoreRequest,
    TimedGeneration,
    Verified,
    VerifyRequest,
)
from tests.core.logprobs.test_capabilities import ALL as ALL_ABILITIES
from tests.core.logprobs.test_capabilities import report_of as probe_report_of
from tests.fakes.acceptance import ARTIFACT as REPORT_ARTIFACT
from tests.fakes.acceptance import COMMENT as ACCEPT_COMMENT
from tests.fakes.acceptance import PULL as PULL_HEAD
from tests.fakes.engines import STATE
from tests.fakes.history import session_cell_of, session_header_of
from tests.fakes.logprob_reports import (
    policy_noise_of,
    rich_logprobs_of,
    weight_report_of,
)
from tests.fakes.machines import model_of
from tests.fakes.nights import alarm_of, watch_of, watch_report_of
from tests.fakes.releases import policy_of
from tests.fakes.reports import (
    CONCURRENT,
    DIFFERENCE,
    MODES,
    OTHER_RUN,
    RUN_1,
    diverging,
    drifted,
    not_run,
    ran,
    report_of,
    shard_report_of,
)
from tests.fakes.scoring import baseline_of, plan_of, suite_of_logprobs
from tests.fakes.timelines import timeline_of
from tests.fakes.values import (
    cell_of,
    contrast_of,
    engine_spec_of,
    generation_of,
    golden_of,
    grade_of,
    lora_of,
    matrix_of,
    model_spec_of,
    reference_of,
    scored_of,
    suite_of,
    tokens_of,
    verification_of,
)

FOX = cell_of("fox")
TOKEN = Token(99, b"x")
RUN = RunId(7, 1)
LOST = Inconclusive(reason="lost", remedy=None)
MARKER = Marker(name="repro-gate", run=RUN, state=CommentState.PASSED)
CI_RUN = CiRun(
    id=RUN,
    repository="o/r",
    head_sha="0" * 40,
    head_owner="o",
    head_branch="main",
    server_url="https://github.com",
    pull_request=3,
)
LOGPROB_PLAN = plan_of(suite_of_logprobs())
LOGPROB_CELL = LOGPROB_PLAN.cells[0]
FIRST_TOKEN = replace(LOGPROB_CELL.policy, kind=PolicyKind.FIRST_TOKEN, max_tokens=1)
BASELINE = baseline_of(LOGPROB_CELL, [(-1.0, -0.5)] * 3)
MATRIX = matrix_of(suite_of(FOX))
PLAN = plan(MATRIX)
SCORED_TWICE = ScoredTwice(generated=(-1.0,), echoed=(-1.0,))
SCORE_REQUEST = ScoreRequest(prompt="a", response="bc", temperature=0.5)
SCORED = scored_of("tiny", SCORE_REQUEST)
LOGPROB_REPORT = rich_logprobs_of().cells[0]
FORK = Fork(position=1, piece=None, margin=0.5, draws=1, of=2)
DECIDING = Deciding(token=None, shift=0.1, band=0.2, calibration=(0.0,), draws=(0.1,))
GRADE = grade_of()
REFERENCE = reference_of(golden_of(FOX))
CELL_REFERENCE = REFERENCE.cells[FOX.id]
SESSION_CELL = session_cell_of(tokens=9, center=-1.0, bound=8.0)
HEADER = session_header_of(SESSION_CELL)
KEPT_DRAW = KeptDraw(
    cell=SESSION_CELL, purpose="watch", number=1, line=2, outcome=Draw(logprobs=(-1.0,))
)
CELL_SESSION = replace(
    summarise(SESSION_CELL, [Draw(logprobs=(-1.0,))]), latency_ms=1.0, usd=1.0, cached_tokens=1
)
TIMELINE = timeline_of()
NO_NAMES = ("", "..", "../../../etc", "/x/.config", "a\x00b", "x" * 300, "CPU")

MODEL_FILE = ModelFile(path=Path("x"), sha256="0" * 64, states=(STATE,))
SAMPLES: tuple[object, ...] = (
    probe_report_of(ALL_ABILITIES),
    report_of(),
    KeptHistory(left_out=1),
    change_groups(report_of()),
    (ACCEPT_COMMENT, PULL_HEAD, REPORT_ARTIFACT),
    Suspect(
        change=FactChange(name="x", before="a", after="b"),
        differing=1,
        of_differing=1,
        matching=0,
        of_matching=0,
    ),
    lora_of(),
    shard_report_of(),
    UnfinishedCheck(exit_code=3, message="x"),
    SCORED_TWICE,
    judge_alignment([SCORED_TWICE]),
    BASELINE,
    BASELINE.session_totals,
    SessionNoise(
        sessions=5,
        draws=1,
        first="x",
        last="y",
        within=0.1,
        between=0.1,
        p_value=0.1,
        missed=0.1,
        band=0.1,
    ),
    CI_RUN,
    PostedComment(id=1, url="u", marker=replace(MARKER, writer=Writer(run=RUN, job="0" * 12))),
    Keep("x"),
    PostedIssue(
        number=1,
        url="u",
        is_open=True,
        marker=IssueMarker(suite="x", watch="0" * 16, state=WatchState.QUIET, run=RUN),
    ),
    Inconsistency(place="a", expected="b", found="c"),
    Draw(logprobs=(-1.0,), fork=0),
    FORK,
    replace(BASELINE.encoding, logprobs=(-1.0, -0.5)),
    InvalidDraw(reason="x", position=1),
    MissedDraw(reason="x"),
    Unrecorded(reason="x", former=FormerGolden(divergence=diverging())),
    WholePlan(tokens=PLAN, logprobs=(LOGPROB_PLAN,)),
    MATRIX,
    PromptSpec(text="x", max_tokens=1, sampler=FOX.sampler),
    replace(weight_report_of(), khat=0.5, khat_bar=0.7, control_p=0.5),
    MODEL_FILE,
    LoadedModel(sha256="0" * 64, facts={}),
    TimedGeneration(generation=RUN_1, engine_s=1.0),
    SCORE_REQUEST,
    SCORED,
    DrawRequest(
        cell=LOGPROB_CELL, encoding=BASELINE.encoding, purpose=Purpose.FIRST_LOOK, number=1
    ),
    Budget(max_calls=1, max_tokens=1),
    WeightPlan(base="base"),
    Conditions(cell=FOX, runs=3, fresh_runs=1, profile="cpu", facts={}),
    policy_of(),
    Experiment(axis="threads", value="2", model=model_spec_of()),
    VerifyRequest(cell=FOX, prompt=(1,), tokens=(2,)),
    Verified(verification=verification_of(RUN_1), engine_s=1.0),
    Variant(name="x", settings={"threads": 2}),
    GRADE,
    REFERENCE,
    Answer(generation=RUN_1, shift=0.0, running=1, cached=0),
    HEADER,
    KEPT_DRAW,
    CELL_SESSION,
    watch_of(),
    watch_report_of(alarm_of()),
    replace(TIMELINE.cells[0].points[0], far=(-1.0,)),
    TIMELINE,
    replace(TIMELINE.pairs[0].points[-1], khat=0.5, khat_bar=0.7),
    replace(TIMELINE.services[0].points[0], cached_tokens=1),
    model_of(context=1),
    RunningServer(url="u", software="s", context=1, slots=1),
    Found(),
    FirstMatrix(sections=(), suite="s", cells=1),
)
"""At least one value of every type, directly or nested."""
UNCHECKED: dict[type, str] = {
    Answered: "an answer as it came, which judge_answer judges",
    Measurement: "it grows while a check runs",
    Position: "computed from evidence that is checked",
    Shifts: "computed from positions",
    ForcedTokens: "computed from positions",
    CellEffect: "computed from generations",
    AxesReport: "computed from a measurement",
    Bounds: "computed from a measurement",
    Session: "read from a header that is checked",
    Tally: "it grows while a session is read",
    ReviewState: "it changes with each key of a review",
}
"""Types without checks, each with the reason."""


def _types() -> Iterator[type]:
    modules = [
        import_module(found.name) for found in walk_packages(core.__path__, core.__name__ + ".")
    ]
    for module in (ports, *modules):
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if dataclasses.is_dataclass(kind) and kind.__module__ == module.__name__:
                yield kind


def _values_in(value: Any) -> Iterator[object]:
    """Yield a value and everything that it holds, at any depth."""
    yield value
    inner: Iterable[Any] = ()
    if dataclasses.is_dataclass(value):
        inner = [getattr(value, field.name) for field in dataclasses.fields(value)]
    elif isinstance(value, Mapping):
        inner = chain(value, value.values())
    elif isinstance(value, tuple):
        inner = value
    for each in inner:
        yield from _values_in(each)


def _sample_of(kind: type, field: str) -> object:
    """Return a value of a type, one where the field is not None."""
    found = [each for each in _values_in(SAMPLES) if type(each) is kind]
    return max(found, key=lambda each: getattr(each, field) is not None, default=None)


def _numbers() -> Iterator[Any]:
    """Yield each field that holds numbers, with the worst of its type."""
    for kind in _types():
        hints = {} if kind in UNCHECKED else get_type_hints(kind)
        for field, hint in hints.items():
            for number, worst in ((float, math.nan), (int, -1)):
                if number in {hint, *get_args(hint)}:
                    yield pytest.param(kind, field, worst, id=f"{kind.__name__}.{field}")


@pytest.mark.parametrize(("kind", "field", "worst"), list(_numbers()))
def test_no_number_is_nonsense(kind: type, field: str, worst: float) -> None:
    """No float is NaN and no count is negative, in any field of any type."""
    sample: Any = _sample_of(kind, field)
    assert sample is not None, "add a value of this type to SAMPLES"
    usual = getattr(sample, field)

    with pytest.raises(ValueError, match=r"\S"):
        replace(sample, **{field: (worst,) * len(usual) if isinstance(usual, tuple) else worst})


def parted(**changes: Any) -> Divergence:
    """Return a divergence that departs from a true one."""
    return replace(diverging(), **changes)


def differing(**changes: Any) -> CellReport:
    """Return the report on a cell whose third run differs, with changes to how."""
    return ran(FOX, replace(DIFFERENCE, **changes))


def drifting(**changes: Any) -> CellReport:
    """Return the report on a drifted cell, with changes to its verdict."""
    cell = drifted(FOX)
    assert isinstance(cell.verdict, Drift)
    return replace(cell, verdict=replace(cell.verdict, **changes))


REFUSALS: dict[str, tuple[Callable[[], object], str]] = {
    "draws and calls": (lambda: replace(BASELINE, facts=()), "0 calls for 3 draws"),
    "a session of another date": (
        lambda: replace(HEADER, key="2020-01-01-x"),
        "the key 2020-01-01-x does not start with the date",
    ),
    "a session in local time": (
        lambda: replace(HEADER, started_at="2026-01-02T03:04:05+01:00"),
        "a time must be ISO 8601 and UTC",
    ),
    "a night without an epoch": (lambda: replace(HEADER, epoch=None), "a night has a suite and"),
    "a check with an epoch": (
        lambda: replace(HEADER, kind=SessionKind.CHECK),
        "no other session has an epoch",
    ),
    "a night of no suite": (lambda: replace(HEADER, suite=None), "a night has a suite and"),
    "a cell twice in a session": (
        lambda: replace(HEADER, cells=(SESSION_CELL, SESSION_CELL)),
        "a cell is twice in one session",
    ),
    "a cell of another policy": (
        lambda: replace(SESSION_CELL, policy="other"),
        "is no cell of other and fox",
    ),
    "no draws": (lambda: replace(BASELINE, draws=(), facts=()), "0 calls for 0 draws"),
    "definition of another": (lambda: replace(BASELINE, id="a--b"), "'id' is a--b, and"),
    "tokens beside those of another number of draws": (
        lambda: replace(BASELINE, others=((),)),
        "1 others for 3 draws",
    ),
    "forks of another number of draws": (
        lambda: replace(BASELINE, forks=(None,)),
        "1 forks for 3 draws",
    ),
    "a draw of other tokens": (
        lambda: replace(BASELINE, draws=((-1.0, -0.5), (-1.0, -0.5), (-1.0,))),
        "'draws[2]' has 1 log-probabilities for 2 tokens",
    ),
    "a probability above 1": (lambda: Draw(logprobs=(-1.0, 0.5)), "'logprobs[1]' is no log-prob"),
    "another token with a probability of 0": (
        lambda: Draw(logprobs=(-1.0,), others=((Piece(1, b"x"), -math.inf),)),
        "'others[0]' is no log-prob",
    ),
    "a reference with too few values": (
        lambda: replace(BASELINE.encoding, logprobs=(-1.0,)),
        "1 log-probabilities for 2 tokens",
    ),
    "more alternatives than an API returns": (
        lambda: replace(FIRST_TOKEN, top_logprobs=21),
        "top_logprobs must be at most 20",
    ),
    "a response that is generated": (
        lambda: replace(LOGPROB_CELL.policy, max_tokens=1),
        "kind response with max_tokens of 1",
    ),
    "a first token that is not generated": (
        lambda: replace(FIRST_TOKEN, max_tokens=0),
        "kind first_token with max_tokens of 0",
    ),
    "a generated answer by chance": (
        lambda: replace(FIRST_TOKEN, kind=PolicyKind.GENERATED, temperature=1.0),
        "compared at temperature 0",
    ),
    "a fork of no answer": (
        lambda: replace(FORK, draws=0),
        "draws must be at least 1, got 0",
    ),
    "a probability of 0": (lambda: Draw(logprobs=(-math.inf,)), "'logprobs[0]' is no log-prob"),
    "echoed and generated": (
        lambda: ScoredTwice(generated=(-1.0,), echoed=()),
        "1 tokens, of which 0 are echoed",
    ),
    "more near than tokens": (
        lambda: replace(judge_alignment([SCORED_TWICE]), near=2),
        "2 of 1 tokens agree",
    ),
    "the same token twice": (
        lambda: parted(observed=diverging().expected),
        "the tokens at a divergence must differ",
    ),
    "a golden in another folder": (lambda: golden_of(FOX, profile=".."), "a name must be"),
    "a fact that did not change": (
        lambda: FactChange(name="a", before="1", after="1"),
        "a must change, got '1' twice",
    ),
    "a note without a subject": (
        lambda: Note(about="", message="x", origin=NoteOrigin.GATE),
        "about must not be empty",
    ),
    "a note without a message": (
        lambda: Note(about="x", message="", origin=NoteOrigin.GATE),
        "message must not be empty",
    ),
    "a verdict without a reason": (lambda: Inconclusive(reason="", remedy=None), "reason must not"),
    "the first run differs": (lambda: replace(DIFFERENCE, run=1), "run must be at least 2, got 1"),
    "a later run differs": (lambda: differing(run=4), "run 4 of 3 runs cannot differ"),
    "run 1 is shorter": (lambda: differing(divergence=parted(position=5, expected=None)), "run 1"),
    "run 1 is longer": (lambda: differing(divergence=parted(expected=None)), "run 1 nor at its"),
    "run 1 differs": (lambda: differing(divergence=parted(expected=TOKEN)), "a token of run 1"),
    "a neighbour in a fresh process": (
        lambda: replace(DIFFERENCE, in_fresh_process=True, had_neighbours=True),
        "a run in a fresh process has no neighbours",
    ),
    "two first runs": (
        lambda: Repetition(first=RUN_1, runs=3, difference=DIFFERENCE, first_had_neighbours=True),
        "two accounts of the neighbours of run 1",
    ),
    "the state of a file without a digest": (
        lambda: replace(MODEL_FILE, sha256=None),
        "states without the digest of the files",
    ),
    "states without a file": (
        lambda: replace(MODEL_FILE, path=None),
        "states or adapters without a file",
    ),
    "adapters without a file": (
        lambda: ModelFile(path=None, sha256=None, lora=(MODEL_FILE,)),
        "states or adapters without a file",
    ),
    "a fresh server and a fresh client": (
        lambda: replace(DIFFERENCE, in_fresh_client=True),
        "either all of it is fresh or only the client",
    ),
    "less than nothing from a cache": (
        lambda: TimedGeneration(generation=RUN_1, engine_s=1.0, cached_tokens=-1),
        "cached_tokens must be at least 0, got -1",
    ),
    "nothing at work": (
        lambda: TimedGeneration(generation=RUN_1, engine_s=1.0, running=0),
        "running must be at least 1, got 0",
    ),
    "a repetition": (
        lambda: Repetition(first=OTHER_RUN, runs=3, difference=DIFFERENCE),
        "a token of run 1",
    ),
    "a divergence and a problem": (
        lambda: ControlReport(contrast=contrast_of(), divergence=diverging(), problem=LOST),
        "a divergence or a problem, not both",
    ),
    "no first run": (
        lambda: replace(ran(FOX, Match()), generation=None),
        "3 runs, and no first",
    ),
    "one run too many": (
        lambda: replace(ran(FOX, Match()), runs=0),
        "0 runs, and a first one",
    ),
    "a match without a run": (
        lambda: replace(not_run(FOX), verdict=Match()),
        "match needs a run",
    ),
    "a golden of another definition": (
        lambda: drifting(golden=golden_of(cell_of("fox", max_tokens=5), OTHER_RUN)),
        "another definition of the cell",
    ),
    "a golden that agrees": (
        lambda: drifting(golden=golden_of(FOX, RUN_1)),
        "do not differ first",
    ),
    "drift elsewhere": (lambda: drifting(divergence=parted(position=3)), "do not differ first"),
    "runs without a provenance": (
        lambda: replace(shard_report_of().cells[0], provenance=None),
        "a cell that was run has a provenance",
    ),
    "an endless bound": (lambda: replace(LOGPROB_REPORT, band=math.inf), "band must be finite"),
    "a negative band": (
        lambda: replace(DECIDING, band=-0.5),
        "a band must be at least 0, got -0.5",
    ),
    "a file of a cell that was not run": (
        lambda: FinishedCheck(report=report_of(not_run(FOX)), observed={FOX.id: "0" * 64}),
        f"nothing was observed of {FOX.id}",
    ),
    "a file with another digest": (
        lambda: FinishedCheck(report=report_of(ran(FOX, Match())), observed={FOX.id: "0" * 40}),
        "a sha256 must be 64 lower-case hexadecimal digits",
    ),
    "a share of 7": (lambda: replace(policy_noise_of(), atom=7.0), "between 0 and 1, got 7.0"),
    "a rate of 7": (lambda: Tolerance(false_alarm_rate=7), "between 0 and 1, got 7"),
    "a rate of 0": (lambda: Tolerance(false_alarm_rate=0), "must be above 0, got 0"),
    "more outliers than draws": (
        lambda: Outlying(count=3, draws=2, most=1, allowed=0.1),
        "3 of 2 draws are outliers",
    ),
    "a clone of itself": (lambda: WeightPlan(base="a", clones=("a",)), "a is no clone of itself"),
    "no response": (lambda: ScoreRequest(prompt=(), response=()), "response must not be empty"),
    "a score of other tokens": (
        lambda: replace(SCORED, logprobs=(-1.0,)),
        "1 log-probabilities for 2 tokens",
    ),
    "a plan without its model": (lambda: replace(PLAN, models={}), "no model of the plan is"),
    "a command for the built-in engine": (
        lambda: replace(engine_spec_of(), command=("x",)),
        "of the kind llama_cpp has the command",
    ),
    "no command": (
        lambda: replace(engine_spec_of(), kind=EngineKind.COMMAND),
        "of the kind command has the command ()",
    ),
    "a workflow that ends the marker": (
        lambda: replace(MARKER, workflow="-->"),
        "the marker would be unreadable",
    ),
    "a job that is no digest": (
        lambda: replace(MARKER, writer=Writer(run=RUN, job="x -->")),
        "the marker would be unreadable",
    ),
    "a grade without a basis": (lambda: replace(GRADE, p_value=None), "a reason or a p-value"),
    "a grade with two bases": (
        lambda: replace(GRADE, reason=GradeReason.STALE),
        "a reason or a p-value",
    ),
    "what rounding cannot do, in no cell": (
        lambda: replace(GRADE, reason=GradeReason.SAMPLER, p_value=None),
        "is shown by a cell",
    ),
    "a distance of no cells": (lambda: replace(GRADE, cells=0), "0 cells with the distance"),
    "fewer tokens than cells": (lambda: replace(GRADE, tokens=9), "10 cells have 9 tokens"),
    "a p-value of no test": (lambda: replace(GRADE, tests=0), "the p-value 0.02 of 10 cells"),
    "a p-value of no variant": (lambda: replace(GRADE, variants=()), "the p-value 0.02 of"),
    "a p-value below that of a variant": (
        lambda: replace(GRADE, p_value=0.001),
        "the p-value 0.001 of 10 cells",
    ),
    "no detectable shift": (lambda: replace(GRADE, detectable_shift=None), "shift None of 10"),
    "a detectable shift of one cell": (lambda: replace(GRADE, cells=1), "shift 0.03 of 1 cells"),
    "an enormous detectable shift": (
        lambda: replace(GRADE, detectable_shift=1e300),
        "shift 1e+300 of 10 cells",
    ),
    "a distance above the largest": (
        lambda: replace(GRADE, distance=0.6),
        "distance must lie between 0 and 0.5, got 0.6",
    ),
    "a reference without distances": (
        lambda: replace(CELL_REFERENCE, distances=()),
        "the distance of at least one token",
    ),
    "a variant that changes nothing": (lambda: Variant(name="x"), "a variant has other settings"),
    "a variant that changes two things": (
        lambda: Variant(name="x", settings={"threads": 2}, engine=engine_spec_of()),
        "a variant has other settings",
    ),
    "exact tokens of another profile": (
        lambda: replace(suite_of(FOX), against="cpu"),
        "only a drift beyond rounding can fail",
    ),
    "tokens of a profile that is no name": (
        lambda: replace(suite_of(FOX), against="..", fail_on=FailingDrift.BEYOND_ROUNDING),
        "a name must be",
    ),
    "a digest of another kind": (
        lambda: LoadedModel(sha256="0" * 40, facts={}),
        "a sha256 must be 64 lower-case hexadecimal digits",
    ),
}


MODE_REFUSALS: dict[str, tuple[Callable[[], object], str]] = {
    "no mode": (lambda: Depends(modes=()), "the mode in which answers differ is missing"),
    "vacuous twice": (
        lambda: Vacuous(factor=Factor.SEED, mode=CONCURRENT),
        "because of a factor or of a mode",
    ),
    "vacuous for no reason": (Vacuous, "because of a factor or of a mode"),
    "a match that depends": (lambda: ran(FOX, Match(), *MODES), "a match despite concurrent-8"),
    "an unproven match": (
        lambda: ran(FOX, Match(), replace(MODES[2], level=Level.TOKENS)),
        "a match despite repeat",
    ),
    "another mode": (
        lambda: ran(FOX, Depends(modes=(ALONE,)), *MODES),
        "answers differ in other modes than the verdict has",
    ),
    "a proven mode": (
        lambda: ran(FOX, Vacuous(mode=ALONE), *MODES),
        "the answers of alone may have been generated in it",
    ),
    "a mode that is not there": (
        lambda: ran(FOX, Vacuous(mode=RESTART), *MODES),
        "the answers of restart may have been generated in it",
    ),
    "a mode twice": (
        lambda: ran(FOX, Depends(modes=(CONCURRENT,)), *MODES, MODES[0]),
        "two results of one mode",
    ),
    "another run 1": (
        lambda: ran(
            FOX,
            Depends(modes=(CONCURRENT,)),
            replace(MODES[1], divergence=parted(expected=TOKEN)),
        ),
        "the divergence of concurrent-8 is not from run 1",
    ),
    "a difference without runs": (
        lambda: replace(not_run(FOX), modes=MODES),
        "the divergence of concurrent-8 is not from run 1",
    ),
}
REFUSALS |= MODE_REFUSALS


@pytest.mark.parametrize(("make", "message"), list(REFUSALS.values()), ids=list(REFUSALS))
def test_an_inconsistent_value_is_refused(make: Callable[[], object], message: str) -> None:
    """Fields that contradict each other or their type raise ValueError."""
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


@pytest.mark.parametrize("profile", NO_NAMES)
def test_a_profile_is_a_name(profile: str) -> None:
    """It becomes the name of a folder wherever goldens are written."""
    with pytest.raises(ValueError, match="a name must be"):
        EngineReport(name="scripted", profile=profile, facts={})
    with pytest.raises(ValueError, match="a name must be"):
        replace(ran(FOX, Match()), profile=profile)


def test_a_generation_may_differ_at_its_end() -> None:
    """There the expected or the observed token is None."""
    shorter = generation_of(7, 8, stop=Stop.END_OF_GENERATION)
    at_end = Divergence(place=Place.OUTPUT, position=2, expected=None, observed=TOKEN)

    assert drifted(FOX, shorter).generation == RUN_1
    assert (
        Repetition(first=shorter, runs=3, difference=replace(DIFFERENCE, divergence=at_end)).runs
        == 3
    )


def test_runs_may_differ_in_the_prompt() -> None:
    """The position is counted within the place."""
    first, other = tokens_of(2, 3)
    prompt = Divergence(place=Place.PROMPT, position=1, expected=first, observed=other)

    assert differing(divergence=prompt).runs == 3


def test_a_cell_that_could_not_be_judged_may_have_been_run() -> None:
    """An interrupted check has made some of the runs."""
    assert ran(FOX, LOST).runs == 3
