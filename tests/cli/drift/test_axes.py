"""`repro-gate axes`: with a tiny model on the real engine, and with a scripted one."""

import re
import signal
import time
from pathlib import Path

import pytest

from repro_gate.core.axes import Impact
from tests.cli.workspaces import PATIENCE_S, Ran, Workspace, contents_of, ended, matrix_of, toml

_EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "axes" / "report.md"
_SETTINGS = {
    "n_ctx": 256,
    "n_batch": 256,
    "threads": 1,
    "flash_attention": True,
    "kv_type": "f16",
}
_TEXTS = ("Once upon a time", "The quick brown fox", "In a galaxy far, far away")
_ROW = re.compile(r"^\| `([a-z_]+)` \| `([^`]+)` \| (\d) of 3 \| (.+) \|$", re.MULTILINE)
FOX = "tiny--fox--seed1"


@pytest.fixture(scope="module")
def tiny(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return a workspace with a tiny model on the real engine."""
    workspace = Workspace(folder=tmp_path_factory.mktemp("axes"), cache=cache)
    table = {
        f"p{number}": {"text": text, "temperature": 0.9, "max_tokens": 40}
        for number, text in enumerate(_TEXTS)
    }
    matrix = matrix_of(
        {"kind": "llama_cpp", "device": "cpu", "timeout_s": 60, "settings": _SETTINGS},
        models={"tiny": {"engine": "scripted", "source": "builtin:tiny-qwen2"}},
        prompts=tuple(table),
        prompts_table=table,
    )
    (workspace.folder / "repro-gate.toml").write_text(toml(matrix), "utf-8")
    return workspace


@pytest.fixture(scope="module")
def page(tiny: Workspace) -> str:
    """Return the page of a measurement, after checking what was printed."""
    ran = tiny.run("axes", "tiny", "--output", "page.md")

    assert ran.code == 0
    assert "  3 of 6 cells, 120 tokens a run; " in ran.out
    assert max(map(len, ran.out.splitlines())) <= 100
    assert {path.name for path in tiny.folder.iterdir()} == {"repro-gate.toml", "page.md"}
    return (tiny.folder / "page.md").read_text("utf-8")


def _impacts(page: str) -> dict[tuple[str, str], str]:
    return {(axis, value): rest.split(" | ")[-1] for axis, value, _, rest in _ROW.findall(page)}


def test_planted_changes_are_found(page: str) -> None:
    """Attention and the type of the cache change tokens; threads and neighbours do not."""
    impacts = _impacts(page)

    assert impacts["flash_attention", "false"] == Impact.TOKENS
    assert impacts["kv_type", "bf16"] == Impact.TOKENS
    for axis in (("kv_type", "f32"), ("neighbours", "up to 4 runs at a time")):
        assert impacts[axis] == Impact.NONE
    threads = {impact for (axis, _), impact in impacts.items() if axis == "threads"}
    assert threads <= {Impact.NONE}


def test_a_cache_that_the_model_cannot_have_is_no_finding(page: str) -> None:
    """The reason is shown."""
    assert "- `kv_type q4_0`: `bad_request: settings.kv_type: K cache type q4_0 with" in page


def test_the_example_is_a_page_of_the_command(page: str) -> None:
    """It has the same sections, axes and columns, of another model."""
    example = _EXAMPLE.read_text("utf-8")
    headings, table = (re.compile(each, re.MULTILINE) for each in ("^## .+", r"^\| axis .+"))
    assert headings.findall(page) == headings.findall(example)
    assert table.findall(page) == table.findall(example)
    assert {axis for axis, _ in _impacts(page)} == {axis for axis, _ in _impacts(example)}


def test_a_program_has_few_axes(workspace: Workspace) -> None:
    """Its settings are its own; no snapshot is read or written."""
    before = contents_of(workspace.folder)
    ran = workspace.run("axes", "tiny", "--only", FOX, "--engine", "scripted")

    assert (ran.code, ran.out.count("invariant")) == (0, 1)
    assert "  1 of 4 cells, " in ran.out
    assert "settings: scripted is a program with settings of its own\n" in ran.out
    assert contents_of(workspace.folder) == before | {
        "asked.jsonl": (workspace.folder / "asked.jsonl").read_bytes()
    }


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("axes", "owl"), 2, "there is no model 'owl' in the matrix; it has: tiny"),
        (("axes", "tiny", "--engine", "owl"), 2, "there is no engine 'owl' with a model in"),
        (("axes", "tiny", "--suite", "owl"), 2, "there is no suite 'owl' in the matrix"),
        (("axes", "tiny", "--output", "gone/x.md"), 2, "there is no folder gone: name another"),
        (("axes", "tiny", "--output", "."), 2, ". is a folder: name a file with --output"),
        (("axes", "tiny", "--only", "owl"), 4, "no selected cell is of the model tiny"),
    ],
)
def test_what_is_not_there_is_refused(
    workspace: Workspace, arguments: tuple[str, ...], code: int, message: str
) -> None:
    """Before anything is run."""
    ran = workspace.run(*arguments)

    assert (ran.code, ran.out) == (code, "")
    assert message in ran.err
    assert workspace.asked("generate") == []


def test_an_engine_that_cannot_be_run_is_4(workspace: Workspace) -> None:
    """Nothing is known then."""
    workspace.write_script({"method": "load", "exit": 1})
    ran = workspace.run("axes", "tiny")

    assert (ran.code, ran.out) == (4, "")


def test_runs_that_differ_are_4(workspace: Workspace) -> None:
    """No axis can be judged."""
    other = {"tokens": [[1, "01"]]}
    workspace.write_script({"method": "generate", "time": 2, "result": other})
    ran = workspace.run("axes", "tiny", "--suite", "quick", "--only", FOX)

    assert ran.code == 4
    assert "The unchanged run does not repeat itself in another process" in ran.out


def _interrupted_repetition(workspace: Workspace) -> Ran:
    workspace.write_script({"method": "generate", "time": 2, "sleep": 600})
    gate = workspace.start("axes", "tiny", "--only", FOX)
    deadline = time.monotonic() + PATIENCE_S
    while len(workspace.asked()) < 2:
        assert time.monotonic() < deadline, "the run was not repeated"
        time.sleep(0.01)
    gate.send_signal(signal.SIGINT)
    return ended(gate)


def test_an_interruption_shows_what_was_found(workspace: Workspace) -> None:
    """It ends with 130, and leaves no process."""
    ran = _interrupted_repetition(workspace)

    assert ran.code == 130
    assert ran.out.startswith("axes  tiny on test-cpu\n")
    assert ran.out.endswith("Interrupted: the rest was not measured.\n")
    assert workspace.engines_alive_after(PATIENCE_S) == []
