"""`repro-gate history show`: stored sessions on a terminal, as a page and as JSON."""

import json
from pathlib import Path

import pytest

from repro_gate.adapters.files.watches import WatchFiles
from repro_gate.core.history import SessionCell, SessionKind
from tests.cli.hosted.workspaces import HostedWorkspace
from tests.fakes.history import draw_of, drawn, sealed_session, session_cell_of, session_header_of
from tests.fakes.nights import watch_of

OUTLIER = -156.5


def cells_of(center: float = -42.0) -> tuple[SessionCell, ...]:
    """Return the cells of the workspace as a session keeps them."""
    return tuple(
        session_cell_of(item, tokens=50, usd_per_million_tokens=2.0, center=center, bound=8.0)
        for item in ("plane", "train")
    )


def add_night(folder: Path, date: str, *totals: float) -> None:
    """Add a closed night in which every cell has these sums."""
    header = session_header_of(*cells_of(), date=date)
    draws = [draw_of([total], fireworks_backend_host="host-7") for total in totals]
    lines = [line for cell in header.cells for line in drawn(*draws, cell=cell.id)]
    sealed_session(folder, header, *lines)


@pytest.fixture
def kept(hosted: HostedWorkspace) -> HostedWorkspace:
    """Return a workspace whose history has an outlier of a month ago."""
    history = hosted.folder / ".repro-gate" / "history"
    add_night(history, "2026-01-02", -42.0, OUTLIER)
    for day in range(3, 32):
        add_night(history, f"2026-01-{day:02}", -42.0, -42.25)
    return hosted


def test_an_outlier_of_a_month_ago_is_found_again(kept: HostedWorkspace) -> None:
    """With its time, request and backend."""
    ran = kept.run("history", "show")

    assert (ran.code, ran.err) == (0, "")
    (line, *_) = [line for line in ran.out.splitlines() if "-156.5" in line]
    assert line.split() == [
        *("2026-01-02", "03:04:06", "base--plane", "-156.5000", "-114.5000"),
        *("req-1", "accounts/test/models/tiny", "host-7"),
    ]
    assert "sessions 30 nights, from 2026-01-02 to 2026-01-31, draws 120" in ran.out


def test_the_page_is_one_file(kept: HostedWorkspace) -> None:
    """It has every night, and its path is printed."""
    ran = kept.run("history", "show", "--html", "history.html")

    page = (kept.folder / "history.html").read_text("utf-8")
    assert (ran.code, ran.out.splitlines()[-1]) == (0, "history.html: written")
    assert all(f"2026-01-{day:02}-7-1" in page for day in range(2, 32))
    assert "allowed by the baseline" in page


def test_json_is_a_document(kept: HostedWorkspace) -> None:
    """Of the selected cells only."""
    ran = kept.run("history", "show", "--json", "--cell", "*--train", "--html", "x.html")

    document = json.loads(ran.out)
    assert document["schema"] == "repro-gate/timeline/v1"
    (cell,) = document["cells"]
    assert (cell["cell"], cell["outliers"], cell["draws"]) == ("base--train", 1, 60)
    assert cell["band"] is not None
    assert (kept.folder / "x.html").exists()


def test_the_state_of_an_open_watch_is_shown(kept: HostedWorkspace) -> None:
    """As by `watch state`: its nights are of another epoch, so it is unknown."""
    WatchFiles(kept.snapshots / "watch").write(watch_of())

    ran = kept.run("history", "show")

    assert ran.code == 0
    assert ran.out.startswith("watch hosted: unknown\n")


def test_a_baseline_of_another_definition_has_no_band(kept: HostedWorkspace) -> None:
    """It was recorded for another prompt."""
    kept.ask("http://127.0.0.1:9/v1", items={"plane": {"prompt": "x", "response": " y"}})

    document = json.loads(kept.run("history", "show", "--json").out)

    assert {cell["cell"]: cell["band"] for cell in document["cells"]} == {
        "base--plane": None,
        "base--train": None,
    }


def test_cells_of_other_suites_are_not_shown(kept: HostedWorkspace) -> None:
    """A session of no suite may have them."""
    history = kept.folder / ".repro-gate" / "history"
    other = session_cell_of("other")
    header = session_header_of(
        *cells_of(),
        other,
        kind=SessionKind.CALIBRATION,
        suite=None,
        epoch=None,
        key="2026-01-02-calibration",
    )
    sealed_session(
        history,
        header,
        *drawn(draw_of([-42.0]), cell="base--plane", purpose="calibration"),
        *drawn(draw_of([-1.0]), cell="base--other", purpose="calibration"),
    )

    ran = kept.run("history", "show", "--json")

    assert ran.err == ""
    document = json.loads(ran.out)
    assert [cell["cell"] for cell in document["cells"]] == ["base--plane", "base--train"]
    assert {each["kind"] for each in document["sessions"]} == {"night", "calibration"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--suite", "quick"), "there is no suite 'quick'; the suites of log-probabilities are: h"),
        (("--html", "nowhere/x.html"), "there is no folder nowhere: name another file with --html"),
        (("--html", "."), ". is a folder: name a file with --html"),
    ],
)
def test_a_wrong_command_line_is_refused(
    kept: HostedWorkspace, arguments: tuple[str, ...], message: str
) -> None:
    """With what is expected."""
    ran = kept.run("history", "show", *arguments)

    assert ran.code == 2
    assert message in ran.err


def test_one_of_several_suites_has_to_be_named(kept: HostedWorkspace) -> None:
    """A page is about one suite."""
    suite = {"kind": "logprobs", "policies": ["base"], "items": ["plane"]}
    kept.ask("http://127.0.0.1:9/v1", suites={"second": suite})

    ran = kept.run("history", "show")

    assert ran.code == 2
    assert "name one with --suite; the suites of log-probabilities are: second, hosted" in ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--history", "empty"), "empty has no session of the suite hosted"),
        (("--cell", "x*"), "the history has no cell 'x*'"),
    ],
)
def test_a_history_without_anything_to_show_is_inconclusive(
    kept: HostedWorkspace, arguments: tuple[str, ...], message: str
) -> None:
    """It exits with 4 and shows what to do."""
    ran = kept.run("history", "show", *arguments)

    assert ran.code == 4
    assert message in ran.err
    assert "try: " in ran.err


def test_a_broken_history_is_an_invalid_file(kept: HostedWorkspace) -> None:
    """It exits with 3 and names the file."""
    (sealed, *_) = sorted((kept.folder / ".repro-gate" / "history").rglob("*.jsonl.gz"))
    sealed.write_bytes(b"no gzip")

    ran = kept.run("history", "show")

    assert ran.code == 3
    assert sealed.name in ran.err
