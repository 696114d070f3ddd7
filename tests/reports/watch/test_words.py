"""The status of a watch in words, for a terminal and in Markdown."""

from dataclasses import replace

import pytest

from repro_gate.core.tokens.verdicts import Inconclusive
from repro_gate.core.watch.night import Uncounted
from repro_gate.core.watch.state import (
    Alarm,
    Direction,
    Level,
    Sight,
    Stream,
    StreamKind,
    WatchReport,
    WatchState,
)
from repro_gate.core.watch.status import Seen, WatchStatus, not_open
from repro_gate.reports.watch.words import (
    headline_of,
    render_status,
    render_status_markdown,
    status_lines,
)
from tests.fakes.nights import alarm_of, night_of, watch_of, watch_report_of
from tests.reports.random_reports import HOSTILE_PIECES

LOST = Inconclusive(reason="the server was lost", remedy="find it")
WEAK = Level(
    stream=Stream(kind=StreamKind.FAR, direction=Direction.UP), evidence=2e5, threshold=5e5
)


def _status(
    report: WatchReport | None, *unknown: Inconclusive, seen: tuple[Seen, ...] = ()
) -> WatchStatus:
    return WatchStatus(suite="hosted", watch=watch_of(), report=report, unknown=unknown, seen=seen)


def _alarm(kind: StreamKind, cell: str | None, **changes: object) -> Alarm:
    level = Level(
        stream=Stream(kind=kind, direction=Direction.UP, cell=cell), evidence=1e9, threshold=1e6
    )
    return alarm_of(level=level, **changes)


def _texts(status: WatchStatus, label: str) -> list[str]:
    return [text for name, text in status_lines(status, str) if name == label]


def test_a_drift_on_a_terminal() -> None:
    """Since when, which cells, who answers, and what to do."""
    seen = Seen(fact="backend", before=("a", "b"), since=("c",))
    report = watch_report_of(alarm_of(), returned=night_of(37, {}))

    assert render_status(_status(report, seen=(seen,))) == (
        "watch hosted: drift since 2026-02-07\n"
        "  alarm     base--0, from about the night of 2026-01-31 on, found in that of 2026-02-07: "
        "median\n"
        "            distance from 0.0000 nats to -0.3000 nats; shift -0.3000 nats\n"
        "  returned  the values are among the earlier ones again since the night of 2026-02-07\n"
        "  seen      backend before the change: a, b; since: c\n"
        "  nights    38 counted, the last of 2026-02-07\n"
        f"  epoch     {watch_of().epoch.digest[:16]}, since 2026-01-02: 5 draws of 2 cells a "
        "night; at most 1 % of unchanged\n"
        "            services have an alarm in 365 nights\n"
        "  keep      if the service stays as it is now: repro-gate record-baseline --suite hosted "
        "--again,\n"
        "            then repro-gate watch accept --suite hosted --reason TEXT\n"
        "  or        if the change is over, or was none: repro-gate watch dismiss --suite hosted "
        "--reason\n"
        "            TEXT\n"
    )


def test_markdown_has_the_same_words() -> None:
    """With untrusted text in code spans."""
    status = _status(watch_report_of(alarm_of()), LOST)
    plain = " ".join(render_status(status).split())

    markdown = render_status_markdown(status)

    assert markdown.startswith(
        "### ❌ watch hosted: drift since 2026-02-07\n\n- **unknown**: `the "
    )
    words = markdown.replace("- **", "").replace("**:", "").replace("`", "")
    assert " ".join(words.split()).removeprefix("### ❌ ") == plain


@pytest.mark.parametrize(
    ("state", "mark"),
    [(WatchState.QUIET, "✅"), (WatchState.WARNING, "✅"), (WatchState.LEARNING, "✅")],
)
def test_the_mark_is_that_of_the_outcome(state: WatchState, mark: str) -> None:
    """A warning is no finding."""
    assert render_status_markdown(_status(watch_report_of(state=state))).startswith(f"### {mark} ")


def test_what_is_not_open_has_one_reason_and_one_remedy() -> None:
    """And nothing else."""
    status = WatchStatus(suite="hosted", watch=None, report=None, unknown=(not_open("hosted"),))

    assert [label for label, _ in status_lines(status, str)] == ["unknown", "try"]
    assert render_status_markdown(status).startswith("### ❔ watch hosted: unknown\n")


def test_the_unknown_names_what_is_in_the_way() -> None:
    """And a night without a remedy has none."""
    status = _status(None, LOST, Inconclusive(reason="late", remedy=None))

    lines = [(label, text) for label, text in status_lines(status, str) if label != "epoch"]
    assert lines == [("unknown", LOST.reason), ("try", "find it"), ("unknown", "late")]
    assert headline_of(status) == "watch hosted: unknown"


