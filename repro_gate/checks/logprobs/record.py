"""Record baselines from calibration draws; outliers and failed controls refuse them."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar, assert_never

from repro_gate.checks.logprobs.collect import DrawCollector, DrawSet
from repro_gate.checks.logprobs.controls import (
    REMEDY,
    EchoAlignment,
    compare_echoes,
    run_prompt_controls,
)
from repro_gate.checks.logprobs.importance_weights import expected_doubts, importance_weights
from repro_gate.checks.logprobs.sessions import joined, problem_of_adding
from repro_gate.checks.tokens.record import ChangeKind
from repro_gate.core.logprobs.baseline import (
    DECIMALS,
    Baseline,
    Noise,
    changes_against,
    deviations,
    fit_noise,
    outliers,
)
from repro_gate.core.logprobs.draw import Encoding, InvalidDraw, MissedDraw
from repro_gate.core.logprobs.policy import LogprobCell, LogprobPlan, Tolerance
from repro_gate.core.logprobs.report import LogprobControl
from repro_gate.core.logprobs.sessions import SessionNoise, SessionTotals
from repro_gate.core.logprobs.verdicts import Invalid
from repro_gate.core.report import Note, NoteOrigin
from repro_gate.core.tokens.golden import FactChange, Facts
from repro_gate.core.tokens.verdicts import Inconclusive
from repro_gate.errors import InputInvalid, MeasurementUnavailable
from repro_gate.ports import BaselineReader, BaselineStore, Purpose, Scorer
from repro_gate.statistics.sessions import session_noise

T = TypeVar("T")

_NO_CONTROL = (
    "its control could not be measured, so nothing shows that its log-probabilities depend on the "
    "prompt"
)
_DEAD_CONTROL = "another prompt gave the same log-probabilities, so no check of it could fail"
_RECORD = "record the cell without --add"
_AGAIN = "if the service changed for good, record the cell again with --again"
_MAX_OTHERS = 256
"""Cells whose draws are used to estimate the noise of a policy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A cell that could get a baseline."""

    cell: LogprobCell
    source: str
    kind: ChangeKind
    """What recording would do to its baseline."""
    changes: tuple[FactChange, ...] = ()
    before: Baseline | None = None

    @property
    def extends(self) -> Baseline | None:
        """The baseline that a session is added to, if any."""
        return self.before if self.kind is ChangeKind.EXTENDED else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A cell that gets no baseline, and why."""

    cell: LogprobCell
    reason: str
    is_finding: bool
    """Outliers and invalid answers are findings; what could not be measured is not."""
    totals: tuple[float, ...] = ()
    """The sums of all its draws, in nats, in request order."""
    outlying: tuple[float, ...] = ()
    """The outliers among them."""
    remedy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """What calibration draws made of the candidates."""

    baselines: tuple[Baseline, ...]
    refused: tuple[Refused, ...]
    doubts: tuple[str, ...] = ()
    """What no check of these baselines can determine."""
    notes: tuple[Note, ...] = ()


@dataclass(slots=True, kw_only=True)
class Recording:
    """The recording of one suite: the cells to record, and the result."""

    plan: LogprobPlan
    scorer: Scorer
    wanted: list[Candidate]
    refused: list[Refused]
    kept: Mapping[str, SessionTotals]
    """The draws of the baselines that there are, by the id of the cell."""
    unchanged: int
    """Cells that keep their baseline."""
    baselines: tuple[Baseline, ...] = ()
    doubts: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()

    @property
    def draws(self) -> int:
        """The calibration draws of each cell."""
        return self.plan.suite.tolerance.calibration_draws

    def run(self, collector: DrawCollector, *, now: Callable[[], str]) -> None:
        """Make the calibration draws, see `calibrate`."""
        collector.progress.started((wanted.cell, self.draws) for wanted in self.wanted)
        made = calibrate(self.wanted, self.plan, collector=collector, now=now)
        self.baselines, self.doubts, self.notes = made.baselines, made.doubts, made.notes
        self.refused += made.refused

    @property
    def sessions(self) -> SessionNoise | None:
        """What the baselines of the suite show about sessions, with those recorded here."""
        made = {baseline.id: baseline.session_totals for baseline in self.baselines}
        return session_noise({**self.kept, **made}.values())


