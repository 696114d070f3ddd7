"""Write the result of a check to report.json, and read it from an untrusted download."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import repro_gate
from repro_gate.adapters.files.results import read_report, read_result, report_text, write_report
from repro_gate.core.report import CheckResult, UnfinishedCheck, result_of
from repro_gate.errors import InputInvalid
from tests.fakes.reports import report_of

RESULT = result_of(report_of(), observed={report_of().cells[0].id: "ab" * 32})
UNFINISHED = UnfinishedCheck(
    exit_code=3, message="repro-gate.toml: suites:\n\texpected \ud800 `x`", remedy=None
)


def write(folder: Path, result: CheckResult) -> None:
    """Write a result, with a summary that is not read back."""
    write_report(folder, report_text(result, {"summary": ["x\n"]}))


@dataclass(frozen=True, slots=True)
class Download:
    """A report folder with the result of a check."""

    folder: Path

    @property
    def file(self) -> Path:
        """Its report.json."""
        return self.folder / "report.json"

    def refusal(self, **options: int) -> str:
        """Return the message of the error, without the name of the folder."""
        with pytest.raises(InputInvalid) as caught:
            read_report(self.folder, **options)
        assert str(caught.value).isprintable()
        return str(caught.value).removeprefix(f"{self.folder}/")

    def refusal_of(self, text: str) -> str:
        """Return the message for a text in place of the file, without the name of the file."""
        self.file.write_text(text, "utf-8")
        return self.refusal().removeprefix("report.json: ")

    def refusal_after(self, change: Callable[[Any], object]) -> str:
        """Return the message after a change to the report in the file."""
        content = json.loads(self.file.read_text("ascii"))
        change(content["result"]["report"])
        return self.refusal_of(json.dumps(content)).removeprefix("result.report.")


@pytest.fixture(name="download")
def _download(tmp_path: Path) -> Download:
    """Write a report with every verdict."""
    write(tmp_path / "report", RESULT)
    return Download(tmp_path / "report")


@pytest.mark.parametrize("result", [RESULT, UNFINISHED], ids=["finished", "unfinished"])
def test_a_result_is_read_as_it_was_written(tmp_path: Path, result: CheckResult) -> None:
    """To the last bit, whatever text is in it."""
    write(tmp_path, result)

    assert read_report(tmp_path) == result


def test_the_file_names_its_schema_and_tool(tmp_path: Path) -> None:
    """It is one line of ASCII that starts with schema and tool."""
    write(tmp_path, UNFINISHED)

    written = (tmp_path / "report.json").read_bytes()
    assert written.count(b"\n") == 1
    assert json.loads(written.decode("ascii")) == {
        "schema": "repro-gate/report/v1",
        "tool": {"name": "repro-gate", "version": repro_gate.__version__},
        "summary": ["x\n"],
        "result": {
            "kind": "unfinished",
            "exit_code": 3,
            "message": r"repro-gate.toml: suites:\n\texpected \xed\xa0\x80 `x`",
            "remedy": None,
        },
    }
    assert list(tmp_path.iterdir()) == [tmp_path / "report.json"]


def test_a_later_result_replaces_an_earlier_one(download: Download) -> None:
    """A report folder is of one check."""
    write(download.folder, UNFINISHED)

    assert read_report(download.folder) == UNFINISHED


def test_without_a_file_there_is_no_result(tmp_path: Path) -> None:
    """The check was killed, or its folder was never made."""
    assert read_report(tmp_path) is None
    assert read_report(tmp_path / "missing") is None


def test_a_report_of_an_older_version_is_read(download: Download) -> None:
    """Keys with a default were added later and may be absent."""
    content = json.loads(download.file.read_text("ascii"))
    del content["result"]["report"]["logprobs"], content["result"]["report"]["repeat_with"]
    download.file.write_text(json.dumps(content), "ascii")

    older = replace(RESULT.report, logprobs=(), repeat_with=())
    assert read_report(download.folder) == replace(RESULT, report=older)


def test_a_link_in_place_of_the_file_is_refused(download: Download) -> None:
    """It could point to any file on the machine."""
    download.file.rename(download.folder / "other.json")
    download.file.symlink_to("other.json")

    assert download.refusal() == "report.json: expected no symbolic link, found one"


def test_a_dangling_link_is_refused(download: Download) -> None:
    """Something is there, so the check was not killed."""
    download.file.unlink()
    download.file.symlink_to("missing.json")

    assert download.refusal() == "report.json: expected no symbolic link, found one"


def test_a_link_in_place_of_the_folder_is_refused(download: Download) -> None:
    """It could point to any folder on the machine."""
    link = download.folder.with_name("link")
    link.symlink_to(download.folder)

    assert Download(link).refusal() == f"{link}: expected no symbolic link, found one"


def test_only_a_regular_file_is_read(download: Download) -> None:
    """A named pipe would block forever, and a folder is no file."""
    download.file.unlink()
    os.mkfifo(download.file)
    assert download.refusal() == "report.json: expected a regular file, found a named pipe"

    download.file.unlink()
    download.file.mkdir()
    assert download.refusal() == "report.json: expected a regular file, found a folder"


def test_a_folder_that_is_a_file_is_refused(download: Download) -> None:
    """The message has the reason that the system gives."""
    message = Download(download.file).refusal()

    assert message == (
        f"{download.file}/report.json: expected a readable file, found Not a directory"
    ).removeprefix(f"{download.file}/")


def test_a_file_that_is_too_large_is_refused(download: Download) -> None:
    """It is not opened at all."""
    size = download.file.stat().st_size

    assert read_report(download.folder, max_bytes=size) == RESULT
    message = download.refusal(max_bytes=size - 1)
    assert message == f"report.json: expected at most {size - 1} bytes, found {size}"


def test_a_file_of_40_mib_is_refused(download: Download) -> None:
    """The default limit is 32 MiB."""
    os.truncate(download.file, 40 * 2**20)

    message = f"report.json: expected at most {32 * 2**20} bytes, found {40 * 2**20}"
    assert download.refusal() == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a JSON file, found an empty file"),
        ("[]", "expected an object, found an empty list"),
        ("null", "expected an object, found nothing"),
        ("{}", "expected the key 'schema', found none"),
        ('{"schema": NaN}', "expected JSON, found NaN, which is not a number in JSON"),
        ('{"schema": 1, "schema": 1}', "expected JSON, found the key 'schema' twice in one object"),
        (
            '{"schema": "\\ud800"}',
            "expected JSON, found a lone surrogate, which is not a character",
        ),
        (
            '{"schema": "repro-gate/report/v2"}',
            "schema: expected 'repro-gate/report/v1', found 'repro-gate/report/v2'",
        ),
        (
            '{"schema": "repro-gate/report/v1", "tool": {"name": "x", "version": "1"}}',
            "tool.name: expected 'repro-gate', found 'x'",
        ),
    ],
)
def test_another_document_is_refused(download: Download, text: str, message: str) -> None:
    """The message shows what was found."""
    assert download.refusal_of(text).startswith(message)


@pytest.mark.parametrize("depth", [*range(960, 1000), 100_000])
def test_a_deeply_nested_document_is_refused(download: Download, depth: int) -> None:
    """Depths that can just be parsed do not crash the error message either."""
    start = download.file.read_text("ascii").partition('"summary"')[0]
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        message = download.refusal_of(f'{start}"result":{opening * depth}1{closing * depth}}}')

        assert message.startswith(("expected JSON, found ", "result: expected an object, found a "))


def _set(place: str, value: Any) -> Callable[[Any], None]:
    """Return what changes one value of a report."""

    def change(report: Any) -> None:
        *steps, last = (int(step) if step.isdigit() else step for step in place.split("."))
        for step in steps:
            report = report[step]
        report[last] = value

    return change


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("interrupted", 1, "interrupted: expected true or false, found 1"),
        ("cells.0.runs", True, "cells[0].runs: expected an integer, found true"),
        ("cells.0.runs", 3.0, "cells[0].runs: expected an integer, found 3.0"),
        ("cells.0.suite", 1, "cells[0].suite: expected a string, found 1"),
        ("timing.wall_s", "1", "timing.wall_s: expected a finite number, found a string"),
        ("timing.wall_s", 10**400, "timing.wall_s: expected a finite number, found a very large"),
        (
            "cells.0.verdict.kind",
            "perfect",
            "cells[0].verdict.kind: expected one of match, nondeterministic, drift, depends, ",
        ),
        (
            "cells.0.verdict.more",
            1,
            "cells[0].verdict: expected only the keys , found the unknown key 'more'",
        ),
        (
            "cells.0.cell.seed",
            0,
            "cells[0].cell: expected a consistent cell, found a seed must lie between 1 and ",
        ),
        (
            "cells.0.cell.model",
            "../x",
            "cells[0].cell: expected a consistent cell, found a name must be",
        ),
        (
            "cells.0.generation.trace",
            [{"logprob": -1.0, "best": []}],
            "cells[0].generation: expected a consistent generation, found 1 trace entries for 4",
        ),
        (
            "cells.1.verdict.divergence.position",
            3,
            "cells[1]: expected a consistent cell report, found golden and generation do",
        ),
        (
            "repeat_with.0",
            "--x; rm -rf ~",
            "repeat_with[0]: expected one of --config, --device, found --x; rm -rf ~",
        ),
        (
            "models.tiny.n_ctx",
            256,
            "models.tiny.n_ctx: expected a string, found 256",
        ),
    ],
)
def test_an_invalid_report_is_refused(
    download: Download, place: str, value: Any, message: str
) -> None:
    """The message has the place, what was expected and what was found."""
    assert download.refusal_after(_set(place, value)).startswith(message)


def test_a_number_too_large_for_a_float_is_refused(download: Download) -> None:
    """Python would read it as infinity."""
    text = download.file.read_text("ascii").replace('"wall_s":12.5', '"wall_s":1e999')

    assert download.refusal_of(text).endswith("timing.wall_s: expected a finite number, found inf")


def test_derived_keys_are_ignored(download: Download) -> None:
    """Forged values change nothing, and later versions may add keys."""
    content = json.loads(download.file.read_text("ascii"))
    content |= {"summary": None, "outcome": "passed", "later": 1}
    download.file.write_text(json.dumps(content), "ascii")

    assert read_report(download.folder) == RESULT


@pytest.mark.parametrize(
    ("observed", "found"),
    [
        ({"tiny--other--seed42": "ab" * 32}, "nothing was observed of tiny--other--seed42"),
        ({"tiny--snow--seed42": "ab" * 32}, "nothing was observed of tiny--snow--seed42"),
        (
            {"tiny--fox--seed42": "AB" * 32},
            "a sha256 must be 64 lower-case hexadecimal digits, got 'ABAB",
        ),
        (
            {"tiny--fox--seed42": "ab" * 33},
            "a sha256 must be 64 lower-case hexadecimal digits, got 'abab",
        ),
    ],
)
def test_a_digest_without_an_observed_cell_is_refused(
    download: Download, observed: dict[str, str], found: str
) -> None:
    """A cell is observed if it was run on a known profile."""
    content = json.loads(download.file.read_text("ascii"))
    content["result"]["observed"] = observed

    message = download.refusal_of(json.dumps(content))

    assert message.startswith(f"result: expected a consistent finished check, found {found}")


def test_a_required_report_must_exist(tmp_path: Path) -> None:
    """Commands that need one do not take a missing file for a killed check."""
    with pytest.raises(InputInvalid, match="expected a readable file, found none"):
        read_result(tmp_path / "report.json")
