"""A session file keeps every draw, is sealed once, and is refused when it is not as written."""

import gzip
import json
import resource
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from repro_gate.adapters.history import files
from repro_gate.adapters.history.files import (
    SessionLog,
    open_headers,
    opened,
    place_of,
    write_sealed,
)
from repro_gate.adapters.history.lines import DrawLine, header_line
from repro_gate.core.history import SessionHeader, SessionKind
from repro_gate.core.logprobs.draw import Draw, DrawOutcome, InvalidDraw, MissedDraw
from repro_gate.errors import InputInvalid, MeasurementUnavailable
from tests.fakes.history import (
    CLOSED_AT,
    SESSION_SCHEMA,
    draw_of,
    drawn,
    request_of,
    sealed_session,
    session_cell_of,
    session_header_of,
)

HEADER = session_header_of(session_cell_of(), session_cell_of("dog"))
OUTCOMES: tuple[DrawOutcome, ...] = (
    draw_of([-156.5]),
    InvalidDraw(reason="other tokens", position=1),
    MissedDraw(reason="429", remedy="wait"),
)


def started(history: Path, *, resume: bool = False, header: SessionHeader = HEADER) -> SessionLog:
    """Return a session that runs."""
    return SessionLog(history, header, resume=resume)


def killed(history: Path, *outcomes: DrawOutcome, tear: bytes = b"") -> Path:
    """Write a session whose process was killed, and return its file."""
    with closing(started(history)) as log:
        for number, outcome in enumerate(outcomes, start=1):
            log.note(request_of(number), outcome)
    file = history / f"{place_of(HEADER)}.jsonl"
    with file.open("ab") as stream:
        stream.write(tear)
    return file


def read(file: Path) -> tuple[list[DrawLine], bool]:
    """Return the draws of a file, and whether it is closed."""
    with opened(file) as session:
        draws = [draw for _, draw in session.draws()]
        return draws, session.closed is not None


def refusal_of(file: Path) -> str:
    """Return the message for a broken file."""
    with pytest.raises(InputInvalid) as caught:
        read(file)
    assert str(file) in str(caught.value)
    return str(caught.value)


def rewritten(file: Path, change: Callable[[list[bytes]], object]) -> Path:
    """Change the lines of a sealed file."""
    lines = gzip.decompress(file.read_bytes()).splitlines(keepends=True)
    change(lines)
    file.write_bytes(gzip.compress(b"".join(lines)))
    return file


def test_a_session_is_sealed_with_every_draw(tmp_path: Path) -> None:
    """Draws of every outcome are there, in order, and the open file is gone."""
    log = started(tmp_path)
    for number, outcome in enumerate(OUTCOMES, start=1):
        log.note(request_of(number), outcome)

    sealed = log.seal(CLOSED_AT)

    draws, is_closed = read(sealed)
    assert [draw.outcome for draw in draws] == list(OUTCOMES)
    assert [draw.line for draw in draws] == [2, 3, 4]
    assert is_closed
    assert [file.name for file in sealed.parent.iterdir()] == [f"{HEADER.key}.jsonl.gz"]


def test_every_line_has_the_published_schema(tmp_path: Path) -> None:
    """Header, draws and end are as `session-v1.json` says."""
    sealed = sealed_session(tmp_path, HEADER, *drawn(*OUTCOMES))

    for line in gzip.decompress(sealed.read_bytes()).splitlines():
        jsonschema.validate(json.loads(line), SESSION_SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"closed": CLOSED_AT, "draws": 1}, SESSION_SCHEMA)


