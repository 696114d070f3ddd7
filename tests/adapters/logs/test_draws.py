"""The draw log loses no draw, and takes none from another plan."""

import json
import os
import tempfile
import tracemalloc
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import repro_gate
from repro_gate.adapters.logs.draws import DrawLogFile, fingerprint_of, from_line, to_line
from repro_gate.core.logprobs.draw import Draw, DrawFacts, DrawOutcome, InvalidDraw, MissedDraw
from repro_gate.core.logprobs.policy import LogprobCell, Tolerance
from repro_gate.errors import InputInvalid
from repro_gate.ports import DrawRequest, Purpose
from tests.fakes.baseline_strategies import any_logprobs, draw_facts, pieces, untrusted
from tests.fakes.killed import lines_until_killed
from tests.fakes.scoring import MODEL, NOW, encoding_of, item_of, policy_of

SCHEMA = json.loads(files("repro_gate.schemas").joinpath("draws-v1.json").read_text("utf-8"))
PLAN = "0a" * 32
FACTS = DrawFacts(at=NOW, model=MODEL, request_id="r-1", latency_s=0.25, headers={"cf-ray": "x"})
HEADER = {
    "schema": "repro-gate/draws/v1",
    "fingerprint": PLAN,
    "tool": {"name": "repro-gate", "version": repro_gate.__version__},
    "started_at": NOW,
}
DRAW = Draw(logprobs=(-1.5, -0.1234567890123), facts=FACTS)
INVALID = InvalidDraw(reason='no log-probability for 1 " fox"', position=1, facts=FACTS)
MISSED = MissedDraw(reason="429 too many requests", remedy="wait a while")

facts = draw_facts(st.floats(0, 1e6).map(lambda seconds: round(seconds, 6)))
reasons = untrusted.map(lambda text: text or "x")
outcomes: st.SearchStrategy[DrawOutcome] = st.one_of(
    st.builds(
        Draw,
        logprobs=st.lists(any_logprobs, max_size=4).map(tuple),
        facts=facts,
        others=st.lists(st.tuples(pieces, any_logprobs), max_size=2).map(tuple),
        fork=st.none() | st.integers(0, 9),
    ),
    st.builds(InvalidDraw, reason=reasons, position=st.none() | st.integers(0, 9), facts=facts),
    st.builds(MissedDraw, reason=reasons, remedy=st.none() | untrusted),
)
keys = st.tuples(untrusted, st.sampled_from(Purpose).map(str), st.integers(1, 9))


def cell_of(item: str = "fox") -> LogprobCell:
    """Return a cell."""
    return LogprobCell(policy=policy_of(), item=item_of(item))


def request_of(number: int = 1, *, item: str = "fox", tokens: int = 2) -> DrawRequest:
    """Return a request of the first look."""
    cell = cell_of(item)
    return DrawRequest(
        cell=cell,
        encoding=encoding_of(cell, tokens),
        purpose=Purpose.FIRST_LOOK,
        number=number,
    )


def opened(folder: Path, *, plan: str = PLAN, resume: bool = True) -> "closing[DrawLogFile]":
    """Return the log of a folder, which is closed after use."""
    file = folder / "draws.jsonl"
    return closing(DrawLogFile(file, fingerprint=plan, started_at=NOW, resume=resume))


def log_with(folder: Path, *outcomes: DrawOutcome) -> Path:
    """Write a log with these draws."""
    with opened(folder, resume=False) as log:
        for number, outcome in enumerate(outcomes, start=1):
            log.note(request_of(number), outcome)
    return folder / "draws.jsonl"


def known_in(folder: Path, count: int) -> list[DrawOutcome | None]:
    """Return the first draws that a resumed log knows."""
    with opened(folder) as log:
        return [log.known(request_of(number)) for number in range(1, count + 1)]


def refusal_of(folder: Path, *, plan: str = PLAN) -> str:
    """Return the message for a log that cannot be resumed."""
    with pytest.raises(InputInvalid) as caught:
        opened(folder, plan=plan)
    return str(caught.value).removeprefix(f"{folder / 'draws.jsonl'}: ")


def test_a_log_has_a_header_and_a_line_for_each_draw(tmp_path: Path) -> None:
    """The header names the plan, and each line has a draw with its facts."""
    called = {
        "at": NOW,
        "model": MODEL,
        "request_id": "r-1",
        "latency_s": 0.25,
        "attempts": 1,
        "headers": {"cf-ray": "x"},
    }
    lines = list(
        map(json.loads, log_with(tmp_path, DRAW, INVALID, MISSED).read_text().splitlines())
    )

    named = {"cell": "base--fox", "purpose": "first_look"}
    assert lines == [
        HEADER,
        {
            **named,
            "number": 1,
            "outcome": "draw",
            "total": -1.623457,
            "logprobs": [-1.5, -0.1234567890123],
            "facts": called,
        },
        {
            **named,
            "number": 2,
            "outcome": "invalid",
            "reason": 'no log-probability for 1 " fox"',
            "position": 1,
            "facts": called,
        },
        {
            **named,
            "number": 3,
            "outcome": "missed",
            "reason": "429 too many requests",
            "remedy": "wait a while",
        },
    ]
    for line in lines:
        jsonschema.validate(line, SCHEMA)