def plan_recordings(
    suites: Iterable[tuple[LogprobPlan, Scorer]],
    *,
    baselines: BaselineReader,
    again: bool,
    adds_at: str | None = None,
) -> list[Recording]:
    """Return a recording for each suite; a cell of several suites is recorded by one of them.

    Args:
        suites: the plans, each with what scores it.
        baselines: the present baselines.
        again: also record cells that have a baseline.
        adds_at: the time now, to add a session to the baselines instead of recording new ones.
    """
    recordings: list[Recording] = []
    for plan, scorer in suites:
        found, refused = candidates(plan, scorer=scorer, baselines=baselines, again=True)
        kept = {one.cell.id: one.before.session_totals for one in found if one.before is not None}
        wanted = [one for one in found if again or one.kind is not ChangeKind.UPDATED]
        if adds_at is not None:
            wanted, unfit = _extended(found, plan, now=adds_at)
            refused += unfit
        recordings.append(
            Recording(
                plan=plan,
                scorer=scorer,
                wanted=wanted,
                refused=refused,
                kept=kept,
                unchanged=len(plan.cells) - len(wanted) - len(refused),
            )
        )
    drawn_by: dict[str, Recording] = {}
    for one in sorted(recordings, key=lambda recording: -recording.draws):
        for candidate in one.wanted:
            drawn_by.setdefault(candidate.cell.id, one)
    for one in recordings:
        one.wanted = [each for each in one.wanted if drawn_by[each.cell.id] is one]
    return recordings


def local_models(recordings: Iterable[Recording]) -> dict[str, Facts]:
    """Return the facts of each local model of which a baseline was recorded, by its name."""
    return {
        model.name: baseline.provenance
        for one in recordings
        for models in [{each.cell.id: each.cell.policy.local_model for each in one.wanted}]
        for baseline in one.baselines
        if (model := models[baseline.id]) is not None
    }


def _extended(
    found: Iterable[Candidate], plan: LogprobPlan, *, now: str
) -> tuple[list[Candidate], list[Refused]]:
    """Return the cells whose baseline gets a session, and those that cannot get one now."""
    wanted: list[Candidate] = []
    refused: list[Refused] = []
    draws = plan.suite.tolerance.calibration_draws
    for one in found:
        problem: tuple[str, str] | None = "it has no baseline that can be read", _RECORD
        if one.before is not None:
            problem = problem_of_adding(one.cell, one.before, draws=draws, now=now)
        if problem is None:
            wanted.append(replace(one, kind=ChangeKind.EXTENDED, changes=()))
        else:
            reason, remedy = problem
            why = f"no session can be added: {reason}"
            refused.append(Refused(cell=one.cell, reason=why, is_finding=False, remedy=remedy))
    return wanted, refused


def candidates(
    plan: LogprobPlan, *, scorer: Scorer, baselines: BaselineReader, again: bool
) -> tuple[list[Candidate], list[Refused]]:
    """Return the cells without a usable baseline, or all with `again`, and the refused ones.

    Cells of a policy whose source is unknown are refused.
    """
    found: list[Candidate] = []
    refused: list[Refused] = []
    for policy in plan.policies:
        cells = [cell for cell in plan.cells if cell.policy == policy]
        try:
            source = scorer.source(policy)
        except MeasurementUnavailable as error:
            refused += [
                Refused(cell=cell, reason=error.reason, is_finding=False, remedy=error.remedy)
                for cell in cells
            ]
            continue
        recorded = baselines.recorded(source)
        tolerance = plan.suite.tolerance
        found += [_candidate(cell, source, recorded, baselines, tolerance) for cell in cells]
    wanted = [one for one in found if again or one.kind is not ChangeKind.UPDATED]
    return wanted, refused


def calibrate(
    wanted: Sequence[Candidate],
    plan: LogprobPlan,
    *,
    collector: DrawCollector,
    now: Callable[[], str],
) -> Calibrated:
    """Make the calibration draws of each candidate, and a baseline from those that are sound.

    An interruption is raised; the draws are in the log by then.
    """
    started_at = now()
    looks, refused = _encoded(wanted, plan, collector.scorer)
    echoes = compare_echoes(looks.values(), scorer=collector.scorer)
    refused += _shifted(looks, echoes)
    collector.fill(dict.fromkeys(looks, plan.suite.tolerance.calibration_draws), looks)
    sound: list[Baseline] = []
    spread = _spread(wanted, looks)
    for one in wanted:
        if one.cell.id not in looks:
            continue
        look, facts = looks[one.cell.id], collector.scorer.facts(one.cell.policy)
        others = _others(one.cell, spread)
        made = _made_of(one, look, others, facts=facts, recorded_at=now())
        if isinstance(made, Refused):
            refused.append(made)
        elif one.extends is None:
            sound.append(made)
        else:
            sound.append(joined(one.extends, made, others, started_at=started_at))
    found = _controlled(sound, plan, looks, collector)
    doubts = (f"weights of {target}: {doubt}" for target, doubt in expected_doubts(plan.suite))
    return Calibrated(
        baselines=() if found else tuple(sound),
        refused=(*refused, *found),
        doubts=tuple(doubts),
        notes=(*echoes.notes, *_shortened(looks.values())),
    )