def test_a_killed_session_is_visible_and_can_be_resumed(tmp_path: Path) -> None:
    """A torn last line is cut off, draws are known, and what was missed is drawn again."""
    killed(tmp_path, OUTCOMES[0], OUTCOMES[2], tear=b'{"cell":"ba')

    assert [header for _, header in open_headers(tmp_path)] == [HEADER]
    later = replace(HEADER, started_at="2026-01-02T05:00:00+00:00")
    log = started(tmp_path, resume=True, header=later)
    assert log.known(request_of(1)) == OUTCOMES[0]
    assert log.known(request_of(2)) is None
    log.note(request_of(2), draw_of())
    draws, _ = read(log.seal(CLOSED_AT))
    assert [draw.outcome for draw in draws] == [OUTCOMES[0], OUTCOMES[2], draw_of()]


@pytest.mark.parametrize("kind", [SessionKind.NIGHT, SessionKind.CALIBRATION])
def test_no_draw_of_a_night_counts_twice(tmp_path: Path, kind: SessionKind) -> None:
    """A night has a fixed number of draws; a calibration is only shown."""
    is_night = kind is SessionKind.NIGHT
    header = replace(HEADER, kind=kind, epoch=HEADER.epoch if is_night else None)
    (line,) = drawn(draw_of(), purpose="watch" if is_night else "calibration")
    sealed = sealed_session(tmp_path, header, line, line)

    if is_night:
        assert "line 3: number: expected each draw once" in refusal_of(sealed)
    else:
        assert len(read(sealed)[0]) == 2


def test_a_session_killed_in_its_first_line_has_not_begun(tmp_path: Path) -> None:
    """There is nothing to show, and it can be resumed."""
    file = killed(tmp_path)
    file.write_bytes(b'{"schema":')

    assert list(open_headers(tmp_path)) == []
    started(tmp_path, resume=True).seal(CLOSED_AT)


def test_no_session_is_started_twice(tmp_path: Path) -> None:
    """Neither over a killed one, nor over a closed one, nor beside a running one."""
    killed(tmp_path)
    with pytest.raises(InputInvalid, match="found one that can be resumed"):
        started(tmp_path)
    log = started(tmp_path, resume=True)
    with pytest.raises(MeasurementUnavailable, match="another command is writing"):
        started(tmp_path, resume=True)
    log.seal(CLOSED_AT)
    with pytest.raises(InputInvalid, match="found a closed one"):
        started(tmp_path, resume=True)


def test_a_session_of_other_cells_is_not_resumed(tmp_path: Path) -> None:
    """Another definition, price or reference is another session."""
    killed(tmp_path)
    other = session_header_of(session_cell_of(tokens=7), session_cell_of("dog"))

    with pytest.raises(InputInvalid, match="line 1: cells: expected the cells to draw"):
        started(tmp_path, resume=True, header=other)


def test_the_same_session_is_nothing_and_another_one_an_error(tmp_path: Path) -> None:
    """A sealed file stays as it is."""
    sealed = sealed_session(tmp_path, HEADER, *drawn(draw_of()))
    before = sealed.read_bytes()
    head = header_line(HEADER)

    assert not write_sealed(sealed, head, drawn(draw_of()), CLOSED_AT)
    with pytest.raises(InputInvalid, match="another one with its key; nothing was changed"):
        write_sealed(sealed, head, drawn(draw_of([-2.0])), CLOSED_AT)
    assert sealed.read_bytes() == before
    assert [file.name for file in sealed.parent.iterdir()] == [sealed.name]


def test_a_full_disk_leaves_the_open_session(tmp_path: Path) -> None:
    """Nothing is lost: sealing succeeds once there is space."""
    outcomes = [draw_of([-number / 1e6 - n * 0.1 for n in range(40)]) for number in range(200)]
    killed(tmp_path, *outcomes)
    log = started(tmp_path, resume=True)
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, usual[1]))
    try:
        with pytest.raises(OSError, match=r"jsonl\.gz"):
            log.seal(CLOSED_AT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)

    assert len(list((tmp_path / place_of(HEADER)).parent.iterdir())) == 1
    draws, is_closed = read(started(tmp_path, resume=True).seal(CLOSED_AT))
    assert (len(draws), is_closed) == (200, True)


