"""Read the baselines and decide which cells can be compared, before the first paid call."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

from repro_gate.checks.tokens.record import orphans_of
from repro_gate.core.logprobs.baseline import Baseline, changes_against
from repro_gate.core.logprobs.policy import LogprobCell, LogprobPlan, Tolerance
from repro_gate.core.logprobs.sessions import SessionNoise, SessionTotals
from repro_gate.core.tokens.verdicts import Inconclusive, Unrecorded
from repro_gate.errors import InputInvalid, MeasurementUnavailable
from repro_gate.ports import BaselineReader, Scorer
from repro_gate.statistics.sessions import session_noise


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """The cells of a plan: those with a usable baseline, and the verdicts of the others."""

    sources: dict[str, str]
    """The source of the baselines of each policy, by name, where it is known."""
    comparable: tuple[LogprobCell, ...]
    decided: dict[str, Unrecorded | Inconclusive]
    """The verdict of every other cell, by its id."""
    orphans: tuple[tuple[str, str], ...]
    """(source, id) of every baseline that no cell of the matrix claims."""
    tokens: int
    """Prompt and response tokens of one draw of every comparable cell."""
    fingerprint: str
    """Changes with the plan, the tolerance and every baseline."""
    sessions: SessionNoise | None = None
    """What the baselines of the comparable cells show about sessions."""


def run_preflight(plan: LogprobPlan, *, scorer: Scorer, baselines: BaselineReader) -> Preflight:
    """Return which cells of a plan can be compared.

    Raises:
        InputInvalid: baselines are broken; the message names each.
    """
    sources: dict[str, str] = {}
    decided: dict[str, Unrecorded | Inconclusive] = {}
    for policy in plan.policies:
        try:
            sources[policy.name] = scorer.source(policy)
        except MeasurementUnavailable as error:
            problem = Inconclusive(reason=error.reason, remedy=error.remedy)
            decided |= {cell.id: problem for cell in plan.cells if cell.policy == policy}
    recorded = {source: baselines.recorded(source) for source in sources.values()}
    comparable: list[LogprobCell] = []
    sessions: list[SessionTotals] = []
    tokens, digest = 0, hashlib.sha256(repr(plan.suite.tolerance).encode())
    for cell, baseline in _read_all(plan, sources, recorded, baselines):
        reason = _reason_against(cell, baseline, plan.suite.tolerance)
        if baseline is None or reason is not None:
            decided[cell.id] = Unrecorded(reason=reason or "there is no baseline")
            continue
        comparable.append(cell)
        sessions.append(baseline.session_totals)
        tokens += cell.tokens(baseline.encoding, counted=baseline.facts[0].prompt_tokens)
        digest.update(_identity(baseline))
    return Preflight(
        sources=sources,
        comparable=tuple(comparable),
        decided=decided,
        orphans=tuple(orphans_of(baselines.recorded, recorded, claimed=plan.claimed)),
        tokens=tokens,
        fingerprint=digest.hexdigest(),
        sessions=session_noise(sessions),
    )


def _read_all(
    plan: LogprobPlan,
    sources: dict[str, str],
    recorded: dict[str, frozenset[str]],
    baselines: BaselineReader,
) -> Iterator[tuple[LogprobCell, Baseline | None]]:
    """Yield each measurable cell with its baseline, one at a time."""
    errors: list[InputInvalid] = []
    for cell in plan.cells:
        source = sources.get(cell.policy.name)
        if source is None:
            continue
        if cell.id not in recorded[source]:
            yield cell, None
            continue
        try:
            yield cell, baselines.read(source, cell.id)
        except InputInvalid as error:
            errors.append(error)
    if errors:
        raise InputInvalid("\n".join(map(str, errors)))


def _reason_against(
    cell: LogprobCell, baseline: Baseline | None, tolerance: Tolerance
) -> str | None:
    """Return why a baseline cannot be used for a cell, or None."""
    if baseline is None:
        return "there is no baseline"
    changes = changes_against(cell, baseline, tolerance)
    if not changes:
        return None
    changed = "; ".join(f"{change.name} was {change.before}" for change in changes)
    return f"the baseline is for another definition of the cell: {changed}"


def _identity(baseline: Baseline) -> bytes:
    facts = [baseline.id, baseline.source, baseline.recorded_at, *baseline.totals]
    return json.dumps(facts).encode()
