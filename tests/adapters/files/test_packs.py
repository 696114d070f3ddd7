"""The pack of one cell: written for another person, and read as an untrusted download."""

import json
import stat
from collections.abc import Callable, Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_LZMA, ZipFile, ZipInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from repro_gate.adapters.files.packs import (
    GOLDEN,
    Pack,
    parse_pack,
    read_pack,
    write_pack,
    zipped,
)
from repro_gate.adapters.files.results import REPORT, report_text
from repro_gate.adapters.files.snapshots import golden_text
from repro_gate.core.cause import diagnose
from repro_gate.core.report import (
    CellReport,
    FinishedCheck,
    GateReport,
    UnfinishedCheck,
    excerpt_of,
)
from repro_gate.core.tokens.golden import Golden
from repro_gate.core.tokens.verdicts import Drift
from repro_gate.errors import InputInvalid
from repro_gate.reports.explain import render_explanation
from tests.fakes.reports import OTHER_RUN, drifted, every_verdict, not_run, report_of
from tests.fakes.values import cell_of, generation_of, golden_of, grade_of

FILE = Path("sent.zip")
CELL = drifted(cell_of("fox"))


def golden_in(cell: CellReport) -> Golden:
    """Return the golden that a cell drifted from."""
    assert isinstance(cell.verdict, Drift)
    return cell.verdict.golden


def text_of(*cells: CellReport) -> str:
    """Return the text of a report with these cells."""
    return report_text(FinishedCheck(report=report_of(*cells)), {})


CONTENTS = {REPORT: text_of(CELL).encode(), GOLDEN: golden_text(golden_in(CELL)).encode()}
DATA = zipped(CONTENTS)


def refusal_of(data: bytes) -> str:
    """Return the message for the bytes of a pack, without the name of the file."""
    with pytest.raises(InputInvalid) as caught:
        parse_pack(data, FILE)
    assert str(caught.value).isprintable()
    return str(caught.value).removeprefix(str(FILE))


def page_of(report: GateReport, cell: CellReport, golden: Golden) -> str:
    """Return what `explain` shows of a cell."""
    facts = {} if cell.provenance is None else report.provenances[cell.provenance]
    grade = report.grade_of(cell)
    found = diagnose(cell, facts=facts, committed=golden, grade=grade)
    return render_explanation(report, cell, found, golden)


def test_a_golden_may_be_of_another_profile(tmp_path: Path) -> None:
    """That of the drift, as of a suite that is against it."""
    cell, file = replace(CELL, profile="gpu-other"), tmp_path / "sent.zip"

    write_pack(file, text_of(cell), golden_in(CELL))

    assert read_pack(file).golden == golden_in(CELL)


def accepted(data: bytes) -> Pack | None:
    """Return the pack in bytes, or None when it is refused."""
    try:
        return parse_pack(data, FILE)
    except InputInvalid:
        return None


def with_entry(name: str = REPORT, content: bytes = CONTENTS[REPORT], **changes: Any) -> bytes:
    """Return a zip file with one entry that has these attributes."""
    entry = ZipInfo(name)
    for attribute, value in changes.items():
        setattr(entry, attribute, value)
    with BytesIO() as stream:
        with ZipFile(stream, "w") as archive:
            archive.writestr(entry, content)
        return stream.getvalue()


@pytest.mark.parametrize("cell", every_verdict(), ids=lambda cell: cell.verdict.word)
def test_a_pack_is_read_as_it_was_written(cell: CellReport, tmp_path: Path) -> None:
    """Whatever the verdict, with the grade, and with the golden that is committed."""
    report = excerpt_of(replace(report_of(), grades=(grade_of(),)), cell)
    golden = None if cell.profile is None else golden_of(cell.cell, generation_of(1, 2))
    write_pack(tmp_path / FILE, report_text(FinishedCheck(report=report), {}), golden)

    assert read_pack(tmp_path / FILE) == Pack(report=report, golden=golden)
    assert list(tmp_path.iterdir()) == [tmp_path / FILE]