def test_a_torn_download_is_refused(tmp_path: Path) -> None:
    """A sealed file is whole or nothing."""
    sealed = sealed_session(tmp_path, HEADER, *drawn(*OUTCOMES))
    sealed.write_bytes(sealed.read_bytes()[:-20])

    assert "expected a whole gzip file" in refusal_of(sealed)


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    """The web page of a login has the right name, and is no session."""
    file = tmp_path / "x.jsonl.gz"
    file.write_text("<html>")

    assert "expected a whole gzip file, found Not a gzipped file" in refusal_of(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines.pop(), "found one without its last line"),
        (lambda lines: lines.pop(1), "line 4: draws: expected 2, found 3"),
        (lambda lines: lines.__setitem__(1, lines[2]), "sha256: expected that of the lines before"),
        (lambda lines: lines.append(lines[1]), "line 6: expected the end of the file"),
        (lambda lines: lines.insert(1, b"{}\n"), "line 2: outcome: expected one of draw, invalid"),
        (lambda lines: lines.insert(1, b"[]\n"), "line 2: expected an object, found an empty list"),
        (lambda lines: lines.pop(0), "line 1: schema: expected repro-gate/session/v1"),
        (lambda lines: lines.clear(), "line 1: expected a session, found no whole line"),
        (
            lambda lines: lines.__setitem__(1, lines[1].replace(b"base--fox", b"base--cat")),
            "line 2: cell: expected a cell of the header",
        ),
        (
            lambda lines: lines.__setitem__(0, lines[0].replace(b'"night"', b'"day"')),
            "line 1: kind: expected one of night, check, calibration",
        ),
        (
            lambda lines: lines.__setitem__(0, lines[0].replace(b"2026-01-02-7-1", b"../../x")),
            "line 1: expected a consistent session header, found a name must be",
        ),
    ],
)
def test_a_changed_file_is_refused(
    tmp_path: Path, change: Callable[[list[bytes]], object], message: str
) -> None:
    """Each change names the file, the line, what was expected and what was found."""
    sealed = sealed_session(tmp_path, HEADER, *drawn(*OUTCOMES))

    assert message in refusal_of(rewritten(sealed, change))


def test_a_bomb_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    """An archive of a kilobyte may be endless when it is unpacked."""
    file = tmp_path / "x.jsonl.gz"
    file.write_bytes(gzip.compress(bytes(64 << 20)))

    assert "expected lines of at most 16777216 bytes" in refusal_of(file)


def test_the_size_of_all_lines_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when each line is short."""
    sealed = sealed_session(tmp_path, HEADER, *drawn(*OUTCOMES))
    monkeypatch.setattr(files, "MAX_BYTES", 1000)

    assert "and 1000 bytes in all, found more of them" in refusal_of(sealed)


def test_a_link_is_refused(tmp_path: Path) -> None:
    """Neither a session file nor a folder of a history may lead elsewhere."""
    sealed = sealed_session(tmp_path / "a", HEADER, *drawn(draw_of()))
    link = tmp_path / "link.jsonl.gz"
    link.symlink_to(sealed)
    assert "expected no symbolic link" in refusal_of(link)

    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "nights").symlink_to(tmp_path / "a" / "nights")
    with pytest.raises(InputInvalid, match="found a symbolic link"):
        started(tmp_path / "b")


def test_equal_sessions_are_equal_files(tmp_path: Path) -> None:
    """No time of compression and no name is in them."""
    one, other = (
        sealed_session(tmp_path / name, HEADER, *drawn(*OUTCOMES)).read_bytes() for name in "ab"
    )

    assert one == other


def test_a_digit_of_a_draw_is_kept(tmp_path: Path) -> None:
    """Ranks of later imports need every bit."""
    draw = Draw(logprobs=(-0.1 - 2**-50, -1 / 3))
    draws, _ = read(sealed_session(tmp_path, HEADER, *drawn(draw)))

    assert draws[0].outcome == draw