def _controlled(
    sound: Sequence[Baseline],
    plan: LogprobPlan,
    looks: Mapping[str, DrawSet],
    collector: DrawCollector,
) -> list[Refused]:
    """Run the controls of a check; if one fails, return every cell, each with a reason.

    A control is about a policy or a pair of policies, so none of its cells can be trusted. And a
    suite recorded in part would be compared with draws of another time.
    """
    controls = dict[str, LogprobControl]()
    run_prompt_controls(controls, [(looks[one.id], one) for one in sound], collector=collector)
    reasons: dict[str, tuple[str, bool]] = {}
    for policy in dict.fromkeys(looks[one.id].cell.policy.name for one in sound):
        if policy not in controls:
            why = collector.control_problems[policy]
            reasons[policy] = (f"{_NO_CONTROL}: {why}", False)
        elif controls[policy].failed:
            reasons[policy] = (_DEAD_CONTROL, True)
    # Without the sessions before, whose draws had controls of their own.
    totals = {one.id: one.totals[-len(looks[one.id].made) :] for one in sound}
    for weights in importance_weights(
        plan.suite, totals, fixed=plan.suite.tolerance.calibration_draws
    ):
        if weights.failed:
            reason = f"weights of {weights.target}: {'; '.join(weights.problems)}"
            reasons.setdefault(weights.target, (reason, True))
    others = (f"not recorded, because {', '.join(reasons)} could not be", False)
    cells = [(looks[one.id].cell, totals[one.id]) for one in sound if reasons]
    return [
        Refused(cell=cell, reason=reason, is_finding=is_finding, totals=drawn)
        for cell, drawn in cells
        for reason, is_finding in [reasons.get(cell.policy.name, others)]
    ]


def _shortened(looks: Iterable[DrawSet]) -> Iterator[Note]:
    """Yield a note for each policy that gets fewer alternatives of a first token than it asks for.

    The ones that it gets are the reference, so that fewer changes can be seen.
    """
    few: dict[str, tuple[int, int]] = {}
    for look in looks:
        policy, listed = look.cell.policy, len(look.encoding.response)
        if policy.by_distance and listed < policy.top_logprobs:
            least, _ = few.get(policy.name, (listed, 0))
            few[policy.name] = min(least, listed), policy.top_logprobs
    for name, (least, asked) in few.items():
        message = f"the server lists {least} likely tokens, not {asked}, so {least} are compared"
        yield Note(about=name, message=message, origin=NoteOrigin.SERVER)


def _shifted(looks: dict[str, DrawSet], echoes: EchoAlignment) -> Iterator[Refused]:
    """Remove and refuse the cells whose echo is off by one token."""
    for cell_id, reason in echoes.shifted.items():
        look = looks.pop(cell_id)
        yield Refused(cell=look.cell, reason=reason, is_finding=False, remedy=REMEDY)


def _encoded(
    wanted: Sequence[Candidate], plan: LogprobPlan, scorer: Scorer
) -> tuple[dict[str, DrawSet], list[Refused]]:
    """Return a draw set for each cell whose prompt and response could be tokenized.

    A session is added in the tokens of the baseline; an answer in others is invalid.
    """
    looks = {
        one.cell.id: _look(one.cell, one.extends.encoding, plan, answers_as=one.extends.answered_as)
        for one in wanted
        if one.extends is not None
    }
    refused: list[Refused] = []
    cells = [one.cell for one in wanted if one.extends is None]
    for cell, encoding in zip(cells, scorer.encode(cells), strict=True):
        match encoding:
            case Encoding():
                looks[cell.id] = _look(cell, encoding, plan)
            case InvalidDraw(reason=reason):
                refused.append(Refused(cell=cell, reason=reason, is_finding=True))
            case MissedDraw(reason=reason, remedy=remedy):
                missed = Refused(cell=cell, reason=reason, is_finding=False, remedy=remedy)
                refused.append(missed)
            case _:
                assert_never(encoding)
    return looks, refused


def write_baselines(
    baselines: Sequence[Baseline], orphans: Sequence[tuple[str, str]], *, store: BaselineStore
) -> None:
    """Write and remove baselines, each file atomically."""
    for baseline in baselines:
        store.write(baseline)
    for source, cell_id in orphans:
        store.remove(source, cell_id)