@pytest.mark.parametrize("cell", every_verdict(), ids=lambda cell: cell.verdict.word)
def test_an_excerpt_shows_the_same_page(cell: CellReport) -> None:
    """Nothing of other cells is shown of one."""
    report = replace(report_of(), grades=(grade_of(),))
    golden = golden_of(cell.cell, OTHER_RUN)

    excerpt = excerpt_of(report, cell)
    assert page_of(excerpt, excerpt.cells[0], golden) == page_of(report, cell, golden)


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    """Without the time, the user or the folder."""
    write_pack(tmp_path / FILE, text_of(CELL), golden_in(CELL))

    assert (tmp_path / FILE).read_bytes() == DATA
    with ZipFile(tmp_path / FILE) as archive:
        entries = [(each.filename, each.date_time[0]) for each in archive.infolist()]
    assert entries == [(GOLDEN, 1980), (REPORT, 1980)]


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    """Such as the golden of another cell."""
    with pytest.raises(InputInvalid, match=r"golden\.json: cell: expected the cell tiny--fox"):
        write_pack(tmp_path / FILE, text_of(CELL), golden_of(cell_of("moon"), generation_of(1)))

    assert list(tmp_path.iterdir()) == []


def _with_end(change: Callable[[bytearray], object]) -> bytes:
    data = bytearray(DATA)
    change(data)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "an empty file"),
        (b"<!doctype html><p>Sign in", "a web page, such as the login or error page of a download"),
        (CONTENTS[REPORT], "another kind of file"),
        (DATA[:-1], "one that is cut off, or has a comment or 64-bit sizes"),
        (DATA + b"\0", "one that is cut off, or has a comment or 64-bit sizes"),
        (_with_end(lambda end: end.__setitem__(slice(-42, -38), b"PK\6\7")), "one that is cut off"),
        (DATA[200:], "a damaged one: "),
        (DATA.replace(b"PK\3\4", b"PK\3\5"), "a damaged one: Bad magic number for file header"),
        (DATA.replace(b"golden", b"report", 1), "a damaged one: File name in directory"),
    ],
)
def test_another_file_is_refused(data: bytes, found: str) -> None:
    """With what it is instead."""
    place = ("/golden.json", "/report.json", "")

    message = refusal_of(data)
    assert any(
        message.startswith(
            f"{name}: expected a zip file as explain --pack writes it, found {found}"
        )
        for name in place
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (zipped({}), ": expected the entry report.json, found none"),
        (zipped({GOLDEN: b"{}"}), ": expected the entry report.json, found none"),
        (
            zipped({**CONTENTS, "../\x1b.sh": b""}),
            r": expected only the entries golden.json and report.json, found '../\\x1b.sh'",
        ),
        (zipped({"report.json/": b""}), ": expected only the entries golden.json and"),
        (
            with_entry("report.json_.exe").replace(b"_.exe", b"\0.exe"),
            ": expected only the entries golden.json and report.json, found 'report.json\\\\x00",
        ),
        (
            with_entry(external_attr=(stat.S_IFLNK | 0o777) << 16),
            "/report.json: expected a plain file, found a symbolic link",
        ),
        (
            with_entry(external_attr=stat.S_IFIFO << 16),
            "/report.json: expected a plain file, found another kind of file",
        ),
        (
            with_entry(compress_type=ZIP_LZMA),
            "/report.json: expected a plain file, found the compression method 14",
        ),
        (
            zipped({REPORT: bytes((32 << 20) + 1)}),
            "/report.json: expected at most 33554432 bytes, found 33554433",
        ),
        (
            zipped({GOLDEN: bytes((8 << 20) + 1)}),
            "/golden.json: expected at most 8388608 bytes, found 8388609",
        ),
        (
            zipped({f"{number}{'x' * 99}": b"" for number in range(100)}),
            ": expected a list of entries of at most 4096 bytes, found one of 14690",
        ),
    ],
)
def test_only_the_expected_entries_are_read(data: bytes, message: str) -> None:
    """Plain, of bounded size, and by their whole names."""
    assert refusal_of(data).startswith(message)


