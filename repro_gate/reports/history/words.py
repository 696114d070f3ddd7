"""The words of a history, the same on a terminal and on a page."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from repro_gate.core.history import Session, SessionKind
from repro_gate.core.logprobs.baseline import RESOLUTION_NATS
from repro_gate.core.outcome import Outcome
from repro_gate.core.timeline import (
    CellLine,
    Change,
    Outlier,
    PairLine,
    RuinousItem,
    Timeline,
    WeightsSummary,
)
from repro_gate.reports.text.format import amount, nats, percent, plural, shifted, usd
from repro_gate.reports.watch.words import headline_of, outcome_of_state, status_lines

_MAX_NAMED: Final = 5
UNITS: Final = "Sums of log-probabilities, in nats."


def headline(timeline: Timeline) -> str:
    """Return what a reader needs first, in one line."""
    if timeline.watch is not None:
        return headline_of(timeline.watch)
    beyond = len(outside_now(timeline))
    return f"{timeline.suite}: {beyond} of {plural(len(timeline.cells), 'cell')} outside the band"


def state(timeline: Timeline) -> str:
    """Return the state of the watch, if there is one."""
    return "not watched" if timeline.watch is None else timeline.watch.state.value


def outcome(timeline: Timeline) -> Outcome | None:
    """Return the outcome of the watch; None without one."""
    return None if timeline.watch is None else outcome_of_state(timeline.watch.state)


def watch_lines(timeline: Timeline) -> Iterator[tuple[str, str]]:
    """Yield what is known of the watch as labelled texts, which are untrusted."""
    if timeline.watch is not None:
        yield from status_lines(timeline.watch, str)


def outside_now(timeline: Timeline) -> Sequence[CellLine]:
    """Return the cells whose last median is outside their band, the farthest first."""
    found = [line for line in timeline.cells if line.is_outside]
    return sorted(found, key=lambda line: -abs(line.shift or 0.0))


def outside_note(timeline: Timeline) -> str | None:
    """Return which cells are outside their band now; None when none is."""
    lines = outside_now(timeline)
    named = [outside_words(line) for line in lines[:_MAX_NAMED]]
    if more := len(lines) - len(named):
        named.append(f"{more} more")
    return f"Outside the band in the last session: {', '.join(named)}." if named else None


def outside_words(line: CellLine) -> str:
    """Name a cell with its shift."""
    return f"{line.cell} ({_shift(line.shift or 0.0)} nats)"


def _shift(value: float) -> str:
    """Return a shift; values that differ by less than an API's last digit are equal."""
    return shifted(0.0 if abs(value) <= RESOLUTION_NATS else value)


def counts(timeline: Timeline) -> str:
    """Return how many sessions of each kind there are."""
    kinds = (
        (SessionKind.NIGHT, "night"),
        (SessionKind.CHECK, "check"),
        (SessionKind.CALIBRATION, "baseline session"),
    )
    numbers = [(sum(each.kind is kind for each in timeline.sessions), noun) for kind, noun in kinds]
    return ", ".join(plural(number, noun) for number, noun in numbers if number) or "no session"


def facts(timeline: Timeline) -> Iterator[tuple[str, str]]:
    """Yield the size of a history as labelled texts."""
    yield "sessions", counts(timeline)
    if timeline.sessions:
        first, last = timeline.sessions[0], timeline.sessions[-1]
        yield "from", f"{first.date} to {last.date}"
    yield "draws", f"{timeline.draws:,}"
    if (cost := timeline.usd) is not None:
        yield "cost", usd(cost)
    if unfinished := len(list(timeline.unfinished())):
        yield "cut off", plural(unfinished, "session")


def cell_facts(line: CellLine) -> Iterator[tuple[str, str]]:
    """Yield the figures of a cell as labelled texts."""
    figures = (
        ("last median", line.last_median, nats),
        ("shift", line.shift, _shift),
        ("center", line.center, nats),
    )
    yield from ((label, words(value)) for label, value, words in figures if value is not None)
    if line.center is not None and line.band is not None:
        yield "band", f"\N{PLUS-MINUS SIGN}{nats(line.band)}"
        beyond = sum(abs(value - line.center) > line.band for value in line.medians)
        yield "outside", f"{beyond} of {plural(len(line.medians), 'session')}"
    yield "outliers", f"{line.far} of {plural(line.draws, 'draw')}"
    if missing := sum(each.invalid + each.missed for each in line.points):
        yield "invalid or missed", str(missing)