def _candidate(
    cell: LogprobCell,
    source: str,
    recorded: frozenset[str],
    baselines: BaselineReader,
    tolerance: Tolerance,
) -> Candidate:
    if cell.id not in recorded:
        return Candidate(cell=cell, source=source, kind=ChangeKind.NEW)
    try:
        before = baselines.read(source, cell.id)
    except InputInvalid:
        return Candidate(cell=cell, source=source, kind=ChangeKind.REPAIRED)
    changes = changes_against(cell, before, tolerance)
    kind = ChangeKind.REDEFINED if changes else ChangeKind.UPDATED
    return Candidate(cell=cell, source=source, kind=kind, changes=changes, before=before)


def _look(
    cell: LogprobCell, encoding: Encoding, plan: LogprobPlan, *, answers_as: str | None = None
) -> DrawSet:
    return DrawSet(
        cell=cell,
        encoding=encoding,
        purpose=Purpose.CALIBRATION,
        answers_as=answers_as,
        noise=None,
        factor=plan.suite.tolerance.outlier_factor,
    )


def _problem(look: DrawSet) -> Refused | None:
    totals = tuple(draw.total for draw in look.draws)
    problem = look.invalid or look.missed
    match problem:
        case Invalid(reason=reason):
            # Without a baseline, no answer is expected to name a model.
            remedy = None if look.answers_as is None else _AGAIN
            return Refused(
                cell=look.cell, reason=reason, is_finding=True, totals=totals, remedy=remedy
            )
        case Inconclusive(reason=reason, remedy=remedy):
            return Refused(
                cell=look.cell, reason=reason, is_finding=False, totals=totals, remedy=remedy
            )
        case None:
            return None
        case _:
            assert_never(problem)


def _spread(
    wanted: Iterable[Candidate], looks: Mapping[str, DrawSet]
) -> dict[str, dict[str, list[float]]]:
    """Return the deviations of draws from their medians, in nats, by policy and cell."""
    spread: dict[str, dict[str, list[float]]] = defaultdict(dict)
    for one in wanted:
        look = looks.get(one.cell.id)
        if look is not None and look.made:
            before = () if one.extends is None else one.extends.totals
            found = deviations([*before, *(draw.total for draw in look.draws)])
            spread[look.cell.policy.name][look.cell.id] = found
    return spread


def _others(cell: LogprobCell, spread: Mapping[str, Mapping[str, list[float]]]) -> list[float]:
    """Return the deviations in other cells of the policy."""
    of_policy = spread[cell.policy.name]
    others = (found for name, found in of_policy.items() if name != cell.id)
    return [deviation for found in islice(others, _MAX_OTHERS) for deviation in found]


def _made_of(
    one: Candidate, look: DrawSet, others: Sequence[float], *, facts: Facts, recorded_at: str
) -> Baseline | Refused:
    problem = _problem(look)
    if problem is not None:
        return problem
    draws = tuple(tuple(round(value, DECIMALS) for value in draw.logprobs) for draw in look.draws)
    baseline = Baseline(
        id=one.cell.id,
        source=one.source,
        definition=one.cell.definition,
        encoding=look.encoding,
        draws=draws,
        facts=tuple(draw.facts for draw in look.draws),
        noise=fit_noise(draws, others=others),
        answered_as=look.draws[0].facts.model,
        provenance=facts,
        recorded_at=recorded_at,
        others=_given(draw.others for draw in look.draws),
        forks=_given(draw.fork for draw in look.draws),
    )
    problem = _unsound(look, baseline.noise)
    if problem is None and one.extends is not None:
        problem = _unsound(look, one.extends.noise)
    return problem or baseline


def _given(found: Iterable[T]) -> tuple[T, ...]:
    """Return what is known of each draw; empty where nothing is of any."""
    values = tuple(found)
    return values if any(value not in ((), None) for value in values) else ()


def _unsound(look: DrawSet, noise: Noise) -> Refused | None:
    """Return why valid draws are refused as a baseline, or None."""
    draws = look.draws
    totals = tuple(draw.total for draw in draws)
    models = sorted({draw.facts.model for draw in draws})
    if len(models) > 1:
        reason = f"two models answered: {models[0]!r} and {models[1]!r}"
        return Refused(cell=look.cell, reason=reason, is_finding=True, totals=totals)
    places = outliers(draws, noise, factor=look.factor)
    if not places:
        return None
    return Refused(
        cell=look.cell,
        reason=(
            f"{len(places)} of {len(draws)} calibration draws are outliers, further than "
            f"{noise.outlier_bound(look.factor):.3g} nats from the median {noise.center:.3f}"
        ),
        is_finding=True,
        totals=totals,
        outlying=tuple(totals[place] for place in places),
    )
