"""Grade drifts: compare their distances with those of the harmless changes in the references."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

from repro_gate.core.cause import forced_through, not_rounding
from repro_gate.core.matrix import Suite
from repro_gate.core.report import CellReport
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.comparison import ForcedTokens
from repro_gate.core.tokens.golden import Golden
from repro_gate.core.tokens.grade import LARGEST_SHIFT, Grade, GradeReason, VariantDistance
from repro_gate.core.tokens.reference import CellReference, Reference
from repro_gate.core.tokens.verdicts import Depends, Drift, Match

if TYPE_CHECKING:
    from repro_gate.statistics.grading import Comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class _Forced:
    """A cell whose golden was forced through the model; one that matches needs no forcing."""

    report: CellReport
    golden: Golden
    found: ForcedTokens

    @property
    def distance(self) -> float:
        return self.found.mean_distance or 0.0

    @property
    def has_drifted(self) -> bool:
        return isinstance(self.report.verdict, Drift)


@dataclass(slots=True, kw_only=True)
class _Group:
    """The cells of a model in a suite, with everything that grades them."""

    suite: Suite
    model: str
    drifted: int = 0
    reason: GradeReason | None = None
    shown_by: str | None = None
    profiles: frozenset[str] = frozenset()
    """Of the goldens."""
    forced: list[_Forced] = field(default_factory=list[_Forced])
    variants: dict[str, dict[str, CellReference]] = field(
        default_factory=dict[str, dict[str, CellReference]]
    )
    """By name and cell id, the entries of the compared cells."""
    left_out: tuple[str, ...] = ()


def grades_of(
    reports: Iterable[CellReport],
    *,
    suites: Mapping[Cell, Suite],
    goldens: Mapping[Cell, Golden],
    references: Mapping[str, Sequence[Reference]],
) -> tuple[Grade, ...]:
    """Return a grade for each model in each suite in which it drifted, or which is against others.

    Args:
        reports: the results of all cells.
        suites: the suite of each cell.
        goldens: those that the cells were compared with.
        references: by profile of the goldens.
    """
    groups = _groups(reports, suites, goldens)
    for group in groups:
        _compare_with(group, references)
    tested = [group for group in groups if group.reason is None]
    comparisons = _compared(tested) if tested else ()
    statistics = {id(group): found for group, found in zip(tested, comparisons, strict=True)}
    return tuple(_grade(group, statistics.get(id(group))) for group in groups)


def _groups(
    reports: Iterable[CellReport], suites: Mapping[Cell, Suite], goldens: Mapping[Cell, Golden]
) -> list[_Group]:
    cells: dict[tuple[str, str], list[CellReport]] = defaultdict(list)
    for report in reports:
        cells[report.suite, report.cell.model].append(report)
    groups: list[_Group] = []
    for (_, model), found in cells.items():
        suite = suites[found[0].cell]
        drifted = [report for report in found if isinstance(report.verdict, Drift)]
        if drifted or suite.against is not None:
            group = _Group(suite=suite, model=model, drifted=len(drifted))
            shown = ((not_rounding(report), report.id) for report in drifted)
            group.reason, group.shown_by = next((at for at in shown if at[0]), (None, None))
            committed = (goldens.get(report.cell) for report in found)
            group.profiles = frozenset(golden.profile for golden in committed if golden)
            forced = (_forced(report, goldens.get(report.cell)) for report in found)
            group.forced = [each for each in forced if each is not None]
            groups.append(group)
    return groups


def _forced(report: CellReport, golden: Golden | None) -> _Forced | None:
    """Return how nearly the tokens of a golden are generated; None when it is not known."""
    if (
        isinstance(report.verdict, Match | Depends)
        and golden is not None
        and golden.generation.tokens
    ):
        count = len(golden.generation.tokens)
        same = ForcedTokens(
            count=count,
            explained=count,
            mean_distance=0.0,
            mean_kl_divergence=None,
            same_best=None,
        )
        return _Forced(report=report, golden=golden, found=same)
    found = forced_through(report)
    if found is None or golden is None:
        return None
    return _Forced(report=report, golden=golden, found=found)


def _compare_with(group: _Group, references: Mapping[str, Sequence[Reference]]) -> None:
    """Choose the variants that know most of the drifted cells, and the cells that they all know."""
    if group.reason is not None:
        return
    recorded = [each for at in sorted(group.profiles) for each in references.get(at, ())]
    is_verified = [each for each in group.forced if each.has_drifted]
    if recorded and group.drifted and not is_verified:
        group.reason = GradeReason.NOT_VERIFIED
        return
    wanted = is_verified or group.forced
    known = {
        reference.variant: _current_entries(reference, group.forced)
        for reference in recorded
        if any(each.report.id in reference.cells for each in wanted)
    }
    counts = {name: sum(each.report.id in of for each in wanted) for name, of in known.items()}
    most = max(counts.values(), default=0)
    if not most:
        group.reason = GradeReason.STALE if known else GradeReason.NO_REFERENCE
        return
    group.left_out = tuple(sorted(name for name, count in counts.items() if count < most))
    group.variants = {name: of for name, of in known.items() if counts[name] == most}
    common = [
        each for each in group.forced if all(each.report.id in of for of in group.variants.values())
    ]
    if common:
        group.forced = common
        ids = [each.report.id for each in common]
        group.variants = {name: {at: of[at] for at in ids} for name, of in group.variants.items()}
    else:
        # Each of them knows other cells.
        group.reason = GradeReason.STALE


def _current_entries(reference: Reference, forced: Iterable[_Forced]) -> dict[str, CellReference]:
    entries = ((each, reference.cells.get(each.report.id)) for each in forced)
    return {
        each.report.id: entry
        for each, entry in entries
        if entry is not None and entry.is_of(each.golden)
    }


def _grade(group: _Group, comparison: "Comparison | None") -> Grade:
    drifted = [each.found for each in group.forced if each.has_drifted]
    tokens = sum(each.found.count for each in group.forced)
    of_drifted = sum(found.count for found in drifted if found.same_best is not None)
    same_best = sum(found.same_best or 0 for found in drifted)
    return Grade(
        suite=group.suite.name,
        model=group.model,
        fail_on=group.suite.fail_on,
        reason=group.reason,
        shown_by=group.shown_by,
        cells=len(group.forced),
        tokens=tokens,
        not_compared=group.drifted - len(drifted),
        distance=_mean(each.distance for each in group.forced),
        explained=sum(each.found.explained for each in group.forced) / tokens if tokens else None,
        kl_divergence=_mean(found.mean_kl_divergence for found in drifted),
        same_best=same_best / of_drifted if of_drifted else None,
        variants=() if comparison is None else _variants(group, comparison),
        left_out=group.left_out,
        p_value=None if comparison is None else comparison.p_value,
        tests=0 if comparison is None else comparison.tests,
        detectable_shift=None if comparison is None else comparison.detectable_shift,
        outlier=None if comparison is None else _outlier(group),
    )


def _outlier(group: _Group) -> str | None:
    """Return the id of the farthest drifted cell if no variant moves a cell nearly as far."""
    entries = (entry for of in group.variants.values() for entry in of.values())
    usual = max(entry.mean_distance for entry in entries)
    farthest = max(group.forced, key=lambda each: each.distance)
    return farthest.report.id if farthest.distance > usual + LARGEST_SHIFT else None


def _variants(group: _Group, comparison: "Comparison") -> tuple[VariantDistance, ...]:
    drifted = [each.report.id for each in group.forced if each.has_drifted]
    variants = [
        VariantDistance(
            name=name,
            distance=_mean(entry.mean_distance for entry in entries.values()) or 0.0,
            p_value=comparison.by_variant[name],
            kl_divergence=_mean(entries[cell].kl_divergence for cell in drifted),
        )
        for name, entries in group.variants.items()
    ]
    return tuple(sorted(variants, key=lambda variant: (-variant.distance, variant.name)))


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _compared(groups: Sequence[_Group]) -> "tuple[Comparison, ...]":
    from repro_gate.statistics.grading import (  # noqa: PLC0415 -- numpy, only for a drift
        CellDistances,
        compare,
    )

    return compare(
        [
            CellDistances(
                observed=tuple(each.distance for each in group.forced),
                variants={
                    name: tuple(entries[each.report.id].mean_distance for each in group.forced)
                    for name, entries in group.variants.items()
                },
            )
            for group in groups
        ]
    )
