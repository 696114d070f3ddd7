"""What hypothesis draws baselines from."""

from dataclasses import replace

from hypothesis import strategies as st

from repro_gate.core.logprobs.baseline import Baseline, Noise, fit_noise
from repro_gate.core.logprobs.draw import DrawFacts, Encoding, Piece
from repro_gate.core.logprobs.policy import Item, LogprobCell, LogprobKind
from repro_gate.core.logprobs.sessions import CalibrationSession
from tests.fakes.scoring import policy_of
from tests.fakes.strategies import names

six_decimals = st.integers(-(10**8), 0).map(lambda number: number / 10**6)
any_logprobs = st.floats(-1e6, 0)
untrusted = st.text(max_size=8) | st.text(st.sampled_from('\\x1"\n\u202e\ud83c\udf42'), max_size=4)
"""Texts that a provider chose, some of them no valid Unicode."""
untrusted_facts = st.dictionaries(untrusted, untrusted, max_size=3)
pieces = st.builds(Piece, st.none() | st.integers(0, 2**31), st.binary(max_size=6))
whole_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
cells = st.builds(
    LogprobCell,
    policy=st.builds(
        policy_of,
        names,
        model=whole_texts,
        system=whole_texts,
        temperature=st.floats(0.01, 10),
        logprobs=st.sampled_from(LogprobKind),
    ),
    item=st.builds(
        Item, name=names, prompt=whole_texts, response=whole_texts.filter(lambda text: text != "")
    ),
)


def draw_facts(latency: st.SearchStrategy[float]) -> st.SearchStrategy[DrawFacts]:
    """Draw facts of calls that took as long as `latency` says."""
    return st.builds(
        DrawFacts,
        at=untrusted,
        model=untrusted,
        request_id=untrusted,
        latency_s=latency,
        attempts=st.integers(1, 9),
        headers=st.none() | untrusted_facts,
    )


@st.composite
def _baselines(
    draw: st.DrawFn, logprobs: st.SearchStrategy[float], latency: st.SearchStrategy[float]
) -> Baseline:
    cell = draw(cells)
    size, count = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    values = st.lists(logprobs, min_size=size, max_size=size).map(tuple)
    # Few different draws, so that some are repeated.
    few = draw(st.lists(values, min_size=1, max_size=3))
    draws = tuple(draw(st.sampled_from(few)) for _ in range(count))
    entries = st.lists(st.tuples(pieces, logprobs), max_size=2).map(tuple)
    others = tuple(draw(entries) for _ in draws)
    forks = tuple(draw(st.none() | st.integers(0, size)) for _ in draws)
    return Baseline(
        id=cell.id,
        source=draw(names),
        definition=cell.definition,
        encoding=Encoding(
            prompt=draw(st.lists(pieces, max_size=3).map(tuple)),
            response=tuple(draw(pieces) for _ in range(size)),
            logprobs=draw(st.none() | values),
        ),
        draws=draws,
        facts=tuple(draw(draw_facts(latency)) for _ in draws),
        noise=fit_noise(draws, others=draw(st.lists(st.floats(0, 100), max_size=3))),
        answered_as=draw(untrusted),
        provenance=draw(untrusted_facts),
        recorded_at="2026-01-02T03:04:05+00:00",
        sessions=draw(_sessions(count)),
        others=others if any(others) else (),
        forks=forks if set(forks) != {None} else (),
    )


@st.composite
def _sessions(draw: st.DrawFn, count: int) -> tuple[CalibrationSession, ...]:
    """Draw how so many draws are divided among sessions."""
    first = draw(st.integers(1, count))
    divided = [first, count - first] if first < count else []
    return tuple(
        CalibrationSession(started_at=f"2026-01-0{day}T03:04:05+00:00", draws=each)
        for day, each in enumerate(divided, start=1)
    )


def any_baselines() -> st.SearchStrategy[Baseline]:
    """Draw baselines of draws with all the digits that a float has."""
    return _baselines(any_logprobs, st.floats(0, 1e6))


def baselines() -> st.SearchStrategy[Baseline]:
    """Draw baselines whose numbers have as many decimals as a file keeps."""
    return _baselines(six_decimals, six_decimals.map(abs)).map(_rounded)


def _rounded(baseline: Baseline) -> Baseline:
    noise = baseline.noise
    return replace(
        baseline,
        noise=Noise(
            center=round(noise.center, 6),
            scale=round(noise.scale, 6),
            deviation=round(noise.deviation, 6),
            atom=round(noise.atom, 6),
            floor=round(noise.floor, 6),
        ),
    )
