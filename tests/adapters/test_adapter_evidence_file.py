"""What a check leaves behind, and what of an untrusted download is believed."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import repro_gate
from repro_gate.adapters.evidence_file import read_evidence, write_evidence
from repro_gate.core.evidence import Evidence, Finished, Unfinished
from repro_gate.errors import InputInvalid
from tests.fakes.evidence import report_of

EVIDENCE = Finished(report=report_of())
UNFINISHED = Unfinished(
    exit_code=3, message="repro-gate.toml: suites:\n\texpected \ud800 `x`", remedy=None
)


@dataclass(frozen=True, slots=True)
class Download:
    """A folder with the evidence of a check."""

    folder: Path

    @property
    def file(self) -> Path:
        """The evidence."""
        return self.folder / "evidence.json"

    def refusal(self, **options: int) -> str:
        """Return what is said when it is refused, without the name of the folder."""
        with pytest.raises(InputInvalid) as caught:
            read_evidence(self.folder, **options)
        assert str(caught.value).isprintable()
        return str(caught.value).removeprefix(f"{self.folder}/")

    def refusal_of(self, text: str) -> str:
        """Return what is said of a text in place of the evidence, without the name of the file."""
        self.file.write_text(text, "utf-8")
        return self.refusal().removeprefix("evidence.json: ")

    def refusal_after(self, change: Callable[[Any], object]) -> str:
        """Return what is said after a change to what the file says of the report."""
        content = json.loads(self.file.read_text("ascii"))
        change(content["evidence"]["report"])
        return self.refusal_of(json.dumps(content)).removeprefix("evidence.report.")


@pytest.fixture(name="download")
def _download(tmp_path: Path) -> Download:
    """Write evidence with a report of every verdict."""
    write_evidence(tmp_path / "report", EVIDENCE)
    return Download(tmp_path / "report")


@pytest.mark.parametrize("evidence", [EVIDENCE, UNFINISHED], ids=["finished", "unfinished"])
def test_evidence_is_read_as_it_was_written(tmp_path: Path, evidence: Evidence) -> None:
    """To the last bit, whatever text is in it."""
    write_evidence(tmp_path, evidence)

    assert read_evidence(tmp_path) == evidence


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    """It is one line of ASCII, with the schema, the tool and the kind of evidence first."""
    write_evidence(tmp_path, UNFINISHED)

    written = (tmp_path / "evidence.json").read_bytes()
    assert written.count(b"\n") == 1
    assert json.loads(written.decode("ascii")) == {
        "schema": "repro-gate/evidence/v1",
        "tool": {"name": "repro-gate", "version": repro_gate.__version__},
        "evidence": {
            "kind": "unfinished",
            "exit_code": 3,
            "message": r"repro-gate.toml: suites:\n\texpected \xed\xa0\x80 `x`",
            "remedy": None,
        },
    }
    assert list(tmp_path.iterdir()) == [tmp_path / "evidence.json"]


def test_later_evidence_takes_the_place_of_earlier(download: Download) -> None:
    """A folder speaks of one check."""
    write_evidence(download.folder, UNFINISHED)

    assert read_evidence(download.folder) == UNFINISHED


def test_without_a_file_there_is_no_evidence(tmp_path: Path) -> None:
    """The check was killed, or its folder was never made."""
    assert read_evidence(tmp_path) is None
    assert read_evidence(tmp_path / "missing") is None


def test_evidence_of_an_older_version_is_read(download: Download) -> None:
    """What has a default came later, and may be absent."""
    content = json.loads(download.file.read_text("ascii"))
    del content["evidence"]["report"]["logprobs"], content["evidence"]["report"]["repeat_with"]
    download.file.write_text(json.dumps(content), "ascii")

    older = replace(EVIDENCE.report, logprobs=(), repeat_with=())
    assert read_evidence(download.folder) == Finished(report=older)


def test_a_link_in_place_of_the_file_is_refused(download: Download) -> None:
    """It could lead to any file of the machine."""
    download.file.rename(download.folder / "other.json")
    download.file.symlink_to("other.json")

    assert download.refusal() == "evidence.json: expected no symbolic link, found one"


def test_a_link_that_leads_nowhere_is_refused(download: Download) -> None:
    """There is something, so the check was not killed."""
    download.file.unlink()
    download.file.symlink_to("missing.json")

    assert download.refusal() == "evidence.json: expected no symbolic link, found one"


def test_a_link_in_place_of_the_folder_is_refused(download: Download) -> None:
    """It could lead to any folder of the machine."""
    link = download.folder.with_name("link")
    link.symlink_to(download.folder)

    assert Download(link).refusal() == f"{link}: expected no symbolic link, found one"


def test_what_is_no_plain_file_is_refused(download: Download) -> None:
    """A named pipe would be waited for without end, and a folder is no file."""
    download.file.unlink()
    os.mkfifo(download.file)
    assert download.refusal() == "evidence.json: expected a regular file, found a named pipe"

    download.file.unlink()
    download.file.mkdir()
    assert download.refusal() == "evidence.json: expected a regular file, found a folder"


def test_a_folder_that_is_a_file_is_refused(download: Download) -> None:
    """The message says so in the words of the system."""
    told = Download(download.file).refusal()

    assert told == (
        f"{download.file}/evidence.json: expected a readable file, found Not a directory"
    ).removeprefix(f"{download.file}/")


def test_a_file_that_is_too_large_is_refused(download: Download) -> None:
    """It is not opened at all."""
    size = download.file.stat().st_size

    assert read_evidence(download.folder, max_bytes=size) == EVIDENCE
    told = download.refusal(max_bytes=size - 1)
    assert told == f"evidence.json: expected at most {size - 1} bytes, found {size}"


def test_a_file_of_40_mib_is_refused(download: Download) -> None:
    """Unless more is allowed, 32 MiB are enough."""
    os.truncate(download.file, 40 * 2**20)

    told = f"evidence.json: expected at most {32 * 2**20} bytes, found {40 * 2**20}"
    assert download.refusal() == told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "expected a JSON file, found an empty file"),
        ("[]", "expected an object, found a list"),
        ("null", "expected an object, found None"),
        ("{}", "expected the key 'schema', found none"),
        ('{"schema": NaN}', "expected JSON, found NaN, which is no number in JSON"),
        ('{"schema": 1, "schema": 1}', "expected JSON, found the key 'schema' twice in one object"),
        (
            '{"schema": "\\ud800"}',
            "expected JSON, found half a surrogate pair, which is no character",
        ),
        (
            '{"schema": "repro-gate/evidence/v2"}',
            "schema: expected 'repro-gate/evidence/v1', found 'repro-gate/evidence/v2'",
        ),
        (
            '{"schema": "repro-gate/evidence/v1", "tool": {"name": "x", "version": "1"}}',
            "tool.name: expected 'repro-gate', found 'x'",
        ),
    ],
)
def test_another_document_is_refused(download: Download, text: str, told: str) -> None:
    """The message says what it is instead."""
    assert download.refusal_of(text).startswith(told)


@pytest.mark.parametrize("depth", [*range(960, 1000), 100_000])
def test_a_document_nested_without_end_is_refused(download: Download, depth: int) -> None:
    """What can just be parsed, too, is no crash where it is shown."""
    start = download.file.read_text("ascii").partition('"evidence"')[0]
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        told = download.refusal_of(f'{start}"evidence":{opening * depth}1{closing * depth}}}')

        assert told.startswith(("expected JSON, found ", "evidence: expected an object, found a "))


def _set(place: str, value: Any) -> Callable[[Any], None]:
    """Return what changes one value of a report."""

    def change(report: Any) -> None:
        *steps, last = (int(step) if step.isdigit() else step for step in place.split("."))
        for step in steps:
            report = report[step]
        report[last] = value

    return change


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        ("interrupted", 1, "interrupted: expected true or false, found 1"),
        ("cells.0.runs", True, "cells[0].runs: expected an integer, found True"),
        ("cells.0.runs", 3.0, "cells[0].runs: expected an integer, found 3.0"),
        ("cells.0.suite", 1, "cells[0].suite: expected a text, found 1"),
        ("timing.wall_s", "1", "timing.wall_s: expected a number, found '1'"),
        ("timing.wall_s", 10**400, "timing.wall_s: expected a number, found 1000"),
        (
            "cells.0.verdict.kind",
            "perfect",
            "cells[0].verdict.kind: expected one of match, nondeterministic, drift, unrecorded, ",
        ),
        (
            "cells.0.verdict.more",
            1,
            "cells[0].verdict: expected only the keys , found 'more'",
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
            "cells[1].verdict.divergence: expected the first position at which golden and gen",
        ),
        (
            "repeat_with.0",
            "--x; rm -rf ~",
            "repeat_with[0]: expected one of --config, --device, found --x; rm -rf ~",
        ),
        (
            "models.tiny.n_ctx",
            256,
            "models.tiny.n_ctx: expected a text, found 256",
        ),
    ],
)
def test_a_report_that_no_check_writes_is_refused(
    download: Download, place: str, value: Any, told: str
) -> None:
    """The message names the place, what was expected and what was found."""
    assert download.refusal_after(_set(place, value)).startswith(told)


def test_infinity_in_other_words_is_refused(download: Download) -> None:
    """A number that is too large for JSON tools is none."""
    text = download.file.read_text("ascii").replace('"wall_s":12.5', '"wall_s":1e999')

    assert download.refusal_of(text).endswith("timing.wall_s: expected a number, found inf")


def test_the_command_line_starts_without_cattrs() -> None:
    """Its import takes as long as everything else that --help needs."""
    program = "import sys, repro_gate.cli.app; sys.exit('cattrs' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
