"""Report folders, session files and baselines become sessions once, and nothing else does."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from repro_gate.adapters.files.results import report_text, write_report
from repro_gate.adapters.files.snapshots import BaselineFiles
from repro_gate.adapters.history.folder import HistoryFolder
from repro_gate.adapters.history.lines import header_line
from repro_gate.adapters.history.sources import add_source
from repro_gate.adapters.logs.draws import to_line
from repro_gate.core.history import CellSession, Session, SessionKind
from repro_gate.core.logprobs.draw import Draw, DrawFacts, InvalidDraw, MissedDraw
from repro_gate.core.logprobs.policy import LogprobCell, Policy, PolicyKind
from repro_gate.core.logprobs.report import LogprobReport
from repro_gate.core.logprobs.sessions import CalibrationSession
from repro_gate.core.logprobs.verdicts import Agrees, Equivalence
from repro_gate.core.report import UnfinishedCheck
from repro_gate.errors import InputInvalid
from tests.fakes.generating import generating_policy
from tests.fakes.history import (
    FAR,
    draw_of,
    drawn,
    log_of,
    sealed_session,
    session_header_of,
)
from tests.fakes.logprob_reports import (
    OUTLYING,
    logprob_cell_of,
    logprob_cell_report_of,
    logprob_report_of,
    outlier_of,
)
from tests.fakes.reports import STARTED_AT, render_json, report_of
from tests.fakes.scoring import baseline_of, item_of, policy_of

CAPITAL, TRAIN = "base--capital", "base--train"
AGREES = Agrees(equivalence=Equivalence.IDENTICAL)
FACTS = DrawFacts(at=STARTED_AT, model="m", request_id="req-7")
PLAIN = Draw(logprobs=(-42.0,), facts=FACTS)
LINES = (
    *drawn(PLAIN, FAR, MissedDraw(reason="429"), cell=CAPITAL, purpose="first_look"),
    *drawn(InvalidDraw(reason="x"), PLAIN, cell=TRAIN, purpose="first_look"),
    *drawn(PLAIN, cell=CAPITAL, purpose="control"),
)


def hosted(**changes: Any) -> LogprobReport:
    """Return the report of a suite with two cells, one with an outlier."""
    cells = (
        logprob_cell_report_of(OUTLYING, outliers=(outlier_of(),)),
        logprob_cell_report_of(AGREES, logprob_cell_of("train")),
    )
    return logprob_report_of(*cells, **changes)


def report_folder(
    folder: Path, *lines: bytes, reports: tuple[LogprobReport, ...] = (), **changes: Any
) -> Path:
    """Write the report folder of a check; without reports it was killed."""
    folder.mkdir(exist_ok=True)
    (folder / "draws.jsonl").write_bytes(b"".join((log_of(STARTED_AT), *lines)))
    if reports:
        report = replace(report_of(), logprobs=reports, **changes)
        write_report(folder, render_json(report))
    return folder


def added(history: Path, source: Path) -> list[tuple[bool, bool]]:
    """Add a source, and return for each session whether it is new and closed."""
    return [(each.is_new, each.is_closed) for each in add_source(history, source)]


def points_in(history: Path) -> list[tuple[Session, CellSession]]:
    """Return what a history has."""
    with closing(HistoryFolder(history)) as folder:
        return list(folder.points())


def test_a_check_is_a_session_with_its_results(tmp_path: Path) -> None:
    """Verdict, center, bound and definition of each cell, and every draw."""
    source = report_folder(tmp_path / "r", *LINES, reports=(hosted(),))

    assert added(tmp_path / "h", source) == [(True, True)]
    (session, capital), (_, train) = points_in(tmp_path / "h")

    assert (session.kind, session.suite) == (SessionKind.CHECK, "hosted")
    assert (capital.cell.verdict, capital.cell.center, capital.cell.bound) == ("outlier", -42, 3)
    assert (capital.totals, capital.far) == ((-42.0, -156.5), (-156.5,))
    assert (capital.missed, train.invalid) == (1, 1)
    assert (train.cell.verdict, train.cell.bound, train.far) == ("agrees", None, ())
    assert len(train.cell.definition or "") == 64


def test_each_suite_of_a_check_is_a_session(tmp_path: Path) -> None:
    """Each has the draws of its cells, and a suite without draws has none."""
    capital, train = (
        replace(hosted(), suite=name, cells=(cell,))
        for name, cell in zip(("first", "second"), hosted().cells, strict=True)
    )
    empty = replace(hosted(), suite="third", cells=())
    source = report_folder(tmp_path / "r", *LINES, reports=(capital, train, empty))

    assert added(tmp_path / "h", source) == [(True, True), (True, True)]
    found = [(session.suite, point.cell.id) for session, point in points_in(tmp_path / "h")]
    assert sorted(found) == [("first", CAPITAL), ("second", TRAIN)]


def test_a_source_is_added_once(tmp_path: Path) -> None:
    """Adding is idempotent, for folders of folders too."""
    history = tmp_path / "h"
    report_folder(tmp_path / "s", *LINES, reports=(hosted(),))
    sealed_session(tmp_path / "s" / "artifact", session_header_of(), *drawn(draw_of()))

    assert added(history, tmp_path / "s") == [(True, True)] * 2
    assert added(history, tmp_path / "s") == [(False, True)] * 2
    assert len(points_in(history)) == 3


def test_a_killed_check_is_kept_until_it_is_finished(tmp_path: Path) -> None:
    """Its draws are there once: the finished check takes the place of the killed one."""
    history = tmp_path / "h"
    killed = report_folder(tmp_path / "1", *LINES[:2], LINES[2][:9])
    longer = report_folder(tmp_path / "2", *LINES[:4])
    interrupted = report_folder(tmp_path / "3", *LINES[:5], reports=(hosted(),), interrupted=True)
    finished = report_folder(tmp_path / "4", *LINES, reports=(hosted(),))

    states = [added(history, source) for source in (killed, killed, longer, killed)]
    assert states == [[(True, False)], [(False, False)], [(True, False)], [(False, False)]]
    (session, capital), _ = points_in(history)
    assert (session.is_closed, session.suite) == (False, None)
    assert capital.totals == (-42.0, -156.5)
    assert added(history, interrupted) == [(True, False)]
    assert added(history, finished) == [(True, True)]
    assert [added(history, each) for each in (killed, interrupted)] == [[(False, False)]] * 2
    assert {session.is_closed for session, _ in points_in(history)} == {True}
    assert len(points_in(history)) == 2


def test_a_check_that_did_not_start_has_no_results(tmp_path: Path) -> None:
    """Its folder may have the draws of an earlier one."""
    source = report_folder(tmp_path / "r", *LINES)
    unfinished = UnfinishedCheck(exit_code=3, message="x")
    write_report(source, report_text(unfinished, {}))

    assert added(tmp_path / "h", source) == [(True, False)]


def test_a_check_that_was_killed_at_once_is_nothing(tmp_path: Path) -> None:
    """Beside another session it does not matter; alone it is a source without a session."""
    (tmp_path / "s" / "check").mkdir(parents=True)
    (tmp_path / "s" / "check" / "draws.jsonl").write_bytes(b'{"schema":')
    with pytest.raises(InputInvalid, match=r"expected a session file, .* found none"):
        added(tmp_path / "h", tmp_path / "s")

    sealed_session(tmp_path / "s", session_header_of(), *drawn(PLAIN))
    assert added(tmp_path / "h", tmp_path / "s") == [(True, True)]


def test_draws_of_another_check_are_refused(tmp_path: Path) -> None:
    """A report and draws that were put into one folder are no check."""
    other = drawn(PLAIN, cell="base--other")
    source = report_folder(tmp_path / "r", *LINES, *other, reports=(hosted(),))
    with pytest.raises(InputInvalid, match=r"draws\.jsonl: line 8: cell: expected a cell of rep"):
        added(tmp_path / "h", source)

    older = report_folder(
        tmp_path / "o", *LINES, reports=(hosted(),), started_at="2020-01-01T00:00:00+00:00"
    )
    with pytest.raises(InputInvalid, match=r"report\.json: started_at: expected the report of"):
        added(tmp_path / "h", older)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{}\n", "expected"),
        (log_of(STARTED_AT) + b"{}\n", "line 2: outcome: expected one of draw, invalid"),
        (log_of("yesterday"), "line 1: expected a line of a session"),
        (
            log_of(STARTED_AT) + to_line(("x", "control", 1), PLAIN),
            "line 2: cell: expected the names of a policy and an item",
        ),
    ],
)
def test_a_broken_log_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """With file and line."""
    (tmp_path / "draws.jsonl").write_bytes(content)

    with pytest.raises(InputInvalid, match=rf"draws\.jsonl: .*{message}"):
        added(tmp_path / "h", tmp_path)


def test_a_killed_night_is_kept_until_it_is_closed(tmp_path: Path) -> None:
    """Its first draws have to be those of the closed night."""
    history, header = tmp_path / "h", session_header_of()
    closed = sealed_session(tmp_path / "a", header, *drawn(PLAIN, FAR))
    night = closed.with_name(f"{header.key}.jsonl")
    night.write_bytes(b"".join((header_line(header), *drawn(FAR))))
    added(history, night)
    with pytest.raises(InputInvalid, match="line 2: expected the same session"):
        added(history, closed)

    (running,) = history.glob("nights/*/*/*.jsonl")
    running.write_bytes(b"".join((header_line(header), *drawn(PLAIN))))
    assert added(history, closed) == [(True, True)]
    assert added(history, night) == [(False, False)]
    assert [session.is_closed for session, _ in points_in(history)] == [True]


def test_another_session_with_the_same_key_is_refused(tmp_path: Path) -> None:
    """Neither is changed."""
    one, other = (
        sealed_session(tmp_path / name, session_header_of(), *drawn(draw))
        for name, draw in (("a", PLAIN), ("b", FAR))
    )
    added(tmp_path / "h", one)

    with pytest.raises(InputInvalid, match="expected the same session, found another one with"):
        added(tmp_path / "h", other)


def recorded(folder: Path, *draws: float, policy: Policy | None = None, **changes: Any) -> None:
    """Write a baseline of these draws."""
    cell = LogprobCell(policy=policy or policy_of(), item=item_of("fox"))
    vectors = [(total, -0.5) for total in draws]
    facts = (FACTS,) * len(draws)
    BaselineFiles(folder).write(baseline_of(cell, vectors, facts=facts, **changes))


def test_each_session_of_a_baseline_is_one(tmp_path: Path) -> None:
    """Of no suite, with the tokens of the cell; another session that joins changes none."""
    times = ("2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00")
    sessions = [
        CalibrationSession(started_at=at, draws=n) for at, n in zip(times, (2, 1), strict=True)
    ]
    recorded(tmp_path / "b", -1.0, -1.0, recorded_at=times[0])
    assert added(tmp_path / "h", tmp_path / "b") == [(True, True)]

    recorded(tmp_path / "b", -1.0, -1.0, -1.25, recorded_at=times[1], sessions=sessions)
    assert added(tmp_path / "h", tmp_path / "b") == [(False, True), (True, True)]

    found = [(session.started_at, point.totals) for session, point in points_in(tmp_path / "h")]
    assert found == [(times[0], (-1.5, -1.5)), (times[1], (-1.75,))]
    (session, point), *_ = points_in(tmp_path / "h")
    assert (session.kind, session.suite) == (SessionKind.CALIBRATION, None)
    assert (point.cell.tokens or 0) > 2


def test_the_tokens_of_generated_draws_are_those_that_the_server_counted(tmp_path: Path) -> None:
    """The tokens that are compared were not all sent or generated."""
    recorded(tmp_path / "b", -1.0, policy=generating_policy(PolicyKind.FIRST_TOKEN))
    added(tmp_path / "h", tmp_path / "b")

    ((_, point),) = points_in(tmp_path / "h")
    assert point.cell.tokens is None


def test_an_edited_baseline_is_refused(tmp_path: Path) -> None:
    """Its digest is no longer right."""
    recorded(tmp_path, -1.0, -1.25)
    (file,) = tmp_path.glob("*/*.json")
    file.write_text(file.read_text().replace("-1.25", "-1.75"))

    with pytest.raises(InputInvalid, match="expected the digest of the content"):
        added(tmp_path / "h", tmp_path)


@pytest.mark.parametrize("name", ["missing", "empty", "other.json", "runs.jsonl"])
def test_a_source_without_a_session_is_refused(tmp_path: Path, name: str) -> None:
    """A wrong path must not look like a quiet night."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "other.json").write_text('{"schema": "x"}')
    (tmp_path / "runs.jsonl").write_text("{}\n")

    with pytest.raises(InputInvalid, match=rf"{name}: .*expected|{name}: expected"):
        added(tmp_path / "h", tmp_path / name)


def test_a_linked_file_in_a_download_is_refused(tmp_path: Path) -> None:
    """It may lead anywhere."""
    sealed = sealed_session(tmp_path / "a", session_header_of(), *drawn(PLAIN))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / sealed.name).symlink_to(sealed)

    with pytest.raises(InputInvalid, match="expected no symbolic link"):
        added(tmp_path / "h", tmp_path / "b")
