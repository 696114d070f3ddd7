"""Shards of different checks are refused by name, and nothing is damaged."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.shards.workspaces import Measured, measure, read_json
from tests.cli.workspaces import Workspace, contents_of


def test_a_missing_shard_is_4_and_named(measured: Measured, tmp_path: Path) -> None:
    """Unmeasured cells do not pass, and the report shows why."""
    ran = measured.merge(measured.shards / "1", to=tmp_path)

    text = "shard 2/2 is missing: its cells were not measured"
    assert (ran.code, ran.out, ran.err.splitlines()[0]) == (4, "", f"repro-gate: {text}")
    failure = {
        "kind": "unfinished",
        "exit_code": 4,
        "message": text,
        "remedy": "see why its job failed, and run that job again",
    }
    assert read_json(tmp_path / "report.json")["result"] == failure
    assert list(contents_of(tmp_path)) == ["report.json"]


def _edited(download: Path, edit: Callable[[Any], object], *numbers: str) -> None:
    for number in numbers or ("1",):
        file = download / number / "shard.json"
        document = read_json(file)
        edit(document["shard"])
        file.write_text(json.dumps(document), "utf-8")


def _bring_one_twice(download: Path) -> None:
    shutil.copytree(download / "2", download / "3")


def _measure_another_commit(download: Path) -> None:
    _edited(download, lambda shard: shard["identity"].update(commit="c" * 40), "2")


def _measure_before_this_commit(download: Path) -> None:
    _edited(download, lambda shard: shard["identity"].update(commit="c" * 40), "1", "2")


def _measure_with_another_version(download: Path) -> None:
    _edited(download, lambda shard: shard.update(tool_version="9.9.9"), "1", "2")


def _measure_with_an_option(download: Path) -> None:
    _edited(download, lambda shard: shard["identity"].update(only="tiny--*"), "2")


def _measure_another_matrix(download: Path) -> None:
    _edited(download, lambda shard: shard["identity"].update(runs=3), "1", "2")


def _measure_another_suite(download: Path) -> None:
    _edited(download, lambda shard: shard["identity"].update(suites=["slow"]), "1", "2")


def _measure_cells_of_another_matrix(download: Path) -> None:
    _edited(download, lambda shard: shard["identity"].update(only="other--*"), "1", "2")


def _measure_on_another_machine(download: Path) -> None:
    _edited(download, lambda shard: shard["engines"][0].update(profile="other-gpu"), "2")


def _control_a_cell_of_another_shard(download: Path) -> None:
    def of_haiku(shard: dict[str, Any]) -> None:
        for cell in ("cell", "varied"):
            shard["controls"][0]["contrast"][cell].update(prompt="haiku", text="Say haiku")

    _edited(download, of_haiku, "2")


def _control_nothing(download: Path) -> None:
    _edited(download, lambda shard: shard.update(controls=[]), "1", "2")


def _have_no_engine(download: Path) -> None:
    _edited(download, lambda shard: shard.update(engines=[]), "1", "2")


def _have_another_engine(download: Path) -> None:
    _edited(download, lambda shard: shard["engines"][0].update(name="other"), "1", "2")


def _run_less_than_once(download: Path) -> None:
    _edited(download, lambda shard: shard["identity"].update(runs=0))


def _be_cut_off(download: Path) -> None:
    file = download / "1" / "shard.json"
    file.write_bytes(file.read_bytes()[:100])


def _be_a_link(download: Path) -> None:
    (download / "1" / "shard.json").rename(download / "aside.json")
    (download / "1" / "shard.json").symlink_to(download / "aside.json")


def _be_nowhere(download: Path) -> None:
    shutil.rmtree(download)


@pytest.mark.parametrize(
    ("tamper", "text"),
    [
        (_bring_one_twice, "/3/shard.json: shard: expected shard 2/2 once, found it in "),
        (_measure_another_commit, "/2/shard.json: the commit in shard 2/2: expected None, as in "),
        (
            _measure_before_this_commit,
            "/1/shard.json: the commit in shard 1/2: expected None, which",
        ),
        (_measure_with_another_version, "/1/shard.json: the version of repro-gate in shard 1/2: "),
        (_measure_with_an_option, "/2/shard.json: the option --only in shard 2/2: expected None, "),
        (_measure_another_matrix, "/1/shard.json: the plan in shard 1/2: expected "),
        (_measure_another_suite, "/1/shard.json: this check was made with another matrix file: "),
        (_measure_cells_of_another_matrix, "no cell matches --only 'other--*'"),
        (_measure_on_another_machine, "/2/shard.json: the profile of engine scripted in shard 2/2"),
        (
            _control_a_cell_of_another_shard,
            "/2/shard.json: shard.controls[0].reference: expected the output of tiny--haiku--seed",
        ),
        (
            _control_nothing,
            "/1/shard.json: controls in shard 1/2: expected one of tiny with another seed",
        ),
        (_have_no_engine, "/1/shard.json: engines in shard 1/2: expected scripted, which tiny--"),
        (_have_another_engine, "which tiny--haiku--seed1 was run on, found other"),
        (_run_less_than_once, "/1/shard.json: shard.identity: expected "),
        (_be_cut_off, "/1/shard.json: line 1, column "),
        (_be_a_link, "/1/shard.json: expected no symbolic link, found one"),
        (_be_nowhere, ": expected a folder, found none"),
    ],
    ids=lambda value: value.__name__.lstrip("_") if callable(value) else "",
)
def test_shards_that_are_not_one_check_are_3(
    measured: Measured, tmp_path: Path, tamper: Callable[[Path], None], text: str
) -> None:
    """The message names the file and the difference, and there is no verdict."""
    download = measured.download(tmp_path)
    tamper(download)

    ran = measured.merge(download, to=tmp_path / "merged")

    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith(f"repro-gate: {download}")
    assert text in ran.err
    assert not (tmp_path / "merged").exists()


@pytest.mark.parametrize(
    "profile", ["../../../elsewhere", "{folder}/elsewhere", "a\\x00b", "x" * 300]
)
def test_no_shard_chooses_where_a_merge_writes(
    measured: Measured, tmp_path: Path, profile: str
) -> None:
    """What was observed is written to a folder of the profile's name, which has to be one."""
    download = measured.download(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    chosen = profile.format(folder=tmp_path)
    _edited(download, lambda shard: shard["engines"][0].update(profile=chosen), "1", "2")
    before = contents_of(tmp_path)

    ran = measured.merge(download, to=tmp_path / "merged")

    assert (ran.code, ran.out) == (3, "")
    assert "/1/shard.json: shard.engines[0]: expected a consistent engine report, found " in ran.err
    assert (contents_of(tmp_path), list((tmp_path / "elsewhere").iterdir())) == (before, [])


def test_shards_of_two_files_are_3(workspace: Workspace) -> None:
    """Where nothing pins a model yet, a merge could record goldens that name the wrong file."""
    measure(workspace, 1)
    (workspace.folder / "tiny.gguf").write_bytes(b"other weights")
    measure(workspace, 2)

    ran = workspace.run("merge", "shards")

    digests = [hashlib.sha256(file).hexdigest() for file in (b"weights", b"other weights")]
    text = f"expected {digests[0]}, as in shard 1/2, found {digests[1]}"
    where = "shards/2/shard.json: the sha256 of model tiny in shard 2/2"
    assert (ran.code, ran.out, ran.err) == (3, "", f"repro-gate: {where}: {text}\n")


def test_hostile_words_of_a_shard_are_shown_harmlessly(measured: Measured, tmp_path: Path) -> None:
    """Neither the terminal nor a runner takes what stands in a file for a command."""
    download = measured.download(tmp_path)
    commit = "\x1b]0;title\x07\N{RIGHT-TO-LEFT OVERRIDE}\n::error::x"
    _edited(download, lambda shard: shard["identity"].update(commit=commit))

    ran = measured.merge(download, to=tmp_path / "merged")

    lines = ran.err.splitlines()
    assert (ran.code, "".join(lines).isprintable()) == (3, True)
    assert all(line.startswith("repro-gate: ") for line in lines)


def test_a_failed_merge_takes_nothing_away(measured: Measured, tmp_path: Path) -> None:
    """A shard is read from the folder that the reports are for, and is there after a failure."""
    first, second = (measured.download(tmp_path / number) / number for number in "12")
    kept = (second / "shard.json").read_bytes()
    _be_cut_off(first.parent)

    ran = measured.merge(first, second, to=second)

    assert (ran.code, (second / "shard.json").read_bytes()) == (3, kept)
    assert read_json(second / "report.json")["result"]["kind"] == "unfinished"


def test_a_merge_into_the_folder_of_a_shard_can_be_repeated(
    measured: Measured, tmp_path: Path
) -> None:
    """The shard stays where it is."""
    first, second = (measured.download(tmp_path / number) / number for number in "12")

    codes = [measured.merge(first, second, to=second).code for _ in range(2)]

    assert (codes, len(read_json(second / "report.json")["result"]["report"]["cells"])) == (
        [0, 0],
        4,
    )


def test_an_interrupted_shard_makes_the_whole_partial(measured: Measured, tmp_path: Path) -> None:
    """Unreached cells are not measured, and a cancelled job is not a verdict."""
    download = measured.download(tmp_path)
    _edited(download, lambda shard: shard.update(interrupted=True))

    ran = measured.merge(download, to=tmp_path / "merged", also=("--fail-on", "never"))

    assert (ran.code, "inconclusive (partial): 4 match" in ran.out) == (130, True)


def test_a_merge_of_nothing_is_2(workspace: Workspace) -> None:
    """An empty variable names no folder."""
    ran = workspace.run("merge", REPRO_GATE_MERGE="")

    assert (ran.code, "Missing argument 'DIR" in ran.err) == (2, True)