def test_alarms_of_one_cell_are_one_line() -> None:
    """The measures in the order of their alarms, and the largest shift; many cells are counted."""
    alarms = [
        _alarm(StreamKind.CHANGED, None, before=0.0, after=1.0, effect=0.2),
        _alarm(StreamKind.MEAN, None, before=0.0, after=0.5, effect=0.5),
        _alarm(StreamKind.FAR, "base--0", before=0.0, after=0.1, effect=0.0),
        *(_alarm(StreamKind.MEDIAN, f"base--{n}") for n in range(1, 6)),
    ]

    first, second, *_, last = _texts(_status(watch_report_of(*alarms)), "alarm")

    assert first.endswith(
        "draws off the reference from 0 % to 100 %; mean distance from 0.0000 nats to "
        "+0.5000 nats; shift +0.5000 nats"
    )
    assert "base--0, from about" in second
    assert "far draws from 0 % to 10 %" in second
    assert last == "2 more cells"


def test_a_shift_below_the_floor_is_called_so() -> None:
    """It is a note, and has the same ways out."""
    report = watch_report_of(alarm_of(is_drift=False, effect=-0.05), state=WatchState.CHANGED)
    status = _status(report)

    assert _texts(status, "alarm")[0].endswith("shift -0.0500 nats, below the floor")
    assert _texts(status, "or") != []


def test_a_warning_is_weak_evidence() -> None:
    """With the share of an alarm, and how often it comes without a change."""
    tiny = replace(WEAK, evidence=1.0)
    report = watch_report_of(state=WatchState.WARNING, largest=(WEAK, tiny))

    status = _status(report)

    assert _texts(status, "weak") == ["all cells: far draws, 40 % of an alarm; not certain"]
    assert _texts(status, "do") == [
        "wait for the next nights: up to 10 % of unchanged services have a warning in 365 nights"
    ]


def test_learning_shows_what_can_be_found() -> None:
    """By the rule itself; a change that is never found is called so."""
    sight = Sight(nights=5, suite=None, cell=1)
    report = watch_report_of(state=WatchState.LEARNING, sight=sight)

    assert _texts(_status(report), "sight")[0] == (
        "after 5 nights without a change, a change of all cells is not found, and one of a single "
        "cell has to last 1 night, if every changed night is beyond all before it"
    )


def test_stored_nights_that_do_not_count_are_listed() -> None:
    """The last of them, with the reason."""
    uncounted = tuple(
        Uncounted(night=night_of(number, {}), reason=f"reason {number}") for number in range(7)
    )
    status = _status(watch_report_of(uncounted=uncounted, notes=("a note",)))

    assert _texts(status, "nights") == [
        "38 counted, the last of 2026-02-07; 7 stored ones not counted"
    ]
    assert _texts(status, "uncounted")[-1] == "2026-01-07-run-1: reason 6"
    assert (len(_texts(status, "uncounted")), _texts(status, "note")) == (5, ["a note"])
    assert _texts(_status(watch_report_of(last=None, nights=0)), "nights") == ["0 counted"]


def test_many_backends_are_counted() -> None:
    """And where none was seen, it is none."""
    seen = Seen(fact="backend", before=tuple("abcdefg"), since=())

    (text,) = _texts(_status(watch_report_of(alarm_of()), seen=(seen,)), "seen")

    assert text == "backend before the change: a, b, c, d, e, 2 more; since: none"
    same = Seen(fact="backend", before=("a",), since=("a",))
    (text,) = _texts(_status(watch_report_of(alarm_of()), seen=(same,)), "seen")
    assert text == "backend before the change and since: a"


@pytest.mark.parametrize("text", HOSTILE_PIECES)
def test_hostile_text_is_inert(text: str) -> None:
    """Whatever a server, a history or a file has."""
    night = night_of(1, {}, key=text or "x")
    report = watch_report_of(
        alarm_of(),
        uncounted=(Uncounted(night=night, reason=text or "x"),),
        notes=(text,),
    )
    seen = Seen(fact="model", before=(text,), since=(text * 100,))
    status = _status(report, Inconclusive(reason=text or "x", remedy=text), seen=(seen,))

    terminal, markdown = render_status(status), render_status_markdown(status)

    assert terminal.replace("\n", "").isprintable()
    assert "##[" not in terminal
    assert markdown.replace("\n", "").isprintable()
    assert len(markdown) < 13_000
    assert "<!--" not in markdown