def change_row(change: Change, sessions: Sequence[Session]) -> tuple[str, ...]:
    """Return a change as a row; its last two texts are untrusted."""
    return (
        sessions[change.session].key,
        change.policy,
        change.kind.value,
        ", ".join(change.before),
        ", ".join(change.after),
    )


CHANGE_COLUMNS: Final = ("session", "policy", "what", "before", "after")


def outlier_row(found: Outlier, sessions: Sequence[Session]) -> tuple[str, ...]:
    """Return an outlier as a row; its first text and those after the distance are untrusted."""
    return (
        (found.facts.at or sessions[found.session].started_at)[:19].replace("T", " "),
        found.cell,
        nats(found.total),
        shifted(found.distance),
        found.facts.request_id,
        found.facts.model,
        found.facts.backend,
    )


OUTLIER_COLUMNS: Final = ("time", "cell", "sum", "distance", "request", "model", "backend")


def hidden_outliers(timeline: Timeline) -> int:
    """Return how many outliers are not listed."""
    return max(0, sum(line.far for line in timeline.cells) - len(timeline.outliers))


def pair_name(pair: PairLine) -> str:
    """Name the policies of a pair."""
    return f"{pair.target} / {pair.base}"


def pair_facts(pair: PairLine) -> Iterator[tuple[str, str]]:
    """Yield the weights of the last session as labelled texts."""
    last = pair.points[-1]
    yield "ESS", size(last.summary)
    yield "largest weight", percent(last.largest_share)
    yield "mean weight", amount(last.summary.mean_weight)
    yield "KL", f"{nats(last.summary.divergence)} nats"
    if last.khat is not None and last.khat_bar is not None:
        yield "k-hat", f"{last.khat:.2f} (limit {last.khat_bar:.2f})"
    if last.without is not None:
        names = plural(len(last.ruinous), "item")
        yield f"without {names}", summary(last.without)


def ruinous_row(item: RuinousItem, sessions: Sequence[Session]) -> tuple[str, ...]:
    """Return an item that ruins the effective size as a row."""
    without = item.without
    left = ("", "", "") if without is None else (size(without), *_estimates(without))
    return (
        item.item,
        sessions[item.since].date.isoformat(),
        str(item.sessions),
        shifted(item.log_ratio),
        percent(item.share),
        *left,
    )


RUINOUS_COLUMNS: Final = (
    *("item", "since", "sessions", "log-ratio", "share"),
    *("ESS without it", "mean weight", "KL"),
)
WEIGHTS_LEGEND: Final = (
    "Weights are exp(target - base) of the medians of a session, one for each item. An item is "
    "listed if the effective sample size is under half of the items and it is one of the few "
    "largest weights without which it is not. KL is the self-normalised estimate of "
    "KL(target | base), for responses drawn from the base."
)


def size(found: WeightsSummary) -> str:
    """Return the effective size, with its share of the items."""
    return f"{found.effective_size:.1f} of {found.items} ({percent(found.size_share)})"


def summary(found: WeightsSummary) -> str:
    """Return the diagnostics of weights in a line."""
    mean, divergence = _estimates(found)
    return f"ESS {size(found)}, mean weight {mean}, KL {divergence} nats"


def _estimates(found: WeightsSummary) -> tuple[str, str]:
    return amount(found.mean_weight), nats(found.divergence)


def session_notes(timeline: Timeline) -> Mapping[str, str]:
    """Return what is special about sessions, by key; untrusted."""
    notes = {session.key: "cut off" for session in timeline.unfinished()}
    report = None if timeline.watch is None else timeline.watch.report
    return notes | {each.night.key: each.reason for each in (report.uncounted if report else ())}