def test_an_entry_is_there_once() -> None:
    """Programs differ in which of two they take."""
    names = zipped({REPORT: b"{}", "rEport.json": b"{}"}).replace(b"rEport", b"report")

    assert refusal_of(names) == "/report.json: expected one entry of a name, found several"


def test_an_encrypted_entry_is_refused() -> None:
    """Nobody is asked for a password."""
    data = bytearray(with_entry())
    data[data.index(b"PK\1\2") + 8] |= 1

    assert refusal_of(bytes(data)) == "/report.json: expected a plain file, found an encrypted one"


def test_an_entry_that_is_larger_than_it_claims_is_refused() -> None:
    """Never more is unpacked than was claimed."""
    data = bytearray(zipped({REPORT: bytes(64 << 20)}))
    directory = data.index(b"PK\1\2")
    data[directory + 24 : directory + 28] = (100).to_bytes(4, "little")

    assert "/report.json: expected a zip file as explain --pack writes it, found a dam" in (
        refusal_of(bytes(data))
    )


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (
            {REPORT: text_of(CELL, not_run(cell_of("snow"))).encode()},
            "/report.json: result.report.cells: expected one cell, found 2",
        ),
        (
            {REPORT: report_text(UnfinishedCheck(exit_code=3, message="no\x1b"), {}).encode()},
            "/report.json: result: expected the report of a check, as repro-gate check writes it",
        ),
        (
            {REPORT: b'{"schema": 1}'},
            "/report.json: schema: expected 'repro-gate/report/v1', found",
        ),
        ({REPORT: b"{"}, "/report.json: line 1, column 2: expected a key in double quotes, found"),
        ({**CONTENTS, GOLDEN: b"{}"}, "/golden.json: expected the key 'schema', found none"),
        (
            {
                REPORT: text_of(drifted(cell_of("moon"))).encode(),
                GOLDEN: CONTENTS[GOLDEN],
            },
            "/golden.json: cell: expected the cell tiny--moon--seed42, found the cell tiny--fox--",
        ),
        (
            {REPORT: text_of(not_run(cell_of("fox"))).encode(), GOLDEN: CONTENTS[GOLDEN]},
            "/golden.json: expected no golden of a cell without profile, found one",
        ),
    ],
)
def test_each_document_is_checked(contents: Mapping[str, bytes], message: str) -> None:
    """By its schema, and against the other one."""
    assert refusal_of(zipped(dict(contents))).startswith(message)


def test_an_inconsistent_report_is_refused() -> None:
    """As in a report folder."""
    content = json.loads(CONTENTS[REPORT])
    content["result"]["report"]["cells"][0]["provenance"] = 1

    message = refusal_of(zipped({REPORT: json.dumps(content).encode()}))
    assert message.startswith("/report.json: result.report.cells[0].provenance: expected one of 1")


def test_a_larger_file_is_not_read(tmp_path: Path) -> None:
    """As all its entries would be too large."""
    with (tmp_path / FILE).open("wb") as stream:
        stream.truncate((40 << 20) + 1)

    with pytest.raises(InputInvalid, match="expected at most 41943040 bytes, found 41943041"):
        read_pack(tmp_path / FILE)


_PLACES = st.integers(0, len(DATA) - 1)
_HEADERS = st.integers(0, 60) | st.integers(len(DATA) - 140, len(DATA) - 1)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(_PLACES | _HEADERS, st.integers(0, 255), max_size=4), st.none() | _PLACES)
@example({}, None)
def test_a_damaged_pack_is_refused_or_read(changes: dict[int, int], cut: int | None) -> None:
    """Whatever bytes of it change, and where it ends."""
    data = bytearray(DATA)
    for place, value in changes.items():
        data[place] = value
    # Dates, for example, are not read.
    assert accepted(bytes(data[:cut])) in (None, parse_pack(DATA, FILE))