@settings(derandomize=True, database=None, deadline=None)
@given(keys, outcomes)
def test_every_draw_is_read_back(key: tuple[str, str, int], outcome: DrawOutcome) -> None:
    """To the last digit, as one line of ASCII that matches the published schema."""
    line = to_line(key, outcome)

    assert from_line(line) == (key, outcome)
    assert (line.count(b"\n"), line.isascii(), b"\x7f" in line) == (1, True, False)
    jsonschema.validate(json.loads(line), SCHEMA)


def test_text_of_a_provider_is_escaped(tmp_path: Path) -> None:
    """Tools may print the lines raw."""
    file = log_with(tmp_path, InvalidDraw(reason="\x1b[2J\u202e\n", facts=FACTS))

    assert json.loads(file.read_text().splitlines()[1])["reason"] == "\\x1b[2J\\xe2\\x80\\xae\\n"


def test_a_resumed_log_knows_its_draws(tmp_path: Path) -> None:
    """Valid and invalid draws are kept; missed ones are tried again."""
    log_with(tmp_path, DRAW, INVALID, MISSED)

    assert known_in(tmp_path, 4) == [DRAW, INVALID, None, None]


def test_a_new_log_is_empty(tmp_path: Path) -> None:
    """Draws of earlier checks are deleted."""
    file = log_with(tmp_path, DRAW, DRAW)

    with opened(tmp_path, resume=False) as log:
        assert log.known(request_of()) is None
    assert len(file.read_text().splitlines()) == 1


def test_a_resumed_log_is_continued(tmp_path: Path) -> None:
    """New draws follow the old ones, even after reading one of these."""
    file = log_with(tmp_path, DRAW, MISSED)
    before = file.read_text()

    with opened(tmp_path) as log:
        assert log.known(request_of(1)) == DRAW
        log.note(request_of(2), INVALID)

    assert file.read_text().startswith(before)
    assert known_in(tmp_path, 2) == [DRAW, INVALID]


def test_draws_are_identified_by_cell_purpose_and_number(tmp_path: Path) -> None:
    """A draw that differs in any of them is another one."""
    log_with(tmp_path, DRAW)
    request = request_of()

    with opened(tmp_path) as log:
        assert log.known(replace(request, purpose=Purpose.SECOND_LOOK)) is None
        assert log.known(replace(request, number=2)) is None
        assert log.known(request_of(item="ox")) is None


def test_resuming_without_a_log_starts_one(tmp_path: Path) -> None:
    """Nothing had been drawn yet."""
    assert known_in(tmp_path, 1) == [None]
    assert json.loads((tmp_path / "draws.jsonl").read_text())["fingerprint"] == PLAN


@pytest.mark.parametrize("last", range(2))
def test_a_torn_last_line_is_removed(tmp_path: Path, last: int) -> None:
    """A killed process tears at most the last line; complete lines stay."""
    whole = log_with(tmp_path, DRAW, INVALID).read_bytes()
    lines = whole.splitlines(keepends=True)
    kept = b"".join(lines[: last + 1])
    for size in range(len(kept), len(kept) + len(lines[last + 1])):
        (tmp_path / "draws.jsonl").write_bytes(whole[:size])

        assert known_in(tmp_path, 2) == [DRAW if last else None, None]
        assert (tmp_path / "draws.jsonl").read_bytes() == kept


def test_a_torn_header_is_written_again(tmp_path: Path) -> None:
    """The process was killed while starting the log."""
    file = log_with(tmp_path)
    whole = file.read_bytes()
    for size in range(len(whole)):
        file.write_bytes(whole[:size])

        assert known_in(tmp_path, 1) == [None]
        assert file.read_bytes() == whole


def test_a_log_of_another_plan_is_refused(tmp_path: Path) -> None:
    """The message has both plans, and the log is unchanged."""
    file = log_with(tmp_path, DRAW)
    before = file.read_bytes()

    assert refusal_of(tmp_path, plan="0b" * 32) == (
        f"line 1: expected the draws of the plan {'0b' * 32}; "
        f"start the check again without --resume, found those of the plan {PLAN}"
    )
    assert file.read_bytes() == before


def line_of(**changes: Any) -> bytes:
    """Return the line of a draw with changes."""
    return json.dumps(json.loads(to_line(request_of().key, DRAW)) | changes).encode()


