"""Who follows the how-to about shards gets what it shows, and finds its messages explained."""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from repro_gate.core.outcome import ExitCode
from tests.docs.pages import ROOT, first_column, page

if TYPE_CHECKING:
    from typer.testing import Result

    from tests.docs.conftest import CommandLine

_HOWTO = page("docs/how-to/shard-a-matrix.md")
_TIMES = re.compile(r"(wall|engine) \d+\.\d+ s")
_SHARD = re.compile(r"\d+/\d+")


@pytest.fixture
def merged(tmp_path: Path, repro_gate: "CommandLine") -> "Result":
    """Run the commands for several machines, and return the result of the last one."""
    shutil.copy(ROOT / "repro-gate.toml", tmp_path)
    shutil.copytree(ROOT / "snapshots", tmp_path / "snapshots")
    commands = [shlex.split(line)[1:] for line in _HOWTO.blocks("sh")[1].splitlines()]

    *shards, merged = (repro_gate(*command) for command in commands)

    assert [shard.exit_code for shard in shards] == [ExitCode.PASSED, ExitCode.PASSED]
    return merged


def _edit(folder: Path, number: str, edit: Callable[[Any], object]) -> None:
    file = folder / number / "shard.json"
    document = json.loads(file.read_text("utf-8"))
    edit(document["shard"])
    file.write_text(json.dumps(document), "utf-8")


def _lose_one(shards: Path) -> None:
    shutil.rmtree(shards / "2")


def _bring_one_twice(shards: Path) -> None:
    shutil.copytree(shards / "1", shards / "3")


def _measure_with_an_option(shards: Path) -> None:
    _edit(shards, "2", lambda shard: shard["identity"].update(only="*--seed42"))


def _measure_another_matrix(shards: Path) -> None:
    _edit(shards, "2", lambda shard: shard["identity"].update(digest="c" * 64))


def _measure_another_commit(shards: Path) -> None:
    _edit(shards, "2", lambda shard: shard["identity"].update(commit="c" * 40))


def _measure_on_another_machine(shards: Path) -> None:
    _edit(shards, "2", lambda shard: shard["engines"][0].update(profile="other"))


def _load_another_file(shards: Path) -> None:
    other = {"model.sha256": "c" * 64}
    _edit(shards, "2", lambda shard: shard["models"].update({"tiny-qwen2": other}))


def test_the_output_is_that_of_one_machine(merged: "Result", repro_gate: "CommandLine") -> None:
    """The block is what merge prints, and what one machine prints too."""
    whole = repro_gate("check", "--suite", "embedded")

    outputs = [*_HOWTO.blocks("text"), merged.stdout, whole.stdout]
    shown, ended, alone = (_TIMES.sub("", output) for output in outputs)
    assert (merged.exit_code, whole.exit_code) == (ExitCode.PASSED, ExitCode.PASSED)
    assert shown == ended == alone


def test_the_messages_are_those_of_a_refused_merge(
    merged: "Result", tmp_path: Path, repro_gate: "CommandLine"
) -> None:
    """Each cause prints its message of the table, and no other."""
    assert merged.exit_code == ExitCode.PASSED
    tampers = (
        _lose_one,
        _bring_one_twice,
        _measure_with_an_option,
        _measure_another_matrix,
        _measure_another_commit,
        _measure_on_another_machine,
        _load_another_file,
    )
    printed: list[str] = []
    for tamper in tampers:
        download = shutil.copytree(tmp_path / "shards", tmp_path / tamper.__name__)
        tamper(download)
        printed.append(_SHARD.sub("3/8", repro_gate("merge", str(download)).stderr))

    table = first_column(_HOWTO.sections()["When a merge is refused"])
    messages = [message.removesuffix("...").rstrip() for message in table]
    explained = [[message for message in messages if message in each] for each in printed]
    assert [len(each) for each in explained] == [1] * len(tampers)
    assert {message for each in explained for message in each} == set(messages)
