"""Hostile text in everything that a model or an engine can choose."""

import unicodedata
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from repro_gate.cli.wiring import REPORTS
from tests.cli.workspaces import Ran, Workspace

_PIECES = [
    *(b"\x1b[31mred\x1b]0;title\x07", b"\x00\x08\x7f\x0b\r", b"\xff\xfe\xc3", b"\n::error::x"),
    *(b"\n##[error]x", b"```\n# head\n", b"`` ` @you #1 <!-- x -->", b"</details><script>"),
    *("\N{RIGHT-TO-LEFT OVERRIDE}\N{ZERO WIDTH SPACE}\N{LINE SEPARATOR}".encode(), b"|\\|[a](b)"),
]
_MARKDOWN = MarkdownIt("commonmark").enable("table")
_UNSAFE = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def _rules(pieces: list[bytes]) -> list[dict[str, Any]]:
    """Return rules by which drift, a refusal, a death and the facts consist of some bytes."""
    hostile = b" ".join(pieces).decode("utf-8", errors="replace")
    tokens = [[number, piece.hex()] for number, piece in enumerate(pieces)]
    fox = {"method": "generate", "prompt": "Say fox"}
    haiku = {"method": "generate", "prompt": "Say haiku"}
    return [
        {**haiku, "seed": 1, "result": {"tokens": tokens}},
        {**fox, "seed": 1, "refuse": {"kind": "internal", "message": hostile}},
        {**fox, "seed": 2, "stderr": hostile, "exit": 1},
        {
            "method": "describe",
            "result": {"facts": {"device.name": hostile, f"z{hostile}": hostile}},
        },
        {"method": "load", "result": {"facts": {"model.name": hostile}}},
    ]


def _checked(recorded_once: Workspace, folder: Path, pieces: list[bytes]) -> tuple[Workspace, Ran]:
    workspace = recorded_once.copied_to(folder)
    prompts = {
        name: {"text": f"Say {name}", "temperature": 0.7, "max_tokens": len(_PIECES)}
        for name in ("haiku", "fox")
    }
    workspace.write_matrix(prompts_table=prompts, seeds=[1, 2, 3], runs=1)
    workspace.record()
    workspace.write_script(*_rules(pieces))
    return workspace, workspace.run("check")


@pytest.fixture(scope="module")
def hostile(
    recorded_once: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workspace, Ran]:
    """Return the check of a hostile engine."""
    return _checked(recorded_once, tmp_path_factory.mktemp("hostile"), _PIECES)


@pytest.fixture(scope="module")
def harmless(
    recorded_once: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workspace, Ran]:
    """Return the check of an engine with equally long, harmless texts."""
    return _checked(recorded_once, tmp_path_factory.mktemp("harmless"), [b"x"] * len(_PIECES))


def _unsafe(text: str) -> set[str]:
    return {char for char in text if unicodedata.category(char) in _UNSAFE} - {"\n"}


def _shape(markdown: str) -> list[tuple[str, ...]]:
    """Return the elements of a document without their text."""
    return [
        (token.type, token.tag, *(child.type for child in token.children or ()))
        for token in _MARKDOWN.parse(markdown)
    ]


def test_it_drifts_refuses_and_dies(hostile: tuple[Workspace, Ran]) -> None:
    """The hostile words do reach the report: as drift, as reasons and as facts."""
    workspace, ran = hostile

    assert (ran.code, set(workspace.verdicts().values())) == (
        10,
        {"drift", "match", "inconclusive"},
    )
    assert r"\x1b[31mred\x1b]0;title\x07" in ran.out


def test_no_stream_carries_a_control_character(hostile: tuple[Workspace, Ran]) -> None:
    """No cursor is moved and no text turned round on stdout or stderr."""
    _, ran = hostile

    assert (_unsafe(ran.out), _unsafe(ran.err)) == (set(), set())


@pytest.mark.parametrize("name", ["report.json", *REPORTS])
def test_no_report_carries_a_control_character(hostile: tuple[Workspace, Ran], name: str) -> None:
    """The files are as harmless as the streams."""
    assert _unsafe((hostile[0].output / name).read_text("utf-8")) == set()


def test_no_runner_is_commanded(hostile: tuple[Workspace, Ran]) -> None:
    """No line of a log is a workflow command of GitHub's."""
    _, ran = hostile

    assert [line for line in (ran.out + ran.err).splitlines() if line.strip()[:2] == "::"] == []
    assert "##[" not in ran.out + ran.err


def test_the_report_keeps_its_shape(
    hostile: tuple[Workspace, Ran], harmless: tuple[Workspace, Ran]
) -> None:
    """Hostile words change no heading, table, list or fence of the Markdown."""
    hostile_report, tame_report = (
        (each[0].output / "report.md").read_text("utf-8") for each in (hostile, harmless)
    )

    assert _shape(hostile_report) == _shape(tame_report)


def test_what_would_be_recorded_is_shown_harmlessly(hostile: tuple[Workspace, Ran]) -> None:
    """An update escapes the same text."""
    ran = hostile[0].run("update-snapshots")

    assert (ran.code, r"\x1b[31mred" in ran.out) == (2, True)
    assert _unsafe(ran.out + ran.err) == set()


def test_a_hostile_file_name_is_shown_harmlessly(recorded: Workspace) -> None:
    """A golden with escape sequences in its name is orphaned and pruned under an escaped name."""
    recorded.golden("\x1b[31m\n::error::x").write_text("{}", "utf-8")

    checked, pruned = recorded.run("check"), recorded.record("--prune")

    assert (checked.code, pruned.code) == (10, 0)
    assert r"removed    test-cpu/\x1b[31m\n::error::x" in pruned.out
    assert _unsafe(checked.out + pruned.out) == set()


def test_no_error_message_holds_a_command_of_a_runner(recorded: Workspace) -> None:
    """A GitHub runner obeys `##[command]` wherever it stands in a line, also of stderr."""
    ran = recorded.run("check", "--only", "x##[error]y")

    assert ran.code == 4
    assert r"x#\x23[error]y" in ran.err
    assert "##[" not in ran.out + ran.err