def called_with(**changes: Any) -> bytes:
    """Return the line of a draw whose facts have changes."""
    return line_of(facts=json.loads(line_of())["facts"] | changes)


def refusal_with(folder: Path, line: bytes) -> str:
    """Return the message for a log that contains a line."""
    file = log_with(folder, DRAW, INVALID)
    first, second, third = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(first + second + line + b"\n" + third)
    return refusal_of(folder)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b"", "the end of the line at column 1, where a value belongs"),
        (b"{", "the end of the line at column 2, where a key in double quotes belongs"),
        (b"\x00\x00", "'\\\\x00\\\\x00' at column 1, where a value belongs"),
        (b"\xff", "the byte 0xff, which is not UTF-8"),
        (b"[" * 100_000, "a value that is nested too deeply"),
        (line_of(logprobs=[0.5]), "'logprobs[0]' is no log-probability: 0.5"),
        (line_of(logprobs=[-1, float("nan")]), "NaN, which is not a number in JSON"),
        (called_with(model="\\q"), "a backslash that starts no escape"),
    ],
)
def test_an_invalid_line_is_refused(tmp_path: Path, line: bytes, found: str) -> None:
    """A complete line that is invalid was not torn but edited."""
    assert refusal_with(tmp_path, line).startswith(
        f"line 3: expected a draw as it was recorded, found {found}"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"[1]", "expected an object, found a list"),
        (b"{}", "outcome: expected one of draw, invalid, missed, found nothing"),
        (line_of(outcome=[]), "outcome: expected one of draw, invalid, missed, found an empty"),
        (line_of(outcome="missed"), "expected the key 'reason', found none"),
        (
            line_of(extra=1),
            "expected only the keys cell, purpose, number, ",
        ),
        (line_of(cell=1), "cell: expected a string, found 1"),
        (line_of(purpose="fun"), "purpose: expected one of calibration, first_look, "),
        (line_of(purpose=[]), "purpose: expected one of calibration, first_look, "),
        (line_of(number=0), "number: expected an integer of at least 1, found 0"),
        (line_of(number=True), "number: expected an integer of at least 1, found true"),
        (line_of(number=1.0), "number: expected an integer of at least 1, found 1.0"),
        (line_of(logprobs=None), "logprobs: expected a list, found nothing"),
        (line_of(logprobs=[-1, None]), "logprobs[1]: expected a finite number, found nothing"),
        (line_of(logprobs=[True]), "logprobs[0]: expected a finite number, found true"),
        (
            line_of().replace(b"[-1.5", b"[-1e999"),
            "logprobs[0]: expected a finite number",
        ),
        (
            line_of(logprobs=[-(10**400)]),
            "logprobs[0]: expected a finite number, found a",
        ),
        (line_of(fork=-1), "fork: expected an integer of at least 0, found -1"),
        (line_of(other_tokens="x"), "other_tokens: expected a list, found a string"),
        (line_of(other_logprobs=[None]), "other_logprobs[0]: expected a finite number, found"),
        (
            line_of(other_tokens=["7 x"]),
            "expected a draw as it was recorded, found 'other_logprobs' has 0 for 1 tokens",
        ),
        (line_of(facts=None), "facts: expected an object, found nothing"),
        (line_of(facts={}), "facts: expected the key 'at', found none"),
        (called_with(at=1), "facts.at: expected a string, found 1"),
        (called_with(attempts=0), "facts.attempts: expected an integer of at least 1, found 0"),
        (called_with(latency_s="1"), "facts.latency_s: expected a finite number of at least 0"),
        (called_with(latency_s=-1), "facts.latency_s: expected a finite number of at least 0"),
        (called_with(headers=""), "facts.headers: expected an object, found a string"),
        (called_with(headers={"a": 1}), "facts.headers[0]: expected a string, found 1"),
    ],
)
def test_an_invalid_value_is_named_by_its_place(tmp_path: Path, line: bytes, message: str) -> None:
    """The message has the line and the keys that lead to the value."""
    refusal = refusal_with(tmp_path, line)

    assert refusal.removeprefix("line 3: ").startswith(message)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            b"x",
            "line 1: expected a draw as it was recorded, found 'x' at column 1",
        ),
        (to_line(("a", "control", 1), MISSED).strip(), "line 1: expected the draws of the plan"),
        (
            json.dumps(HEADER | {"schema": "repro-gate/draws/v2"}).encode(),
            "schema: expected 'repro-gate/draws/v1', found 'repro-gate/draws/v2'",
        ),
        (b'{"schema": "repro-gate/draws/v1"}', "expected the key 'fingerprint', found none"),
    ],
)
def test_a_log_without_a_header_is_refused(tmp_path: Path, header: bytes, message: str) -> None:
    """Its plan is unknown."""
    file = log_with(tmp_path, DRAW)
    _, draw = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(header + b"\n" + draw)

    assert message in refusal_of(tmp_path)


