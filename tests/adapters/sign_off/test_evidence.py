"""The files of an evidence folder are read once, and only from there."""

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from repro_gate.adapters.files.results import report_text
from repro_gate.adapters.files.untrusted_files import read_regular_file
from repro_gate.adapters.sign_off import evidence
from repro_gate.adapters.sign_off.envelope import envelope_of, signed
from repro_gate.adapters.sign_off.evidence import digests_of, read_evidence, report_file
from repro_gate.core.report import UnfinishedCheck, result_of
from repro_gate.core.sign_off.statement import Entry, Kind
from repro_gate.errors import InputInvalid
from tests.fakes.releases import (
    FOX,
    HAIKU,
    drifted,
    evidence_of,
    file_of,
    matched,
    report_of,
    signers_of,
    waiver_of,
)
from tests.fakes.signing import key_of

REPORT = report_of(matched(HAIKU), drifted(FOX))
WAIVER = waiver_of(REPORT)
CAROL = signers_of("carol")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an evidence folder with a report and a waiver."""
    (tmp_path / "report.json").write_text(report_text(result_of(REPORT), {}), "ascii")
    (tmp_path / "waivers").mkdir()
    envelope = signed(envelope_of(WAIVER.to_data()), key_of("carol"))
    (tmp_path / "waivers" / "w-1.dsse.json").write_text(envelope.text(), "ascii")
    return tmp_path


def statement_for(folder: Path, *, waiver: str = "waivers/w-1.dsse.json") -> Any:
    """Return a statement that names both files."""
    report = (folder / "report.json").read_bytes()
    signed_waiver = (folder / "waivers" / "w-1.dsse.json").read_bytes()
    usual = evidence_of(file_of(REPORT)).statement
    entries = (
        Entry(kind=Kind.REPORT, name="report.json", digest={"sha256": sha256(report)}),
        Entry(kind=Kind.WAIVER, name=waiver, digest={"sha256": sha256(signed_waiver)}),
    )
    return evidence_of(configuration=(*usual.configuration[:2], *entries)).statement


def sha256(data: bytes) -> str:
    """Return a digest."""
    return hashlib.sha256(data).hexdigest()


def test_reports_and_waivers_are_read(folder: Path) -> None:
    """With who signed each waiver, by name."""
    statement = statement_for(folder)

    found = read_evidence(folder, statement, waivers=CAROL)

    assert [file.name for file in found.reports] == ["report.json"]
    assert [file.waiver for file in found.waivers] == [WAIVER]
    assert [file.signers for file in found.waivers] == [frozenset({"carol"})]
    assert found.changed == {}
    (unsigned,) = read_evidence(folder, statement, waivers=None).waivers
    assert unsigned.signers == frozenset()


def test_each_file_is_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is parsed are the bytes whose digest was compared, whatever the file becomes."""
    statement = statement_for(folder)
    times = Counter[str]()
    read = read_regular_file

    def counted(file: Path, **options: Any) -> bytes:
        times[file.name] += 1
        data = read(file, **options)
        file.write_bytes(b"{}")
        return data

    monkeypatch.setattr(evidence, "read_regular_file", counted)

    found = read_evidence(folder, statement, waivers=CAROL)

    assert times == {"report.json": 1, "w-1.dsse.json": 1}
    assert (len(found.reports), len(found.waivers), found.changed) == (1, 1, {})


def test_a_changed_file_is_not_parsed(folder: Path) -> None:
    """Its digest is reported."""
    statement = statement_for(folder)
    for file in (folder / "report.json", folder / "waivers" / "w-1.dsse.json"):
        file.write_bytes(b"no JSON")

    found = read_evidence(folder, statement, waivers=CAROL)

    other = sha256(b"no JSON")
    assert (found.reports, found.waivers) == ((), ())
    assert found.changed == {"report.json": other, "waivers/w-1.dsse.json": other}


def test_a_folder_that_is_a_link_is_refused(folder: Path) -> None:
    """It would lead out of the evidence."""
    statement = statement_for(folder)
    (folder / "waivers").rename(folder / "elsewhere")
    (folder / "waivers").symlink_to("elsewhere")

    with pytest.raises(InputInvalid, match="waivers: expected no symbolic link, found one"):
        read_evidence(folder, statement, waivers=CAROL)


@pytest.mark.parametrize(
    "name", ["w-1.dsse.json", "waivers/../x", "/waivers/x", "waivers/a/b", "waivers/", "waivers/."]
)
def test_a_waiver_has_a_plain_name_in_its_folder(folder: Path, name: str) -> None:
    """Any other is never opened."""
    statement = statement_for(folder, waiver=name)

    with pytest.raises(InputInvalid, match="expected a plain file name in waivers/, found"):
        read_evidence(folder, statement, waivers=CAROL)


def test_waivers_are_few(folder: Path) -> None:
    """A hundred of them would be no exceptions."""
    statement = statement_for(folder)
    waivers = tuple(
        Entry(kind=Kind.WAIVER, name=f"waivers/{index}", digest={"sha256": "00" * 32})
        for index in range(101)
    )
    many = evidence_of(configuration=(statement.configuration[2], *waivers)).statement

    with pytest.raises(InputInvalid, match="at most 100 entries of kind waiver, found 101"):
        read_evidence(folder, many, waivers=CAROL)


def test_the_report_of_an_unfinished_check_is_no_evidence() -> None:
    """It has no verdicts."""
    text = report_text(UnfinishedCheck(exit_code=3, message="x"), {})

    with pytest.raises(InputInvalid, match="result: expected the report of a check"):
        report_file(text.encode(), Path("report.json"))


def test_a_report_has_a_time() -> None:
    """Its age could not be known."""
    text = report_text(result_of(REPORT), {}).replace(REPORT.started_at, "yesterday")

    with pytest.raises(InputInvalid, match=r"result\.report\.started_at: expected a time"):
        report_file(text.encode(), Path("report.json"))


def test_a_file_that_changes_while_it_is_read_has_no_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may not be the one that is used."""
    file = tmp_path / "model.gguf"
    file.write_bytes(b"weights")

    def growing(stream: BinaryIO, _: str) -> Any:
        file.write_bytes(b"other weights")
        return hashlib.sha256(stream.read())

    monkeypatch.setattr(hashlib, "file_digest", growing)

    with pytest.raises(InputInvalid, match="expected a file that rests, found one that changes"):
        digests_of([file])
