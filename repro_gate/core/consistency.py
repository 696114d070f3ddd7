"""Whether a report from elsewhere fits together: what a check of ours never says.

Reports are rendered on the strength of it. That a report is true, nobody can know from it.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import chain

from repro_gate.core.cells import is_name
from repro_gate.core.contradictions import Contradiction, contradictions_in_options, within
from repro_gate.core.controls import Control
from repro_gate.core.divergence import Divergence, Place, first_divergence
from repro_gate.core.goldens import Facts
from repro_gate.core.logprob_consistency import contradictions_in_logprobs
from repro_gate.core.report import CellReport, EngineReport, GateReport, Timing
from repro_gate.core.shards import MeasuredCell, ShardReport
from repro_gate.core.text import printable
from repro_gate.core.tokens import Generation
from repro_gate.core.verdicts import Drift, Inconclusive, Nondeterministic, Unrecorded


def contradiction_in(report: GateReport) -> Contradiction | None:
    """Return the first thing in a report that cannot be, or None."""
    parts = (
        *(within(f"cells[{i}]", _in_cell(cell)) for i, cell in enumerate(report.cells)),
        *(
            within(f"cells[{i}]", _in_provenance(cell.provenance, report.provenances))
            for i, cell in enumerate(report.cells)
        ),
        *(
            within(f"controls[{i}]", _in_control(control.divergence))
            for i, control in enumerate(report.controls)
        ),
        *(within(f"engines[{i}]", _in_engine(engine)) for i, engine in enumerate(report.engines)),
        _in_timing(report.timing),
        contradictions_in_options("repeat_with", report.repeat_with),
        *(
            within(f"logprobs[{i}]", contradictions_in_logprobs(part))
            for i, part in enumerate(report.logprobs)
        ),
    )
    return next(chain.from_iterable(parts), None)


def contradiction_in_shard(report: ShardReport) -> Contradiction | None:
    """Return the first thing in the report of a shard that cannot be, or None."""
    parts = (
        contradictions_in_options("identity.options", report.identity.options),
        *(within(f"cells[{i}]", _in_measured(cell)) for i, cell in enumerate(report.cells)),
        *(
            within(f"cells[{i}]", _in_provenance(cell.provenance, report.provenances))
            for i, cell in enumerate(report.cells)
        ),
        *(within(f"controls[{i}]", _in_run(run, report)) for i, run in enumerate(report.controls)),
        _in_models(report),
        *(within(f"engines[{i}]", _in_engine(engine)) for i, engine in enumerate(report.engines)),
        _in_timing(report.timing),
        *(
            within(f"logprobs[{i}]", contradictions_in_logprobs(part))
            for i, part in enumerate(report.logprobs)
        ),
    )
    return next(chain.from_iterable(parts), None)


def _in_cell(found: CellReport) -> Iterator[Contradiction]:
    if found.profile is not None:
        yield from _in_profile(found.profile)
    if found.runs < 0 or (found.runs == 0) != (found.generation is None):
        expected = "as many as there are, with the first of them"
        yield Contradiction(place="runs", expected=expected, found=str(found.runs))
    verdict, first = found.verdict, found.generation
    if first is None:
        if not isinstance(verdict, Inconclusive):
            expected = "what the verdict is about"
            yield Contradiction(place="generation", expected=expected, found="none")
    elif isinstance(verdict, Drift):
        yield from within("verdict", _in_drift(verdict, found, first))
    elif isinstance(verdict, Unrecorded) and verdict.former is not None:
        yield from within("verdict.former", _in_control(verdict.former.divergence))
    elif isinstance(verdict, Nondeterministic):
        yield from within("verdict", _in_difference(verdict, first, runs=found.runs))


def _in_provenance(number: int | None, known: Sequence[Facts]) -> Iterator[Contradiction]:
    if number is not None and not 0 <= number < len(known):
        expected = f"one of {len(known)} provenances, counted from 0"
        yield Contradiction(place="provenance", expected=expected, found=str(number))


def _in_engine(found: EngineReport) -> Iterator[Contradiction]:
    yield from _in_profile(found.profile)


def _in_profile(profile: str) -> Iterator[Contradiction]:
    # It becomes the name of a folder, wherever what was observed is written.
    if not is_name(profile):
        yield Contradiction(place="profile", expected="a name", found=printable(profile))


def _in_drift(verdict: Drift, found: CellReport, observed: Generation) -> Iterator[Contradiction]:
    golden = verdict.golden
    if golden.cell != found.cell:
        yield Contradiction(
            place="golden.cell", expected="the cell that was checked", found="another definition"
        )
    if first_divergence(golden.generation, observed) != verdict.divergence:
        yield Contradiction(
            place="divergence",
            expected="the first position at which golden and generation differ",
            found="another one",
        )


def _in_difference(
    verdict: Nondeterministic, first: Generation, *, runs: int
) -> Iterator[Contradiction]:
    if not 1 < verdict.run <= runs:
        expected = f"one of the runs 2 to {runs}"
        yield Contradiction(place="run", expected=expected, found=str(verdict.run))
    said = first.prompt if verdict.divergence.place is Place.PROMPT else first.tokens
    position = verdict.divergence.position
    here = said[position] if 0 <= position < len(said) else None
    if position > len(said) or here != verdict.divergence.expected:
        expected = "a token of run 1, or its end"
        yield Contradiction(place="divergence", expected=expected, found="another one")
    yield from _in_control(verdict.divergence)


def _in_control(divergence: Divergence | None) -> Iterator[Contradiction]:
    if divergence is None:
        return
    if divergence.position < 0 or divergence.expected == divergence.observed:
        expected = "a position at which two tokens differ"
        yield Contradiction(place="divergence", expected=expected, found="another one")


def _in_measured(found: MeasuredCell) -> Iterator[Contradiction]:
    done = found.repetition
    if (done is None) != (found.provenance is None):
        expected = "the provenance of the runs, and none without a run"
        yield Contradiction(place="provenance", expected=expected, found=str(found.provenance))
    if done is None:
        return
    if done.runs < 1:
        expected = "at least 1"
        yield Contradiction(place="repetition.runs", expected=expected, found=str(done.runs))
    if done.difference is not None:
        difference = _in_difference(done.difference, done.first, runs=done.runs)
        yield from within("repetition.difference", difference)


def _in_run(control: Control, report: ShardReport) -> Iterator[Contradiction]:
    if control.problem is not None:
        return
    contrast = control.contrast
    run_here = {one.cell for one in report.cells if one.repetition is not None}
    for place, cell, generation in (
        ("reference", contrast.cell, control.reference),
        ("generation", contrast.varied, control.generation),
    ):
        if generation is None and cell not in run_here:
            expected = f"the output of {cell.id}, which was not run here as a cell"
            yield Contradiction(place=place, expected=expected, found="none")


def _in_models(report: ShardReport) -> Iterator[Contradiction]:
    for one in report.cells:
        if one.repetition is not None and one.cell.model not in report.models:
            expected = f"{one.cell.model}, which {one.cell.id} is of"
            yield Contradiction(place="models", expected=expected, found="none of that name")


def _in_timing(timing: Timing) -> Iterator[Contradiction]:
    for place, value in (
        ("timing.wall_s", timing.wall_s),
        ("timing.load_s", timing.load_s),
        ("timing.engine_s", timing.engine_s),
        ("timing.generated_tokens", timing.generated_tokens),
    ):
        if not 0 <= value < math.inf:
            yield Contradiction(place=place, expected="a number of at least 0", found=str(value))
