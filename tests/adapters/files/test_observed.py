"""Read what a check on another machine observed, from an untrusted download."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from repro_gate.adapters.files.golden_writer import serialize
from repro_gate.adapters.files.observed import Observed, read_observed, write_observed
from repro_gate.adapters.files.results import report_text, write_report
from repro_gate.checks.tokens.record import changed_goldens
from repro_gate.core.matrix import Matrix
from repro_gate.core.report import GateReport, UnfinishedCheck, result_of
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.golden import Golden
from repro_gate.errors import InputInvalid
from tests.fakes.checking import scene_of
from tests.fakes.stores import MemoryGoldens
from tests.fakes.values import (
    PROFILE,
    answer_to,
    cell_of,
    generation_of,
    golden_of,
    matrix_of,
    model_facts_of,
    suite_of,
    trace_of,
)

HAIKU, FOX = cell_of("haiku"), cell_of("fox")
MATRIX = matrix_of(suite_of(HAIKU, FOX))


@dataclass(frozen=True, slots=True)
class Download:
    """A folder with the report of a check of two cells, and what it observed."""

    folder: Path

    @property
    def report_file(self) -> Path:
        """The report."""
        return self.folder / "report.json"

    @property
    def file(self) -> Path:
        """What was observed of the first cell."""
        return self.folder / "observed" / PROFILE / f"{HAIKU.id}.json"

    def read(self, matrix: Matrix = MATRIX) -> Observed:
        """Read it."""
        return read_observed(self.folder, matrix=matrix)

    def refusal(self, matrix: Matrix = MATRIX) -> str:
        """Return the message of the error, without the name of the folder."""
        with pytest.raises(InputInvalid) as caught:
            self.read(matrix)
        assert str(caught.value).isprintable()
        return str(caught.value).removeprefix(f"{self.folder}/")

    def change_result(self, change: Callable[[Any], object]) -> None:
        """Change the result in the report."""
        content = json.loads(self.report_file.read_text("utf-8"))
        change(content["result"])
        self.report_file.write_text(json.dumps(content), "utf-8")

    def change_cell(self, **changes: Any) -> None:
        """Change the first cell of the report."""
        self.change_result(lambda result: result["report"]["cells"][0].update(changes))

    def replace_golden(self, content: bytes) -> None:
        """Replace what was observed of the first cell, and its digest in the report."""
        self.file.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        self.change_result(lambda result: result["observed"].update({HAIKU.id: digest}))


def seen(cell: Cell) -> Golden:
    """Return the golden that a check observes of a cell, with its trace."""
    answer = answer_to(cell)
    return golden_of(cell, replace(answer, trace=trace_of(answer.tokens)))


@pytest.fixture(name="download")
def _download(tmp_path: Path) -> Download:
    """Check two cells without goldens among fakes, and write what a check writes."""
    return _written(tmp_path, scene_of(HAIKU, FOX, goldens=MemoryGoldens()).check())


def _written(folder: Path, report: GateReport) -> Download:
    digests = write_observed(folder, changed_goldens(report))
    write_report(folder, report_text(result_of(report, observed=digests), {}))
    return Download(folder)


def test_what_was_observed_is_read_as_it_was_written(download: Download) -> None:
    """The goldens and the digests of the models arrive on the other machine."""
    read = download.read()

    assert read == Observed(goldens=(seen(HAIKU), seen(FOX)), report=read.report)
    assert read.report.models == {"tiny": dict(model_facts_of("tiny"))}


def test_what_matches_its_golden_is_in_the_report_alone(tmp_path: Path) -> None:
    """A file of each would be most of what a check writes, and nothing could be accepted."""
    report = scene_of(HAIKU, FOX).check()

    read = _written(tmp_path, report).read()

    assert read == Observed(goldens=(), report=result_of(report).report)
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]


def test_a_matching_cell_of_another_definition_is_refused(tmp_path: Path) -> None:
    """Its tokens may become a golden here."""
    download = _written(tmp_path, scene_of(HAIKU, FOX).check())
    longer = replace(HAIKU, max_tokens=HAIKU.max_tokens + 1)

    assert download.refusal(matrix_of(suite_of(longer, FOX))) == (
        "report.json: result.report.cells[0]: expected the definition that the matrix gives, "
        "found another; this check was made with another matrix file"
    )


def test_the_digests_are_those_of_the_files(tmp_path: Path) -> None:
    """A report has the digest of exactly the bytes that were written."""
    digests = write_observed(tmp_path, [golden_of(HAIKU)])

    written = (tmp_path / "observed" / PROFILE / f"{HAIKU.id}.json").read_bytes()
    assert digests == {HAIKU.id: hashlib.sha256(written).hexdigest()}
    assert written.decode() == serialize(golden_of(HAIKU))


def test_an_output_too_large_for_a_golden_is_left_out(tmp_path: Path) -> None:
    """The verdict of the cell stands."""
    large = replace(golden_of(HAIKU), generation=generation_of(*range(260_000)))

    digests = write_observed(tmp_path, [large, golden_of(FOX)])

    assert list(digests) == [FOX.id]


def test_what_an_earlier_check_observed_is_removed(tmp_path: Path) -> None:
    """Whatever profile the earlier check was on."""
    gpu = replace(golden_of(HAIKU), profile="gpu")
    write_observed(tmp_path, [golden_of(HAIKU), golden_of(FOX), gpu])
    (tmp_path / "observed" / PROFILE / "notes.json").touch()

    write_observed(tmp_path, [golden_of(FOX)])

    files = [str(f.relative_to(tmp_path)) for f in tmp_path.rglob("*") if f.is_file()]
    assert sorted(files) == [
        f"observed/{PROFILE}/notes.json",
        f"observed/{PROFILE}/{FOX.id}.json",
    ]


def test_a_file_without_a_digest_is_not_read(download: Download) -> None:
    """It is not part of the check."""
    download.change_result(lambda result: result["observed"].pop(HAIKU.id))
    download.file.write_text("garbage", "utf-8")

    assert download.read().goldens == (seen(FOX),)


def test_the_report_folder_may_be_a_link(download: Download, tmp_path: Path) -> None:
    """The user names it; only its content is untrusted."""
    link = tmp_path.with_name("link")
    link.symlink_to(tmp_path)

    assert read_observed(link, matrix=MATRIX) == download.read()


def test_a_tampered_file_is_refused(download: Download) -> None:
    """Even one more byte changes the digest."""
    before = hashlib.sha256(download.file.read_bytes()).hexdigest()
    download.file.write_bytes(download.file.read_bytes() + b"\n")
    after = hashlib.sha256(download.file.read_bytes()).hexdigest()

    assert download.refusal() == (
        f"observed/{PROFILE}/{HAIKU.id}.json: expected the sha256 {before}, found {after}"
    )


def test_a_missing_file_is_refused(download: Download) -> None:
    """An incomplete download is refused as a whole."""
    download.file.unlink()

    assert download.refusal() == (
        f"observed/{PROFILE}/{HAIKU.id}.json: expected a readable file, found none"
    )


def test_a_missing_report_is_refused(download: Download) -> None:
    """Without it there are no digests."""
    download.report_file.unlink()

    assert download.refusal() == ("report.json: expected a readable file, found none")


def link_to_a_copy(path: Path) -> None:
    """Put a symbolic link to an equal file or folder in the place of one."""
    elsewhere = path.with_name(f"copy-of-{path.name}")
    shutil.move(path, elsewhere)
    path.symlink_to(elsewhere)


@pytest.mark.parametrize(
    "place",
    ["report.json", "observed", f"observed/{PROFILE}", f"observed/{PROFILE}/{HAIKU.id}.json"],
)
def test_a_symbolic_link_is_refused(download: Download, place: str) -> None:
    """It could point to any file on this machine, even one with the right digest."""
    link_to_a_copy(download.folder / place)

    assert download.refusal() == f"{place}: expected no symbolic link, found one"


def make_pipe(file: Path) -> None:
    """Put a named pipe in the place of a file."""
    file.unlink()
    os.mkfifo(file)


def make_folder(file: Path) -> None:
    """Put a folder in the place of a file."""
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("make", [make_pipe, make_folder])
@pytest.mark.parametrize("place", ["report.json", f"observed/{PROFILE}/{HAIKU.id}.json"])
def test_only_regular_files_are_read(
    download: Download, place: str, make: Callable[[Path], None]
) -> None:
    """Reading a pipe would block forever."""
    make(download.folder / place)

    found = "a named pipe" if make is make_pipe else "a folder"
    assert download.refusal() == f"{place}: expected a regular file, found {found}"


def test_a_huge_file_is_refused(download: Download) -> None:
    """Its digest is not computed."""
    with download.file.open("ab") as file:
        file.truncate(9 * 2**20)

    assert download.refusal() == (
        f"observed/{PROFILE}/{HAIKU.id}.json: expected at most 8388608 bytes, found 9437184"
    )


def test_a_cell_that_the_matrix_does_not_have_is_refused(download: Download) -> None:
    """Goldens are accepted only for cells of this matrix."""
    other = matrix_of(suite_of(FOX))

    assert download.refusal(other) == (
        f"report.json: result.report.cells[0].id: expected a cell of the matrix, found {HAIKU.id}"
    )


def test_a_cell_of_another_definition_is_refused(download: Download) -> None:
    """The other machine used another matrix file."""
    other = matrix_of(suite_of(replace(HAIKU, max_tokens=9), FOX))

    assert download.refusal(other) == (
        "report.json: result.report.cells[0]: expected the definition that the matrix gives, "
        "found another; this check was made with another matrix file"
    )


@pytest.mark.parametrize(
    "profile", ["../../x", "a/b", "..", ".", "", "/etc", "Upper", "a\n", "\x1b[2J", None]
)
def test_an_invalid_profile_is_refused(download: Download, profile: str | None) -> None:
    """It becomes the name of a folder on this machine."""
    download.change_cell(profile=profile)

    assert download.refusal().startswith("report.json: ")


@pytest.mark.parametrize(
    "cell_id", ["../../x", f"../{PROFILE}/{HAIKU.id}", f"{HAIKU.id}\n", "\x1b[2J", ""]
)
def test_an_invalid_id_is_refused(download: Download, cell_id: str) -> None:
    """It becomes the name of a file on this machine."""
    download.change_result(lambda result: result.update(observed={cell_id: "ab" * 32}))

    assert download.refusal().startswith(
        "report.json: result: expected a consistent finished check, found nothing was observed of "
    )


def test_a_model_without_facts_is_refused(download: Download) -> None:
    """Its digest could not be compared with the one that is pinned."""
    download.change_result(lambda result: result["report"].update(models={}))

    assert download.refusal() == (
        f"report.json: result.report.models: expected tiny, which {HAIKU.id} is of, found none"
    )


def test_a_check_without_a_report_has_observed_nothing(download: Download) -> None:
    """The message has the reason."""
    failure = UnfinishedCheck(exit_code=3, message="repro-gate.toml: x:\n\x1b[2J")
    write_report(download.folder, report_text(failure, {}))

    assert download.refusal() == (
        "report.json: result: expected the report of a check, as repro-gate check writes it, "
        "found a check that did not start: repro-gate.toml: x:\\n\\x1b[2J"
    )


def test_the_golden_of_another_cell_is_refused(download: Download) -> None:
    """A file with the right digest must still be the golden of its cell."""
    download.replace_golden(serialize(golden_of(FOX)).encode())

    assert download.refusal() == (
        f"observed/{PROFILE}/{HAIKU.id}.json: cell: expected the cell {HAIKU.id}, "
        f"found the cell {FOX.id}"
    )


def test_the_golden_of_another_profile_is_refused(download: Download) -> None:
    """The profile in the file is that of its folder."""
    download.replace_golden(serialize(golden_of(HAIKU, profile="gpu")).encode())

    assert download.refusal() == (
        f"observed/{PROFILE}/{HAIKU.id}.json: profile: expected '{PROFILE}', found 'gpu'"
    )


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[" * 100_000])
def test_a_broken_golden_is_refused(download: Download, content: bytes) -> None:
    """The right digest does not make it valid."""
    download.replace_golden(content)

    assert download.refusal().startswith(f"observed/{PROFILE}/{HAIKU.id}.json: ")


def test_a_lone_surrogate_is_refused(download: Download) -> None:
    """The update that accepts the golden could not write it."""
    text = serialize(golden_of(HAIKU)).replace('"TEST"', r'"\ud800"')
    download.replace_golden(text.encode())

    assert "expected JSON, found" in download.refusal()


@pytest.mark.parametrize("text", ["", "{}", "[]", "<<<<<<< HEAD", '{"schema": NaN}'])
def test_a_broken_report_is_refused(download: Download, text: str) -> None:
    """Nothing in the folder is read."""
    download.report_file.write_text(text, "utf-8")

    assert download.refusal().startswith("report.json: ")