def test_a_draw_of_other_tokens_is_refused(tmp_path: Path) -> None:
    """The tokenizer has changed since."""
    log_with(tmp_path, DRAW)

    with (
        opened(tmp_path) as log,
        pytest.raises(InputInvalid, match=r"expected 3 log-prob.*found 2"),
    ):
        log.known(request_of(tokens=3))


def test_a_log_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """A folder in place of the file is an `OSError` for the caller."""
    (tmp_path / "draws.jsonl").mkdir()

    with pytest.raises(OSError, match="Is a directory"):
        opened(tmp_path, resume=False)


_ENDLESS = """
import itertools, sys
from pathlib import Path
from tests.adapters.logs.test_draws import DRAW, opened, request_of
with opened(Path(sys.argv[1]), resume=False) as log:
    for number in itertools.count(1):
        log.note(request_of(number), DRAW)
        print(number, flush=True)
"""


def test_a_killed_process_loses_no_draw(tmp_path: Path) -> None:
    """Every draw that was recorded before a kill -9 is known afterwards."""
    count = lines_until_killed(_ENDLESS, tmp_path)

    assert known_in(tmp_path, count) == [DRAW] * count


def test_a_long_log_takes_little_memory(tmp_path: Path) -> None:
    """Only the offsets of draws are kept: a few megabytes for 50,000 draws."""
    line = to_line(("CELL", "first_look", 1), replace(DRAW, logprobs=(-1.5,) * 100))
    file = log_with(tmp_path)
    with file.open("ab") as stream:
        for item in range(1_000):
            mine = line.replace(b"CELL", f"base--item-{item}".encode())
            stream.writelines(mine.replace(b':1,"o', f':{n},"o'.encode()) for n in range(1, 6))

    tracemalloc.start()
    with opened(tmp_path) as log:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert log.known(request_of(5, item="item-999", tokens=100)) is not None
    assert peak / 5_000 < 400


def fingerprint(
    cells: Sequence[LogprobCell] = (cell_of(),), draws: int = 5, **baselines: str
) -> str:
    """Return a fingerprint."""
    return fingerprint_of(cells, baselines=baselines, tolerance=Tolerance(draws=draws))


def test_fingerprints_of_different_plans_differ() -> None:
    """By cell, definition, baseline or tolerance, but not by the order of cells."""
    fox, ox = cell_of(), cell_of("ox")
    hotter = LogprobCell(policy=policy_of(temperature=0.8), item=item_of("fox"))
    plans = [
        fingerprint(),
        fingerprint([fox, ox]),
        fingerprint([ox]),
        fingerprint([hotter]),
        fingerprint(draws=6),
        fingerprint_of([fox], baselines={fox.id: "0a" * 32}, tolerance=Tolerance()),
        fingerprint_of([fox], baselines={fox.id: "0b" * 32}, tolerance=Tolerance()),
    ]

    assert len(set(plans)) == len(plans)
    assert fingerprint([ox, fox]) == fingerprint([fox, ox])
    assert fingerprint() == fingerprint_of(
        [fox], baselines={ox.id: "0a" * 32}, tolerance=Tolerance()
    )


def test_a_resumed_log_knows_the_last_outcome_of_each_draw() -> None:
    """In whatever order they were recorded."""
    with tempfile.TemporaryDirectory() as folder:
        log_with(Path(folder), MISSED, DRAW)
        with opened(Path(folder)) as log:
            log.note(request_of(1), INVALID)
            log.note(request_of(3), MISSED)

        assert known_in(Path(folder), 3) == [INVALID, DRAW, None]


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe"])
def test_a_new_log_replaces_links_and_pipes(tmp_path: Path, kind: str) -> None:
    """The target of a link is not overwritten, and pipes do not block."""
    target = _replace_log(tmp_path, kind)

    log_with(tmp_path, DRAW)

    assert target.read_text("ascii") == "mine" if kind == "link" else not target.exists()
    assert (tmp_path / "draws.jsonl").is_file()
    assert not (tmp_path / "draws.jsonl").is_symlink()


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe"])
def test_no_log_is_resumed_through_a_link(tmp_path: Path, kind: str) -> None:
    """Draws from elsewhere are not those of this check."""
    target = _replace_log(tmp_path, kind)

    with pytest.raises(InputInvalid, match=r"draws\.jsonl: expected"), opened(tmp_path):
        pass

    assert target.read_text("ascii") == "mine" if kind == "link" else not target.exists()


def _replace_log(folder: Path, kind: str) -> Path:
    """Put something else in place of a log, and return what it leads to."""
    target = folder / "target"
    if kind == "link":
        target.write_text("mine", "ascii")
    if kind == "pipe":
        os.mkfifo(folder / "draws.jsonl")
    else:
        (folder / "draws.jsonl").symlink_to(target)
    return target
