"""`repro-gate explain --pack` and `--from`: one divergence for another person."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from tests.cli.workspaces import Workspace

FOX = "tiny--fox--seed1"
OTHER = {"tokens": [[7, b" 7".hex()], [9, b" 9".hex()]]}
_VALUE = "fw_Zq7tPx93vLm2"


def drift(workspace: Workspace) -> None:
    """Let the cell drift from its golden."""
    workspace.write_script({"method": "generate", "prompt": "Say fox", "seed": 1, "result": OTHER})


def differ(workspace: Workspace) -> None:
    """Let the second run differ from the first."""
    rule = {"method": "generate", "prompt": "Say fox", "seed": 1, "time": 2, "result": OTHER}
    workspace.write_script(rule)


def redefine(workspace: Workspace) -> None:
    """Give the cell another definition than its golden has."""
    fox = {"text": "Say a fox", "temperature": 0.7, "max_tokens": 4}
    haiku = {"text": "Say haiku", "temperature": 0.7, "max_tokens": 4}
    workspace.write_matrix(prompts_table={"haiku": haiku, "fox": fox})


def remove(workspace: Workspace) -> None:
    """Remove the golden of the cell."""
    workspace.golden(FOX).unlink()


def entries_of(file: Path) -> dict[str, bytes]:
    """Return what a zip file has, by name."""
    with ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize(
    ("change", "verdict", "entries"),
    [
        (drift, "drift", {"golden.json", "report.json"}),
        (differ, "nondeterministic", {"golden.json", "report.json"}),
        (redefine, "unrecorded", {"golden.json", "report.json"}),
        (remove, "unrecorded", {"report.json"}),
    ],
)
def test_a_pack_shows_the_same_page_elsewhere(
    recorded: Workspace,
    tmp_path_factory: pytest.TempPathFactory,
    change: Callable[[Workspace], object],
    verdict: str,
    entries: set[str],
) -> None:
    """Without a matrix, a report, goldens and an engine."""
    change(recorded)
    assert recorded.run("check").code == 10
    page = recorded.run("explain", FOX)
    asked = recorded.asked()
    elsewhere = Workspace(folder=tmp_path_factory.mktemp("elsewhere"), cache=recorded.cache)

    packed = recorded.run("explain", FOX, "--pack", str(elsewhere.folder / "fox.zip"))
    shown = elsewhere.run("explain", "--from", "fox.zip")

    assert page.out.startswith(f"{verdict}  {FOX}\n")
    assert (packed.code, packed.out) == (0, page.out)
    assert (shown.code, shown.out, shown.err) == (0, page.out, "")
    assert set(entries_of(elsewhere.folder / "fox.zip")) == entries
    assert recorded.asked() == asked


def packed(workspace: Workspace) -> dict[str, bytes]:
    """Return what the pack of the cell has, by name."""
    assert workspace.run("check").code == 10
    assert workspace.run("explain", FOX, "--pack", "fox.zip").code == 0
    return entries_of(workspace.folder / "fox.zip")


def test_a_pack_has_nothing_of_other_cells(recorded: Workspace) -> None:
    """Nor of other models, and no control; but the command that repeats this one."""
    drift(recorded)
    document: Any = json.loads(packed(recorded)["report.json"])

    report = document["result"]["report"]
    assert [each["id"] for each in document["cells"]] == [FOX]
    assert (report["controls"], len(report["provenances"])) == ([], 1)
    assert "haiku" not in json.dumps(document)
    assert f"repro-gate check --suite quick --only {FOX}" in [
        each["repeat"] for each in document["findings"]
    ]


def test_a_pack_has_no_secret(recorded: Workspace) -> None:
    """Neither a variable that the engine was given, nor the key of a provider."""
    drift(recorded)
    engine = {**recorded.engine(), "pass_env": ["ENGINE_TOKEN"]}
    recorded.write_matrix(engines={"scripted": engine})
    names = ("ENGINE_TOKEN", "FIREWORKS_API_KEY", "HF_TOKEN", "GITHUB_TOKEN")
    secrets = {name: f"{_VALUE}{name}" for name in names}
    assert recorded.run("check", **secrets).code == 10

    ran = recorded.run("explain", FOX, "--pack", "fox.zip", **secrets)

    assert ran.code == 0
    assert _VALUE.encode() not in b"".join(entries_of(recorded.folder / "fox.zip").values())
    assert _VALUE not in ran.out + ran.err


def test_what_is_in_a_pack_is_shown(recorded: Workspace) -> None:
    """On stderr, as the page is the output."""
    drift(recorded)
    recorded.run("check")

    ran = recorded.run("explain", FOX, "--pack", "fox.zip")

    assert ran.err == (
        "repro-gate: wrote fox.zip: the result of the cell, the golden, and no matrix\n"
        "  it has the prompt, the output and facts of the machine as plain text\n"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "give CELL, or --from FILE without CELL, --report, --pack and --attribute"),
        ((FOX, "--from", "fox.zip"), "give CELL, or --from FILE without CELL, --report,"),
        (("--from", "fox.zip", "--report", "."), "give CELL, or --from FILE without CELL, --rep"),
        (("--from", "fox.zip", "--pack", "a.zip"), "give CELL, or --from FILE without CELL, --r"),
        ((FOX, "--pack", "script.json"), "script.json exists: move it away, or name another"),
        ((FOX, "--pack", "gone/a.zip"), "there is no folder gone: name another file with --pack"),
        (("tiny--owl--*", "--pack", "a.zip"), "no cell of tokens in the report matches"),
    ],
)
def test_a_wrong_command_line_is_2(
    drifted: Workspace, options: tuple[str, ...], message: str
) -> None:
    """Nothing is written."""
    before = set(drifted.folder.iterdir())

    ran = drifted.run("explain", *options)

    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err
    assert set(drifted.folder.iterdir()) == before


def test_an_invalid_pack_is_3(workspace: Workspace) -> None:
    """With the file, the entry and what is wrong."""
    with ZipFile(workspace.folder / "fox.zip", "w") as archive:
        archive.writestr("report.json", "{}")

    ran = workspace.run("explain", "--from", "fox.zip")

    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith("repro-gate: fox.zip/report.json: expected the key 'schema', found")
    assert workspace.run("explain", "--from", "gone.zip").code == 3


def test_a_pack_that_cannot_be_written_is_4(drifted: Workspace) -> None:
    """With the reason of the system."""
    ran = drifted.run("explain", FOX, "--pack", "/proc/fox.zip")

    assert (ran.code, ran.out) == (4, "")
    assert "try: " in ran.err
