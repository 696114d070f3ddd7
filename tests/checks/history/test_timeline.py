"""What the history of a suite shows over time."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from repro_gate.checks.history.timeline import MAX_OUTLIERS, read_timeline
from repro_gate.core.history import KeptDraw, SessionCell, SessionKind
from repro_gate.core.logprobs.draw import Draw, DrawOutcome, MissedDraw
from repro_gate.core.timeline import Change, ChangeKind, ServicePoint, Timeline
from repro_gate.ports import Purpose
from tests.fakes.scoring import MODEL
from tests.fakes.simulated_history import (
    CENTER,
    OUTLIER,
    MemoryHistory,
    baselines_of,
    cell_of,
    draw_of,
    session_of,
    weighted_suite,
)

SUITE = weighted_suite(2)


def nights_of(*nights: Iterable[DrawOutcome], cell: SessionCell | None = None) -> MemoryHistory:
    """Return nights of one cell."""
    history, kept = MemoryHistory(), cell or cell_of()
    for day, draws in enumerate(nights):
        history.add(session_of(day), {kept.id: (kept, list(draws))})
    return history


def read(history: MemoryHistory) -> Timeline:
    """Return what a history shows, without baselines."""
    return read_timeline(SUITE, history=history, baselines={})


def test_an_outlier_is_found_with_its_call() -> None:
    """A month later its time, request and backend are there."""
    history = nights_of(
        [draw_of(OUTLIER, request_id="req-x", at="2026-01-01T03:00:01+00:00"), draw_of(CENTER)],
        *([draw_of(CENTER)] for _ in range(30)),
    )

    timeline = read(history)

    (outlier,) = timeline.outliers
    assert (outlier.session, outlier.cell, outlier.total) == (0, "base--item-0", OUTLIER)
    assert outlier.distance == OUTLIER - CENTER
    assert (outlier.facts.request_id, outlier.facts.backend) == ("req-x", "host-1")
    assert timeline.cells[0].far == 1


def test_the_farthest_outliers_are_listed_newest_first() -> None:
    """All of them are counted."""
    history = nights_of(*([draw_of(CENTER - 10 - day % 7)] for day in range(MAX_OUTLIERS + 20)))

    timeline = read(history)

    days = [outlier.session for outlier in timeline.outliers]
    assert days == sorted(days, reverse=True)
    assert len(days) == MAX_OUTLIERS
    assert timeline.cells[0].far == MAX_OUTLIERS + 20
    assert min(abs(outlier.distance) for outlier in timeline.outliers) == 10


@pytest.mark.parametrize(
    "outcome", [draw_of(CENTER), draw_of(OUTLIER), MissedDraw(reason="x", remedy=None)]
)
def test_a_draw_that_is_no_outlier_is_not_listed(outcome: DrawOutcome) -> None:
    """A control has another prompt, so its sum is far."""
    history = nights_of([draw_of(OUTLIER)])
    key = history.kept[0][0].key
    draw = history.calls[key][0]
    control = KeptDraw(
        cell=draw.cell, purpose=Purpose.CONTROL.value, number=1, line=9, outcome=outcome
    )
    history.calls[key].append(control)

    assert len(read(history).outliers) == 1


def test_another_model_is_a_change() -> None:
    """And a name that goes away beside another one is none."""
    history = nights_of(
        [draw_of(CENTER)],
        [draw_of(CENTER, model="other"), draw_of(CENTER)],
        [draw_of(CENTER, model="other")],
        [draw_of(CENTER)],
    )

    assert read(history).changes == (
        Change(
            session=1,
            policy="base",
            kind=ChangeKind.MODEL,
            before=(MODEL,),
            after=tuple(sorted([MODEL, "other"])),
        ),
        Change(session=3, policy="base", kind=ChangeKind.MODEL, before=("other",), after=(MODEL,)),
    )


def test_a_backend_is_new_once() -> None:
    """Replicas take turns, so one that was seen before is no change."""
    hosts = ("a", "b", "a", "b", "c")
    history = nights_of(*([draw_of(CENTER, backend_host=host)] for host in hosts))

    changes = read(history).changes

    assert [(each.session, each.kind) for each in changes] == [
        (1, ChangeKind.BACKEND),
        (4, ChangeKind.BACKEND),
    ]


def test_a_session_without_an_answer_changes_nothing() -> None:
    """The next one is compared with the last that was answered."""
    history = nights_of(
        [draw_of(CENTER)], [MissedDraw(reason="x", remedy=None)], [draw_of(CENTER, fingerprint="f")]
    )

    timeline = read(history)

    assert [(each.session, each.before) for each in timeline.changes] == [(2, ("fp-1",))]
    assert [point.missed for point in timeline.cells[0].points] == [0, 1, 0]


def test_the_band_is_that_of_the_baseline() -> None:
    """Without a baseline there is no band, and the center is that of the last session."""
    history = nights_of([draw_of(CENTER)])
    baselines = baselines_of(SUITE)

    (with_band,) = read_timeline(SUITE, history=history, baselines=baselines).cells
    (without,) = read(history).cells

    assert with_band.center == CENTER
    assert with_band.band == pytest.approx(0.1)
    assert (without.center, without.band) == (CENTER, None)


def test_latency_and_cost_are_of_a_policy() -> None:
    """The cost of a session is unknown when that of one cell is."""
    history, cells = MemoryHistory(), [cell_of(item=f"item-{number}") for number in range(2)]
    free = replace(cells[1], usd_per_million_tokens=0.0)
    draws: list[DrawOutcome] = [draw_of(CENTER, latency_s="0.5")]
    history.add(session_of(0), {cell.id: (cell, draws) for cell in cells})
    history.add(session_of(1), {cell.id: (cell, draws) for cell in (cells[0], free)})
    history.add(session_of(2), {cells[0].id: (cells[0], [MissedDraw(reason="x", remedy=None)])})

    (line,) = read(history).services

    assert line.points == (
        ServicePoint(session=0, latency_ms=500, usd=2 * 120 * 0.9e-6, cached_tokens=None),
        ServicePoint(session=1, latency_ms=500, usd=None, cached_tokens=None),
        ServicePoint(session=2, latency_ms=None, usd=None, cached_tokens=None),
    )
    assert line.usd == pytest.approx(2.16e-4)


def test_sessions_without_a_draw_are_listed_apart() -> None:
    """Those of other suites are not listed."""
    history = nights_of([draw_of(CENTER)])
    history.kept.append((replace(session_of(1), is_closed=False), []))
    history.kept.append((replace(session_of(2), suite=None, epoch=None), []))

    timeline = read(history)

    assert [each.key for each in timeline.sessions] == ["2026-01-01-1000-1"]
    assert [each.key for each in timeline.empty] == ["2026-01-02-1001-1"]
    assert [each.key for each in timeline.unfinished()] == ["2026-01-02-1001-1"]


def test_cells_are_in_the_order_of_the_matrix() -> None:
    """Those of a policy together, and those that are no longer in the matrix last."""
    history, made = MemoryHistory(), [draw_of(CENTER)]
    for day, (policy, item) in enumerate(
        [
            ("gone", "x"),
            ("tuned", "item-1"),
            ("base", "item-9"),
            ("base", "item-1"),
            ("base", "item-0"),
        ]
    ):
        cell = cell_of(policy, item)
        history.add(session_of(day), {cell.id: (cell, list(made))})

    assert [line.cell for line in read(history).cells] == [
        *("base--item-0", "base--item-1", "base--item-9", "tuned--item-1", "gone--x"),
    ]


def test_a_session_of_no_suite_has_only_our_cells() -> None:
    """It may have those of other suites too."""
    history, made = MemoryHistory(), [draw_of(CENTER)]
    cells = [cell_of("base", "item-0"), cell_of("base", "of-another-suite")]
    session = replace(session_of(0, kind=SessionKind.CALIBRATION), suite=None)
    history.add(session, {cell.id: (cell, list(made)) for cell in cells})

    assert [line.cell for line in read(history).cells] == ["base--item-0"]


def test_only_some_cells_are_read() -> None:
    """A selection leaves the others out."""
    history = MemoryHistory()
    made: list[DrawOutcome] = [draw_of(CENTER)]
    cells = [cell_of(item="item-0"), cell_of(item="item-1")]
    history.add(session_of(0), {cell.id: (cell, made) for cell in cells})

    timeline = read_timeline(SUITE, history=history, cells=["base--item-1"], baselines={})

    assert [line.item for line in timeline.cells] == ["item-1"]


@pytest.mark.parametrize(
    ("totals", "ratio"),
    [
        ((CENTER, OUTLIER, OUTLIER + 1), OUTLIER + 1 - CENTER),
        ((CENTER, CENTER, OUTLIER), 0.0),
        ((CENTER, CENTER - 1, OUTLIER, CENTER - 2), -1.0),
    ],
)
def test_weights_are_of_draws_without_outliers(totals: tuple[float, ...], ratio: float) -> None:
    """Where most draws are far, the cell has shifted and none is an outlier."""
    history, base, target = MemoryHistory(), cell_of("base"), cell_of("tuned")
    drawn: list[DrawOutcome] = list(map(draw_of, totals))
    history.add(session_of(0), {base.id: (base, [draw_of(CENTER)]), target.id: (target, drawn)})

    (pair,) = read(history).pairs

    assert pair.points[0].summary.divergence == pytest.approx(ratio)


def test_a_calibration_has_no_weights() -> None:
    """Its draws were made at another time for each policy."""
    history = MemoryHistory()
    cells = [cell_of("base"), cell_of("tuned")]
    made: list[DrawOutcome] = [Draw(logprobs=(CENTER,))]
    session = session_of(0, kind=SessionKind.CALIBRATION)
    history.add(session, {cell.id: (cell, made) for cell in cells})

    (pair,) = read(history).pairs

    assert pair.points == ()
